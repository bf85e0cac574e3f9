"""python -m har_tf trust: whether a model and its explanations deserve trust."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from har_tf.cli.reading import Foreign, check_file, open_classifier
from har_tf.command import check_ranges
from har_tf.evaluate.options import Trust as Options
from har_tf.files.whole import check_writable
from har_tf.names import index_of
from har_tf.subject import Model


@dataclass(frozen=True)
class Trust:
    """Test a model and its explanations: deletion and insertion, random weights, what it relies on, its probabilities.

    Writes report.html, tables and results.json; see docs/trust.md.
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A .keras file. One of this project says how its clips are taken."""
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """A folder with a folder of videos for each class, called as the model calls them."""
    out: Path = Path("runs/trust")
    """The folder of the run."""
    protocol: Literal["official", "group", "random"] | None = None
    """Measure the test part of this split, and calibrate probabilities on validation clips out of its training part.
    None: all videos are test clips, which the model should not have been trained on."""
    validation: float = 0.2
    """With --protocol: share of the training part that is held out, where the data came without a validation part."""
    called: str | None = None
    """Classes that the model calls otherwise than the data, separated by commas, as in "Surfing=surfing water,...".
    None: they are called alike."""
    boxes: Path | None = None
    """UCF24's annotations (pyannot.pkl), for videos of UCF101. None: without true boxes the person is not told from the
    background."""
    workers: int | None = None
    """Processes that decode. None: one a core."""
    seed: int = 0
    """Seed of the split and of all that is drawn."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    foreign: Foreign = field(default_factory=Foreign)

    def run(self) -> None:
        self.options.check()
        check_ranges(self, {"validation": (0.01, 0.9), "workers": (0, None), "seed": (0, 2**32 - 1)})
        called = None if self.called is None else Model(called=self.called).model_names
        known = check_file(self.model, self.foreign)
        for theirs in called.values() if called and known and len(known) > 1 else ():  # one: and its absence
            index_of(theirs, known, f"--called: {self.model}")
        check_writable(self.out)
        from har_tf import datasets

        dataset = datasets.load(self.data if self.data.startswith("tfds:") else Path(self.data))
        if self.boxes is not None:
            from har_tf.datasets import ucf24

            dataset = ucf24.with_tubes(dataset, self.boxes)
        classifier = open_classifier(self.model, self.foreign)
        from har_tf import front_door

        front_door.trust(
            {self.model.stem: classifier}, dataset, self.out, protocol=self.protocol, options=self.options,
            called=called, validation=self.validation, workers=self.workers, seed=self.seed,
        )  # fmt: skip
