"""What to answer when a name is not among those that are known."""

import difflib
from collections.abc import Iterable, Sequence


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
