"""python -m har_tf explain: what reaches the methods, what is written, and what it refuses."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from checks import failed, run_command
from tiny_networks import make_tiny

from har_tf.classifier import Classifier
from har_tf.cli.app import Explain
from har_tf.datasets.stick_figures import ACTIONS
from har_tf.explain.methods import METHODS
from har_tf.models.saving import save_model
from har_tf.video import probe, read_clip, write_video

pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture
def asked(monkeypatch):
    """What `by_method` was asked for and answered, call by call."""
    from har_tf import explain

    calls, real = [], explain.by_method

    def by_method(*args, **options):
        calls.append((args, options, real(*args, **options)))
        return calls[-1][2]

    monkeypatch.setattr(explain, "by_method", by_method)
    return calls


def test_explain_writes_the_overlay_of_what_was_asked(model_file, video, tmp_path, capsys, asked):
    """The options reach Grad-CAM, and the video is what `save_overlay` makes of its answer."""
    out = tmp_path / "new" / "overlay.mp4"
    run_command(Explain(video, model_file, out, class_name="catch", tap="conv2d_1", pool="spatial", normalize="frame"))
    ((args, options, found),) = asked
    assert args[2] == ["gradcam"]
    explanation = found["conv2d_1"]
    assert explanation.settings == {
        "tap": "conv2d_1", "pool": "spatial", "normalize": "frame", "counterfactual": False,
    }  # fmt: skip
    assert explanation.class_index == options["class_index"] == ACTIONS.index("catch")
    assert (probe(out).codec, probe(out).frames) == ("h264", probe(video).frames)
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    other = tmp_path / "predicted.mp4"
    run_command(Explain(video, model_file, other))
    assert (read_clip(out, 2, (99, 99)) != read_clip(other, 2, (99, 99))).any()


def test_explain_shows_methods_side_by_side(model_file, video, tmp_path, asked):
    one, three = tmp_path / "one.mp4", tmp_path / "three.mp4"
    run_command(Explain(video, model_file, one, frames="model"))
    run_command(
        Explain(
            video,
            model_file,
            three,
            method="3dcam, gradcam,sum-gradcam",
            taps="relu_1,conv3d",
            counterfactual=True,
            frames="model",
        )
    )
    found = asked[1][2]
    assert list(found) == ["Sum 3DCAM", "Grad-CAM conv3d", "Sum Grad-CAM"]
    assert found["Sum 3DCAM"].settings["taps"] == found["Sum Grad-CAM"].settings["taps"] == ("relu_1", "conv3d")
    assert all(each.settings["counterfactual"] for each in found.values())
    widths = [probe(path).width for path in (one, three)]
    assert widths[1] / widths[0] == pytest.approx(2, abs=0.02)


def test_explain_knows_methods_that_are_no_functions_of_a_feature_map(model_file, video, tmp_path, asked, capsys):
    out, sheet = tmp_path / "o.mp4", tmp_path / "s.png"
    options = {"method": "scorecam,integrated-gradients", "method_options": "strongest=2,integrated-gradients.steps=3"}
    run_command(Explain(video, model_file, out, tap="conv2d_1", json=True, sheet=sheet, **options))
    found = asked[0][2]
    assert list(found) == ["Score-CAM conv2d_1", "Integrated Gradients"] and sheet.exists()
    assert len({int(each.class_index[0]) for each in found.values()}) == 1
    one, other = json.loads(out.with_suffix(".json").read_text())["maps"]
    assert (one["settings"]["strongest"], one["settings"]["passes"], one["taps"][0]["name"]) == (2, 3, "conv2d_1")
    assert (other["settings"]["steps"], other["taps"]) == (3, [])
    assert "smoothed" in other["settings"]["picture"]
    run_command(Explain(video, model_file, out, windows=True, hop=30, **options))
    assert asked[-1][1]["normalize"] is None and len(asked[-1][2]) == 2
    against = Explain(video, model_file, out, counterfactual=True, **options)
    assert "what speaks against a class is not defined for scorecam" in failed(against, capsys)


def test_explain_goes_over_a_long_video_in_windows(model_file, video, tmp_path, capsys, asked):
    frames = probe(video).frames
    out = tmp_path / "o.mp4"
    run_command(Explain(video, model_file, out, method="3dcam,gradcam", windows=True, hop=7))
    starts = [*range(0, frames - 9, 7)]
    starts += [frames - 10] if starts[-1] != frames - 10 else []
    *lines, last = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("frames ")]
    assert [line.split(" (")[0] for line in told] == [f"frames {start} to {start + 9}" for start in starts]
    assert f"({7 / probe(video).fps:.2f} to {16 / probe(video).fps:.2f} s)" in told[1]
    assert told[0].endswith(f"(window 1/{len(starts)})")
    assert last == str(out)
    assert (probe(out).frames, probe(out).fps) == (frames, probe(video).fps)
    assert all(options["normalize"] is None for _, options, _ in asked), "scaled after the windows are joined"
    run_command(Explain(video, model_file, out, windows=True, stride=2, hop=100, class_name="wave"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("frames ")][:1]
    assert line.startswith(f"frames 0 to 18 (0.00 to {18 / probe(video).fps:.2f} s): wave, p = ")

    short = write_video(tmp_path / "short.mp4", read_clip(video, 6, (32, 48)))
    error = failed(Explain(short, model_file, out, windows=True), capsys)
    assert error.startswith(f"error: {short}: 6 frames, a window of the model takes 10")
    run_command(Explain(short, model_file, out, windows=True, short="wrap"))
    assert probe(out).frames == 6
    assert "10 needed" in failed(Explain(short, model_file, out, short="error"), capsys)


def test_explain_draws_a_sheet_of_the_top_classes(model_file, loaded, video, tmp_path, capsys, monkeypatch):
    from har_tf.report import plots

    drawn, real = [], plots.frame_strip
    monkeypatch.setattr(plots, "frame_strip", lambda rows, *a: drawn.append(rows) or real(rows, *a))
    sheet = tmp_path / "new" / "sheet.png"
    run_command(Explain(video, model_file, tmp_path / "o.mp4", method="3dcam", sheet=sheet))
    assert capsys.readouterr().out.splitlines()[-2:] == [str(tmp_path / "o.mp4"), str(sheet)]
    assert cv2.imread(str(sheet)).shape[1] > 800
    model, names = loaded
    clip = read_clip(video, num_frames=10, size=(32, 48))
    probabilities = model.predict(clip[None], verbose=0)[0]
    order = np.argsort(-probabilities)[:3]
    (rows,) = drawn
    for rank, (text, _) in zip(("first", "second", "third"), rows[1:4], strict=True):
        index = order[("first", "second", "third").index(rank)]
        assert text.startswith(f"{rank} class: {names[index]}, p = {probabilities[index]:.4f}")
    assert rows[4][0].startswith(f"negation of the first: against {names[order[0]]}")
    assert len(rows) == 5
    assert (rows[1][1] != rows[4][1]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cam"}, f"Methods are some of {', '.join(METHODS)}, each once. Received: --method cam"),
        ({"method": "3dcam,3dcam"}, "each once"),
        ({"method": "3dcam", "tap": "conv3d"}, "--tap is where a method of one tap explains: gradcam"),
        ({"taps": "conv3d"}, "--taps is what a method sums: 3dcam, sum-gradcam. Received: --taps conv3d with grad"),
        ({"method": "3dcam", "pool": "spatial"}, "--pool is how a method averages gradients: gradcam"),
        ({"method": "gradcam,3dcam", "method_options": "3dcam.pool=spatial"}, "Received: 3dcam.pool=spatial"),
        ({"method_options": "steps"}, "--method-options are such as steps=64,seed=1. Received: steps"),
        ({"method_options": "steps=2"}, "options of these methods are gradcam.pool=spatiotemporal. Received: steps=2"),
        ({"hop": 2}, "--hop and --stride are those of --windows"),
        ({"windows": True, "hop": 0}, "--hop is at least 1. Received: 0"),
        ({"windows": True, "sheet": Path("s.png")}, "A sheet shows one clip, so not with --windows"),
        ({"out": Path("o.avi")}, "Overlays end in .mp4, .gif, .webp. Received: --out o.avi"),
        ({"size": 9}, "at least 16 pixels. Received: --size 9"),
        ({"size": 99, "frames": "model"}, "Received: --size 99 with --frames model"),
        ({"sheet": Path("s.mp4")}, "Sheets end in .png. Received: --sheet s.mp4"),
        ({"sheet": Path("s.png"), "tap": "conv2d_1,conv3d"}, "A sheet of gradcam shows one tap"),
    ],
)
def test_explain_refuses_what_does_not_go_together_before_loading(tmp_path, capsys, options, message):
    options = {"out": tmp_path / "o.mp4", **options}
    assert message in failed(Explain(tmp_path / "v.mp4", tmp_path / "m.keras", **options), capsys)


@pytest.mark.parametrize(("out", "sheet"), [("file/new/o.mp4", "s.png"), ("o.mp4", "file/s.png")])
def test_explain_writes_both_or_refuses_before_loading(video, tmp_path, capsys, out, sheet):
    (tmp_path / "file").touch()
    error = failed(Explain(video, tmp_path / "m.keras", tmp_path / out, sheet=tmp_path / sheet), capsys)
    option, wrong = ("--out", out) if "file" in out else ("--sheet", sheet)
    assert error == (
        f"error: {tmp_path / 'file'}: a file stands where a folder is needed. Received: {option} {tmp_path / wrong}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_explain_refuses_what_cannot_be_written_before_loading(video, tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.mp4").mkdir()
    error = failed(Explain(video, tmp_path / "m.keras", tmp_path / "folder.mp4"), capsys)
    assert error == f"error: {tmp_path / 'folder.mp4'}: a folder stands where the file would be written"

    def touch(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", touch)  # root may write everywhere
    out = tmp_path / "new" / "o.mp4"
    error = failed(Explain(video, tmp_path / "m.keras", out), capsys)
    assert error == f"error: {out}: cannot be written: {tmp_path}: Permission denied"
    assert not out.parent.exists()


def test_explain_says_which_taps_it_summed(model_file, loaded, video, tmp_path, capsys, asked):
    from har_tf.models.taps import stages

    out = tmp_path / "o.mp4"
    names = ", ".join(tap.name for tap in stages(loaded[0]))
    for options in ({"method": "3dcam,gradcam,sum-gradcam"}, {"method": "3dcam", "windows": True, "hop": 100}):
        run_command(Explain(video, model_file, out, **options))
        assert capsys.readouterr().out.splitlines().count(f"summed over {names}") == 1
    run_command(Explain(video, model_file, out))
    assert "summed" not in capsys.readouterr().out


def test_explain_shows_several_taps_side_by_side(model_file, video, tmp_path, capsys):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    run_command(Explain(video, model_file, one, tap="conv3d", frames="model"))
    run_command(Explain(video, model_file, two, tap="conv2d_1, conv3d", frames="model"))
    assert capsys.readouterr().out.splitlines()[-1] == str(two)
    widths = [probe(path).width for path in (one, two)]
    assert widths[1] / widths[0] == pytest.approx(3 / 2, abs=0.02)
    error = failed(Explain(video, model_file, two, tap="conv3d,conv9"), capsys)
    assert error.startswith("error: tap 'conv9' is not in the model")
    assert "each tap is named once" in failed(Explain(video, model_file, two, tap="conv3d, conv3d"), capsys)


def test_explain_knows_the_networks_of_a_fusion_by_name(video, tmp_path, capsys, monkeypatch):
    from har_tf import explain
    from har_tf.models.fusion_gru import fusion_gru

    names = ("MobileNet", "MobileNetV2")
    make_tiny(monkeypatch, None, *names)
    fusion = fusion_gru((2, 64, 64, 3), 3, names, gru_units=(4,), frame_sizes=dict.fromkeys(names, 64))
    model = save_model(fusion, tmp_path / "fusion.keras", ("a", "b", "c"))
    shown, real = [], explain.save_overlay
    monkeypatch.setattr(explain, "save_overlay", lambda *a, **k: shown.append(a[2]) or real(*a, **k))
    run_command(Explain(video, model, tmp_path / "o.mp4", tap="MobileNetV2,MobileNet"))
    taps = {name: explanation.settings["tap"] for name, explanation in shown[0].items()}
    assert taps == {"MobileNetV2": "MobileNetV2_conv_3_relu", "MobileNet": "MobileNet_conv_3_relu"}
    error = failed(Explain(video, model, tmp_path / "n.mp4", tap="MobileNet,GoogLeNet"), capsys)
    assert error.startswith("error: tap 'GoogLeNet' is not in the model of") and "MobileNet" in error
    with pytest.raises(
        ValueError, match=r"a tap is a network \(MobileNet, MobileNetV2\) or a feature map: tap 'GoogLeNet'"
    ):
        Classifier.load(model).taps_by_name("GoogLeNet")


def test_explain_does_not_overwrite_its_video(model_file, video, tmp_path, capsys):
    content = video.read_bytes()
    (link := tmp_path / "link.mp4").symlink_to(video)
    for out in (video, link):
        assert f"overwrite the video it explains. Received: --out {out}" in failed(
            Explain(video, model_file, out), capsys
        )
    assert video.read_bytes() == content


def test_explain_writes_an_animation_and_the_details(model_file, video, tmp_path, capsys):
    out = tmp_path / "o.gif"
    run_command(Explain(video, model_file, out, method="3dcam,gradcam", size=64, json=True))
    assert capsys.readouterr().out.splitlines()[-2:] == [str(out), str(tmp_path / "o.json")]
    found = json.loads((tmp_path / "o.json").read_text())
    assert (found["video"], found["model"]) == (str(video), str(model_file))
    frames = probe(video).frames
    assert found["sampling"]["frames"] == [round(i * (frames - 1) / 9 + 1e-9) for i in range(10)]
    assert found["sampling"]["seconds"][1] == pytest.approx(found["sampling"]["frames"][1] / probe(video).fps, abs=1e-3)
    assert found["sampling"]["overlay_size"][0] == 64
    assert [each["name"] for each in found["maps"]] == ["Sum 3DCAM", "Grad-CAM conv3d"]
    assert found["maps"][1]["taps"][0]["name"] == "conv3d" and len(found["maps"][0]["taps"]) > 1
    assert all(set(tap["cells"]) == {"time", "height", "width"} for each in found["maps"] for tap in each["taps"])


def test_explain_shows_a_video_whose_name_is_no_text(model_file, video, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\x8cname.mp4"))
    odd.write_bytes(video.read_bytes())
    run_command(Explain(odd, model_file, tmp_path / "o.mp4", json=True))
    assert json.loads((tmp_path / "o.json").read_text())["video"] == str(odd)
