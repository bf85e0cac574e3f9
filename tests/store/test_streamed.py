import re
from types import SimpleNamespace

import numpy as np
import pytest

from har_tf.datasets import DatasetError, prepare
from har_tf.datasets.folder import load
from har_tf.pipeline import clips
from har_tf.store import store
from har_tf.store.shards import ClipSettings
from har_tf.store.store import check_room
from har_tf.store.streamed import StreamedClips
from har_tf.video import VideoError

SETTINGS = ClipSettings(3, (16, 24), "dense", "repeat_last", "crop")


def test_gives_what_is_prepared_without_a_file(miniature, tmp_path):
    dataset = load(miniature)
    prepared = prepare(dataset, tmp_path, 3, (16, 24), "dense", fit="crop", workers=0)
    streamed = StreamedClips.of(dataset, SETTINGS, {})
    for name in ("num_frames", "size", "shape", "channels", "clip", "class_names", "names", "record_paths", "skipped"):
        assert getattr(streamed, name) == getattr(prepared, name), name
    assert streamed.path.name == prepared.path.parent.name, "training goes on with either"
    part = list(reversed(dataset.records))[:5]
    for ours, theirs in ((streamed, prepared), (streamed.subset(part), prepared.subset(part))):
        assert len(ours) == len(theirs)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.read([3, 0]), theirs.read([3, 0]))
        for (a, _), (b, _) in zip(clips(ours, 4), clips(theirs, 4), strict=True):
            np.testing.assert_array_equal(a, b)


def test_leaves_out_what_cannot_be_read_or_says_which_it_is(miniature, tmp_path):
    dataset = load(miniature)
    broken = dataset.records[1].path
    streamed = StreamedClips.of(dataset, SETTINGS, {broken: "no video"})
    assert len(streamed) == len(dataset) - 1 and broken not in streamed.record_paths
    assert [(video.path, video.reason) for video in streamed.skipped] == [(broken, "no video")]
    assert len(streamed.subset(dataset.records[:2])) == 1
    missing = tmp_path / "gone.avi"
    gone = dataset.subset([type(dataset.records[0])(missing, 0)])
    with pytest.raises(VideoError, match=r"gone\.avi"):
        StreamedClips.of(gone, SETTINGS, {}).read([0])


def test_room_is_said_for_all_stores_and_refused_before_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=20 * 10**9))
    needs = {"3D ResNeXt": 15 * 10**9, "flow": 6 * 10**9}
    text = "21.0 GB of disk are needed (3D ResNeXt 15.0 GB, flow 6.0 GB); 20.0 GB are free. Take less"
    with pytest.raises(DatasetError, match=re.escape(text)):
        check_room(tmp_path / "new", needs, "Take less")
    check_room(tmp_path, {"3D ResNeXt": 15 * 10**9}, "Take less")
    assert capsys.readouterr().out.endswith("15.0 GB of disk are needed (3D ResNeXt 15.0 GB); 20.0 GB are free\n")
    (tmp_path / "part").write_bytes(bytes(2000))
    check_room(tmp_path, {"3D ResNeXt": 20 * 10**9 + 1000}, "Take less")  # what is stored may be of it
