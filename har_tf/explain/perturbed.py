"""The scores of clips of which a part is hidden; perturbed clips are made on the device, in one compiled graph."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.explain.answers import answers_of, classes_to_explain
from har_tf.explain.backward import checked_clips
from har_tf.explain.changed import changed_answers, fitting
from har_tf.explain.explanation import Explanation
from har_tf.explain.fills import filled
from har_tf.explain.options import check
from har_tf.explain.scaling import scaled
from har_tf.progress import progress

# (size (T, H, W), arrays that all perturbed clips share, arrays of a row for each of M of them) -> float32 (M, T, H, W)
# in [0, 1], the share of the fill in every pixel. Always the same function object: compiled functions are kept by it.
Hide = Callable[[tuple[int, int, int], Sequence[tf.Tensor], Sequence[tf.Tensor]], tf.Tensor]


class Perturbed:
    """A model, clips to explain, and what takes the place of what is hidden of them.

    Attributes:
        clips: (B, T, H, W, C) as the model takes them; images are clips of one frame.
        fill: float32 (B, T, H, W, C).
        class_index, score, probability: (B,), the explained class, and what the model says of it for the whole clip.
        score_of: what the scores are: "logit", "probability", or see `har_tf.explain.answers.Answers`.
    """

    def __init__(
        self, model: keras.Model, clips: np.ndarray, class_index=None, fill="mean", score="logit", batch_size: int = 32
    ):
        """Asks the model about the whole clips.

        Args:
            model: any Keras model of clips (B, T, H, W, C) or images (B, H, W, C) with one output (B, classes).
            clips: what the model takes.
            class_index: None for the predicted class, an int for all clips, or ints (B,).
            fill: see `filled`.
            score: "logit" or "probability", what is explained.
            batch_size: perturbed clips that are in memory at once, fewer of large ones.

        Raises:
            ValueError: a model of several inputs, or arguments that do not fit the model.
        """
        check(score=score)
        self._answers = answers_of(model, clips)
        (clips,) = checked_clips(model, clips).values() if getattr(model, "inputs", None) else (np.asarray(clips),)
        self._images = clips.ndim == 4
        self._score = score
        self.clips = clips[:, None] if self._images else clips
        self.batch_size = fitting(batch_size, self.clips)
        self.fill = filled(self.clips, fill)
        self.score_of = self._answers.score if score == "logit" else score
        scores, probabilities = changed_answers(
            self._answers, None, (), [self.clips.astype(self._answers.dtype)], self.batch_size, self._images
        )
        self.class_index = classes_to_explain(class_index, probabilities, self._answers.single)
        rows = np.arange(len(clips))
        self.probability = probabilities[rows, self.class_index]
        self.score = (scores if score == "logit" else probabilities)[rows, self.class_index]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def size(self) -> tuple[int, int, int]:
        """(T, H, W) of the clips."""
        return self.clips.shape[1:4]

    def scores(
        self, index: int, hide: Hide, rows: Sequence[np.ndarray], shared: Sequence[np.ndarray] = (), advance=None
    ) -> np.ndarray:
        """What the model says of one clip with M different parts hidden, in M forward passes.

        Args:
            index: of the clip.
            hide: makes the hidden parts of the rows, see `Hide`.
            rows: arrays (M, ...).
            shared: arrays that `hide` is given for every row.
            advance: called with the number of clips done; see `har_tf.progress`.

        Returns:
            float32 (M,), the score of the explained class.
        """
        whole = [self.clips[index], self.fill[index], *shared]
        found = changed_answers(
            self._answers, _mixed(hide, self.size, len(shared)), whole, rows, self.batch_size, self._images, advance
        )
        return found[self._score == "probability"][:, self.class_index[index]]

    def slopes(self, index: int, hide: Hide, row: np.ndarray, advance=None) -> np.ndarray:
        """The gradients of the scores to the rows, float32 (M, ...), in M forward and M backward passes.

        An eighth as many clips are in memory at once as of `scores`. Clips of whole numbers have no gradient, see
        `har_tf.models.pixels.of_floats`.

        Args:
            index, hide, advance: as in `scores`.
            row: float32 (M, ...), the one array that `hide` takes.

        Raises:
            ValueError: no gradient reaches the pixels.
        """
        mixed, images, which = _mixed(hide, self.size, 0), self._images, int(self._score == "probability")
        answers, key = self._answers, ("slopes", hide, which, row.shape[1:])
        arrays = self.clips[index], self.fill[index], row, np.full(len(row), self.class_index[index])

        def run(clip, fill, row, classes):
            clips = mixed(clip, fill, row)
            found = answers.of(clips[:, 0] if images else clips)[which]
            (slope,) = tf.gradients(tf.gather(found, classes, batch_dims=1), row)
            if slope is None:
                raise ValueError("no gradient reaches the pixels: the model stops it, as by argmax or whole numbers")
            return slope

        if key not in answers.compiled:
            shapes = [array.shape for array in arrays[:2]] + [(None, *array.shape[1:]) for array in arrays[2:]]
            signature = [tf.TensorSpec(shape, array.dtype) for shape, array in zip(shapes, arrays, strict=True)]
            answers.compiled[key] = devices.shared(run, signature, answers.strategy, whole=2)

        def counted(*batch):
            found = answers.compiled[key](*arrays[:2], *batch)
            if advance is not None:
                advance(len(batch[0]))
            return found

        return devices.in_batches(counted, -(-self.batch_size // 8), *arrays[2:])

    @contextmanager
    def progress(self, what: str, passes: int) -> Iterator[Callable[[int], None]]:
        """Counts the perturbed clips of all clips, of which each takes so many."""
        with progress(what, passes * len(self), "passes") as advance:
            yield advance

    def explanation(
        self, signed: np.ndarray, method: str, normalize: str | None, settings: dict, counterfactual: bool = False
    ) -> Explanation:
        """What a method found: evidence for the class where it is positive, against it where it is negative.

        Args:
            signed: (B, T, H, W).
            method: its title.
            normalize: as in `har_tf.explain.gradcam`.
            settings: its options, and the forward passes that a clip took.
            counterfactual: whether to show what speaks against the class.
        """
        signed = np.asarray(signed, "float32") * (-1 if counterfactual else 1)
        settings = settings | {"normalize": normalize, "counterfactual": counterfactual}
        settings |= {"score": self.score_of} if self.score_of != "logit" else {}
        maps = scaled(np.maximum(signed, 0), normalize)
        return Explanation(maps, signed, self.class_index, self.score, self.probability, method, settings)


@functools.cache  # what is compiled is kept by what changes clips
def _mixed(hide: Hide, size: tuple[int, int, int], shared: int) -> Callable:
    """(clip, fill, so many shared arrays, arrays of a row for each) -> float32 (M, T, H, W, C), as they are mixed."""

    def change(clip, fill, *arrays):
        hidden = hide(size, arrays[:shared], arrays[shared:])[..., None]
        return tf.cast(clip, tf.float32) * (1 - hidden) + fill * hidden

    return change


def sums(
    hide: Hide, size: tuple[int, int, int], weights: np.ndarray, rows: Sequence[np.ndarray], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much every pixel was hidden in M perturbed clips, with a weight each and without.

    Args:
        hide, size, rows: as in `Perturbed.scores`, without shared arrays.
        weights: (M,).
        batch_size: rows that are in memory at once.

    Returns:
        Two arrays, float64 (T, H, W): the sum over the clips of weight times share of the fill, and of these shares.
    """
    run = _sums(hide, size, tuple((array.shape[1:], array.dtype.name) for array in rows))
    total = np.zeros((2, *size))
    for first in range(0, len(weights), batch_size):
        batch = slice(first, first + batch_size)
        total += run(tf.constant(weights[batch], tf.float32), *(tf.constant(array[batch]) for array in rows)).numpy()
    return total[0], total[1]


@functools.lru_cache(maxsize=64)
def _sums(hide: Hide, size, forms):
    specs = [tf.TensorSpec((None, *form), kind) for form, kind in forms]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32), *specs], autograph=False)
    def run(weights, *rows):
        hidden = tf.reshape(hide(size, (), rows), (-1, math.prod(size)))
        both = tf.stack([weights, tf.ones_like(weights)])
        return tf.reshape(both @ hidden, (2, *size))

    return run
