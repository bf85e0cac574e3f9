"""The page is parsed as a browser would, and every address in it looked up on disk."""

from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from har_tf.report.page import Figure, Section, Video, write_page
from har_tf.report.tables import Table
from har_tf.video import write_video

VOID = {"meta", "img", "link", "br", "hr"}


class Page(HTMLParser):
    """Elements with their attributes and texts; fails on elements that do not close in order."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag):
        return [(attrs, " ".join(text.split())) for name, attrs, text in self.elements if name == tag]

    def texts(self, tag):
        return [text for _, text in self.all(tag)]

    def addresses(self):
        names = ("src", "href", "poster")
        return [attrs[name] for _, attrs, _ in self.elements for name in names if name in attrs]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "overlays").mkdir()
    Image.new("RGB", (300, 150)).save(tmp_path / "figures" / "curves.png", dpi=(150, 150))
    (tmp_path / "overlays" / "a clip #1 50%.mp4").write_bytes(b"video")
    (tmp_path / "overlays" / "b.mp4").write_bytes(b"video")
    return tmp_path


SECTIONS = [
    Section(
        "Results <1>",
        "First & foremost.\n\nSecond paragraph.",
        tables=[Table("Table 1", ["Model", "Accuracy"], [["<script>", 0.5], ["b", "not run"]])],
    ),
    Section(
        "Pictures",
        figures=[Figure("figures/curves.png", "Loss & accuracy")],
        videos=[
            Video("overlays/a clip #1 50%.mp4", "Bowling -> CricketBowling", poster="figures/curves.png"),
            Video("overlays/b.mp4"),
        ],
    ),
]


def test_page_shows_everything_that_was_passed(run):
    facts = {"Command": "python -m experiments.x --a 'b'", "accuracy": "0.5 <low>"}
    page = Page(write_page(run / "report.html", "Run & report", facts, SECTIONS, summary="In <short>."))
    assert page.texts("title") == page.texts("h1") == ["Run & report"]
    assert page.texts("dt") == ["Command", "accuracy"]
    assert page.texts("dd") == list(facts.values())
    assert page.texts("code") == ["python -m experiments.x --a 'b'"]
    assert page.texts("h2") == ["Results <1>", "Pictures"]
    assert page.texts("p") == ["In <short>.", "First & foremost.", "Second paragraph."]
    assert page.texts("td") == ["<script>", "0.5000", "b", "not run"]
    assert page.texts("figcaption") == ["Table 1", "Loss & accuracy", "Bowling -> CricketBowling"]
    (picture, _), (poster, _) = page.all("img")
    assert poster["src"] == "figures/curves.png"
    assert picture["alt"] == "Loss & accuracy"
    # 300 x 150 dots at 150 an inch are 2 x 1 inches, 96 CSS pixels each.
    assert (picture["width"], picture["height"]) == ("192", "96")


def test_addresses_are_relative_and_lead_to_the_files(run):
    page = Page(write_page(run / "report.html", "t", {}, SECTIONS))
    addresses = page.addresses()
    assert len(addresses) == 6
    assert all((run / unquote(address)).is_file() for address in addresses)
    assert "overlays/a%20clip%20%231%2050%25.mp4" in addresses
    assert not page.all("script") and not page.all("link")
    assert "http" not in (run / "report.html").read_text(encoding="utf-8")


def test_videos_play_on_demand_without_sound(run):
    first, second = (attrs for attrs, _ in Page(write_page(run / "r.html", "t", {}, SECTIONS)).all("video"))
    for attrs in (first, second):
        assert {"controls", "muted", "loop"} <= set(attrs)
    assert [attrs["preload"] for attrs in (first, second)] == ["none", "metadata"]
    assert first["poster"] == "figures/curves.png"
    assert "poster" not in second, "what cannot be read has none"
    assert second["aria-label"] == "b"


def test_a_video_has_its_middle_as_poster(tmp_path):
    frames = np.zeros((5, 32, 48, 3), np.uint8)
    frames[2] = 200
    write_video(tmp_path / "a b.mp4", frames)
    ((video, _),) = Page(write_page(tmp_path / "r.html", "t", {}, [Section("s", videos=[Video("a b.mp4")])])).all(
        "video"
    )
    assert (video["poster"], video["preload"], video["width"], video["height"]) == ("a%20b.jpg", "none", "48", "32")
    with Image.open(tmp_path / "a b.jpg") as picture:
        assert np.abs(np.asarray(picture).astype(int) - 200).max() < 12


@pytest.mark.parametrize(("sections", "contents"), [(4, False), (5, True)])
def test_contents_from_five_sections_on(tmp_path, sections, contents):
    path = write_page(tmp_path / "r.html", "t", {}, [Section(f"Part {i}") for i in range(sections)])
    page = Page(path)
    assert bool(page.all("nav")) == contents
    links = [attrs["href"] for attrs, _ in page.all("a")]
    identifiers = ["#" + attrs["id"] for attrs, _ in page.all("section")]
    assert links == (identifiers if contents else [])
    assert len(set(identifiers)) == sections


def test_paths_that_include_the_pages_folder_are_understood(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    name = run.name
    for figure in (run / "figures" / "curves.png", f"{name}/figures/curves.png", "figures/curves.png"):
        path = write_page(f"{name}/report.html", "t", {}, [Section("s", figures=[Figure(figure)])])
        ((picture, _),) = Page(path).all("img")
        assert picture["src"] == "figures/curves.png"
        assert picture["alt"] == "curves"


def test_missing_files_are_all_named_and_nothing_is_written(run):
    page = run / "report.html"
    page.write_text("old")
    section = Section(
        "s",
        figures=[Figure("figures/curves.png"), Figure("figures/no.png")],
        videos=[Video("overlays/gone.mp4", poster="no-poster.png")],
    )
    with pytest.raises(FileNotFoundError) as caught:
        write_page(page, "t", {}, [section])
    assert all(name in str(caught.value) for name in ("no.png", "gone.mp4", "no-poster.png"))
    assert "curves.png" not in str(caught.value)
    assert page.read_text() == "old"


@pytest.mark.parametrize("path", ["../other.png", "figures/../../other.png", "/other.png"])
def test_files_outside_the_folder_are_refused(run, path):
    with pytest.raises(ValueError, match=r"must lie in the page's folder.*other\.png"):
        write_page(run / "report.html", "t", {}, [Section("s", figures=[Figure(path)])])
