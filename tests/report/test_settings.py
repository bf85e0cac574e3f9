"""What differs from the paper, as a page shows it."""

import json

from har_tf.paper import Says, Silent, compare
from har_tf.report import settings

PAPER = {
    "learning_rate": Says(0.001, "section 4"),
    "size": Says((128, 192), "section 3.1", why="small frames are for two cores"),
    "i3d_frames": Says(64, "Table 2", {16: "section 4"}),
    "bidirectional": Says(False, "section III"),
    "tables": Says("9,10", "section 5", counts=False),
    "dropout": Silent("none is named"),
    "clipnorm": Silent("none is named"),
}
SAME = {"learning_rate": 1e-3, "size": (128, 192), "i3d_frames": 16, "bidirectional": False, "tables": "9,10"}


def compared(**changes):
    found = compare(PAPER, SAME | {"dropout": 0.5, "clipnorm": None} | changes)
    return json.loads(json.dumps(found)), settings.section(found)


def test_a_run_in_the_paper_s_setting_says_so_and_what_is_open():
    found, part = compared()
    assert part.tables == () and part.text.startswith("Nothing of what the paper says.\n\n")
    assert "several things of i3d frames: 64 (Table 2) or 16 (section 4). This run takes 16." in part.text
    assert "leaves open, and this run takes: dropout 0.5, clipnorm none (none is named)." in part.text
    assert settings.fact(found) == "as in the paper, in all that it says"
    assert settings.paper_title(found, "accuracy") == "Paper: accuracy" and settings.paper_note(found) == []


def test_what_differs_is_a_table_and_stands_beside_the_paper_s_figures():
    found, part = compared(learning_rate=0.01, size=(64, 96), bidirectional=True, tables="9")
    (table,) = part.tables
    assert table.columns == ("Setting", "The paper", "This run")
    assert table.rows == (
        ("learning rate", "0.001 (section 4)", "0.01"),
        ("size", "128 192 (section 3.1)", "64 96"),
        ("bidirectional", "no (section III)", "yes"),
        ("tables", "9, 10 (section 5)", "9"),
    )
    assert "size: small frames are for two cores." in table.notes
    assert settings.fact(found) == "differs in learning rate, size and bidirectional"
    assert settings.paper_title(found, "accuracy") == "Paper, other settings: accuracy"
    (note,) = settings.paper_note(found)
    assert note.endswith("other settings than this run's, which differs in learning rate, size and bidirectional.")


def test_what_does_not_count_leaves_the_run_as_in_the_paper():
    found, part = compared(tables="9")
    assert part.tables[0].rows == (("tables", "9, 10 (section 5)", "9"),)
    assert settings.fact(found) == "as in the paper, but for tables" and settings.paper_note(found) == []
