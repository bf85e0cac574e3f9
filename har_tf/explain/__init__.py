"""Where and when a model looked: taps, explanations on them, and pictures of both.

A name is imported when it is first used, so that `har_tf.explain.methods`, the list of methods, needs no TensorFlow.
"""

import importlib
import sys
from types import ModuleType

from har_tf.explain.methods import METHODS

_HOMES = {
    "Explanation": "har_tf.explain.explanation",
    "ExtremalFrames": "har_tf.explain.extremal",
    "Layerwise": "har_tf.explain.layerwise",
    "Sampled": "har_tf.explain.sampled",
    "Tap": "har_tf.models.taps",
    "VideoExplanation": "har_tf.explain.windows",
    "by_method": "har_tf.explain.layerwise",
    "extremal_frames": "har_tf.explain.extremal",
    "explain_video": "har_tf.explain.windows",
    "gradcam_at": "har_tf.explain.gradcam",
    "layerwise": "har_tf.explain.layerwise",
    "overlay": "har_tf.explain.overlay",
    "save_overlay": "har_tf.explain.overlay",
    "stages": "har_tf.models.taps",
    "taps": "har_tf.models.taps",
}
for _method in METHODS.values():
    _module, _, _name = _method.function.partition(".")
    _HOMES[_name] = f"har_tf.explain.{_module}"

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name == "tcav":  # where it was; not listed, as explanations come before concepts
        return importlib.import_module("har_tf.concepts.tcav")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """A package whose public names stay what they are.

    Python sets each imported module of a package as its attribute, which would put the module `gradcam` where the
    function `gradcam` is looked for.
    """

    def __setattr__(self, name, value):
        if isinstance(value, ModuleType) and name in _HOMES:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
