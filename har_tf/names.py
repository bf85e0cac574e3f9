"""Names of classes and files, and texts that hold them: what may reach a terminal, a picture, a page or a spreadsheet.

Anyone may have given a file its name. Lines that are printed go through `say`, texts in pictures and tables through
`shown`, cells of CSV files through `csv_cell`, and names of files that are made of other names through `file_name`.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from har_tf.files.json_text import parse_json
from har_tf.files.keras_file import json_member

CLASS_NAMES = "class_names.json"  # beside a model, or a member of its file

ClassNames = Sequence[str] | Mapping[str, int] | Mapping[int, str]

# What a terminal, a picture or a page obeys or cannot show: control characters, halves of characters, ends of lines,
# and marks that nobody sees, some of which turn the text around them so that a name reads as another.
_UNSHOWN = frozenset(("Cc", "Cs", "Zl", "Zp", "Cf"))
# A spreadsheet also takes the wide forms of these signs, and what stands behind blanks.
_FORMULA = re.compile(r"'*(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
_ESCAPE = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|U0010[0-9a-f]{4})")
_JOINERS = frozenset("\u200c\u200d")  # which Persian, Hindi and emoji are written with


def check_names(names: Any, where: str) -> tuple[str, ...]:
    """Names of classes that can be shown in a terminal, a picture, a page and a spreadsheet.

    Args:
        names: a list or tuple of strings.
        where: the file or folder that they come from.

    Raises:
        ValueError: something else, an empty name, or one with control characters.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{where}: class names are a list of strings, none of them empty. Received: {names!a}"[:500])
    for name in names:
        if any(map(_is_unshown, name)):
            raise ValueError(f"{where}: class names have no control characters. Received: {name!a}"[:500])
    return tuple(names)


def read_names(path: Path) -> tuple[str, ...]:
    """Class names in the order of a model's outputs, of a file.

    Args:
        path: a `.json` file that `ordered_names` takes, or a text file with a name a line. Where every line begins with
            a number, as in UCF101's `classInd.txt`, the numbers from 0 or 1 on are the order.

    Raises:
        ValueError: it holds something else.
        OSError: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix.lower() == ".json":
            names = parse_json(text)
        else:
            names = [line.strip() for line in text.rstrip().split("\n")]
    except ValueError as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "text"
        raise ValueError(f"{path}: not a {kind} file of class names ({error})") from error
    if path.suffix.lower() != ".json":
        numbered = [re.fullmatch(r"(\d{1,6})[ \t,:]+(.*)", name) for name in names]
        if all(numbered):
            by_number = sorted((int(found[1]), found[2]) for found in numbered)
            if [number - by_number[0][0] for number, _ in by_number] == list(range(len(names))) and by_number[0][0] < 2:
                names = [name for _, name in by_number]
    return ordered_names(names, str(path))


def names_of_model(path: Path) -> tuple[str, ...] | None:
    """The class names in a `.keras` file, else in `class_names.json` beside it; None where neither tells.

    Raises:
        ValueError: they are none; the message says where.
    """
    told, beside = json_member(path, CLASS_NAMES), path.with_name(CLASS_NAMES)
    if told is None:
        return read_names(beside) if beside.is_file() else None
    return ordered_names(told, str(path))


def ordered_names(names: Any, where: str) -> tuple[str, ...]:
    """Class names in the order of a model's outputs: of a list, or of a label map {name: number} or {number: name}.

    Raises:
        ValueError: something else; the message says `where`.
    """
    if isinstance(names, Mapping):
        numbered = names if all(_is_number(number) for number in names.values()) else {v: k for k, v in _pairs(names)}
        names = sorted(numbered, key=lambda name: int(numbered[name]))
        if [int(numbered[name]) for name in names] != list(range(len(names))):
            raise ValueError(
                f"{where}: a label map numbers its classes from 0 on, each once. Received: {numbered!a}"[:500]
            )
    elif isinstance(names, Iterable) and not isinstance(names, str | bytes | set | frozenset):
        names = tuple(names)
    return check_names(names, where)


def _is_number(value: Any) -> bool:
    digits = isinstance(value, str) and value.isdecimal() and len(value) < 10
    return digits or (isinstance(value, int) and not isinstance(value, bool))


def _pairs(names: Mapping) -> list[tuple[str, Any]]:
    """The entries of {number: name}; nothing where that is not what it is."""
    named = all(_is_number(number) and isinstance(name, str) for number, name in names.items())
    return list(names.items()) if named and len(set(names.values())) == len(names) else [("-1", "")]


def shown(text: Any) -> str:
    r"""A text as one line: what a terminal would obey or nothing can show is an escape, as `\x1b` and `\n`."""
    return "".join(escape(letter) if _is_unshown(letter) else letter for letter in str(text))


def escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def say(*lines: Any, to: TextIO | None = None) -> None:
    """Prints lines, each of which stays one whatever names stand in it; `to`: None is stdout."""
    print(*map(shown, lines), sep="\n", file=to, flush=True)


def file_name(text: str) -> str:
    """What a file or folder of this name is called, in at most 100 letters: "sports ball" -> "sports_ball"."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._")[:100] or "_"


def distinct(names: Sequence[str]) -> list[str]:
    """Names of classes by which each can be told: one that several have with its number, as "crane (class 134)"."""
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} (class {i})" for i, name in enumerate(names)]


def _is_unshown(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWN and letter not in _JOINERS


def csv_cell(value: Any) -> Any:
    """A value for a CSV file, which `from_csv_cell` reads: text is one line, see `shown`, and no formula.

    In a text with escapes, or what looks like one, a backslash is two.
    """
    if isinstance(value, str) and (_ESCAPE.search(value) or any(map(_is_unshown, value))):
        value = shown(value.replace("\\", "\\\\"))
    return no_formula(value)


def from_csv_cell(text: str) -> str:
    """The text that `csv_cell` was given."""
    text = text[1:] if text.startswith("'") and _FORMULA.match(text) else text
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), text)


def no_formula(value: Any) -> Any:
    """A value, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def closest(name: str, known: Iterable[str]) -> str:
    """ " Closest: a, b." with up to three of the known names that look like `name` in any case; "" where none does."""
    spelt = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), spelt, n=3, cutoff=0.5)
    return f" Closest: {', '.join(spelt[one] for one in close)}." if close else ""


def index_of(name: str, names: Sequence[str], where: str) -> int:
    """Where a class stands among names, in any case.

    Raises:
        ValueError: there is no such class; the message says `where` and which there are.
    """
    places = {one.casefold(): i for i, one in enumerate(names)}
    if name.casefold() in places:
        return places[name.casefold()]
    listed = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    raise ValueError(f"{where} has no class {name!r}.{closest(name, names)} Its {len(names)} classes: {listed}")
