from pathlib import Path

import numpy as np
import pytest

from har_tf.datasets import ActionDataset, DatasetError, Tube, VideoRecord
from har_tf.datasets.dataset import check_classes


def test_tubes_follow_the_labels_of_the_classes_that_are_kept():
    box = np.array([[1, 2, 3, 4]])
    records = (
        VideoRecord(Path("a.avi"), 2, tubes=(Tube(2, 0, box), Tube(1, 0, box))),
        VideoRecord(Path("b.avi"), 0, tubes=(Tube(0, 5, box),)),
        VideoRecord(Path("c.avi"), 1),
    )
    kept = ActionDataset("some", Path(), records, ("run", "sit", "jump")).only(["jump", "run"])
    assert [(r.label, [tube.label for tube in r.tubes]) for r in kept.records] == [(0, [0]), (1, [1])]


def test_classes_are_found_in_either_form_of_unicode():
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert check_classes([apart, "bar"], ["bar", composed], "here") == [composed, "bar"]
    assert check_classes([composed, "bar"], ["bar", apart], "here") == [apart, "bar"]
    with pytest.raises(DatasetError, match="here: classes given twice: caf"):
        check_classes([apart, composed], ["bar", composed], "here")
    with pytest.raises(DatasetError, match=r"unknown class 'cafes'. Closest: caf.\. Classes"):
        check_classes(["cafes", "bar"], ["bar", composed], "here")


def test_a_class_is_called_as_the_model_calls_it():
    records = tuple(VideoRecord(Path(f"{i}.mp4"), i) for i in range(3))
    dataset = ActionDataset("some", Path("videos"), records, ("Run", "Surfing", "jump"))
    assert dataset.called({"surfing": "surfing water"}).class_names == ("Run", "surfing water", "jump")
    assert dataset.called({"Run": "run"}).records is records
    with pytest.raises(DatasetError, match="no class 'Surf'. Closest: Surfing"):
        dataset.called({"Surf": "surfing water"})
    with pytest.raises(DatasetError, match="two classes cannot have one name. Received: 'Jump' for both"):
        dataset.called({"Run": "Jump"})
