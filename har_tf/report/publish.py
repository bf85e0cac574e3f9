"""Tables, figures and the page of a run, from `results.json` alone: when it ends, or at any time later."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from har_tf.files.json_text import parse_json
from har_tf.files.whole import whole_file
from har_tf.names import say
from har_tf.report.page import write_page


class ReportError(ValueError):
    """A folder that no report can be made of."""


def publish(folder: str | Path) -> Path:
    """Writes `tables/`, the figures that follow from numbers, `report.html`, and of models that were trained
    `model_card.md`; prints the tables.

    Each experiment has a module in `har_tf.report.pages`, whose `page(results, figures)` makes its page of what
    `results.json` holds, and draws what follows from numbers into the folder `figures`. Strips of frames and overlay
    videos were made with the model; they are shown as they lie in the folder.

    Args:
        folder: of a run, with `results.json` and `environment.json`.

    Returns:
        The page.

    Raises:
        ReportError: not the folder of a finished run, or of a run of an earlier version.
        FileNotFoundError: a picture of the run is missing.
        OSError: a file cannot be written.
    """
    from har_tf.report import model_card  # SciPy, which an experiment's help does not wait for

    folder = Path(folder)
    results, environment = (_read(folder / name) for name in ("results.json", "environment.json"))
    experiment = results.get("experiment")
    if experiment is None:
        raise ReportError(
            f"{folder / 'results.json'}: written by an earlier version, which named no experiment. The command of "
            "environment.json, run again, goes on from what it trained and writes the report anew"
        )
    module = f"har_tf.report.pages.{experiment}"
    if not str(experiment).isidentifier() or find_spec(module) is None:
        raise ReportError(f"{folder / 'results.json'}: no page is known for this experiment. Received: {experiment!r}")
    of = importlib.import_module(module)
    try:
        page = of.page(results, folder / "figures")
        cards = of.cards(results) if hasattr(of, "cards") else []
        card = model_card.text_of(cards) if cards else None
        about = {"date": environment["date"], "machine": machine(environment), "command": environment["command"]}
    except OSError:
        raise
    except Exception as error:  # a value of another type fails wherever it is counted or drawn
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        raise ReportError(
            f"{folder / 'results.json'}: holds other values than the page of {experiment} shows ({reason})"
        ) from error
    for stem, table in page.tables.items():
        table.write(folder / "tables", stem)
    written = write_page(folder / "report.html", page.title, {**page.facts, **about}, page.sections, page.summary)
    for text in page.printed:
        say("", *text.split("\n"))
    if card is not None:
        with whole_file(folder / model_card.NAME) as part:
            part.write_text(card, encoding="utf-8", newline="\n")
    say(f"run folder: {folder}", f"report:     {written}")
    return written


def machine(environment: dict) -> str:
    """The machine in a few words."""
    cores = f"{environment['cores']} cores of {environment['processor']}"
    return ", ".join([*environment["gpus"], cores])


def _read(path: Path) -> dict:
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise ReportError(f"{path}: not there; a report is made from the folder of a finished run") from None
    except ValueError as error:
        raise ReportError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: expected an object of JSON. Received: a {type(content).__name__}")
    return content
