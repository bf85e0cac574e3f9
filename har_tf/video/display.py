"""From a decoded frame to the pixels a person sees: size, shape of the pixels, rotation, colour."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .guard import Guard

# Area averaging does not alias when it shrinks (it is bilinear when it enlarges). Without the other two flags
# swscale computes colour so coarsely that white becomes 253.
_SCALING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


FITS = ("stretch", "crop", "inner")
_LARGER = {"crop": 1, "inner": 8 / 7}  # than `size`, before the centre is cut out; 256 for 224, as is usual


@dataclass(frozen=True)
class Target:
    """The size that pictures are brought to, and how.

    Args:
        size: (height, width), or None for the size as displayed.
        fit: "stretch" scales the whole picture to `size`, whatever its shape; "crop" scales it evenly until it
            covers `size`, and cuts out the centre; "inner" scales it to 8/7 of that before.

    Raises:
        ValueError: not such a size, another fit.
    """

    size: tuple[int, int] | None
    fit: str = "stretch"

    def __post_init__(self):
        sides = [1, 1] if self.size is None else list(self.size)
        if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
            raise ValueError(f"size must be None or (height, width), both positive. Received: size={self.size!r}.")
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}. Received: fit={self.fit!r}.")

    @property
    def stretches(self) -> bool:
        """Whether the result does not depend on the shape of the pixels."""
        return self.size is not None and self.fit == "stretch"

    def scaled(self, displayed: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that a picture of a displayed size is scaled to."""
        if self.size is None:
            return displayed
        wanted = int(self.size[0]), int(self.size[1])
        if self.fit == "stretch":
            return wanted
        factor = _LARGER[self.fit] * max(want / side for want, side in zip(wanted, displayed, strict=True))
        return max(wanted[0], round(displayed[0] * factor)), max(wanted[1], round(displayed[1] * factor))

    def seen(self, displayed: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
        """The rows and the columns of a displayed picture that the result shows, (begin, end) as shares of it each."""
        if self.size is None:
            return (0.0, 1.0), (0.0, 1.0)
        shares = []
        for long, want in zip(self.scaled(displayed), self.size, strict=True):
            begin = (long - want) // 2
            shares.append((begin / long, (begin + want) / long))
        return tuple(shares)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The part of a scaled picture (height, width, 3) that is wanted."""
        if self.size is None:
            return pixels
        top, left = (pixels.shape[0] - self.size[0]) // 2, (pixels.shape[1] - self.size[1]) // 2
        return pixels[top : top + self.size[0], left : left + self.size[1]]


@dataclass(frozen=True)
class View:
    """How stored frames become displayed ones.

    Attributes:
        target: what the result is brought to.
        shape: (height, width) that pictures are scaled to.
        matrix: signs (a, b, c, d) of the display matrix: x' = a x + c y, y' = b x + d y.
    """

    target: Target
    shape: tuple[int, int]
    matrix: tuple[int, int, int, int]

    @classmethod
    def of(cls, guard: Guard, frame: av.VideoFrame, pixel_ratio: Fraction | None, target: Target) -> "View":
        """The view of a frame whose pixels have this ratio of width to height; None: square.

        Raises:
            VideoError: it would be scaled to more pixels than `guard` allows.
        """
        matrix = (1, 0, 0, 1)
        side_data = frame.side_data.get("DISPLAYMATRIX")
        if side_data is not None:
            # 3 x 3 in fixed point; the two largest of a, b, c, d make the nearest quarter turn or mirror.
            a, b, _, c, d = (int(x) for x in np.frombuffer(bytes(side_data), np.int32)[:5])
            turned = abs(b) + abs(c) > abs(a) + abs(d)
            matrix = (0, _sign(b), _sign(c), 0) if turned else (_sign(a), 0, 0, _sign(d))
        ratio = pixel_ratio or 1
        if not 1 / 8 <= ratio <= 8:
            ratio = 1  # a damaged header: no camera, and no broadcast, makes such pixels
        height = max(frame.height, round(frame.height / ratio))
        width = max(frame.width, round(frame.width * ratio))
        displayed = (width, height) if matrix[0] == 0 else (height, width)
        shape = target.scaled(displayed)
        guard.check_pixels(*shape)
        return cls(target, shape, matrix)

    @property
    def rotation(self) -> int:
        """Degrees clockwise; a mirrored picture counts as its nearest rotation."""
        if self.matrix[0] == 0:
            return 90 if self.matrix[1] > 0 else 270
        return 180 if self.matrix[0] < 0 and self.matrix[3] < 0 else 0

    def show(self, frame: av.VideoFrame, reformatter: VideoReformatter, out: np.ndarray | None = None) -> np.ndarray:
        """The displayed frame, (height, width, 3) uint8 RGB; written to `out` where there is one."""
        a, b, c, d = self.matrix
        height, width = self.shape[::-1] if a == 0 else self.shape
        if (frame.height, frame.width) == (height, width):
            rgb = reformatter.reformat(frame, width, height, "rgb24", threads=1)
            pixels = _pixels(rgb.planes[0], height, 3 * width).reshape(height, width, 3)
        else:
            import cv2  # here, so that the package is imported quickly

            # In planes: swscale scales to packed RGB half as fast.
            rgb = reformatter.reformat(frame, width, height, "gbrp", interpolation=_SCALING, threads=1)
            green, blue, red = (_pixels(plane, height, width) for plane in rgb.planes)
            direct = out is not None and self.matrix == (1, 0, 0, 1) and out.shape[:2] == (height, width)
            pixels = cv2.merge([red, green, blue], out if direct else None)
            if direct:
                return pixels
        if a == 0:
            pixels = pixels.swapaxes(0, 1)
        if a + c < 0:
            pixels = pixels[:, ::-1]
        if b + d < 0:
            pixels = pixels[::-1]
        pixels = self.target.cut(pixels)
        if out is not None:
            out[:] = pixels
        return pixels


class Clip:
    """A clip that is filled frame by frame.

    Args:
        guard: says how large pictures may be.
        indices: (T,) the frames wanted, in the order of the clip.
        target: what frames are brought to.
        pixel_ratio: width of the pixels over their height; None: square.
    """

    def __init__(self, guard: Guard, indices: np.ndarray, target: Target, pixel_ratio: Fraction | None = None):
        self.guard = guard
        self.places: dict[int, list[int]] = {}
        for place, index in enumerate(indices.tolist()):
            self.places.setdefault(index, []).append(place)
        self.indices = indices
        self.length = len(indices)
        self.target = target
        self.pixel_ratio = pixel_ratio
        self.view: View | None = None
        self.reformatter = VideoReformatter()

    def offer(self, index: int, frame: av.VideoFrame) -> bool:
        """Take the frame if it is wanted; True when nothing is wanted any more."""
        places = self.places.pop(index, None)
        if places is not None:
            if self.view is None:
                self.view = View.of(self.guard, frame, self.pixel_ratio, self.target)
                self.pixels = np.empty((self.length, *(self.target.size or self.view.shape), 3), np.uint8)
            first, *others = places
            self.view.show(frame, self.reformatter, self.pixels[first])
            for place in others:
                self.pixels[place] = self.pixels[first]
        return not self.places


def _pixels(plane: av.video.plane.VideoPlane, height: int, width: int) -> np.ndarray:
    return np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, :width]


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
