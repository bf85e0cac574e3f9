"""The page that shows a whole run: one HTML file that opens from disk beside its figures and videos."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from har_tf import __version__
from har_tf.files.whole import whole_file
from har_tf.names import shown
from har_tf.report.tables import Table
from har_tf.video import VideoError, read_clip

PAIRS = 20  # of clips that look alike, which are named


@dataclass(frozen=True)
class Figure:
    """A picture in the run folder, shown at its size on paper, or narrower where there is no room.

    Args:
        path: as seen from the page's folder, or that folder included, as it was written.
        caption: the text under it, which also stands for it where it cannot be seen.
    """

    path: str | Path
    caption: str = ""


@dataclass(frozen=True)
class Video:
    """A video in the run folder that a browser plays, such as `har_tf.video.write_video` makes.

    Args:
        path: as seen from the page's folder, or that folder included, as it was written.
        caption: the text under it.
        poster: a picture that stands there until the video is played; likewise a path. None: the frame in its middle,
            which `write_page` writes beside it.
    """

    path: str | Path
    caption: str = ""
    poster: str | Path | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading; what is empty is left out.

    Args:
        title: the heading.
        text: paragraphs, separated by empty lines; shown as they are, without markup.
        tables: `Table`s.
        figures: `Figure`s, one under the other.
        videos: `Video`s, side by side where there is room.
    """

    title: str
    text: str | None = None
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    videos: Sequence[Video] = ()


@dataclass(frozen=True)
class Page:
    """What is published of a run.

    Args:
        title: the heading.
        facts: what the header lists, before date, machine and command.
        sections: from top to bottom.
        summary: a sentence or two under the title.
        tables: file name without ending -> table, for the run's folder `tables`.
        printed: what the terminal shows, such as the Markdown of a table.
    """

    title: str
    facts: Mapping[str, str]
    sections: Sequence[Section]
    summary: str | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    printed: Sequence[str] = ()


def stored(sections: Sequence[Section], folder: Path) -> list[dict]:
    """Sections of pictures as `results.json` has them, with paths as seen from the run's folder."""

    def relative(path):
        return None if path is None else Path(path).relative_to(folder).as_posix()

    found = []
    for section in sections:
        figures = [asdict(figure) | {"path": relative(figure.path)} for figure in section.figures]
        videos = [asdict(v) | {"path": relative(v.path), "poster": relative(v.poster)} for v in section.videos]
        found.append({"title": section.title, "text": section.text, "figures": figures, "videos": videos})
    return found


def restored(pictures: Sequence[Mapping]) -> list[Section]:
    """The sections that `stored` was given."""
    return [
        Section(
            part["title"],
            part["text"],
            figures=[Figure(**figure) for figure in part["figures"]],
            videos=[Video(**video) for video in part["videos"]],
        )
        for part in pictures
    ]


def data_line(data: Mapping) -> str:
    """The data in words, such as "60 clips of 10 classes of figures"."""
    skipped = f" ({data['skipped']} unreadable left out)" if data["skipped"] else ""
    return f"{data['clips']} clips of {len(data['classes'])} classes of {data['name']}{skipped}"


def headed(number: str, words: str, numbered: bool) -> str:
    """A heading as in the paper, "Table 1: classification", or, of data that are not the paper's, "Classification"."""
    return f"{number}: {words}" if numbered else words[0].upper() + words[1:]


def both_sides(parts: Mapping[str, Mapping]) -> list[Section]:
    """The test clips that look like a training clip.

    Args:
        parts: name of a split -> what `har_tf.experiment.Split.measured` gave.

    Returns:
        A section with a table; none where no clip does, or where none was looked for.
    """
    pairs = [
        {"split": name, "test": test, "training": training, "distance": distance}
        for name, part in parts.items()
        for kind in ("identical", "near_identical")
        for test, training, distance in part["overlap"][kind] or ()
    ]
    columns = {"Test clip": "test", "Training clip": "training", "Distance": "distance"}
    first = f", the first {PAIRS}" if len(pairs) > PAIRS else ""
    table = Table.of(
        f"Test clips that look like a training clip ({len(pairs)} pairs{first})", pairs[:PAIRS],
        {"Split": "split", **columns} if len(parts) > 1 else columns,
        notes=["Distance: median share of differing bits of the frames' hashes; 0: the same content."],
        formats={"Distance": ".3f"},
    )  # fmt: skip
    return [Section("The same on both sides", tables=[table])] if pairs else []


def split_line(part: Mapping) -> str:
    """What a split of `har_tf.experiment.Split.measured` makes easy, in words."""
    chance = part.get("most_frequent_class")  # which runs of before do not have
    always = "" if chance is None else f"; always answering the most frequent class reaches {chance:.4f}"
    validation = f"; {part['validation_text']}" if "validation_text" in part else ""  # likewise
    return part["overlap_text"] + validation + always


def write_page(
    path, title: str, facts: Mapping[str, str], sections: Sequence[Section], summary: str | None = None
) -> Path:
    """Writes a self-contained page: no script, nothing from the network, figures and videos by relative path.

    More than four sections get a table of contents.

    Args:
        path: the page; figures and videos lie in its folder or below.
        title: the heading, and the name of the browser's tab.
        facts: what the header lists: command, data, date, machine, accuracy. The one named "command" is
            set as code.
        sections: from top to bottom.
        summary: a sentence or two between the title and the facts.

    Returns:
        `path`.

    Raises:
        FileNotFoundError: figures or videos that are not there; nothing is written.
        ValueError: a figure or video outside the page's folder.

    Example:
        >>> write_page("runs/demo/report.html", "Demo", {"data": "figures"},
        ...            [Section("Curves", figures=[Figure("figures/curves.png", "Loss and accuracy")])])
    """
    path = Path(path)
    blocks = [_block(number, section, path.parent) for number, section in enumerate(sections, start=1)]
    missing = [file for block in blocks for file in block["files"] if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"not there, but to be shown by {path}: {', '.join(map(str, missing))}.")
    for picture in (picture for block in blocks for picture in block["figures"]):
        picture["size"] = _size(picture["file"])
    for video in (video for block in blocks for video in block["videos"]):
        poster = video["poster_file"] or _poster(video["file"])
        video["size"] = poster and _size(poster)
        if poster and not video["poster"]:
            video["poster"] = video["src"].rpartition(".")[0] + poster.suffix
    values = {"title": title, "summary": summary, "facts": facts, "sections": blocks, "contents": len(blocks) > 4}
    text = rendered(files(__package__).joinpath("page.html.j2"), **values, version=__version__)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def rendered(template: Traversable, **values) -> str:
    """The text of a template of this package with these values, each of which is shown as one line."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def _shown(value):
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return shown(re.sub(r"[ \t\r\n]+", " ", value))


def _block(number, section, folder) -> dict:
    """A section as the template takes it, with the `files` that it needs."""
    needed = []

    def address(file):
        relative = Path(file)
        for start in (folder, folder.absolute()):
            if relative.is_relative_to(start):
                relative = relative.relative_to(start)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"figures and videos must lie in the page's folder {folder}. Received: {file}.")
        needed.append(folder / relative)
        return quote(os.fsencode(relative.as_posix()))

    return {
        "id": f"section-{number}",
        "title": section.title,
        "paragraphs": [part.strip() for part in (section.text or "").split("\n\n") if part.strip()],
        "tables": [Markup(table.html()) for table in section.tables],
        "figures": [
            {
                "src": address(figure.path),
                "caption": figure.caption,
                "alt": figure.caption or Path(figure.path).stem,
                "file": needed[-1],
            }
            for figure in section.figures
        ],
        "videos": [
            {
                "src": address(video.path),
                "caption": video.caption,
                "label": video.caption or Path(video.path).stem,
                "file": needed[-1],
                "poster": None if video.poster is None else address(video.poster),
                "poster_file": None if video.poster is None else needed[-1],
            }
            for video in section.videos
        ],
        "files": needed,
    }


def _poster(video: Path) -> Path | None:
    """The picture beside a video that shows its middle, made where it is missing or older; None: it cannot be read."""
    poster = video.with_suffix(".jpg")
    if poster.is_file() and poster.stat().st_mtime_ns >= video.stat().st_mtime_ns:
        return poster
    try:
        picture = Image.fromarray(read_clip(video, 3, None)[1])
    except VideoError:
        return None
    picture.thumbnail((1200, 1200))
    with whole_file(poster) as temporary:
        picture.save(temporary, quality=85)
    return poster


def _size(file) -> tuple[int, int] | None:
    """Width and height in CSS pixels, 96 to the inch, so that a plot's letters are as large as the page's."""
    if file.suffix == ".svg":
        return None
    with Image.open(file) as picture:
        dpi = picture.info.get("dpi", (96, 96))[0]
        return tuple(round(pixels * 96 / dpi) for pixels in picture.size)
