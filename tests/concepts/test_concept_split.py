"""Which videos give concepts, and which are explained."""

from types import SimpleNamespace

from har_tf.concepts.concept_split import divide
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord


def test_of_two_videos_of_one_name_neither_is_explained(tmp_path):
    """The source is called "0.mp4": which of the two was mined, nobody knows."""
    names = ("tennis/0.mp4", "tennis/1.mp4", "dining/0.mp4")
    records = tuple(VideoRecord(tmp_path / name, int(name.startswith("tennis"))) for name in names)
    dataset = ActionDataset("d", tmp_path, records, ("dining", "tennis"))
    found = SimpleNamespace(sources=(), clips=(SimpleNamespace(source="0.mp4"),))
    halves = divide(dataset, 1, "random", test=1.0, given=found)
    assert [record.path.name for record in halves.explained] == ["1.mp4"]
    assert len(halves.concept) == 2
