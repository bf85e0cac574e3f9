"""Names of classes: which can be shown anywhere, and what to answer when one is not among those that are known."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

# What a terminal, a picture or a page obeys or cannot show: control characters, halves of characters, ends of lines.
_UNSHOWN = frozenset(("Cc", "Cs", "Zl", "Zp"))
# Characters that turn the direction of the text around them, so that a name reads as another.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_names(names: Any, where: str) -> tuple[str, ...]:
    """Names of classes that can be shown in a terminal, a picture, a page and a spreadsheet.

    Args:
        names: a list or tuple of strings.
        where: the file or folder that they come from.

    Raises:
        ValueError: something else, an empty name, or one with control characters.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{where}: class names are a list of strings, none of them empty. Received: {names!r}"[:500])
    for name in names:
        if any(unicodedata.category(letter) in _UNSHOWN or letter in _TURNING for letter in name):
            raise ValueError(f"{where}: class names have no control characters. Received: {name!a}"[:500])
    return tuple(names)


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would take for a formula has an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


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
