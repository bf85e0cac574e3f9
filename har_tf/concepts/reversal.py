"""Clips played backwards: should an explanation not notice? Section 2.2 of the Video-TCAV paper as an experiment.

Answers, Grad-CAM maps and directions of concepts are compared with those of the clips forwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from har_tf import devices
from har_tf.concepts.clip_sets import DYNAMIC, ClipSet, ConceptSets
from har_tf.concepts.saliency import alike
from har_tf.concepts.study import Study
from har_tf.explain import Explanation, gradcam
from har_tf.names import index_of
from har_tf.progress import progress


@dataclass(frozen=True, eq=False)
class Played:
    """Clips of a class forwards and backwards.

    Attributes:
        clips: forwards.
        class_index, reverse: the class, and the one that they should be backwards: the same, where an action has none.
        forwards, backwards: int (N,), the classes that the model answers.
        ahead, same, other: Grad-CAM forwards for the class, and backwards for it and for the reverse class.
    """

    clips: ClipSet
    class_index: int
    reverse: int
    forwards: np.ndarray
    backwards: np.ndarray
    ahead: Explanation
    same: Explanation
    other: Explanation

    @property
    def reversible(self) -> bool:
        """Whether the action has a reverse."""
        return self.reverse != self.class_index

    def answers(self) -> dict:
        """What `results.json` keeps of the answers: shares of the clips, None where there is nothing to share."""
        right = self.forwards == self.class_index
        return {
            "clips": len(self.clips),
            "forwards_right": float(right.mean()),
            "backwards_same_class": float((self.backwards == self.class_index).mean()),
            "backwards_reverse_class": float((self.backwards == self.reverse).mean()) if self.reversible else None,
            "of_right": int(right.sum()),
            "of_right_as_expected": float((self.backwards[right] == self.reverse).mean()) if right.any() else None,
            "answer_changed": float((self.forwards != self.backwards).mean()),
        }

    def maps(self) -> dict:
        """Correlations with the maps of the clips forwards, see `alike`; mirrored: frames turned round again."""
        ahead = self.ahead.maps
        return {
            "mirrored, same class": alike(ahead, self.same.maps[:, ::-1]),
            "mirrored, reverse class": alike(ahead, self.other.maps[:, ::-1]) if self.reversible else None,
            "not mirrored, same class": alike(ahead, self.same.maps),
            "another clip": alike(ahead, np.roll(ahead, 1, axis=0)) if len(self.clips) > 1 else None,
        }

    def best(self) -> int:
        """The surest clip that is answered right and has a map both ways, to be shown."""
        usable = (self.forwards == self.class_index) & ~self.ahead.empty & ~self.same.empty
        return int(np.argmax(np.where(usable, self.ahead.probability, -1)))


def play(model: keras.Model, clips: ClipSet, class_index: int, reverse: int, tap: str, batch_size: int = 32) -> Played:
    """Plays clips of a class backwards, with Grad-CAM at a tap; `reverse` is the class that they should be then."""
    pixels, mirrored = clips.clips, clips.backwards().clips
    forwards, backwards = (devices.predict(model, x, batch_size).argmax(axis=1) for x in (pixels, mirrored))
    ahead = gradcam(model, pixels, tap, class_index, batch_size=batch_size)
    same = gradcam(model, mirrored, tap, class_index, batch_size=batch_size)
    other = same if reverse == class_index else gradcam(model, mirrored, tap, reverse, batch_size=batch_size)
    return Played(clips, class_index, reverse, forwards, backwards, ahead, same, other)


def reverses(pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """Class -> what it is called played backwards, as `names` spell them; pairs not among them are left out."""
    spelled = {name.casefold(): name for name in names}
    both = [pair for pair in pairs if all(name.casefold() in spelled for name in pair)]
    return {
        spelled[a.casefold()]: spelled[b.casefold()] for one, other in both for a, b in ((one, other), (other, one))
    }


def compare(
    model: keras.Model,
    class_names: Sequence[str],
    clips: Iterable[tuple[str, ClipSet | None]],
    reverse_of: Mapping[str, str],
    tap: str,
    batch_size: int = 32,
    keep: str | None = None,
) -> tuple[dict, Played | None]:
    """Plays clips of several classes backwards.

    Args:
        model, class_names, tap, batch_size: what is explained, and where.
        clips: (class, its clips), one after the other; None: it is left out.
        reverse_of: class -> what it is called played backwards.
        keep: the class whose clips and maps are wanted.

    Returns:
        "answers" and "gradcam": class -> `Played.answers` and `Played.maps`; and what was played of the class to keep.
    """
    found: dict = {"answers": {}, "gradcam": {}}
    kept = None
    for name, each in clips:
        if each is None:
            continue
        index, back = (index_of(n, class_names, "the model") for n in (name, reverse_of.get(name, name)))
        played = play(model, each, index, back, tap, batch_size)
        found["answers"][name] = {"reverse": reverse_of.get(name), **played.answers()}
        found["gradcam"][name] = played.maps()
        kept = played if name == keep else kept
    return found, kept


def directions(
    study: Study, sets: ConceptSets, classes: Mapping[str, ClipSet | None], class_names: Sequence[str]
) -> dict | None:
    """Does a CAV tell a moving concept from the same clips played backwards, and does the class follow it?

    Args:
        study, sets: how concepts are measured, and their clips.
        classes: name -> its clips; None: it is left out.
        class_names: of the model's outputs.

    Returns:
        class -> concept -> tap -> "forwards", "backwards" and "random" -> scores, see `Study.relative`; None without
        dynamic concepts.
    """
    if DYNAMIC not in sets.concepts:
        return None
    found: dict = {}
    mirrored = {concept: each.backwards() for concept, each in sets.concepts[DYNAMIC].items()}
    with progress("activations of concepts backwards", sum(map(len, mirrored.values())), "clips") as advance:
        for each in mirrored.values():
            study.bank.activations(each.clips)
            advance(len(each))
    for name, clips in classes.items():
        if clips is None:
            continue
        slopes = study.bank.gradients(clips.clips, index_of(name, class_names, "the model"))
        found[name] = {}
        for concept, each in sets.concepts[DYNAMIC].items():
            shown = {"forwards": each, "backwards": mirrored[concept]}
            found[name][concept], _ = study.relative(shown, sets.randoms[DYNAMIC][:-1], clips, slopes)
    return found
