"""Rows of many videos: by workers of Beam as by this process."""

import importlib.util
import json
import time

import numpy as np
import pytest
from checks import run_command

from har_tf import bulk
from har_tf.cli.app import Predict
from har_tf.command import guarded
from har_tf.datasets import DatasetError
from har_tf.evaluate.calibration import Calibration
from har_tf.models.saving import load_model, save_model
from har_tf.video import write_video

PROCESSES = "--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"
THREADS = PROCESSES.replace("processing", "threading")
needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam, the extra `beam`, is not installed"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Mean colours of the frames of 4 x 8 x 8 clips, that follow each other, in another order."""
    import keras

    clip = keras.Input((4, 8, 8, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.Rescaling(1 / 51)(clip))
    model = keras.Model(clip, keras.layers.Dense(3, "softmax", name="predictions")(x))
    model.get_layer("predictions").set_weights([np.roll(np.eye(3, dtype="float32"), 1, 0), np.zeros(3, "float32")])
    path = tmp_path_factory.mktemp("model") / "colours.keras"
    return save_model(model, path, ["green", "blue", "red"], {"sampling": "dense"})


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """Seven videos, of which one is broken and one short; three become an element."""
    monkeypatch.setattr(bulk, "VIDEOS", 3)
    for i in range(7):
        frames = np.random.default_rng(i).integers(0, 256, (3 if i == 4 else 12, 16, 16, 3), dtype=np.uint8)
        write_video(tmp_path / f"{i}.mp4", frames // [2, 3, 1][i % 3])
    (tmp_path / "2.mp4").write_bytes(b"no video")
    return tuple(tmp_path / f"{i}.mp4" for i in range(7))


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


@needs_beam
def test_two_worker_processes_print_the_same_bytes(model, videos, work, capsys):
    printed, (plain, names) = [], load_model(model)
    made = Calibration(0.1, 120).as_dict()
    calibrated = save_model(plain, model.with_name("calibrated.keras"), names, {"sampling": "dense"}, calibration=made)
    for beam in (None, PROCESSES):
        asked = Predict(videos, calibrated, json=True, windows=2, beam=beam, work=work)
        assert guarded(lambda asked=asked: run_command(asked)) == 1
        printed.append(capsys.readouterr())
    assert printed[0] == printed[1]
    assert printed[0].out.count("\n") == 7 and f'"error": "{videos[2]}: not a video' in printed[0].out
    assert f"note: {videos[4]} has 3 frames; the last is repeated to make 4" in printed[0].err
    assert not work.exists()
    raw = next(bulk.rows_on_beam(calibrated, videos, THREADS.split(), work, 2, calibrated=False)).probabilities
    told = json.loads(printed[0].out.partition("\n")[0])
    assert told["temperature"] == 0.1 and told["probabilities"][told["class"]] > max(raw) + 0.02


@needs_beam
def test_what_a_pipeline_that_was_killed_has_finished_is_not_done_again(model, videos, work, monkeypatch, capsys):
    videos = videos[:2] + videos[3:]
    run_command(Predict(videos, model))
    expected = capsys.readouterr()
    of_some, calls = bulk.rows, []

    def rows(classifier, paths, windows=None):
        if paths:
            calls.append([path.name for path in paths])
        if len(calls) == 2:  # when the other element is there, in whichever order the runner has them
            deadline = time.monotonic() + 20
            while not list(work.rglob("00000?")) and time.monotonic() < deadline:
                time.sleep(0.01)
            raise MemoryError("killed")
        return of_some(classifier, paths, windows)

    asked = Predict(videos, model, beam=THREADS, work=work)
    with monkeypatch.context() as patch, pytest.raises(DatasetError, match=r"pipeline failed: .*killed.*is finished"):
        patch.setattr(bulk, "rows", rows)
        asked.run()
    assert len(list(work.rglob("00000?"))) == 1
    failed = calls[1]
    calls.clear()
    capsys.readouterr()
    monkeypatch.setattr(
        bulk, "rows", lambda c, paths, w=None: calls.append([p.name for p in paths]) or of_some(c, paths, w)
    )
    asked.run()
    assert [names for names in calls if names] == [failed]
    assert capsys.readouterr() == expected
    assert not work.exists()


@needs_beam
def test_damage_and_other_videos_are_done_again(model, videos, work, monkeypatch):
    options = THREADS.split()
    expected = list(bulk.rows_on_beam(model, videos, options, work))
    assert [row.error is None for row in expected] == [True, True, False, True, True, True, True]
    found = bulk.rows_on_beam(model, videos, options, work)
    assert next(found) == expected[0]
    found.close()  # the reader of the rows has gone: what is finished stays
    first, *others = sorted(work.rglob("00000?"))
    first.write_bytes(first.read_bytes().replace(b"0.", b"1.", 1))
    kept = {path: path.stat().st_mtime_ns for path in (first, *others)}
    generator = bulk.rows_on_beam(model, videos, options, work)
    assert next(generator) == expected[0]
    assert [path.stat().st_mtime_ns == kept[path] for path in (first, *others)] == [False, True]
    assert list(generator) == expected[1:]
    write_video(videos[2], np.zeros((5, 16, 16, 3), np.uint8))
    assert all(row.error is None for row in bulk.rows_on_beam(model, videos, options, work))


def test_a_worker_that_sees_other_files_says_so(model, tmp_path):
    shard = bulk._Shard(tmp_path / "000000", [tmp_path / "gone.mp4"], [(5, 5)])
    answer = bulk._Answer(model, "0" * 64, {}, None)
    with pytest.raises(FileNotFoundError, match="gone.mp4"):
        answer(shard)
    with pytest.raises(DatasetError, match="colours.keras: on .* a Beam worker finds another file"):
        answer(bulk._Shard(tmp_path / "000000", [tmp_path / "gone.mp4"], [None]))


@needs_beam
def test_wrong_options_are_told_before_the_work(model, videos, work, tmp_path, monkeypatch):
    for options, message in (
        ({"beam": "--runer=x"}, "knows no options --runer=x. Closest: --runner"),
        ({"beam": THREADS, "windows": 2}, "windows, at least 1, are of frames that follow each other"),
    ):
        uniform = model
        if "windows" in options:
            loaded, names = load_model(model)
            uniform = save_model(loaded, tmp_path / "uniform.keras", names)
        with pytest.raises(ValueError, match=message):
            Predict(videos, uniform, **options, work=work).run()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'har_tf\[beam\]'"):
        Predict(videos, model, beam=THREADS, work=work).run()
    assert not work.exists()


@pytest.mark.parametrize(
    ("count", "spans"), [(1, [(0, 1)]), (3, [(0, 3)]), (4, [(0, 4)]), (5, [(0, 3), (3, 5)]), (7, [(0, 3), (3, 7)])]
)
def test_no_video_of_several_is_alone(count, spans, monkeypatch):
    """One alone would be decoded in the worker itself, which a crash of the decoder would end."""
    monkeypatch.setattr(bulk, "VIDEOS", 3)
    assert bulk._spans(count) == spans
