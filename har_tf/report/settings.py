"""What a run takes differently from its paper, as `har_tf.paper.compare` found it, on the page and under tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from har_tf.paper import as_in_paper
from har_tf.report.page import Section
from har_tf.report.tables import Table

TITLE = "What differs from the paper"


def section(settings: Mapping) -> Section:
    """The part of the page with all that differs; what the paper leaves open, and where it says several things."""
    notes = [f"{_name(entry)}: {entry['why']}." for entry in settings["differs"] if entry["why"]]
    notes += [
        f"The paper says several things of {_name(entry)}: {_places(entry)}. This run takes {value(entry['run'])}."
        + (f" {entry['why']}." if entry["why"] else "")
        for entry in settings["readings"]
    ]
    if settings["open"]:
        reasons: dict[str, list[str]] = {}
        for entry in settings["open"]:
            reasons.setdefault(entry["why"], []).append(f"{_name(entry)} {value(entry['run'])}")
        taken = "; ".join(f"{', '.join(entries)} ({why})" for why, entries in reasons.items())
        notes.append(f"The paper leaves open, and this run takes: {taken}.")
    if not settings["differs"]:
        return Section(TITLE, text="\n\n".join(["Nothing of what the paper says.", *notes]))
    return Section(TITLE, tables=[table(settings, notes)])


def table(settings: Mapping, notes: Sequence[str] = ()) -> Table:
    """Setting by setting, what the paper says and what the run takes."""
    rows = [(_name(entry), _places(entry), value(entry["run"])) for entry in settings["differs"]]
    return Table("Settings that are not the paper's", ["Setting", "The paper", "This run"], rows, notes)


def fact(settings: Mapping) -> str:
    """For the header of the page: whether the run is as in the paper, or in what it is not."""
    if not as_in_paper(settings):
        return f"differs in {_named(settings)}"
    rest = _in_words([_name(entry) for entry in settings["differs"]])
    return f"as in the paper, but for {rest}" if rest else "as in the paper, in all that it says"


def paper_title(settings: Mapping, what: str) -> str:
    """The title of a column with the paper's figures, such as "Paper: accuracy"; it says so where settings differ."""
    return f"Paper: {what}" if as_in_paper(settings) else f"Paper, other settings: {what}"


def paper_note(settings: Mapping) -> list[str]:
    """What stands under a table with the paper's figures: nothing where the settings are the paper's."""
    if as_in_paper(settings):
        return []
    return [f"The paper's figures are of other settings than this run's, which differs in {_named(settings)}."]


def value(found: Any) -> str:
    """A value of a setting, as a reader takes it."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if found is None:
        return "none"
    if isinstance(found, float):
        return f"{found:g}"
    if isinstance(found, list | tuple):
        return " ".join(map(value, found))
    return ", ".join(part.strip() for part in str(found).split(","))


def _name(entry: Mapping) -> str:
    return entry["setting"].replace("_", " ")


def _named(settings: Mapping) -> str:
    """The settings that differ and count, in words."""
    return _in_words([_name(entry) for entry in settings["differs"] if entry["counts"]])


def _in_words(names: Sequence[str]) -> str:
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _places(entry: Mapping) -> str:
    return " or ".join(f"{value(place['value'])} ({place['where']})" for place in entry["paper"])
