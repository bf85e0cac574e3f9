"""python -m har_tf concepts: mine and review."""

import json

import numpy as np
import pytest
from checks import failed, run_command

from har_tf.cli.app import Concepts
from har_tf.cli.concepts import Mine, Review
from har_tf.video import probe, write_video


@pytest.fixture(scope="module")
def found_boxes(tmp_path_factory):
    """A folder of one video, and a file of detections in it: a person in every frame, a ball in the first ten."""
    folder = tmp_path_factory.mktemp("corpus")
    write_video(folder / "a.mp4", np.full((12, 48, 64, 3), 90, np.uint8))
    content = {
        "images": [{"id": i, "video": "a.mp4", "frame": i} for i in range(12)],
        "categories": [{"id": 1, "name": "person"}, {"id": 37, "name": "sports ball"}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [2 * i, 8, 10, 20], "score": 0.9} for i in range(12)]
        + [{"image_id": i, "category_id": 37, "bbox": [40, 30, 9, 9]} for i in range(10)],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def test_concepts_are_mined_and_reviewed(found_boxes, tmp_path, capsys):
    out, sheet, verdicts = tmp_path / "concepts", tmp_path / "review.html", tmp_path / "verdicts.json"
    run_command(Concepts(Mine(found_boxes, str(found_boxes / "boxes.json"), ("person",), out)))
    assert capsys.readouterr().out.splitlines() == [
        "person, spatiotemporal: 1 clips (0 accepted, 0 rejected, 1 undecided)",
        "person, spatial: 1 clips (0 accepted, 0 rejected, 1 undecided)",
        "other classes: 2 clips",
        "1 videos, 12 frames, 2 tracks, 4 clips",
        str(out),
    ]
    assert probe(out / "person" / "spatiotemporal" / "a_t0.mp4").frames == 12
    run_command(Concepts(Review(out, write=sheet)))
    assert "person/spatiotemporal/a_t0.mp4" in sheet.read_text()
    verdicts.write_text(json.dumps({"person/spatial/a_t0.mp4": {"verdict": "accepted"}}))
    capsys.readouterr()
    run_command(Concepts(Review(out, verdicts=verdicts)))
    assert capsys.readouterr().out.splitlines()[1] == "person, spatial: 1 clips (1 accepted, 0 rejected, 0 undecided)"
    assert "no clip of videos of 'kick'" in failed(Concepts(Review(out, videos_of="kick")), capsys)


def test_concepts_that_cannot_be_mined_or_reviewed_are_one_line(found_boxes, tmp_path, capsys):
    boxes, out = str(found_boxes / "boxes.json"), tmp_path / "concepts"
    missing = Concepts(Mine(tmp_path / "missing", boxes, ("person",), out))
    assert "missing: no such folder. Expected a folder of videos" in failed(missing, capsys)
    assert "a.onnx: no such detector" in failed(Concepts(Mine(found_boxes, "a.onnx", ("person",), out)), capsys)
    assert "does not know 'dog'" in failed(Concepts(Mine(found_boxes, boxes, ("dog",), out)), capsys)
    assert not out.exists()
    high = Concepts(Mine(found_boxes, boxes, ("person",), out, score=0.95))
    assert "no clip of person. Mine more videos, or lower --score" in failed(high, capsys)
    both = Concepts(Review(found_boxes, write=tmp_path / "a.html", verdicts=tmp_path / "a.json"))
    assert "one at a time" in failed(both, capsys)
    assert "no concepts. Expected concepts.json" in failed(Concepts(Review(found_boxes)), capsys)
    with pytest.raises(SystemExit) as error:
        run_command(Concepts(Mine(found_boxes, boxes, (), out)))
    assert error.value.code == 2
