"""A miniature UCF101: folders and names as in the original, videos of one colour each."""

from pathlib import Path

import numpy as np
import pytest

from har_tf.video import write_video

CLASSES = ("Archery", "Biking", "Surfing")
GROUPS = 5
CLIPS = 2
SIZE = (32, 48)


def grey(label: int, group: int, clip: int) -> int:
    """Value of every pixel of a video, so that a clip tells which video it is."""
    return 16 + 70 * label + 12 * group + 5 * clip


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """UCF-101/<Class>/v_<Class>_gNN_cMM.mp4: 3 classes of 5 groups of 2 clips."""
    root = tmp_path_factory.mktemp("ucf") / "UCF-101"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for group in range(GROUPS):
            for clip in range(CLIPS):
                frames = np.full((6, *SIZE, 3), grey(label, group, clip), np.uint8)
                write_video(root / name / f"v_{name}_g{group + 1:02d}_c{clip + 1:02d}.mp4", frames)
    return root


@pytest.fixture
def empty_videos(tmp_path):
    """Makes class folders of files that are called like videos; enough for what only lists them."""

    def make(root: str, names: dict[str, list[str]]) -> Path:
        for folder, files in names.items():
            (tmp_path / root / folder).mkdir(parents=True, exist_ok=True)
            for file in files:
                (tmp_path / root / folder / file).touch()
        return tmp_path / root

    return make


@pytest.fixture(scope="session")
def greys():
    """Grey levels of the videos of `miniature`, in the order of their paths."""
    return [grey(label, g, c) for label in range(len(CLASSES)) for g in range(GROUPS) for c in range(CLIPS)]
