"""Several methods on the same clips, to stand side by side: one forward and one backward pass for all of them."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from har_tf.explain.cam3d import layerwise
from har_tf.explain.explanation import Explanation
from har_tf.models.taps import Tap, find, find_several, stages

METHODS = ("gradcam", "3dcam", "sum-gradcam")


def by_method(
    model: keras.Model,
    clips: np.ndarray,
    methods: Sequence[str] = METHODS,
    tap: Mapping[str, str | Tap] | None = None,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    top: int | None = None,
    counterfactual: bool = False,
    pool: str = "spatiotemporal",
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> dict[str, Explanation]:
    """Explains clips by several methods in one pass.

    Args:
        methods: of `METHODS`, each once, in the order in which they should stand.
        tap: where "gradcam" is taken, name to show -> tap, each of them a map of its own; None: the last tap, as in
            `gradcam`.
        taps: what "3dcam" and "sum-gradcam" sum over; None: `stages(model)`.
        model, clips, class_index, pool, normalize, batch_size: as in `gradcam`.
        top: as in `layerwise`.
        counterfactual: what speaks against the class, by negated gradients.

    Returns:
        name to show -> explanation, for `save_overlay`. The name is "" where there is only one explanation and no name
        was given.

    Raises:
        ValueError: as in `cam3d`, or an unknown method, one that is named twice, or none.

    Example:
        >>> save_overlay("overlay.mp4", clips, by_method(model, clips, ["3dcam", "gradcam"]))
    """
    if isinstance(methods, str) or not methods or len(set(methods)) < len(methods) or set(methods) - set(METHODS):
        raise ValueError(f"methods are some of {', '.join(METHODS)}, each once. Received: {methods=}")
    single, summed = {}, []
    if "gradcam" in methods:
        tap = {"": find(model)} if tap is None else tap
        single = dict(zip(tap, find_several(model, list(tap.values())), strict=True))
    if set(methods) - {"gradcam"}:
        summed = stages(model) if taps is None else find_several(model, taps)
    every = list(dict.fromkeys([*summed, *single.values()]))
    found = layerwise(model, clips, every, class_index, top, pool=pool, batch_size=batch_size)
    named = {}
    for method in methods:
        if method == "gradcam":
            for name, where in single.items():
                shown = name if len(methods) == 1 else f"Grad-CAM {name or where.name}"
                named[shown] = found.gradcam(where, counterfactual, normalize)
        else:
            join = found.cam3d if method == "3dcam" else found.sum_gradcam
            explanation = join(summed, counterfactual, normalize)
            # A sum of one is Grad-CAM too, and may stand beside it.
            name = "Sum Grad-CAM" if method == "sum-gradcam" else explanation.method
            named["" if len(methods) == 1 else name] = explanation
    return named
