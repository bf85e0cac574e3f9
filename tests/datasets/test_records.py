import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from har_tf.datasets import DatasetError, Tube, VideoRecord
from har_tf.video import VideoError, read_clip


def test_boxes_come_from_boxes_and_from_tubes():
    tubes = (Tube(0, 2, np.array([[1, 2, 3, 4], [5, 6, 7, 8]])), Tube(0, 3, np.array([[9, 9, 10, 10]])))
    record = VideoRecord(Path("a.avi"), 0, boxes=np.array([[0, 0, 1, 1]]), tubes=tubes)
    found = [record.boxes_at(frame).tolist() for frame in range(5)]
    assert found == [[[0, 0, 1, 1]], [], [[1, 2, 3, 4]], [[5, 6, 7, 8], [9, 9, 10, 10]], []]
    assert record.boxes_at(4).shape == (0, 4)
    assert record.boxes_at(-1).shape == (0, 4)


def test_frames_without_a_person_have_no_box():
    nothing = [np.nan] * 4
    tubes = (Tube(0, 0, np.array([nothing, [5, 6, 7, 8], [1, 2, 3, np.inf]])),)
    record = VideoRecord(Path("a.avi"), 0, boxes=np.array([[0, 0, 1, 1], nothing, nothing]), tubes=tubes)
    assert [record.boxes_at(frame).tolist() for frame in range(3)] == [[[0, 0, 1, 1]], [[5, 6, 7, 8]], []]
    assert record.boxes_at(2).shape == (0, 4)


def test_segments_of_a_video_have_names_of_their_own(tmp_path):
    path = tmp_path / "test" / "a.mp4"
    assert VideoRecord(path, 0).name(tmp_path) == "test/a.mp4"
    assert VideoRecord(path, 0, segment=(1.5, 3.0)).name(tmp_path) == "test/a.mp4#t=1.5,3"
    assert VideoRecord(path, 0, segment=(1072.811, 1076.4)).name(tmp_path) == "test/a.mp4#t=1072.811,1076.4"


def test_a_video_is_read_whole_and_a_segment_in_part(tmp_path, numbered, numbers, make_video):
    path = make_video(tmp_path / "a.mp4", numbered(50))
    assert np.array_equal(VideoRecord(path, 0).read(7, (24, 32)), read_clip(path, 7, (24, 32)))
    segment = VideoRecord(path, 0, segment=(0.4, 0.8))
    assert numbers(segment.read(None, None)) == list(range(10, 20))
    assert numbers(segment.read(4, (48, 64), "strided", threads=1)) == [10, 12, 14, 16]
    assert numbers(segment.read(12, (48, 64), "dense", "wrap")) == [*range(10, 20), 10, 11]
    with pytest.raises(VideoError, match="segment from 0.4 to 0.8 s: 10 frames, 12 needed"):
        segment.read(12, short="error")


@pytest.mark.parametrize("name", ["a.JPEG", "a.jpg", "a.PNG", "a.bmp", "a.webp"])
def test_a_picture_is_a_video_of_one_frame(tmp_path, name):
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(tmp_path / name)
    clip = VideoRecord(tmp_path / name, 0).read(3, (4, 6))
    assert clip.shape == (3, 4, 6, 3)
    assert np.abs(clip.astype(int) - 77).max() <= 1
    with pytest.raises(VideoError, match="a picture is 1 frame, 3 needed"):
        VideoRecord(tmp_path / name, 0).read(3, short="error")
    with pytest.raises(DatasetError, match="a picture has no segment"):
        VideoRecord(tmp_path / name, 0, segment=(0.0, 1.0)).read()


def test_the_content_of_a_file_stays_where_it_is_copied_and_changes_with_its_bytes(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(bytes(2**18))
    before = VideoRecord(video, 0).content()
    shutil.copy(video, tmp_path / "b.mp4")
    (tmp_path / "link.mp4").symlink_to(video)
    assert {VideoRecord(tmp_path / name, 0).content() for name in ("b.mp4", "link.mp4")} == {before}
    os.utime(video, ns=(1, 1))
    assert VideoRecord(video, 0).content() == before
    for number, place in enumerate((0, 2**17, 2**18 - 1)):
        changed = bytearray(2**18)
        changed[place] = 1
        (tmp_path / f"{number}.mp4").write_bytes(changed)
        assert VideoRecord(tmp_path / f"{number}.mp4", 0).content() != before, place
    assert VideoRecord(tmp_path / "none.mp4", 0).content() == ""
