"""What a classifier relies on: how often it is still right, and answers otherwise, when its clips are changed.

    found = study(answer, clips, labels, groups, boxes)
    found.effects["reversed"].lost          # accuracy reversed minus untouched, paired, with its interval
    found.verdicts.order                    # Needs.YES, NO or NOT_SHOWN
    found.background.left                   # 0.61: so much of the accuracy is left without the person

Everything is measured on the same clips, so changed clips are compared with untouched ones pair by pair; intervals draw
whole recordings again. A verdict is YES only where a loss is shown, and NO only where a loss of more than `MARGIN` is
ruled out, which takes 73 recordings at least, and the classifier, untouched, is better than chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from har_tf.evaluate import changes, person
from har_tf.evaluate.bootstrap import Bootstrap, Interval, clusters_of, wilson
from har_tf.evaluate.comparison import Verdict
from har_tf.evaluate.corruptions import CORRUPTIONS, STRENGTHS, check, corrupt
from har_tf.evaluate.paired import Difference, Mean, difference, mean_of
from har_tf.progress import progress

TIME = ("one frame", "shuffled", "reversed", "without middle", "half speed", "double speed")
PLACE = ("mirrored", "centre")
PERSON = (
    "background",  # the person is filled in
    "hole elsewhere",  # as much is filled in where the person is not: the control of what a hole does
    "other background",  # the same hole in a clip of another class: the control of what the hole itself tells
    "person on stripes",  # SCUBA
    "person on stripes, one frame",  # SCUFO
    "person elsewhere",  # SCUBA, on the background of a clip of another class
    "person elsewhere, one frame",  # SCUFO
)
CHANGES = TIME + PLACE + PERSON
UNTOUCHED = "untouched"
MARGIN = 0.05  # a loss of accuracy that would matter
LEFT = 0.25  # of a frame that a hole must leave for there to be a background
BLIND = 1e-3  # probabilities that move less than this do not move

Clips = np.ndarray | Callable[[np.ndarray], np.ndarray]
AtSpeed = Callable[[int, float], np.ndarray | None]


class Needs(StrEnum):
    """Whether a classifier needs what a change takes away."""

    YES = "yes"
    NO = "no"
    NOT_SHOWN = "not shown"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        changes: some of `CHANGES`.
        corruptions: some of `CORRUPTIONS`.
        strengths: of the corruptions, 1 to 5.
        draws: orders that "shuffled" draws for each clip.
        fill: how the person is filled in, see `har_tf.evaluate.person.filled`.
        seed: of all that is drawn.
    """

    changes: tuple[str, ...] = CHANGES
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    strengths: tuple[int, ...] = STRENGTHS
    draws: int = 3
    fill: str = "blur"
    seed: int = 0

    def __post_init__(self):
        if not set(self.changes) <= set(CHANGES):
            unknown = next(name for name in self.changes if name not in CHANGES)
            raise ValueError(f"changes are {', '.join(CHANGES)}. Received: {unknown!r}")
        for of in (self.changes, self.corruptions, self.strengths):
            if len(set(of)) < len(of):
                raise ValueError(f"each is measured once. Received: {', '.join(map(str, of))}")
        for name in self.corruptions:
            for strength in self.strengths:
                check(name, strength)
        if 0 in self.strengths or (self.corruptions and not self.strengths):
            raise ValueError(f"strengths are some of 1 to 5. Received: {self.strengths}")
        if self.draws < 1 or self.fill not in person.FILLS:
            raise ValueError(
                f"draws is at least 1, fill one of {', '.join(person.FILLS)}. Received: {self.draws}, {self.fill!r}"
            )

    @property
    def corrupted(self) -> tuple[tuple[str, int], ...]:
        """(corruption, strength) of all that is asked for."""
        return tuple((name, strength) for name in self.corruptions for strength in self.strengths)

    @property
    def passes(self) -> int:
        """How often each clip with a box is answered, once untouched."""
        return 1 + len(self.changes) + ("shuffled" in self.changes) * (self.draws - 1) + len(self.corrupted)


def key_of(corruption: str, strength: int) -> str:
    """What a corruption at a strength is called among effects: "noise 3"."""
    return f"{corruption} {strength}"


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered on changed clips.

    Args:
        rows: int (n,), which of the clips.
        classes: int (D, n), the answers of each draw; one draw of all but "shuffled".
        probability: float32 (D, n), of the true class.
        moved: float32 (D, n), how far the probability of any class moved at most.
        same: bool (n,), clips that the change left as they were.
    """

    rows: np.ndarray
    classes: np.ndarray
    probability: np.ndarray
    moved: np.ndarray
    same: np.ndarray

    def only(self, places: np.ndarray) -> Answers:
        """Those of some clips, int (M,), which are then counted from 0."""
        number = np.full(max(self.rows.max(initial=-1), places.max(initial=-1)) + 1, -1)
        number[places] = np.arange(len(places))
        kept = number[self.rows] >= 0
        return Answers(
            number[self.rows[kept]], self.classes[:, kept], self.probability[:, kept], self.moved[:, kept],
            self.same[kept],
        )  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """A change beside the untouched clips.

    Args:
        accuracy: of the changed clips, the mean over draws.
        untouched: accuracy of the same clips untouched.
        lost: accuracy changed minus untouched, negative where the change costs: WORSE where it is shown.
        changed: share of the answers that are not those of the untouched clip.
        left: share of the accuracy that is left, accuracy / untouched, and its interval; None where nothing was right.
        left_interval: None also with fewer than two recordings.
        probability: of the true class, changed minus untouched.
        moved: how far a probability moved at most.
        same: clips that the change left as they were.
        needs: whether the classifier needs what the change takes away.
    """

    accuracy: Mean
    untouched: Mean
    lost: Difference
    changed: Mean
    left: float | None
    left_interval: Interval
    probability: Mean
    moved: float
    same: int
    needs: Needs


@dataclass(frozen=True)
class Background:
    """What is left where the person is filled in.

    Args:
        accuracy: without the person.
        untouched: with, of the same clips.
        left: share of the accuracy that is left without the person; None where nothing was right.
        left_interval: of it.
        chance: share of the clips that are of the most frequent class: right without looking.
        hole_elsewhere: accuracy where as much is filled in elsewhere; None: not measured.
        person_lost: accuracy without the person minus `hole_elsewhere`: WORSE where the person matters more than
            as many other pixels.
        other: accuracy with the same hole in a clip of another class and recording: what the hole itself tells.
        own: accuracy without the person minus `other`: BETTER where the background tells the class.
        reads: YES where `own` is BETTER; NO where that it is more than `MARGIN` is ruled out.
        clips: with a box whose hole leaves a background, at least the share `LEFT` of the frame.
        covered: with a box whose hole does not; they do not count here.
        hole: mean share of the frame that is filled in.
        overlap: mean share of the hole elsewhere that still hides what the person's hole hides.
    """

    accuracy: Mean
    untouched: Mean
    left: float | None
    left_interval: Interval
    chance: float
    hole_elsewhere: Mean | None
    person_lost: Difference | None
    other: Mean | None
    own: Difference | None
    reads: Needs
    clips: int
    covered: int
    hole: float
    overlap: float


@dataclass(frozen=True)
class Robustness:
    """One corruption, or all of them, the mean over strengths.

    Args:
        accuracy: mean over strengths.
        lost: that minus the untouched accuracy.
        left: share of the accuracy that is left; None where nothing was right.
        by_strength: accuracy at each strength.
        needs: YES where a loss is shown, NO where one of more than `MARGIN` is ruled out.
    """

    accuracy: Mean
    lost: Difference
    left: float | None
    by_strength: tuple[float, ...]
    needs: Needs


@dataclass(frozen=True)
class Verdicts:
    """What the sentences at the top say.

    Args:
        order: needs the order of frames: YES where shuffling or playing backwards costs accuracy, each tested at half
            the error of an interval as there are two; NO where neither moves a probability, or both losses of more
            than `MARGIN` are ruled out.
        order_blind: whether neither moves a probability by more than `BLIND`; None: not measured.
        direction: needs the direction of time: what playing backwards costs.
        several_frames: needs more than one frame repeated.
        motion: as `several_frames`, but YES only where `order` is too: more pictures of an action tell more without any
            motion. NO of a classifier that is blind to order, for which frames are a heap.
        middle: needs the middle half of the clip.
        half_speed, double_speed: needs the speed that it is.
        sides: needs left and right as they are.
        surroundings: needs what is around the centre.
        background: reads the background, see `Background.reads`.
        robust: NO where corruptions cost accuracy, the mean over all; YES where more than `MARGIN` is ruled out.
        worst: the corruptions whose loss is shown, the worst first.
    """

    order: Needs
    order_blind: bool | None
    direction: Needs
    several_frames: Needs
    motion: Needs
    middle: Needs
    half_speed: Needs
    double_speed: Needs
    sides: Needs
    surroundings: Needs
    background: Needs
    robust: Needs
    worst: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reliance:
    """What `study` found, per clip; the numbers follow from it.

    Args:
        plan: what was measured.
        labels: int (N,).
        groups: the recording of each clip; None: it stands alone.
        untouched: answers on the clips as they are, of all N.
        answers: change, or `key_of` a corruption and strength -> answers; of a change that could not be made, as no
            clip has a box, none.
        hole: float (N,), share of the frame that the person's hole takes; NaN without a box.
        overlap: float (N,), share of the hole elsewhere that hides the same.
        from_video: clips whose other speeds were read from their video; of the others frames of the clip come again.
        chance: share of the clips of the study that are of its most frequent class: right without looking.
        bootstrap: how intervals are made.
    """

    plan: Plan
    labels: np.ndarray
    groups: tuple[str | None, ...]
    untouched: Answers
    answers: Mapping[str, Answers]
    hole: np.ndarray
    overlap: np.ndarray
    from_video: np.ndarray
    chance: float
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def only(self, places) -> Reliance:
        """The same of some clips, such as those of one class: int (M,)."""
        places = np.asarray(places, int)
        return replace(
            self,
            labels=self.labels[places],
            groups=tuple(self.groups[i] for i in places),
            untouched=self.untouched.only(places),
            answers={name: found.only(places) for name, found in self.answers.items()},
            hole=self.hole[places],
            overlap=self.overlap[places],
            from_video=self.from_video[places],
        )

    @cached_property
    def accuracy(self) -> Mean:
        """Of the untouched clips."""
        return mean_of(self._right(self.untouched), self.groups, self.bootstrap)

    @cached_property
    def effects(self) -> dict[str, Effect]:
        """Every change and every corruption at every strength beside the untouched clips."""
        return {name: self._effect(found, self.bootstrap) for name, found in self.answers.items() if len(found.rows)}

    @cached_property
    def background(self) -> Background | None:
        """What is left without the person; None where it was not measured, or no clip has a box."""
        effect = self.effects.get("background")
        if effect is None:
            return None
        rows = self.answers["background"].rows
        own = self._column("background")

        def beside(name):
            if name not in self.effects:
                return None, None
            found = self._column(name)
            beaten = difference(own, found, self.groups, False, self.bootstrap)
            return mean_of(found, self.groups, self.bootstrap), beaten

        hole, lost = beside("hole elsewhere")
        other, told = beside("other background")
        reads = Needs.NOT_MEASURED
        if told is not None and told.clips:
            # What the background adds is what would be lost without it.
            loss = None if told.interval is None else (-told.interval[1], -told.interval[0])
            reads = self._verdict(loss, told.verdict == Verdict.BETTER, told.groups, effect.untouched)
        return Background(
            effect.accuracy, effect.untouched, effect.left, effect.left_interval, _commonest(self.labels[rows]), hole,
            lost, other, told, reads, len(rows),
            int((~np.isnan(self.hole)).sum()) - len(rows), float(self.hole[rows].mean()),
            float(self.overlap[rows].mean()),
        )  # fmt: skip

    @cached_property
    def contrasted(self) -> dict[str, Mean]:
        """Background of SCUBA -> share of clips that are right with the person moving, and wrong with one frame of it.

        What is right both times need not be known by its motion (the paper's contrasted accuracy).
        """
        found = {}
        for name in ("person on stripes", "person elsewhere"):
            still = f"{name}, one frame"
            if name in self.effects and still in self.effects:
                only_moving = (self._column(name) - self._column(still)).clip(0)  # NaN where it was not measured
                found[name] = mean_of(only_moving, self.groups, self.bootstrap)
        return found

    @cached_property
    def robustness(self) -> dict[str, Robustness]:
        """Corruption -> the mean over its strengths; "all" is the mean over all of them."""
        found = {name: self._robustness([name]) for name in self.plan.corruptions}
        return found | ({"all": self._robustness(self.plan.corruptions)} if found else {})

    @cached_property
    def verdicts(self) -> Verdicts:
        """See `Verdicts`."""
        orders = [self.answers[name] for name in ("shuffled", "reversed") if name in self.answers]
        orders = [found for found in orders if not found.same.all()]
        blind, order = None, Needs.NOT_MEASURED
        if len(orders) == 2:
            blind = bool(max(found.moved.max() for found in orders) <= BLIND)
            half = replace(self.bootstrap, level=(1 + self.bootstrap.level) / 2)
            both = [self._effect(found, half).needs for found in orders]
            order = Needs.YES if Needs.YES in both else Needs.NOT_SHOWN
            order = Needs.NO if blind or set(both) == {Needs.NO} else order
        several, all_corruptions = self._of("one frame"), self.robustness.get("all")
        motion = Needs.NOT_SHOWN if several == Needs.YES != order else several
        robust = Needs.NOT_MEASURED if all_corruptions is None else all_corruptions.needs
        shown = [name for name in self.plan.corruptions if self.robustness[name].needs == Needs.YES]
        return Verdicts(
            order=order,
            order_blind=blind,
            direction=Needs.NO if blind else self._of("reversed"),
            several_frames=several,
            motion=Needs.NO if blind else motion,
            middle=self._of("without middle"),
            half_speed=self._of("half speed"),
            double_speed=self._of("double speed"),
            sides=self._of("mirrored"),
            surroundings=self._of("centre"),
            background=Needs.NOT_MEASURED if self.background is None else self.background.reads,
            robust={Needs.YES: Needs.NO, Needs.NO: Needs.YES}.get(robust, robust),
            worst=tuple(sorted(shown, key=lambda name: self.robustness[name].lost.mean)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values for `results.json`, with the answers on every clip."""
        kept = {UNTOUCHED: self.untouched} | dict(self.answers)
        return _plain(
            {
                "plan": asdict(self.plan),
                "clips": len(self.labels),
                "accuracy": asdict(self.accuracy),
                "chance": self.chance,
                "margin": MARGIN,
                "from_video": int(self.from_video.sum()),
                "verdicts": asdict(self.verdicts),
                "effects": {name: asdict(effect) for name, effect in self.effects.items()},
                "background": self.background and asdict(self.background),
                "contrasted": {name: asdict(share) for name, share in self.contrasted.items()},
                "robustness": {name: asdict(found) for name, found in self.robustness.items()},
                "labels": self.labels,
                "groups": self.groups,
                "answers": {
                    name: {
                        "rows": found.rows,
                        "classes": found.classes,
                        "probability": np.round(found.probability.astype(float), 4),
                    }
                    for name, found in kept.items()
                },
            }
        )

    def _of(self, name: str) -> Needs:
        effect = self.effects.get(name)
        return Needs.NOT_MEASURED if effect is None else effect.needs

    def _needs(self, lost: Difference, untouched: Mean) -> Needs:
        return self._verdict(lost.interval, lost.verdict == Verdict.WORSE, lost.groups, untouched)

    def _verdict(self, interval: Interval, shown: bool, recordings: int, untouched: Mean) -> Needs:
        """YES where a loss, which is negative, is shown; NO where one of more than `MARGIN` is ruled out.

        Who is no better than chance has nothing to lose. And an interval of recordings that all agree is a point,
        which few recordings, however many clips were cut from them, do not warrant.
        """
        if shown:
            return Needs.YES
        if interval is None or interval[0] < -MARGIN or wilson(0, recordings)[1] > MARGIN:
            return Needs.NOT_SHOWN
        return Needs.NO if untouched.interval[0] > self.chance else Needs.NOT_SHOWN

    def _right(self, found: Answers) -> np.ndarray:
        """float (n,): the share of draws in which each clip is answered right."""
        return (found.classes == self.labels[found.rows]).mean(axis=0)

    def _column(self, name: str) -> np.ndarray:
        """float (N,): the same of all clips, NaN where it was not measured."""
        column = np.full(len(self.labels), np.nan)
        column[self.answers[name].rows] = self._right(self.answers[name])
        return column

    def _effect(self, found: Answers, bootstrap: Bootstrap) -> Effect:
        groups = [self.groups[i] for i in found.rows]
        right, before = self._right(found), self._right(self.untouched)[found.rows]
        lost = difference(right, before, groups, False, bootstrap)
        answered = self.untouched.classes[0, found.rows]
        left, left_interval = _ratio(right, before, groups, bootstrap)
        probability = found.probability.mean(axis=0) - self.untouched.probability[0, found.rows]
        untouched = self.accuracy if len(right) == len(self.labels) else mean_of(before, groups, self.bootstrap)
        return Effect(
            mean_of(right, groups, bootstrap),
            untouched,
            lost,
            mean_of((found.classes != answered).mean(axis=0), groups, bootstrap),
            left,
            left_interval,
            mean_of(probability, groups, bootstrap),
            float(found.moved.max()),
            int(found.same.sum()),
            Needs.NOT_MEASURED if found.same.all() else self._needs(lost, untouched),
        )

    def _robustness(self, names: Sequence[str]) -> Robustness:
        keys = [[key_of(name, strength) for strength in self.plan.strengths] for name in names]
        columns = np.array([[self._right(self.answers[key]) for key in row] for row in keys])  # (names, strengths, N)
        right, before = columns.mean(axis=(0, 1)), self._right(self.untouched)
        lost = difference(right, before, self.groups, False, self.bootstrap)
        left, _ = _ratio(right, before, self.groups, self.bootstrap)
        by_strength = tuple(columns.mean(axis=(0, 2)).tolist())
        return Robustness(
            mean_of(right, self.groups, self.bootstrap), lost, left, by_strength, self._needs(lost, self.accuracy)
        )


def study(
    answer: Callable[[np.ndarray], np.ndarray],
    clips: Clips,
    labels,
    groups: Sequence[str | None] | None = None,
    boxes: Sequence[Mapping[int, np.ndarray] | None] | None = None,
    plan: Plan | None = None,
    *,
    masks: Clips | None = None,
    at_speed: AtSpeed | None = None,
    batch_size: int = 16,
    bootstrap: Bootstrap | None = None,
) -> Reliance:
    """Answers every clip untouched and under every change.

    Args:
        answer: uint8 (batch_size, T, H, W, 3) -> (batch_size, C) probabilities; it is always given as many clips.
        clips: uint8 (N, T, H, W, 3), or a function from rows int (n,) to those clips, which is given `batch_size` rows
            at most: so much is in memory at once.
        labels: int (N,), the true classes.
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        boxes: of each clip position -> (K, 4) boxes of what acts, in pixels of the clip: persons, and the objects that
            they handle, which would tell the action as well; empty or None where there are none.
        plan: what is measured; None: everything.
        masks: in place of boxes, where they are known: bool (N, T, H, W), or a function of rows; a clip without any
            True counts as one without boxes.
        at_speed: (row, speed) -> the clip at that speed, read from its video (see `changes.read_at_speed`), or None
            where there is none; None: frames of the clip come again.
        batch_size: clips that are answered at once.
        bootstrap: how intervals are made; None: `Bootstrap()`.

    Raises:
        ValueError: no clips, or labels, groups, boxes or answers that do not fit them.
    """
    labels, plan = np.asarray(labels), plan or Plan()
    count = len(labels)
    if labels.ndim != 1 or not count or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are one whole number a clip. Received: {labels.dtype} of shape {labels.shape}")
    for name, given in {"clips": clips, "groups": groups, "boxes": boxes, "masks": masks}.items():
        if given is not None and not callable(given) and len(given) != count:
            raise ValueError(f"{name} are as many as labels, {count}. Received: {len(given)}")
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1. Received: {batch_size}")
    groups = tuple(groups) if groups is not None else (None,) * count
    found: dict[tuple[str, int], list] = {}
    hole, overlap, from_video = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, bool)

    with (
        progress("what the model relies on", count * plan.passes, "clips") as advance,
        ThreadPoolExecutor() as threads,  # OpenCV, NumPy and FFmpeg work side by side
    ):
        scene = _Scene(clips, labels, groups, boxes, masks, plan, at_speed, threads)
        for start in range(0, count, batch_size):
            batch = _Batch(scene, np.arange(start, min(start + batch_size, count)))
            before = None
            for name, draw, places, clips_now in batch.all():
                now = _answered(answer, clips_now, batch_size)
                before = now if before is None else before
                rows, true = batch.rows[places], labels[batch.rows[places]]
                if not 0 <= true.min() <= true.max() < now.shape[1]:
                    raise ValueError(
                        f"labels are 0 to {now.shape[1] - 1}, as the answers. Received: {true.min()} to {true.max()}"
                    )
                same = np.array([np.array_equal(*pair) for pair in zip(clips_now, batch.clips[places], strict=True)])
                moved = np.abs(now - before[places]).max(axis=1)
                seen = rows, now.argmax(axis=1), now[np.arange(len(rows)), true], moved, same
                found.setdefault((name, draw), []).append(seen)
                advance(len(rows))
            hole[batch.rows], overlap[batch.rows], from_video[batch.rows] = batch.hole, batch.overlap, batch.from_video
    columns = {key: [np.concatenate(column) for column in zip(*parts, strict=True)] for key, parts in found.items()}
    gathered = {}
    for name in dict.fromkeys(name for name, _ in columns):
        draws = [column for (of, _), column in columns.items() if of == name]
        rows, *rest = zip(*draws, strict=True)
        classes, probability, moved, same = map(np.stack, rest)
        gathered[name] = Answers(rows[0], classes, probability, moved, same.all(axis=0))
    untouched = gathered.pop(UNTOUCHED)
    return Reliance(
        plan,
        labels,
        groups,
        untouched,
        gathered,
        hole,
        overlap,
        from_video,
        _commonest(labels),
        bootstrap or Bootstrap(),
    )


class _Scene:
    """Everything that changes are made of."""

    def __init__(self, clips, labels, groups, boxes, masks, plan, at_speed, threads):
        self.clips, self.labels, self.groups, self.boxes, self.masks = clips, labels, groups, boxes, masks
        self.plan, self.at_speed, self.threads = plan, at_speed, threads
        # With masks who has one is known when they are read; a donor without any is a background as it is.
        self.boxed = np.array([bool(found) and any(map(len, found.values())) for found in boxes or ()], bool)
        self.people = np.flatnonzero(self.boxed) if masks is None else np.arange(len(labels))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (n, T, H, W, 3)."""
        clips = np.asarray(self.clips(rows) if callable(self.clips) else self.clips[rows])
        if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or len(clips) != len(rows):
            raise ValueError(
                f"clips are uint8 ({len(rows)}, T, H, W, 3) of {len(rows)} rows. Received: {clips.dtype} {clips.shape}"
            )
        return clips

    def people_of(self, rows: np.ndarray, shape: tuple[int, int, int]) -> list[np.ndarray | None]:
        """bool (T, H, W) of each row; None where nobody is annotated."""
        if self.masks is not None:
            masks = np.asarray(self.masks(rows) if callable(self.masks) else self.masks[rows], bool)
            if masks.shape != (len(rows), *shape):
                raise ValueError(f"masks are {(len(rows), *shape)} of such clips. Received: {masks.shape}")
            return [mask if mask.any() else None for mask in masks]
        return [person.masks_of(self.boxes[i], shape) if len(self.boxed) and self.boxed[i] else None for i in rows]

    def rng(self, row: int, name: str) -> np.random.Generator:
        """Draws for a clip the same, in whichever batch it comes."""
        return np.random.default_rng([self.plan.seed, int(row), zlib.crc32(name.encode())])

    def donor(self, row: int) -> int | None:
        """A clip of another class and recording whose background is lent; None: there is none."""
        label, group = self.labels[row], self.groups[row]
        others = self.people[self.labels[self.people] != label]
        if group is not None:
            others = others[[self.groups[i] != group for i in others]]
        return int(self.rng(row, "donor").choice(others)) if len(others) else None


class _Batch:
    """Some clips, read once, and all that is made of them."""

    def __init__(self, scene: _Scene, rows: np.ndarray):
        self.scene, self.rows, self.plan = scene, rows, scene.plan
        self.clips = scene.read(rows)
        self.hole, self.overlap = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        self.from_video = np.zeros(len(rows), bool)

    def all(self) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
        """(name, draw, places in the batch int (n,), clips (n, T, H, W, 3)), untouched and of every change."""
        asked, every = self.plan.changes, np.arange(len(self.rows))
        yield UNTOUCHED, 0, every, self.clips
        for name in (name for name in asked if name in TIME):
            for draw in range(self.plan.draws if name == "shuffled" else 1):
                yield name, draw, every, np.stack([self._in_time(place, name, draw) for place in every])
        if "mirrored" in asked:
            yield "mirrored", 0, every, np.stack([changes.mirrored(clip) for clip in self.clips])
        if "centre" in asked:
            yield "centre", 0, every, np.stack([changes.centre(clip) for clip in self.clips])
        for name, strength in self.plan.corrupted:
            seeds = [(self.plan.seed, int(row)) for row in self.rows]
            clips = self.scene.threads.map(corrupt, self.clips, repeat(name), repeat(strength), seeds)
            yield key_of(name, strength), 0, every, np.stack(list(clips))
        yield from self._of_persons([name for name in asked if name in PERSON])

    def _in_time(self, place: int, name: str, draw: int) -> np.ndarray:
        clip, row = self.clips[place], int(self.rows[place])
        frames = len(clip)
        if name in ("half speed", "double speed"):
            speed = 0.5 if name == "half speed" else 2
            read = None if self.scene.at_speed is None else self.scene.at_speed(row, speed)
            if read is not None:
                self.from_video[place] = True
                return read
            return clip[changes.at_speed(np.arange(frames), frames, speed)]
        order = {
            "one frame": changes.one_frame,
            "shuffled": lambda frames: changes.shuffled(frames, self.scene.rng(row, f"shuffled {draw}")),
            "reversed": changes.backwards,
            "without middle": changes.without_middle,
        }[name](frames)
        return clip[order]

    def _of_persons(self, asked: Sequence[str]) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
        if not asked:
            return
        shape = self.clips.shape[1:4]
        people = self.scene.people_of(self.rows, shape)
        boxed = np.array([i for i, mask in enumerate(people) if mask is not None], int)
        if not len(boxed):
            return
        clips, people = self.clips[boxed], [people[i] for i in boxed]
        holes = [person.hole_of(mask) for mask in people]
        moved = [person.elsewhere(hole) for hole in holes]
        self.hole[boxed] = [hole.mean() for hole in holes]
        self.overlap[boxed] = [(a & b).sum() / a.sum() for a, b in zip(holes, moved, strict=True)]
        fill = self.plan.fill

        rest = np.flatnonzero(self.hole[boxed] <= 1 - LEFT)
        for name, hidden in (("background", holes), ("hole elsewhere", moved)):
            if name in asked and len(rest):
                yield name, 0, boxed[rest], _all(person.filled, clips[rest], [hidden[i] for i in rest], fill)
        if {"person on stripes", "person on stripes, one frame"} & set(asked):
            rows = self.rows[boxed]
            striped = [person.stripes(shape[1:], self.scene.rng(row, "stripes")) for row in rows]
            yield from _in_front(asked, "person on stripes", boxed, clips, people, striped)
        if {"other background", "person elsewhere", "person elsewhere, one frame"} & set(asked):
            donors = [self.scene.donor(row) for row in self.rows[boxed]]
            lent = np.array([i for i, donor in enumerate(donors) if donor is not None], int)
            if not len(lent):
                return
            rows = np.array([donors[i] for i in lent])
            others = self.scene.read(rows)
            their = self.scene.people_of(rows, shape)
            their = [np.zeros(shape[1:], bool) if mask is None else person.hole_of(mask) for mask in their]
            if "other background" in asked:
                both = [hole | holes[i] for hole, i in zip(their, lent, strict=True)]
                yield "other background", 0, boxed[lent], _all(person.filled, others, both, fill)
            middle = shape[0] // 2
            scenes = _all(person.filled, others[:, middle : middle + 1], their, fill)[:, 0]
            yield from _in_front(asked, "person elsewhere", boxed[lent], clips[lent], [people[i] for i in lent], scenes)


def _all(function, clips, holes, fill) -> np.ndarray:
    return np.stack([function(clip, hole, fill) for clip, hole in zip(clips, holes, strict=True)])


def _in_front(asked, name, places, clips, people, backgrounds) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """The persons in front of pictures, and one frame of that repeated."""
    pasted = np.stack([person.on_background(*parts) for parts in zip(clips, people, backgrounds, strict=True)])
    if name in asked:
        yield name, 0, places, pasted
    if f"{name}, one frame" in asked:
        yield f"{name}, one frame", 0, places, pasted[:, changes.one_frame(pasted.shape[1])]


def _answered(answer, clips: np.ndarray, batch_size: int) -> np.ndarray:
    """float32 (n, C) of n clips, which are filled up to a batch."""
    lacking = batch_size - len(clips)
    full = np.concatenate([clips, np.repeat(clips[-1:], lacking, axis=0)]) if lacking else clips
    found = np.asarray(answer(np.ascontiguousarray(full)), np.float32)
    if found.ndim != 2 or len(found) != batch_size or not np.isfinite(found).all():
        raise ValueError(
            f"answer gives finite probabilities ({batch_size}, classes). Received: shape {found.shape}"
            + ("" if np.isfinite(found).all() else ", some not finite")
        )
    return found[: len(clips)]


def _ratio(right, before, groups, bootstrap: Bootstrap) -> tuple[float | None, Interval]:
    """Accuracy over accuracy untouched, and the interval of it."""
    if not before.any():
        return None, None
    clusters = clusters_of(groups, len(right))
    means = bootstrap.means(np.stack([right, before], axis=1), np.ones(len(right)), clusters)
    there = means[:, 1] > 0  # a resample may hold no clip that was right
    (interval,) = bootstrap.intervals(means[there, :1] / means[there, 1:], clusters)
    return float(right.mean() / before.mean()), interval


def _commonest(labels: np.ndarray) -> float:
    return float(np.bincount(labels).max() / len(labels))


def _plain(value):
    """Arrays and tuples as lists, enums as text."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, StrEnum) else value
