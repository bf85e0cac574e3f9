import pickle
from pathlib import Path

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, from_tfds
from har_tf.video import VideoError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Two data sets of the structure of TFDS's ucf101, and one of images, made by their builders."""
    import tensorflow_datasets as tfds

    def video(number):
        """5 to 7 frames, each of one grey: 10 times the number of the video, plus that of the frame."""
        grey = 10 * number + np.arange(5 + number % 3, dtype=np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(grey), 24, 32, 3))

    class TinyVideos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        FEATURES = {  # noqa: RUF012
            "video": tfds.features.Video(shape=(None, 24, 32, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["jump", "run"]),
        }

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.FEATURES))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 9), "test": self._generate_examples(9, 13)}

        def _generate_examples(self, start, stop):
            for number in range(start, stop):
                yield number, {"video": video(number), "label": number % 2}

    class TinyLabels(TinyVideos):
        FEATURES = {"label": tfds.features.ClassLabel(names=["jump", "run"])}  # noqa: RUF012

        def _generate_examples(self, start, stop):
            for number in range(start, stop):
                yield number, {"label": number % 2}

    folder = tmp_path_factory.mktemp("tfds")
    TinyVideos(data_dir=str(folder)).download_and_prepare()
    TinyLabels(data_dir=str(folder)).download_and_prepare()
    return folder


def number_of(clip):
    """The number of the video that a clip is from."""
    return int(clip[0, 0, 0, 0]) // 10


def test_records_and_the_official_split(data_dir):
    dataset = datasets.load("tfds:tiny_videos", data_dir)
    assert (dataset.name, dataset.class_names, len(dataset)) == ("tiny_videos", ("jump", "run"), 13)
    assert len({record.path for record in dataset.records}) == 13
    train, test = dataset.split("official")
    assert (len(train), len(test)) == (9, 4)
    assert sorted(number_of(record.read(2, (24, 32))) for record in test.records) == [9, 10, 11, 12]
    assert all(number_of(r.read(2, None)) % 2 == r.label for r in dataset.records)
    with pytest.raises(DatasetError, match=r"13 of 13 videos name no group"):
        dataset.split("group")


def test_frames_are_those_of_the_video_in_any_order(data_dir):
    records = datasets.load("tfds:tiny_videos", data_dir, classes=["run", "jump"]).records
    for record in (records[8], records[0], records[5]):
        whole = record.read(None, None)
        number = number_of(whole)
        assert record.label == 1 - number % 2
        assert whole.shape == (5 + number % 3, 24, 32, 3)
        np.testing.assert_array_equal(whole[:, 3, 4, 1], 10 * number + np.arange(len(whole)))
        clip = record.read(3, (12, 16))
        assert clip.shape == (3, 12, 16, 3)
        np.testing.assert_array_equal(clip[[0, 2], 0, 0, 0], whole[[0, -1], 0, 0, 0])
    with pytest.raises(VideoError, match=r"frames"):
        records[0].read(20, (12, 16), short="error")


def test_it_can_be_prepared(data_dir, tmp_path):
    dataset = datasets.load("tfds:tiny_videos", data_dir)
    prepared = datasets.prepare(dataset, tmp_path, 2, (12, 16), workers=0)
    assert prepared.skipped == ()
    for record, clip in zip(dataset.records, prepared.read(range(13)), strict=True):
        sent = pickle.loads(pickle.dumps(record))  # as to a process that decodes
        np.testing.assert_array_equal(clip, sent.read(2, (12, 16)))
    assert datasets.prepare(datasets.load("tfds:tiny_videos", data_dir), tmp_path, 2, (12, 16)).path == prepared.path


def test_what_cannot_be_used(data_dir):
    with pytest.raises(DatasetError, match=r"expected one Video and one ClassLabel. Received: label"):
        datasets.load("tfds:tiny_labels", data_dir)
    with pytest.raises(DatasetError, match=r"tfds:no_such_data: not available: .*no_such_data") as caught:
        datasets.load("tfds:no_such_data", data_dir)
    assert "\n" not in str(caught.value)


def test_the_validation_split_is_that_of_the_data_set_where_it_has_a_test_split():
    def parts(*splits):
        found = from_tfds._official([from_tfds.TfdsRecord(Path(split), 0, split=split) for split in splits])
        return [{path.name for path in part} for part in (*found["official"], found["validation"] or ())]

    assert parts("train", "validation", "test", "extra") == [{"train", "validation", "extra"}, {"test"}, {"validation"}]
    assert parts("train", "validation") == [{"train"}, {"validation"}, set()]
    assert parts("train", "test") == [{"train"}, {"test"}, set()]
    assert from_tfds._official([]) == {}
