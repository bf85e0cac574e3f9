"""Lines of text above and below pictures, and the legend of a colour scale."""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from har_tf.explain import fonts

PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (95, 95, 95)
SMALLEST = 9  # pixels: letters below it cannot be read


def line(
    text: str,
    across: int,
    letters: int,
    ink=INK,
    bold: bool = False,
    right: np.ndarray | None = None,
    tail: str = "",
    paper=PAPER,
) -> np.ndarray:
    """A strip of paper with one line of text that fits: in smaller letters if need be, and then cut with an ellipsis.

    Args:
        text: any, see `fonts.drawable`.
        across: pixels.
        letters: their size in pixels.
        right: a picture at the right end, no higher than a line.
        tail: what follows the text and is cut last.
        paper: colour of the strip.

    Returns:
        uint8 (height of a line, across, 3).
    """
    strip = np.full((height_of(letters), across, 3), paper, "uint8")
    margin = letters // 2
    room = across - 2 * margin
    if right is not None:
        right = right[:, :room]
        top, left = (len(strip) - len(right)) // 2, across - margin - right.shape[1]
        strip[top : top + len(right), left : left + right.shape[1]] = right
        room -= right.shape[1] + margin
    text, tail = fonts.drawable(text), fonts.drawable(tail)
    while letters > SMALLEST and width_of(text + tail, letters, bold) > room:
        letters -= 1
    if width_of(text + tail, letters, bold) > room:
        while text and width_of(text + "…" + tail, letters, bold) > room:
            text = text[:-1]
        text += "…"
        while tail and width_of(text + tail, letters, bold) > room:
            tail = tail[:-1]
    text += tail
    if text:
        strip = _written(strip, text, margin, letters, ink, bold)
    return strip


def plate(text: str, letters: int, ink=INK, paper=PAPER, across: int | None = None) -> np.ndarray:
    """A strip that is as wide as its text, or `across` where that is less."""
    wanted = width_of(fonts.drawable(text), letters) + 2 * (letters // 2)
    return line(text, min(wanted, across or wanted), letters, ink, paper=paper)


def lines(text: str, across: int, letters: int, ink=GREY) -> list[np.ndarray]:
    """A text in as many strips as it takes, broken between words."""
    broken = [""]
    for word in text.split(" "):
        longer = f"{broken[-1]} {word}".strip()
        if broken[-1] and width_of(longer, letters) > across - letters:
            broken.append(word)
        else:
            broken[-1] = longer
    return [line(each, across, letters, ink) for each in broken]


def legend(colours: np.ndarray, meaning: str, across: int, letters: int) -> np.ndarray:
    """The colour scale between "0" and what its other end means, or what stands before the colon where that is wide."""
    while letters > SMALLEST and 6 * letters + width_of("0", letters) + width_of(meaning, letters) > across:
        letters -= 1
    if 6 * letters + width_of("0", letters) + width_of(meaning, letters) > across:
        meaning = meaning.partition(":")[0]
    gap, bar = letters // 2, 5 * letters
    zero, end = width_of("0", letters), width_of(meaning, letters)
    picture = np.full((height_of(letters) - 2, zero + end + 2 * gap + bar, 3), PAPER, "uint8")
    picture[3:-3, zero + gap : zero + gap + bar] = colours[np.linspace(0, 255, bar).astype(int), 0]
    for text, left in (("0", 0), (meaning, zero + bar + 2 * gap)):
        picture = _written(picture, text, left, letters)
    return picture


def beside(pictures: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Pictures of one height as one, with a strip of paper between them."""
    between = np.full((len(pictures[0]), gap, 3), PAPER, "uint8")
    return np.concatenate([piece for picture in pictures for piece in (between, picture)][1:], axis=1)


def height_of(letters: int) -> int:
    return round(1.6 * letters)


def width_of(text: str, letters: int, bold: bool = False) -> int:
    return round(sum(_font(file, letters).getlength(piece) for file, piece in fonts.runs(text, bold)))


def _written(strip: np.ndarray, text: str, left: float, letters: int, ink=INK, bold: bool = False) -> np.ndarray:
    """A picture with one line of text half-way down."""
    picture = Image.fromarray(strip)
    for file, piece in fonts.runs(text, bold):
        font = _font(file, letters)
        ImageDraw.Draw(picture).text((left, len(strip) // 2), piece, ink, font=font, anchor="lm")
        left += font.getlength(piece)
    return np.asarray(picture)


@functools.cache
def _font(file: str, letters: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, letters)
