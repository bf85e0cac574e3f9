"""What experiments share: groups of options, presets, splits, and the folder of a run.

An experiment is a page: a docstring, a frozen `Recipe` of the groups below and of what its paper adds, `PRESETS` of
recipes, and a `main`. On the command line every option of every group is a flag of its own name, so no two groups of a
recipe have a field of one name.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Self, TypeVar

from har_tf import command, quiet
from har_tf.command import check_name, check_ranges, words
from har_tf.datasets import splits
from har_tf.datasets.dataset import check_classes
from har_tf.datasets.errors import DatasetError, IncompleteError
from har_tf.datasets.stick_figures import ACTIONS, Figures
from har_tf.names import say
from har_tf.paper import Paper, compare
from har_tf.report.run_folder import RunFolder, check_writable, run_name
from har_tf.training_recipe import TrainingRecipe

R = TypeVar("R")
# What helps where a copy of a published data set lacks videos.
_OF_A_PART = {
    "ucf101": "--dataset {root} --lists LISTS takes what is there of it",
    "hmdb51": "--classes takes those that are whole, --dataset {root} what is there, without the official splits",
}


@dataclass(frozen=True)
class Data:
    """Which videos."""

    dataset: str | None = None
    """The data set: figures (the embedded one), the name of a published one, tfds:NAME (TensorFlow Datasets), or a
    folder of class folders of videos. None: the folder --data-dir."""
    data_dir: str | None = None
    """Folder where a published data set lies, or a folder of class folders of videos, or tfds:NAME."""
    lists: Path | None = None
    """Folder of official split lists and annotations, where they do not lie beside the videos."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded data set, which is drawn."""
        return self.dataset == "figures"

    @property
    def named(self) -> bool:
        """Whether `dataset` is a name, and no folder."""
        from har_tf import datasets

        return self.dataset in ("figures", *datasets.PUBLISHED) or str(self.dataset).startswith("tfds:")

    @property
    def class_names(self) -> list[str] | None:
        """The names in `classes`; None: all."""
        return None if self.classes is None else words(self.classes)

    def listed(self, split: int = 1, **options: Any):
        """The data set as it lies on disk; None for the embedded one, which takes time to draw (`Embedded.draw`).

        Experiments list a folder before anything else, so that what is wrong with it shows first.

        Args:
            split: number of the official split.
            **options: of the loader of a published data set.

        Raises:
            DatasetError: see `har_tf.datasets.load`.
            ValueError: options that do not go together.
        """
        from har_tf import datasets

        if self.embedded:
            if self.data_dir is not None or self.lists is not None:
                raise ValueError(
                    "The embedded data set is drawn: it needs neither --data-dir nor --lists. "
                    f"Received: --dataset figures, --data-dir {self.data_dir}, --lists {self.lists}"
                )
            return None
        if self.dataset is None and self.data_dir is None:
            raise ValueError("--data-dir, the folder of the videos, is needed, or --dataset figures")
        if self.dataset in datasets.PUBLISHED:
            if self.data_dir is None:
                raise ValueError(f"--data-dir, the folder where {self.dataset} lies, is needed")
            name, root = self.dataset, self.data_dir
        else:
            if self.dataset is not None and self.data_dir is not None:
                raise ValueError(
                    f"--data-dir is where a published data set lies ({', '.join(datasets.PUBLISHED)}). "
                    f"Received: --dataset {self.dataset}, --data-dir {self.data_dir}"
                )
            name, root = self.dataset or self.data_dir, None
            if not name.startswith("tfds:"):
                name = Path(name)
        try:
            return datasets.load(name, root, split=split, classes=self.class_names, lists=self.lists, **options)
        except IncompleteError as error:
            if name not in _OF_A_PART:
                raise
            raise DatasetError(f"{error.lacking}; {_OF_A_PART[name].format(root=root)}") from error


@dataclass(frozen=True)
class Embedded:
    """What is drawn, where the data set is the embedded one (`har_tf.datasets.stick_figures`)."""

    clips: int = 3000
    """Clips of the embedded data set."""
    figure_height: float = Figures.figure_height
    """Height of a figure as a share of the frame's, from 0.2 to 0.9."""
    clutter: float = Figures.clutter
    """Texture of the background and things in it, from 0 to 1."""
    shake: float = Figures.shake
    """How the camera moves in the hand, in widths of the frame, from 0 to 1."""
    traffic: int = Figures.traffic
    """Large things that pass behind the person, from 0 to 20."""
    noise: float = Figures.noise
    """Noise of the camera, as a share of full scale, from 0 to 1."""

    def draw(self, output: "Output", classes: list[str] | None = None, **settings: Any):
        """The embedded data set, drawn on the first call and read from disk on the next.

        Args:
            output: drawn videos go to OUT/figures.
            classes: keep these classes, labelled in this order.
            **settings: further fields of `Figures`, such as size and seed.
        """
        from har_tf import datasets

        drawn = asdict(self) | settings
        return datasets.load("figures", output.out / "figures", classes=classes, workers=output.workers, **drawn)


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    epochs: int = 20
    """Passes over the training clips."""
    learning_rate: float = 1e-3
    """Learning rate at the start; with a cosine schedule the largest one."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """How the learning rate changes: not at all, as half a cosine down to 0, or to a tenth in steps."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate of a cosine schedule rises."""
    batch_size: int = 16
    """Clips a batch."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    weight_decay: float = 0.0
    """Weight decay of AdamW (0: none)."""
    clipnorm: float | None = None
    """Largest norm of any weight's gradient. None: gradients are not clipped."""
    validation: float = 0.1
    """Share of the training clips on which the best epoch is chosen, where the data come without a validation part
    (val/); 0: none, and the last epoch is kept."""

    def recipe(self, **more: Any):
        """The `har_tf.training.TrainingRecipe`; `more` are its fields that this group lacks.

        Raises:
            ValueError: a value out of its range.
        """
        names = {field.name for field in fields(TrainingRecipe)}
        return TrainingRecipe(**{name: value for name, value in vars(self).items() if name in names} | more)

    def trainer(self, augment: Any = None, beam: list[str] | None = None, **more: Any):
        """The `har_tf.trial.Trainer` of all rows of a table, on the devices in use.

        Args:
            augment: of `Augmentation.augment`.
            beam: of `Output.pipeline`.
            **more: as in `recipe`.

        Raises:
            ValueError: a value out of its range.
        """
        from har_tf.trial import Trainer

        return Trainer(self.recipe(**more), self.batch_size, augment, beam)


@dataclass(frozen=True)
class Devices:
    """What computes, and how exactly."""

    strategy: Literal["one", "mirrored", "multiworker", "tpu"] = "one"
    """Compute on one device, on all GPUs of this machine (mirrored), on the machines that TF_CONFIG names
    (multiworker: they train together, and the first does the rest), or on a TPU."""
    tpu: str | None = None
    """Name or address (grpc://10.0.0.2:8470) of the TPU. None: the one of this machine."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What the layers of a model that is built here compute in; mixed_float16 is quicker on most GPUs, mixed_bfloat16
    on a TPU. A saved model keeps its own."""
    deterministic: bool | None = None
    """Compute so that two runs agree bit for bit, without XLA and with slower kernels; --no-deterministic lets both in.
    None: on a CPU."""

    def check(self) -> None:
        """Raises ValueError for options that do not go together."""
        if self.tpu is not None and self.strategy != "tpu":
            raise ValueError(f"--tpu needs --strategy tpu. Received: --tpu {self.tpu} --strategy {self.strategy}")

    def begin(self) -> None:
        """Takes them from now on, see `har_tf.devices.begin`.

        Raises:
            ValueError: they cannot be reached, or do not go together.
        """
        from har_tf import devices

        self.check()
        devices.begin(self.strategy, self.tpu, self.precision, self.deterministic)


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training clips."""

    flip: float = 0.0
    """Probability of mirroring a training clip."""
    crop: float = 1.0
    """Smallest share of the frame that a random crop of a training clip keeps; 1: no crop."""
    colour: float = 0.0
    """Strength of random brightness, contrast and saturation of a training clip."""
    shift_frames: int = 0
    """Largest shift of a training clip in time, in frames of the clip."""

    def augment(self):
        """The `har_tf.pipeline.Augment`; None where nothing is changed.

        Raises:
            ValueError: a value out of its range.
        """
        from har_tf.pipeline import Augment

        augment = Augment(
            self.flip, self.crop, frames=self.shift_frames, brightness=self.colour / 2, contrast=self.colour,
            saturation=self.colour,
        )  # fmt: skip
        return None if augment == Augment() else augment


@dataclass(frozen=True)
class Output:
    """Where results go, and what is shown."""

    overlays: int = 4
    """Overlay videos of correct clips, one a class, and as many of misclassified ones."""
    trusted: int = 8
    """Test clips on which the explanations that are shown are tested, at least 2; 0: none."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core; 0: none beside this one."""
    beam: str | None = None
    """Options of an Apache Beam pipeline whose workers prepare clips and compute features of frozen networks, as in
    --beam="--runner=DirectRunner"; see har_tf.store.beam. None: no Beam."""
    out: Path = Path("runs")
    """The run goes to OUT/<experiment>/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips, features and flow. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: made of the data set and a fingerprint of the options."""

    # Where it runs, where things lie and on how many cores does not change what comes out.
    NO_MATTER: ClassVar = (
        "workers", "beam", "out", "prepared", "run", "data_dir", "weights_dir", "strategy", "tpu", "deterministic"
    )  # fmt: skip

    @property
    def pipeline(self) -> list[str] | None:
        """The options in `beam`, one by one."""
        return None if self.beam is None else shlex.split(self.beam)

    @property
    def cache(self) -> Path:
        """Folder for what several runs share."""
        return self.prepared or self.out / "prepared"


# What an option may be, lowest and highest, in every experiment that has it.
RANGES = {
    "batch_size": (1, None), "validation": (0, 0.9), "overlays": (0, None), "workers": (0, None), "dropout": (0, 0.9),
    "num_frames": (1, None), "seed": (0, 2**32 - 1), "split": (1, None), "clips": (1, None), "flip": (0, 1),
    "crop": (0.01, 1), "colour": (0, 1), "shift_frames": (0, None), "size": (1, 4096), "traffic": (0, 20),
    "trusted": (0, None),
}  # fmt: skip


def options(recipe: Any) -> dict[str, Any]:
    """Option → value of a recipe, whichever group it stands in."""
    flat: dict[str, Any] = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        flat |= options(value) if is_dataclass(value) else {field.name: value}
    return flat


def changed(recipe: R, **values: Any) -> R:
    """The recipe with options set by their names, whichever group they stand in.

    Raises:
        TypeError: the recipe has no such option.

    Example:
        >>> changed(PRESETS["figures"], epochs=2, out=Path("/tmp/runs"))
    """
    here = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            inner = {name: values.pop(name) for name in list(values) if name in options(value)}
            here |= {field.name: changed(value, **inner)} if inner else {}
        elif field.name in values:
            here[field.name] = values.pop(field.name)
    if values:
        raise TypeError(f"{type(recipe).__name__} has no option {', '.join(values)}")
    return replace(recipe, **here)


def check_options(recipe: Any, **ranges: tuple[float, float | None]) -> None:
    """Checks what every experiment checks alike.

    Args:
        recipe: of any experiment.
        **ranges: option → lowest and highest value (None: no limit), beside or in place of those of `RANGES`. Other
            whole numbers are at least 1, and other fractions at least 0.

    Raises:
        ValueError: an option is out of its range, or the name of the run is none.
        DatasetError: a class that the embedded data set has not.
    """
    flat = options(recipe)
    check_name("--run", flat["run"])
    if recipe.output.beam is not None:
        from har_tf.store import beam

        beam.check(recipe.output.pipeline)
    recipe.training.recipe()
    recipe.devices.check()
    numbers = {name: (int(least is int), None) for name, value in flat.items() if (least := _number(value))}
    check_ranges(SimpleNamespace(**flat), numbers | {k: v for k, v in (RANGES | ranges).items() if k in flat})
    if recipe.output.trusted == 1:
        raise ValueError("--trusted compares clips with each other: at least 2, or 0. Received: 1")
    if recipe.data.embedded:
        Figures(**asdict(recipe.embedded))
        check_classes(recipe.data.class_names, ACTIONS, "figures")


def _number(value: Any) -> type | None:
    """Which kind of number an option holds, or each of several; None: something else."""
    kinds = {type(number) for number in (value if isinstance(value, tuple) else (value,))}
    return next((kind for kind in (float, int) if kind in kinds and kinds <= {int, float}), None)


# Options of which no paper has figures, beside those of the groups `Data`, `Devices`, `Embedded` and `Output`.
_NO_SETTINGS = ("weights_dir",)


def paper_settings(recipe: Any, paper: Paper, **facts: Any) -> dict[str, list[dict[str, Any]]]:
    """What a run takes, beside what its paper says, as `results.json` has it under "settings".

    Args:
        recipe: of the run.
        paper: what the paper says of every option, see `har_tf.paper`; not of data, output and devices.
        **facts: what the run takes of that which is no option, or is not known from the option alone, such as how many
            classes there are; a name may be several words, as in `**{"clips a class": 100}`.

    Raises:
        TypeError: an option of which `paper` has nothing; None would do.
        KeyError: a setting of `paper` that is neither an option nor a fact.
    """
    groups = (getattr(recipe, field.name) for field in fields(recipe))
    without = [group for group in groups if isinstance(group, Data | Devices | Embedded | Output)]
    skipped = {*_NO_SETTINGS, *(name for group in without for name in options(group))}
    if unsaid := options(recipe).keys() - skipped - paper.keys():
        raise TypeError(f"What the paper says is not declared of: {', '.join(sorted(unsaid))}")
    return compare(paper, options(recipe) | facts)


def run_cli(main, presets: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """The command line of an experiment: `--preset` names the recipe to start from, every option changes it.

    Without `--preset` it is the one that --dataset names, if there is one; else "figures", the embedded data set on two
    cores, or, where --data-dir or --dataset names other data, "paper"; of an experiment that has "videos" this, where
    they name other data than the data set of "paper". A preset of another data set is refused where
    --dataset has presets of its own.

    Args:
        main: takes a recipe.
        presets: name → recipe; all of one type.
        told: option → other options with the values that they begin with where it is given, in place of the preset's,
            such as None for what the file of a saved model tells.
    """
    arguments = sys.argv[1:]
    preset = _given(arguments, "--preset", remove=True)
    if preset is None:
        dataset = _given(arguments, "--dataset")
        other = dataset not in (None, "figures") or _given(arguments, "--data-dir") is not None
        papers = presets["paper"].data.dataset if "paper" in presets else None
        of_paper = papers is not None and dataset in (None, papers)
        own = "videos" if "videos" in presets and not of_paper else "paper"
        preset = dataset if dataset in presets else own if other and own in presets else "figures"
    if preset not in presets:
        say(f"error: --preset is one of {', '.join(presets)}. Received: {preset}", to=sys.stderr)
        sys.exit(2)
    recipe, dataset = presets[preset], _given(arguments, "--dataset")
    own = [name for name, other in presets.items() if dataset is not None and other.data.dataset == dataset]
    if own and preset not in own and recipe.data.dataset is not None:
        words = f"--preset {preset} is for {recipe.data.dataset}. Expected for --dataset {dataset}: {', '.join(own)}"
        say(f"error: {words}", to=sys.stderr)
        sys.exit(2)
    for option, values in (told or {}).items():
        if _given(arguments, f"--{option}") is not None:
            recipe = changed(recipe, **values)
    for i, argument in reversed(list(enumerate(arguments))):
        # A switch may be followed by True or False.
        switch = options(recipe).get(argument.removeprefix("--").replace("-", "_"))
        if isinstance(switch, bool) and arguments[i + 1 : i + 2] in (["True"], ["False"]):
            arguments[i : i + 2] = [argument if arguments[i + 1] == "True" else f"--no-{argument.removeprefix('--')}"]
    page = getattr(main, "__globals__", {}).get("__doc__") or ""  # however the page was run
    about = (
        f"{page.rstrip()}\n\n--preset {{{','.join(presets)}}} names the values to "
        "start from: figures (the embedded data set, for two cores), or the paper's. Without it: figures, or, where "
        f"--data-dir or --dataset names other data, the paper's{' (or videos)' if 'videos' in presets else ''}. The "
        f"defaults below are those of {preset}."
    )
    command.run(main, type(recipe), description=about, default=recipe, args=arguments)


def _given(arguments: list[str], flag: str, remove: bool = False) -> str | None:
    """The value of a flag among arguments; None where it is not there."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag and (equals or i + 1 < len(arguments)):
            value = value if equals else arguments[i + 1]
            if remove:
                del arguments[i : i + 1 + (not equals)]
            return value
    return None


def announce(dataset, unit: str = "clips", notes: Iterable[str] | None = None) -> None:
    """Prints what was found on disk, with what a reader should know about it.

    Args:
        dataset: the data set.
        unit: what its records are.
        notes: None: those of the data set.
    """
    count = f"{len(dataset)} {unit} of {len(dataset.class_names)} classes"
    say(f"{dataset.name}: {count} in {dataset.root}")
    for note in dataset.notes if notes is None else notes:
        say(f"note: {note}")


def readable(part, skipped: Iterable, what: str):
    """The clips of a part of a split without those that `prepare` left out.

    Args:
        part: an `ActionDataset`.
        skipped: of the prepared data.
        what: the part in words, such as "training clip of the official split".

    Raises:
        DatasetError: none is left.
    """
    unreadable = {video.path for video in skipped}
    left = part.subset(record for record in part.records if part.root / record.name(part.root) not in unreadable)
    if len(part) and not len(left):
        raise DatasetError(
            f"{part.root}: no {what} can be read; all {len(part)} were left out, first {part.records[0].path}. "
            "skipped.csv in the run folder gives the reasons"
        )
    return left


def strictest_protocol(dataset) -> str:
    """The split that keeps clips of one recording furthest apart: official, else group, else random."""
    if dataset.official is not None:
        return "official"
    return "group" if all(record.group is not None for record in dataset.records) else "random"


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in two parts, and how validation clips come out of the training part, with every seed.

    Args:
        protocol: see `ActionDataset.split`.
        name: such as "group split 1".
        train: the training part, with the validation clips.
        test: the test part.
        validation: share of the training clips that is held out; 0: none.
        seeds: what validation clips are drawn from, where the data came without them.

    Raises:
        DatasetError: no validation clips can be held out with one of the seeds, see `ActionDataset.hold_out`.
    """

    protocol: str
    name: str
    train: Any
    test: Any
    validation: float
    seeds: Sequence[int]

    def __post_init__(self):
        for seed in self.seeds:
            self.parts(seed)

    @classmethod
    def of(cls, dataset, protocol: str, number: int, validation: float, seeds: Sequence[int]) -> Self:
        """Splits a data set; `number` is that of an official split, and what others are drawn from.

        A validation part that came with the official split is held out, whatever share is asked for.

        Raises:
            DatasetError: see `ActionDataset.split`.
        """
        train, test = dataset.split(protocol, number)
        if train.validation is not None:
            validation = len(train.hold_out()[1]) / len(train)
        return cls(protocol, f"{protocol} split {number}", train, test, validation, seeds)

    def parts(self, seed: int) -> tuple:
        """(training, validation, test) clips; the validation clips are drawn from `seed`."""
        if self.validation == 0:
            return self.train, self.train.subset([]), self.test
        return *self.train.hold_out(self.validation, seed, by_group=self.protocol != "random"), self.test

    @property
    def held_out(self) -> str:
        """Which of the training clips are for validation, in words."""
        if self.train.validation is None:
            return f"{100 * self.validation:g} % of the training part, drawn from the seed"
        rest, held = self.train.hold_out()
        siblings = splits.overlap(rest, held).with_sibling
        return f"the data's own validation part, {len(held)} ({siblings} with a sibling in training)"

    @property
    def validation_text(self) -> str:
        """On which clips the best epoch is chosen, in words."""
        return f"best epoch by {self.held_out}" if self.validation else "last epoch, without validation"

    def readable(self, skipped: Iterable) -> Self:
        """The split without the clips that `prepare` left out, see `readable`."""
        named = (("training", self.train), ("test", self.test))
        train, test = (readable(part, skipped, f"{name} clip of the {self.name}") for name, part in named)
        return replace(self, train=train, test=test)

    @property
    def most_frequent_class(self) -> float:
        """The accuracy of always answering the most frequent class of the training part."""
        train, test = self.train.counts, self.test.counts
        return max(test[name] for name in train if train[name] == max(train.values())) / len(self.test)

    def measured(self, unit: str = "clip", found: Any = None, validation: str | None = None) -> dict:
        """Prints how large the parts are and what they share; returns it as `results.json` has it.

        Args:
            unit: what the parts are made of, "clip" or "video".
            found: of `audited`; None: files are not compared.
            validation: what validation clips are for, in words; None: as `validation_text`.
        """
        validation = validation or self.validation_text
        if found is None:
            overlap = splits.overlap(self.train, self.test)
        else:
            from har_tf.audit.overlap import overlap as compared

            overlap = compared(self.train, self.test, found)
        text, chance = overlap.sentence(unit), self.most_frequent_class
        say(f"{self.name}: {len(self.train)} training {unit}s; {text}")
        say(f"always answering the most frequent class of the training part: accuracy {chance:.4f}")
        say(validation)
        counts = {f"training_{unit}s": len(self.train), f"test_{unit}s": len(self.test)}
        texts = {"overlap_text": text, "validation_text": validation}
        return counts | {"overlap": asdict(overlap), **texts, "most_frequent_class": chance}


def audited(dataset, run: RunFolder, workers: int | None):
    """The manifest with which `Split.measured` finds what is on both sides.

    It takes two decodes of every video, once for a run: what was read lies in its folder `training`. Experiments leave
    it out for the embedded data, which are drawn without copies.

    Args:
        dataset: an `ActionDataset`.
        run: where it is kept.
        workers: see `har_tf.audit.check.check`.
    """
    from har_tf.audit.manifest import Manifest
    from har_tf.audit.overlap import inspected

    file = run.training / "manifest.csv"
    if file.is_file():
        found = Manifest.read(file)
        with suppress(DatasetError):  # of other videos
            found.rows_of(dataset)
            return found
    found = inspected(dataset, workers, dataset.root)
    found.write(file)
    return found


def begin(recipe: Any, under_jax: bool = False, trains: bool = True) -> None:
    """Imports TensorFlow, once options and data are known to be right, and takes the devices.

    Of several machines only worker 0 comes back from it; the others train with it, and end, see `har_tf.leader`.

    Args:
        recipe: of any experiment.
        under_jax: whether the experiment also runs under KERAS_BACKEND=jax.
        trains: whether this run trains anything.

    Raises:
        OSError: nothing can be written, or another machine does not answer.
        ValueError: the devices cannot be reached, Keras' engine is another one, or there are several machines and
            nothing that they could do together.
        SystemExit: of another machine than that of worker 0, when all is trained.
    """
    several, engine = recipe.devices.strategy == "multiworker", os.environ.get("KERAS_BACKEND", "tensorflow")
    if several and (engine != "tensorflow" or not trains):
        raise ValueError(
            "On several machines an experiment trains, under TensorFlow (docs/accelerators.md). Received: --strategy "
            f"multiworker, {'and nothing to train' if engine == 'tensorflow' else f'KERAS_BACKEND={engine}'}"
        )
    check_writable(recipe.output.out)
    check_writable(recipe.output.cache)
    quiet.import_tensorflow(as_engine=not under_jax)
    recipe.devices.begin()
    if several:
        from har_tf import devices, leader

        which = devices.worker()
        if (farewell := leader.lead()) is not None:
            say(f"{which}: done; {farewell}")
            raise SystemExit(0)


@contextmanager
def open_run(
    experiment: str,
    recipe: Any,
    prefix: str,
    dataset,
    unit: str = "clips",
    notes: Iterable[str] | None = None,
    others: Sequence = (),
) -> Iterator[RunFolder]:
    """The folder of a run, OUT/<experiment>/<run>/, with what was asked for and on what machine.

    The same command on the same data finds its folder again, wherever both lie: names and contents of the videos are in
    its name. The embedded data follow from the recipe.

    Args:
        experiment: its name.
        recipe: its options; `recipe.output` says where.
        prefix: what a reader sees of the folder's name, such as data set and protocol.
        dataset: the videos.
        unit: what they are, see `announce`, as for `notes`.
        notes: None: those of the data set.
        others: further data sets of the run.

    Yields:
        The folder; its `publish(results)` ends the run.
    """
    from har_tf import devices

    flat = options(recipe)
    kept = {name: value for name, value in flat.items() if name not in Output.NO_MATTER}
    if not recipe.data.named:
        kept["dataset"] = None  # a folder, as --data-dir is
    if devices.under_jax():
        kept["engine"] = "jax"
    place = recipe.output.out / experiment
    videos = () if recipe.data.embedded else (dataset, *others)
    name = recipe.output.run or run_name(place, prefix, kept, *videos)
    with RunFolder(place / name, experiment).begun(flat) as run:
        announce(dataset, unit, notes)
        for other in others:
            announce(other, unit)
        yield run
        all_trained(run)


def all_trained(run: RunFolder) -> None:
    """Lets the other machines go, if there are any: what is left to do in a run is for worker 0."""
    from har_tf import leader

    leader.dismiss(f"results are written by worker 0 at {run.path}")
