"""Where a clip stands in its video: which frames it holds, and which part of the picture; and maps laid over it."""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike

import cv2
import numpy as np

from har_tf.video.display import Target


@dataclass(frozen=True, eq=False)
class Sampled:
    """A clip as it was taken from a video; `har_tf.explain.save_overlay` takes it in place of the clip.

    Attributes:
        path: the video.
        frames: int64 (N,), for each frame of the clip which frame of the video it is, in any order; one may come twice.
        size: (height, width) of the clip.
        fit: how pictures were brought to it, as in `read_clip`.
        reach: the most frames from one that was sampled to the next between which maps are interpolated: the distance
            of neighbours in the clip; None: their largest distance.
    """

    path: str | PathLike
    frames: np.ndarray
    size: tuple[int, int]
    fit: str = "stretch"
    reach: int | None = None

    @cached_property
    def order(self) -> np.ndarray:
        """The frames of the video that were sampled, rising."""
        return np.unique(self.frames)

    def in_order(self, maps: np.ndarray) -> np.ndarray:
        """Maps (N, H, W) as one for each of `order`; of a frame that comes twice the mean."""
        if len(self.order) == len(self.frames) and (np.diff(self.frames) > 0).all():
            return maps
        places = np.searchsorted(self.order, self.frames)
        total = np.zeros((len(self.order), *maps.shape[1:]), "float32")
        np.add.at(total, places, maps)
        return total / np.bincount(places).astype("float32")[:, None, None]

    def between(self, frame: int) -> tuple[int, int, float] | None:
        """Places in `order` of the frames around one, and the share of the second; None: the model never saw it."""
        right = int(np.searchsorted(self.order, frame))
        if right < len(self.order) and self.order[right] == frame:
            return right, right, 0.0
        if right in (0, len(self.order)):
            return None
        before, behind = int(self.order[right - 1]), int(self.order[right])
        if self.reach is not None and behind - before > self.reach:
            return None
        return right - 1, right, (frame - before) / (behind - before)

    def place(self, displayed: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of what the model saw, in a picture of `size` of all that the video shows at `displayed`."""
        shares = Target(self.size, self.fit).seen(displayed)
        return tuple(slice(round(a * long), round(b * long)) for (a, b), long in zip(shares, size, strict=True))


def laid(saliency: np.ndarray, place: tuple[slice, slice], size: tuple[int, int]) -> np.ndarray:
    """A map (H, W) at its place in a picture of `size`, float32; 0 elsewhere, where the model did not look."""
    height, width = (part.stop - part.start for part in place)
    part = saliency
    if part.shape != (height, width):
        part = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    if part.shape == tuple(size):
        return part
    whole = np.zeros(size, "float32")
    whole[place] = part
    return whole
