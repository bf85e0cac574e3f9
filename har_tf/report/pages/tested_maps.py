"""Whether the maps that a report shows deserve trust: a short section, so that no overlay stands alone."""

from collections.abc import Mapping

from har_tf.evaluate.comparison import Verdict
from har_tf.report import trust_words
from har_tf.report.page import Section
from har_tf.report.pages.trust import GAIN, beaten
from har_tf.report.tables import Table, interval

TITLE = "Do these maps deserve trust?"
_ENOUGH = 6  # recordings: of fewer, no difference is shown, however large (`har_tf.evaluate.paired`)


def sections(found: Mapping | None) -> list[Section]:
    """What `har_tf.scrutiny.short` found, to stand beside the overlays; None, as of runs before it was measured: none.

    Args:
        found: the "tested_maps" of `results.json`.
    """
    if not found:
        return []
    text = f"{' '.join(against_controls(found))}\n\n{with_random_weights(found)}"
    return [Section(TITLE, text, tables=[table(found)])]


def table(found: Mapping) -> Table:
    """Maps and controls by deletion and insertion."""
    outcomes = trust_words.outcomes_of(found)
    columns = {
        "Map": "name",
        "Gain": lambda row: row["gain"]["both"]["mean"],
        "95 %": lambda row: interval(row["gain"]["both"]["interval"], 2),
        "Beats": lambda row: beaten(row, "both"),
        "Random weights": lambda row: outcomes.get(row["name"]),
    }
    notes = [
        f"{found['clips']} test clips of {trust_words.recordings(found['recordings'])}; pixels of the whole clip are "
        f"deleted and inserted in {found['steps']} steps, blurred where they are missing. {GAIN}",
        "Beats: so many of the controls, clip by clip. Random weights: whether the map changes when the network's "
        "weights are drawn anew, as it should. `python -m har_tf trust` measures more.",
    ]
    return Table.of("Deletion and insertion", found["rows"], columns, notes=notes, formats={"Gain": ".2f"})


def against_controls(found: Mapping) -> list[str]:
    """Whether each map that is shown is better than the controls, a sentence each."""
    titles = {row["name"]: row.get("method", row["name"]) for row in found["rows"]}
    return [_against(row, titles) for row in found["rows"] if row["kind"] == "method"]


def _against(row: Mapping, titles: Mapping[str, str]) -> str:
    name, gain = row["name"], row["gain"]["both"]
    if gain["mean"] is None:
        return f"{name}: not measured, as the probability of every clip falls by less than 0.05 when it is blurred."
    by_verdict: dict[str, list[str]] = {}
    for control, difference in row["beside"]["both"].items():
        by_verdict.setdefault(difference["verdict"], []).append(titles[control])
    worse, open_ = by_verdict.get(Verdict.WORSE, []), by_verdict.get(Verdict.NOT_SHOWN, [])
    if not worse and not open_:
        return f"{name} marks what the model uses better than every control does."
    parts = [f"is worse than {trust_words.listed(worse, 'or')}"] if worse else []
    parts += [f"is not shown to be better than {trust_words.listed(open_, 'or')}"] if open_ else []
    few = (
        f" ({trust_words.recordings(gain['groups'])}, too few to show it)" if open_ and gain["groups"] < _ENOUGH else ""
    )
    return (
        f"{name} {' and '.join(parts)}{few}: that something is bright in its overlays does not mean that the model "
        "uses it."
    )


def with_random_weights(found: Mapping) -> str:
    """Whether the maps depend on what was learned, a sentence."""
    if "not_randomized" in found:
        return f"Whether maps change with other weights was not measured: {found['not_randomized']}"
    return trust_words.unchanged(found)
