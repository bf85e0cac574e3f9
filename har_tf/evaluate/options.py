"""What a study of localisation or of trust is asked for. Nothing here imports what computes, so that help is quick."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, get_args

from har_tf.command import check_ranges, words
from har_tf.explain.methods import METHODS, chosen, set_options
from har_tf.video.sampling import check_by

_TESTED = "gradcam,gradcam++,hirescam,layercam,3dcam,gradient,integrated-gradients,smoothgrad,occlusion,rise,lime"
# Every frame loses the same share of its own pixels; whole frames, by their mean saliency; all of a clip's pixels.
Axis = Literal["space", "time", "both"]
# Each frame under a strong Gaussian blur; the clip's mean colour; normal noise of the clip's mean and deviation in each
# channel; and, for whole frames, the nearest frame that is still there, of two as near the earlier one.
Fill = Literal["blur", "mean", "noise", "neighbour"]
AXES, FILLS = get_args(Axis), get_args(Fill)


@dataclass(frozen=True)
class Reading:
    """How clips are read."""

    size: tuple[int, int] | None = (224, 224)
    """Height and width of the frames. None: as the model of a file takes them."""
    num_frames: int | None = 32
    """Frames of a clip. None: as the model of a file takes them."""
    sampling: Literal["uniform", "strided", "dense"] | None = "strided"
    """How frames are taken of videos; strided: every second one. None: as a saved model says."""
    fit: Literal["crop", "inner", "stretch"] | None = "crop"
    """What is taken of a frame: its centre (crop), seven eighths of that (inner) or all of it (stretch). None: as a
    saved model says."""

    by: str | None = "frame"
    """Count frames (frame), take those nearest to evenly spaced times, for cameras of uneven speed (time; not with
    dense), or bring videos to a rate (25fps) first. None: as a saved model says."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(time, height, width, channels) of a clip, with None for what a model's file tells."""
        return (self.num_frames, *(self.size or (None, None)), 3)

    def check(self, saved: bool) -> None:
        """Raises ValueError for small frames, and for a None where no saved model says what is meant."""
        of_file = [name for name in ("size", "num_frames", "sampling", "fit", "by") if getattr(self, name) is None]
        if of_file and not saved:
            raise ValueError(f"--{of_file[0].replace('_', '-')} None is as --model says. Received: no --model")
        if self.by is not None:
            check_by(self.by, self.sampling)
        if self.size is not None and min(self.size) < 16:
            raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {self.size[0]} x {self.size[1]}")


@dataclass(frozen=True)
class Clips(Reading):
    """How clips are taken from videos, and which of their frames are measured."""

    size: tuple[int, int] | None = (112, 112)
    """Height and width of the frames: 112 112, at which the published weights of 3D ResNeXt were trained, or 224 224,
    which the 3DCAM paper's Table 1 and section 3.3 imply. None: as the model of a file takes them."""
    num_frames: int | None = 16
    """Frames of a clip, 16 in section 4 of the 3DCAM paper. None: as the model of a file takes them."""
    sampling: Literal["dense", "uniform"] | None = "dense"
    """dense: clips of consecutive frames that do not overlap, of which the last ends with the video; uniform: one clip
    a video, from its first to its last frame. None: as a saved model says."""
    short: Literal["error", "repeat_last"] = "error"
    """What to do with videos of fewer frames than a clip: refuse them (error), or repeat their last frame, which is
    measured once."""
    clips_per_video: int | None = None
    """Of longer videos so many clips, evenly. None: all."""
    frames_per_clip: int | None = None
    """Of each clip so many of the frames with a true box, evenly. None: all."""
    outside: Literal["raise", "clip"] = "raise"
    """Boxes that reach beyond their frame are an error (raise), or cut off (clip)."""


@dataclass(frozen=True)
class SmallResNeXt:
    """A 3D ResNeXt that two cores can train; a `har_tf.trial.Buildable`."""

    name: ClassVar = "ResNeXt3D"
    start: ClassVar = "random weights"

    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Residual blocks of the four stages of the ResNeXt3D that is trained here."""
    width: int = 32
    """Planes in the first stage of the ResNeXt3D that is trained here."""
    cardinality: int = 8
    """Groups of the ResNeXt3D that is trained here."""

    def build(self, shape, num_classes: int):
        from har_tf.models.resnext3d import resnext3d

        return resnext3d(shape, num_classes, **asdict(self))


@dataclass(frozen=True)
class Maps:
    """Which maps are made, and how boxes come of them."""

    explain: Literal["predicted", "true"] = "predicted"
    """Which class is explained: the predicted one, equation (1), or the annotated one."""
    channels: Literal["sum", "max", "norm"] = "sum"
    """How the activations' channels become one; see `har_tf.explain.cam3d`."""
    align: Literal["methods", "corners", "centres"] = "methods"
    """How the maps of layers are enlarged to the frame: by their corner points (corners) or with an equal share of the
    frame for every cell (centres), in all rows; or as each method has it (methods): 3DCAM by corners, equations (3) to
    (5), Grad-CAM by centres."""
    blur: tuple[float, ...] = (0.0,)
    """Standard deviations of a blur of the maps, of models and controls alike, in heights of the frame; of several each
    row takes the one that suits held-out training clips best. With 0 only frame differences have 1/32: every noisy
    pixel would be a contour."""
    contours: Literal["all", "largest"] = "all"
    """Which boxes count: the best of all contours (the paper), which favours scattered maps, or the largest one's."""


@dataclass(frozen=True)
class Trust:
    """What is measured of a model and its explanations, and on how many clips."""

    methods: str = _TESTED
    """Methods of explanation, separated by commas; all: all but attention rollout, which few networks allow for."""
    method_options: str | None = None
    """What is set of the methods, separated by commas, such as rise.number=200. None: their defaults."""
    explained: int = 40
    """Test clips on which explanations are tested, at least 2; classes and recordings take turns. 0: none is tested."""
    steps: int = 20
    """Steps in which deletion and insertion change a clip."""
    axes: str = "space,time,both"
    """Along what it is deleted and inserted, separated by commas: pixels of every frame (space), whole frames (time),
    or pixels of the whole clip (both)."""
    fills: str = "blur,noise,neighbour"
    """What takes the place of what is deleted, separated by commas: blur, mean, noise, or for whole frames the nearest
    one that is left (neighbour)."""
    sensitive: int = 6
    """Of these clips, so many on which maps are compared with those of slightly noisy clips; 0: none."""
    randomized: int = 10
    """Of these clips, so many on which maps are compared with those of networks of random weights; 0: none."""
    randomizations: int = 6
    """Layers, or groups of them, that are made random one after the other."""
    draws: int = 1
    """Networks of random weights that each comparison is the mean of: 3 for tables to publish, as one may be luck."""
    relied: int = 200
    """Test clips that are changed to see what the model reads: order, motion, person, background; 0: none."""
    corrupted: int = 60
    """Of these, so many that are corrupted in fifteen ways at five strengths; 0: none."""
    coverage: float = 0.9
    """Share of the clips whose conformal set is to hold the true class."""
    wanted_precision: float = 0.95
    """Share of right answers that is wanted of those that are not withheld."""

    COUNTS: ClassVar = {
        "explained": (0, None), "randomized": (0, None), "sensitive": (0, None), "relied": (0, None),
        "corrupted": (0, None), "steps": (2, 255), "randomizations": (1, None), "draws": (1, None),
        "coverage": (0.01, 0.999), "wanted_precision": (0.01, 0.999),
    }  # fmt: skip

    @property
    def method_names(self) -> list[str]:
        """Those of `methods`."""
        return [name for name in METHODS if name != "rollout"] if self.methods == "all" else words(self.methods)

    @property
    def method_settings(self) -> dict[str, str] | None:
        """Option -> value of `method_options`, for `har_tf.explain.by_method`."""
        given = self.method_options
        return None if given is None else dict(pair.partition("=")[::2] for pair in words(given))

    def check(self) -> None:
        """Raises ValueError for a number out of its range, a method, axis or fill that there is not, or options that do
        not go together."""
        check_ranges(self, self.COUNTS)
        set_options(chosen(self.method_names), self.method_settings)
        for option, given, known in (("axes", self.axes, AXES), ("fills", self.fills, FILLS)):
            names = words(given)
            if not names or len(set(names)) < len(names) or not set(names) <= set(known):
                raise ValueError(f"--{option} are some of {', '.join(known)}, each once. Received: {given}")
        if set(words(self.fills)) == {"neighbour"} and words(self.axes) != ["time"]:
            raise ValueError(f"--fills neighbour is for whole frames, --axes time. Received: --axes {self.axes}")
        for name in ("explained", "randomized"):
            if getattr(self, name) == 1:
                raise ValueError(f"--{name} compares clips with each other: at least 2, or 0. Received: 1")
