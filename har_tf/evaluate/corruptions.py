"""Fifteen corruptions of a clip at five strengths: what cameras, weather, light and transmission do to a video.

Where ImageNet-C (Hendrycks and Dietterich 2019) or Kinetics-C (Yi et al. 2021) has the corruption its values are taken;
the others are chosen to lie as far apart. Their values are for pictures of 224 pixels: lengths scale with the shorter
side of the clip, so that a corruption hides the same things in a clip of any size. What is random is drawn once for all
strengths: a stronger corruption is more of the same noise, drops the same frames and others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

STRENGTHS = (1, 2, 3, 4, 5)
_SIDE = 224  # pixels, for which lengths are given
_LEAST = 0.35  # scale of lengths, that of 78 pixels: less would leave a clip as it is
_GAMMA = 2.2


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Args:
        name: of it.
        apply: (uint8 (T, H, W, 3), value, generator) -> as the clip.
        values: one a strength.
        unit: what the values are.
        source: where they come from; None: chosen here.
    """

    name: str
    apply: Callable[[np.ndarray, float | tuple, np.random.Generator], np.ndarray]
    values: tuple
    unit: str
    source: str | None = None


def corrupt(clip: np.ndarray, name: str, strength: int, seed: int | Sequence[int] = 0) -> np.ndarray:
    """A clip with one corruption.

    Args:
        clip: uint8 (T, H, W, 3), RGB.
        name: one of `CORRUPTIONS`.
        strength: 1 to 5; 0 leaves the clip as it is.
        seed: of all that is random; equal seeds corrupt alike.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        ValueError: no such clip, corruption or strength.
    """
    clip = np.asarray(clip)
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or not clip.size:
        raise ValueError(f"clip must be uint8 (T, H, W, 3). Received: {clip.dtype} {clip.shape}")
    check(name, strength)
    if strength == 0:
        return clip.copy()
    kind = CORRUPTIONS[name]
    rng = np.random.default_rng([*np.atleast_1d(seed).tolist(), zlib.crc32(name.encode())])
    return kind.apply(clip, kind.values[strength - 1], rng)


def check(name: str, strength: int) -> None:
    """Raises ValueError where there is no such corruption or strength."""
    if name not in CORRUPTIONS or strength not in (0, *STRENGTHS):
        raise ValueError(
            f"corruptions are {', '.join(CORRUPTIONS)}, their strengths 0 to 5. Received: {name!r}, {strength!r}"
        )


def _bytes(clip: np.ndarray) -> np.ndarray:
    """uint8 of pixels between 0 and 1, and beyond."""
    return np.rint(255 * np.clip(clip, 0, 1)).astype(np.uint8)


def _shares(clip: np.ndarray) -> np.ndarray:
    return clip.astype(np.float32) / 255


def _each(clip: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(frame) for frame in clip])


def _scale(clip: np.ndarray) -> float:
    return max(min(clip.shape[1:3]) / _SIDE, _LEAST)


def _noise(clip, deviation, rng):
    return _bytes(_shares(clip) + deviation * rng.standard_normal(clip.shape, np.float32))


def _blur(clip, sigma, _):
    sigma = sigma * _scale(clip)
    return _each(clip, lambda frame: cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def _filtered(clip, kernel):
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return _each(clip, lambda frame: cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def _defocus(clip, radius, _):
    radius = radius * _scale(clip)
    reach, fine = int(np.ceil(radius)), 8  # parts of a pixel's side, by which its share of the disc is counted
    along = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    disc = np.square(along)[:, None] + np.square(along) <= max(radius, 0.5) ** 2
    return _filtered(clip, disc.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3)))


def _motion_blur(clip, value, rng):
    (radius, sigma), angle = value, np.deg2rad(rng.uniform(-45, 45))
    steps = np.arange(-radius, radius + 1)
    x, y = (side * steps * _scale(clip) for side in (np.cos(angle), np.sin(angle)))
    reach = int(np.ceil(radius * _scale(clip)))
    axis = np.arange(-reach, reach + 1)
    # Every step is shared among the four pixels around it.
    near_x, near_y = (np.maximum(0, 1 - np.abs(axis[:, None] - along)) for along in (x, y))
    return _filtered(clip, near_y * np.exp(-0.5 * np.square(steps / sigma)) @ near_x.T)


def _jpeg(clip, quality, _):
    def coded(frame):  # OpenCV codes blue, green, red
        _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]

    return _each(clip, coded)


def _h264(clip, crf, _):
    height, width = clip.shape[1:3]
    even = np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = *even.shape[1:3], "yuv420p"
    encoder.time_base, encoder.thread_count, encoder.options = Fraction(1, 25), 1, {"crf": str(crf)}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, pixels in enumerate(even):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])[:, :height, :width]


def _lost(clip, share, rng):
    """bool (T,): the frames that are lost, never the first."""
    lost = np.zeros(len(clip), bool)
    lost[1 + rng.permutation(len(clip) - 1)[: round(share * len(clip))]] = True
    return lost


def _dropped(clip, share, rng):
    left = np.flatnonzero(~_lost(clip, share, rng))
    return clip[left[_nearest(np.linspace(0, len(left) - 1, len(clip)), len(left))]]


def _repeated(clip, share, rng):
    return clip[np.maximum.accumulate(np.where(_lost(clip, share, rng), 0, np.arange(len(clip))))]


def _jitter(clip, deviation, rng):
    times = np.sort(np.arange(len(clip)) + deviation * rng.standard_normal(len(clip)))
    return clip[_nearest(times, len(clip))]


def _nearest(times, count):
    """The frames nearest to these times, halves rounded up, int (T,) in 0 to count - 1."""
    return np.clip(np.floor(times + 0.5), 0, count - 1).astype(int)


def _dark(clip, stops, _):
    return _bytes(_shares(clip) * 2 ** (-stops / _GAMMA))


def _bright(clip, more, _):
    def lifted(frame):
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        hsv[..., 2] = np.minimum(hsv[..., 2] + more, 1)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return _bytes(_each(_shares(clip), lifted))


def _contrast(clip, share, _):
    mean = clip.mean(axis=(0, 1, 2)) / 255
    table = _bytes((np.arange(256)[:, None] / 255 - mean) * share + mean)  # (256, 3)
    return cv2.LUT(clip.reshape(len(clip), -1, 3), table[None]).reshape(clip.shape)


def _fog(clip, amount, rng):
    pixels, side = _shares(clip), max(clip.shape[1:3])
    layer, points, height = np.zeros((side, side), np.float32), 2, 1.0
    while points <= side + 1:  # a plasma: ever finer grids of random heights
        layer += height * cv2.resize(rng.uniform(-1, 1, (points, points)).astype(np.float32), (side, side))
        points, height = 2 * points - 1, height / 1.7**2
    layer = (layer - layer.min()) / np.ptp(layer)
    top = float(pixels.max())
    fogged = pixels + amount * layer[: clip.shape[1], : clip.shape[2], None]
    return _bytes(fogged * top / (top + amount))


def _turned(clip, degrees, shifts):
    """The frames turned about their middle and moved, (T,) and (T, 2) as x, y in pixels, mirrored at the edges."""
    height, width = clip.shape[1:3]
    frames = []
    for frame, angle, shift in zip(clip, degrees, shifts, strict=True):
        place = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(angle), 1)
        place[:, 2] += shift
        frames.append(cv2.warpAffine(frame, place, (width, height), borderMode=cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def _rotation(clip, degrees, rng):
    return _turned(clip, np.full(len(clip), degrees * rng.choice([-1, 1])), np.zeros((len(clip), 2)))


def _shake(clip, share, rng):
    path = rng.standard_normal((len(clip) + 2, 3))
    path = (path[:-2] + 2 * path[1:-1] + path[2:]) / 6**0.5  # a hand is slower than a frame
    return _turned(clip, np.rad2deg(0.5 * share * path[:, 2]), share * min(clip.shape[1:3]) * path[:, :2])


_IMAGENET, _KINETICS = "ImageNet-C", "Kinetics-C"
_OF_FRAMES = (0.1, 0.2, 0.35, 0.5, 0.7)

CORRUPTIONS = {
    corruption.name: corruption
    for corruption in (
        Corruption("noise", _noise, (0.08, 0.12, 0.18, 0.26, 0.38), "deviation, share of full scale", _IMAGENET),
        Corruption("blur", _blur, (1, 2, 3, 4, 6), "deviation of a Gaussian in pixels", _IMAGENET),
        Corruption("defocus", _defocus, (3, 4, 6, 8, 10), "radius of a disc in pixels", _IMAGENET),
        Corruption(
            "motion blur", _motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            "half the length of a line and deviation of its weights, in pixels", _IMAGENET,
        ),
        Corruption("jpeg", _jpeg, (25, 18, 15, 10, 7), "quality", _IMAGENET),
        Corruption("h264", _h264, (23, 30, 37, 44, 51), "constant rate factor", _KINETICS),
        Corruption("dropped frames", _dropped, _OF_FRAMES, "share lost; the others are spread over the clip"),
        Corruption("repeated frames", _repeated, _OF_FRAMES, "share that shows the frame before it"),
        Corruption("dark", _dark, (1, 2, 3, 4, 5), "stops less light"),
        Corruption("bright", _bright, (0.1, 0.2, 0.3, 0.4, 0.5), "added to the value of HSV", _IMAGENET),
        Corruption("contrast", _contrast, (0.4, 0.3, 0.2, 0.1, 0.05), "share of the contrast left", _IMAGENET),
        # ImageNet-C has 2.5 twice and finer fog at higher strengths, which by PSNR is no stronger; this is as fine as
        # its third.
        Corruption("fog", _fog, (1.5, 2, 2.5, 2.75, 3), "amount beside the brightest pixel, 1", _IMAGENET),
        Corruption("rotation", _rotation, (5, 10, 20, 30, 45), "degrees, to either side"),
        Corruption("camera shake", _shake, (0.01, 0.02, 0.03, 0.05, 0.08), "deviation, share of the shorter side"),
        Corruption("frame-rate jitter", _jitter, (0.5, 1, 1.5, 2, 3), "deviation of times, distances of frames"),
    )
}  # fmt: skip
