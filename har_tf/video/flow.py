"""Optical flow between the frames of a clip, and its storage in eight bits."""

from itertools import pairwise

import numpy as np

LIMIT = 20.0  # pixels of motion beyond which I3D's authors cut flow off
METHODS = ("dis", "tvl1")
MIN_SIZE = 16  # pixels; of lower or narrower frames OpenCV's DIS makes NaN, or crashes
_STEPS = 127  # from no motion to `LIMIT`
_STILL = 128  # what is stored for no motion


def optical_flow(frames: np.ndarray, method: str = "dis") -> np.ndarray:
    """The motion of every pixel from each frame of a clip to the next.

    There are as many maps of flow as frames, so that clips of flow and of RGB go through the same sampling and the same
    networks: map t leads from frame t to frame t + 1, and the last, behind which there is no frame, repeats the one
    before. Motion is counted from frame to frame of the clip: where a clip leaves out frames of its video, as "uniform"
    sampling does, it is larger than between frames of the video, and more of it is cut off. I3D was trained on flow
    between neighbours at 25 frames a second: "dense" sampling.

    Args:
        frames: (T, H, W, 3) uint8 RGB, at least two frames of 16 x 16 pixels. They are compared in grey.
        method: "dis", Dense Inverse Search (Kroeger et al. 2016, medium preset), quick; "tvl1", TV-L1 (Zach et al.
            2007), which I3D's authors used, for which OpenCV must be installed with its contributed modules.

    Returns:
        (T, H, W, 2) float32: pixels to the right and pixels down, cut off at -20 and 20.

    Raises:
        ValueError: frames of another shape or type, too few or too small; an unknown method.
        ImportError: "tvl1", and OpenCV has no such module.

    Example:
        >>> flow = optical_flow(read_clip("video.mp4", 16, (224, 224), "dense"))
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"Flow is that of uint8 frames (T, H, W, 3). Received: {frames.dtype} {frames.shape}")
    if len(frames) < 2 or min(frames.shape[1:3]) < MIN_SIZE:
        raise ValueError(
            f"Flow needs at least 2 frames of {MIN_SIZE} x {MIN_SIZE} pixels. Received: {len(frames)} of "
            f"{frames.shape[1]} x {frames.shape[2]}"
        )
    import cv2  # here, so that the package is imported quickly

    between = _method(method)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = np.empty((*frames.shape[:3], 2), np.float32)
    for t, (first, second) in enumerate(pairwise(grey)):
        flow[t] = between.calc(first, second, None)
    flow[-1] = flow[-2]
    return np.clip(flow, -LIMIT, LIMIT, out=flow)


def encode(flow: np.ndarray) -> np.ndarray:
    """Flow in eight bits: 128 + flow * 127 / 20, rounded; 1 is -20 pixels, 128 no motion, 255 is 20 pixels.

    No motion, most of most videos, is kept exactly, which a scale from 0 to 255 could not do. `decode` is off by at
    most 10 / 127 = 0.079 pixels, and by what lies beyond 20. `i3d(modality="flow")` takes this and scales it to
    [-1, 1].

    Args:
        flow: motion in pixels, of any shape.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: a motion that is not finite.
    """
    flow = np.asarray(flow)
    if not np.isfinite(flow).all():
        raise ValueError("Flow that is stored is finite. Received: values that are not")
    return (np.rint(np.clip(flow, -LIMIT, LIMIT) * (_STEPS / LIMIT)) + _STILL).astype(np.uint8)


def decode(stored: np.ndarray) -> np.ndarray:
    """The motion in pixels, float32, that `encode` stored."""
    return (np.asarray(stored, np.float32) - _STILL) * np.float32(LIMIT / _STEPS)


def _method(name: str):
    """OpenCV's object for a method; it keeps its buffers from frame to frame, so threads do not share one."""
    import cv2

    if name == "dis":
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if name != "tvl1":
        raise ValueError(f"Flow is computed by {' or '.join(map(repr, METHODS))}. Received: method={name!r}")
    if not hasattr(cv2, "optflow"):
        raise ImportError(
            "TV-L1 is not in this OpenCV: pip uninstall opencv-python, then pip install opencv-contrib-python; "
            "or use method='dis'"
        )
    return cv2.optflow.createOptFlow_DualTVL1()
