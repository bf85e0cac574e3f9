"""What a localisation study is asked for. Nothing here imports what computes, so that help is quick."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Clips:
    """How clips are taken from videos, and which of their frames are measured."""

    size: tuple[int, int] | None = (112, 112)
    """Height and width of the frames. None: what the model of a file takes."""
    num_frames: int | None = 16
    """Frames of a clip. None: what the model of a file takes."""
    sampling: Literal["dense", "uniform"] | None = "dense"
    """dense: clips of consecutive frames that do not overlap, of which the last ends with the video; uniform: one clip
    a video, from its first to its last frame. None: as a saved model says."""
    fit: Literal["crop", "stretch"] | None = "crop"
    """crop: the centre of the frame; stretch: all of it. None: as a saved model says."""
    short: Literal["error", "repeat_last"] = "error"
    """What to do with videos of fewer frames than a clip: refuse them (error), or repeat their last frame."""
    clips_per_video: int | None = None
    """Of longer videos so many clips, evenly. None: all."""
    frames_per_clip: int | None = None
    """Of each clip so many of the frames with a true box, evenly. None: all."""
    outside: Literal["raise", "clip"] = "raise"
    """Boxes that reach beyond their frame are an error (raise), or cut off (clip)."""


@dataclass(frozen=True)
class Maps:
    """Which maps are made, and how boxes come of them."""

    explain: Literal["predicted", "true"] = "predicted"
    """Which class is explained: the predicted one, equation (1), or the annotated one."""
    channels: Literal["sum", "max", "norm"] = "sum"
    """How the activations' channels become one; see `har_tf.explain.cam3d`."""
    blur: tuple[float, ...] = (0.0,)
    """Standard deviations of a blur of the maps, of models and controls alike, in heights of the frame; of several each
    row takes the one that suits held-out training clips best. With 0 only frame differences have 1/32: every noisy
    pixel would be a contour."""
    contours: Literal["all", "largest"] = "all"
    """Which boxes count: the best of all contours (the paper), which favours scattered maps, or the largest one's."""
