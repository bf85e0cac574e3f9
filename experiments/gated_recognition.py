"""Gated heads on 3D ResNeXt-101 and I3D: clip-wise and video-wise accuracy, Tables 9 and 10 of the 3DCAM paper.

    python -m experiments.gated_recognition                               # embedded data set, 8 min of processor time
    python -m experiments.gated_recognition --dataset ucf101 --data-dir UCF-101 --weights \\
        resnext3d=resnext-101-kinetics.pth,i3d=rgb_imagenet.pt,i3d_flow=flow_imagenet.pt       # the paper, split 1
    python -m experiments.gated_recognition --dataset hmdb51 --data-dir HMDB51 --weights i3d=rgb_imagenet.pt
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --weights none --resnext-blocks 1 1 1 1

A video is cut into clips of 16 neighbouring frames that do not overlap. Clip-wise accuracy counts clips (the paper's
"frame-wise total"), video-wise accuracy takes the mean of the probabilities of a video's clips. A network starts from
Kinetics weights with a new classifier, is trained as it is, and trained again with gates on some of its layers (section
3.9). Rows whose weights are not given are "not run", and say so; `--weights none` starts them from random weights.

The ablation: with and without gates, a network starts from the same weights, and, since the gates start at zero, from
the same answers. Both see the same clips in the same order for as many steps, with the same schedule. Paired tests over
videos, and with several `--seeds` over seeds, say whether gating helps.

The paper gives SGD, learning rate 0.001, a tenth of it after every 50 epochs, clips of 16 frames and t = 2. It leaves
open, and the options take: which data and which split Tables 9 and 10 are of (UCF101, split 1; its accuracies fit no
other), epochs (100), momentum (0.9), batch size (32), augmentation (mirroring), which epoch is measured (the last;
`--validation 0.1` chooses it on a tenth of the training videos), and whether the network's own classifier is one of the
summands (it is; `--no-classifier` leaves it out, and gates then start from random weights). It gates I3D at "mixed 3d",
which its Table 2 does not have: `mixed_3c` is taken, the last of that size. The order in which it numbers I3D's layers
is not given either: 1, 2, 3 are taken from input to output. RGB and flow are fused by the mean of their probabilities;
flow is computed from the same clips.

All clips of UCF101 take about 90 GB of disk at 112 x 112 and 360 GB at 224 x 224, their flow two thirds as much again;
`--clips-per-video 3` takes three of each video, evenly spread, a quarter of the room.

The embedded data set is for two cores: figures on plain backgrounds, and networks of a few layers and filters that
start from random weights. It shows the whole path, not the paper's result. The first command took 13 min on two cores
that other work shared. Video-wise it found 0.53 for 3D ResNeXt and 0.50 for the gated one; 0.20 for I3D, and 0.13 to
0.23 gated, hardly above chance, which is 0.10, in 8 epochs; 0.62 with flow and 0.63 with both. Of 60 test videos that
shows no help or harm of gates, and that flow helps.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from har_tf.command import check_name, check_ranges, words

EXPERIMENT = "gated_recognition"
DATASETS = {"ucf101": (13320, 101), "hmdb51": (6766, 51)}  # videos, classes

# row: (clip-wise, video-wise) accuracy, Table 9 of the paper
PAPER_TABLE_9 = {"resnext3d": (0.875, 0.891), "resnext3d_gated": (0.895, 0.919)}
# row: accuracy, Table 10 of the paper
PAPER_TABLE_10 = {
    "i3d": 0.962, "i3d_3": 0.968, "i3d_2": 0.967, "i3d_1+2+3": 0.961, "i3d_2+3": 0.971, "i3d_3_rgb+flow": 0.978,
}  # fmt: skip
NETWORKS = ("resnext3d", "i3d", "i3d_flow")
KINETICS = {
    "resnext3d": "resnext-101-kinetics.pth of 3D-ResNets-PyTorch",
    "i3d": "the RGB checkpoint of kinetics-i3d or rgb_imagenet.pt of pytorch-i3d",
    "i3d_flow": "the flow checkpoint of kinetics-i3d or flow_imagenet.pt of pytorch-i3d",
}


@dataclass(frozen=True)
class Recipe:
    """Options; what is None takes the paper's value, or, on the embedded data set, a smaller one."""

    dataset: str | None = None
    """ucf101, hmdb51, figures (the embedded data set), or a folder of class folders of videos. None: the folder
    --data-dir, else figures."""
    data_dir: Path | None = None
    """Where ucf101 or hmdb51 lies."""
    lists: Path | None = None
    """Folder of official split lists, where they do not lie beside the videos."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""
    protocol: Literal["official", "group", "random"] | None = None
    """None: the official split, where the data have one, else one that keeps groups together, else a random one."""
    split: int = 1
    """Number of the official split; for group and random what it is drawn from."""
    tables: str = "9,10"
    """9 for 3D ResNeXt, 10 for I3D."""
    flow: bool = True
    """The row of Table 10 with flow."""
    weights: str | None = None
    """What networks start from: NAME=FILE or NAME=none (random weights), separated by commas, for resnext3d, i3d and
    i3d_flow, or none for all. None: nothing, and none on the embedded data set."""

    resnext_taps: str = "layer4,layer3,layer2,layer1,conv3d_1a_7x7"
    """The layers of 3D ResNeXt that are gated (Table 9)."""
    i3d_taps: str = "mixed_3c,mixed_4f,mixed_5c"
    """Layers 1, 2 and 3 of I3D, of which Table 10 gates some."""
    t: int = 2
    """Frames of a feature map that a gate pools into one (section 4)."""
    classifier: bool = True
    """Whether the network's own classifier is added to the gates."""
    pool_channels: bool = False
    """Pool channels too, as the text of section 3.9 says; gates then have next to nothing to classify by."""

    num_frames: int | None = None
    """Frames of a clip: 16 in the paper (section 4)."""
    clips_per_video: int | None = None
    """Clips taken of a video, evenly spread over those that do not overlap. None: all."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames than a clip; error leaves them out."""
    resnext_size: int | None = None
    """Side of the square frames of 3D ResNeXt: 112."""
    i3d_size: int | None = None
    """Side of the square frames of I3D: 224."""
    resnext_blocks: tuple[int, int, int, int] | None = None
    """Residual blocks of the four stages: 3 4 23 3, which is 101 layers."""
    resnext_width: int | None = None
    """Planes of the first stage, a multiple of 32: 128."""
    i3d_width: float | None = None
    """Factor on the filters of I3D: 1."""
    dropout: float | None = None
    """Before the classifier of I3D: 0.5, as published; gates have none."""
    flow_method: Literal["dis", "tvl1"] = "dis"
    """How flow is computed; tvl1 needs OpenCV's contributed modules."""

    epochs: int | None = None
    """Passes over the training clips: 100, two steps of the schedule."""
    learning_rate: float | None = None
    """The first one: 0.001 (section 4)."""
    step_epochs: int | None = None
    """Epochs after which the learning rate is multiplied by 0.1: 50 (section 4)."""
    momentum: float = 0.9
    """Of SGD."""
    batch_size: int | None = None
    """Clips a batch: 32."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    weight_decay: float = 0.0
    """Decoupled."""
    clipnorm: float | None = None
    """Largest norm of any weight's gradient. None: not clipped."""
    flip: float = 0.5
    """Probability of mirroring a training clip."""
    crop: float = 1.0
    """Smallest share of the frame that a random crop of a training clip keeps; 1: none."""
    validation: float = 0.0
    """Share of the training videos on which the best epoch is chosen. 0: none, and the last epoch is kept, so that all
    networks have taken as many steps."""
    seeds: str = "0"
    """Of the starting weights, the order and the validation videos, separated by commas; several are averaged, and
    compared in pairs."""

    clips: int = 300
    """Videos of the embedded data set."""
    overlays: int = 2
    """Overlay videos of correct clips, one a class, and as many of misclassified ones."""
    strategy: Literal["one", "mirrored", "tpu"] = "one"
    """One device, all GPUs of this machine, or a TPU."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What layers compute in; mixed_float16 is quicker on most GPUs."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    out: Path = Path("runs")
    """The run goes to OUT/gated_recognition/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips and flow. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: data set, protocol, split and a fingerprint of these options."""


PAPER = {
    "num_frames": 16, "resnext_size": 112, "i3d_size": 224, "resnext_blocks": (3, 4, 23, 3), "resnext_width": 128,
    "i3d_width": 1.0, "dropout": 0.5, "epochs": 100, "learning_rate": 1e-3, "step_epochs": 50, "batch_size": 32,
}  # fmt: skip
# What the embedded data set takes in place of the paper's values, to end in minutes on two cores.
EMBEDDED = {
    "weights": "none", "num_frames": 16, "resnext_size": 48, "i3d_size": 48, "resnext_blocks": (1, 1, 1, 1),
    "resnext_width": 32, "i3d_width": 0.125, "dropout": 0.0, "epochs": 8, "learning_rate": 0.005, "step_epochs": 6,
    "batch_size": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A row of a table: a network without or with gates.

    Args:
        key: its name in `results.json`.
        label: its name in the tables.
        table: 9 or 10.
        network: of `NETWORKS`.
        taps: the layers that are gated.
        weights: file with its Kinetics weights; None: random ones.
        options: of the network's builder.
        gate: of `gated`.
        reason: why it cannot be run; None: it can.
    """

    key: str
    label: str
    table: int
    network: str
    taps: tuple[str, ...] = ()
    weights: Path | None = None
    options: dict = field(default_factory=dict)
    gate: dict = field(default_factory=dict)
    reason: str | None = None

    @property
    def modality(self) -> str:
        return "flow" if self.network == "i3d_flow" else "rgb"

    @property
    def start(self) -> str:
        """What the weights start from, in words."""
        return "random weights" if self.weights is None else f"{self.weights.name}, with a new classifier"

    def build(self, shape, num_classes: int):
        """The network for clips of shape (T, H, W, C).

        The published weights fill everything in front of the classifier, strictly.

        Raises:
            ValueError: weights of another network, an unknown tap, or a shape that the network cannot have.
        """
        import keras

        from har_tf.models import gated, i3d, resnext3d
        from har_tf.models.weights.import_weights import import_weights

        if self.network == "resnext3d":
            model, last = resnext3d(shape, num_classes, **self.options), "layer4"
        else:
            scale = True if self.weights is None else _has_scale(self.weights)
            model = i3d(shape, num_classes, self.modality, batch_norm_scale=scale, **self.options)
            last = "mixed_5c"
        if self.weights is not None:
            # The same layers, not copies.
            import_weights(keras.Model(model.inputs, model.get_layer(last).output, name=model.name), self.weights)
        return gated(model, self.taps, **self.gate) if self.taps else model


def _has_scale(weights: Path) -> bool:
    """Whether BatchNorm has a scale in a file of I3D: it has in the port's and in Keras' files, not in DeepMind's."""
    from har_tf.models.weights import checkpoints

    path = checkpoints.file_of(weights)
    if path.suffix.lower() in (".h5", ".hdf5", ".keras"):
        return True
    return any(name.endswith(("batch_norm/gamma", "bn.weight")) for name in checkpoints.read(path))


def main(recipe: Recipe) -> None:
    from har_tf import datasets, quiet
    from har_tf.report.run_folder import check_writable

    recipe = resolved(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    dataset = None if recipe.dataset == "figures" else _load(recipe)
    check_writable(recipe.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.datasets import splits
    from har_tf.models.saving import load_model
    from har_tf.pipeline import Augment
    from har_tf.report.run_folder import environment
    from har_tf.store.flow import flow_clips
    from har_tf.training import TrainingRecipe
    from har_tf.trial import Parts, hold_out, run_trial

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    schedule = TrainingRecipe(
        recipe.epochs, recipe.learning_rate, "step", label_smoothing=recipe.label_smoothing, clipnorm=recipe.clipnorm,
        weight_decay=recipe.weight_decay, optimizer="sgd", momentum=recipe.momentum, step_epochs=recipe.step_epochs,
    )  # fmt: skip
    augment = Augment(flip=recipe.flip, crop=recipe.crop) if recipe.flip or recipe.crop < 1 else None
    strategy = training.strategy(recipe.strategy)
    training.set_precision(recipe.precision)
    rows = networks(recipe)
    check(rows, recipe)
    dataset = dataset or _load(recipe)
    protocol = recipe.protocol or _protocol(dataset)
    train, test = dataset.split(protocol, recipe.split)
    seeds = [int(seed) for seed in words(recipe.seeds)]
    for seed in seeds:
        hold_out(train, protocol, seed, recipe.validation)
    run = _run_folder(recipe, protocol, dataset)

    print(f"{dataset.name}: {len(dataset)} videos of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    for note in dataset.notes:
        print(f"note: {note}", flush=True)
    about = environment()
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", about)
    overlap = splits.overlap(train, test)
    print(f"{protocol} split {recipe.split}: {len(train)} training videos; {overlap}", flush=True)
    # Only videos of the split: of HMDB51 others are in none.
    cut = clips_of(dataset.subset([*train.records, *test.records]), recipe)
    cache = recipe.prepared or recipe.out / "prepared"
    todo = [row for row in rows if row.reason is None]
    prepared, flow = {}, None
    for network in dict.fromkeys(row.network for row in todo):
        size = _size(network, recipe)
        if size not in prepared:
            prepared[size] = datasets.prepare(
                cut, cache, recipe.num_frames, (size, size), "dense", recipe.short, "crop", recipe.workers
            )
        if network == "i3d_flow":
            flow = flow_clips(prepared[size], cache / "flow", recipe.flow_method)
    one = next(iter(prepared.values()))
    run.keep(one.path / "skipped.csv")
    readable = {path for path, count in _count(one).items() if count}
    train, test = (part.subset(r for r in part.records if r.path in readable) for part in (train, test))
    if not len(train) or not len(test):
        raise datasets.DatasetError(f"{dataset.root}: no video of one part of the {protocol} split can be read")

    of_video = {}
    for record in cut.records:
        of_video.setdefault(record.path, []).append(record)

    def clips(data, videos):
        return data.subset([clip for video in videos.records for clip in of_video[video.path]])

    results = {
        "dataset": _described(dataset, recipe, protocol, len(train) + len(test), one),
        "protocol": protocol, "split": recipe.split, "seeds": seeds, "epochs": recipe.epochs,
        "validation": recipe.validation,
        "training_videos": len(train), "test_videos": len(test), "test_clips": len(clips(one, test)),
        "overlap": asdict(overlap), "overlap_text": str(overlap),
        "augmented": None if augment is None else asdict(augment),
        "rows": {},
    }  # fmt: skip
    trials, answers, answered_clips = {row.key: [] for row in rows}, {}, {}
    for seed in seeds:
        rest, held_out = hold_out(train, protocol, seed, recipe.validation)
        for row in todo:
            if isinstance(trials[row.key], str):
                continue
            data = flow if row.modality == "flow" else prepared[_size(row.network, recipe)]
            parts = Parts(clips(data, rest), clips(data, held_out) if len(held_out) else None, clips(data, test))
            print(f"\n{row.label}, {row.modality}, seed {seed}", flush=True)
            try:
                outcome = run_trial(
                    row, {}, parts, schedule, run.training / f"seed{seed}_{row.key}", recipe.batch_size, augment,
                    seed, recipe.precision, strategy,
                )  # fmt: skip
            except FloatingPointError as error:  # the other rows are still wanted
                trials[row.key] = f"seed {seed}: {error}"
                print(trials[row.key], flush=True)
                continue
            answers[row.key, seed] = answered = Answers.of(parts.test, outcome.probabilities)
            if seed == seeds[0]:
                answered_clips[row.key] = parts.test, outcome.probabilities
            trials[row.key].append(
                answered.accuracies() | {
                    "seed": seed, "best_epoch": outcome.history.best_epoch + 1, "history": outcome.history.epochs,
                    "seconds": round(outcome.history.seconds, 1), "parameters": outcome.model.count_params(),
                    "training_clips": len(parts.train), "validation_clips": len(held_out) and len(parts.validation),
                }
            )  # fmt: skip
            print(f"test accuracy: {answered.accuracies()}", flush=True)

    for row in rows:
        results["rows"][row.key] = _summary(row, trials[row.key], results)
    _fuse(results, answers)
    if not any(row["status"] == "run" for row in results["rows"].values()):
        raise ValueError("None of the networks could be trained; the reasons are above")
    results["comparisons"] = _comparisons(results, answers)
    shown = _shown(results)
    results["shown"] = shown
    folder = run.training / f"seed{seeds[0]}_{shown}"
    run.keep(folder / "model.keras")
    run.keep(folder / "history.csv")
    run.write_json("results.json", results)
    _publish(results, about, (load_model(folder / "model.keras")[0], *answered_clips[shown]), recipe, run)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answered on test clips, and on their videos.

    Args:
        videos: video of each clip, as a number in the order of `labels`.
        labels: (V,) of the videos.
        clips: (N, C) probabilities.
    """

    videos: object
    labels: object
    clips: object

    @classmethod
    def of(cls, test, probabilities) -> "Answers":
        """Puts the clips of a data set together that are of one video."""
        import numpy as np

        number = {}
        videos = np.array([number.setdefault(path, len(number)) for path in test.record_paths])
        labels = np.zeros(len(number), int)
        labels[videos] = test.labels
        return cls(videos, labels, np.asarray(probabilities, np.float64))

    def of_videos(self):
        """(V, C): the mean of the probabilities of a video's clips."""
        import numpy as np

        total = np.zeros((len(self.labels), self.clips.shape[1]))
        np.add.at(total, self.videos, self.clips)
        return total / np.bincount(self.videos)[:, None]

    def accuracies(self) -> dict[str, float]:
        """Of clips and of videos."""
        right = self.clips.argmax(axis=1) == self.labels[self.videos]
        return {
            "clip_accuracy": float(right.mean()),
            "video_accuracy": float((self.of_videos().argmax(axis=1) == self.labels).mean()),
        }

    def fused(self, other: "Answers") -> "Answers":
        """Late fusion: the mean of two networks' probabilities of the same clips.

        Raises:
            ValueError: other clips.
        """
        import numpy as np

        if not (np.array_equal(self.videos, other.videos) and np.array_equal(self.labels, other.labels)):
            raise ValueError(
                f"Answers on the same clips are fused. Received: {len(self.videos)} and {len(other.videos)} clips"
            )
        return replace(self, clips=(self.clips + other.clips) / 2)


def clips_of(dataset, recipe: Recipe):
    """Every video as the clips of neighbouring frames that are taken of it.

    A video with fewer frames than a clip is one clip. One that cannot be read is left as it is: `prepare` says why.
    """
    from har_tf.files.frame_counts import FrameCount, count_frames
    from har_tf.video import VideoError, frame_indices, sliding_windows
    from har_tf.video.segment import frame_rate

    records = []
    counts = count_frames([record.path for record in dataset.records], workers=recipe.workers)
    for record, count in zip(dataset.records, counts, strict=True):
        try:
            rate = frame_rate(record.path)
        except VideoError:
            rate = None
        if rate is None or not isinstance(count, FrameCount):
            records.append(record)
            continue
        windows = sliding_windows(count.frames, recipe.num_frames, tail="drop")
        if recipe.clips_per_video is not None and len(windows) > recipe.clips_per_video:
            windows = windows[frame_indices(len(windows), recipe.clips_per_video)]
        for window in windows:
            segment = float(window[0] / rate), float((int(window.max()) + 1) / rate)
            records.append(replace(record, segment=segment))
    return dataset.subset(records)


def networks(recipe: Recipe) -> list[Network]:
    """The rows of the tables that are trained; the fusion of RGB and flow is made of two of them."""
    given = _given_weights(recipe)
    gate = {"t": recipe.t, "classifier": recipe.classifier, "pool_channels": recipe.pool_channels}
    i3d_taps = words(recipe.i3d_taps)
    rows = []

    def add(key, label, table, network, taps=()):
        reason = None
        if network not in given:
            reason = f"needs weights: --weights {network}=FILE, {KINETICS[network]}, or {network}=none for random ones"
        options = {"blocks": recipe.resnext_blocks, "width": recipe.resnext_width}
        if network != "resnext3d":
            options = {"width": recipe.i3d_width, "dropout": recipe.dropout}
        rows.append(Network(key, label, table, network, tuple(taps), given.get(network), options, gate, reason))

    if "9" in words(recipe.tables):
        name = "3D ResNeXt-101" if recipe.resnext_blocks == PAPER["resnext_blocks"] else "3D ResNeXt"
        taps = words(recipe.resnext_taps)
        numbers = "+".join("conv" if tap == "conv3d_1a_7x7" else tap.removeprefix("layer") for tap in taps)
        add("resnext3d", name, 9, "resnext3d")
        add("resnext3d_gated", f"{name} (layer {numbers})", 9, "resnext3d", taps)
    if "10" in words(recipe.tables):
        add("i3d", "I3D", 10, "i3d")
        for numbers in ("3", "2", "1+2+3", "2+3"):
            add(
                f"i3d_{numbers}",
                f"I3D (layer {numbers})",
                10,
                "i3d",
                [i3d_taps[int(n) - 1] for n in numbers.split("+")],
            )
        if recipe.flow:
            add("i3d_3_flow", "I3D (layer 3)", 10, "i3d_flow", [i3d_taps[2]])
    return rows


def check(rows: list[Network], recipe: Recipe) -> None:
    """Builds every network once, with its weights, so that what does not fit shows before any work.

    Raises:
        ValueError: see `Network.build`; or no row can be run.
    """
    if all(row.reason for row in rows):
        raise ValueError(f"No row can be run: {'; '.join(dict.fromkeys(row.reason for row in rows))}")
    imported = set()
    for row in rows:
        size = _size(row.network, recipe)
        shape = (recipe.num_frames, size, size, 2 if row.modality == "flow" else 3)
        (row if row.network not in imported else replace(row, weights=None)).build(shape, 2)
        imported.add(row.network)


def _size(network: str, recipe: Recipe) -> int:
    return recipe.resnext_size if network == "resnext3d" else recipe.i3d_size


def _count(prepared) -> dict[Path, int]:
    """Clips of each video that could be read."""
    counts = {}
    for path in prepared.record_paths:
        counts[path] = counts.get(path, 0) + 1
    return counts


def _summary(row: Network, trials: list[dict] | str, results: dict) -> dict:
    """A row as `results.json` has it: means over seeds, and what they are made of."""
    about = {"label": row.label, "table": row.table, "modality": row.modality, "taps": row.taps}
    if row.reason:
        return about | {"status": "not run", "reason": row.reason}
    if isinstance(trials, str):
        return about | {"status": "diverged", "reason": trials}
    return about | {
        "status": "run", "reason": None, "starts_from": row.start, "parameters": trials[0]["parameters"],
        "training_seconds": sum(trial["seconds"] for trial in trials) / len(trials), **_means(trials, results),
    }  # fmt: skip


def _means(trials: list[dict], results: dict) -> dict:
    import numpy as np
    from scipy import stats

    clip, video = (np.array([trial[f"{unit}_accuracy"] for trial in trials]) for unit in ("clip", "video"))
    videos = results["test_videos"]
    found = stats.binomtest(round(video.mean() * videos), videos).proportion_ci(method="wilson")
    return {
        "clip_accuracy": float(clip.mean()), "video_accuracy": float(video.mean()),
        "video_interval": [float(found.low), float(found.high)],
        "deviation_over_seeds": float(video.std(ddof=1)) if len(video) > 1 else None,
        "trials": trials,
    }  # fmt: skip


def _fuse(results: dict, answers: dict) -> None:
    """Adds the row of RGB and flow, and its answers."""
    rows = results["rows"]
    if "i3d_3_flow" not in rows:
        return
    about = {"label": "I3D (layer 3)", "table": 10, "modality": "rgb + flow", "taps": rows["i3d_3"]["taps"]}
    for part in ("i3d_3", "i3d_3_flow"):
        if rows[part]["status"] != "run":
            rows["i3d_3_rgb+flow"] = about | {"status": "not run", "reason": rows[part]["reason"]}
            return
    trials = []
    for seed in results["seeds"]:
        answers["i3d_3_rgb+flow", seed] = fused = answers["i3d_3", seed].fused(answers["i3d_3_flow", seed])
        trials.append(fused.accuracies() | {"seed": seed})
    rows["i3d_3_rgb+flow"] = about | {
        "status": "run", "reason": None, "starts_from": "the networks above, the mean of their probabilities",
        "parameters": rows["i3d_3"]["parameters"] + rows["i3d_3_flow"]["parameters"],
        "training_seconds": rows["i3d_3"]["training_seconds"] + rows["i3d_3_flow"]["training_seconds"],
        **_means(trials, results),
    }  # fmt: skip


def _comparisons(results: dict, answers: dict) -> list[dict]:
    """Each gated network against the same without gates, and RGB with flow against RGB alone.

    Clips of one video are not independent, so the test over answers is one over videos.
    """
    from har_tf.evaluate.comparison import Comparison, over_clips, over_seeds

    rows = results["rows"]
    pairs = [("resnext3d_gated", "resnext3d"), *((f"i3d_{n}", "i3d") for n in ("3", "2", "1+2+3", "2+3"))]
    found = []
    for first, second in [*pairs, ("i3d_3_rgb+flow", "i3d_3")]:
        if not all(name in rows and rows[name]["status"] == "run" for name in (first, second)):
            continue
        by_seed = ([trial["video_accuracy"] for trial in rows[name]["trials"]] for name in (first, second))
        ours, theirs = (answers[name, results["seeds"][0]] for name in (first, second))
        compared = Comparison(
            *(f"{rows[name]['label']}, {rows[name]['modality']}" for name in (first, second)),
            over_seeds(*by_seed),
            over_clips(ours.labels, ours.of_videos().argmax(axis=1), theirs.of_videos().argmax(axis=1)),
            "video",
        )
        found.append({"rows": [first, second], "table": rows[first]["table"], **compared.as_dict()})
    return found


def conclusion(results: dict) -> list[str]:
    """For each network, in words, whether gating helps."""
    sentences = []
    for name, second in (("3D ResNeXt", "resnext3d"), ("I3D", "i3d")):
        compared = [c for c in results["comparisons"] if c["rows"][1] == second]
        if not compared:
            continue
        helps, hurts = ([c for c in compared if c["verdict"] == verdict] for verdict in ("better", "worse"))
        of = "" if len(compared) == 1 else f" ({len(compared)} choices of layers)"
        points = ", ".join(f"{100 * c['seeds']['difference']:+.1f}" for c in compared)
        if helps and hurts:
            word = f"helps in {len(helps)} of them and harms in {len(hurts)}"
        elif helps:
            word = "helps" if len(helps) == len(compared) else f"helps in {len(helps)} of them"
        elif hurts:
            word = "harms" if len(hurts) == len(compared) else f"harms in {len(hurts)} of them, and helps in none"
        else:
            word = "is not shown to help or to harm: the differences may be chance"
        sentences.append(f"{name}{of}: gating {word}; {points} points of video-wise accuracy.")
    return sentences


def _shown(results: dict) -> str:
    """The network that is shown in pictures and saved: the gated 3D ResNeXt, else the best gated I3D."""
    run = {key: row["video_accuracy"] for key, row in results["rows"].items() if row["status"] == "run"}
    run.pop("i3d_3_rgb+flow", None)
    gated = [key for key in run if results["rows"][key]["taps"] and results["rows"][key]["modality"] == "rgb"]
    return "resnext3d_gated" if "resnext3d_gated" in run else max(gated or run, key=run.get)


def _publish(results: dict, about: dict, shown: tuple, recipe: Recipe, run) -> None:
    """Writes the tables, the figures and the page, and prints the tables."""
    from har_tf.report import page, plots
    from har_tf.report.pages.explained import Answered, overlay_videos
    from har_tf.report.run_folder import machine

    sections, printed = [], []
    several = len(results["seeds"]) > 1
    spread = f"mean of {len(results['seeds'])} seeds and their standard deviation" if several else "one seed"
    part, prefix = ("validation", "val_") if recipe.validation else ("training", "")
    texts = [*conclusion(results), *(" ".join(c["sentences"]) for c in results["comparisons"])]
    if sum(c["table"] == 10 for c in results["comparisons"]) > 1:
        texts.append("Where several choices of layers are tested at 0.05 each, one may pass by chance.")
    sections.append(page.Section("Does gating help?", text="\n\n".join(texts)))
    for number, name in ((9, "3D ResNeXt"), (10, "I3D")):
        rows = {key: row for key, row in results["rows"].items() if row["table"] == number}
        if not rows:
            continue
        table = table_of(results, number)
        table.write(run.tables, f"table_{number}")
        printed.append(table.markdown())
        histories = {
            row["label"] + (", flow" if row["modality"] == "flow" else ""): [t["history"] for t in row["trials"]]
            for row in rows.values()
            if row["status"] == "run" and row["modality"] != "rgb + flow"
        }
        figures = []
        for metric in ("accuracy", "loss") if histories else ():
            path = run.figures / f"table_{number}_{metric}.png"
            plots.metric_by_epoch(histories, prefix + metric, path)
            figures.append(page.Figure(path, f"{metric.capitalize()} on {part} clips by epoch: {spread}."))
        sections.append(page.Section(f"Table {number}: {name}, with and without gates", tables=[table]))
        sections.append(page.Section(f"{name}: curves", figures=figures))
    answered = Answered(*shown, methods=("gradcam", "3dcam"))
    row = results["rows"][results["shown"]]
    if recipe.overlays and row["modality"] == "rgb":
        for what, chosen in (("correct", answered.correct()), ("misclassified", answered.misclassified())):
            if chosen:
                found = overlay_videos(answered, chosen[: recipe.overlays], run.overlays, what)
                sections.append(page.Section(f"{row['label']}: {what} clips", videos=found))
    facts = {
        "data": _data_line(results),
        "protocol": f"{_split_line(results)}: {_overlap_line(results)}",
        "accuracy": f"{row['video_accuracy']:.4f} video-wise, {row['clip_accuracy']:.4f} clip-wise ({row['label']})",
        "gating": " ".join(conclusion(results)) or "Nothing to compare.",
        "date": about["date"],
        "machine": machine(about),
        "command": about["command"],
    }
    random = [r["label"] for r in results["rows"].values() if r.get("starts_from") == "random weights"]
    summary = "Networks that start from random weights: this page shows the whole path, not what the paper measured."
    written = page.write_page(
        run.path / "report.html", "Gated recognition", facts, sections, summary if random else None
    )
    print("\n" + "\n".join(printed))
    print("\n".join(conclusion(results)))
    print(f"run folder: {run.path}\nreport:     {written}", flush=True)


def table_of(results: dict, number: int):
    """Table 9 or 10 from `results.json`; with the paper's figures only where the data are those they may be of."""
    from har_tf.report.tables import Table

    several = len(results["seeds"]) > 1
    columns = ["Network", "Modality", "Clip-wise", "Video-wise", "95 % interval"]
    columns += ["Deviation over seeds"] if several else []
    columns += ["Parameters", "Training (min)"]
    paper = ["Paper: frame-wise total", "Paper: video-wise"] if number == 9 else ["Paper: accuracy"]
    paper = paper if results["dataset"]["as_in_paper"] else []
    columns += paper
    epoch = "epoch that was best on validation videos" if results["validation"] else "last"
    notes = [
        f"Measured on {_data_line(results)}, {_split_line(results)}: {results['test_videos']} test videos, "
        f"{results['test_clips']} clips. The interval (Wilson) takes videos for independent; where several show one "
        "scene, as UCF101's do, it is too narrow.",
        f"{results['epochs']} epochs, the same clips in the same order for all, measured after the {epoch}; "
        + (f"mean of {len(results['seeds'])} seeds." if several else f"seed {results['seeds'][0]}."),
    ]
    rows, starts = [], {}
    for key, row in results["rows"].items():
        if row["table"] != number:
            continue
        cells = [row["label"], row["modality"]]
        if row["status"] == "run":
            low, high = row["video_interval"]
            cells += [row["clip_accuracy"], row["video_accuracy"], f"{low:.3f}\N{EN DASH}{high:.3f}"]
            cells += [row["deviation_over_seeds"]] if several else []
            cells += [row["parameters"], row["training_seconds"] / 60]
            starts.setdefault(row["starts_from"], []).append(f"{row['label']}, {row['modality']}")
        else:
            cells += [row["status"], row["status"], *[None] * (3 + several)]
            notes.append(f"{row['label']}, {row['modality']}: {row['status']}, {row['reason']}.")
        if paper:
            known = PAPER_TABLE_9.get(key, (None, None)) if number == 9 else (PAPER_TABLE_10.get(key),)
            cells += known
        rows.append(cells)
    notes += [f"From {start}: {'; '.join(started)}." for start, started in starts.items()]
    if paper:
        notes.append(
            "The paper does not say which data, split and starting weights its figures are of; UCF101, split 1, is "
            "the likeliest."
        )
    else:
        notes.append("The paper's figures were measured on other data or other networks and are not set beside these.")
    titles = {9: "3D ResNeXt", 10: "I3D"}
    return Table(
        f"Table {number}. {titles[number]} with and without gates", columns, rows, notes,
        {"Parameters": ",", "Training (min)": ".1f"}, highest=["Clip-wise", "Video-wise"],
    )  # fmt: skip


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given; checked.

    Raises:
        ValueError: a value out of its range, or options that do not go together.
    """
    if recipe.dataset is None:
        recipe = replace(recipe, dataset="figures" if recipe.data_dir is None else str(recipe.data_dir), data_dir=None)
    named = recipe.dataset in DATASETS
    if named and recipe.data_dir is None:
        raise ValueError(f"--data-dir, the folder where {recipe.dataset} lies, is needed")
    if not named and recipe.data_dir is not None:
        raise ValueError(f"--data-dir is where ucf101 or hmdb51 lies. Received: --dataset {recipe.dataset}")
    defaults = EMBEDDED if recipe.dataset == "figures" else PAPER
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    ranges = {
        "split": (1, None), "t": (1, None), "num_frames": (8, None), "clips_per_video": (1, None),
        "resnext_size": (32, None), "i3d_size": (32, None), "i3d_width": (0.01, None), "dropout": (0, 0.9),
        "batch_size": (1, None), "validation": (0, 0.9), "clips": (10, None), "overlays": (0, None),
        "workers": (0, None),
    }  # fmt: skip
    check_ranges(recipe, ranges)
    check_name("--run", recipe.run)
    tables, seeds = words(recipe.tables), words(recipe.seeds)
    if not set(tables) <= {"9", "10"} or len(set(tables)) < len(tables):
        raise ValueError(f"--tables must be 9, 10 or both, separated by a comma. Received: {recipe.tables!r}")
    if not all(seed.isdecimal() and int(seed) < 2**32 for seed in seeds) or len(set(map(int, seeds))) < len(seeds):
        raise ValueError(f"--seeds must be different whole numbers from 0 on. Received: {recipe.seeds!r}")
    if len(words(recipe.i3d_taps)) != 3:
        raise ValueError(f"--i3d-taps must be the three layers that Table 10 numbers. Received: {recipe.i3d_taps!r}")
    _given_weights(recipe)
    return recipe


def _given_weights(recipe: Recipe) -> dict[str, Path | None]:
    """Network -> file, or None for random weights; a network that is not in it has none.

    Raises:
        ValueError: a network that is unknown or named twice, or no such file.
    """
    if recipe.weights is None:
        return {}
    if recipe.weights == "none":
        return dict.fromkeys(NETWORKS)
    pairs = [pair.partition("=") for pair in words(recipe.weights)]
    given = {name: source for name, _, source in pairs}
    if len(given) < len(pairs) or not all(name in NETWORKS and source for name, source in given.items()):
        raise ValueError(
            f"--weights must be none, or NAME=FILE or NAME=none once for some of {', '.join(NETWORKS)}, separated by "
            f"commas. Received: {recipe.weights!r}"
        )
    found = {name: None if source == "none" else Path(source).expanduser() for name, source in given.items()}
    for name, file in found.items():
        # A checkpoint of TensorFlow is named by what its files begin with.
        if file is not None and not file.is_file() and not file.with_name(f"{file.name}.index").is_file():
            raise ValueError(f"{file}: no such weights file. Received: --weights {name}={file}")
    return found


def _load(recipe: Recipe):
    """The data set with its split."""
    from har_tf import datasets

    classes = None if recipe.classes is None else words(recipe.classes)
    if recipe.dataset == "figures":
        return datasets.load(
            "figures", recipe.out / "figures", classes=classes, clips=recipe.clips, size=(64, 64),
            frames=2 * recipe.num_frames, clutter=0.0, workers=recipe.workers,
        )  # fmt: skip
    source = recipe.dataset if recipe.dataset in DATASETS else Path(recipe.dataset)
    return datasets.load(source, recipe.data_dir, split=recipe.split, classes=classes, lists=recipe.lists)


def _protocol(dataset) -> str:
    """The strictest split that the data allow for, the official one first."""
    if dataset.official is not None:
        return "official"
    return "group" if all(record.group is not None for record in dataset.records) else "random"


def _run_folder(recipe: Recipe, protocol: str, dataset):
    """The folder that this recipe on these videos goes to, so that the same command on the same data finds it again."""
    from har_tf.report.run_folder import RunFolder, run_name

    records = () if recipe.dataset == "figures" else dataset.records
    prefix = f"{dataset.name}-{protocol}{recipe.split}"
    return RunFolder(recipe.out, EXPERIMENT, recipe.run or run_name(prefix, recipe, records))


def _described(dataset, recipe: Recipe, protocol: str, videos: int, prepared) -> dict:
    """The data as `results.json` has them."""
    network = all(getattr(recipe, name) == PAPER[name] for name in PAPER if name not in ("epochs", "batch_size"))
    own = ("resnext_taps", "i3d_taps", "t", "classifier", "pool_channels", "clips_per_video", "classes", "validation")
    network &= all(getattr(recipe, name) == getattr(Recipe, name) for name in own)
    weights = all(file is not None for file in _given_weights(recipe).values())
    complete = (len(dataset), len(dataset.class_names)) == DATASETS["ucf101"]
    return {
        "name": dataset.name, "classes": list(dataset.class_names), "videos": videos,
        "clips": len(prepared), "skipped_clips": len(prepared.skipped), "num_frames": recipe.num_frames,
        "notes": list(dataset.notes),
        "as_in_paper": dataset.name == "ucf101" and complete and protocol == "official" and recipe.split == 1
        and network and weights,
    }  # fmt: skip


def _data_line(results: dict) -> str:
    data = results["dataset"]
    skipped = f" ({data['skipped_clips']} unreadable left out)" if data["skipped_clips"] else ""
    return (
        f"{data['clips']} clips of {data['num_frames']} frames{skipped} of {data['videos']} videos of "
        f"{len(data['classes'])} classes of {data['name']}"
    )


def _split_line(results: dict) -> str:
    return f"{results['protocol']} split {results['split']}"


def _overlap_line(results: dict) -> str:
    return results["overlap_text"].replace("test clips", "test videos")


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
