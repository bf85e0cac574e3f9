"""Weakly supervised localisation by 3DCAM: Tables 3 to 8 and Figures 7 and 8 of the 3DCAM paper.

    python -m experiments.cam3d_localization                             # embedded data set, 10 min on two cores
    python -m experiments.cam3d_localization --dataset jhmdb --data-dir JHMDB \\
        --weights resnext-101-kinetics-hmdb51_split1.pth                 # Tables 3, 4, 5 and 8
    python -m experiments.cam3d_localization --dataset ucf24 --data-dir UCF-101 \\
        --weights resnext-101-kinetics-ucf101_split1.pth                 # Table 6
    python -m experiments.cam3d_localization --dataset ilsvrc --data-dir ILSVRC \\
        --weights resnet50_weights_tf_dim_ordering_tf_kernels.h5         # Table 7
    python -m experiments.cam3d_localization --dataset ucf24 --data-dir UCF-101 --partial --network MobileNetV2 \\
        --weights-dir W --size 120 160 --sampling uniform --epochs 30 --learning-rate 0.003 --validation 0.25

The second to fourth take published weights (kenshohara/3D-ResNets-PyTorch, Keras); --model takes any saved model
instead, and --network trains one on the training part. Without any of them the rows of a model say "not run", and the
controls, which need none, are measured.

Every table has three controls that no model made: a centred Gaussian, a map that is the same everywhere, and the energy
of frame differences. They are needed: with the paper's rule for UCF24 a uniform map, whose box is the whole frame,
scores .84 .68 .43 .25 .13 .07 on UCF24's test boxes under a centre crop, as high as the best row of Table 6
(tests/experiments/test_cam3d_localization.py computes it from the annotations).

On the embedded data (seed 0; a CNN-GRU that recognises 90 % of the test clips) Sum 3DCAM of the first two layers beats
Grad-CAM, Sum Grad-CAM and all three controls, at one threshold for all frames and under the oracle. There things pass
behind the person. Where nothing but the person moves (--traffic 0), frame differences are better than any map of the
model.

What the paper leaves open:
    The threshold. For UCF24 it takes, of each frame, the one that fits the true box best: "oracle" here, which needs
    the true boxes. Beside it stands one threshold for all frames, chosen on held-out training clips ("chosen"), and the
    best one on the test clips themselves ("best", MaxBoxAcc of Choe et al. 2020). Tables 4 and 5 name no rule.
    The layers to sum. Table 6 sums conv and layer 1, Table 7 layers 2 to 4, and the text says that they depend on the
    data. The row "chosen" is the run of neighbouring layers, two or more, with the best box accuracy at one threshold
    on held-out training clips; for Grad-CAM one layer may be the best. Test clips choose nothing.
    The frames: clips of 16 frames at rate 1, one after the other; the last ends with the video, and of its frames those
    count that no clip before had. Of each clip, the frames with a true box.
    The class: the predicted one, equation (1); `--explain true` takes the annotated one.
    Average-pool 3DCAM: the mean over the layers. It is the sum, divided by their number, so with thresholds that are
    shares of a map's maximum its boxes are those of the sum; what the last layer's average pool reads is 3DCAM layer 4.
    Table 8 repeats Table 5. The text calls the last row of Table 7 Sum Grad-CAM; it is Sum 2DCAM.
    The contours: "multi-contour", of all contours of a map the one that fits best. So a map that is scattered over the
    frame is at an advantage, above all under the oracle; `--contours largest` takes one box a frame.
    A blur of the maps. None, unless `--blur` is given; the embedded data set's rows may have one, see there.
    The crop, for which the boxes are cut as well: the centre of the frame, as in the published code.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from har_tf.command import check_name, check_ranges, words
from har_tf.datasets.stick_figures import ACTIONS, Figures

EXPERIMENT = "cam3d_localization"
LAYERS = ("conv", "layer 1", "layer 2", "layer 3", "layer 4")  # Table 1 of the paper
GRADCAM, CAM3D, AVERAGE = "Grad-CAM", "3DCAM", "Average 3DCAM"
CONTROLS = ("Control: centred Gaussian", "Control: uniform", "Control: frame differences")

# (method, first layer, last layer): figures of the paper
LAST, ALL = (4, 4), (0, 4)
PAPER_TABLE_3 = {
    (GRADCAM, *LAST): 0.988, (CAM3D, 0, 0): 0.821, (CAM3D, 1, 1): 0.956, (CAM3D, 2, 2): 0.951, (CAM3D, 3, 3): 0.825,
    (CAM3D, 4, 4): 0.976, (CAM3D, *ALL): 0.991,
}  # fmt: skip
PAPER_TABLE_4 = {(GRADCAM, *LAST): (0.08, 0.013), (AVERAGE, *ALL): (0.089, 0.008), (CAM3D, *ALL): (0.127, 0.05)}
PAPER_TABLE_5 = {(GRADCAM, *LAST): (0.052, 0.003), (AVERAGE, *ALL): (0.052, 0.052), (CAM3D, *ALL): (0.076, 0.03)}
PAPER_TABLE_6 = {
    (CAM3D, 0, 0): (0.225, 0.211, 0.173, 0.133, 0.118, 0.090),
    (CAM3D, 1, 1): (0.827, 0.651, 0.38, 0.196, 0.099, 0.044),
    (CAM3D, 2, 2): (0.826, 0.651, 0.375, 0.19, 0.09, 0.044),
    (CAM3D, 3, 3): (0.828, 0.651, 0.373, 0.19, 0.090, 0.038),
    (CAM3D, 4, 4): (0.826, 0.651, 0.373, 0.191, 0.090, 0.038),
    (CAM3D, 0, 1): (0.835, 0.676, 0.426, 0.238, 0.132, 0.063),
    (CAM3D, 0, 3): (0.826, 0.651, 0.378, 0.215, 0.099, 0.051),
    (GRADCAM, 0, 1): (0.826, 0.651, 0.373, 0.191, 0.090, 0.038),
}
PAPER_TABLE_7 = {
    (GRADCAM, *LAST): (0.803, 0.589, 0.317),
    (GRADCAM, 2, 4): (0.79, 0.622, 0.335),
    (CAM3D, 2, 4): (0.819, 0.622, 0.354),
}
# data set: IoU of its tables
IOUS = {
    "jhmdb": (0.5, 0.6),
    "ucf24": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    "ilsvrc": (0.3, 0.5, 0.7),
    "figures": (0.3, 0.5, 0.7),
}
NEEDED = {
    "jhmdb": "resnext-101-kinetics-hmdb51_split1.pth of github.com/kenshohara/3D-ResNets-PyTorch as --weights",
    "ucf24": "resnext-101-kinetics-ucf101_split1.pth of github.com/kenshohara/3D-ResNets-PyTorch as --weights",
    "ilsvrc": "resnet50_weights_tf_dim_ordering_tf_kernels.h5 of keras.applications as --weights",
}
# The classes of HMDB51 in the order of the published weights; JHMDB has 21 of them.
HMDB51 = (
    *("brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword", "dribble"),
    *("drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug", "jump", "kick"),
    *("kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse"),
    *("run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault"),
    *("stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave"),
)


@dataclass(frozen=True)
class Recipe:
    """Options; what is None takes the paper's value, or, on the embedded data set, a smaller one."""

    dataset: Literal["figures", "jhmdb", "ucf24", "ilsvrc"] = "figures"
    """Data with true boxes; figures is the embedded data set."""
    data_dir: Path | None = None
    """Where the data set lies, unless it is the embedded one."""
    lists: Path | None = None
    """Folder of its annotations and split lists, where they do not lie with the videos."""
    partial: bool = False
    """Take a copy that lacks annotated videos; without, absent videos are an error."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""

    model: Path | None = None
    """A saved model (.keras) to explain."""
    weights: Path | None = None
    """Published weights to explain: a 3D ResNeXt (.pth), or for ilsvrc a ResNet50 with its top layers (.h5)."""
    class_names: Path | None = None
    """Names of the classes of --weights, one a line, as UCF101's classInd.txt. None: HMDB51's for 51 outputs and jhmdb,
    or those of the data set where there are as many."""
    network: str | None = None
    """What to train on the training part where there is no --model or --weights: ResNeXt3D, CNN-GRU, or an ImageNet
    network over frames, such as MobileNetV2 or CNN-GRU/MobileNetV2. None: CNN-GRU, which learns quickest, on the
    embedded data set, nothing on others."""
    weights_dir: Path | None = None
    """Folder with the published .h5 file of an ImageNet network. None: downloaded."""
    finetune: bool = False
    """Train the ImageNet network too, not only what stands on it."""
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Residual blocks of the four stages of the ResNeXt3D that is trained here."""
    width: int = 32
    """Its planes in the first stage."""
    cardinality: int = 8
    """Its groups."""
    epochs: int | None = None
    """Passes over the training clips."""
    learning_rate: float | None = None
    """Of Adam, which falls to 0 as a cosine."""
    batch_size: int = 16
    """Clips a batch, in training and in explaining."""
    augment: bool | None = None
    """Mirror, crop and relight the training clips at random. None: on the embedded data set."""
    validation: float = 0.1
    """Share of the training part that is held out: for the best epoch, and to choose thresholds and layers."""

    size: tuple[int, int] | None = None
    """Height and width of the frames: 112 112 in the paper, 64 96 on the embedded data set; a saved model has its
    own."""
    num_frames: int | None = None
    """Frames of a clip: 16, and 10 on the embedded data set; a saved model has its own."""
    sampling: Literal["dense", "uniform"] | None = None
    """dense: clips of consecutive frames that do not overlap; uniform: one clip a video, from its first to last frame.
    None: dense, uniform on the embedded data set, or what a saved model says."""
    fit: Literal["crop", "stretch"] | None = None
    """crop: the centre of the frame; stretch: all of it. None: crop, or what a saved model says."""
    short: Literal["error", "repeat_last"] = "error"
    """What to do with videos of fewer frames than a clip."""
    clips_per_video: int | None = None
    """Of longer videos so many clips, evenly. None: all."""
    frames_per_clip: int | None = None
    """Of each clip so many of the frames with a true box, evenly. None: all; 4 on the embedded data set."""
    outside: Literal["raise", "clip"] = "raise"
    """Boxes that reach beyond their frame are an error, or cut off."""

    taps: str | None = None
    """Layers from the input on, separated by commas, in place of conv and layer 1 to 4. None: the model's stages; of a
    CNN-GRU that is trained here the first convolution and the ReLUs, which stand behind the max pooling."""
    explain: Literal["predicted", "true"] = "predicted"
    """Which class."""
    channels: Literal["sum", "max", "norm"] = "sum"
    """How the activations' channels become one; see `har_tf.explain.cam3d`."""
    blur: tuple[float, ...] | None = None
    """Standard deviations of a blur of the maps, of models and controls alike, in heights of the frame; of several each
    row takes the one that suits held-out training clips best. None: 1/128 to 1/8 on the embedded data set; 0 on
    others, where only frame differences have 1/32: every noisy pixel would be a contour."""
    contours: Literal["all", "largest"] | None = None
    """Which boxes count: the best of all contours (the paper), which favours scattered maps, or the largest one's.
    None: the largest on the embedded data set, where a frame shows one person, else all."""

    clips: int = 4000
    """Clips of the embedded data set."""
    figure_height: float = Figures.figure_height
    """Height of a figure as a share of the frame's, on the embedded data set."""
    clutter: float = Figures.clutter
    """Texture and things in its background, from 0 to 1."""
    shake: float = Figures.shake
    """How the camera moves in the hand, in widths of the frame; see `Figures`."""
    traffic: int = 4
    """Large things that pass behind the person."""
    overlays: int = 6
    """Overlay videos."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    seed: int = 0
    """Of the split, the starting weights, the order and the embedded data set."""
    out: Path = Path("runs")
    """The run goes to OUT/cam3d_localization/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: data set, model and a fingerprint of these options."""


EMBEDDED = {
    "network": "CNN-GRU", "epochs": 14, "learning_rate": 1e-3, "frames_per_clip": 4, "sampling": "uniform",
    "fit": "crop", "blur": (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8), "augment": True, "contours": "largest",
}  # fmt: skip
# Of a CNN-GRU that is trained here, as in ucf10_cnn_gru on the embedded data set.
CNN_GRU = {"pool_sizes": (4, 2, 2), "pool_before_norm": True, "normalize_sequence": True, "dropout": 0.1}
CNN_GRU_TAPS = "conv2d_1,relu_1,relu_2,relu_3,conv3d"
PAPER = {
    "epochs": 20, "learning_rate": 1e-3, "sampling": "dense", "fit": "crop", "blur": (0.0,), "augment": False,
    "contours": "all",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Explained:
    """The model of a run, and what its rows are called by.

    Args:
        name: as in titles.
        start: where its weights come from.
        model: None until it is trained, and where it cannot be had.
        class_names: of its outputs; None: not known.
        trained: the model to train, a `har_tf.trial.Buildable`.
        missing: why there is none.
    """

    name: str
    start: str
    model: object = None
    class_names: tuple[str, ...] | None = None
    trained: object = None
    missing: str | None = None


@dataclass(frozen=True, eq=False)
class Window:
    """One clip to explain, and the true boxes of the frames of it that are measured.

    Args:
        video: the record's name.
        group: what is drawn again for intervals.
        label: true class.
        frames: uint8 (T, H, W, 3).
        boxes: position in the clip -> (K, 4) boxes in pixels of the clip.
        shown: the same for every frame with a box, measured or not.
    """

    video: str
    group: str
    label: int
    frames: object
    boxes: dict
    shown: dict


@dataclass(frozen=True)
class Method:
    """A row: which maps. `layers` is the first and the last of neighbouring layers, `cam` 3DCAM or 2DCAM."""

    kind: str
    first: int
    last: int
    cam: str = CAM3D

    @property
    def name(self) -> str:
        """Such as "3DCAM layer 1" or "Sum Grad-CAM (conv, 1)"."""
        called = self.kind.replace(CAM3D, self.cam)
        if self.first == self.last:
            return f"{called} {_layer(self.first)}"
        several = ", ".join(_layer(i).removeprefix("layer ") for i in range(self.first, self.last + 1))
        return f"{called if self.kind == AVERAGE else f'Sum {called}'} ({several})"

    def explanation(self, found, taps: list[str]):
        """The maps, out of what one pass of `layerwise` found."""
        chosen = taps[self.first : self.last + 1]
        if self.kind == GRADCAM:
            return found.gradcam(chosen[0]) if len(chosen) == 1 else found.sum_gradcam(chosen)
        return found.cam3d(chosen, join="average" if self.kind == AVERAGE else "sum")


def main(recipe: Recipe) -> None:
    from har_tf import quiet
    from har_tf.report.run_folder import RunFolder, check_writable, environment, run_name

    recipe = resolved(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    embedded = recipe.dataset == "figures"
    dataset = None if embedded else _load(recipe)
    check_writable(recipe.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.datasets import splits

    recipe = _as_saved(recipe)
    training.seed_everything(recipe.seed)
    classes = dataset.class_names if dataset else ACTIONS if recipe.classes is None else words(recipe.classes)
    explained = _explained(recipe, classes)
    shape = _shape(recipe, explained)
    taps = _taps(recipe, explained, shape)  # a wrong tap shows before anything is drawn, decoded or trained
    dataset = _load(recipe) if embedded else dataset
    label_of = _labels(recipe, explained, dataset)
    print(f"{dataset.name}: {len(dataset)} videos of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    notes = list(dataset.notes)
    train, held_out, test = _parts(recipe, dataset)
    facts = {part: _checked(recipe, part, shape) for part in (held_out, test)}
    skipped = [pair for found in facts.values() for pair in found.skipped]
    notes += [note for found in facts.values() for note in found.notes]
    for note in notes:
        print(f"note: {note}", flush=True)
    about = environment()
    prefix = f"{dataset.name}-{explained.name.replace('/', '_').replace(' ', '_')}"
    run = RunFolder(recipe.out, EXPERIMENT, recipe.run or run_name(prefix, recipe, () if embedded else dataset.records))
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", about)
    _write_skipped(run, dict(skipped))

    if explained.trained is not None:
        print(f"\n{explained.name}: trained on {len(train)} clips", flush=True)
        explained, accuracy = _trained(recipe, explained, dataset, (train, held_out, test), shape, run, skipped)
        print(f"{explained.name}: accuracy {accuracy:.4f} on the test videos", flush=True)

    ious = IOUS[recipe.dataset]
    methods = [] if explained.model is None else _rows(len(taps), image=len(shape) == 3)
    candidates = _runs(len(taps), image=len(shape) == 3) if methods else []
    print(f"\nexplaining {len(held_out)} held-out training videos, to choose thresholds and layers", flush=True)
    tried = list(dict.fromkeys([*methods, *candidates]))
    names = [*(method.name for method in tried), *CONTROLS]
    passes = {
        blur: _measured(
            recipe,
            held_out,
            facts[held_out],
            explained,
            tried,
            taps,
            shape,
            label_of,
            {name: _blur_of(name, blur) for name in names},
        )
        for blur in recipe.blur
    }
    before = passes[recipe.blur[0]]
    settings = {
        name: max(
            (_best(each.tables[name], ious, _blur_of(name, blur)) for blur, each in passes.items()),
            key=lambda one: one.accuracy,
        )
        for name in before.tables
    }
    # The paper's method is the sum; single layers have rows of their own.
    sums = [m for m in candidates if m.kind != CAM3D or m.first < m.last] if len(taps) > 1 else candidates
    chosen = {
        kind: max((m for m in sums if m.kind == kind), key=lambda m: settings[m.name].accuracy)
        for kind in ((GRADCAM, CAM3D) if candidates else ())
    }
    methods = list(dict.fromkeys([*methods, *chosen.values()]))
    print(f"explaining {len(test)} test videos", flush=True)
    blurs = {name: setting.blur for name, setting in settings.items()}
    after = _measured(recipe, test, facts[test], explained, methods, taps, shape, label_of, blurs)
    overlap = splits.overlap(dataset.subset([*train.records, *held_out.records]), test)
    results = {
        "dataset": {
            "name": recipe.dataset,
            "classes": list(dataset.class_names),
            "videos": len(dataset),
            "as_in_paper": _as_in_paper(recipe, explained, test),
            "notes": notes,
            "skipped": len(skipped),
            "overlap": str(overlap) if len(train) else None,
        },
        "model": {
            "name": explained.name,
            "start": explained.start,
            "missing": explained.missing,
            "taps": dict(zip(map(_layer, range(len(taps))), taps, strict=True)),
            "trained_here": explained.trained is not None,
            "explained_class": recipe.explain,
            "channels": recipe.channels,
        },
        "clip": {"shape": list(shape), **{name: getattr(recipe, name) for name in ("sampling", "fit", "short")}},
        "ious": list(ious),
        "contours": recipe.contours,
        "measured": {"held_out": before.counts(), "test": after.counts()},
        "chosen": {kind: method.name for kind, method in chosen.items()},
        "methods": {
            name: _results(name, after, settings[name].threshold, ious)
            | {"held_out": round(settings[name].accuracy, 6), "blur": settings[name].blur}
            for name in after.tables
        },
        "differences": _differences(after, chosen, settings, ious),
    }
    run.write_json("results.json", results)
    _publish(results, about, recipe, run, explained, after, chosen, taps, dataset)


def _publish(results, about, recipe, run, explained, measured, chosen, taps, dataset) -> None:
    """Writes the tables, the figures, the overlays, the model and the page, and prints the tables."""
    from har_tf.evaluate.localization import THRESHOLDS
    from har_tf.report import page
    from har_tf.report.pages import localization as localized
    from har_tf.report.run_folder import machine

    made = tables(results)
    for stem, table in made.items():
        table.write(run.tables, stem)
    shown = _shown(results)
    curves = localized.threshold_curves(
        {name: results["methods"][name]["curve"] for name in shown}, THRESHOLDS, run.figures / "figure_thresholds.png",
        f"Box accuracy, mean over IoU\n{', '.join(f'{iou:g}' for iou in results['ious'])}",
    )  # fmt: skip
    sections = [page.Section(table.title, tables=[replace(table, title="")]) for table in made.values()]
    caption = "Share of test frames of which a contour's box fits a true box, where all frames have the same threshold."
    sections.append(page.Section("Accuracy over the threshold", figures=[page.Figure(curves, caption)]))
    if explained.model is not None:
        sections += _pictures(results, recipe, run, explained, measured, chosen, taps, dataset)
    written = page.write_page(
        run.path / "report.html",
        "Localisation by 3DCAM",
        {
            "data": _data_line(results),
            "model": f"{explained.name}, {explained.start}",
            "clips": _clip_line(results),
            "split": results["dataset"]["overlap"] or "thresholds chosen on other pictures",
            "date": about["date"],
            "machine": machine(about),
            "command": about["command"],
        },
        [page.Section("What was found", text="\n\n".join(findings(results))), *sections],
    )
    for table in made.values():
        print(f"\n{table.markdown()}")
    for sentence in findings(results):
        print(sentence)
    print(f"run folder: {run.path}\nreport:     {written}", flush=True)


def _pictures(results, recipe, run, explained, measured, chosen, taps, dataset) -> list:
    """Strips as in Figures 7 and 8, and overlay videos: Grad-CAM beside 3DCAM, with the true box and the found one."""
    import numpy as np

    from har_tf.evaluate.contours import contour_boxes
    from har_tf.explain import layerwise, overlay
    from har_tf.explain.explanation import scaled
    from har_tf.report import page, plots
    from har_tf.report.pages import localization as localized
    from har_tf.video import write_video

    windows = measured.examples
    if not windows:
        return []
    best = chosen[CAM3D]
    last = len(taps) - 1
    panels = dict.fromkeys([Method(GRADCAM, last, last), chosen[GRADCAM], best])
    clips = np.stack([window.frames for window in windows])
    classes = None
    if recipe.explain == "true":
        label_of = _labels(recipe, explained, dataset)
        classes = np.array([label_of[window.label] for window in windows])
    found = layerwise(explained.model, clips, taps, classes, channels=recipe.channels)
    explanations = {method.name: method.explanation(found, taps) for method in panels}
    image = clips.ndim == 4
    size = clips.shape[-3:-1]
    names = explained.class_names or tuple(f"class {i}" for i in range(explained.model.output_shape[-1]))
    strips, videos = [], []
    for i, window in enumerate(windows):
        plain = localized.enlarged(window.frames[None] if image else window.frames)
        true = [window.shown.get(t, ()) for t in range(len(plain))]
        drawn = {"clip, true box": localized.boxed(plain, true, size)}
        for name, explanation in explanations.items():
            one = explanation.only(i)
            one = replace(one, maps=scaled(_blurred(one.maps[0], results["methods"][name]["blur"])[None], "frame"))
            maps = one.maps[0]
            threshold = [results["methods"][name]["threshold"]]
            boxes = [contour_boxes(frame, np.array(threshold)).largest().boxes for frame in maps]
            painted = overlay(plain[None], one, alpha=0.6)[0]
            drawn[name] = localized.boxed(localized.boxed(painted, true, size), boxes, size, localized.FOUND)
        label, answer = dataset.class_names[window.label], names[found.class_index[i]]
        title = f"{label}; explained {answer}, {found.probability[i]:.2f}"
        strips.append((title, drawn))
        if not image and i < recipe.overlays:
            path = run.overlays / f"overlay_{i + 1}_{Path(window.video).stem.partition('#')[0]}.mp4"
            write_video(path, localized.beside(drawn, title), fps=5)
            videos.append(page.Video(path, title))
    number = 8 if image else 7
    path = run.figures / f"figure_{number}_saliency.png"
    if image:
        rows = [(name, np.concatenate([drawn[name] for _, drawn in strips])) for name in strips[0][1]]
    else:
        rows = [
            (f"{title}: {name}" if k == 0 else name, frames)
            for title, drawn in strips[:: -(-len(strips) // 3)]
            for k, (name, frames) in enumerate(drawn.items())
        ]
    plots.frame_strip(rows, path, max_frames=8)
    caption = (
        "White: the true box. Magenta: the box of the largest contour at the threshold that was chosen on held-out "
        "training clips. Every frame has its own scale, as every frame has its own maximum in the tables. The videos "
        "are drawn evenly from the test part, whatever the model answered."
    )
    sections = [page.Section(f"Figure {number}: saliency and boxes", figures=[page.Figure(path, caption)])]
    if videos:
        sections.append(page.Section("Overlay videos", text=caption, videos=videos))
    return sections


def tables(results: dict) -> dict:
    """File name -> table, all of them from `results.json`."""
    made = {}
    name, layers = results["dataset"]["name"], len(results["model"]["taps"])
    every = dict.fromkeys((method.kind, method.first, method.last) for method in _rows(layers))
    own = {
        "jhmdb": {"table_4": ("Table 4", PAPER_TABLE_4, False), "table_5": ("Tables 5 and 8", PAPER_TABLE_5, True)},
        "ucf24": {"table_6": ("Table 6", PAPER_TABLE_6, False)},
        "ilsvrc": {"table_7": ("Table 7", PAPER_TABLE_7, False)},
        "figures": {"boxes": ("Boxes", every, False), "acc2": ("Boxes and classes (Acc2)", every, True)},
    }[name]
    if name == "jhmdb":
        made["table_3"] = table_hits(results, "Table 3", PAPER_TABLE_3)
    if name == "figures":
        made["hits"] = table_hits(results, "Hits", every)
    for stem, (title, paper, acc2) in own.items():
        for choice in ("oracle", "given"):
            named = f"{stem}_{'chosen' if choice == 'given' else choice}"
            made[named] = table_boxes(results, title, paper, choice, acc2)
    made["side_by_side"] = table_sides(results)
    return made


def table_hits(results: dict, title: str, paper: dict):
    """Table 3: how often the map touches a true box, and how often its maximum lies in one."""
    from har_tf.report.tables import Table

    with_paper = results["dataset"]["as_in_paper"]
    columns = ["Method", "Touches", "95 %", "by video", "Maximum inside", "95 % ", "by video "]
    columns += ["Paper"] if with_paper else []
    rows = []
    for name, key in _table_rows(results, paper):
        found = results["methods"].get(name)
        cells = [name, "not run", *[None] * 5]
        if found:
            cells = [name]
            for rule in ("intersects", "maximum"):
                hits = found["hits"][rule]
                cells += [hits["frame"]["value"], _interval(hits["frame"]["interval"]), hits["video"]["value"]]
        rows.append([*cells, *([paper.get(key)] if with_paper else [])])
    notes = [
        "Touches: a pixel above 0 lies in a true box, as the paper words it; a uniform map always touches.",
        "Maximum inside: the pointing game of Zhang et al. 2016, without tolerance; a uniform map scores the share of "
        "the frame that is in boxes.",
        *_notes(results),
    ]
    return Table(
        f"{title}: hit point by layer",
        columns,
        rows,
        notes,
        formats=_formats(columns),
        highest=["Maximum inside", "by video "],
    )


def table_boxes(results: dict, title: str, paper: dict, choice: str, acc2: bool):
    """Tables 4 to 8: box accuracy at several IoU, by frame, under one way to set the threshold."""
    from har_tf.report.tables import Table

    ious = [f"{iou:g}" for iou in results["ious"]]
    with_paper = results["dataset"]["as_in_paper"] and choice == "oracle"
    columns = ["Method", *(f"IoU {iou}" for iou in ious), "Average", "95 %"]
    columns += ["Threshold"] if choice == "given" else []
    columns += [f"Paper: {iou}" for iou in ious] if with_paper else []
    rows = []
    for name, key in _table_rows(results, paper):
        found = results["methods"].get(name)
        measured = found and found["acc2" if acc2 else "boxes"]
        cells = [name, "not run" if not found else "class unknown", *[None] * (len(ious) + 1)]
        if measured:
            row = measured[choice]["frame"]
            cells = [name, *row["accuracy"], row["average"], _interval(row["average_interval"])]
        cells += [found["threshold"] if measured else None] if choice == "given" else []
        rows.append([*cells, *((paper.get(key) or [None] * len(ious)) if with_paper else [])])
    rule = {
        "oracle": "oracle, of each frame the threshold that fits its true box best",
        "given": "one threshold for all frames, chosen on held-out training clips",
    }[choice]
    what = f"Share of frames with a box that fits{' and the right class' if acc2 else ''}"
    notes = [f"{what}; {rule}.", *_notes(results)]
    if any(name.startswith(AVERAGE) for name, _ in _table_rows(results, paper)):
        notes.append(
            "The average over the layers is their sum divided by their number; thresholds are shares of a map's "
            "maximum, so both have the same boxes."
        )
    formats = _formats(columns)
    highest = [column for column in columns if column.startswith("IoU") or column == "Average"]
    return Table(f"{title}: {rule}", columns, rows, notes, formats, highest=highest)


def table_sides(results: dict):
    """Every method under every way to set the threshold, by frame and by video."""
    from har_tf.report.tables import Table

    columns = ["Method", "Oracle", "95 %", "by video", "Best", "Chosen", "95 % ", "by video ", "Threshold", "Blur"]
    rows = []
    for name, found in results["methods"].items():
        oracle, best, given = (found["boxes"][choice] for choice in ("oracle", "best", "given"))
        mark = " *" if name in results["chosen"].values() else ""
        cells = [name + mark, oracle["frame"]["average"], _interval(oracle["frame"]["average_interval"])]
        cells += [oracle["video"]["average"], best["frame"]["average"], given["frame"]["average"]]
        cells += [_interval(given["frame"]["average_interval"]), given["video"]["average"], found["threshold"]]
        cells += [found["blur"]]
        rows.append(cells)
    notes = [
        f"Box accuracy, mean over IoU {', '.join(f'{iou:g}' for iou in results['ious'])}. Oracle: of each frame the "
        "threshold that fits its true box best. Best: for each IoU the one threshold that suits the test frames best "
        "(MaxBoxAcc of Choe et al. 2020). Chosen: one threshold, chosen on held-out training clips, as are the layers "
        "of the rows with a star and, where there was a choice, the blur, in heights of the frame. By frame where "
        "nothing else is said.",
        *_notes(results),
    ]
    highest = ["Oracle", "by video", "Best", "Chosen", "by video "]
    return Table("Side by side: every method, three ways to set the threshold", columns, rows, notes,
                 _formats(columns), highest=highest)  # fmt: skip


def findings(results: dict) -> list[str]:
    """What the numbers say, in sentences."""
    if not results["chosen"]:
        return [f"No model was explained: {results['model']['missing']}. The controls, which need none, were measured."]
    best = [f"{name} at {results['methods'][name]['threshold']:.2f}" for name in results["chosen"].values()]
    right = results["measured"]["test"].get("right")
    sentences = [] if right is None else [f"The model answers the right class on {right:.1%} of the test frames."]
    sentences += [f"Layers and thresholds chosen on held-out training clips: {' and '.join(best)}."]
    for choice, words_ in (("given", "At one threshold for all frames"), ("oracle", "With the oracle threshold")):
        parts = []
        for row in results["differences"]:
            if row["choice"] == choice:
                low, high = row["interval"] or (None, None)
                span = "one group, so no interval" if low is None else f"{low:+.3f} to {high:+.3f}"
                verdict = "does not differ clearly from"
                if low is not None and (low > 0 or high < 0):
                    verdict = "beats" if low > 0 else "is worse than"
                parts.append(f"{verdict} {row['than']} ({row['value']:+.3f}; {span})")
        sentences.append(f"{words_}, {results['chosen'][CAM3D]} {'; '.join(parts)}.")
    sentences.append("Differences of the average box accuracy by frame, with 95 % intervals that draw whole groups.")
    return sentences


def _shown(results: dict) -> list[str]:
    """The rows of the threshold curves: what was chosen, what the paper compares, and the controls."""
    names = list(results["chosen"].values())
    names += [name for name in results["methods"] if name.startswith(("Control", "Sum 3DCAM", "Sum 2DCAM"))]
    layers = len(results["model"]["taps"])
    if layers:
        names.append(Method(GRADCAM, layers - 1, layers - 1).name)
    return [name for name in dict.fromkeys(names) if name in results["methods"]]


def _table_rows(results: dict, paper: dict) -> list[tuple[str, tuple | None]]:
    """(name, key in the paper's table) of the rows of a table: the paper's, what was chosen, and the controls."""
    layers = list(results["model"]["taps"]) or LAYERS
    cam = "2DCAM" if results["dataset"]["name"] == "ilsvrc" else CAM3D
    rows = {}
    for kind, first, last in paper:
        if last < len(layers):
            rows[Method(kind, first, last, cam).name] = (kind, first, last)
    for name in [*results["chosen"].values(), *(n for n in results["methods"] if n.startswith("Control"))]:
        rows.setdefault(name, None)
    return list(rows.items())


def _notes(results: dict) -> list[str]:
    test = results["measured"]["test"]
    taps = ", ".join(f"{layer}: {tap}" for layer, tap in results["model"]["taps"].items())
    notes = [
        f"Measured on {_data_line(results)}: {test['frames']} frames of {test['clips']} clips of {test['videos']} test "
        f"videos from {test['groups']} groups; intervals draw whole groups."
    ]
    if results["contours"] == "all":
        notes.append("Of several contours the best counts, as in the paper.")
    else:
        notes.append("The box of the largest contour counts.")
    if taps:
        notes.append(f"{results['model']['name']}, {results['model']['start']}; layers: {taps}.")
    else:
        notes.append(f"Not run: {results['model']['missing']}.")
    if results["chosen"]:
        held_out = results["measured"]["held_out"]
        notes.append(
            f"Chosen on {held_out['frames']} frames of {held_out['videos']} held-out training videos: "
            f"{' and '.join(results['chosen'].values())}."
        )
    if not results["dataset"]["as_in_paper"]:
        notes.append("The paper's figures are of another network or other data and are not set beside these.")
    return notes


def _formats(columns: list[str]) -> dict[str, str]:
    return {column: ".2f" if column == "Threshold" else ".3f" for column in columns[1:]}


def _interval(interval) -> str | None:
    return None if interval is None else f"{interval[0]:.3f}\N{EN DASH}{interval[1]:.3f}"


def _layer(i: int) -> str:
    return f"layer {i}" if i else "conv"


def _data_line(results: dict) -> str:
    data = results["dataset"]
    return f"{len(data['classes'])} classes of {data['name']}"


def _clip_line(results: dict) -> str:
    shape, clip = results["clip"]["shape"], results["clip"]
    return f"{' x '.join(map(str, shape[:-1]))}, {clip['sampling']}, {clip['fit']}"


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given; checked.

    Raises:
        ValueError: a value out of its range, or options that do not go together.
    """
    embedded = recipe.dataset == "figures"
    given = [name for name in ("model", "weights", "network") if getattr(recipe, name) is not None]
    if len(given) > 1:
        raise ValueError(f"One of --model, --weights and --network is explained. Received: {', '.join(given)}")
    if embedded == (recipe.data_dir is not None):
        needs = "needs no --data-dir" if embedded else "lies somewhere: --data-dir is needed"
        raise ValueError(f"{recipe.dataset} {needs}. Received: --data-dir {recipe.data_dir}")
    if recipe.dataset == "ilsvrc" and recipe.network is not None:
        raise ValueError(f"ilsvrc is explained with --weights or --model. Received: --network {recipe.network}")
    if recipe.partial and recipe.dataset == "figures":
        raise ValueError("--partial is for data sets on disk. Received: --dataset figures")
    defaults = EMBEDDED if embedded else PAPER
    told = {"network"} if given else set()  # by the model itself
    told |= set() if recipe.model is None else {"sampling", "fit"}
    defaults = {name: value for name, value in defaults.items() if name not in told}
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    if recipe.network == "CNN-GRU" and recipe.taps is None:
        recipe = replace(recipe, taps=CNN_GRU_TAPS)
    ranges = {
        "batch_size": (1, None), "num_frames": (1, None), "overlays": (0, None), "workers": (0, None),
        "clips": (30, None), "validation": (0.01, 0.9), "seed": (0, 2**32 - 1), "epochs": (1, None),
        "clips_per_video": (1, None), "frames_per_clip": (1, None), "cardinality": (1, None),
        "figure_height": (0.2, 0.9), "clutter": (0, 1), "shake": (0, 1), "traffic": (0, 20),
        "learning_rate": (1e-9, None),
    }  # fmt: skip
    check_ranges(recipe, ranges)
    check_name("--run", recipe.run)
    if not recipe.blur or not all(0 <= blur <= 0.5 for blur in recipe.blur):
        raise ValueError(f"--blur must be between 0 and 0.5. Received: {' '.join(map(str, recipe.blur))}")
    if recipe.size is not None and min(recipe.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.size[0]} x {recipe.size[1]}")
    for option in ("model", "weights", "class_names"):
        path = getattr(recipe, option)
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path}: no such file for --{option.replace('_', '-')}")
    return recipe


def _load(recipe: Recipe):
    from har_tf import datasets

    classes = None if recipe.classes is None else words(recipe.classes)
    if recipe.dataset == "figures":
        height, width = recipe.size or (64, 96)
        return datasets.load(
            "figures", recipe.out / "figures", classes=classes, clips=recipe.clips,
            size=(height + height % 2, width + width % 2), frames=19, figure_height=recipe.figure_height,
            clutter=recipe.clutter, shake=recipe.shake, traffic=recipe.traffic, seed=recipe.seed,
            workers=recipe.workers,
        )  # fmt: skip
    options = {} if recipe.dataset == "ilsvrc" else {"workers": recipe.workers}
    return datasets.load(
        recipe.dataset, recipe.data_dir, classes=classes, lists=recipe.lists, partial=recipe.partial, **options
    )


def _as_saved(recipe: Recipe) -> Recipe:
    """The recipe with the sampling and fit that a saved model's clips were taken with, where none was given."""
    from har_tf.models.saving import clip_settings

    if recipe.model is None:
        return recipe
    saved = clip_settings(recipe.model)
    if recipe.sampling is None and saved["sampling"] == "strided":
        raise ValueError(f"{recipe.model}: made for strided clips; choose --sampling dense or uniform")
    return replace(recipe, sampling=recipe.sampling or saved["sampling"], fit=recipe.fit or saved["fit"])


def _explained(recipe: Recipe, class_names) -> Explained:
    """The model that is given, or the one to train, or why there is none.

    Raises:
        ValueError: a file that holds no such model, or an unknown network.
    """
    from har_tf.models.saving import load_model
    from har_tf.models.zoo import named

    if recipe.model is not None:
        model, names = load_model(recipe.model)
        return Explained(recipe.model.stem, f"{recipe.model.name}", model, names)
    if recipe.weights is not None:
        model = _published(recipe)
        return Explained(model.name, recipe.weights.name, model, _names(recipe, model.output_shape[-1], class_names))
    if recipe.network is None:
        return Explained("no model", "none", missing=f"needs {NEEDED[recipe.dataset]}")
    if recipe.network == "ResNeXt3D":
        return Explained("ResNeXt3D", "trained here from random weights", trained=_Small(recipe))
    network = named(recipe.network, folder=recipe.weights_dir, finetune=recipe.finetune)
    if network.missing:
        return Explained(recipe.network, "none", missing=network.missing)
    trained = _CNNGRU(network) if recipe.network == "CNN-GRU" else network
    return Explained(recipe.network, f"{network.start}, trained here", trained=trained)


@dataclass(frozen=True)
class _Small:
    """A 3D ResNeXt that two cores can train; a `har_tf.trial.Buildable`."""

    recipe: Recipe

    def build(self, shape, num_classes: int, **options):
        from har_tf.models.resnext3d import resnext3d

        recipe = self.recipe
        return resnext3d(
            shape, num_classes, blocks=recipe.blocks, width=recipe.width, cardinality=recipe.cardinality, **options
        )


@dataclass(frozen=True)
class _CNNGRU:
    """A CNN-GRU that two cores can train; a `har_tf.trial.Buildable`."""

    network: object

    def build(self, shape, num_classes: int, **options):
        return self.network.build(shape, num_classes, **CNN_GRU, **options)


def _published(recipe: Recipe):
    """The paper's network with the weights of a published file."""
    import keras

    from har_tf.models.resnext3d import resnext3d
    from har_tf.models.weights import import_weights as importers

    size = recipe.size
    if recipe.dataset != "ilsvrc":
        options = importers.resnext3d_options(recipe.weights)
        return resnext3d((recipe.num_frames or 16, *(size or (112, 112)), 3), weights=recipe.weights, **options)
    picture = keras.Input((*(size or (224, 224)), 3), dtype="uint8", name="picture")
    x = keras.ops.flip(picture, axis=-1)  # the network was trained on BGR
    x = keras.layers.Rescaling(1.0, [-103.939, -116.779, -123.68], name="preprocess")(x)
    model = keras.applications.ResNet50(weights=None, input_tensor=x)
    return importers.import_weights(model, recipe.weights)


def _names(recipe: Recipe, outputs: int, class_names) -> tuple[str, ...] | None:
    """The names of the outputs of published weights; None where nothing tells them."""
    if recipe.class_names is None:
        if recipe.dataset == "jhmdb" and outputs == len(HMDB51):
            return HMDB51
        return tuple(class_names) if len(class_names) == outputs else None
    lines = [line.split() for line in recipe.class_names.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = tuple(line[-1] for line in lines)  # "1 ApplyEyeMakeup" or the name alone
    if len(names) != outputs:
        raise ValueError(f"{recipe.class_names}: {len(names)} names. Expected {outputs}, one an output of the weights")
    return names


def _shape(recipe: Recipe, explained: Explained) -> tuple[int, ...]:
    """(time, height, width, channels) of a clip, (height, width, channels) of a picture.

    Raises:
        ValueError: the model takes clips or pictures of another size than asked for, or the data are of another kind.
    """
    image = recipe.dataset == "ilsvrc"
    small = recipe.dataset == "figures"
    size = recipe.size or ((64, 96) if small else (224, 224) if image else (112, 112))
    asked = (*size, 3) if image else (recipe.num_frames or (10 if small else 16), *size, 3)
    if explained.model is None:
        return asked
    own = tuple(explained.model.input_shape[1:])
    if len(own) != len(asked):
        kinds = {4: "clips", 3: "pictures"}
        raise ValueError(
            f"{recipe.dataset} has {kinds[len(asked)]}. Received: a model that takes {kinds.get(len(own), own)}"
        )
    wanted = [*([] if image else [recipe.num_frames]), *(recipe.size or (None, None)), None]
    wrong = [pair for pair in zip(own, wanted, strict=True) if None not in pair and pair[0] != pair[1]]
    if wrong:
        raise ValueError(
            f"The model takes {' x '.join(map(str, own))}. "
            f"Received: --num-frames {recipe.num_frames} --size {recipe.size}"
        )
    return tuple(theirs or other for theirs, other in zip(own, asked, strict=True))


def _taps(recipe: Recipe, explained: Explained, shape) -> list[str]:
    """The names of the layers conv, layer 1, ... in the model.

    Raises:
        ValueError: the model has no such tap; the message lists those it has.
    """
    from har_tf.models.taps import find_several, stages

    model = explained.model
    if model is None and explained.trained is not None:
        model = explained.trained.build(shape, 2)
    if model is None:
        return []
    found = stages(model) if recipe.taps is None else find_several(model, words(recipe.taps))
    return [tap.name for tap in found]


def _labels(recipe: Recipe, explained: Explained, dataset) -> list[int] | None:
    """Of each class of the data its output of the model; None where the model's classes are not known.

    Raises:
        ValueError: --explain true, and the model has no output for a class.
    """
    names = explained.class_names
    if explained.trained is not None:
        names = dataset.class_names
    known = None if names is None else {_class_key(name): i for i, name in enumerate(names)}
    found = None if known is None else [known.get(_class_key(name), -1) for name in dataset.class_names]
    if found is not None and max(found) < 0:
        found = None
    if recipe.explain == "true" and explained.missing is None:
        absent = list(dataset.class_names) if found is None else [
            name for name, i in zip(dataset.class_names, found, strict=True) if i < 0
        ]  # fmt: skip
        if absent:
            raise ValueError(
                f"--explain true needs an output for every class; the model has none for {', '.join(absent[:5])}"
                f"{' ...' if len(absent) > 5 else ''}. --class-names says what its outputs are"
            )
    return found


def _class_key(name: str) -> str:
    """What a class is compared by: of ImageNet's, "n01440764 tench", the WordNet id."""
    return name.split()[0] if re.match(r"n\d{8}\b", name) else name.casefold()


def _parts(recipe: Recipe, dataset):
    """(training, held-out training, test) videos; of ilsvrc a share of the pictures stands in for a training part."""
    from har_tf.trial import hold_out

    if recipe.dataset == "ilsvrc":
        held_out, test = dataset.split("random", recipe.seed, 1 - recipe.validation)
        return dataset.subset([]), held_out, test
    protocol = "group" if dataset.official is None else "official"
    train, test = dataset.split(protocol, recipe.seed)
    return *hold_out(train, protocol, recipe.seed, recipe.validation), test


@dataclass(frozen=True, eq=False)
class _Facts:
    """What was found out about the videos of a part: record -> (frames, (height, width)), and what is left out."""

    usable: dict
    skipped: list
    notes: list


def _checked(recipe: Recipe, part, shape) -> _Facts:
    """Counts frames and looks at every true box, before anything long is done.

    Raises:
        ValueError: videos shorter than a clip, boxes outside their frame, or no video with a box.
    """
    from har_tf.evaluate.boxes import checked_boxes
    from har_tf.files.frame_counts import count_frames
    from har_tf.files.workers import Failed
    from har_tf.video import VideoError
    from har_tf.video.still import probe_still

    if len(shape) == 3:
        counts = []
        for record in part.records:
            try:
                info = probe_still(record.path)
                counts.append((1, (info.height, info.width)))
            except VideoError as error:
                counts.append(str(error))
    else:
        counts = [
            found.reason if isinstance(found, Failed) else (found.frames, (found.height, found.width))
            for found in count_frames([record.path for record in part.records], workers=recipe.workers)
        ]
    usable, skipped, short, bare = {}, [], [], []
    for record, found in zip(part.records, counts, strict=True):
        if isinstance(found, str):
            skipped.append((record.path, found))
            continue
        frames, size = found
        name = record.name(part.root)
        boxes = {t: record.boxes_at(t) for t in range(frames)}
        boxes = {t: each for t, each in boxes.items() if len(each)}
        checked_boxes(list(boxes.values()), size, [f"{name}, frame {t}" for t in boxes], recipe.outside)
        if not boxes:
            bare.append(name)
        elif len(shape) == 4 and frames < shape[0]:
            short.append(f"{name}: {frames} frames")
        if boxes:
            usable[record] = found
    if short and recipe.short == "error":
        raise ValueError(
            f"{len(short)} of {len(part)} videos are shorter than a clip of {shape[0]} frames, first {short[0]}. "
            f"Received: --short error; --short repeat_last repeats their last frame"
        )
    if not usable:
        raise ValueError(f"{part.root}: none of {len(part)} videos has a true box and can be read")
    notes = [f"{len(bare)} videos have no true box and are not measured, first {bare[0]}"] if bare else []
    notes += [f"{len(short)} videos are shorter than a clip, first {short[0]}"] if short else []
    notes += [f"{len(skipped)} videos cannot be read, first {skipped[0][0]}: {skipped[0][1]}"] if skipped else []
    return _Facts(usable, skipped, notes)


def _write_skipped(run, skipped: dict) -> None:
    import csv

    from har_tf.files.whole import whole_file

    with whole_file(run.path / "skipped.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *skipped.items()])


def _trained(recipe: Recipe, explained: Explained, dataset, parts, shape, run, skipped):
    """(the model after training, its accuracy on the test videos)."""
    from har_tf import datasets
    from har_tf.pipeline import Augment
    from har_tf.training import TrainingRecipe
    from har_tf.trial import Parts, run_trial

    prepared = datasets.prepare(
        dataset, recipe.prepared or recipe.out / "prepared", shape[0], shape[1:3], sampling=recipe.sampling,
        short="repeat_last", fit=recipe.fit, workers=recipe.workers,
    )  # fmt: skip
    _write_skipped(run, dict(skipped) | {video.path: video.reason for video in prepared.skipped})
    schedule = TrainingRecipe(recipe.epochs, recipe.learning_rate, "cosine", 0.5)
    folder = run.training / explained.name.replace("/", "_")
    clips = Parts(*(prepared.subset(part) for part in parts))
    augment = Augment(flip=0.5, crop=0.85, brightness=0.1, contrast=0.1) if recipe.augment else None
    outcome = run_trial(explained.trained, {}, clips, schedule, folder, recipe.batch_size, augment, recipe.seed)
    run.keep(folder / "model.keras")
    run.keep(folder / "history.csv")
    return replace(explained, model=outcome.model, class_names=dataset.class_names), outcome.report.accuracy


def _windows(recipe: Recipe, part, facts: _Facts, shape) -> Iterator[Window]:
    """The clips of a part, with the true boxes as they lie in them; every frame is measured once."""
    import numpy as np

    from har_tf.video.sampling import frame_indices, sliding_windows

    size = shape[-3:-1]
    for record, (count, frame_size) in facts.usable.items():
        name = record.name(part.root)
        if len(shape) == 3:
            rows, frames = np.zeros((1, 1), int), record.read(1, size, fit=recipe.fit)
        elif recipe.sampling == "uniform":
            rows = frame_indices(count, shape[0], "uniform", short="repeat_last")[None]
            frames = record.read(shape[0], size, "uniform", "repeat_last", fit=recipe.fit)
        else:
            rows = sliding_windows(count, shape[0], short="repeat_last")
            frames = record.read(None, size, fit=recipe.fit)
        if recipe.clips_per_video is not None and len(rows) > recipe.clips_per_video:
            rows = rows[frame_indices(len(rows), recipe.clips_per_video)]
        seen = set()
        for row in rows:
            boxes = {t: _in_clip(record.boxes_at(int(n)), frame_size, size, recipe.fit) for t, n in enumerate(row)}
            shown = {t: each for t, each in boxes.items() if len(each)}
            fresh = []
            for t in shown:
                if row[t] not in seen:
                    seen.add(row[t])
                    fresh.append(t)
            if recipe.frames_per_clip is not None and len(fresh) > recipe.frames_per_clip:
                fresh = [fresh[i] for i in frame_indices(len(fresh), recipe.frames_per_clip)]
            if fresh:
                clip = frames if recipe.sampling == "uniform" or len(shape) == 3 else frames[row]
                clip = clip[0] if len(shape) == 3 else clip
                group = name if record.group is None else record.group
                yield Window(name, group, record.label, clip, {t: shown[t] for t in fresh}, shown)


def _in_clip(boxes, frame_size, size, fit):
    """Boxes of a frame as they lie in the clip, cut at its edge; those that the crop leaves out are dropped."""
    import numpy as np

    from har_tf.evaluate.boxes import rescaled
    from har_tf.video.display import Target

    scaled = Target(tuple(size), fit).scaled(frame_size)
    left, top = (scaled[1] - size[1]) // 2, (scaled[0] - size[0]) // 2
    moved = rescaled(boxes, frame_size, scaled) - [left, top, left, top]
    inside = np.clip(moved, 0, [size[1], size[0], size[1], size[0]])
    return inside[((inside[:, 2:] - inside[:, :2]) > 0).all(axis=1)]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Overlaps and hits of every row on the frames of a part.

    Args:
        tables: row -> `Overlaps`.
        hits: row -> rule -> (N,).
        units: what belongs together.
        clips: number of explained clips.
        examples: windows to show, evenly drawn.
    """

    tables: dict
    hits: dict
    units: object
    clips: int
    examples: list

    def counts(self) -> dict:
        units = self.units
        return {
            "frames": len(units), "clips": self.clips, "videos": len(set(units.videos)),
            "groups": len(set(units.groups)),
        } | ({} if units.correct is None else {"right": float(sum(units.correct)) / len(units)})  # fmt: skip


def _measured(recipe: Recipe, part, facts, explained: Explained, methods, taps, shape, label_of, blurs) -> _Measured:
    """Explains every clip once and compares the maps of all methods, and the controls, with the true boxes.

    `blurs` holds for every row the blur of its maps.
    """
    import numpy as np
    from tqdm import tqdm

    from har_tf.evaluate import localization as measure
    from har_tf.evaluate.hits import Frames
    from har_tf.explain import layerwise

    image = len(shape) == 3
    tables, hits = {}, {}
    videos, groups, correct, clips, examples = [], [], [], 0, {}
    count = max(recipe.overlays, 3)
    # Evenly, and one further each time: where classes take turns, they all get theirs.
    wanted = {i * (len(facts.usable) // count + 1) % len(facts.usable) for i in range(count)}
    progress = tqdm(total=len(facts.usable), desc="explaining", unit="video", leave=False, disable=None)
    place = {record.name(part.root): i for i, record in enumerate(facts.usable)}
    stream = _windows(recipe, part, facts, shape)
    while windows := list(islice(stream, recipe.batch_size)):
        stacked = np.stack([window.frames for window in windows])
        boxes = [box for window in windows for box in window.boxes.values()]
        frames = [(i, t) for i, window in enumerate(windows) for t in window.boxes]
        at = tuple(np.array(frames).T)
        maps = _controls(stacked, at, image)
        if explained.model is not None:
            classes = None
            if recipe.explain == "true":
                classes = np.array([label_of[window.label] for window in windows])
            found = layerwise(explained.model, stacked, taps, classes, channels=recipe.channels)
            maps = {m.name: m.explanation(found, taps).maps[at] for m in methods} | maps
            predicted = found.class_index
            if classes is not None:
                predicted = explained.model.predict_on_batch(stacked).argmax(axis=1)
            if label_of is not None:
                correct += [label_of[windows[i].label] == predicted[i] for i, _ in frames]
        for name, each in maps.items():
            each = _blurred(each, blurs[name])
            tables.setdefault(name, []).append(measure.overlaps(each, boxes, contours=recipe.contours))
            for rule in ("maximum", "intersects"):
                hits.setdefault(name, {}).setdefault(rule, []).append(measure.hit_point(each, boxes, rule))
        videos += [windows[i].video for i, _ in frames]
        groups += [windows[i].group for i, _ in frames]
        clips += len(windows)
        for window in windows:
            if place[window.video] in wanted:
                examples.setdefault(window.video, window)
        progress.update(place[windows[-1].video] + 1 - progress.n)
    progress.close()
    units = Frames(videos, groups, correct=np.array(correct, bool) if correct else None)
    return _Measured(
        {name: measure.joined(tables_) for name, tables_ in tables.items()},
        {name: {rule: np.concatenate(found) for rule, found in rules.items()} for name, rules in hits.items()},
        units, clips, list(examples.values()),
    )  # fmt: skip


def _controls(stacked, at, image: bool) -> dict:
    """Control -> maps (N, H, W) at the frames `at`; a picture does not move."""
    import numpy as np

    from har_tf.evaluate import controls

    shape = (len(at[0]), *stacked.shape[-3:-1])
    gaussian, uniform, difference = CONTROLS
    maps = {gaussian: controls.centred_gaussian(shape), uniform: controls.uniform(shape)}
    if not image:
        maps[difference] = np.stack([controls.frame_difference(clip) for clip in stacked])[at]
    return maps


def _blur_of(name: str, blur: float) -> float:
    """The blur of a row; of frame differences without one every noisy pixel would be a contour."""
    return blur or (1 / 32 if name == CONTROLS[-1] else 0.0)


def _blurred(maps, blur: float):
    """The maps (N, H, W) with a Gaussian blur of a standard deviation in heights of the frame."""
    import cv2
    import numpy as np

    if not blur:
        return maps
    return np.stack([cv2.GaussianBlur(each, (0, 0), blur * maps.shape[1]) for each in maps])


def _rows(layers: int, image: bool = False) -> list[Method]:
    """The paper's rows, of all tables together, as far as a model of so many layers has them."""
    if not layers:
        return []
    cam, last = "2DCAM" if image else CAM3D, layers - 1
    rows = [Method(GRADCAM, last, last)]
    rows += [Method(CAM3D, i, i, cam) for i in range(layers)]
    wanted = [(CAM3D, 0, 1), (CAM3D, 0, 3), (CAM3D, 2, 4), (GRADCAM, 0, 1), (GRADCAM, 2, 4)]
    rows += [Method(kind, first, end, cam) for kind, first, end in wanted if end < layers]
    if layers > 1:
        rows += [Method(kind, 0, last, cam) for kind in (CAM3D, AVERAGE, GRADCAM)]
    return list(dict.fromkeys(rows))


def _runs(layers: int, image: bool = False) -> list[Method]:
    """The runs of neighbouring layers among which 3DCAM's and Grad-CAM's are chosen."""
    cam = "2DCAM" if image else CAM3D
    pairs = [(first, last) for first in range(layers) for last in range(first, layers)]
    return [Method(kind, *pair, cam) for kind in (CAM3D, GRADCAM) for pair in pairs]


@dataclass(frozen=True)
class _Setting:
    """How a row's boxes are made, and the box accuracy on held-out clips that chose it."""

    threshold: float
    accuracy: float
    blur: float = 0.0


def _best(table, ious, blur: float = 0.0) -> _Setting:
    """The best threshold for all frames: by frame, mean over the IoU."""
    import numpy as np

    from har_tf.evaluate.localization import localised

    shares = np.mean([localised(table.iou, iou).mean(axis=0) for iou in ious], axis=0)
    return _Setting(float(table.thresholds[shares.argmax()]), float(shares.max()), blur)


def _results(name: str, measured: _Measured, threshold: float, ious) -> dict:
    """The numbers of one row."""
    import numpy as np

    from har_tf.evaluate.hits import accuracy
    from har_tf.evaluate.localization import localised, max_box_acc

    table, units = measured.tables[name], measured.units

    def boxes(acc2):
        found = max_box_acc(table, units, ious, threshold, acc2)
        ways = {}
        for row in found.rows:
            numbers = asdict(row)
            for left_out in ("choice", "per", "per_class"):
                numbers.pop(left_out)
            ways.setdefault(row.choice, {})[row.per] = numbers
        return ways

    hits = {}
    for rule, found in measured.hits[name].items():
        hits[rule] = {}
        for per in ("frame", "video"):
            share = accuracy(found, units, per)
            hits[rule][per] = {"value": share.value, "interval": share.interval}
    curve = np.mean([localised(table.iou, iou).mean(axis=0) for iou in ious], axis=0)
    return {
        "threshold": threshold,
        "hits": hits,
        "boxes": boxes(acc2=False),
        "acc2": None if units.correct is None else boxes(acc2=True),
        "curve": np.round(curve, 6).tolist(),
    }


def _differences(measured: _Measured, chosen: dict, settings: dict, ious) -> list[dict]:
    """The chosen 3DCAM minus Grad-CAM and minus each control: box accuracy by frame, the same groups drawn for both."""
    import numpy as np

    from har_tf.evaluate.bootstrap import Bootstrap
    from har_tf.evaluate.localization import localised

    if not chosen:
        return []
    units, best = measured.units, chosen[CAM3D].name

    def hits(name, choice):
        table = measured.tables[name]
        found = table.best if choice == "oracle" else table.iou[:, table.position(settings[name].threshold)]
        return np.mean([localised(found, iou) for iou in ious], axis=0)

    last = [name for name in measured.tables if name.startswith(f"{GRADCAM} ")][:1]
    others = dict.fromkeys([*last, chosen[GRADCAM].name, *(name for name in measured.tables if name in CONTROLS)])
    rows = []
    for choice in ("given", "oracle"):
        for other in others:
            values = (hits(best, choice) - hits(other, choice))[:, None]
            bootstrap = Bootstrap()
            means = bootstrap.means(values, np.ones(len(values)), units.clusters)
            (interval,) = bootstrap.intervals(means, units.clusters)
            rows.append({"choice": choice, "than": other, "value": float(values.mean()), "interval": interval})
    return rows


def _as_in_paper(recipe: Recipe, explained: Explained, test) -> bool:
    """Whether the test part is the published one, the network the paper's, and everything is measured as there."""
    from har_tf.datasets import jhmdb, ucf24
    from har_tf.models.weights import import_weights as importers

    whole = {
        "ucf24": len(test) == ucf24.TEST_VIDEOS,
        "jhmdb": len(test) >= 0.25 * jhmdb.VIDEOS and len(test.class_names) == len(jhmdb.CLASSES),
        "ilsvrc": len(test) >= 45_000,
        "figures": False,
    }[recipe.dataset]
    if not whole or explained.trained is not None or recipe.weights is None:
        return False
    size = (224, 224) if recipe.dataset == "ilsvrc" else (112, 112)
    own = {
        "taps": None, "explain": "predicted", "channels": "sum", "contours": "all", "blur": (0.0,), "sampling": "dense",
        "fit": "crop", "clips_per_video": None, "frames_per_clip": None, "classes": None
    }  # fmt: skip
    as_there = all(getattr(recipe, name) == value for name, value in own.items())
    as_there &= recipe.size in (None, size) and recipe.num_frames in (None, 16)
    if recipe.dataset != "ilsvrc":
        as_there &= importers.resnext3d_options(recipe.weights)["blocks"] == (3, 4, 23, 3)
    return as_there


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
