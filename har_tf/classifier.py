"""`Classifier`: a model, the names of its classes, how its clips are taken, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from har_tf import __version__, devices, explain, scrutiny
from har_tf.concepts.tcav import activations
from har_tf.datasets import walk
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.folder import SUFFIXES
from har_tf.evaluate import calibration as calibrating
from har_tf.evaluate import labelled_clips
from har_tf.evaluate.calibration import Calibration
from har_tf.evaluate.options import Trust
from har_tf.explain import Explanation, details
from har_tf.explain.backward import check_batch_size
from har_tf.explain.sampled import Sampled
from har_tf.explain.windows import VideoExplanation, frames_of
from har_tf.files.limits import MEMORY, TIMEOUT
from har_tf.files.workers import Failed, outcomes
from har_tf.models import pixels, saving
from har_tf.models.fusion_gru import stream_taps
from har_tf.models.logits import log_probabilities, probabilities
from har_tf.models.saving import CLIP
from har_tf.models.taps import Tap, find_several, taps
from har_tf.names import ClassNames
from har_tf.pipeline import errors_as_raised
from har_tf.video import VideoError, read_clip, read_still, still
from har_tf.video.reader import read_sampled, read_windows

BATCH = 16  # clips that the model sees at once
TAKEN = ("scaling", "num_frames", "size")  # what of a clip's settings becomes a part of the model

_NO_PROMISE = (
    "no {} for these answers: Classifier.calibrated(..., {}) finds what single clips need, not means over windows"
)

Source = str | PathLike | Sequence[str | PathLike] | np.ndarray | tf.data.Dataset


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier answered on N clips.

    Attributes:
        names: the videos, in the order of the answers; None where clips were given.
        probabilities: float32 (N, C).
        class_names: the C names.
        skipped: video that could not be read -> why.
        calibration: what made the probabilities of the model's logits; None: the model alone.
    """

    names: tuple[str, ...] | None
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Of every clip the k most probable classes with their probabilities, the most probable first."""
        order = np.argsort(self.probabilities, axis=1, kind="stable")[:, ::-1][:, :k]
        return [
            [(self.class_names[i], float(row[i])) for i in best]
            for row, best in zip(self.probabilities, order, strict=True)
        ]

    def sets(self) -> list[list[str]]:
        """Of every clip the classes of which one is the true one, with the coverage of `calibration.sets`.

        Raises:
            ValueError: no coverage was asked for when the model was calibrated, or these are means over windows.
        """
        if self.calibration is None or self.calibration.sets is None:
            raise ValueError(_NO_PROMISE.format("sets", "coverage=0.9"))
        inside = self.calibration.sets.of(self.probabilities)
        return [[self.class_names[i] for i in np.flatnonzero(row)] for row in inside]

    def answered(self) -> np.ndarray:
        """bool (N,): whether the most probable class is an answer; where it is not, it is "none of these".

        Raises:
            ValueError: no precision was asked for when the model was calibrated, or these are means over windows.
        """
        if self.calibration is None or self.calibration.abstention is None:
            raise ValueError(_NO_PROMISE.format("a threshold", "precision=0.95"))
        return self.calibration.abstention.answers(self.probabilities)


@dataclass(frozen=True, eq=False)
class ExplainedClip:
    """Where and when a classifier looked in a clip, by one method or several.

    Attributes:
        frames: uint8 (T, H, W, 3), as the model saw them; of a video that was explained window after window a function
            that reads its frames one by one.
        explanations: name -> explanation, with maps (1, T, H, W); of one method the name may be "".
        class_names: of the classifier.
        title: what stands above the overlay.
        windows: of a video that was explained window after window, what was explained in each, in words.
        caption: what `save_overlay` is told of the frames' times.
        sampled: where the frames stand in their video; None: there is no video.
        about: model and clip, for the JSON file.
    """

    frames: np.ndarray | Callable[[], Iterator[np.ndarray]]
    explanations: Mapping[str, Explanation]
    class_names: tuple[str, ...]
    title: str
    windows: tuple[str, ...] = ()
    caption: Mapping[str, Any] = field(default_factory=dict)
    sampled: Sampled | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What a reader of the overlay should know: maps without evidence, and the layers that maps are sums of."""
        notes = []
        for name, explanation in self.explanations.items():
            if explanation.empty[0]:
                where = f" at {name}" if len(self.explanations) > 1 else ""
                label = self.class_names[explanation.class_index[0]]
                notes.append(f"no evidence for {label} was found{where}: the overlay shows the plain video")
        summed = [each.settings["taps"] for each in self.explanations.values() if "taps" in each.settings]
        return notes + ([f"summed over {', '.join(summed[0])}"] if summed else [])  # the same ones by every method

    def save(
        self,
        path: str | PathLike,
        alpha: float = 0.5,
        frames: Literal["source", "model"] = "source",
        size: int | None = None,
        scale: Literal["percentile", "max"] = "percentile",
        json: bool = False,
    ) -> Path:
        """Writes a video, or an animation, of the clip beside its overlays.

        Args:
            path: what to write, ending in .mp4, .gif or .webp; its folder is made where it is missing.
            alpha: share of the colour where the colour scale ends, in [0, 1].
            frames: "source": all frames of the video, at their size and speed; "model": the frames that the model saw,
                as it saw them. Of a clip that was given as an array there are only these.
            size: shorter side of the video's pictures in pixels; None: its own, see `har_tf.explain.save_overlay`.
            scale: where colour scales end, see `har_tf.explain.overlay.scale_end`.
            json: also write what the caption has no room for, to the same name with .json: model, video, class,
                settings, sizes of the taps, scale, sampled frames and their times, windows, notes.

        Raises:
            har_tf.video.VideoError: it cannot be written, or the video cannot be read.
            ValueError: an argument out of its range.
        """
        if frames not in ("source", "model"):
            raise ValueError(f"frames are those of the 'source' or of the 'model'. Received: {frames=}")
        if size is not None and (frames == "model" or self.sampled is None or size < 16):
            raise ValueError(f"size is the shorter side of a video's pictures, at least 16 pixels. Received: {size=}")
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = self.explanations if len(self.explanations) > 1 else next(iter(self.explanations.values()))
        how = {"class_names": self.class_names, "title": self.title, "alpha": alpha, "scale": scale}
        if frames == "source" and self.sampled is not None:
            headings = self.caption.get("headings")
            explain.save_overlay(path, self.sampled, shown, headings=headings, size=size, **how)
        else:
            clip = self.frames() if callable(self.frames) else self.frames
            explain.save_overlay(path, clip, shown, **how, **self.caption)
        if json:
            details.write(path.with_suffix(".json"), self.details(alpha, frames, size, scale))
        return path

    def details(
        self, alpha: float = 0.5, frames: str = "source", size: int | None = None, scale: str = "percentile"
    ) -> dict[str, Any]:
        """What `save` writes as JSON, as plain values; arguments as there."""
        found = {**self.about, "overlay": {"frames": frames if self.sampled else "model", "alpha": alpha}}
        if self.sampled is not None:
            found["sampling"] = details.of_sampling(self.sampled, len(self.explanations), size)
        maps = details.of_maps(self.explanations, self.class_names, scale)
        return {**found, "maps": maps, "windows": list(self.windows), "notes": self.notes, "har_tf": __version__}


class Classifier:
    """A video classifier that reads clips as it was trained on them.

    Args:
        model: any Keras model of clips (B, T, H, W, 3), or of images (B, H, W, 3), in RGB or grey (1 channel), that
            gives (B, C) probabilities or logits.
        class_names: the C names, in the order of the outputs, or a label map such as {name: number}. One output has two
            classes, its absence and its presence, as labels 0 and 1; of one name the other is "not" that.
        clip: how the model's clips are taken. sampling, short, fit and by are arguments of `read_clip`; scaling says
            how pixels are scaled where the model does not show it: "0..1", "-1..1", "0..255", or "torch" and "caffe" of
            `keras.applications`; num_frames and size (height, width) say what it is given where it takes any.
        provenance: where it comes from: weights, data, split, date, versions, as plain values.
        output: name of the output that is meant, of a model of several.
        calibration: what makes probabilities of its logits, see `calibrated`; None: the model alone.

    Attributes:
        model: what takes uint8 RGB clips of this size: the one that was given, or one on its weights.

    Raises:
        ValueError: another number of names than classes, an unknown setting of clips, or one that the model does not
            take.

    Example:
        >>> clf = Classifier.load("model.keras")
        >>> clf.predict("clip.mp4").top(1)
        [[('throw', 0.98)]]
        >>> clf.explain("clip.mp4", method="3dcam").save("overlay.mp4")
    """

    def __init__(
        self,
        model: keras.Model,
        class_names: ClassNames,
        clip: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        output: str | None = None,
        calibration: Calibration | None = None,
    ):
        clip = dict(clip or {})
        taken = {name: clip.pop(name) for name in TAKEN if name in clip}
        self.model = model = pixels.of_pixels(model, output=output, **taken)
        self.class_names = saving.both(model, class_names)
        self.clip, self.provenance = CLIP | clip, dict(provenance or {})
        saving.check_members(model, self.class_names, self.clip)
        self.calibration = calibration
        self._where = "the model"
        self._answer: Callable[[np.ndarray], np.ndarray] = self._probabilities

    @classmethod
    def load(
        cls,
        path: str | PathLike,
        clip: Mapping[str, Any] | None = None,
        output: str | None = None,
        calibrated: bool = True,
    ) -> Classifier:
        """Loads what `save` wrote, or any `.keras` file of a classifier.

        Args:
            path: the file.
            clip, output: as in `Classifier`, of a file that does not say it.
            calibrated: whether its calibration is taken, where it has one.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not a Keras model, other names than outputs, or a calibration that is none.
        """
        clip = dict(clip or {})
        taken = {name: clip.pop(name) for name in TAKEN if name in clip}
        model, names = saving.load_model(path, output=output, **taken)
        values = saving.calibration(path) if calibrated else None
        try:
            calibration = None if values is None else Calibration.of(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        clip = saving.clip_settings(path) | clip
        loaded = cls(model, names, clip, saving.provenance(path), calibration=calibration)
        loaded._where = str(path)
        return loaded

    def save(self, path: str | PathLike) -> Path:
        """Writes a `.keras` file that `keras.models.load_model` reads, also where `har_tf` is not installed."""
        calibration = self.calibration and self.calibration.as_dict()
        return saving.save_model(self.model, path, self.class_names, self.clip, self.provenance, calibration)

    def calibrated(
        self,
        source: Source | ActionDataset,
        labels: Sequence[int] | None = None,
        groups: Sequence[str | None] | None = None,
        coverage: float | None = None,
        precision: float | None = None,
    ) -> Classifier:
        """The same classifier with probabilities that say what they mean, see `har_tf.evaluate.calibration.fit`.

        The most probable class of a clip stays the same.

        Args:
            source: clips that the model was not trained on: a part of a data set, whose clips are read into memory
                (videos that cannot be read are left out), or as in `predict`.
            labels: int (N,), the true class of each clip; None of a part of a data set, which knows.
            groups: N names, the recording of each clip; None, or None for a clip: it stands alone. Likewise.
            coverage: of the sets that `Predictions.sets` gives, such as 0.9; None: none.
            precision: of the answers that `Predictions.answered` leaves, such as 0.95; None: all.

        Raises:
            har_tf.evaluate.calibration.NotFitted: clips that no temperature can be fitted on.
            har_tf.video.VideoError: a video cannot be read.
            ValueError: the model answers every class by itself; other labels than clips or other classes than the
                model's; or too few recordings for what is asked for.

        Example:
            >>> clf = clf.calibrated(data.validation, coverage=0.9, precision=0.95)
            >>> clf.predict("clip.mp4").sets()
            [['throw', 'catch']]
        """
        if isinstance(source, ActionDataset):
            if labels is not None or groups is not None:
                raise ValueError("a data set knows labels and groups. Received: a data set, and labels or groups")
            number = [self.index_of(name) for name in source.class_names]
            read = labelled_clips.read(source, self.reading)
            source, labels, groups = read.clips, np.array(number)[read.labels], read.groups
            source = source[:, 0] if self._of_images else source
        elif labels is None:
            raise ValueError("the true class of each clip is needed. Received: labels=None")
        scores = self._rows(self._log_probabilities, source, BATCH)
        about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "har_tf": __version__}
        found = calibrating.fit(scores, labels, groups, coverage, precision, about)
        made = Classifier(self.model, self.class_names, self.clip, self.provenance, calibration=found)
        made._where = self._where
        return made

    def trust(
        self,
        data: ActionDataset,
        validation: ActionDataset | None = None,
        options: Trust | None = None,
        seed: int = 0,
    ) -> scrutiny.Measured:
        """Tests whether the classifier and its explanations deserve trust; `har.trust` also writes a report.

        Args:
            data: test videos, of which those are left out whose class the model has not; their clips are read into
                memory.
            validation: videos that the model was not trained on, and that are no test videos; None, or none of the
                model's classes: probabilities are measured as they are.
            options: what is measured, and on how many clips; None: as `Trust()`.
            seed: of all that is drawn.

        Raises:
            DatasetError: no video can be read.
            ValueError: no class that the model has, options that are wrong, a model of images, or fewer clips than are
                compared.

        Example:
            >>> found = clf.trust(result.test, options=Trust(methods="gradcam,3dcam"))
            >>> found.results["reliance"]["verdicts"]["order"]
            'yes'
        """
        options = options or Trust()
        options.check()
        self.outputs_in(data)
        clips, held = (labelled_clips.read_known(part, self.class_names, self.reading) for part in (data, validation))
        return scrutiny.measure(self.model, clips, held, options, self.reading, seed)

    def outputs_in(self, data: ActionDataset, called: Mapping[str, str] | None = None) -> Sequence[int]:
        """Of each class of the data its output of the model, -1 for none, once all that trust takes is in order.

        Args:
            data: test videos.
            called: class of the data -> what the model calls it, where the names differ.

        Raises:
            ValueError: the model has none of the classes, takes images, or does not say how it takes clips.
        """
        if self._of_images:
            raise ValueError(f"{self._where}: trust is measured on clips. Received: a model of images")
        self.reading  # noqa: B018 - raises
        return labelled_clips.outputs_in(self.class_names, data, called)

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of `read_clip` for clips as the model was trained on, or of `read_still` for images.

        Raises:
            ValueError: the model does not take clips of one size, or does not show how it wants pixels scaled.
        """
        shape = self.model.input_shape
        if not isinstance(shape, tuple) or len(shape) not in (4, 5) or shape[-1] != 3:
            raise ValueError(f"{self._where}: takes {shape}, not clips of (batch, time, height, width, 3)")
        if None in shape[1:]:
            raise ValueError(
                f"{self._where}: takes clips of {shape}, so any where None stands: say how many frames of which "
                "height and width it is given, by clip={'num_frames': 16, 'size': (112, 112)}, or --model-frames 16 "
                "and --model-size 112 112"
            )
        self.check_pixels()
        return {"num_frames": 1 if self._of_images else shape[1], "size": shape[-3:-1], **self.clip}

    @property
    def _of_images(self) -> bool:
        return len(self.model.input_shape) == 4

    @cached_property
    def _scales_pixels(self) -> bool:
        return pixels.scales_pixels(self.model)

    def check_pixels(self) -> None:
        """Raises ValueError where neither the model nor `clip` says how pixels from 0 to 255 are scaled."""
        if not self._scales_pixels:
            raise ValueError(f"{self._where}: {pixels.unsaid(self.model)}")

    def float_model(self) -> keras.Model:
        """The same network from float32 pixels, 0 to 255, on, so that a gradient reaches them.

        Example:
            >>> saliency = tf_keras_vis.saliency.Saliency(clf.float_model(), ReplaceToLinear(), clone=True)
        """
        return pixels.of_floats(self.model)

    def predict(self, source: Source, batch_size: int = BATCH, windows: int | None = None) -> Predictions:
        """The probabilities of all classes, calibrated where the classifier is.

        Args:
            source: a video, a folder (all videos below it, sorted), a list of videos, clips as uint8 (T, H, W, 3) or
                (B, T, H, W, 3), or a `tf.data.Dataset` of batches of clips, or of (clips, labels).
            batch_size: clips that the model sees at once, at most; of fewer clips all.
            windows: of videos the mean over so many clips side by side, at most, evenly over the video, see
                `har_tf.video.reader.read_windows`; None: one clip. Each is calibrated before the mean.

        Raises:
            har_tf.video.VideoError: the only video cannot be read; of several, those are in `skipped`.
            FileNotFoundError: there is no such video or folder, or no video in it.
            ValueError: clips of another shape, or windows of what has none.
        """
        if isinstance(source, np.ndarray | tf.data.Dataset):
            if windows is not None:
                raise ValueError(f"windows are taken of videos. Received: clips, and {windows=}")
            rows = self._rows(self._answer, source, batch_size)
            return Predictions(None, rows, self.class_names, calibration=self.calibration)
        names, answers, skipped = [], [], {}
        single = isinstance(source, str | PathLike) and not Path(source).is_dir()
        for path, _, answer in self.answers(self._paths(source), batch_size, windows):
            if isinstance(answer, Failed):
                if single:
                    raise VideoError(path, answer.reason)
                skipped[str(path)] = answer.reason
            else:
                names.append(str(path))
                answers.append(answer)
        shape = (len(answers), len(self.class_names))
        rows = np.reshape(answers, shape).astype("float32")
        return Predictions(tuple(names), rows, self.class_names, skipped, self.calibration_of(windows))

    def calibration_of(self, windows: int | None = None) -> Calibration | None:
        """The calibration of answers: of means over windows the temperature alone, for sets are of single clips."""
        if windows is None or self.calibration is None:
            return self.calibration
        return replace(self.calibration, sets=None, abstention=None)

    def answers(
        self, paths: Sequence[str | PathLike], batch_size: int = 1, windows: int | None = None
    ) -> Iterator[tuple[Path, np.ndarray | None, np.ndarray | Failed]]:
        """Yields for every video (path, clip, probabilities), or (path, None, `Failed`), in order, as they are there.

        Of several videos the others are still wanted if one fails or crashes its decoder, so they are decoded in a
        process of its own. Of `windows`, as in `predict`, the clip is the first.
        """
        check_batch_size(batch_size)
        workers = 0 if len(paths) == 1 else 1
        if windows is not None:
            yield from self._averaged(paths, batch_size, windows, workers)
            return
        batch_size = min(batch_size, max(len(paths), 1))
        clips = outcomes(self._reader(), paths, workers, TIMEOUT, MEMORY)
        named = zip(map(Path, paths), clips, strict=True)
        while batch := list(islice(named, batch_size)):
            read = [clip for _, clip in batch if not isinstance(clip, Failed)]
            rows = iter(_padded(self._answer, np.stack(read), batch_size) if read else ())
            for path, clip in batch:
                yield (path, None, clip) if isinstance(clip, Failed) else (path, clip, next(rows))

    def explain(
        self,
        source: str | PathLike | np.ndarray,
        method: str | Sequence[str] = "gradcam",
        class_name: str | None = None,
        tap: str | Sequence[str] | None = None,
        taps: str | Sequence[str] | None = None,
        counterfactual: bool = False,
        pool: str = "spatiotemporal",
        normalize: Literal["clip", "frame"] = "clip",
        short: str | None = None,
        windows: bool = False,
        hop: int | None = None,
        stride: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> ExplainedClip:
        """Where and when the model looked.

        Args:
            source: a video, or one clip as uint8 (T, H, W, 3).
            method: one of `har_tf.explain.methods.METHODS`, or several.
            class_name: the class to explain; None: the predicted one.
            tap: the feature map at which gradcam and other methods of one tap explain, or several; of a model that
                fuses networks, the name of a network is its last map. None: the last one.
            taps: the feature map, or several, that methods which sum take; None: the output of each stage.
            counterfactual: show what speaks against the class, by negated gradients.
            pool: of gradcam and sum-gradcam: "spatiotemporal" or "spatial".
            normalize: scale saliency to the clip's maximum ("clip"; of a video in windows the video's) or each frame's.
            short: what to do with a video of fewer frames than the model takes; None: as the model's clips were taken,
                with `windows` an error.
            windows: explain window after window of a video of any length, and average the maps where they overlap.
            hop: with `windows`: frames from the start of one to that of the next; None: half a window.
            stride: with `windows`: distance of neighbouring frames in one.
            options: of the methods, as in `har_tf.explain.by_method`: {"steps": 64}, or {"rise.number": 500}.

        Raises:
            har_tf.video.VideoError: the video cannot be read.
            ValueError: an unknown class, method, option or tap, or arguments that do not go together.
        """
        methods = [method] if isinstance(method, str) else list(method)
        index = None if class_name is None else self.index_of(class_name)
        settings = {
            "counterfactual": counterfactual,
            "tap": None if tap is None else self.taps_by_name(tap),
            "taps": None if taps is None else list(self.taps_by_name(taps).values()),
            "pool": pool,
            "options": options,
        }

        def explained(clips: np.ndarray, normalize: str | None = None) -> dict[str, Explanation]:
            chosen = index
            if index is None and self.model.outputs[0].shape[-1] == 1:
                chosen = self._answer(clips).argmax(axis=1)
            made = explain.by_method(self.model, clips, methods, class_index=chosen, normalize=normalize, **settings)
            if self.calibration is None:
                return made
            rows, places = self._answer(clips), np.arange(len(clips))
            return {name: replace(each, probability=rows[places, each.class_index]) for name, each in made.items()}

        sampled = None
        if isinstance(source, np.ndarray):
            if windows:
                raise ValueError("windows are taken of a video. Received: a clip")
            clip, title = source, ""
        elif windows:
            found = explain.explain_video(
                self.model,
                source,
                explained,
                hop=hop,
                stride=stride,
                short=short or "error",
                fit=self.clip["fit"],
                by=self.clip["by"],
                normalize=normalize,
            )
            return self._of_windows(Path(source), found, "against " if counterfactual else "")
        else:
            how = self.reading | ({"short": short} if short else {})
            title = Path(source).name
            if self._of_images:
                clip = _picture(source, **how)
            else:
                clip, indices = read_sampled(source, **how)
                sampled = Sampled(source, indices, how["size"], how["fit"])
        self._check_clips(clip[None])
        found = explained(clip[None], normalize)
        frames = clip[None] if self._of_images else clip
        about = self._about(source)
        return ExplainedClip(frames, found, self.class_names, title, sampled=sampled, about=about)

    def features(self, source: Source, tap: str | None = None, batch_size: int = BATCH) -> np.ndarray:
        """What the model makes of clips: a feature map, averaged over time and space.

        Args:
            source: as in `predict`. Rows stand for videos, so none is left out: the first that cannot be read ends it.
            tap: name of the feature map; None: the last one.
            batch_size: clips that the model sees at once.

        Returns:
            float32 (N, D).

        Raises:
            har_tf.video.VideoError: a video cannot be read.
            ValueError: an unknown tap, or clips of another shape.
        """
        chosen = [taps(self.model)[-1] if tap is None else self.taps_by_name(tap)[tap]]

        def pooled(clips: np.ndarray) -> np.ndarray:
            (found,) = activations(self.model, clips, chosen, "mean", len(clips)).values()
            return found

        return self._rows(pooled, source, batch_size)

    def index_of(self, class_name: str) -> int:
        """The output of a class; ValueError where there is none of this name."""
        if class_name not in self.class_names:
            raise ValueError(f"The model's classes are {', '.join(self.class_names)}. Received: {class_name}")
        if self.class_names.count(class_name) > 1:
            raise ValueError(f"The model has several classes of this name. Received: {class_name}")
        return self.class_names.index(class_name)

    def taps_by_name(self, names: str | Sequence[str]) -> dict[str, Tap]:
        """Name -> the feature map that it means: a tap, or of a model that fuses networks the last map of one.

        Raises:
            ValueError: there is none of this name.
        """
        names = [names] if isinstance(names, str) else names
        networks = stream_taps(self.model)
        try:
            found = find_several(self.model, [networks.get(name, name) for name in names])
        except ValueError as error:
            if not networks:
                raise
            # A fusion has hundreds of feature maps, which the error lists: what most people mean comes first.
            raise ValueError(f"a tap is a network ({', '.join(networks)}) or a feature map: {error}") from error
        return dict(zip(names, found, strict=True))

    def _averaged(
        self, paths: Sequence[str | PathLike], batch_size: int, windows: int, workers: int
    ) -> Iterator[tuple[Path, np.ndarray | None, np.ndarray | Failed]]:
        """`answers` that are means over windows, of which the model sees `batch_size` at once."""
        if self._of_images or self.reading["sampling"] == "uniform" or windows < 1:
            kind = "pictures" if self._of_images else f"clips with sampling={self.reading['sampling']!r}"
            raise ValueError(
                "windows, at least 1, are of frames that follow each other, for models of dense or strided clips. "
                f"Received: {windows=}, a model of {kind}"
            )
        read = partial(read_windows, windows=windows, **self.reading)
        batch_size = min(batch_size, windows)
        for path, clips in zip(map(Path, paths), outcomes(read, paths, workers, TIMEOUT, MEMORY), strict=True):
            if isinstance(clips, Failed):
                yield path, None, clips
            else:
                yield path, clips[0], _padded(self._answer, clips, batch_size).mean(axis=0)

    def _of_windows(self, video: Path, found: VideoExplanation, against: str) -> ExplainedClip:
        labels = tuple(
            f"{against}{self.class_names[label]}, p = {p:.1%} (window {number + 1}/{len(found.windows)})"
            for number, (label, p) in enumerate(zip(found.class_index, found.probability, strict=True))
        )
        shown = dict(zip(found.frames.tolist(), found.seconds.tolist(), strict=True))
        bounds = zip(found.windows.min(axis=1).tolist(), found.windows.max(axis=1).tolist(), strict=True)
        windows = tuple(
            f"frames {first} to {last} ({shown[first]:.2f} to {shown[last]:.2f} s): {label}"
            for label, (first, last) in zip(labels, bounds, strict=True)
        )
        span = float(found.seconds[-1] - found.seconds[0])
        caption = {
            "headings": [labels[number] for number in found.nearest],
            "times": found.seconds,
            "fps": max(1, (len(found.frames) - 1) / span if span else found.fps),
        }
        frames = partial(frames_of, video, found.frames, self.reading["size"], self.clip["fit"])
        reach = int(max(np.diff(np.unique(window), prepend=window[0]).max() for window in found.windows))
        sampled = Sampled(video, found.frames, self.reading["size"], self.clip["fit"], reach)
        about = self._about(video)
        return ExplainedClip(frames, found.explanations, self.class_names, video.name, windows, caption, sampled, about)

    def _about(self, source: str | PathLike | np.ndarray) -> dict[str, Any]:
        about = {"model": self._where, "calibration": self.calibration and str(self.calibration)}
        if isinstance(source, np.ndarray):
            return {**about, "video": None, "clip": {}}
        return {**about, "video": str(source), "clip": details.plain(self.reading)}

    def _paths(self, source) -> list[Path]:
        """The videos that are meant."""
        if not isinstance(source, str | PathLike):
            return [Path(path) for path in source]
        path = Path(source)
        if not path.is_dir():
            return [path]
        found = sorted(walk.files(path, still.SUFFIXES if self._of_images else SUFFIXES))
        if not found:
            what = "picture" if self._of_images else "video"
            raise FileNotFoundError(f"{path}: no {what} in this folder or below it")
        return found

    def _rows(self, function: Callable[[np.ndarray], np.ndarray], source: Source, batch_size: int) -> np.ndarray:
        """The rows of `function` on all clips, of which it sees so many at once, or all if there are fewer."""
        check_batch_size(batch_size)
        if isinstance(source, tf.data.Dataset):
            batches = _clips_of(source)
        elif isinstance(source, np.ndarray):
            clips = source[None] if source.ndim == len(self.model.inputs[0].shape) - 1 else source
            batch_size, batches = min(batch_size, max(len(clips), 1)), [clips]
        else:
            paths = self._paths(source)
            batch_size = min(batch_size, max(len(paths), 1))
            read = map(self._readable if len(paths) > 1 else self._reader(), paths)
            batches = map(np.stack, iter(lambda: list(islice(read, batch_size)), []))
        rows = []
        for clips in batches:
            self._check_clips(clips)
            if len(clips):
                rows.append(_padded(function, clips, batch_size))
        if not rows:
            raise ValueError("there are no clips. Received: an empty source")
        return np.concatenate(rows)

    def _reader(self, **others: Any) -> Callable[[str | PathLike], np.ndarray]:
        """The function from a video, or of a model of images a picture, to what the model takes of it."""
        return partial(_picture if self._of_images else read_clip, **self.reading | others)

    def _readable(self, path: Path) -> np.ndarray:
        """The clip of one of several videos; `VideoError` says what to do where it cannot be read."""
        try:
            return self._reader()(path)
        except VideoError as error:
            raise VideoError(path, f"{error.reason}; leave it out (`predict(...).skipped` lists all such)") from error

    def _probabilities(self, clips: np.ndarray) -> np.ndarray:
        if self.calibration is not None:
            return self.calibration.probabilities(self._log_probabilities(clips))
        return probabilities(self.model, self._outputs(clips))

    def _log_probabilities(self, clips: np.ndarray) -> np.ndarray:
        return log_probabilities(self.model, self._outputs(clips))

    def _outputs(self, clips: np.ndarray) -> np.ndarray:
        one = devices.of(self.model) is None
        return self.model.predict_on_batch(clips) if one else devices.predict(self.model, clips, len(clips))

    def _check_clips(self, clips: np.ndarray) -> None:
        if len(self.model.inputs) > 1:
            raise ValueError(
                f"{self._where}: takes several inputs, {', '.join(x.name for x in self.model.inputs)}. "
                "`har_tf.explain.gradcam` and the other methods explain such a model"
            )
        wanted = tuple(self.model.input_shape)
        kind = "uint8" if self._scales_pixels else str(self.model.inputs[0].dtype)
        if clips.dtype == np.uint8:
            self.check_pixels()
        if (
            clips.dtype != kind
            or clips.ndim != len(wanted)
            or any(side not in (None, given) for side, given in zip(wanted[1:], clips.shape[1:], strict=False))
        ):
            raise ValueError(f"clips are {kind} of {wanted[1:]}. Received: {clips.dtype} of {clips.shape[1:]}")


def _picture(path: str | PathLike, **how: Any) -> np.ndarray:
    return read_still(path, **how)[0]


def _clips_of(dataset: tf.data.Dataset) -> Iterator[np.ndarray]:
    with errors_as_raised():
        for element in dataset.as_numpy_iterator():
            yield element[0] if isinstance(element, tuple) else element


def _padded(function: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, size: int) -> np.ndarray:
    """The rows of `function(clips)`, always called with `size` clips, so that it is compiled for one size."""
    rows = []
    for i in range(0, len(clips), size):
        part = clips[i : i + size]
        full = part if len(part) == size else np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        rows.append(np.asarray(function(full))[: len(part)])
    return np.concatenate(rows)


__all__ = ["Classifier", "ExplainedClip", "Predictions"]
