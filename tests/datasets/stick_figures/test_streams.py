"""Long videos of embedded figures: what is done when, and that the truth fits what was drawn."""

import numpy as np
import pytest

from har_tf.datasets import DatasetError
from har_tf.datasets.stick_figures.drawing import ACTIONS, Figures, draw
from har_tf.datasets.stick_figures.streams import Streams, load
from har_tf.video import probe, read_frames

FIGURES = Figures(size=(64, 96), frames=4, seed=3)


@pytest.fixture(scope="module")
def settings():
    return Streams(FIGURES, videos=3, actions=3, repeats=2, pause=0.5)


@pytest.fixture(scope="module")
def dataset(settings, tmp_path_factory):
    return load(tmp_path_factory.mktemp("streams"), settings, workers=0)


def test_actions_follow_each_other_with_pauses_between(dataset):
    pauses = 0
    for video in {record.path for record in dataset.records}:
        own = sorted((r for r in dataset.records if r.path == video), key=lambda record: record.segment)
        assert len({record.label for record in own}) == 3, "each action once"
        end = 0
        for record in own:
            begin, stop = (round(second * FIGURES.fps) for second in record.segment)
            assert stop - begin == 8, "four frames, twice"
            assert begin - end in (0, 8), "a pause is as long as two actions"
            pauses += begin > end
            end = stop
        assert probe(video).frames == end == len(own[0].boxes)
        assert all(record.group == video.stem for record in own)
    assert 0 < pauses < 9


def test_each_action_is_that_of_its_label_with_its_boxes(dataset, settings):
    record = min((r for r in dataset.records if r.path.stem == "stream_0002"), key=lambda record: record.segment)
    begin = round(record.segment[0] * FIGURES.fps)
    drawing = draw(ACTIONS[record.label], len(ACTIONS), FIGURES)
    np.testing.assert_array_equal(record.boxes[begin : begin + 8], np.tile(drawing.boxes, (2, 1)))
    frames = read_frames(record.path, np.arange(begin, begin + 8)[None], (64, 96), fit="stretch")[0]
    assert np.abs(frames.astype(int) - np.tile(drawing.frames, (2, 1, 1, 1))).mean() < 6, "as encoded"


def test_drawn_once_and_alike_whoever_draws(dataset, settings, monkeypatch, tmp_path):
    again = load(tmp_path, settings, workers=2)
    for one, other in zip(dataset.records, again.records, strict=True):
        assert (one.label, one.segment, one.path.read_bytes()) == (other.label, other.segment, other.path.read_bytes())
    monkeypatch.setattr("har_tf.datasets.stick_figures.streams._generate", lambda *_: pytest.fail("drawn again"))
    assert len(load(tmp_path, settings)) == 9


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="Streams are of 1 to 10 actions"):
        Streams(FIGURES, actions=11)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="the streams cannot be written"):
        load(tmp_path / "file", Streams(FIGURES, videos=1), workers=0)
