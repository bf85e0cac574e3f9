"""The tables of the first experiment, from results alone."""

from experiments.ucf10_cnn_gru import PAPER, PAPER_TABLE_1, PAPER_TABLE_2, PRESETS
from har_tf.experiment import paper_settings
from har_tf.report.page import both_sides
from har_tf.report.pages.ucf10_cnn_gru import page, table_1, table_2


def fake_results(name, protocol, as_in_paper=True):
    row = {"status": "run", "accuracy_interval": [0.4, 0.6], "parameters": 1, "seconds": 60.0, "reason": None}
    row |= {"starts_from": "random weights"}
    row |= dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.5)
    dataset = {"name": name, "classes": list("abcdefghij"), "clips": 1000, "skipped": 0, "left_out": 0}
    dataset |= {"ucf101": name == "ucf101", "order_blind_ceiling": None}
    facts = {"data set": name, "classes": 10, "clips a class": 100 if as_in_paper else "101 to 167"}
    settings = paper_settings(PRESETS["paper"], PAPER, protocol=protocol, **facts)
    overlap = {"identical": [["a/1.mp4", "b/2.mp4", 0.0]], "near_identical": None}
    part = {"test_clips": 200, "overlap_text": "none", "overlap": overlap, "most_frequent_class": 0.125}
    part["models"] = {"CNN-GRU": row}
    paper = {"table_1": PAPER_TABLE_1, "table_2": PAPER_TABLE_2}
    shown = {"model": "CNN-GRU", "protocol": protocol}
    return {
        "dataset": dataset, "settings": settings, "protocols": {protocol: part}, "paper": paper, "shown": shown
    }  # fmt: skip


def test_the_paper_s_figures_stand_beside_its_data_and_say_where_other_settings_differ():
    same = table_1(fake_results("ucf101", "random"))
    assert dict(zip(same.columns, same.rows[0], strict=True))["Paper: accuracy"] == PAPER_TABLE_1["CNN-GRU"][0] == 0.965
    vgg = next(row for row in same.rows if row[0] == "VGG16")
    assert vgg[1] == "not run"
    assert dict(zip(same.columns, vgg, strict=True))["Paper: accuracy"] == 0.065
    assert not any("other settings" in note for note in same.notes)
    others = {"protocol": fake_results("ucf101", "official"), "clips a class": fake_results("ucf101", "random", False)}
    for setting, results in others.items():
        other = table_1(results)
        assert "Paper: accuracy" not in other.columns
        assert dict(zip(other.columns, other.rows[0], strict=True))["Paper, other settings: accuracy"] == 0.965
        told = f"The paper's figures are of other settings than this run's, which differs in {setting}."
        assert told in other.notes and told in table_2(results).notes
    assert not any("Paper" in column for column in table_1(fake_results("figures", "random")).columns)


def test_the_literature_s_figures_stand_only_in_runs_on_ucf101(tmp_path):
    real = table_2(fake_results("ucf101", "random"))
    assert real.rows[-1] == ("CNN-GRU (this run)", 10, 50.0, "measured on 1000 clips, random split")
    history = {"loss": [1.0], "accuracy": [0.5]}
    for data, literature in (("ucf101", True), ("figures", False), ("my_videos", False)):
        results = fake_results(data, "group", as_in_paper=False) | {"pictures": []}
        row = results["protocols"]["group"]["models"]["CNN-GRU"]
        row |= {"history": history, "confusion": [[1, 0], [0, 1]], "class_names": ["a", "b"], "clips": 2}
        made = page(results, tmp_path)
        assert ("table_2" in made.tables) is literature
        shown = [made.title, *(s.title for s in made.sections), *(table.title for table in made.tables.values())]
        numbered = [title for title in shown if "Table" in title or "Figure" in title or "with Grad-CAM" in title]
        assert bool(numbered) is (data != "my_videos")
        assert ("What differs from the paper" in shown) and made.facts["the paper"].startswith("differs in ")
        assert not any("paper" in note for note in made.tables["table_1"].notes) or data != "my_videos"


def test_the_page_says_what_chance_is_and_names_what_is_on_both_sides(tmp_path):
    table = table_1(fake_results("my_videos", "group"))
    assert "group split: 200 test clips; none; always answering the most frequent class reaches 0.1250." in table.notes
    (section,) = both_sides(fake_results("my_videos", "group")["protocols"])
    assert section.tables[0].rows == (("a/1.mp4", "b/2.mp4", 0.0),)
    assert both_sides({"random": {"overlap": {"identical": [], "near_identical": None}}}) == []


def test_a_diverged_row_says_why_and_the_others_stand():
    results = fake_results("ucf101", "random", as_in_paper=False)
    results["protocols"]["official"] = {
        "test_clips": 9, "overlap_text": "", "most_frequent_class": 0.1,
        "models": {"CNN-GRU": {"status": "diverged", "reason": "The loss is nan", "starts_from": ""}},
    }  # fmt: skip
    table = table_1(results)
    assert "CNN-GRU, official: The loss is nan" in table.notes
    assert dict(zip(table.columns, table.rows[0], strict=True))["Accuracy, official split"] is None
    results["protocols"] = dict(reversed(results["protocols"].items()))
    assert table_1(results).rows[0][1] == "diverged"
