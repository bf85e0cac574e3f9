"""What to answer when a name is not among those that are known."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """ " Closest: a, b." with up to three of the known names that look like `name` in any case; "" where none does."""
    spelt = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), spelt, n=3, cutoff=0.5)
    return f" Closest: {', '.join(spelt[one] for one in close)}." if close else ""
