"""The rows of the 3DCAM paper's Tables 9 and 10: networks with and without gates, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from har_tf.command import by_name, words

if TYPE_CHECKING:
    from har_tf.evaluate.videos import VideoPredictions

GATED_I3D = ("3", "2", "1+2+3", "2+3")  # the layers of I3D that Table 10 gates
BOTH = "i3d_3_rgb+flow"  # the row of RGB and flow fused, and what it is made of
FUSED = ("i3d_3", "i3d_3_flow")
NETWORKS = {
    "resnext3d": "resnext-101-kinetics.pth of 3D-ResNets-PyTorch",
    "i3d": "the RGB checkpoint of kinetics-i3d or rgb_imagenet.pt of pytorch-i3d",
    "i3d_flow": "the flow checkpoint of kinetics-i3d or flow_imagenet.pt of pytorch-i3d",
}
# What names of layers begin with, from input to output.
_I3D = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
STAGES = {
    "resnext_taps": ("conv3d_1a_7x7", "maxpool3d_2a_3x3", "layer1", "layer2", "layer3", "layer4"),
    "i3d_taps": ("conv3d_1a_7x7", "conv3d_2b_1x1", "conv3d_2c_3x3", *(f"mixed_{part}" for part in _I3D), "maxpool3d"),
}


@dataclass(frozen=True)
class Networks:
    """Which rows, and how networks are built."""

    tables: str = "9,10"
    """Tables to measure, separated by commas: 9 for 3D ResNeXt, 10 for I3D."""
    flow: bool = True
    """Measure the rows of Table 10 with flow."""
    weights: str | None = None
    """What networks start from: NAME=FILE or NAME=none (random weights), separated by commas, for resnext3d, i3d and
    i3d_flow, or none for all. None: no network has any, and no row is run."""
    resnext_taps: str = "layer4,layer3,layer2,layer1,conv3d_1a_7x7"
    """Layers of 3D ResNeXt that are gated (Table 9), separated by commas."""
    i3d_taps: str = "mixed_3c,mixed_4f,mixed_5c"
    """Layers 1, 2 and 3 of I3D, of which Table 10 gates some."""
    frozen: bool = False
    """Train only the classifier and the gates, on the networks as they are published. What they read is computed once
    and stored, where training clips are not mirrored (--flip 0), so that a row is trained in seconds."""
    t: int = 2
    """Frames of a feature map that a gate pools into one (section 4)."""
    classifier: bool = True
    """Add the network's own classifier to the gates."""
    pool_channels: bool = False
    """Pool channels too, as the text of section 3.9 says; gates then have next to nothing to classify by."""
    resnext_size: int = 112
    """Side of the square frames of 3D ResNeXt: 112 as its published weights were trained, 224 by Table 1."""
    i3d_size: int = 224
    """Side of the square frames of I3D."""
    resnext_frames: int = 16
    """Frames of a clip of 3D ResNeXt (section 4)."""
    i3d_frames: int = 16
    """Frames of a clip of I3D, of RGB and flow: 16 by section 4, 64 by Table 2."""
    resnext_blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    """Residual blocks of the four stages of 3D ResNeXt; 3 4 23 3 is 101 layers."""
    resnext_width: int = 128
    """Planes of the first stage of 3D ResNeXt, a multiple of 32."""
    i3d_width: float = 1.0
    """Factor on the filters of I3D."""
    dropout: float = 0.5
    """Dropout before the classifier of I3D; gates have none."""

    def check(self) -> None:
        """Raises ValueError for options that do not go together, or weights that are not there."""
        tables = words(self.tables)
        if not set(tables) <= {"9", "10"} or len(set(tables)) < len(tables):
            raise ValueError(f"--tables must be 9, 10 or both, separated by a comma. Received: {self.tables!r}")
        if len(words(self.i3d_taps)) != 3:
            raise ValueError(f"--i3d-taps must be the three layers that Table 10 numbers. Received: {self.i3d_taps!r}")
        for option, table in (("resnext_taps", "9"), ("i3d_taps", "10")):
            for tap in words(getattr(self, option)) if table in tables else ():
                if not tap.startswith(STAGES[option]):
                    flag, known = option.replace("_", "-"), ", ".join(STAGES[option])
                    raise ValueError(f"--{flag} names layers, which begin with {known}. Received: {tap!r}")
        if self.frozen and None in self.sources.values():
            raise ValueError(f"--frozen keeps published weights. Received: --weights {self.weights}")
        for name, file in self.sources.items():
            # A checkpoint of TensorFlow is named by what its files begin with.
            if file is not None and not file.is_file() and not file.with_name(f"{file.name}.index").is_file():
                raise ValueError(f"{file}: no such weights file. Received: --weights {name}={file}")

    @property
    def sources(self) -> dict[str, Path | None]:
        """Network -> file, or None for random weights; a network that is not in it has none.

        Raises:
            ValueError: a network that is unknown or named twice.
        """
        if self.weights is None:
            return {}
        sources = by_name("--weights", self.weights, list(NETWORKS), ("none",))
        return {name: None if source == "none" else Path(source).expanduser() for name, source in sources.items()}

    @property
    def pretraining(self) -> str:
        """What the networks were trained on, as far as their files tell: "Kinetics", where all have its 400 classes;
        "random"; or which files have others.

        Raises:
            ValueError, FileNotFoundError: a file of a network that is not this one, see
                `har_tf.models.weights.import_weights.resnext3d_options`.
        """
        from har_tf.models.weights import checkpoints
        from har_tf.models.weights import import_weights as importers

        others = []
        for name, file in self.sources.items():
            if file is None:
                return "random"
            told, path = {}, checkpoints.file_of(file)
            if path.suffix.lower() not in (".h5", ".hdf5", ".keras"):  # of which it is not read
                told = (importers.resnext3d_options if name == "resnext3d" else importers.i3d_options)(path)
            if (classes := told.get("num_classes", "unknown")) != 400:
                others.append(f"{file.name}, {classes} classes")
        return "; ".join(others) or "Kinetics"

    def size_of(self, network: str) -> tuple[int, int]:
        """Height and width of the frames that a network takes."""
        return (self.resnext_size if network == "resnext3d" else self.i3d_size,) * 2

    def frames_of(self, network: str) -> int:
        """Frames of the clips that a network takes."""
        return self.resnext_frames if network == "resnext3d" else self.i3d_frames

    def taps_of(self, network: str) -> tuple[str, ...]:
        """All layers of a network that some row gates."""
        return tuple(words(self.resnext_taps if network == "resnext3d" else self.i3d_taps))

    def rows(self) -> list[Row]:
        """The rows that are trained; the fusion of RGB and flow is made of two of them."""
        rows = []
        if "9" in words(self.tables):
            label = "3D ResNeXt-101" if self.resnext_blocks == (3, 4, 23, 3) else "3D ResNeXt"
            taps = self.taps_of("resnext3d")
            numbers = "+".join("conv" if tap == "conv3d_1a_7x7" else tap.removeprefix("layer") for tap in taps)
            rows.append(Row("resnext3d", label, "resnext3d", (), self))
            rows.append(Row("resnext3d_gated", f"{label} (layer {numbers})", "resnext3d", taps, self))
        if "10" in words(self.tables):
            layers = dict(zip("123", self.taps_of("i3d"), strict=True))
            rows.append(Row("i3d", "I3D", "i3d", (), self))
            for numbers in GATED_I3D:
                taps = tuple(layers[number] for number in numbers.split("+"))
                rows.append(Row(f"i3d_{numbers}", f"I3D (layer {numbers})", "i3d", taps, self))
            if self.flow:
                rows.append(Row("i3d_3_flow", "I3D (layer 3)", "i3d_flow", (layers["3"],), self))
        return rows


@dataclass(frozen=True)
class Row:
    """A row of a table: a network without or with gates.

    Args:
        name: its name in `results.json`.
        label: its name in the tables.
        network: of `NETWORKS`.
        taps: the layers that are gated.
        networks: how it is built.
    """

    name: str
    label: str
    network: str
    taps: tuple[str, ...]
    networks: Networks

    @property
    def about(self) -> dict:
        """The row as `results.json` has it, before it is run."""
        table, modality = 9 if self.network == "resnext3d" else 10, "flow" if self.network == "i3d_flow" else "rgb"
        return {"label": self.label, "table": table, "modality": modality, "taps": self.taps}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(time, height, width, channels) of its clips."""
        channels = 2 if self.network == "i3d_flow" else 3
        return (self.networks.frames_of(self.network), *self.networks.size_of(self.network), channels)

    @property
    def weights(self) -> Path | None:
        """File with its Kinetics weights; None: random ones."""
        return self.networks.sources.get(self.network)

    @property
    def start(self) -> str:
        """What it starts from, in words."""
        words = "random weights" if self.weights is None else self.weights.name
        return f"{words}, frozen" if self.networks.frozen else words

    @property
    def missing(self) -> str | None:
        """Why it cannot be run; None: it can."""
        name = self.network
        if name in self.networks.sources:
            return None
        return f"needs weights: --weights {name}=FILE, {NETWORKS[name]}, or {name}=none for random ones"

    @property
    def widest(self) -> Row:
        """The row of the same network with gates on all layers: of a frozen network it reads all that others read."""
        return replace(self, name=self.network, label="", taps=self.networks.taps_of(self.network))

    def build(self, shape, num_classes: int, imported: bool = True):
        """The network for clips of shape (T, H, W, C), with its Kinetics weights or random ones.

        Raises:
            ValueError: weights of another network, an unknown tap, or a shape that the network cannot have.
        """
        from har_tf.models.gated import gated
        from har_tf.models.kinetics import from_kinetics

        asked, options = self.networks, {"width": self.networks.i3d_width, "dropout": self.networks.dropout}
        if self.network == "resnext3d":
            options = {"width": asked.resnext_width, "blocks": asked.resnext_blocks}
        weights = self.weights if imported else None
        model = from_kinetics(self.network, shape, num_classes, weights, not asked.frozen, **options)
        if not self.taps:
            return model
        return gated(model, self.taps, t=asked.t, classifier=asked.classifier, pool_channels=asked.pool_channels)


def check_rows(rows: list[Row]) -> None:
    """Builds every row that has weights, once for each network with them, so that what does not fit shows early.

    Raises:
        ValueError: see `Row.build`.
    """
    ready = [row for row in rows if not row.missing]
    first = {row.network: row for row in reversed(ready)}  # with weights, which take longest, and so last
    for row in sorted(ready, key=lambda row: row is first[row.network]):
        row.build(row.shape, 2, row is first[row.network])


def scores(predictions: VideoPredictions) -> dict:
    """What a trial keeps of its answers."""
    return predictions.accuracies() | {"answers": predictions.answers()}


def as_results(
    rows: list[Row], states: Mapping, trials: dict, answered: Mapping, groups: Mapping[str, str | None]
) -> dict[str, dict]:
    """The rows as `results.json` has them, with RGB and flow fused: means over seeds, and what they are made of.

    Args:
        rows: of `Networks.rows`.
        states: row -> its "status" and "reason".
        trials: row -> its trials; those of the fusion are added.
        answered: (row, seed) -> its `VideoPredictions`.
        groups: test video -> the recording that it was cut from.
    """
    results = {}
    for row in rows:
        results[row.name] = result = row.about | states[row.name]
        if result["status"] == "run":
            result["weights"] = row.weights and row.weights.name
            result |= _means(trials[row.name], groups)
    if FUSED[1] in results:
        rgb, flow = (results[part] for part in FUSED)
        results[BOTH] = fused = {"label": rgb["label"], "table": 10, "modality": "rgb + flow", "taps": rgb["taps"]}
        if failed := [part["reason"] for part in (rgb, flow) if part["status"] != "run"]:
            fused |= {"status": "not run", "reason": failed[0]}
            return results
        trials[BOTH] = []
        for first, second in zip(*(trials[part] for part in FUSED), strict=True):
            seed, cost = first["seed"], {name: first[name] + second[name] for name in ("parameters", "seconds")}
            predictions = answered[FUSED[0], seed].fused(answered[FUSED[1], seed])
            trials[BOTH].append({"split": first["split"], "seed": seed, **cost, **scores(predictions)})
        fused |= {"status": "run", "reason": None, "fused": FUSED, **_means(trials[BOTH], groups)}
    return results


def _means(trials: list[dict], groups: Mapping[str, str | None]) -> dict:
    """Clip-wise and video-wise accuracy of the trials of a row, and what they cost."""
    from har_tf.evaluate import repeats

    clip, video = (repeats.spread(trials, f"{unit}_accuracy", len(groups)) for unit in ("clip", "video"))
    return {
        "clip_accuracy": clip.mean, "video_accuracy": video.mean, "video_interval": video.interval,
        "group_interval": repeats.interval_over_groups(trials, groups),
        "deviation_over_seeds": video.over_seeds, **repeats.cost(trials),
    }  # fmt: skip


def comparisons(rows: Mapping, trials: Mapping) -> list[dict]:
    """Each gated network against the same without gates, and RGB with flow against RGB alone.

    Clips of one video are not independent, so the test over answers is one over videos.
    """
    from har_tf.evaluate import repeats

    pairs = [("resnext3d_gated", "resnext3d"), *((f"i3d_{numbers}", "i3d") for numbers in GATED_I3D), (BOTH, "i3d_3")]
    compared = []
    for pair in pairs:
        if all(name in rows and rows[name]["status"] == "run" for name in pair):
            names = (f"{rows[name]['label']}, {rows[name]['modality']}" for name in pair)
            comparison = repeats.compare(*names, *(trials[name] for name in pair), "video_accuracy", "video")
            compared.append({"rows": pair, "table": rows[pair[0]]["table"], **comparison.as_dict()})
    return compared


def shown_row(rows: Mapping) -> str | None:
    """The network that is shown in pictures and saved: the gated 3D ResNeXt, else the best gated I3D; None: no row."""
    run = {name: row["video_accuracy"] for name, row in rows.items() if row["status"] == "run" and name != BOTH}
    gated = [name for name in run if rows[name]["taps"] and rows[name]["modality"] == "rgb"]
    return "resnext3d_gated" if "resnext3d_gated" in run else max(gated or run, key=run.get, default=None)
