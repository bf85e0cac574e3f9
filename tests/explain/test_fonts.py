"""Letters that a font has, and what stands for those that none has."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from har_tf.explain import captions, fonts

STIX = str(Path(fonts.own()).with_name("STIXGeneral.ttf"))


@pytest.fixture
def only(monkeypatch):
    """Makes the machine one with these fonts alone."""

    def install(*files):
        monkeypatch.setattr(fonts, "installed", lambda: list(files))
        fonts.font_of.cache_clear()

    yield install
    monkeypatch.undo()
    fonts.font_of.cache_clear()


def test_a_letter_that_no_font_has_is_an_escape_and_no_box(only):
    only()
    assert fonts.drawable("Übung 打网, العربية") == r"Übung \u6253\u7f51, العربية"
    np.testing.assert_array_equal(captions.line("打 a", 200, 14), captions.line(r"\u6253 a", 200, 14))
    assert fonts.drawable("क\u094d") == r"\u0915", "marks on a letter go with it"


def test_a_font_of_the_machine_is_taken_where_it_has_the_letter(only):
    only("/no/such/font.ttf", STIX)
    letter = next(chr(c) for c in range(0x1D80, 0x1E00) if _lacks(chr(c)))
    assert fonts.font_of(letter) == STIX and fonts.font_of("a") == fonts.own()
    assert fonts.runs(f"a{letter}b") == [(fonts.own(), "a"), (STIX, letter), (fonts.own(), "b")]
    assert fonts.runs("ab", bold=True) == [(fonts.own(bold=True), "ab")]
    assert fonts.families(f"a{letter}") == ["DejaVu Sans", "STIXGeneral"]
    strip = captions.line(f"a{letter}", 80, 20)
    assert captions.width_of(f"a{letter}", 20) > captions.width_of("a", 20)
    assert (strip[:, captions.width_of("a", 20) + 10 :] < 128).any()


def _lacks(letter: str) -> bool:
    return fonts.font_of(letter) == STIX and unicodedata.category(letter) == "Ll"


def test_what_a_terminal_obeys_is_an_escape_in_a_picture_too():
    assert fonts.drawable("a\x1b[2J\n\udc8c\u202eb") == r"a\x1b[2J\n\udc8c\u202eb"
