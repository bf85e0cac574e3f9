"""Rows of localisation tables: their names, and which of the paper's a model has."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from har_tf.evaluate.map_rows import AVERAGE, CAM3D, GRADCAM, Batch, ModelRow, paper_rows, runs, table_rows
from har_tf.explain import layerwise
from har_tf.models.resnext3d import resnext3d


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (ModelRow(CAM3D, 0, 0), "3DCAM conv"),
        (ModelRow(CAM3D, 0, 0, pictures=True), "2DCAM conv"),
        (ModelRow(GRADCAM, 2, 4, pictures=True), "Sum Grad-CAM (2, 3, 4)"),
        (ModelRow(CAM3D, 0, 2), "Sum 3DCAM (conv, 1, 2)"),
        (ModelRow(CAM3D, 2, 4, pictures=True), "Sum 2DCAM (2, 3, 4)"),
        (ModelRow(GRADCAM, 4, 4), "Grad-CAM layer 4"),
        (ModelRow(AVERAGE, 1, 2), "Average 3DCAM (1, 2)"),
    ],
)
def test_a_row_is_named_by_its_method_and_layers(row, name):
    assert row.name == name
    assert row.described == {"kind": "model", "method": row.method, "layers": [row.first, row.last]}


def test_a_table_has_the_rows_of_the_paper_that_a_model_of_so_many_layers_has():
    paper = {(CAM3D, 0, 0): 0.8, (GRADCAM, 4, 4): 0.9}
    assert [(row["name"], row["paper"]) for row in table_rows(paper, 3)] == [("3DCAM conv", 0.8)]
    assert [row["name"] for row in table_rows(paper, 0)] == ["3DCAM conv", "Grad-CAM layer 4"], "to be said: not run"
    assert table_rows(None, 1, pictures=True)[1] == {
        "name": "2DCAM conv", "paper": None, "kind": "model", "method": CAM3D, "layers": [0, 0]
    }  # fmt: skip


def test_a_beta_of_one_sign_selects_no_place():
    beta = np.array([[-1.0, -2.0], [0.0, 3.0], [-1.0, 1.0]]).reshape(3, 1, 1, 2)
    batch = Batch(np.zeros((3, 1, 8, 8, 3), np.uint8), signs={0: np.array([True, True, False])})
    assert ModelRow(CAM3D, 0, 0).one_sign(batch).tolist() == [True, True, False]
    assert ModelRow(GRADCAM, 0, 0).one_sign(batch) is None
    assert [row.name for row in ModelRow(AVERAGE, 1, 2).singles] == ["3DCAM layer 1", "3DCAM layer 2"]
    found = SimpleNamespace(
        gradients={"mixed": beta}, cam3d=lambda taps, **how: SimpleNamespace(maps=np.zeros((3, 1, 8, 8)))
    )
    made = Batch.of(batch.clips, found, ["mixed"], [ModelRow(CAM3D, 0, 0)], "methods")
    assert made.signs[0].tolist() == [True, True, False]


@pytest.mark.parametrize("align", ["methods", "corners", "centres"])
def test_maps_of_rows_are_made_of_the_maps_of_layers(align):
    """Bit by bit those that the explanations have, whichever way they are enlarged."""
    keras.utils.set_random_seed(0)
    model = resnext3d((4, 64, 64, 3), 3, blocks=(1, 1, 1, 1), width=32, cardinality=2)
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 64, 64, 3), dtype=np.uint8)
    found, rows = layerwise(model, clips), dict.fromkeys([*paper_rows(5), *runs(5)])
    taps = [tap.name for tap in found.taps]
    batch = Batch.of(clips, found, taps, rows, align)
    for row in rows:
        maps = row.explanation(found, taps, align).maps
        np.testing.assert_array_equal(row.maps(batch), maps)
        np.testing.assert_array_equal(row.maps(batch.only(1)), maps[1:])
    conv = ModelRow(CAM3D, 0, 0).maps(batch)
    np.testing.assert_array_equal(
        conv, found.cam3d(taps[:1], align="centres" if align == "centres" else "corners").maps
    )
    last = ModelRow(GRADCAM, 4, 4).maps(batch)
    assert (np.abs(last - found.gradcam(taps[4]).maps).max() > 1e-3) == (align == "corners" and last.any())
