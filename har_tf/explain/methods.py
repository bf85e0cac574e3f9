"""The list of methods of explanation: what each is called, what it needs, and what may be set.

Two kinds stand in it. Methods *at taps* say what they need of a feature map and its gradient (`needs`); all of them are
computed in one forward and one backward pass. Any other method is a function that is called with the model and the
clips, as those of the gradient at the pixels and those that only ask the model for its answers.

To add one, write its file with its equation and its function, its test, and a line here. Nothing here imports
TensorFlow, so that the command line knows the methods before that has taken its seconds; functions are therefore named
as "module.function" of this package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

from har_tf.explain.options import CHOICES, check

Option = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | None


@dataclass(frozen=True)
class Method:
    """One method of explanation.

    Attributes:
        name: what it is asked for by.
        title: what its maps are called.
        function: the function that users call, which `har_tf.explain` has by its last name. Without `needs` it is
            called as `function(model, clips, class_index=, normalize=, batch_size=, **options)`.
        needs: of methods at taps: functions of float32 feature maps and gradients (B, t, h, w, c), with `options` as
            keywords, to maps (B, t, h, w), which are multiplied.
        linear: whether the first of these changes its sign with the gradient, so that it is computed once for what
            speaks for the class and against it.
        options: what may be set, name -> default; the function has the same. None stands for three whole numbers that
            hang on the size of the clip.
        counterfactual: whether it can show what speaks against the class; a function that is called takes
            `counterfactual=` then.
        takes_tap: whether a function that is called takes `tap=`, a feature map.
        any_model: whether a function that is called does with a model that has no graph.
        sums: whether the maps of several taps are joined to one, each divided by its maximum; else every tap has a map
            of its own.
        rectified: whether negative evidence is cut off before a map is enlarged; else afterwards.
        align: how its maps are enlarged by default, see `upsampling.enlarge`.
        title_of_images: what its maps are called where the model takes images.
        beside: what it is called beside other methods, where its title is that of another.
    """

    name: str
    title: str
    function: str
    needs: tuple[str, ...] = ()
    linear: bool = True
    options: Mapping[str, Option] = field(default_factory=dict)
    counterfactual: bool = True
    takes_tap: bool = False
    any_model: bool = False
    sums: bool = False
    rectified: bool = True
    align: str = "centres"
    title_of_images: str = ""
    beside: str = ""

    @property
    def at_one_tap(self) -> bool:
        """Whether `tap` says where it is taken."""
        return self.takes_tap or bool(self.needs and not self.sums)


METHODS = {
    method.name: method
    for method in (
        Method("gradcam", "Grad-CAM", "gradcam.gradcam", ("gradcam.weighted",), options={"pool": "spatiotemporal"}),
        Method(
            "3dcam", "3DCAM", "cam3d.cam3d", ("cam3d.beta", "cam3d.alpha"), options={"channels": "sum"}, sums=True,
            rectified=False, align="corners", title_of_images="2DCAM",
        ),
        Method(
            "sum-gradcam", "Grad-CAM", "cam3d.sum_gradcam", ("gradcam.weighted",), options={"pool": "spatiotemporal"},
            sums=True, beside="Sum Grad-CAM",
        ),
        Method(
            "gradcam++", "Grad-CAM++", "gradcam_plus_plus.gradcam_plus_plus", ("gradcam_plus_plus.weighted",),
            linear=False, options={"pool": "spatiotemporal"},
        ),
        Method("hirescam", "HiResCAM", "hirescam.hirescam", ("hirescam.product",)),
        Method("layercam", "LayerCAM", "layercam.layercam", ("layercam.positive",), linear=False),
        Method(
            "scorecam", "Score-CAM", "scorecam.scorecam", counterfactual=False, takes_tap=True,
            options={"strongest": 64, "weights": "probability", "fill": "black"},
        ),
        Method("gradient", "Gradient", "gradient.gradient", options={"colours": "max"}, counterfactual=False),
        Method("gradient-x-input", "Gradient x input", "gradient_x_input.gradient_x_input"),
        Method(
            "integrated-gradients", "Integrated Gradients", "integrated_gradients.integrated_gradients",
            options={"steps": 32, "fill": "black"},
        ),
        Method(
            "smoothgrad", "SmoothGrad", "smoothgrad.smoothgrad", counterfactual=False,
            options={"samples": 20, "noise": 0.15, "seed": 0, "colours": "max"},
        ),
        Method(
            "occlusion", "Occlusion", "occlusion.occlusion", any_model=True,
            options={"window": None, "stride": None, "fill": "mean", "score": "logit"},
        ),
        Method(
            "rise", "RISE", "rise.rise", any_model=True,
            options={
                "number": 1000, "cells": (4, 7, 7), "p": 0.5, "shift": True, "seed": 0, "fill": "mean",
                "score": "logit",
            },
        ),
        Method(
            "lime", "LIME", "lime.lime", any_model=True,
            options={
                "segments": "grid", "cells": (4, 7, 7), "compactness": 20.0, "number": 1000, "p": 0.5,
                "kernel_width": 0.25, "ridge": 1.0, "seed": 0, "fill": "segment", "score": "logit",
            },
        ),
        Method(
            "extremal", "Extremal frames", "extremal.extremal", counterfactual=False, any_model=True,
            options={
                "goal": "preserve", "areas": (0.05, 0.1, 0.2, 0.4, 0.6, 0.8), "smooth": 1 / 16, "steps": 100,
                "enough": 0.9, "fill": "blur", "score": "logit",
            },
        ),
        Method("rollout", "Attention rollout", "rollout.rollout", counterfactual=False, options={"grid": None}),
    )
}  # fmt: skip
DEFAULT = ("gradcam", "3dcam", "sum-gradcam")  # from one pass, in a second or two


def chosen(names: Sequence[str]) -> list[Method]:
    """The methods of these names.

    Raises:
        ValueError: a name that no method has, one that is given twice, or none.
    """
    if isinstance(names, str) or not names or len(set(names)) < len(names) or not set(names) <= set(METHODS):
        raise ValueError(f"methods are some of {', '.join(METHODS)}, each once. Received: methods={names!r}")
    return [METHODS[name] for name in names]


def check_against(methods: Sequence[Method]) -> None:
    """Raises ValueError where one of these methods cannot show what speaks against a class."""
    without = [method.name for method in methods if not method.counterfactual]
    if without:
        raise ValueError(
            f"what speaks against a class is not defined for {', '.join(without)}. Received: counterfactual=True"
        )


def set_options(methods: Sequence[Method], given: Mapping[str, Any] | None) -> dict[str, dict[str, Option]]:
    """What is set of each method, by its name.

    Args:
        methods: some of `METHODS`.
        given: option -> value, of every method that has it, or "method.option" -> value, of that method alone. A text
            is read as the number that the option is.

    Raises:
        ValueError: an option that none of these methods has, or a value of another kind than its default.
    """
    found: dict[str, dict[str, Option]] = {method.name: {} for method in methods}
    for key, value in sorted((given or {}).items(), key=lambda item: "." in item[0]):
        of, _, name = key.rpartition(".")
        having = [method for method in methods if name in method.options and of in ("", method.name)]
        if not having:
            known = [f"{each.name}.{name}={value}" for each in methods for name, value in each.options.items()]
            raise ValueError(f"options of these methods are {', '.join(known) or 'none'}. Received: {key}={value}")
        for method in having:
            found[method.name][name] = _value(name, value, method.options[name])
    return found


def _value(name: str, given: Any, default: Option) -> Option:
    text = isinstance(given, str)
    if isinstance(default, str):
        if name in CHOICES:
            check(**{name: given})
        return given
    if isinstance(default, bool):
        kind, known = "true or false", {"true": True, "false": False, True: True, False: False}
        value = known.get(given.lower() if text else given)
    elif default is None or isinstance(default, tuple):
        of_floats = default is not None and isinstance(default[0], float)
        kind = "numbers such as 0.1x0.5" if of_floats else "whole numbers such as 4x7x7"
        parts = given.split("x") if text else given
        number = float if of_floats else int if text else index
        value = _converted(lambda: tuple(map(number, parts)))
    else:
        kind = {int: "a whole number", float: "a number"}[type(default)]
        value = _converted(lambda: type(default)(given))
        if not text and (isinstance(given, bool) or value != given):
            value = None
    if value is None:
        raise ValueError(f"{name} is {kind}. Received: {name}={given!r}")
    return value


def _converted(convert: Callable[[], Any]) -> Any:
    try:
        return convert()
    except (TypeError, ValueError):
        return None
