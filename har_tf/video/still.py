"""Still pictures as videos of one frame, for the models and measures that also work on images.

A picture is shown as a viewer shows it: turned and mirrored as its EXIF orientation says (one that cannot be read
counts as none), in RGB. The colours of CMYK are converted without a colour profile, 16 bits become 8 by their
high byte, and what is transparent lies on white.

Bytes that are changed within the compressed data of a JPEG may decode to wrong pixels without a word from
the decoder; data that is cut off is always found.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from har_tf.files import limits

from .display import Target
from .errors import VideoError
from .guard import Guard, regular_file
from .sampling import check_by, frame_indices, frames_needed

SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
MAX_PIXELS = 89_478_485  # 256 MiB as RGB; cameras have more than video, and one picture is in memory at a time

_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class StillInfo:
    """What the header of a picture says.

    Attributes:
        path: the file.
        width: width as displayed, after the turn that `orientation` asks for.
        height: height as displayed.
        orientation: the EXIF orientation, 1 (as stored) to 8.
    """

    path: Path
    width: int
    height: int
    orientation: int

    @property
    def stored(self) -> tuple[int, int]:
        """(width, height) of the picture before it is turned."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    def turn(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) end-exclusive boxes (x1, y1, x2, y2) on the stored pixels as boxes on the displayed ones."""
        width, height = self.stored
        x1, y1, x2, y2 = np.asarray(boxes).reshape(-1, 4).T
        if self.orientation in (2, 3, 7, 8):
            x1, x2 = width - x2, width - x1
        if self.orientation in (3, 4, 6, 7):
            y1, y2 = height - y2, height - y1
        if self.orientation >= 5:
            x1, y1, x2, y2 = y1, x1, y2, x2
        return np.stack([x1, y1, x2, y2], axis=1)


def is_still(path: str | PathLike) -> bool:
    """Whether the file is called like a picture."""
    return Path(path).suffix.lower() in SUFFIXES


def probe_still(path: str | PathLike) -> StillInfo:
    """Reads the header of a picture; pixels only of a PNG, whose orientation may stand behind them.

    Raises:
        VideoError: the file cannot be read, or is no picture; the reasons are those of `read_still`.
    """
    path = regular_file(path)
    with _open(path) as image:
        info = StillInfo(path, *image.size, _orientation(image))
        return StillInfo(path, *info.stored, info.orientation)


def read_still(
    path: str | PathLike,
    num_frames: int | None = 10,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    fit: str = "stretch",
    by: str = "frame",
) -> np.ndarray:
    """Reads a picture as the clip that a video of this one frame gives.

    Args:
        path: a JPEG, PNG, BMP or WebP file, whatever its suffix says.
        num_frames, size, sampling, short, fit, by: as in `read_clip`. Pixels are averaged over areas where the picture
            shrinks and bilinear where it grows; short="error" refuses more than one frame.

    Returns:
        (T, height, width, 3) uint8 RGB; all frames are equal.

    Raises:
        VideoError: the file is missing, empty, a folder, no picture, animated, corrupt, cut off, of too few frames
            under `short="error"`, or of more pixels than `MAX_PIXELS` or `HAR_TF_MAX_PIXELS` in the environment.
        ValueError: an argument is out of its range.

    Example:
        >>> read_still("ILSVRC2012_val_00000001.JPEG", num_frames=1, size=(224, 224)).shape
        (1, 224, 224, 3)
    """
    check_by(by, sampling)
    count = len(frame_indices(1, num_frames, sampling, short="wrap" if short == "error" else short))
    target = Target(size, fit)
    guard = Guard(path)
    path = guard.path
    needed = frames_needed(num_frames, sampling)
    if short == "error" and needed > 1:
        raise VideoError(path, f"a picture is 1 frame, {needed} needed")
    with _open(path) as image:
        rgb = _rgb(image)  # first: a PNG is decoded for its EXIF data, and errors in that are forgiven
        orientation = _orientation(image)
        if orientation in _TURNS:
            rgb = rgb.transpose(_TURNS[orientation])
        pixels = np.asarray(rgb)
    shape = target.scaled(pixels.shape[:2])
    if shape != pixels.shape[:2]:
        guard.check_pixels(*shape)
    pixels = target.cut(_scale(pixels, *shape))
    return np.repeat(pixels[None], count, axis=0)


@contextmanager
def _open(path: Path):
    """The picture of a file; whatever Pillow raises until the file is closed becomes a VideoError."""
    most = limits.limit(limits.PIXELS, MAX_PIXELS)
    allowed = f"at most {most:,.0f} pixels expected; the environment variable {limits.PIXELS} raises this limit"
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, most)  # Pillow's own limit, which has no other switch
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > most:
                raise VideoError(path, f"a picture of {width} x {height} pixels, {allowed}")
            if image.format != "MPO" and getattr(image, "is_animated", False):
                raise VideoError(path, f"an animation of {image.n_frames} frames, expected a still picture")
            yield image
    except VideoError:
        raise
    except Image.DecompressionBombError as error:
        raise VideoError(path, f"a picture of too many pixels, {allowed}") from error
    except Image.UnidentifiedImageError as error:
        raise VideoError(path, f"not a picture, expected one of {', '.join(_FORMATS)}") from error
    except Exception as error:  # damaged pictures make Pillow's parsers raise errors of all kinds
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise VideoError(path, f"corrupt picture ({reason})") from error


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # ImageNet has pictures whose EXIF data no parser reads; their pixels are sound
        return 1
    return orientation if orientation in _TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip at 255
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _scale(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2  # late: most who read videos never read a picture

    # First the axes that shrink, then those that grow: OpenCV averages areas only where no axis grows.
    small = (min(pixels.shape[1], width), min(pixels.shape[0], height))
    if small != (pixels.shape[1], pixels.shape[0]):
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    if small != (width, height):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels
