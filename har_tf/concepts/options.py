"""What a study of concepts is asked for. Nothing here imports what computes, so that help is quick."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from har_tf.command import words


@dataclass(frozen=True)
class SmallSwin:
    """A Video Swin that two cores can train; a `har_tf.trial.Buildable`."""

    name: ClassVar = "VideoSwin"
    start: ClassVar = "random weights"

    embed_dim: int = 32
    """Channels of the first stage of the Video Swin that is trained here."""
    depths: tuple[int, int, int, int] = (1, 1, 2, 1)
    """Blocks of each stage of the Video Swin that is trained here."""
    num_heads: tuple[int, int, int, int] = (2, 4, 8, 16)
    """Attention heads of each stage of the Video Swin that is trained here."""
    window: tuple[int, int, int] = (8, 4, 4)
    """Attention window of the Video Swin that is trained here, in patches: time, height, width."""
    patch: tuple[int, int, int] = (2, 8, 8)
    """Patches of the Video Swin that is trained here: time, height, width."""
    drop_path: float = 0.0
    """Drop path rate of the Video Swin that is trained here."""

    def build(self, shape, num_classes: int, start_seed: int = 0):
        import keras

        from har_tf.models import video_swin

        model = video_swin("tiny", shape, num_classes, dropout=0.0, **asdict(self))
        # The published deviation of 0.02 suits 96 channels and more. With 32, attention starts, and stays for long,
        # next to uniform; from Glorot's weights it learns sooner.
        for number, weight in enumerate(model.trainable_weights):
            if weight.name == "kernel" and len(weight.shape) == 2:
                weight.assign(keras.initializers.GlorotUniform(start_seed + number)(weight.shape))
        return model


@dataclass(frozen=True)
class Concepts:
    """Which concepts, and how they are measured."""

    concepts: Path | None = None
    """Folder of concepts. None: mined with --detector, and on the embedded data set from the true tracks."""
    concept_names: str | None = None
    """Concepts to use, separated by commas. None: all that the folder has."""
    undecided: bool = True
    """Use concept clips that nobody has reviewed; rejected ones are never used."""
    detector: str | None = None
    """What mines concepts where there is no --concepts: a YOLO (.onnx), an SSD (.tflite), detections (.json), or a
    preset of keras-hub."""
    labels: str | None = None
    """The detector's classes that are concepts, separated by commas."""
    score: float = 0.5
    """Detections of --detector below this are left out."""
    class_clips: int = 30
    """Clips of the class, at most (section 3.4)."""
    concept_clips: int = 30
    """Clips of each concept, at most, and of each random set (section 3.4)."""
    num_random: int = 10
    """Random sets (section 3.5)."""
    random_videos: int = 90
    """Videos of other classes that are mined for random concepts."""
    concept_videos: Literal["class", "all"] = "class"
    """Which clips of --concepts stand for a concept: those of videos of the class, where there are any, or all. Random
    sets are drawn from all."""
    fit_concepts: Literal["letterbox", "stretch"] = "letterbox"
    """How concept clips are brought to the model's size."""
    short_concepts: Literal["repeat_last", "wrap"] = "repeat_last"
    """Where a concept clip has fewer frames than the model takes: its last one stays, or it starts again (wrap)."""
    pool: Literal["mean", "space", "full"] = "mean"
    """What activations are averaged over: time and space (mean), space, or nothing (full)."""
    classifier: Literal["ridge", "logistic", "svm"] = "ridge"
    """What CAVs are fitted by."""
    l2: float = 0.01
    """Regularisation of CAVs, see `har_tf.concepts.cav.CavFit`."""
    folds: int = 5
    """Folds of the cross-validation of CAVs; a set takes clips of so many recordings at least. 0: none."""
    level: float = 0.05
    """Level of significance, after Bonferroni's correction (section 3.5)."""
    criterion: Literal["both", "t-test"] = "both"
    """What makes a score significant: the paper's t-test alone, or that and a permutation test (both). Tables have both
    verdicts."""
    resamples: int = 100
    """Draws behind an interval; below 20 there are no intervals."""

    TOLD: ClassVar = ("pool", "classifier", "l2", "folds", "level", "criterion", "num_random", "resamples")

    @property
    def names(self) -> list[str] | None:
        """The names in `concept_names`; None: all."""
        return None if self.concept_names is None else words(self.concept_names)

    @property
    def settings(self) -> dict:
        """Those that tables tell."""
        return {name: getattr(self, name) for name in self.TOLD}

    def check(self, tracked: bool) -> None:
        """Raises ValueError for options that do not go together; `tracked`: whether true tracks are known."""
        if self.concepts is not None and self.detector is not None:
            raise ValueError("--detector mines concepts where there is no --concepts; give one of them")
        if not tracked and self.concepts is None and self.detector is None:
            raise ValueError(
                "Concepts are needed: --concepts DIR, as `python -m har_tf concepts mine` fills it, or --detector and "
                "--labels to mine them here"
            )
        if (self.detector is None) != (self.labels is None):
            raise ValueError("--detector and --labels, the classes of it that are concepts, go together")
        if self.labels is not None and len(set(words(self.labels))) < 2:
            raise ValueError(f"At least two concepts are needed. Received: --labels {self.labels}")
        if self.folds == 1:
            raise ValueError("--folds must be at least 2, or 0 for no cross-validation. Received: 1")
        for name in ("class_clips", "concept_clips"):
            if (count := getattr(self, name)) < self.folds:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} must be at least --folds, {self.folds}. Received: {count}")


@dataclass(frozen=True)
class Backwards:
    """Which clips are played backwards (section 2.2)."""

    reversals: bool = True
    """Run section 2.2: play clips backwards."""
    pairs: str | None = None
    """Classes that are each other's reverse, FORWARD:BACKWARD, separated by commas. None: those of the embedded data
    set."""
    reversal_clips: int = 30
    """Clips of each class that are played backwards."""

    @property
    def both_ways(self) -> list[list[str]]:
        """The pairs in `pairs`; none where it is not given."""
        pairs = [] if self.pairs is None else words(self.pairs)
        return [[part.strip() for part in pair.split(":")] for pair in pairs]

    def check(self) -> None:
        """Raises ValueError for what is no pair."""
        for pair in self.both_ways:
            if len(pair) != 2 or not all(pair):
                raise ValueError(f"--pairs are FORWARD:BACKWARD, separated by commas. Received: {':'.join(pair)}")
