"""The section that stands beside overlays: what it says of maps that do and that do not beat the controls."""

import pytest

from har_tf.report.pages import tested_maps

CONTROLS = ("frame differences", "noise", "another clip's Grad-CAM")


def row(name: str, verdicts=(), mean: float | None = 0.5, groups: int = 8) -> dict:
    """A row as `scrutiny.short` gives it; without verdicts a control."""
    gain = {"mean": mean, "interval": None if mean is None else (mean - 0.1, mean + 0.1), "groups": groups}
    if not verdicts:
        return {"name": f"Control: {name}", "method": name, "kind": "control", "gain": {"both": gain}}
    pairs = zip(CONTROLS, verdicts, strict=True)
    beside = {"both": {f"Control: {control}": {"verdict": verdict} for control, verdict in pairs}}
    return {"name": name, "kind": "method", "gain": {"both": gain}, "beside": beside}


def found(*methods: dict, **outcomes: str) -> dict:
    return {
        "clips": 8, "recordings": 8, "steps": 8, "rows": [*methods, *map(row, CONTROLS)],
        "randomization": {"methods": {name: {"outcome": outcome} for name, outcome in outcomes.items()}},
    }  # fmt: skip


def test_a_map_that_does_not_beat_frame_differences_is_called_so():
    seen = found(
        row("CAM", ["not shown", "better", "better"]), row("RISE", ["better"] * 3), CAM="unchanged", RISE="changes"
    )
    (section,) = tested_maps.sections(seen)
    first, second = section.text.split("\n\n")
    assert first == (
        "CAM is not shown to be better than frame differences: that something is bright in its overlays does not mean "
        "that the model uses it. RISE marks what the model uses better than every control does."
    )
    assert second == (
        "When the network's weights are drawn anew, maps of CAM stay alike, and so do not show what was learned. "
        "Maps of RISE change."
    )
    (table,) = section.tables
    cells = {line[0]: line[1:] for line in table.rows}
    assert cells["CAM"] == (0.5, "0.40\N{EN DASH}0.60", "2 of 3", "unchanged")
    assert cells["Control: noise"][2:] == (None, None)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (row("CAM", ["worse", "not shown", "not shown"]),
         "CAM is worse than frame differences and is not shown to be better than noise or another clip's Grad-CAM: "),
        (row("CAM", ["better", "better", "not shown"], groups=2),
         "CAM is not shown to be better than another clip's Grad-CAM (2 recordings, too few to show it): "),
        (row("CAM", ["not shown"] * 3, mean=None), "CAM: not measured, as the probability of every clip falls by less"),
    ],
)  # fmt: skip
def test_every_verdict_has_its_words(method, says):
    assert tested_maps.against_controls(found(method))[0].startswith(says)


def test_what_was_not_measured_is_left_out_or_said():
    assert tested_maps.sections(None) == []
    seen = found(row("CAM", ["better"] * 3)) | {"not_randomized": "no graph"}
    del seen["randomization"]
    (section,) = tested_maps.sections(seen)
    assert section.text.endswith("Whether maps change with other weights was not measured: no graph")
