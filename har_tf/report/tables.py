"""One table, written as Markdown, CSV, LaTeX and HTML."""

import csv
import html
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from har_tf.files.whole import whole_file
from har_tf.names import no_formula, shown

Cell = str | float | int | None

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
} | {special: "\\" + special for special in "&%$#_{}"}


@dataclass(frozen=True)
class Table:
    """A titled table whose cells are printed as they were passed.

    A column that holds a number in any row is a number column: it is aligned to the right, text such as
    "not run" included. Every other column is aligned to the left. None is printed as an en dash (an empty
    cell in CSV).

    Args:
        title: the caption.
        columns: the column names, all different.
        rows: sequences of cells, each as long as `columns`: text, number or None.
        notes: lines under the table, such as what it was measured on.
        formats: column name -> format specification of its numbers, such as ".1%" or ",". Without one, floats
            have four digits after the point and integers none.
        highest: columns whose largest number is bold. Numbers that print alike are bold together; a column
            with a single number has no best one.
        lowest: columns whose smallest number is bold.

    Raises:
        ValueError: a row of another length, a column named twice, a column that does not exist, a format that
            numbers cannot have, or a cell that is neither text nor number nor None.

    Example:
        >>> table = Table("Table 1", ["Model", "Accuracy"], [["CNN-GRU", 0.965], ["VGG16", "not run"]])
        >>> print(table.markdown())
        **Table 1**
        <BLANKLINE>
        | Model   | Accuracy |
        |:--------|---------:|
        | CNN-GRU |   0.9650 |
        | VGG16   |  not run |
        <BLANKLINE>
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    highest: Sequence[str] = ()
    lowest: Sequence[str] = ()

    def __post_init__(self):
        for name in ("columns", "notes", "highest", "lowest"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a sequence of texts. Received: {getattr(self, name)!r}.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "rows", tuple(tuple(map(_plain, row)) for row in self.rows))
        object.__setattr__(self, "formats", dict(self.formats))
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns must be at least one, all different. Received: {list(self.columns)}.")
        for argument in ("formats", "highest", "lowest"):
            unknown = [name for name in getattr(self, argument) if name not in self.columns]
            if unknown:
                raise ValueError(f"{argument} must be among {list(self.columns)}. Received: {unknown}.")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table {self.title!r} must have {len(self.columns)} cells. "
                    f"Received: {len(row)}, {list(row)}."
                )
            for cell in row:
                if not (cell is None or isinstance(cell, str | Real)):
                    raise ValueError(
                        f"row {number} of table {self.title!r} must hold text, numbers or None. "
                        f"Received: {cell!r} ({type(cell).__name__})."
                    )
        for name, specification in self.formats.items():
            try:
                format(0.5, specification)
            except ValueError as error:
                raise ValueError(
                    f"formats must hold formats of numbers. Received: {name!r}: {specification!r}."
                ) from error

    @classmethod
    def of(
        cls, title: str, rows: Iterable[Mapping], columns: Mapping[str, str | Callable[[Mapping], Cell]], **more
    ) -> "Table":
        """A table from rows as `results.json` has them.

        Args:
            title: the caption.
            rows: mappings.
            columns: name -> the key of its cells, None where a row lacks it; or what takes a row and gives the cell.
            **more: notes, formats, highest, lowest.
        """
        cells = [[row.get(of) if isinstance(of, str) else of(row) for of in columns.values()] for row in rows]
        return cls(title, list(columns), cells, **more)

    def markdown(self) -> str:
        """Returns the table in Markdown, padded so that it reads as a table in a terminal too."""
        bold = self._bold()
        marked = [any(line) for line in zip(*bold, strict=True)] or [False] * len(self.columns)
        grid = [[markdown_text(name) for name in self.columns]]
        for texts, strong in zip(self._texts(), bold, strict=True):
            # The two blanks keep the digits of the other rows under those of the bold one.
            grid.append(
                [
                    f"**{markdown_text(text)}**" if is_bold else markdown_text(text) + "  " * has_bold
                    for text, is_bold, has_bold in zip(texts, strong, marked, strict=True)
                ]
            )
        widths = [max(3, *map(_width, column)) for column in zip(*grid, strict=True)]
        right = self._right()
        rule = [
            "-" * (width + 1) + ":" if is_right else ":" + "-" * (width + 1)
            for width, is_right in zip(widths, right, strict=True)
        ]
        lines = [
            "| " + " | ".join(_pad(*cell) for cell in zip(texts, widths, right, strict=True)) + " |" for texts in grid
        ]
        lines.insert(1, "|" + "|".join(rule) + "|")
        blocks = [f"**{markdown_text(self.title)}**", "\n".join(lines)]
        if self.notes:
            blocks.append("\n".join(f"- {markdown_text(note)}" for note in self.notes))
        return "\n\n".join(blocks) + "\n"

    def csv(self) -> str:
        """Returns header and rows as CSV for programs: numbers in full, None as an empty cell, no title."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(_csv, self.columns))
        for row in self.rows:
            writer.writerow(map(_csv, row))
        return buffer.getvalue()

    def latex(self, label: str | None = None) -> str:
        r"""Returns a `table` environment for a document that loads `booktabs`.

        Args:
            label: the name for `\ref`; None for no label.
        """
        body = [" & ".join(_latex(name) for name in self.columns) + r" \\", r"\midrule"]
        for texts, strong in zip(self._texts(), self._bold(), strict=True):
            cells = [
                rf"\textbf{{{_latex(text)}}}" if is_bold else _latex(text)
                for text, is_bold in zip(texts, strong, strict=True)
            ]
            body.append(" & ".join(cells) + r" \\")
        alignment = "".join("r" if is_right else "l" for is_right in self._right())
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(self.title)}}}",
            *([rf"\label{{{label}}}"] if label else []),
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {_latex(note)}\par}}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """Returns a `figure` with caption, table and notes; cells of number columns have the class `num`."""
        kinds = [' class="num"' if is_right else "" for is_right in self._right()]
        head = "".join(
            f'<th scope="col"{kind}>{_html(name)}</th>' for name, kind in zip(self.columns, kinds, strict=True)
        )
        lines = [
            '<figure class="table">',
            f"<figcaption>{_html(self.title)}</figcaption>",
            '<div class="scroll"><table>',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
        ]
        for texts, strong in zip(self._texts(), self._bold(), strict=True):
            cells = "".join(
                f"<td{kind}>" + (f"<strong>{_html(text)}</strong>" if is_bold else _html(text)) + "</td>"
                for text, is_bold, kind in zip(texts, strong, kinds, strict=True)
            )
            lines.append(f"<tr>{cells}</tr>")
        lines += ["</tbody>", "</table></div>"]
        if self.notes:
            notes = "".join(f"<li>{_html(note)}</li>" for note in self.notes)
            lines.append(f'<ul class="notes">{notes}</ul>')
        return "\n".join([*lines, "</figure>"])

    def write(self, folder, stem: str) -> dict[str, Path]:
        """Writes `stem`.md, `stem`.csv and `stem`.tex (labelled `tab:stem`), each whole or not at all.

        Args:
            folder: where to; made where it is missing.
            stem: file name without ending.

        Returns:
            The three paths under the keys "md", "csv" and "tex".

        Raises:
            ValueError: `stem` is not a plain file name.
            OSError: the folder cannot be written to.
        """
        if not stem or stem in (".", "..") or re.search(r"[/\\\0]", stem):
            raise ValueError(f"stem must be a file name without folder and ending. Received: {stem!r}.")
        texts = {"md": self.markdown(), "csv": self.csv(), "tex": self.latex(label=f"tab:{stem}")}
        paths = {}
        for ending, text in texts.items():
            paths[ending] = Path(folder) / f"{stem}.{ending}"
            with whole_file(paths[ending]) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        return paths

    def _texts(self) -> list[list[str]]:
        """The rows as they are printed, not yet escaped."""
        return [
            [_text(cell, self.formats.get(name)) for name, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def _right(self) -> list[bool]:
        """Which columns hold a number."""
        return [any(isinstance(row[position], Real) for row in self.rows) for position in range(len(self.columns))]

    def _bold(self) -> list[list[bool]]:
        """Which cells are the best of their column."""
        bold = [[False] * len(self.columns) for _ in self.rows]
        texts = self._texts()
        for names, best in ((self.highest, max), (self.lowest, min)):
            for position in map(self.columns.index, names):
                numbers = {
                    index: row[position]
                    for index, row in enumerate(self.rows)
                    if isinstance(row[position], Real) and math.isfinite(row[position])
                }
                if len(numbers) < 2:
                    continue
                winner = texts[best(numbers, key=numbers.get)][position]
                for index in numbers:
                    bold[index][position] = texts[index][position] == winner
        return bold


def interval(bounds: Sequence[float] | None, digits: int = 3) -> str | None:
    """Lower and upper bound with an en dash between them; None of no interval."""
    return None if bounds is None else "\N{EN DASH}".join(f"{bound:.{digits}f}" for bound in bounds)


def _plain(cell):
    """NumPy scalars as Python numbers, truth as a word."""
    if isinstance(cell, Real | np.bool_) and hasattr(cell, "item"):
        cell = cell.item()
    return {True: "yes", False: "no"}[cell] if isinstance(cell, bool) else cell


def _text(cell, specification=None) -> str:
    if cell is None:
        return "\N{EN DASH}"
    if isinstance(cell, str):
        return cell
    if specification is None:
        specification = "d" if isinstance(cell, Integral) else ".4f"
    return format(cell, specification)


def _csv(cell):
    if not isinstance(cell, str):
        return "" if cell is None else cell
    return no_formula("\n".join(map(shown, cell.split("\n"))))


def markdown_text(text) -> str:
    """A text as one line of Markdown that shows it as it is."""
    return re.sub(r"[\\`*|\[\]]|<(?=[A-Za-z/!?])", r"\\\g<0>", _line(text))


def _latex(text) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in _line(text))
    # `\\` and the rules read a following bracket or star as their own argument.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped


def _html(text) -> str:
    return html.escape(_line(text))


def _line(text) -> str:
    return shown(" ".join(text.split()))


def _width(text) -> int:
    """Columns a text takes in a terminal: two for a wide East Asian character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _pad(text, width, right) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks
