"""Does the model keep its answer where only what a map shows is left? Grad-CAM++'s average drop and increase.

Chattopadhyay et al. 2018, section 4.1: the clip is multiplied by its map. The numbers reward maps that show much: a map
of ones changes nothing, and drops by 0. They say something beside the controls, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.options import Fill
from har_tf.evaluate.paired import mean_of
from har_tf.evaluate.perturbation import checked_maps, clip_filled, clips_of
from har_tf.explain.answers import answers_of, classes_to_explain
from har_tf.explain.changed import changed_answers, fitting
from har_tf.explain.scaling import scaled


@dataclass(frozen=True, eq=False)
class Confidence:
    """The probability of the explained class in clips seen through their maps.

    Attributes:
        class_index, probability: (N,), the explained class, and its probability in the whole clip.
        masked: name of the maps -> (N,), its probability where the map is the share of the clip that is left.
        fill: what takes the place of the rest.
        groups: the recording of each clip; None: each stands alone.
    """

    class_index: np.ndarray
    probability: np.ndarray
    masked: dict[str, np.ndarray]
    fill: Fill | float
    groups: Sequence[str | None] | None

    @property
    def drop(self) -> dict[str, np.ndarray]:
        """float64 (N,), the share of the probability that is lost, 0 where it rises; NaN of a probability of 0."""
        whole = np.where(self.probability > 0, self.probability.astype(np.float64), np.nan)
        return {name: np.maximum(whole - masked, 0) / whole for name, masked in self.masked.items()}

    @property
    def increase(self) -> dict[str, np.ndarray]:
        """float64 (N,), 1 where the probability rises, else 0."""
        return {name: (masked > self.probability).astype(np.float64) for name, masked in self.masked.items()}

    def as_dict(self, bootstrap: Bootstrap | None = None) -> dict:
        """Plain values for `results.json`."""
        drop, increase = self.drop, self.increase
        maps = {
            name: {
                "masked": masked.tolist(),
                "drop": mean_of(drop[name], self.groups, bootstrap).as_dict(),
                "increase": mean_of(increase[name], self.groups, bootstrap).as_dict(),
            }
            for name, masked in self.masked.items()
        }
        explained = {"class_index": self.class_index.tolist(), "probability": self.probability.tolist()}
        return explained | {"fill": self.fill, "maps": maps}


def confidence(
    model: keras.Model,
    clips: np.ndarray,
    maps: Mapping[str, np.ndarray],
    class_index=None,
    fill: Fill | float = 0.0,
    groups: Sequence[str | None] | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Confidence:
    """Asks the model about clips seen through their maps, in one forward pass a map.

    Args:
        maps: as in `evaluate.faithfulness`, without negative values; each clip's is divided by its largest value.
        fill: what takes the place of what a map does not show: a number, in the clips' own units, of which 0 is black
            and the definition's; or as in `evaluate.perturbation.Fill`.
        model, clips, class_index, groups, batch_size, seed: as in `evaluate.faithfulness`.

    Raises:
        ValueError: maps or classes that do not fit, or a map with negative values.
    """
    clips, images = clips_of(model, clips)
    maps = checked_maps(maps, clips, groups)
    for name, values in maps.items():
        if values.min() < 0:
            raise ValueError(f"maps of {name!r} are shares of what is left, 0 or more. Received: {values.min():.3g}")
    answers, batch_size = answers_of(model, clips[:, 0] if images else clips), fitting(batch_size, clips)
    filled = np.stack([clip_filled(clip, fill, seed) for clip in clips])
    _, whole = changed_answers(answers, None, (), (clips,), batch_size, images)
    class_index, every = classes_to_explain(class_index, whole, answers.single), np.arange(len(clips))
    masked = {}
    for name, values in maps.items():
        shown = scaled(values.astype(np.float32), "clip")
        _, left = changed_answers(answers, _through, (), (clips, filled, shown), batch_size, images)
        masked[name] = left[every, class_index]
    return Confidence(class_index, whole[every, class_index], masked, fill, groups)


def _through(clips: tf.Tensor, filled: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    shown, clips, filled = maps[..., None], tf.cast(clips, tf.float32), tf.cast(filled, tf.float32)
    return clips * shown + filled * (1 - shown)
