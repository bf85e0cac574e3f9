"""What the training and the test part share: the same files, and clips that show the same.

A model that has seen a test clip in training is not tested on it. `identical` clips have the same bytes;
`near-identical` ones look the same frame after frame, up to encoding, scale, brightness, mirroring and where they are
cut, see `frame_hashes`. Clips of one source with a camera that stands still are near-identical by that measure even if
no frame is in both: such pairs say that they are of the same source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from har_tf.audit import manifest
from har_tf.audit.check import Task, inspect
from har_tf.audit.hashes import THRESHOLD, near_identical
from har_tf.audit.manifest import Manifest, Row
from har_tf.datasets import splits
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord, relative
from har_tf.datasets.splits import OverlapReport
from har_tf.names import shown

SHOWN = 20  # pairs that the summary names


@dataclass(frozen=True)
class Pair:
    """Two files that show the same and are not the same.

    Args:
        first: path of the one, as in the manifest; that of the training part where the parts differ.
        second: path of the other.
        distance: median share of differing bits of their frames, 0 to `THRESHOLD`.
        offset: seconds of the first at which the second begins; negative where it begins earlier.
        mirrored: whether one shows the other's mirror image.
        same_source: whether they are cut from the same source, by the groups of the manifest.
        across: whether they are in different parts of the split.
    """

    first: str
    second: str
    distance: float
    offset: float
    mirrored: bool
    same_source: bool
    across: bool

    def __str__(self) -> str:
        remarks = [f"{self.distance:.3f}  {self.first} ~ {self.second}"]
        remarks += ["mirrored"] if self.mirrored else []
        remarks += [f"begins at {self.offset:.2f} s"] if self.offset else []
        remarks += ["same source"] if self.same_source else []
        return ", ".join(remarks)


def pairs(found: Manifest, threshold: float = THRESHOLD) -> tuple[Pair, ...]:
    """The near-identical files of a collection, nearest first; those of the same content are in `duplicates`.

    Raises:
        DatasetError: the manifest has no hashes of frames.
    """
    rows = hashed(found.rows)
    result = []
    for match in near_identical([row.frame_hashes for row in rows], threshold=threshold):
        one, two = rows[match.first], rows[match.second]
        if one.sha256 == two.sha256:
            continue
        offset = match.offset
        if _order(one) > _order(two):
            one, two, offset = two, one, -offset
        across = bool(one.part and two.part and one.part != two.part)
        same = one.group != "" and one.group == two.group
        result.append(Pair(one.path, two.path, match.distance, offset, match.mirrored, same, across))
    return tuple(result)


def summary(found: Manifest, near: Sequence[Pair]) -> str:
    """What `pairs` found, for a person: where there is a split, what is across it."""
    across = [pair for pair in near if pair.across]
    if len({row.part for row in found.rows if row.part}) > 1:
        inner = [pair for pair in near if not pair.across]
        lines = [f"near-identical across the split: {_pairs(across)}", *_listed(across)]
        lines.append(f"near-identical otherwise: {_pairs(inner)}")
    else:
        lines = [f"near-identical: {_pairs(near)}", *_listed(near)]
    return "\n".join(map(shown, lines))


def _pairs(near: Sequence[Pair]) -> str:
    siblings = sum(pair.same_source for pair in near)
    return f"{len(near)} pairs, {siblings} of them of the same source" if near else "none"


def _listed(near: Sequence[Pair]) -> list[str]:
    """The pairs that no group explains come first."""
    ordered = sorted(near, key=lambda pair: (pair.same_source, pair.distance))
    more = [f"  and {len(near) - SHOWN} more (--json prints all)"] if len(near) > SHOWN else []
    return [f"  {pair}" for pair in ordered[:SHOWN]] + more


def hashed(rows: Iterable[Row]) -> list[Row]:
    """The sound rows.

    Raises:
        DatasetError: one has no hashes of frames.
    """
    sound = [row for row in rows if not row.problem]
    without = [row.path for row in sound if not row.frame_hashes]
    if without:
        raise DatasetError(
            f"the manifest has no frame hashes of {len(without)} of {len(sound)} videos, first {without[0]}. "
            f"`python -m har_tf check DIR --out MANIFEST --audit` adds them"
        )
    return sound


def overlap_report(
    dataset: ActionDataset,
    protocol: str = "random",
    seed: int = 0,
    test_fraction: float = 0.2,
    manifest: Manifest | None = None,
    workers: int | None = None,
) -> OverlapReport:
    """What the test part of a split shares with the training part: sources, files, and clips that show the same.

    Args:
        dataset: what is split.
        protocol: see `ActionDataset.split`, as for `seed` and `test_fraction`.
        manifest: see `overlap`, as for `workers` and the errors.
    """
    return overlap(*dataset.split(protocol, seed, test_fraction), manifest, workers)


def overlap(
    train: ActionDataset, test: ActionDataset, found: Manifest | None = None, workers: int | None = None
) -> OverlapReport:
    """`splits.overlap` with the identical and the near-identical clips in training and test.

    Videos, not segments, are compared.

    Args:
        train: the training part.
        test: the test part.
        found: a manifest of all files, made with hashes; None: they are read, which takes two decodes of each.
        workers: number of processes for that, see `check.check`.

    Raises:
        DatasetError: the manifest is one of other files, or has no hashes.
    """
    names = {record.path: relative(record.path, train.root) for record in (*train.records, *test.records)}
    rows = _rows(list(dict.fromkeys((*train.records, *test.records))), found, workers)
    unread = sum(row.problem != "" for row in rows.values())
    known, asked = [_sound(part, rows) for part in (train, test)]
    by_content: dict[str, list[Path]] = {}
    for path in known:
        by_content.setdefault(rows[path].sha256, []).append(path)
    identical = [
        (names[path], names[other], 0.0)
        for path in asked
        for other in by_content.get(rows[path].sha256, ())
        if other != path
    ]
    near = []
    for match in near_identical([rows[p].frame_hashes for p in asked], [rows[p].frame_hashes for p in known]):
        path, other = asked[match.first], known[match.second]
        if rows[path].sha256 != rows[other].sha256:
            near.append((names[path], names[other], match.distance))
    groups = {names[record.path]: record.group for record in (*train.records, *test.records)}
    strangers = {a for a, b, _ in near if groups[a] is None or groups[a] != groups[b]}
    return replace(
        splits.overlap(train, test),
        identical=tuple(identical),
        near_identical=tuple(near),
        near_of_other_groups=len(strangers),
        unread=unread,
    )


def inspected(records: Iterable[VideoRecord], workers: int | None = None, root: Path | None = None) -> Manifest:
    """The manifest of these videos, by their paths below `root`, with hashes of frames; takes two decodes of each."""
    names = {r.path: manifest.name_of(r.path if root is None else relative(r.path, root)) for r in records}
    return Manifest(tuple(inspect([Task(str(path), name, hashes=True) for path, name in names.items()], workers)))


def _rows(records: Sequence[VideoRecord], found: Manifest | None, workers: int | None) -> dict[Path, Row]:
    records = list({record.path: record for record in records}.values())
    found = inspected(records, workers) if found is None else found
    rows = found.rows_of(records)
    hashed(rows)
    return {record.path: row for record, row in zip(records, rows, strict=True)}


def _sound(part: ActionDataset, rows: dict[Path, Row]) -> list[Path]:
    return [path for path in dict.fromkeys(record.path for record in part.records) if not rows[path].problem]


def _order(row: Row) -> tuple[bool, str]:
    return row.part == "test", row.path
