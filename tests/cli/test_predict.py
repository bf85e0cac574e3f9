"""python -m har_tf predict: what it prints, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import tasks
from checks import failed, run_command
from PIL import Image

from har_tf.cli.app import Explain, Predict
from har_tf.cli.reading import Foreign
from har_tf.command import guarded
from har_tf.datasets.stick_figures import ACTIONS
from har_tf.evaluate.abstention import Abstention
from har_tf.evaluate.calibration import Calibration
from har_tf.evaluate.conformal import PredictionSets
from har_tf.models.saving import save_model
from har_tf.video import read_clip, write_video

pytestmark = pytest.mark.usefixtures("opened_once")


def test_predict_prints_the_model_s_probabilities(model_file, loaded, video, capsys):
    run_command(Predict((video,), model_file, top=3))
    title, *rows = capsys.readouterr().out.splitlines()
    model, names = loaded
    clip = read_clip(video, num_frames=10, size=(32, 48))
    probabilities = model.predict(clip[None], verbose=0)[0]
    order = np.argsort(-probabilities)[:3]
    assert title == str(video)
    assert rows == [f"  {probabilities[i]:6.4f}  {names[i]}" for i in order]


def test_predict_takes_clips_as_the_model_was_trained_on_them(model_file, loaded, video, tmp_path, capsys):
    model, names = loaded
    cropped = save_model(model, tmp_path / "cropped.keras", names, {"fit": "crop", "sampling": "dense"})
    run_command(Predict((video,), cropped, top=1))
    clip = read_clip(video, num_frames=10, size=(32, 48), sampling="dense", fit="crop")
    assert f"{model.predict(clip[None], verbose=0)[0].max():6.4f}" in capsys.readouterr().out


def test_predict_json_is_one_object_a_video(model_file, video, capsys):
    run_command(Predict((video, video), model_file, json=True))
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(objects) == 2
    assert set(objects[0]["probabilities"]) == set(ACTIONS)
    assert sum(objects[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert objects[0]["class"] == max(objects[0]["probabilities"], key=objects[0]["probabilities"].get)


def test_predict_goes_on_after_a_broken_video_and_says_so(model_file, video, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    assert guarded(lambda: run_command(Predict((broken, video), model_file))) == 1
    printed = capsys.readouterr()
    assert str(video) in printed.out
    assert printed.err.count("\n") == 1
    assert str(broken) in printed.err


def test_predict_without_a_video_is_wrong_usage(model_file, capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(Predict((), model_file))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: at least one video is needed\n"


def test_models_made_elsewhere_are_told_what_their_files_do_not_say(tmp_path, video, capsys):
    import keras

    layers = keras.layers
    image = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])
    image.save(tmp_path / "image.keras")
    error = failed(Predict((video,), tmp_path / "image.keras"), capsys)
    assert "image.keras: model 'sequential" in error and "Say it as scaling, one of 0..255, 0..1" in error
    assert "not a picture" in failed(Predict((video,), tmp_path / "image.keras", foreign=Foreign("0..1")), capsys)
    picture = tmp_path / "grey.png"
    Image.fromarray(np.full((8, 8, 3), 51, np.uint8)).save(picture)
    run_command(Predict((picture,), tmp_path / "image.keras", json=True, foreign=Foreign("0..1")))
    answer = json.loads(capsys.readouterr().out)["probabilities"]
    logits = image.predict(np.full((1, 8, 8, 3), 0.2, "float32"), verbose=0)
    np.testing.assert_allclose([answer["class 0"], answer["class 1"]], keras.ops.softmax(logits)[0], atol=1e-6)

    clip = keras.Input((None, None, None, 3))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(2, 3)(layers.Rescaling(1 / 255)(clip)))
    several = keras.Model(clip, {name: layers.Dense(n)(x) for name, n in (("who", 2), ("what", 3))})
    several.save(tmp_path / "several.keras")
    foreign = Foreign(model_frames=4, model_size=(16, 24), model_output="what")
    run_command(Predict((video,), tmp_path / "several.keras", json=True, foreign=foreign))
    assert len(json.loads(capsys.readouterr().out)["probabilities"]) == 3
    assert "choose one by output=, or --model-output" in failed(Predict((video,), tmp_path / "several.keras"), capsys)


def test_short_videos_repeat_their_last_frame(model_file, loaded, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "short.mp4", frames)
    run_command(Predict((tmp_path / "short.mp4",), model_file, json=True))
    printed, printed_note = capsys.readouterr()
    printed = json.loads(printed)["probabilities"]
    assert printed_note == f"note: {tmp_path / 'short.mp4'} has 3 frames; the last is repeated to make 10\n"
    decoded = read_clip(tmp_path / "short.mp4", None, (32, 48))
    model, names = loaded
    expected = model.predict(decoded[[0, 1, *[2] * 8]][None], verbose=0)[0]
    assert [printed[name] for name in names] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_clip_that_the_model_s_setting_fills_up_is_noted(model_file, loaded, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (11, 32, 48, 3), dtype=np.uint8)
    short, still = write_video(tmp_path / "s.mp4", frames[:3]), write_video(tmp_path / "still.mp4", frames[[0] * 11])
    model, names = loaded
    wrapping = save_model(model, tmp_path / "wrap.keras", names, {"short": "wrap"})
    strided = save_model(model, tmp_path / "strided.keras", names, {"sampling": "strided"})
    slower = save_model(model, tmp_path / "slower.keras", names, {"sampling": "dense", "by": "5fps"})
    long = write_video(tmp_path / "long.mp4", frames, fps=10)
    out = tmp_path / "o.mp4"
    for options, note in (
        (Explain(short, model_file, out), f"note: {short} has 3 frames; the last is repeated to make 10\n"),
        (Explain(short, wrapping, out), f"note: {short} has 3 frames; they are repeated in turn to make 10\n"),
        (Explain(short, model_file, out, short="wrap"), ""),  # which says so itself
        (Predict((long,), strided), f"note: {long} has 11 frames; the last is repeated to make 19\n"),
        (Predict((long,), slower), f"note: {long} has 6 frames at 5fps; the last is repeated to make 10\n"),
        (Predict((still, long), model_file), ""),
    ):
        run_command(options)
        assert capsys.readouterr().err == note


def test_predict_goes_on_after_a_crash_of_the_decoder(model_file, video, tmp_path, capsys, monkeypatch):
    shutil.copy(video, tmp_path / "crash.mp4")
    monkeypatch.setattr("har_tf.classifier.read_clip", tasks.read_or_crash)
    line = failed(Predict((tmp_path / "crash.mp4", video), model_file), capsys)
    assert "crash.mp4: " in line
    assert "died" in line


@pytest.fixture
def calibrated_file(loaded, tmp_path):
    made = Calibration(2.0, 120, None, PredictionSets(0.9, 0.05, 120, 120), Abstention(0.95, 0.95, 0.999, 120, 60, 60))
    return save_model(*loaded[:1], tmp_path / "calibrated.keras", loaded[1], calibration=made.as_dict())


def test_calibrated_probabilities_and_what_they_promise_are_said(calibrated_file, model_file, video, capsys):
    run_command(Predict((video,), model_file, json=True))
    raw = json.loads(capsys.readouterr().out)
    run_command(Predict((video,), calibrated_file, json=True))
    printed = capsys.readouterr()
    assert printed.err == "note: probabilities are calibrated: temperature 2, fitted on 120 validation clips\n"
    told = json.loads(printed.out)
    roots = {name: p**0.5 for name, p in raw["probabilities"].items()}
    expected = {name: root / sum(roots.values()) for name, root in roots.items()}
    assert told["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert (told["class"], told["temperature"], told["none_of_these"]) == (raw["class"], 2.0, True)
    assert set(told["set"]) == {name for name, p in expected.items() if p >= 0.05}
    run_command(Predict((video,), calibrated_file, top=1))
    _, row, none, several = capsys.readouterr().out.splitlines()
    p = f"{max(expected.values()):.4f}"
    assert row == f"  {p}  {raw['class']}"
    assert none == f"  none of these: {p} is below 0.9990, which a precision of 0.95 needs"
    assert several == f"  one of these, with a coverage of 0.9: {', '.join(told['set'])}"


def test_calibration_is_switched_off(calibrated_file, model_file, video, capsys):
    run_command(Predict((video,), model_file))
    plain = capsys.readouterr()
    run_command(Predict((video,), calibrated_file, calibration=False))
    assert capsys.readouterr() == plain
