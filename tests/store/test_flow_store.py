"""Flow of prepared clips: computed once, taken up where it was left, the same as computed on the spot."""

import json
import shutil

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError
from har_tf.store import flow as flow_clips
from har_tf.store.flow import FlowClips
from har_tf.video import write_video
from har_tf.video.flow import decode, encode, optical_flow

FRAMES, SIZE = 4, (32, 48)
CLIP_BYTES = FRAMES * 32 * 48 * 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """7 videos in two classes of a square that moves to the right or to the left, and one that cannot be read."""
    root = tmp_path_factory.mktemp("squares")
    for number in range(7):
        folder = root / ("left", "right")[number % 2]
        folder.mkdir(exist_ok=True)
        frames = np.full((6, *SIZE, 3), 40, np.uint8)
        for t in range(6):
            start = 16 + (2 if number % 2 else -2) * t
            frames[t, 8 + number : 20 + number, start : start + 12] = 200
        write_video(folder / f"v_{number:02d}_g{number // 4:02d}_c01.mp4", frames)
    (root / "left" / "v_99_g09_c01.mp4").write_bytes(b"no video")
    return datasets.load(root)


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    return datasets.prepare(dataset, tmp_path_factory.mktemp("out"), FRAMES, SIZE, "dense", workers=0)


@pytest.fixture(autouse=True)
def two_clips_a_file(monkeypatch):
    monkeypatch.setattr(flow_clips, "FILE_BYTES", 2 * CLIP_BYTES)


def on_the_spot(prepared):
    return np.stack([encode(optical_flow(clip)) for clip in prepared.read(range(len(prepared)))])


def test_flow_is_that_of_the_clips(dataset, prepared, tmp_path):
    flow = flow_clips.flow_clips(prepared, tmp_path)
    assert len(flow) == 7
    assert flow.read([0]).shape == (1, FRAMES, *SIZE, flow.channels)
    np.testing.assert_array_equal(flow.read(range(7)), on_the_spot(prepared))
    np.testing.assert_array_equal(flow.labels, prepared.labels)
    assert flow.names == prepared.names
    assert flow.record_paths == prepared.record_paths
    assert (flow.num_frames, flow.size, flow.clip, flow.class_names) == (FRAMES, SIZE, prepared.clip, ("left", "right"))
    assert [video.path for video in flow.skipped] == [video.path for video in prepared.skipped]
    sideways = [decode(clip)[..., 0].sum() for clip in flow.read(range(7))]
    assert [total > 0 for total in sideways] == (flow.labels == 1).tolist()
    assert len(list(flow.path.glob("flow-*.npz"))) == 4
    assert [path.name for path in tmp_path.iterdir()] == [flow.path.name]
    again = FlowClips.open(flow.path)
    np.testing.assert_array_equal(again.read([6, 0]), flow.read([6, 0]))
    part = flow.subset(list(dataset.records)[5:1:-1])
    kept = prepared.subset(list(dataset.records)[5:1:-1])
    assert part.names == kept.names
    np.testing.assert_array_equal(part.read(range(len(part))), on_the_spot(kept))


def test_nothing_is_computed_twice(prepared, tmp_path, monkeypatch):
    first = flow_clips.flow_clips(prepared, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    monkeypatch.setattr(flow_clips, "encode", None)
    assert flow_clips.flow_clips(prepared, tmp_path).path == first.path
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == files


def test_a_killed_run_is_taken_up(prepared, tmp_path, monkeypatch):
    computed = []

    def failing(clip, method):
        computed.append(clip)
        if len(computed) > 5:
            raise KeyboardInterrupt
        return optical_flow(clip, method)

    monkeypatch.setattr(flow_clips, "available_cores", lambda: 1)
    monkeypatch.setattr(flow_clips, "optical_flow", failing)
    with pytest.raises(KeyboardInterrupt):
        flow_clips.flow_clips(prepared, tmp_path)  # one to try, two files of two clips
    (work,) = tmp_path.glob(".*.work")
    assert sorted(path.name for path in work.iterdir()) == ["flow-00000.npz", "flow-00001.npz"]
    damaged = bytearray((work / "flow-00001.npz").read_bytes())
    damaged[5000] ^= 1
    (work / "flow-00001.npz").write_bytes(damaged)
    (work / "flow-00009.npz").touch()
    computed.clear()
    monkeypatch.setattr(flow_clips, "optical_flow", lambda *a: computed.append(a) or optical_flow(*a))
    flow = flow_clips.flow_clips(prepared, tmp_path)
    assert len(computed) == 1 + 4  # one to try, the damaged clip, and those of two files
    np.testing.assert_array_equal(flow.read(range(7)), on_the_spot(prepared))
    assert len(list(flow.path.iterdir())) == 4 + 2


def test_other_clips_and_methods_have_other_folders(dataset, prepared, tmp_path):
    whole = flow_clips.flow_clips(prepared, tmp_path)
    part = flow_clips.flow_clips(prepared.subset(list(dataset.records)[:3]), tmp_path)
    assert part.path != whole.path
    np.testing.assert_array_equal(part.read(range(len(part))), whole.read(range(len(part))))
    assert "_flow_dis_" in whole.path.name


def test_damage_is_found(prepared, tmp_path, caplog):
    flow = flow_clips.flow_clips(prepared, tmp_path)
    file = flow.path / "flow-00001.npz"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        DatasetError, match=rf"flow-00001\.npz: damaged at the clip of {flow.names[2]}: Bad CRC-32.*; `fl"
    ):
        flow.read([2])
    file.write_bytes(content[:-100])
    with pytest.raises(DatasetError, match=r"flow-00001\.npz has \d+ bytes\. Expected \d+"):
        FlowClips.open(flow.path)
    again = flow_clips.flow_clips(prepared, tmp_path)  # which computes it anew, and says so
    assert f"2 of 7 clips are made again, the others kept: {flow.names[2]}, {flow.names[3]}" in caplog.text
    np.testing.assert_array_equal(again.read(range(7)), on_the_spot(prepared))
    about = json.loads((flow.path / "flow.json").read_text())
    (flow.path / "flow.json").write_text(json.dumps(about | {"format": 1}))
    with pytest.raises(
        DatasetError, match="flow of format 1, which has no checksums.* Expected format 2; `flow_clips` w"
    ):
        FlowClips.open(flow.path)
    (flow.path / "flow.json").unlink()
    with pytest.raises(DatasetError, match="not a folder of flow, or a damaged one"):
        FlowClips.open(flow.path)


@pytest.mark.parametrize("text", ["[]", "null", "3", "{}"])
def test_a_description_that_is_none_is_told_and_computed_anew(prepared, tmp_path, text):
    flow = flow_clips.flow_clips(prepared, tmp_path)
    (flow.path / "flow.json").write_text(text)
    with pytest.raises(DatasetError, match="not a folder of flow, or a damaged one"):
        FlowClips.open(flow.path)
    assert len(flow_clips.flow_clips(prepared, tmp_path)) == len(prepared)


@pytest.mark.parametrize("name", ["index.npz", "flow.json", "flow-00002.npz"])
def test_every_flipped_byte_is_told_and_mended(prepared, tmp_path, name):
    flow = flow_clips.flow_clips(prepared, tmp_path)
    whole = (flow.path / name).read_bytes()
    for place in range(0, len(whole), 1 + len(whole) // 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (flow.path / name).write_bytes(damaged)
        with pytest.raises(DatasetError, match=f"{flow.path}: "):
            FlowClips.open(flow.path, check=True)
    flow_clips.flow_clips(prepared, tmp_path)
    assert (flow.path / name).read_bytes() == whole


def test_wrong_arguments_fail_before_anything_is_written(prepared, tmp_path):
    with pytest.raises(ValueError, match="'dis' or 'tvl1'. Received: method='none'"):
        flow_clips.flow_clips(prepared, tmp_path / "a", "none")
    with pytest.raises(DatasetError, match="no clips to compute the flow of"):
        flow_clips.flow_clips(prepared.subset([]), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="file: cannot be written: File exists"):
        flow_clips.flow_clips(prepared, tmp_path / "file")


def test_a_full_disk_is_told_before_the_work(prepared, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DatasetError, match=r"\d.*B are needed for 7 clips of flow, 4 x 32 x 48; 1.0 kB are free"):
        flow_clips.flow_clips(prepared, tmp_path)
