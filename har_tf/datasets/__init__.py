"""Data sets of actions: what lies on disk, as records; splits; preparation for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from har_tf.datasets.prepare import prepare
from har_tf.datasets.prepared import PreparedDataset, Skipped
from har_tf.datasets.records import ActionDataset, DatasetError, VideoRecord
from har_tf.datasets.splits import OverlapReport

__all__ = [
    "ActionDataset",
    "DatasetError",
    "OverlapReport",
    "PreparedDataset",
    "Skipped",
    "VideoRecord",
    "load",
    "prepare",
]


def load(
    name_or_dir: str | Path,
    root: str | Path | None = None,
    split: int = 1,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    **options,
) -> ActionDataset:
    """Loads a data set by its name, or any folder of class folders of videos.

    Args:
        name_or_dir: "figures" (the embedded data set), "ucf101", "tfds:<name>" (TensorFlow Datasets), or a
            folder. A folder that is called like a data set is given as a `Path` or as "./ucf101".
        root: where the named data set lies: folder of UCF101, TFDS's data_dir, where figures are drawn.
        split: number of the official split, where there are several.
        classes: keep these classes, labelled in this order.
        lists: folder of the official train/test lists, for "ucf101" and for folders that hold (part of) it.
        **options: passed on to the loader of a named data set, such as the number of clips of "figures".

    Raises:
        DatasetError: unknown name, missing or empty folder, class without a video, wrong lists.

    Example:
        >>> dataset = load("UCF-101", classes=["Archery", "Surfing"])
        >>> train, test = dataset.split("group", seed=0)
    """
    from har_tf.datasets import folder, ucf101

    name = name_or_dir if isinstance(name_or_dir, str) else ""
    if name == "ucf101":
        return ucf101.load(root, split=split, classes=classes, lists=lists, **options)
    if name == "figures" or name.startswith("tfds:"):
        if lists is not None:
            raise DatasetError(f"{name} brings its own split. Received: lists={lists}")
        if name == "figures":
            from har_tf.datasets import figures

            dataset = figures.load(root, **options)
        else:
            from har_tf.datasets import from_tfds

            dataset = from_tfds.load(name.removeprefix("tfds:"), root, **options)
        return dataset if classes is None else dataset.only(classes)
    if root is not None:
        raise DatasetError(f"root is for named data sets, not for a folder. Received: {name_or_dir}, {root=}")
    if name and not Path(name).exists():
        raise DatasetError(f"{name}: no such folder, and no data set of this name (figures, ucf101, tfds:<name>)")
    if options:
        raise TypeError(f"a folder has no options {', '.join(options)}")
    dataset = folder.load(name_or_dir, classes)
    if lists is not None:
        return ucf101.with_lists(dataset, lists, split)
    found = None if dataset.official else ucf101.find_lists(Path(name_or_dir), dataset.root)
    if found is None or not ucf101.fits(dataset, found, split):
        return dataset
    return ucf101.with_lists(dataset, found, split)
