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
from har_tf.explain.backward import check_batch_size, checked_clips
from har_tf.explain.explanation import Explanation
from har_tf.explain.fills import filled
from har_tf.explain.options import check
from har_tf.explain.scaling import scaled
from har_tf.progress import progress

# (size (T, H, W), arrays that all perturbed clips share, arrays of a row for each of M of them) -> float32 (M, T, H, W)
# in [0, 1], the share of the fill in every pixel. Always the same function object: compiled functions are kept by it.
Hide = Callable[[tuple[int, int, int], Sequence[tf.Tensor], Sequence[tf.Tensor]], tf.Tensor]

_VALUES_AT_ONCE = 2**26  # of perturbed clips: more take memory, and are no faster


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
        check_batch_size(batch_size)
        self._answers = answers_of(model, clips)
        (clips,) = checked_clips(model, clips).values() if getattr(model, "inputs", None) else (np.asarray(clips),)
        self._images = clips.ndim == 4
        self._score = score
        self.clips = clips[:, None] if self._images else clips
        self.batch_size = min(batch_size, max(1, _VALUES_AT_ONCE // math.prod(self.clips.shape[1:])))
        self.fill = filled(self.clips, fill)
        self.score_of = self._answers.score if score == "logit" else score
        scores, probabilities = devices.in_batches(self._compiled(None, (), ()), self.batch_size, self.clips)
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
        return self._answered(index, hide, rows, shared, advance, self.batch_size)[0]

    def slopes(self, index: int, hide: Hide, rows: Sequence[np.ndarray], advance=None) -> tuple[np.ndarray, np.ndarray]:
        """The scores, float32 (M,), and their gradients to the first of the rows (M, ...), of the same shape.

        They take M forward and M backward passes, an eighth as many at once as `scores`. Clips of whole numbers have no
        gradient, see `har_tf.models.pixels.of_floats`.

        Raises:
            ValueError: no gradient reaches the pixels.
        """
        found = self._answered(index, hide, rows, (), advance, -(-self.batch_size // 8), slopes=True)
        return found[0], found[1]

    def _answered(self, index, hide, rows, shared, advance, batch_size, slopes=False):
        rows = [*rows, np.full(len(rows[0]), self.class_index[index])]
        shared = [self.clips[index], self.fill[index], *shared]
        run, left = self._compiled(hide, shared, rows, slopes), len(rows[0])
        if self._answers.strategy is None:
            run = functools.partial(run, *(tf.constant(array[None]) for array in shared))
        else:  # each device is given its rows of everything
            rows = [*(np.broadcast_to(array, (left, *array.shape)) for array in shared), *rows]

        def counted(*batch):
            nonlocal left
            found = run(*batch)
            done = min(len(batch[0]), left)
            left -= done
            if advance is not None:
                advance(done)
            return found

        return devices.in_batches(counted, batch_size, *rows)

    def _compiled(self, hide: Hide | None, shared, rows, slopes=False):
        """(clip, fill, ..., rows, classes) -> scores (M,), and slopes; without `hide` all answers to whole clips."""
        answers, size, images, probable = self._answers, self.size, self._images, self._score == "probability"
        arrays = [*(array[None] for array in shared), *rows] if hide else [self.clips]
        signature = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in arrays]
        key = hide, slopes, probable, *signature
        whole = tf.as_dtype(answers.dtype).is_integer

        def answered(clips):
            return answers.of(clips[:, 0] if images else clips)

        def run(clip, fill, *others):
            *own, classes = others[len(shared) - 2 :]
            hidden = hide(size, [array[0] for array in others[: len(shared) - 2]], own)[..., None]
            clip = tf.cast(clip[:1], tf.float32) * (1 - hidden) + fill[:1] * hidden
            scores, probabilities = answered(tf.cast(tf.round(clip) if whole else clip, answers.dtype))
            score = tf.gather(probabilities if probable else scores, classes, batch_dims=1)
            if not slopes:
                return (score,)
            (slope,) = tf.gradients(score, own[0])
            if slope is None:
                raise ValueError("no gradient reaches the pixels: the model stops it, as by argmax or whole numbers")
            return score, slope

        if key not in answers.compiled:
            answers.compiled[key] = devices.shared(run if hide else answered, signature, answers.strategy)
        return answers.compiled[key]

    @contextmanager
    def progress(self, what: str, passes: int) -> Iterator[Callable[[int], None]]:
        """Counts the perturbed clips of all clips, of which each takes so many."""
        with progress(what, passes * len(self), "passes") as advance:
            yield advance

    def explanation(self, signed: np.ndarray, method: str, normalize: str | None, settings: dict) -> Explanation:
        """What a method found: evidence for the class where it is positive, against it where it is negative.

        Args:
            signed: (B, T, H, W).
            method: its title.
            normalize: as in `har_tf.explain.gradcam`.
            settings: its options, and the forward passes that a clip took.
        """
        signed = np.asarray(signed, "float32")
        settings = settings | {"normalize": normalize} | ({"score": self.score_of} if self.score_of != "logit" else {})
        maps = scaled(np.maximum(signed, 0), normalize)
        return Explanation(maps, signed, self.class_index, self.score, self.probability, method, settings)


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
