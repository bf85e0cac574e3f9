"""The tables of Fusion-GRU, from results alone."""

import pytest

from experiments.fusion_gru import FUSION, PAPER_TABLE_1, PAPER_TABLE_2, PAPER_TABLE_3
from har_tf.paper import Says, compare
from har_tf.report.pages.fusion_gru import confusion_numbers, table_1, table_2, table_3, table_classes


def fake_results(name="my_videos", whole=False, seeds=(0,), splits="123", second="InceptionResNetV2", epochs=30):
    def row(accuracy, deviation, *backbones):
        return {
            "backbones": list(backbones),
            "status": "run",
            "reason": None,
            "starts_from": "a.h5, frozen",
            "accuracy": accuracy,
            "deviation_over_splits": deviation,
            "deviation_over_seeds": 0.01,
            "parameters": 17_081_101,
            "training_seconds": 90.0,
            "extraction_seconds": 600.0,
            "confusion": [[2, 1, 0], [0, 4, 0], [1, 0, 2]],
        }

    part = {"training_clips": 9537, "test_clips": 3783, "overlap_text": "0 of 3783 test clips (0 %) have a sibling"}
    data = {"name": name, "classes": ["a", "b", "c"], "clips": 13320, "skipped": 0, "notes": []}
    return {
        "dataset": data | {"whole": whole},
        "settings": compare({"epochs": Says(30, "section IV.A")}, {"epochs": epochs}),
        "protocol": "official",
        "seeds": list(seeds),
        "paper": {"table_1": PAPER_TABLE_1, "table_2": PAPER_TABLE_2, "table_3": PAPER_TABLE_3},
        "shown": FUSION,
        "trained_on_frames": [],
        "splits": dict.fromkeys(splits, part),
        "features": {"GoogLeNet": {"seconds": 600.0}},
        "comparison": None,
        "networks": {
            "GoogLeNet": row(0.9, 0.004, "GoogLeNet"),
            second: row(0.94, None, second),
            FUSION: row(0.95, 0.003, "GoogLeNet", second),
        },
    }


def test_confusion_matrices_have_the_paper_s_numbers():
    def numbers(*names, data="figures"):
        return confusion_numbers({"dataset": {"name": data}, "networks": dict.fromkeys([*names, FUSION])})

    paper = {FUSION: 12, "InceptionResNetV2": 13, "GoogLeNet": 14}
    assert numbers("GoogLeNet", "InceptionResNetV2") == numbers("InceptionResNetV2", "GoogLeNet") == paper
    hmdb51 = {name: number + 3 for name, number in paper.items()}
    assert numbers("GoogLeNet", "InceptionResNetV2", data="hmdb51") == hmdb51
    assert numbers("MobileNetV2", "GoogLeNet") == {FUSION: 12, "MobileNetV2": 13, "GoogLeNet": 14}
    assert numbers("InceptionResNetV2", "MobileNetV2") == {FUSION: 12, "InceptionResNetV2": 13, "MobileNetV2": 14}
    assert numbers("VGG16", "VGG19") == {FUSION: 12, "VGG19": 13, "VGG16": 14}
    assert set(numbers("GoogLeNet", "InceptionResNetV2", "MobileNet").values()) == {None}


def test_the_paper_s_figures_stand_beside_its_data_sets():
    same = table_2(fake_results("ucf101"))
    row = dict(zip(same.columns, same.rows[2], strict=True))
    assert (row["Paper: accuracy"], row["Paper: minutes"]) == (0.9797, 184)
    assert (row["Training (min)"], row["Extraction (min)"], row["Deviation over splits"]) == (1.5, 10.0, 0.003)
    assert "Deviation over seeds" not in same.columns
    others = table_2(fake_results("ucf101", second="MobileNet"))
    assert dict(zip(others.columns, others.rows[2], strict=True))["Paper: accuracy"] is None, "of other networks"
    shorter = table_2(fake_results("ucf101", epochs=5))
    assert dict(zip(shorter.columns, shorter.rows[2], strict=True))["Paper, other settings: accuracy"] == 0.9797
    assert any(note.endswith("this run's, which differs in epochs.") for note in shorter.notes)
    other = table_2(fake_results(seeds=(0, 1)))
    assert not any("Paper" in column for column in other.columns)
    assert "Deviation over seeds" in other.columns
    assert any("sample standard deviation" in note for note in other.notes)


def test_data_sets_stand_side_by_side_and_one_that_was_not_run_says_so():
    both = fake_results("ucf101", whole=True)
    other = fake_results("hmdb51", whole=True, splits="1")
    other["networks"] = {name: row | {"accuracy": 0.7} for name, row in other["networks"].items()}
    second = table_2(both | {"others": {"hmdb51": other}})
    row = dict(zip(second.columns, second.rows[2], strict=True))
    assert (row["UCF-101: accuracy"], row["HMDB-51: accuracy"]) == (0.95, 0.7)
    assert (row["UCF-101: paper: accuracy"], row["HMDB-51: paper: accuracy"]) == (0.9797, 0.7312)
    assert "UCF-101: deviation over splits" in row and "HMDB-51: 95 % interval" in row
    third = table_3(both | {"others": {"hmdb51": other}})
    assert third.rows[-1][1:3] == (95.0, 70.0)
    assert [row[0] for row in table_1(both | {"others": {"hmdb51": other}}).rows] == ["UCF-101", "HMDB-51"] * 2

    alone = both | {"missing": {"hmdb51": "/data: no such folder"}}
    for table, column in ((table_2(alone), "HMDB-51: accuracy"), (table_3(alone), "HMDB-51 (%)")):
        assert dict(zip(table.columns, table.rows[-1], strict=True))[column] == "not run"
    assert dict(zip(table_2(alone).columns, table_2(alone).rows[-1], strict=True))["HMDB-51: paper: minutes"] == 60
    assert "HMDB-51: /data: no such folder." in table_2(alone).notes


def test_table_3_keeps_other_data_apart():
    real = table_3(fake_results("hmdb51", whole=True))
    name = f"{FUSION} of GoogLeNet and InceptionResNetV2 (this run)"
    assert real.rows[-1] == (name, "not run", 95.0, "measured, official splits 1, 2, 3")
    other = table_3(fake_results("ucf101"))
    assert {row[3] for row in other.rows} == {"quoted"}
    assert any("no place beside these" in note for note in other.notes)


def test_table_1_counts_and_quotes():
    assert table_1(fake_results()).rows == (("my_videos", 13320, 3, "counted here"),)
    rows = table_1(fake_results("figures")).rows
    assert rows[0] == ("the embedded data set", 13320, 3, "counted here")
    assert rows[1:] == (("UCF-101", 13320, 101, "the paper"), ("HMDB-51", 6766, 51, "the paper"))


def test_classes_are_listed_from_best_to_worst():
    rows = table_classes(fake_results()).rows
    assert rows == (
        ("b", 4, 4, 1.0, None),
        ("a", 3, 2, pytest.approx(2 / 3), "b (1)"),
        ("c", 3, 2, pytest.approx(2 / 3), "a (1)"),
    )
    assert [row[0] for row in table_classes(fake_results(), count=1).rows] == ["b", "c"]
