"""A published classifier on other videos, without training: which of its classes stand for theirs, how often it names
them, and which frames it should be given.

    python -m har_tf import-weights i3d model.ckpt --class-names label_map.txt --out i3d.keras
    python -m experiments.zero_shot --data-dir UCF10 --model i3d.keras      # 260 clips: an hour on two cores

The classes are those of `--called`; where a class of the data is called as one of the model, it need not be named. A
class that no class of the model stands for is not counted; what the model answers there is shown. Three samplings are
compared on the same clips, all of them with the sizes and the speed that the model was trained with:

    uniform    one clip of frames evenly from the first to the last, whatever their speed
    dense      one clip of neighbouring frames, from the first on
    windows    the mean over clips of neighbouring frames side by side, at most `--windows`

No video was trained on, so there is no split: all videos count. Intervals draw whole recordings again (95 %).
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from har_tf import command
from har_tf.command import check_name, check_ranges
from har_tf.experiment import RANGES, Data, Devices, Output, begin, open_run
from har_tf.files.keras_file import check_keras_file
from har_tf.files.whole import whole_file
from har_tf.names import index_of
from har_tf.progress import progress
from har_tf.store.checksums import checksum_of_file, sealed, unsealed
from har_tf.subject import Model

EXPERIMENT = "zero_shot"
# UCF101's ten classes of docs/results.md, as Kinetics-400 calls nine of them; it has no jumping jacks.
KINETICS = (
    "BasketballDunk=dunking basketball,HorseRace=riding or walking with horse,Lunges=lunge,PlayingPiano=playing piano,"
    "PlayingViolin=playing violin,PullUps=pull ups,Surfing=surfing water,TrampolineJumping=bouncing on trampoline"
)


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    output: Output = Output()
    model: Path = Path("i3d.keras")
    """A saved model, such as `import-weights` writes."""
    called: str = KINETICS
    """Classes that the model calls otherwise than the data, separated by commas, as in "Surfing=surfing water,..."."""
    windows: int = 10
    """The most clips of a video over which windows are averaged, evenly over the video."""
    devices: Devices = Devices()


def main(recipe: Recipe) -> None:
    check_ranges(recipe, {"windows": (1, None)})
    check_ranges(recipe.output, {"workers": RANGES["workers"]})
    check_name("--run", recipe.output.run)
    recipe.devices.check()
    if recipe.output.beam is not None:
        raise ValueError(
            "--beam prepares clips and computes features. Here neither is done; `har_tf predict` has --beam"
        )
    names = Model(model=recipe.model, called=recipe.called).model_names
    if not recipe.model.is_file():
        raise FileNotFoundError(f"{recipe.model}: no such model; `python -m har_tf import-weights` writes one")
    check_keras_file(recipe.model)
    dataset = recipe.data.listed()
    if dataset is None:
        raise ValueError("A model is tried on videos of others, not on the embedded ones. Received: --dataset figures")
    if any(record.segment is not None for record in dataset.records):
        raise ValueError(f"{dataset.root}: whole videos are answered for. Received: segments of longer ones")
    if recipe.called == KINETICS:
        ours = {name.casefold() for name in dataset.class_names}
        names = {name: theirs for name, theirs in names.items() if name.casefold() in ours}
    for name in names:
        index_of(name, dataset.class_names, f"--called: {dataset.root}")
    begin(recipe, trains=False)

    from har_tf.classifier import Classifier
    from har_tf.evaluate import zero_shot
    from har_tf.evaluate.localization_study import outputs_of

    classifier = Classifier.load(recipe.model)
    found = outputs_of(dataset.class_names, classifier.class_names, called=names)
    if found is None:
        listed = ", ".join(dataset.class_names)
        raise ValueError(f"{recipe.model}: has no class of {listed}; --called says which stand for them")
    outputs = {label: output for label, output in enumerate(found) if output >= 0}
    own = classifier.clip if classifier.clip["sampling"] != "uniform" else classifier.clip | {"sampling": "dense"}
    whole = classifier.clip | {"sampling": "uniform", "by": "frame"}
    ways = {"uniform": (whole, None), "dense": (own, None), "windows": (own, recipe.windows)}
    with open_run(EXPERIMENT, recipe, dataset.name, dataset, "videos") as run:
        answers, weights = {}, checksum_of_file(recipe.model)
        for way, (clip, windows) in ways.items():
            reader = Classifier(classifier.model, classifier.class_names, clip)
            answers[way] = answered(reader, dataset, windows, run.training / f"{way}.json", weights)
        skipped = {name: reason for found in answers.values() for name, reason in found.skipped.items()}
        run.write_skipped({Path(name): reason for name, reason in skipped.items()})
        named = {record.name(dataset.root): record for record in dataset.records}
        named = {name: record for name, record in named.items() if name not in skipped}
        if not named:
            raise ValueError(f"{dataset.root}: no video can be read, first: {next(iter(skipped.values()))}")
        labels = np.array([record.label for record in named.values()])
        groups = [record.group or name for name, record in named.items()]
        rows = []
        for way, found in answers.items():
            probabilities = np.stack([found.probabilities[name] for name in named])
            measured = zero_shot.measured(probabilities, labels, outputs, groups, classifier.class_names)
            rows.append({"sampling": way, "seconds": found.seconds, **measured})
        run.publish(
            {
                "dataset": {
                    "name": dataset.name, "classes": list(dataset.class_names), "clips": len(named),
                    "skipped": len(skipped), "groups": len(set(groups)),
                },
                "model": {
                    "name": recipe.model.stem, "classes": len(classifier.class_names), "windows": recipe.windows,
                    "clip": classifier.reading,
                    "stands_for": {label: classifier.class_names[output] for label, output in outputs.items()},
                },
                "rows": rows,
            }
        )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a classifier answered on videos, by their names; why others could not be read; seconds a video."""

    probabilities: Mapping[str, np.ndarray]
    skipped: Mapping[str, str]
    seconds: float


def answered(classifier, dataset, windows: int | None, file: Path, weights: int) -> Answers:
    """The answers on all videos; those that a run which was stopped has finished are in `file`.

    It is taken only if it is whole and of the same model, of whose file `weights` is the checksum, clips and videos.
    """
    from har_tf.files.workers import Failed

    names = [record.name(dataset.root) for record in dataset.records]
    asked = {"weights": weights, "clip": classifier.reading, "windows": windows, "videos": names}
    asked = json.loads(json.dumps(asked))  # lists for tuples, as they come back
    with suppress(OSError, ValueError):
        stored = unsealed(file.read_bytes())
        if stored.pop("asked", None) == asked:
            return Answers({k: np.array(v, "float32") for k, v in stored.pop("probabilities").items()}, **stored)
    found, skipped, began = {}, {}, time.monotonic()
    answers = classifier.answers([record.path for record in dataset.records], windows=windows)
    with progress(f"answering ({file.stem})", len(names), "videos") as advance:
        for name, (_, _, answer) in zip(names, answers, strict=True):
            if isinstance(answer, Failed):
                skipped[name] = answer.reason
            else:
                found[name] = answer
            advance(1)
    seconds = (time.monotonic() - began) / len(names)
    stored = {"probabilities": {k: v.tolist() for k, v in found.items()}, "skipped": skipped, "seconds": seconds}
    with whole_file(file) as temporary:
        temporary.write_bytes(sealed({**stored, "asked": asked}))
    return Answers(found, skipped, seconds)


if __name__ == "__main__":
    command.run(main, Recipe, description=__doc__, default=Recipe())
