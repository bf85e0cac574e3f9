"""The rows of Fusion-GRU's Table II, each network alone and the fusion: what they start from, what is measured of them.

A row is a `har_tf.models.zoo.FusedModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from har_tf import networks
from har_tf.command import by_name, words

FUSION = "Fusion-GRU"
# Of probabilities; features are stored in float16.
END_TO_END_TOLERANCE = 0.02
# What is kept of a trial.
_MEASURED = ("accuracy", "precision", "recall", "f1", "top5", "best_epoch", "seconds", "parameters", "history")


@dataclass(frozen=True)
class Networks:
    """Which networks, and how they are fused (see `har_tf.models.fusion_gru`)."""

    backbones: str = "GoogLeNet,InceptionResNetV2"
    """The networks, two or more, separated by commas: GoogLeNet, InceptionResNetV2, MobileNet, MobileNetV2, ResNet50,
    InceptionV3, Xception, VGG16, VGG19, DenseNet121."""
    weights: str = "imagenet"
    """What they start from: imagenet (from --weights-dir, or downloaded by Keras), none (they are first trained on
    single frames of the training clips), or for each NAME=FILE, NAME=imagenet or NAME=none, separated by commas."""
    weights_dir: Path | None = None
    """Folder with the published files of the networks. None: Keras downloads them."""
    finetune: bool = False
    """Train the networks too, from frames; nothing is stored then, and an epoch takes some hundred times longer."""
    fusion: Literal["concatenate", "sum", "score_average"] = "concatenate"
    """How the networks are fused: features side by side (the paper), added up, or scores averaged."""
    gru_units: tuple[int, ...] = (1000, 1000)
    """Units of the GRU layers (section III)."""
    bidirectional: bool = False
    """GRU layers in both directions, as the paper's conclusion says and its section III does not."""
    dropout: float = 0.0
    """Dropout before the last layer."""
    size: int | None = None
    """Side of the square that is cut out of the middle of the frames. None: the largest that a network wants, 299 or
    224."""
    frame_size: int | None = None
    """Side that the frames are resized to for every network. None: what each was trained on, 224 or 299."""
    frame_epochs: int = 8
    """Passes over the frames, where networks without weights are first trained on single frames."""

    def check(self, several: Mapping[str, Sequence[int]]) -> None:
        """Checks what can be checked without Keras; `several` is "split" or "seed" -> the numbers.

        Raises:
            ValueError: an unknown network, or options that do not go together.
            FileNotFoundError: no such folder of weights.
            WeightsUnavailable: see `found`.
        """
        backbones = words(self.backbones)
        if len(set(backbones)) < max(2, len(backbones)):
            raise ValueError(f"--backbones must be two or more different networks. Received: {self.backbones!r}")
        for option, numbers in several.items():
            if self.untrained and len(numbers) > 1:
                other = {"split": "test", "seed": "validation"}[option]
                raise ValueError(
                    f"--weights none trains networks on training clips of one {option}, which are {other} clips of "
                    f"another. Received: --{option}s {','.join(map(str, numbers))}"
                )
        for name in backbones:
            networks.find(name)
        self._found(networks.source_of)

    @property
    def sources(self) -> dict[str, str]:
        """Backbone -> imagenet, none or a file, as --weights says.

        Raises:
            ValueError: a network that is not named, named twice, or not among the backbones.
        """
        names = words(self.backbones)
        given = by_name("--weights", self.weights, names, ("imagenet", "none"))
        unnamed = [name for name in names if name not in given]
        if unnamed:
            raise ValueError(
                f"--weights names no weights for {' and '.join(unnamed)}; "
                f"{','.join(f'{name}=imagenet' for name in unnamed)} would be one choice. Received: {self.weights!r}"
            )
        return {name: given[name] for name in names}

    @property
    def untrained(self) -> list[str]:
        """The frozen networks without weights, which are first trained on single frames."""
        return [] if self.finetune else [name for name, source in self.sources.items() if source == "none"]

    def sized(self) -> Self:
        """The same with the side of the frames, where it was left open."""
        from har_tf.models.fusion_gru import frame_size_of

        wanted = max(self.frame_size or frame_size_of(name) for name in words(self.backbones))
        return replace(self, size=self.size or wanted)

    def found(self) -> dict[str, str | Path | None]:
        """Backbone -> what it starts from, see `har_tf.models.fusion_gru`.

        Every backbone is built once, so that a file that does not fit shows before any work.

        Raises:
            ValueError: an unknown network, or weights of another network.
            WeightsUnavailable: weights are missing of one or more networks; the message names them all.
        """
        from har_tf.models import backbones
        from har_tf.models.fusion_gru import frame_encoder

        def fetched(name, *where):
            source = networks.source_of(name, *where)
            return backbones.download(name) if source == "imagenet" else source

        found = self._found(fetched)
        for name, weights in found.items():
            frame_encoder(name, self.size, weights, frame_size=self.frame_size)
        return found

    def _found(self, source_of: Callable[[str, str, Path | None], str | Path | None]) -> dict[str, str | Path | None]:
        """What each backbone starts from, by `networks.source_of` or its like."""
        found, missing = {}, {}
        for name, source in self.sources.items():
            if source not in ("imagenet", "none") and not Path(source).is_file():
                missing[name] = f"{name}: {source}: no such weights file"
                continue
            try:
                found[name] = source_of(name, source, self.weights_dir)
            except networks.WeightsUnavailable as error:
                missing[name] = f"{error}. Published as {networks.find(name).published}"
        if missing:
            raise networks.WeightsUnavailable(
                f"Weights are missing of {' and '.join(missing)}. {'. '.join(missing.values())}. Put the files into a "
                "folder and give it as --weights-dir, give each as --weights NAME=FILE, or leave the network out of "
                f"--backbones. Received: --backbones {self.backbones}"
            )
        return found

    def rows(self, found: Mapping[str, str | Path | None], num_frames: int) -> list:
        """The rows, given what the backbones start from; what stands on these is built once, to be checked.

        Raises:
            ValueError: arguments that no model can have.
        """
        from har_tf.models.zoo import FusedModel

        head = {name: getattr(self, name) for name in ("fusion", "gru_units", "bidirectional", "dropout")}
        rows = []
        for row, names in [*((name, [name]) for name in found), (FUSION, list(found))]:
            weights = {name: found[name] for name in names}
            rows.append(FusedModel(row, weights, self.frame_size, self.finetune, head))
            rows[-1].build(dict.fromkeys(names, (num_frames, 1)), 2)  # arguments are right or wrong for any width
        return rows


def trial_of(outcome, test, validation_clips: int) -> dict[str, Any]:
    """One trial as `results.json` has it, and what it answered under "answers".

    Args:
        outcome: a `har_tf.trial.Outcome`.
        test: the test clips, an `ActionDataset`.
        validation_clips: how many there were.
    """
    found = outcome.as_dict()
    # A segment may be there once for each of its classes.
    names = [f"{record.name(test.root)} {record.label}" for record in test.records]
    answers = zip((r.label for r in test.records), outcome.probabilities.argmax(axis=1).tolist(), strict=True)
    return {name: found[name] for name in _MEASURED} | {
        "test_clips": outcome.report.clips,
        "validation_clips": validation_clips,
        "answers": dict(zip(names, answers, strict=True)),
    }


def as_result(row, state: Mapping, trials: list[dict], features: Mapping, classes: int) -> dict:
    """A row as `results.json` has it: means over splits of means over seeds, and what they are made of.

    Args:
        row: of `Networks.rows`.
        state: its "status" and "reason".
        trials: see `trial_of`.
        features: backbone -> "seconds" that its features took.
        classes: how many there are.
    """
    from har_tf.evaluate import repeats

    about = {**state, "starts_from": row.start, "backbones": list(row.weights)}
    if state["status"] != "run":
        return about
    accuracy = repeats.spread(trials, "accuracy", trials[0]["test_clips"])
    return about | {
        "accuracy": accuracy.mean,
        "accuracy_interval": accuracy.interval,
        "deviation_over_splits": accuracy.over_splits,
        "deviation_over_seeds": accuracy.over_seeds,
        "extraction_seconds": sum(features[name]["seconds"] for name in row.weights if not row.finetune),
        "confusion": repeats.confusion(trials, classes),
        **repeats.cost(trials),
    }


def comparison(accuracies: Mapping[str, float], trials: Mapping) -> dict | None:
    """The fusion against the better single network; None where one of them diverged."""
    from har_tf.evaluate import repeats

    single = [name for name in accuracies if name != FUSION]
    if FUSION not in accuracies or not single:
        return None
    other = max(single, key=accuracies.get)
    return repeats.compare(FUSION, other, trials[FUSION], trials[other], "accuracy").as_dict()


def whole_model(row, head, test, probabilities) -> tuple:
    """The model from raw frames to classes, and how far its answers are from those on the stored features.

    None in place of a model whose answers are others, as half precision may make them: training, which took hours, was
    on the stored features, and its results stand.

    Args:
        row: of `Networks.rows`.
        head: the trained model; of a row that is finetuned it is the whole model already.
        test: the prepared test clips.
        probabilities: what the head answered on them.
    """
    from har_tf import devices
    from har_tf.models.fusion_gru import end_to_end

    if row.finetune:
        return head, None
    model = end_to_end(head, (test.num_frames, *test.size, 3), row.weights, frame_sizes=row.frame_sizes)
    clips = min(len(test), 8)
    answers = devices.predict(model, test.read(range(clips)), batch_size=1)
    difference = float(np.abs(answers - probabilities[:clips]).max())
    about = {
        "clips": clips, "largest_difference": difference, "tolerance": END_TO_END_TOLERANCE,
        "parameters": model.count_params(),
    }  # fmt: skip
    return model if difference <= END_TO_END_TOLERANCE else None, about
