"""Tables 9 and 10 and what is concluded from them, from results alone."""

from experiments.gated_recognition import PAPER_TABLE_9, PAPER_TABLE_10
from har_tf.paper import Says, compare
from har_tf.report.page import Figure, Section, stored
from har_tf.report.pages.gated_recognition import conclusion, page, table_of

ROWS = [
    "resnext3d",
    "resnext3d_gated",
    "i3d",
    "i3d_3",
    "i3d_2",
    "i3d_1+2+3",
    "i3d_2+3",
    "i3d_3_flow",
    "i3d_3_rgb+flow",
]


def fake_results(data="ucf101", weights="a.pth", epochs=50, **statuses):
    def row(name, table):
        about = {"label": name, "table": table, "modality": "rgb", "taps": []}
        if name in statuses:
            return about | {"status": statuses[name], "reason": "why"}
        history = {"accuracy": [0.1, 0.9], "loss": [2.0, 1.0]}
        return about | {
            "status": "run",
            "reason": None,
            "clip_accuracy": 0.8,
            "video_accuracy": 0.9,
            "video_interval": [0.85, 0.94],
            "deviation_over_seeds": 0.01,
            "parameters": 12_390_789,
            "training_seconds": 60.0,
            "weights": weights,
            "trials": [{"history": history}, {"history": history}],
        }

    counts = {"num_frames": 16, "clips": 155000, "skipped": 0, "test": 41822}
    clips = {"resnext3d": counts, "i3d": counts | {"num_frames": 64, "clips": 39000, "test": 10400}}
    data = {"name": data, "classes": ["a", "b"], "videos": 13320, "clips": clips}
    rows = {name: row(name, 9 if name.startswith("resnext") else 10) for name in ROWS}
    if "weights" in rows["i3d_3_rgb+flow"]:
        del rows["i3d_3_rgb+flow"]["weights"]
        rows["i3d_3_rgb+flow"] |= {"fused": ["i3d_3", "i3d_3_flow"], "modality": "rgb + flow"}
    return {
        "dataset": data,
        "settings": compare({"step_epochs": Says(50, "section 4")}, {"step_epochs": epochs}),
        "protocol": "official",
        "split": 1,
        "paper": {"9": PAPER_TABLE_9, "10": PAPER_TABLE_10},
        "overlap_text": "none",
        "overlap": {"identical": None, "near_identical": None},
        "most_frequent_class": 0.01,
        "comparisons": [],
        "seeds": [0, 1],
        "epochs": 100,
        "validation": 0.0,
        "test_videos": 3783,
        "rows": rows,
        "shown": "resnext3d_gated",
        "pictures": [],
    }


def test_the_paper_s_figures_stand_beside_what_they_may_be_of():
    nine, ten = (table_of(fake_results(i3d_3_flow="not run"), number) for number in (9, 10))
    assert nine.columns[-2:] == ("Paper: frame-wise total", "Paper: video-wise")
    assert [row[-2:] for row in nine.rows] == [(0.875, 0.891), (0.895, 0.919)]
    assert [row[-1] for row in ten.rows] == [0.962, 0.968, 0.967, 0.961, 0.971, None, 0.978]
    assert any("does not say of which data" in note for note in nine.notes)
    assert ten.rows[5][2:6] == ("not run", "not run", None, None)
    assert any("not run, why" in note for note in ten.notes)
    for number in (9, 10):
        shorter = table_of(fake_results(epochs=6), number)
        assert shorter.columns[-1].startswith("Paper, other settings: ")
        assert any(note.endswith("this run's, which differs in step epochs.") for note in shorter.notes)
        other = table_of(fake_results("figures"), number)
        assert not any(column.startswith("Paper") for column in other.columns)
        assert any("not set beside these" in note for note in other.notes)


def test_every_network_has_its_own_clips():
    nine, ten = (table_of(fake_results(), number).notes[0] for number in (9, 10))
    assert nine.startswith("Measured on 155000 clips of 16 frames of 13320 videos of 2 classes of ucf101, official")
    assert "3783 test videos, 41822 clips of 3D ResNeXt." in nine
    assert ten.startswith("Measured on 39000 clips of 64 frames of 13320") and "10400 clips of I3D." in ten


def test_without_weights_every_row_is_not_run_and_the_page_stands(tmp_path):
    results = fake_results(**dict.fromkeys(ROWS, "not run")) | {"shown": None}
    results["dataset"] |= {"clips": {}}
    published = page(results, tmp_path)
    for number, table in ((9, "table_9"), (10, "table_10")):
        assert {row[2] for row in published.tables[table].rows} == {"not run"}
        assert published.tables[table].columns[-1].startswith("Paper: "), number
        (note,) = (note for note in published.tables[table].notes if "not run, why" in note)
        assert all(row[0] in note for row in published.tables[table].rows)
    assert published.facts["accuracy"] == "no row was run" and published.summary is None
    assert published.facts["data"] == "13320 videos of 2 classes of ucf101"


def test_notes_say_what_the_weights_start_from():
    notes = table_of(fake_results(), 10).notes
    assert "From a.pth, with a new classifier: i3d, rgb; i3d_3, rgb; i3d_2, rgb; i3d_1+2+3, rgb; " in " ".join(notes)
    assert "From the networks above, the mean of their probabilities: i3d_3_rgb+flow, rgb + flow." in notes
    assert any(
        note.startswith("From random weights: resnext3d, ") for note in table_of(fake_results(weights=None), 9).notes
    )
    assert any("the last; mean of 2 seeds" in note for note in notes)
    validated = table_of(fake_results() | {"validation": 0.1, "seeds": [3]}, 10)
    assert any("best on validation videos; seed 3" in note for note in validated.notes)
    assert "Deviation over seeds" not in validated.columns


def test_the_page_shows_tables_curves_and_pictures(tmp_path):
    (tmp_path / "strip.png").touch()
    results = fake_results(weights=None, i3d_2="diverged")
    results["pictures"] = stored([Section("Strip", figures=[Figure(tmp_path / "strip.png")])], tmp_path)
    published = page(results, tmp_path)
    assert list(published.tables) == ["table_9", "table_10"]
    titles = [section.title for section in published.sections]
    assert titles[0] == "Does gating help?"
    assert titles[-3:] == ["I3D: curves", "What differs from the paper", "Strip"]
    assert {path.name for path in tmp_path.glob("table_*")} == {
        f"table_{n}_{metric}.png" for n in (9, 10) for metric in ("accuracy", "loss")
    }
    assert published.facts["accuracy"] == "0.9000 video-wise, 0.8000 clip-wise (resnext3d_gated)"
    assert published.facts["gating"] == "Nothing to compare."
    assert "random weights" in published.summary
    assert page(fake_results(), tmp_path).summary is None


def compared(second, verdict, points):
    return {"rows": ["x", second], "verdict": verdict, "seeds": {"difference": points / 100}}


def test_the_conclusion_claims_no_more_than_the_tests():
    assert conclusion({"comparisons": [compared("resnext3d", "better", 2.8)]}) == [
        "3D ResNeXt: gating helps; +2.8 points of video-wise accuracy."
    ]
    (told,) = conclusion({"comparisons": [compared("resnext3d", "not shown", 1)]})
    assert "is not shown to help" in told
    several = [compared("i3d", "better", 1), compared("i3d", "not shown", 0)]
    (told,) = conclusion({"comparisons": [*several, compared("i3d", "worse", -3)]})
    assert told.startswith("I3D (3 choices of layers): gating helps in 1 of them and harms in 1; +1.0, +0.0, -3.0")
    (told,) = conclusion({"comparisons": [compared("i3d", "worse", -3), several[1]]})
    assert "harms in 1 of them, and helps in none" in told
    assert conclusion({"comparisons": [compared("i3d_3", "better", 5)]}) == [], "that is the help of flow"
