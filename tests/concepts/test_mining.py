"""Concept clips: what is cut, pixel by pixel, and mining with a detector that reads squares."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from har_tf.concepts import mining as concepts
from har_tf.concepts.detectors.base import Detections, DetectorError
from har_tf.concepts.detectors.open import open_detector
from har_tf.concepts.mining import ConceptError, Cutting, cut, cut_tracks, detect, load, mine, store_verdicts
from har_tf.concepts.tracks import Track, true_tracks
from har_tf.datasets.errors import DatasetError
from har_tf.video import VideoError, probe, read_clip, write_video


def track(boxes, scores=None, label="person", start=0) -> Track:
    boxes = np.array(boxes, np.float32)
    scores = np.ones(len(boxes), np.float32) if scores is None else np.array(scores, np.float32)
    return Track(label, start + np.arange(len(boxes)), boxes, scores)


class Squares:
    """Finds the bright squares in red ("person") and in blue ("ball"); every score is what the square's value says."""

    names = ("person", "ball")

    def __init__(self, **settings):
        self.settings = {"file": "squares", **settings}
        self.seen = []

    def __call__(self, frames, video="", start=0):
        self.seen.append((video, start, len(frames)))
        found = []
        for frame in frames:
            boxes, scores, labels = [], [], []
            for label, channel in enumerate((0, 2)):
                rows, columns = np.nonzero((frame[..., channel] > 120) & (frame[..., 1] < 90))
                if len(rows):
                    boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
                    scores.append(0.9)
                    labels.append(label)
            found.append(
                Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels))
            )
        return found


def moving(count=12, height=64, width=96, step=4, side=16, channel=0):
    """A coloured square of `side` that moves to the right over grey."""
    frames = np.full((count, height, width, 3), 60, np.uint8)
    for i in range(count):
        frames[i, 24 : 24 + side, step * i : step * i + side] = 0
        frames[i, 24 : 24 + side, step * i : step * i + side, channel] = 255
    return frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two classes of three videos each, in class folders: one of persons, one of balls, and a broken one."""
    root = tmp_path_factory.mktemp("videos")
    for name, channel in (("run/a.mp4", 0), ("run/b.mp4", 0), ("kick/a.mp4", 2)):
        (root / name).parent.mkdir(exist_ok=True)
        write_video(root / name, moving(channel=channel), fps=10, crf=4)
    (root / "kick" / "broken.mp4").write_text("no video")
    return root


@pytest.fixture
def mined(videos, tmp_path):
    return mine(videos, Squares(), ["person"], tmp_path / "concepts")


def test_spatiotemporal_clips_are_centred_on_the_canvas_of_the_largest_box():
    """Crops of 6 x 4, 3 x 7 and 10 x 2 (height x width) on a canvas of 10 x 8: 7 is made even."""
    frames = np.random.default_rng(0).integers(1, 255, (3, 40, 50, 3), dtype=np.uint8)
    clip = cut(frames, track([(5, 6, 9, 12), (10, 10, 17, 13), (20, 4, 22, 14)]), fill=0)
    assert clip.shape == (3, 10, 8, 3)
    for frame, source, (y1, y2, x1, x2), (top, left) in (
        (clip[0], frames[0], (6, 12, 5, 9), (2, 2)),
        (clip[1], frames[1], (10, 13, 10, 17), (3, 0)),  # (10 - 3) // 2 and (8 - 7) // 2
        (clip[2], frames[2], (4, 14, 20, 22), (0, 3)),
    ):
        expected = np.zeros((10, 8, 3), np.uint8)
        expected[top : top + y2 - y1, left : left + x2 - x1] = source[y1:y2, x1:x2]
        np.testing.assert_array_equal(frame, expected)


def test_the_rest_is_filled_as_asked():
    frames = np.zeros((2, 20, 20, 3), np.uint8)
    assert (cut(frames, track([(0, 0, 8, 8), (4, 4, 8, 8)]), fill=114)[1, 0] == 114).all()
    with pytest.raises(ValueError, match="fill=256"):
        Cutting(fill=256)


def test_boxes_are_widened_to_whole_pixels_and_cut_off_at_the_frame():
    boxes = np.array([(1.2, 2.7, 5.1, 6.0), (-3, 4, 2, 90), (19.5, 19.5, 30, 30)])
    assert concepts.whole_pixels(boxes, (20, 20)).tolist() == [[1, 2, 6, 6], [0, 4, 2, 20], [19, 19, 20, 20]]


def test_spatial_clips_show_the_crop_of_the_highest_score():
    boxes = [(0, 0, 10, 10), (2, 4, 8, 8), (0, 0, 12, 12)]
    assert concepts.best_frame(track(boxes, [0.6, 0.9, 0.8])) == 1
    # Among equal scores the largest box counts, then the first; an interpolated box never.
    assert concepts.best_frame(track(boxes, [0.9, 0.9, 0.9])) == 2
    assert concepts.best_frame(track([boxes[1], boxes[1]])) == 0
    assert concepts.best_frame(track(boxes, [0.6, 0.7, np.nan])) == 1


def test_mining_writes_both_kinds_of_every_track_and_a_manifest(mined, videos):
    files = [clip.file for clip in mined.clips]
    # run/a and kick/a have one name, so theirs tell the folder.
    assert files == [
        "ball/spatial/kick__a.mp4_t0.mp4",
        "ball/spatiotemporal/kick__a.mp4_t0.mp4",
        "person/spatial/b_t0.mp4",
        "person/spatial/run__a.mp4_t0.mp4",
        "person/spatiotemporal/b_t0.mp4",
        "person/spatiotemporal/run__a.mp4_t0.mp4",
    ]
    clip = next(clip for clip in mined.clips if clip.file == "person/spatiotemporal/b_t0.mp4")
    assert (clip.concept, clip.kind, clip.source, clip.track) == ("person", "spatiotemporal", "run/b.mp4", 0)
    assert clip.frames == tuple(range(12))
    np.testing.assert_allclose(clip.boxes, [(4 * i, 24, 4 * i + 16, 40) for i in range(12)], atol=1)
    assert clip.scores == (0.9,) * 12
    assert (clip.score, clip.verdict, clip.reason) == (0.9, None, None)
    assert [(source.path, source.frames, source.tracks) for source in mined.sources if not source.problem] == [
        ("kick/a.mp4", 12, 1), ("run/a.mp4", 12, 1), ("run/b.mp4", 12, 1),
    ]  # fmt: skip
    (bad,) = [source for source in mined.sources if source.problem]
    assert bad.path == "kick/broken.mp4"
    assert load(mined.folder) == mined


def test_clips_show_what_moves_and_what_stands_still(mined):
    moving_clip = read_clip(mined.folder / "person/spatiotemporal/b_t0.mp4", None, None)
    still = read_clip(mined.folder / "person/spatial/b_t0.mp4", None, None)
    assert len(moving_clip) == len(still) == 12
    assert moving_clip.shape[1:3] == still.shape[1:3]
    for clip in (moving_clip, still):
        assert (clip[:, 2:-2, 2:-2, 0] > 200).all()  # the square fills its box
    assert probe(mined.folder / "person/spatial/b_t0.mp4").fps == 10
    assert np.abs(still.astype(int) - still[0]).max() <= 3


def test_long_tracks_give_their_best_stretch_and_small_ones_nothing(videos, tmp_path):
    short = mine(videos / "run", Squares(), ["person"], tmp_path / "short", max_frames=5)
    assert {len(clip.frames) for clip in short.clips} == {5}
    assert short.clips[0].frames == (0, 1, 2, 3, 4)
    scores = [0.5, 0.5, 0.9, 0.9, 0.5]
    assert concepts._best_stretch(track([(0, 0, 9, 9)] * 5, scores), 2) == 2
    assert mine(videos / "run", Squares(), ["person"], tmp_path / "none", smallest=30).clips == ()
    with pytest.raises(ValueError, match="max_frames=0"):
        mine(videos, Squares(), ["person"], tmp_path / "wrong", max_frames=0)


def test_a_second_run_reads_only_what_is_new(videos, tmp_path):
    out = tmp_path / "concepts"
    first = mine(videos, Squares(), ["person"], out)
    store_verdicts(out, {"person/spatial/b_t0.mp4": {"verdict": "rejected", "reason": "blurred"}})
    detector = Squares()
    again = mine(videos, detector, ["person"], out)
    assert detector.seen == []
    assert [clip.file for clip in again.clips] == [clip.file for clip in first.clips]
    assert next(clip for clip in again.clips if clip.verdict).reason == "blurred"
    (out / "person/spatial/b_t0.mp4").unlink()  # a lost clip is cut again
    mine(videos, detector, ["person"], out)
    assert {video for video, _, _ in detector.seen} == {"run/b.mp4"}
    with pytest.raises(ConceptError, match=r"mined otherwise: concepts \[\"person\"\].*Received: \[\"ball\"\]"):
        mine(videos, Squares(), ["ball"], out)
    fresh = mine(videos, Squares(), ["ball"], out, fresh=True)
    assert fresh.concepts == ("ball",)
    assert all(clip.verdict is None for clip in fresh.clips)


def test_a_file_belongs_to_one_source_also_over_several_runs(videos, tmp_path):
    """A video that is renamed is a new source; the old one keeps its clips and what was said of them."""
    root, out = tmp_path / "v", tmp_path / "concepts"
    for name in ("a/1.mp4", "b/2.mp4"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes((videos / "run" / "a.mp4").read_bytes())
    first = mine(root, Squares(), ["person"], out)
    rejected = {clip.file for clip in first.clips if clip.source == "a/1.mp4"}
    store_verdicts(out, {file: {"verdict": "rejected"} for file in rejected})
    (root / "a").rename(root / "c")
    again = mine(root, Squares(), ["person"], out)
    assert {clip.source: clip.file for clip in again.clips if clip.kind == "spatial"} == {
        "a/1.mp4": "person/spatial/1_t0.mp4",
        "b/2.mp4": "person/spatial/2_t0.mp4",
        "c/1.mp4": "person/spatial/c__1.mp4_t0.mp4",
    }
    assert {clip.source for clip in again.select()} == {"b/2.mp4", "c/1.mp4"}
    assert not rejected & {clip.file for clip in again.select()}
    assert load(out) == again


def test_names_of_clips_that_would_be_equal_are_told_apart():
    assert concepts._stems(["a/b.mp4", "b.mp4", "x/a__b.mp4.avi"], {}) == {
        "a/b.mp4": "a__b.mp4",
        "b.mp4": "b.mp4",
        "x/a__b.mp4.avi": "x__a__b.mp4.avi",
    }
    taken = {"1": "a/1.mp4", "c__1.mp4": "c__1.mp4.avi"}
    assert concepts._stems(["1.mp4", "c/1.mp4"], taken) == {"1.mp4": "1.mp4", "c/1.mp4": "c__1.mp4_2"}
    assert concepts._stems(["A/1.mp4", "a/1.mp4"], {}) == {"A/1.mp4": "A__1.mp4", "a/1.mp4": "a__1.mp4_2"}


def test_the_same_tracks_give_the_same_bytes(tmp_path):
    """Textured clips of 58 x 34 pixels: with frames that depend on each other, every fourth file came out otherwise."""
    random = np.random.default_rng(0)
    scene = cv2.GaussianBlur(random.integers(0, 256, (64, 96, 3), dtype=np.uint8), (0, 0), 1.5)
    video = tmp_path / "a.mp4"
    write_video(video, np.stack([np.roll(scene, 3 * i, axis=1) for i in range(19)]), fps=10, keyint=1, qp=10)
    track = Track("person", np.arange(19), np.tile(np.float32([20, 3, 54, 61]), (19, 1)), np.ones(19, np.float32))
    written = set()
    for run in range(12):
        found = cut_tracks({video: [track]}, [video], ["person"], tmp_path / str(run))
        written.add(b"".join((found.folder / clip.file).read_bytes() for clip in found.clips))
    assert len(written) == 1


def test_another_folder_is_not_mined_over_the_first(videos, tmp_path):
    out = tmp_path / "concepts"
    for name, source in (("v/a/1.mp4", "run/a.mp4"), ("w/a/1.mp4", "kick/a.mp4")):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(videos / source, tmp_path / name)
    mine(tmp_path / "v", Squares(), ["person"], out)
    before = store_verdicts(out, {"person/spatial/1_t0.mp4": {"verdict": "accepted"}})
    told = rf"was mined from {tmp_path}/v, and these are other videos. .*--fresh .*Received: {tmp_path}/w$"
    with pytest.raises(ConceptError, match=told):
        mine(tmp_path / "w", Squares(), ["person"], out)
    with pytest.raises(ConceptError, match=told.replace("w$", "w/a$")):
        mine([tmp_path / "w" / "a" / "1.mp4"], Squares(), ["person"], out)
    assert load(out) == before
    fresh = mine(tmp_path / "w", Squares(), ["person"], out, fresh=True)
    assert fresh.settings["root"] == str(tmp_path / "w")


def test_videos_that_were_moved_are_known_by_their_content(videos, tmp_path):
    out, detector = tmp_path / "concepts", Squares()
    shutil.copytree(videos, tmp_path / "v", copy_function=shutil.copyfile)
    mine(tmp_path / "v", detector, ["person"], out)
    before = store_verdicts(out, {"person/spatial/b_t0.mp4": {"verdict": "rejected"}})
    (tmp_path / "v").rename(tmp_path / "w")
    out, detector.seen = out.rename(tmp_path / "moved"), []
    (tmp_path / "link").symlink_to(tmp_path / "w")
    shutil.copytree(tmp_path / "w", tmp_path / "x", copy_function=shutil.copyfile)  # with new times
    for place in (tmp_path / "link", tmp_path / "x" / "run", tmp_path / "x", [tmp_path / "x" / "run" / "b.mp4"]):
        again = mine(place, detector, ["person"], out)
        assert (again.clips, {source.path for source in again.sources}) == (
            before.clips,
            {s.path for s in before.sources},
        )
    assert detector.seen == [] and again.settings["root"] == str(tmp_path / "x")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    shutil.copy(tmp_path / "y" / "kick" / "a.mp4", tmp_path / "y" / "run" / "b.mp4")
    with pytest.raises(ConceptError, match="these are other videos"):
        mine(tmp_path / "y", detector, ["person"], out)


def test_lists_of_videos_may_grow_and_shrink(videos, tmp_path):
    """What a source is called follows the widest folder, so that each is known again."""
    out, paths = tmp_path / "concepts", [videos / "run" / "a.mp4", videos / "run" / "b.mp4", videos / "kick" / "a.mp4"]
    detector = Squares()
    mine(paths[:1], detector, ["person"], out)
    before = store_verdicts(out, {"person/spatial/a_t0.mp4": {"verdict": "rejected"}})
    assert [source.path for source in before.sources] == ["a.mp4"]
    wider = mine(paths, detector, ["person"], out)
    assert [source.path for source in wider.sources] == ["kick/a.mp4", "run/a.mp4", "run/b.mp4"]
    assert {clip.source: clip.verdict for clip in wider.clips if clip.file == "person/spatial/a_t0.mp4"} == {
        "run/a.mp4": "rejected"
    }
    assert len({clip.file for clip in wider.clips}) == len(wider.clips) == 6
    assert mine(videos / "run", detector, ["person"], out) == wider
    assert [video for video, _, _ in detector.seen] == ["a.mp4", "kick/a.mp4", "run/b.mp4"]


def test_concepts_among_the_videos_are_not_mined_again(tmp_path):
    write_video(tmp_path / "a.mp4", moving(), fps=10, crf=4)
    for _ in range(2):
        found = mine(tmp_path, Squares(), ["person"], tmp_path / "concepts")
        assert [source.path for source in found.sources] == ["a.mp4"]


def test_an_interrupted_run_keeps_what_it_has(videos, tmp_path):
    class Interrupted(Squares):
        def __call__(self, frames, video="", start=0):
            if video == "run/b.mp4":
                raise KeyboardInterrupt
            return super().__call__(frames, video, start)

    out = tmp_path / "concepts"
    with pytest.raises(KeyboardInterrupt):
        mine(videos, Interrupted(), ["person"], out)
    assert {clip.source for clip in load(out).clips} == {"kick/a.mp4", "run/a.mp4"}
    detector = Squares()
    assert len(mine(videos, detector, ["person"], out).clips) == 6
    assert {video for video, _, _ in detector.seen} == {"run/b.mp4"}


def test_a_full_disk_is_no_fault_of_the_video(videos, tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise VideoError(path, "cannot be written: No space left on device")

    monkeypatch.setattr(concepts, "write_video", full)
    with pytest.raises(VideoError, match=r"_t0.mp4: cannot be written: No space left on device"):
        mine(videos, Squares(), ["person"], tmp_path)
    monkeypatch.undo()
    assert [Path(each.path).stem for each in mine(videos, Squares(), ["person"], tmp_path).sources if each.problem] == [
        "broken"
    ]


def test_long_videos_are_read_a_window_at_a_time(tmp_path):
    path = write_video(tmp_path / "long.mp4", moving(40, width=200), fps=10)
    detector = Squares()
    (found,), count = detect(path, "long.mp4", detector)
    assert count == 40
    assert detector.seen == [("long.mp4", 0, 16), ("long.mp4", 16, 16), ("long.mp4", 32, 8)]
    assert found.frames.tolist() == list(range(40))


def test_what_cannot_be_mined_says_what_is_needed(videos, tmp_path):
    class Broken(Squares):
        def __call__(self, frames, video="", start=0):
            raise RuntimeError("out of paint")

    with pytest.raises(DetectorError, match=r"squares: the detector failed on kick/a.mp4, frames 0 to 11 \(RuntimeErr"):
        mine(videos, Broken(), ["person"], tmp_path / "a")
    with pytest.raises(DetectorError, match="does not know 'dog'. It knows: person, ball"):
        mine(videos, Squares(), ["dog"], tmp_path / "b")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConceptError, match="nothing: no video. Videos end in .3g2"):
        mine(tmp_path / "nothing", Squares(), ["person"], tmp_path / "c")
    with pytest.raises(DatasetError, match="no such folder"):
        mine(tmp_path / "missing", Squares(), ["person"], tmp_path / "d")


def test_true_tracks_are_cut_without_a_detector(videos, tmp_path):
    boxes = [(4 * i, 24, 4 * i + 16, 40) for i in range(12)]
    path = videos / "run" / "a.mp4"
    known = {path: [track(boxes, label="person"), track(boxes[:6], label="ball")]}
    found = cut_tracks(known, [path], ["person"], tmp_path / "concepts")
    assert [(clip.concept, clip.kind, len(clip.frames)) for clip in found.clips] == [
        ("ball", "spatial", 6), ("ball", "spatiotemporal", 6),
        ("person", "spatial", 12), ("person", "spatiotemporal", 12),
    ]  # fmt: skip
    assert load(tmp_path / "concepts").settings["tracking"] == "given"
    late = cut_tracks({path: [track(boxes, start=3)]}, [path], ["person"], tmp_path / "late")
    assert late.sources[0].problem == "has 12 frames, and a track reaches frame 14"


def test_the_embedded_data_set_gives_persons_objects_and_limbs(tmp_path):
    from har_tf.datasets import stick_figures

    data = stick_figures.load(tmp_path / "figures", workers=0, clips=10, size=(64, 96), frames=10)
    records = [record for record in data.records if record.path.parent.name in ("throw", "wave")]
    known = {record.path: true_tracks(record) for record in records}
    found = cut_tracks(known, [*known], ["person", "object", "limb"], tmp_path / "out", smallest=4)
    counts = {name: len(found.select(name, "spatiotemporal")) for name in found.concepts}
    assert counts == {"person": 2, "object": 1, "limb": 4}
    clip = found.select("person", "spatiotemporal")[0]
    record = next(record for record in records if record.path.name in clip.source)
    boxes = concepts.whole_pixels(record.boxes, (64, 96))
    written = probe(found.folder / clip.file)
    assert (written.height, written.width) == concepts.canvas_of(boxes)


def test_the_real_ssd_mines_persons_from_real_clips(shared, tmp_path):
    weights = shared / "weights" / "ssd_mobilenet_v1_coco_detect.tflite"
    detector = open_detector(weights, shared / "weights" / "coco_labels.txt")
    whole = shared / "data" / "ucf10" / "JumpingJack" / "v_JumpingJack_g18_c01.avi"
    source = write_video(tmp_path / "jump.mp4", read_clip(whole, None, None, stop=32), fps=25, crf=10)
    found = mine([source], detector, ["person"], tmp_path / "concepts", others=False)
    clips = found.select("person", "spatiotemporal")
    assert sum(len(clip.frames) for clip in clips) > 24  # of 32
    longest = max(clips, key=lambda clip: len(clip.frames))
    assert longest.score > 0.65
    # The person stands in columns 110 to 183 where the arms are down, and fills the height.
    middle = np.mean([(x1 + x2) / 2 for x1, _, x2, _ in longest.boxes])
    assert 130 < middle < 165
    assert np.mean([y2 - y1 for _, y1, _, y2 in longest.boxes]) > 150
    assert found.read(clips, 8, (64, 64)).std() > 20
