"""What one forward and one backward pass shows: the maps of every tap, of every method, for a class and against it."""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.answers import most_probable
from har_tf.explain.backward import Rule, checked_clips, evidence
from har_tf.explain.explanation import Explanation, Factors, products, saliency
from har_tf.explain.methods import DEFAULT, METHODS, Method, Option, check_against, chosen, set_options
from har_tf.explain.options import check
from har_tf.explain.scaling import scaled
from har_tf.models.flatten import with_graph
from har_tf.models.taps import Tap, find, find_several


@dataclass(frozen=True, eq=False)
class Layerwise:
    """What one forward and one backward pass found at every tap, at the taps' own sizes.

    The maps of any of the taps, of any method and of both signs are made of it without another pass.

    Attributes:
        taps: from the first to the last, as they were asked for.
        maps: what methods need (see `Method.needs`) -> tap's name -> float32 (B, t, h, w); after "-" what they need
            against the class.
        class_index, score, probability: (B,), the explained class, its logit and its probability.
        sizes: name of an input ("" where there is one) -> (T, H, W) of its clips.
        options: channels and pool, as in `layerwise`.
        image: whether the model takes images, so that the maps are those of 2DCAM.
        score_of: "logit", or what was explained for want of one, see `har_tf.explain.backward.Evidence`.
    """

    taps: tuple[Tap, ...]
    maps: dict[str, dict[str, np.ndarray]]
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    sizes: dict[str, tuple[int, int, int]]
    options: dict[str, str]
    image: bool = False
    score_of: str = "logit"

    @property
    def size(self) -> tuple[int, int, int]:
        """(T, H, W) of the clips; of several inputs those of the first tap's."""
        return self.sizes[self.taps[0].input]

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Tap's name -> (B, t, h, w), beta of 3DCAM's equation (1): the gradient of the logit, summed over channels."""
        return self.maps["cam3d.beta"]

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """Tap's name -> (B, t, h, w), alpha of 3DCAM: the feature map, its channels made one."""
        return self.maps["cam3d.alpha"]

    @property
    def weighted(self) -> dict[str, np.ndarray]:
        """Tap's name -> (B, t, h, w), the evidence of Grad-CAM."""
        return self.maps["gradcam.weighted"]

    def at_tap(
        self,
        method: str,
        tap: str | Tap | None = None,
        counterfactual: bool = False,
        normalize: str | None = "clip",
    ) -> Explanation:
        """The map of one tap, by a method that does not join taps; `gradcam` is that of Grad-CAM.

        Args:
            method: of `METHODS`, one that was asked for.
            tap: one of the taps; None: the last one.
            counterfactual: what speaks against the class, by negated gradients.
            normalize: as in `gradcam`.
        """
        method = METHODS[method]
        (name,) = self._names([self.taps[-1] if tap is None else tap])
        signed = functools.reduce(np.multiply, self._factors(method, name, counterfactual))
        settings = {"tap": name, **self._options(method), "normalize": normalize, "counterfactual": counterfactual}
        maps = saliency(signed, self._size([name]), normalize, *self._spans([name]))
        return self._explanation(maps, signed, self._title(method), settings)

    def summed(
        self,
        method: str,
        taps: Sequence[str | Tap] | None = None,
        counterfactual: bool = False,
        normalize: str | None = "clip",
        join: str = "sum",
        align: str | None = None,
    ) -> Explanation:
        """The joined map of several taps, by a method that sums them; `cam3d` and `sum_gradcam` are those of theirs.

        Args:
            method: of `METHODS`, one that was asked for.
            taps: some of the taps; None: all.
            counterfactual: what speaks against the class, by negated gradients.
            normalize, join: as in `cam3d`.
            align: as in `cam3d`; None: the method's own.
        """
        method = METHODS[method]
        align = method.align if align is None else align
        check(normalize=normalize, join=join, align=align)
        names = self._names(taps)
        size = self._size(names)
        parts = [np.stack(self._factors(method, name, counterfactual), axis=1) for name in names]
        parts = tuple(np.maximum(each, 0) if method.rectified else each for each in parts)
        signed, peaks = products(parts, size, align, self._spans(names))
        count = len(parts) if join == "average" else 1
        signed /= count
        several = {"sum": "Sum ", "average": "Average "}[join] if len(parts) > 1 else ""
        settings = {"taps": names, **self._options(method), "counterfactual": counterfactual}
        settings |= {"join": join, "align": align, "normalize": normalize}
        factors = Factors(parts, peaks, size, align, count, self._spans(names))
        return self._explanation(scaled(signed, normalize), signed, several + self._title(method), settings, factors)

    gradcam = functools.partialmethod(at_tap, "gradcam")
    cam3d = functools.partialmethod(summed, "3dcam")
    sum_gradcam = functools.partialmethod(summed, "sum-gradcam")

    def _names(self, taps) -> tuple[str, ...]:
        known = tuple(tap.name for tap in self.taps)
        if taps is None:
            return known
        names = tuple(tap.name if isinstance(tap, Tap) else tap for tap in taps)
        if isinstance(taps, str) or not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise ValueError(f"taps are some of {', '.join(known)}, each once. Received: {taps=}")
        return names

    def _spans(self, names: Sequence[str]) -> tuple:
        spans = {tap.name: tap.spans for tap in self.taps}
        return tuple(spans[name] for name in names)

    def _size(self, names: Sequence[str]) -> tuple[int, int, int]:
        inputs = list(dict.fromkeys(tap.input for tap in self.taps if tap.name in names))
        if len(inputs) > 1:
            raise ValueError(f"taps of several inputs lie on different clips. Received: taps of {', '.join(inputs)}")
        return self.sizes[inputs[0]]

    def _factors(self, method: Method, tap: str, counterfactual: bool) -> list[np.ndarray]:
        if missing := [need for need in method.needs if need not in self.maps]:
            raise ValueError(
                f"{method.name} needs {missing[0]}, which was not computed: name it in layerwise(methods=)"
            )
        first, *others = (self.maps[need][tap] for need in method.needs)
        if counterfactual:  # equation (7) of 3DCAM: the negated gradient
            first = -first if method.linear else self.maps[f"-{method.needs[0]}"][tap]
        return [first, *others]

    def _options(self, method: Method) -> dict[str, str]:
        return {name: self.options[name] for name in method.options}

    def _title(self, method: Method) -> str:
        return method.title_of_images or method.title if self.image else method.title

    def _explanation(self, maps, signed, method, settings, factors=None) -> Explanation:
        settings |= {} if self.score_of == "logit" else {"score": self.score_of}
        return Explanation(maps, signed, self.class_index, self.score, self.probability, method, settings, factors)


def layerwise(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    top: int | None = None,
    channels: str = "sum",
    pool: str = "spatiotemporal",
    batch_size: int = 32,
    methods: Sequence[str] = DEFAULT,
) -> Layerwise:
    """All that methods need at every tap, from one forward and one backward pass: the rows of 3DCAM's Table 6.

    Args:
        top: in place of `class_index`: the number of most probable classes to explain of each clip. Row `i * top + r`
            of the result is clip i and its class of rank r.
        model, clips, taps, class_index, channels, pool, batch_size: as in `cam3d` and `gradcam`.
        methods: those of `METHODS` at taps whose maps are wanted.

    Returns:
        A `Layerwise`, of which every map is made.

    Raises:
        ValueError: as in `cam3d`; `top` is less than 1 or more than the model's classes, or given with a class.

    Example:
        >>> found = layerwise(model, clips)
        >>> alone = {tap.name: found.cam3d([tap]) for tap in found.taps}
        >>> both = found.cam3d(found.taps[:2]), found.sum_gradcam(found.taps[:2])
        >>> first, second, third = (layerwise(model, clips[:1], top=3).cam3d().only(r) for r in range(3))  # Figure 6
    """
    model = with_graph(model, clips)
    places = find_several(model, taps)
    return one_pass(model, clips, methods, places, class_index, top, batch_size, channels=channels, pool=pool)


def by_method(
    model: keras.Model,
    clips: np.ndarray,
    methods: Sequence[str] = DEFAULT,
    tap: Mapping[str, str | Tap] | None = None,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    top: int | None = None,
    counterfactual: bool = False,
    pool: str = "spatiotemporal",
    normalize: str | None = "clip",
    batch_size: int | None = None,
    options: Mapping[str, Option] | None = None,
) -> dict[str, Explanation]:
    """Explains clips by several methods, to stand side by side, all of the same class of each clip.

    Methods at taps take one forward and one backward pass, together; each other one takes its own passes.

    Args:
        methods: of `METHODS`, each once, in the order in which they should stand.
        tap: where methods of one tap, such as "gradcam", are taken, name to show -> tap, each of them a map of its own;
            None: the last tap, as in `gradcam`.
        taps: what methods such as "3dcam" and "sum-gradcam" sum over; None: `stages(model)`.
        model, clips, class_index, pool, normalize: as in `gradcam`.
        top: as in `layerwise`.
        counterfactual: what speaks against the class, by negated gradients.
        batch_size: clips, as they are or changed by the method, that the model sees at once; None: 32 at taps, and of
            any other method what its function has.
        options: of the methods, see `Method.options`: {"steps": 64} of each that has it, {"rise.number": 500} of one.

    Returns:
        name to show -> explanation, for `save_overlay`. The name is "" where there is only one explanation and no name
        was given.

    Raises:
        ValueError: as in `cam3d`, an unknown method, one that is named twice, or none; an unknown option; a method that
            is not defined against a class, or for a model of several inputs.

    Example:
        >>> save_overlay("overlay.mp4", clips, by_method(model, clips, ["3dcam", "gradcam"]))
    """
    several = chosen(methods)
    settings = set_options(several, options)
    if counterfactual:
        check_against(several)
    at_taps, called = ([method for method in several if bool(method.needs) is kind] for kind in (True, False))
    if not all(method.any_model for method in called) or at_taps:
        model = with_graph(model, clips)
    if called and len(getattr(model, "inputs", None) or ()) > 1:
        names = ", ".join(x.name for x in model.inputs)
        raise ValueError(
            f"{called[0].name} explains models of one input. Received: {model.name!r}, which takes {names}"
        )
    single, summed = {}, []
    if any(method.at_one_tap for method in several):
        tap = {"": find(model)} if tap is None else tap
        single = dict(zip(tap, find_several(model, list(tap.values())), strict=True))
    if any(method.sums for method in several):
        summed = find_several(model, taps)
    if at_taps:
        how = {"pool": pool} | _joint({method.name: settings[method.name] for method in at_taps})
        every = [*summed, *(single.values() if any(method.at_one_tap for method in at_taps) else ())]
        names = [method.name for method in at_taps]
        found = one_pass(model, clips, names, list(dict.fromkeys(every)), class_index, top, batch_size or 32, **how)
        class_index = found.class_index
    elif top is not None:
        if class_index is not None:
            raise ValueError(f"top stands in place of class_index. Received: {top=}, {class_index=}")
        class_index = most_probable(model, np.asarray(clips), top, batch_size or 32)
    if called and top is not None:
        clips = np.repeat(np.asarray(clips), top, axis=0)

    def made(method: Method, where: Tap | None) -> Explanation:
        if method.needs and method.sums:
            return found.summed(method.name, summed, counterfactual, normalize)
        if method.needs:
            return found.at_tap(method.name, where, counterfactual, normalize)
        given = {"batch_size": batch_size} if batch_size else {}
        given |= {"tap": where} if method.takes_tap else {}
        given |= {"counterfactual": counterfactual} if method.counterfactual else {}
        given |= {"class_index": class_index, "normalize": normalize, **settings[method.name]}
        return _function(method.function)(model, clips, **given)

    alone, named = len(several) == 1, {}
    for method in several:
        for name, where in single.items() if method.at_one_tap else [("", None)]:
            explanation = made(method, where)
            class_index = explanation.class_index  # the same of every method
            shown = method.beside or explanation.method
            if where is not None:
                shown = f"{method.title} {name or where.name}"
            named[name if alone else shown] = explanation
    return named


def _joint(settings: Mapping[str, Mapping[str, Option]]) -> dict[str, Option]:
    """What is set of methods at taps, which are computed together; ValueError where two differ."""
    joint: dict[str, Option] = {}
    for own in settings.values():
        for name, value in own.items():
            if joint.setdefault(name, value) != value:
                raise ValueError(f"{name} is one for all methods at taps. Received: {joint[name]} and {value}")
    return joint


def at_one_tap(
    method: str,
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
    **options: str,
) -> Explanation:
    """What the function of a method of one tap gives; arguments as in `gradcam` and `one_pass`."""
    check(normalize=normalize)
    model = with_graph(model, clips)
    place = find(model, tap)
    found = one_pass(model, clips, [method], [place], class_index, batch_size=batch_size, **options)
    return found.at_tap(method, place, counterfactual, normalize)


def one_pass(
    model: keras.Model,
    clips: np.ndarray,
    methods: Iterable[str],
    taps: Sequence[Tap],
    class_index=None,
    top: int | None = None,
    batch_size: int = 32,
    **options: str,
) -> Layerwise:
    """What some methods need at every tap, and no more; the functions of the methods are made of it.

    Args:
        methods: of `METHODS`, those at taps.
        taps: taps of this model.
        **options: channels and pool, where methods have them, as in `layerwise`.
        model, clips, class_index, top, batch_size: as in `layerwise`.
    """
    options = {"channels": "sum", "pool": "spatiotemporal"} | options
    check(**options)
    needs = tuple(dict.fromkeys(need for method in methods for need in _needs(METHODS[method])))
    clips = checked_clips(model, clips)
    found = evidence(model, clips, taps, _rule(needs, **options), class_index, batch_size, top)
    return Layerwise(
        taps=tuple(taps),
        maps={
            need: {tap.name: each[:, i] for tap, each in zip(taps, found.signed, strict=True)}
            for i, need in enumerate(needs)
        },
        class_index=found.class_index,
        score=found.score,
        probability=found.probability,
        sizes={name if len(clips) > 1 else "": _size(each) for name, each in clips.items()},
        options=options,
        image=all(each.ndim != 5 for each in clips.values()),
        score_of=found.score_of,
    )


def _needs(method: Method) -> list[str]:
    return [*method.needs, *(() if method.linear else (f"-{method.needs[0]}",))]


def _size(clips: np.ndarray) -> tuple[int, int, int]:
    return clips.shape[1:4] if clips.ndim == 5 else (1, *clips.shape[1:3])


@functools.cache  # compiled functions are kept by their rule
def _rule(needs: tuple[str, ...], **options: str) -> Rule:
    """What is computed at a tap, (B, needs, t, h, w)."""
    parts = [(_function(need.removeprefix("-")), -1 if need.startswith("-") else 1) for need in needs]

    def rule(feature, gradient):
        return tf.stack([part(feature, sign * gradient, **options) for part, sign in parts], axis=1)

    return rule


def _function(path: str) -> Callable:
    """What stands in this package as "module.function"."""
    module, _, name = path.partition(".")
    return getattr(importlib.import_module(f"har_tf.explain.{module}"), name)
