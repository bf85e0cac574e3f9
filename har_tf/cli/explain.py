"""python -m har_tf explain: a video that shows where and when a model looked."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from har_tf.cli.reading import Foreign, note_short, open_classifier
from har_tf.command import words
from har_tf.explain.methods import METHODS, check_against, chosen, set_options
from har_tf.names import say


@dataclass(frozen=True)
class Explain:
    """Write a video that shows where and when a model looked, by Grad-CAM, 3DCAM or several methods side by side."""

    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")]
    """A video file."""
    model: Path
    """A .keras file. One of this project says how its clips are taken."""
    out: Path
    """The overlay to write: a video (.mp4) or an animation (.gif, .webp). It shows all frames of the video, at their
    own size and speed."""
    method: Annotated[
        str, tyro.conf.arg(help=f"One of {', '.join(METHODS)}; several, separated by commas, are shown side by side.")
    ] = "gradcam"
    class_name: str | None = None
    """The class to explain. None: the predicted one."""
    tap: str | None = None
    """The feature map at which gradcam and other methods of one tap explain, such as conv3d, or mobilenetv2/out_relu of
    a model within the model. Several, separated by commas, are shown side by side; of a model that fuses networks, the
    name of a network is its last map. None: the last one."""
    taps: str | None = None
    """The feature maps that 3dcam and sum-gradcam sum, separated by commas. None: the output of each stage."""
    counterfactual: bool = False
    """Show what speaks against the class, by negated gradients; not every method can."""
    method_options: str | None = None
    """Options of the methods, separated by commas: steps=64 of each that has it, or rise.number=500 of one. See
    docs/methods.md for those of each method."""
    windows: bool = False
    """Explain window after window of a video of any length, and average the maps where windows overlap, in place of one
    clip of frames from the whole video."""
    hop: int | None = None
    """With --windows: frames from the start of one window to that of the next. None: half a window. Of a model whose
    clips go by time, or at a rate, frames of the video made even so."""
    stride: int | None = None
    """With --windows: distance of neighbouring frames in a window, as --hop counts them. None: 1."""
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
    """Share of the colour where the colour scale ends."""
    scale: Literal["percentile", "max"] = "percentile"
    """Where the colour scale ends: at the strongest 0.5 % of the map, so that evidence in few pixels is seen, or at its
    maximum."""
    frames: Literal["source", "model"] = "source"
    """Paint all frames of the video, with maps interpolated between those that the model saw, or only these, as it saw
    them."""
    size: int | None = None
    """Shorter side of the video's pictures in pixels. None: its own."""
    json: bool = False
    """Also write the details to the name of --out with .json: settings, sizes of the feature maps, the frames that the
    model saw and their times."""
    calibration: bool = True
    """Show calibrated probabilities where the model's file says how; --no-calibration shows them as the model gives
    them. Maps are the same."""
    foreign: Foreign = field(default_factory=Foreign)

    def run(self) -> None:
        methods = _checked_methods(self)
        from har_tf.files.whole import check_target
        from har_tf.video.guard import regular_file

        video = regular_file(self.video)  # before TensorFlow is imported
        details = self.out.with_suffix(".json") if self.json else None
        for name, path in (("--out", self.out), ("--sheet", self.sheet), ("--json", details)):
            if path is not None and path.exists() and path.samefile(video):
                raise ValueError(f"The overlay would overwrite the video it explains. Received: {name} {path}")
            if path is not None:
                check_target(name, path)
        named = [name for option in (self.tap, self.taps) if option is not None for name in words(option)]
        classifier = open_classifier(self.model, self.foreign, self.class_name, named, self.calibration)
        if classifier.calibration is not None:
            say(f"note: {classifier.calibration}", to=sys.stderr)
        if self.class_name is not None and self.class_name not in classifier.class_names:
            known = ", ".join(classifier.class_names)
            raise ValueError(f"The model's classes are {known}. Received: --class-name {self.class_name}")
        explained = classifier.explain(
            self.video,
            methods,
            class_name=self.class_name,
            tap=None if self.tap is None else words(self.tap),
            taps=None if self.taps is None else words(self.taps),
            counterfactual=self.counterfactual,
            pool=self.pool,
            normalize=self.normalize,
            short=self.short,
            windows=self.windows,
            hop=self.hop,
            stride=self.stride or 1,
            options=self._options(),
        )
        if self.short is None and not self.windows:
            note_short(self.video, explained.frames, classifier.reading)
        for line in explained.windows:
            say(line)
        explained.save(self.out, self.alpha, self.frames, self.size, self.scale, self.json)
        say(*explained.notes, self.out)
        if details is not None:
            say(details)
        if self.sheet is not None:
            from har_tf.report.pages.explained import class_sheet

            self.sheet.parent.mkdir(parents=True, exist_ok=True)
            class_sheet(
                classifier.model,
                explained.frames,
                self.sheet,
                classifier.class_names,
                methods[0],
                title=self.video.name,
                normalize=self.normalize,
                tap=None if self.tap is None else classifier.taps_by_name(words(self.tap)),
                taps=None if self.taps is None else list(classifier.taps_by_name(words(self.taps)).values()),
                pool=self.pool,
                options=set_options(chosen(methods), self._options())[methods[0]],
                probabilities=None
                if classifier.calibration is None
                else classifier.predict(explained.frames).probabilities[0],
            )
            say(self.sheet)

    def _options(self) -> dict[str, str]:
        pairs = [word.partition("=") for word in words(self.method_options)] if self.method_options else []
        if wrong := [name for name, equals, _ in pairs if not equals]:
            raise ValueError(f"--method-options are such as steps=64,seed=1. Received: {wrong[0]}")
        return {name.strip(): value.strip() for name, _, value in pairs}


def _checked_methods(options: Explain) -> list[str]:
    """The methods that are asked for; ValueError for options that do not go together, before anything is loaded."""
    from har_tf.video.animation import SUFFIXES

    methods = words(options.method)
    if not set(methods) <= set(METHODS) or len(set(methods)) < len(methods):
        raise ValueError(f"Methods are some of {', '.join(METHODS)}, each once. Received: --method {options.method}")
    several = chosen(methods)
    set_options(several, options._options())
    if options.counterfactual:
        check_against(several)
    for name, fits, what in (
        ("tap", lambda method: method.at_one_tap, "where a method of one tap explains"),
        ("taps", lambda method: method.sums, "what a method sums"),
        ("pool", lambda method: "pool" in method.options, "how a method averages gradients"),
    ):
        value = getattr(options, name)
        if value not in (None, "spatiotemporal") and not any(map(fits, several)):
            those = ", ".join(method.name for method in METHODS.values() if fits(method))
            raise ValueError(f"--{name} is {what}: {those}. Received: --{name} {value} with {options.method}")
    if not options.windows and not options.hop is options.stride is None:
        raise ValueError("--hop and --stride are those of --windows, which is not given")
    if options.windows and options.sheet is not None:
        raise ValueError("A sheet shows one clip, so not with --windows")
    for name, least in (("hop", 1), ("stride", 1)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise ValueError(f"--{name} is at least {least}. Received: {getattr(options, name)}")
    if options.sheet is not None and options.sheet.suffix.lower() != ".png":
        raise ValueError(f"Sheets end in .png. Received: --sheet {options.sheet}")
    if options.sheet is not None and several[0].at_one_tap and len(words(options.tap or "one")) > 1:
        raise ValueError(f"A sheet of {methods[0]} shows one tap. Received: --tap {options.tap}")
    if options.out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"Overlays end in {', '.join(SUFFIXES)}. Received: --out {options.out}")
    if options.size is not None and (options.frames == "model" or options.size < 16):
        raise ValueError(
            f"--size is the shorter side of the video's frames, at least 16 pixels. Received: --size {options.size}"
            + (" with --frames model" if options.frames == "model" else "")
        )
    if not 0 <= options.alpha <= 1:
        raise ValueError(f"alpha lies in [0, 1]. Received: --alpha {options.alpha}")
    return methods
