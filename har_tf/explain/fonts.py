"""Which fonts have the letters of a text: DejaVu Sans, else one of this machine's; what none has is an escape."""

import functools
from itertools import groupby
from pathlib import Path
from unicodedata import category

from har_tf.names import escape, shown


def drawable(text: str) -> str:
    r"""A text as a picture can show it: letters that no font has are escapes such as `\u6253`, not empty boxes."""
    return "".join(
        letter if letter.isspace() or font_of(letter) is not None else _instead(letter) for letter in shown(text)
    )


def runs(text: str, bold: bool = False) -> list[tuple[str, str]]:
    """A drawable text in pieces of one font each: [(the font's file, piece)]."""

    def file(letter: str) -> str:
        found = font_of(letter) or own()
        return own(bold=True) if bold and found == own() and ord(letter) in _letters(own(bold=True)) else found

    return [(font, "".join(piece)) for font, piece in groupby(text, file)]


def families(text: str) -> list[str]:
    """The fonts that matplotlib needs for a drawable text, by their names, DejaVu Sans first."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    files = sorted({font for letter in set(text) if (font := font_of(letter)) not in (None, own())})
    for file in files:
        font_manager.fontManager.addfont(file)
    return ["DejaVu Sans", *(FT2Font(file).family_name for file in files)]


@functools.cache
def own(bold: bool = False) -> str:
    """The file of DejaVu Sans, which comes with matplotlib."""
    import matplotlib  # late: it takes a moment

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' * bold}.ttf")


@functools.cache
def font_of(letter: str) -> str | None:
    """The file of a font that has a letter; None: there is none."""
    if ord(letter) in _letters(own()):
        return own()
    return next((file for file in installed() if ord(letter) in _letters(file)), None)


def _instead(letter: str) -> str:
    """What stands for a letter that no font has; a joiner, or a mark on the letter before, is left out."""
    return "" if category(letter) in ("Mn", "Cf") else escape(letter)


@functools.cache
def installed() -> list[str]:
    """The files of this machine's fonts, but for those that have a box for every letter."""
    from matplotlib import font_manager

    return sorted(file for file in font_manager.findSystemFonts() if "lastresort" not in Path(file).name.casefold())


@functools.cache
def _letters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap() if font.scalable else ())
    except (RuntimeError, OSError):  # no font that can be drawn at any size, such as one of coloured pictures
        return frozenset()
