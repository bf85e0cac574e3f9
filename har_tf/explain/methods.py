"""The list of methods of explanation: what each is called, what it needs at a tap, and how taps are joined.

To add one, write its file with its equation and its function, its test, and a line here. Nothing here imports
TensorFlow, so that the command line knows the methods before that has taken its seconds; functions are therefore named
as "module.function" of this package.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One method of explanation.

    Attributes:
        name: what it is asked for by.
        title: what its maps are called.
        function: the function that users call, which `har_tf.explain` has by its last name.
        needs: functions of float32 feature maps and gradients (B, t, h, w, c), with `options` as keywords, to maps
            (B, t, h, w), which are multiplied. The first is linear in the gradient: it changes its sign for what speaks
            against the class.
        options: what these functions leave to the caller, of `options.CHOICES`.
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
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()
    sums: bool = False
    rectified: bool = True
    align: str = "centres"
    title_of_images: str = ""
    beside: str = ""


METHODS = {
    method.name: method
    for method in (
        Method("gradcam", "Grad-CAM", "gradcam.gradcam", ("gradcam.weighted",), ("pool",)),
        Method(
            "3dcam", "3DCAM", "cam3d.cam3d", ("cam3d.beta", "cam3d.alpha"), ("channels",), sums=True, rectified=False,
            align="corners", title_of_images="2DCAM",
        ),
        Method(
            "sum-gradcam", "Grad-CAM", "cam3d.sum_gradcam", ("gradcam.weighted",), ("pool",), sums=True,
            beside="Sum Grad-CAM",
        ),
    )
}  # fmt: skip


def chosen(names: Sequence[str]) -> list[Method]:
    """The methods of these names.

    Raises:
        ValueError: a name that no method has, one that is given twice, or none.
    """
    if isinstance(names, str) or not names or len(set(names)) < len(names) or not set(names) <= set(METHODS):
        raise ValueError(f"methods are some of {', '.join(METHODS)}, each once. Received: methods={names!r}")
    return [METHODS[name] for name in names]
