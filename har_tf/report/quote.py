"""Measured tables in a document, such as a README: what stands between two marks is written by a command.

    <!-- table ucf10_cnn_gru/figures-*/table_1 -->

    | Model | Accuracy | ...

    <!-- end of table -->

The mark names the experiment, the folder of the run (`*` stands for anything) and the table.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from har_tf.files.whole import whole_file

_MARKED = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


class QuoteError(ValueError):
    """Documents without a place for a run's tables; one line that names them."""


def quote(run: str | Path, documents: Sequence[str | Path]) -> list[Path]:
    """Writes the tables of a run where documents have marks for them; all else in the documents stays.

    Args:
        run: folder of a run, EXPERIMENT/RUN, with `tables/*.md`.
        documents: Markdown files.

    Returns:
        The documents that changed.

    Raises:
        QuoteError: no document has a mark for this run, or a mark names a table that the run does not have. Then no
            document is changed.
        OSError: a document cannot be read or written.
    """
    run = Path(run).resolve()
    tables = {f"{run.parent.name}/{run.name}/{file.stem}": _grid(file) for file in sorted(run.glob("tables/*.md"))}
    places, written = 0, {}
    for document in map(Path, documents):
        text = document.read_text(encoding="utf-8")

        def filled(mark: re.Match, document: Path = document) -> str:
            nonlocal places
            pattern = mark[2]
            if not fnmatchcase(f"{run.parent.name}/{run.name}", pattern.rpartition("/")[0]):
                return mark[0]
            names = [name for name in tables if fnmatchcase(name, pattern)]
            if len(names) != 1:
                found = ", ".join(Path(name).name for name in tables) or "none"
                raise QuoteError(f"{document}: <!-- table {pattern} --> names no one table of {run}. It has: {found}")
            places += 1
            return f"{mark[1]}\n{tables[names[0]]}\n{mark[4]}"

        new = _MARKED.sub(filled, text)
        if new != text:
            written[document] = new
    if documents and not places:
        raise QuoteError(
            f"{', '.join(map(str, documents))}: no place for the tables of {run.parent.name}/{run.name}. Expected two "
            f"lines, <!-- table {run.parent.name}/{run.name}/TABLE --> and <!-- end of table -->"
        )
    for document, text in written.items():
        with whole_file(document) as part:
            part.write_text(text, encoding="utf-8")
    return list(written)


def _grid(file: Path) -> str:
    """The rows of a table without its title and notes."""
    return "".join(line + "\n" for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
