import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, Tube, VideoRecord


def test_listing_data_imports_no_tensorflow(miniature):
    code = (
        f"import sys; from har_tf import datasets; d = datasets.load({str(miniature)!r}); d.split('group')\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_has_no_root_and_no_options(miniature):
    with pytest.raises(DatasetError, match="root is for named data sets"):
        datasets.load(miniature, root=miniature)
    with pytest.raises(TypeError, match="a folder has no options clips"):
        datasets.load(miniature, clips=3)
    with pytest.raises(DatasetError, match=r"no_such_data: no such folder, and no data set .*figures, hmdb51.*ucf101"):
        datasets.load("no_such_data")
    with pytest.raises(DatasetError, match=r"figures brings its own split. Received: lists=somewhere"):
        datasets.load("figures", lists="somewhere")


def test_boxes_of_a_frame_come_from_boxes_and_from_tubes():
    whole = VideoRecord(Path("a.avi"), 0, boxes=np.array([[0, 0, 1, 1], [1, 1, 2, 2]]))
    tubes = VideoRecord(
        Path("a.avi"), 0, tubes=(Tube(0, 1, np.array([[5, 5, 6, 6]])), Tube(0, 0, np.array([[7, 7, 8, 8]] * 2)))
    )
    assert whole.boxes_at(1).tolist() == [[1, 1, 2, 2]]
    assert whole.boxes_at(2).shape == (0, 4)
    assert tubes.boxes_at(0).tolist() == [[7, 7, 8, 8]]
    assert tubes.boxes_at(1).tolist() == [[5, 5, 6, 6], [7, 7, 8, 8]]


def test_a_segment_is_named_as_a_media_fragment():
    record = VideoRecord(Path("/data/a/b.mp4"), 0, segment=(1.5, 3.0))
    assert record.name(Path("/data")) == "a/b.mp4#t=1.5,3"
    assert VideoRecord(Path("/data/a/b.mp4"), 0).name(Path("/data/a")) == "b.mp4"
