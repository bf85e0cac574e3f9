"""Data sets of actions: what lies on disk, as records; splits; preparation for training."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import Tube, VideoRecord
from har_tf.datasets.splits import OverlapReport

__all__ = [
    "ActionDataset",
    "DatasetError",
    "OverlapReport",
    "PreparedDataset",
    "Skipped",
    "Tube",
    "VideoRecord",
    "load",
    "prepare",
]

# One module each, with a function `load(root, split, classes, lists, ...)`; those of `_ONE_SPLIT` without `split`.
PUBLISHED = ("hmdb51", "ilsvrc", "jhmdb", "kinetics", "thumos", "ucf24", "ucf101")
# Those whose `load` has no `split`, and what is said of that.
_ONE_SPLIT = {"ilsvrc": "; its parts are part='val' and 'train'", "kinetics": "", "thumos": "", "ucf24": ""}

# The store imports this package; its names are here for users alone.
_OF_THE_STORE = {"prepare": "prepare", "PreparedDataset": "prepared", "Skipped": "prepared"}


def __getattr__(name: str):
    if name not in _OF_THE_STORE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"har_tf.store.{_OF_THE_STORE[name]}"), name)


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
        name_or_dir: "figures" (the embedded data set), the name of a published one ("ucf101", "hmdb51", "kinetics",
            "jhmdb", "ucf24", "ilsvrc", "thumos"), "tfds:<name>" (TensorFlow Datasets), or a folder. A folder that is
            called like a data set is given as a `Path` or as "./ucf101".
        root: where the named data set lies: its folder, TFDS's data_dir, where figures are drawn.
        split: number of the official split, where there are several.
        classes: keep these classes, labelled in this order.
        lists: folder of the official lists or annotations, where they do not lie with the videos; for folders that
            hold (part of) UCF101, its train/test lists.
        **options: passed on to the loader of a named data set, such as the number of clips of "figures", or
            `partial=True`, with which a copy of a published data set may lack videos; `notes` tell which.

    Raises:
        DatasetError: unknown name, missing or empty folder, class without a video, wrong lists.

    Example:
        >>> dataset = load("UCF-101", classes=["Archery", "Surfing"])
        >>> train, test = dataset.split("group", seed=0)
    """
    from har_tf.datasets import folder, ucf101

    name = name_or_dir if isinstance(name_or_dir, str) else ""
    if name in PUBLISHED:
        if root is None:
            raise DatasetError(f"{name}: root, the folder where it lies, is needed")
        if name not in _ONE_SPLIT:
            options["split"] = split
        elif split != 1:
            raise DatasetError(f"{name} has one split{_ONE_SPLIT[name]}. Received: split={split}")
        return importlib.import_module(f"har_tf.datasets.{name}").load(root, classes=classes, lists=lists, **options)
    if name == "figures" or name.startswith("tfds:"):
        if lists is not None:
            raise DatasetError(f"{name} brings its own split. Received: lists={lists}")
        if name == "figures":
            from har_tf.datasets import stick_figures

            dataset = stick_figures.load(root, **options)
        else:
            from har_tf.datasets import from_tfds

            dataset = from_tfds.load(name.removeprefix("tfds:"), root, **options)
        return dataset if classes is None else dataset.only(classes)
    if root is not None:
        raise DatasetError(f"root is for named data sets, not for a folder. Received: {name_or_dir}, {root=}")
    if name and not Path(name).exists():
        raise DatasetError(
            f"{name}: no such folder, and no data set of this name (figures, {', '.join(PUBLISHED)}, tfds:<name>)"
        )
    if options:
        raise TypeError(f"a folder has no options {', '.join(options)}")
    dataset = folder.load(name_or_dir, classes)
    if lists is None and not dataset.official:
        lists = ucf101.find_lists(Path(name_or_dir), dataset.root)
        lists = lists if lists is not None and ucf101.fits(dataset, lists, split) else None
    return dataset if lists is None else ucf101.with_lists(dataset, lists, split)
