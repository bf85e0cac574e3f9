"""How a coarse map becomes one number for every pixel of a clip: linear interpolation along time, height and width."""

import numpy as np

from har_tf.explain.options import check

WHOLE = ((0.0, 1.0),) * 3  # along time, height and width: a map that shows all of the clip


def enlarge(maps: np.ndarray, size: tuple[int, int, int], align: str = "centres", spans=WHOLE) -> np.ndarray:
    """Stretches maps over time, height and width: trilinear interpolation, as one product with a matrix an axis.

    With "centres" a cell of a map covers an equal share of the clip, OpenCV's and TensorFlow's half-pixel convention.
    With "corners" the first and last cell lie on the first and last frame, row and column (equations (3) to (5) of the
    3DCAM paper; tf-keras-vis), which moves evidence outwards by up to half a cell.

    Args:
        maps: float32 (B, t, h, w).
        size: (T, H, W).
        align: "centres" or "corners".
        spans: the part of the clip that the maps show, see `Tap.spans`; outside of it the result is 0.

    Returns:
        float32 (B, T, H, W); no value leaves the range of its neighbours.

    Raises:
        ValueError: another alignment.
    """
    axes = zip(maps.shape[1:], size, spans, strict=True)
    time, height, width = (interpolation(old, new, align, span) for old, new, span in axes)
    clips, t, h, w = maps.shape
    # Time first, while the maps are small; and many small products rather than one large one, since the threads of
    # NumPy's BLAS go on waiting for work for some 30 ms, which the next pass of TensorFlow would lack.
    if t != size[0] or spans[0] != WHOLE[0]:
        maps = (time @ maps.reshape(clips, t, h * w)).reshape(clips, -1, h, w)
    if w != size[2] or spans[2] != WHOLE[2]:
        maps = maps @ width.T
    return height @ maps if h != size[1] or spans[1] != WHOLE[1] else maps


def interpolation(old: int, new: int, align: str = "centres", span: tuple[float, float] = WHOLE[0]) -> np.ndarray:
    """The matrix (new, old) that resamples `old` cells to `new`, linearly between them.

    Under "corners" a single new cell lies half way between the first and the last of the old ones. Where the old cells
    show a part of the new ones, `span`, the others are 0.
    """
    check(align=align)
    begin, end = span
    inside = np.ones(new, bool)
    if span != WHOLE[0]:
        centres, length = (np.arange(new) + 0.5) / new, end - begin
        inside = (centres >= begin) & (centres <= end)
        if align == "corners":
            places = (np.arange(new) - begin * new) / max(length * new - 1, 1e-9) * (old - 1)
        else:
            places = (centres - begin) / length * old - 0.5
        places = np.clip(places, 0, old - 1)
    elif align == "corners":
        places = np.linspace(0, old - 1, new) if new > 1 else np.full(1, (old - 1) / 2)
    else:
        places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    left = np.minimum(places.astype(int), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    matrix = np.zeros((new, old), "float32")
    np.add.at(matrix, (np.arange(new), left), 1 - (places - left))
    np.add.at(matrix, (np.arange(new), right), places - left)
    return matrix * inside[:, None].astype("float32")
