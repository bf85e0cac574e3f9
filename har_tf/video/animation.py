"""Write clips as pictures that move, GIF or WebP, which a slide or a web page shows like any picture."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
from PIL import Image

from .errors import VideoError
from .writer import Timed, unwritten, whole_video, write_video

SUFFIXES = (".mp4", ".gif", ".webp")
_LEAST = 0.02  # seconds of a picture: browsers show shorter ones for five times as long


def write_any(path: str | PathLike, frames: np.ndarray | Iterable[np.ndarray | Timed], fps: float = 10) -> Path:
    """Writes a clip as its name says: `write_video` for .mp4, `write_animation` for .gif and .webp; arguments as there.

    Raises:
        VideoError: another ending; or as in these.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise VideoError(path, f"cannot be written: the name must end in {', '.join(SUFFIXES)}")
    return (write_video if suffix == ".mp4" else write_animation)(path, frames, fps=fps)


def write_animation(path: str | PathLike, frames: np.ndarray | Iterable[np.ndarray | Timed], fps: float = 10) -> Path:
    """Writes frames as an animation that starts again at its end, one frame in memory, and opens it again.

    A GIF has 256 colours, chosen anew for every frame, and pictures of 1/50 s at least: of faster clips frames are
    left out. The file appears under its name when it is complete.

    Args:
        path: file to write, ending in .gif or .webp; its folder must exist. An existing file is replaced.
        frames, fps: as in `write_video`.

    Raises:
        VideoError: the path cannot be written, or this FFmpeg has no encoder for it.
        ValueError: as in `write_video`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".gif", ".webp"):
        raise VideoError(path, "cannot be written: the name must end in .gif or .webp")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be a number in (0, 1000]. Received: fps={fps!r}.")
    with whole_video(path, frames) as (part, checked, shape):
        try:
            (_gif if suffix == ".gif" else _webp)(part, _slow_enough(checked, fps), shape[:2])
        except av.FFmpegError as error:
            raise unwritten(path, error) from error
        except ValueError as error:
            raise VideoError(path, f"cannot be written: {error}") from error
        with Image.open(part) as picture:
            if picture.size != (shape[1], shape[0]):
                raise VideoError(path, f"written, but reads back as {picture.size}, expected {(shape[1], shape[0])}")
    return path


def _slow_enough(frames, fps: float) -> Iterator[tuple[np.ndarray, float]]:
    latest = -1.0
    for number, (frame, second) in enumerate(frames):
        second = number / fps if second is None else second
        if second - latest >= _LEAST - 1e-6:
            latest = second
            yield frame, second


def _gif(part: Path, frames: Iterator[tuple[np.ndarray, float]], size: tuple[int, int]) -> None:
    base = Fraction(1, 100)
    with av.open(f"file:{part}", "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=100)
        stream.height, stream.width, stream.pix_fmt = *size, "pal8"
        stream.codec_context.time_base = base
        for pixels, second in frames:
            picture = Image.fromarray(pixels)
            # The quickest palette, which dithering makes as good as a slow one.
            palette = picture.quantize(256, Image.Quantize.FASTOCTREE)
            indices = np.asarray(picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
            colours = np.full((256, 4), 255, np.uint8)  # ARGB
            known = np.reshape(palette.getpalette("RGB"), (-1, 3))
            colours[: len(known), 1:] = known
            frame = av.VideoFrame.from_ndarray((indices, colours), format="pal8")
            frame.pts, frame.time_base = round(second / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _webp(part: Path, frames: Iterator[tuple[np.ndarray, float]], size: tuple[int, int]) -> None:
    base = Fraction(1, 1000)
    with av.open(f"file:{part}", "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=1000, options={"quality": "85", "compression_level": "2"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = base
        for pixels, second in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(second / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
