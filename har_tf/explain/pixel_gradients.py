"""The gradient of the logit at the pixels of clips, and what methods that are made of it share."""

import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from har_tf.explain.backward import Evidence, checked_clips, evidence, pixels
from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.scaling import scaled
from har_tf.models.flatten import with_graph
from har_tf.models.pixels import of_floats
from har_tf.progress import progress

_VALUES_AT_ONCE = 2**24  # of clips that a gradient is taken of: the feature maps behind them fill the memory
# model -> (its output tensor, the same network from float32 pixels on)
_of_floats: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class PixelGradients:
    """Clips, what a model says of them, and the gradient of the logit at their pixels.

    Attributes:
        model: from float32 pixels on, of one input.
        clips: float32 (B, T, H, W, C); images are clips of one frame.
        gradient: float32 (B, T, H, W, C), that of the logit of the explained class: its change for each number that a
            pixel is larger, as the model takes pixels.
        class_index, score, probability: (B,), the explained class, its logit and its probability.
        score_of: "logit", or what is explained for want of one, see `har_tf.explain.backward.Evidence`.
        batch_size: clips that the model sees at once, fewer of large ones.
    """

    model: keras.Model
    clips: np.ndarray
    gradient: np.ndarray
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    score_of: str
    batch_size: int

    def at(self, points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient at other clips, float32 (N, T, H, W, C), and the logits there (N,).

        Args:
            points: float32 (N, T, H, W, C).
            rows: (N,), of which clip each is a change, whose class is explained.
        """
        found = _found(self.model, points, self.class_index[rows], self.batch_size)
        return found.signed[0], found.score

    def mean(self, change: Callable[[int, int], np.ndarray], count: int, what: str) -> np.ndarray:
        """The mean gradient over so many changes of every clip, float32 (B, T, H, W, C).

        Args:
            change: from the number of a clip and that of a change to the changed clip, (T, H, W, C).
            count: changes of a clip.
            what: what is computed, for who waits for it.
        """
        total = np.zeros_like(self.clips)
        pairs = np.array([(row, number) for row in range(len(total)) for number in range(count)])
        with progress(what, len(pairs), "passes") as advance:
            for first in range(0, len(pairs), self.batch_size):
                batch = pairs[first : first + self.batch_size]
                gradients, _ = self.at(np.stack([change(*pair) for pair in batch.tolist()]), batch[:, 0])
                np.add.at(total, batch[:, 0], gradients)
                advance(len(batch))
        return total / count

    def explanation(
        self, signed: np.ndarray, method: str, settings: Mapping[str, Any], normalize: str | None
    ) -> Explanation:
        """The explanation by a map of every pixel.

        Args:
            signed: float32 (B, T, H, W).
            method: what its maps are called.
            settings: the arguments that made it, but for `normalize`.
            normalize: as in `gradcam`.
        """
        settings = {**settings, "normalize": normalize}
        settings |= {} if self.score_of == "logit" else {"score": self.score_of}
        maps, answers = scaled(np.maximum(signed, 0), normalize), (self.class_index, self.score, self.probability)
        return Explanation(maps, signed, *answers, method, settings, grain=True)


def pixel_gradients(
    model: keras.Model, clips, class_index=None, normalize: str | None = "clip", batch_size: int = 8
) -> PixelGradients:
    """One forward and one backward pass, to the pixels.

    Args:
        model, clips, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Raises:
        ValueError: as in `gradcam`, or a model that answers otherwise where its pixels are floats.
    """
    check(normalize=normalize)
    model = with_graph(model, clips)
    if len(model.inputs) > 1:
        names = ", ".join(x.name for x in model.inputs)
        raise ValueError(
            f"gradients at pixels are of models of one input. Received: {model.name!r}, which takes {names}"
        )
    (given,) = checked_clips(model, clips).values()
    given = (given if given.ndim == 5 else given[:, None]).astype("float32")
    model = model_of_floats(model)
    batch_size = min(batch_size, max(1, _VALUES_AT_ONCE // math.prod(given.shape[1:])))
    found = _found(model, given, class_index, batch_size)
    answers = found.class_index, found.score, found.probability, found.score_of
    return PixelGradients(model, given, found.signed[0], *answers, batch_size)


def over_colours(gradient: np.ndarray, colours: str) -> np.ndarray:
    """The absolute values of gradients (..., C), the largest ("max") or the sum of the colours."""
    return getattr(np.abs(gradient), colours)(axis=-1)


def _found(model: keras.Model, clips: np.ndarray, class_index, batch_size: int) -> Evidence:
    given = clips if len(model.inputs[0].shape) == 5 else clips[:, 0]
    return evidence(model, given, [pixels(model)], _gradient, class_index, batch_size)


def _gradient(feature, gradient):
    return gradient


def model_of_floats(model: keras.Model) -> keras.Model:
    """The same network from float32 pixels on, made once; see `har_tf.models.pixels.of_floats`."""
    if model.inputs[0].dtype == "float32":
        return model
    output, made = _of_floats.get(model, (None, None))
    if output is not model.outputs[0]:
        made = of_floats(model)
        _of_floats[model] = (model.outputs[0], made)
    return made
