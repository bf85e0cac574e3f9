"""What a paper says of the settings of an experiment, and where a run takes something else.

An experiment declares, of each of its options and of what else its figures depend on, what the paper says:

    PAPER = {
        "epochs": Says(20, "section 4.2"),
        "bidirectional": Says(False, "section III", {True: "the conclusion"}),  # it says both
        "batch_size": Silent("what fits a free GPU"),
        "export": None,  # which changes no figure
    }

`compare` makes of it and of what a run takes what `results.json` holds under "settings", and `har_tf.report.settings`
what a report shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Says:
    """What a paper says of a setting.

    Args:
        value: as the option has it.
        where: the place in the paper, such as "section 4.1".
        others: further values -> where, of a paper that says several things; each of them is the paper's.
        counts: whether the paper's figures are no longer comparable where a run takes something else.
        why: what a reader should know where a run takes something else.
    """

    value: Any
    where: str
    others: Mapping[Any, str] = field(default_factory=dict)
    counts: bool = True
    why: str | None = None


@dataclass(frozen=True)
class Silent:
    """That a paper says nothing of a setting; `why` is why the experiment takes what it takes by default."""

    why: str


Paper = Mapping[str, Says | Silent | None]


def compare(paper: Paper, taken: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What a run takes, beside what the paper says.

    Args:
        paper: setting -> what the paper says; None: it changes no figure, and is left out.
        taken: setting -> what the run takes, of all settings of `paper` and perhaps of others.

    Returns:
        "differs" -> what the run takes differently, each with "setting", "paper" (a list of "value" and "where"),
        "run", "counts" and "why"; "readings" -> the same of settings of which the paper says several things, and the
        run takes one of them; "open" -> "setting", "run" and "why" of those that the paper leaves open.

    Raises:
        KeyError: a setting of which is not said what the run takes.
    """
    found: dict[str, list[dict[str, Any]]] = {"differs": [], "readings": [], "open": []}
    for name, said in paper.items():
        if said is None:
            continue
        run = tuple(taken[name]) if isinstance(taken[name], list) else taken[name]
        if isinstance(said, Silent):
            found["open"].append({"setting": name, "run": run, "why": said.why})
            continue
        values = {said.value: said.where, **said.others}
        kind = "differs" if run not in values else "readings" if said.others else None
        if kind:
            places = [{"value": value, "where": where} for value, where in values.items()]
            entry = {"setting": name, "paper": places, "run": run, "counts": said.counts, "why": said.why}
            found[kind].append(entry)
    return found


def as_in_paper(settings: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether a run, of which `compare` gave `settings`, takes all that counts as the paper says."""
    return not any(entry["counts"] for entry in settings["differs"])
