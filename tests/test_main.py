"""The command line: what its subcommands print, and what they refuse."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from har_tf.__main__ import (
    Check,
    Command,
    Concepts,
    Explain,
    ImportWeights,
    Mine,
    Predict,
    Prepare,
    Preview,
    Review,
    main,
)
from har_tf.command import guarded
from har_tf.datasets.stick_figures import ACTIONS
from har_tf.models.saving import load_model, save_model
from har_tf.video import probe, read_clip, write_video


@pytest.fixture(scope="module")
def model_file(tiny_run):
    return tiny_run / "model.keras"


@pytest.fixture(scope="module")
def video(tiny_recipe, tiny_run):
    return next((tiny_recipe.out / "figures").rglob("v_wave_g0001_c01.mp4"))


def failed(options, capsys) -> str:
    """The one line that a failing command writes."""
    assert guarded(lambda: main(options)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_predict_prints_the_model_s_probabilities(model_file, video, capsys):
    main(Predict((video,), model_file, top=3))
    title, *rows = capsys.readouterr().out.splitlines()
    model, names = load_model(model_file)
    clip = read_clip(video, num_frames=10, size=(32, 48))
    probabilities = model.predict(clip[None], verbose=0)[0]
    order = np.argsort(-probabilities)[:3]
    assert title == str(video)
    assert rows == [f"  {probabilities[i]:6.4f}  {names[i]}" for i in order]


def test_predict_takes_clips_as_the_model_was_trained_on_them(model_file, video, tmp_path, capsys):
    model, names = load_model(model_file)
    cropped = save_model(model, tmp_path / "cropped.keras", names, {"fit": "crop", "sampling": "dense"})
    main(Predict((video,), cropped, top=1))
    clip = read_clip(video, num_frames=10, size=(32, 48), sampling="dense", fit="crop")
    assert f"{model.predict(clip[None], verbose=0)[0].max():6.4f}" in capsys.readouterr().out


def test_predict_json_is_one_object_a_video(model_file, video, capsys):
    main(Predict((video, video), model_file, json=True))
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(objects) == 2
    assert set(objects[0]["probabilities"]) == set(ACTIONS)
    assert sum(objects[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert objects[0]["class"] == max(objects[0]["probabilities"], key=objects[0]["probabilities"].get)


def test_predict_goes_on_after_a_broken_video_and_says_so(model_file, video, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    assert guarded(lambda: main(Predict((broken, video), model_file))) == 1
    printed = capsys.readouterr()
    assert str(video) in printed.out
    assert printed.err.count("\n") == 1
    assert str(broken) in printed.err


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
    main(Explain(video, model_file, out, class_name="catch", tap="conv2d_1", pool="spatial", normalize="frame"))
    ((args, options, found),) = asked
    assert args[2] == ["gradcam"]
    explanation = found["conv2d_1"]
    assert explanation.settings == {
        "tap": "conv2d_1", "pool": "spatial", "normalize": "frame", "counterfactual": False,
    }  # fmt: skip
    assert explanation.class_index == options["class_index"] == ACTIONS.index("catch")
    assert (probe(out).codec, probe(out).frames) == ("h264", 10)
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    other = tmp_path / "predicted.mp4"
    main(Explain(video, model_file, other))
    assert (read_clip(out, None, None) != read_clip(other, None, None)).any()


def test_explain_shows_methods_side_by_side(model_file, video, tmp_path, asked):
    one, three = tmp_path / "one.mp4", tmp_path / "three.mp4"
    main(Explain(video, model_file, one))
    main(
        Explain(
            video, model_file, three, method="3dcam, gradcam,sum-gradcam", taps="relu_1,conv3d", counterfactual=True
        )
    )
    found = asked[1][2]
    assert list(found) == ["Sum 3DCAM", "Grad-CAM conv3d", "Sum Grad-CAM"]
    assert found["Sum 3DCAM"].settings["taps"] == found["Sum Grad-CAM"].settings["taps"] == ("relu_1", "conv3d")
    assert all(each.settings["counterfactual"] for each in found.values())
    widths = [probe(path).width for path in (one, three)]
    assert widths[1] / widths[0] == pytest.approx(2, abs=0.02)


def test_explain_goes_over_a_long_video_in_windows(model_file, video, tmp_path, capsys, asked):
    frames = probe(video).frames
    out = tmp_path / "o.mp4"
    main(Explain(video, model_file, out, method="3dcam,gradcam", windows=True, hop=7))
    starts = [*range(0, frames - 9, 7)]
    starts += [frames - 10] if starts[-1] != frames - 10 else []
    *lines, last = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("frames ")]
    assert [line.split(":")[0] for line in told] == [f"frames {start} to {start + 9}" for start in starts]
    assert told[0].endswith(f"(window 1/{len(starts)})")
    assert last == str(out)
    assert (probe(out).frames, probe(out).fps) == (frames, probe(video).fps)
    assert all(options["normalize"] is None for _, options, _ in asked), "scaled after the windows are joined"
    main(Explain(video, model_file, out, windows=True, stride=2, hop=100, class_name="wave"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("frames ")][:1]
    assert line.startswith("frames 0 to 18: wave, p = ")

    short = write_video(tmp_path / "short.mp4", read_clip(video, 6, (32, 48)))
    error = failed(Explain(short, model_file, out, windows=True), capsys)
    assert error.startswith(f"error: {short}: 6 frames, a window of the model takes 10")
    main(Explain(short, model_file, out, windows=True, short="wrap"))
    assert probe(out).frames == 6
    assert "10 needed" in failed(Explain(short, model_file, out, short="error"), capsys)


def test_explain_draws_a_sheet_of_the_top_classes(model_file, video, tmp_path, capsys, monkeypatch):
    from har_tf.report import plots

    drawn, real = [], plots.frame_strip
    monkeypatch.setattr(plots, "frame_strip", lambda rows, *a: drawn.append(rows) or real(rows, *a))
    sheet = tmp_path / "new" / "sheet.png"
    main(Explain(video, model_file, tmp_path / "o.mp4", method="3dcam", sheet=sheet))
    assert capsys.readouterr().out.splitlines()[-2:] == [str(tmp_path / "o.mp4"), str(sheet)]
    assert cv2.imread(str(sheet)).shape[1] > 800
    model, names = load_model(model_file)
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
        ({"method": "cam"}, "Methods are some of gradcam, 3dcam, sum-gradcam, each once. Received: --method cam"),
        ({"method": "3dcam,3dcam"}, "each once"),
        ({"method": "3dcam", "tap": "conv3d"}, "--tap is where gradcam explains; --taps are what 3dcam sums"),
        ({"taps": "conv3d"}, "--taps are what 3dcam or sum-gradcam sums; gradcam has --tap. Received: conv3d"),
        ({"method": "3dcam", "pool": "spatial"}, "--pool is that of gradcam and sum-gradcam. Received: --pool spatial"),
        ({"hop": 2}, "--hop and --stride are those of --windows"),
        ({"windows": True, "hop": 0}, "--hop is at least 1. Received: 0"),
        ({"windows": True, "sheet": Path("s.png")}, "A sheet shows one clip, so not with --windows"),
        ({"sheet": Path("s.mp4")}, "Sheets end in .png. Received: --sheet s.mp4"),
        ({"sheet": Path("s.png"), "tap": "conv2d_1,conv3d"}, "A sheet of gradcam shows one tap"),
    ],
)
def test_explain_refuses_what_does_not_go_together_before_loading(tmp_path, capsys, options, message):
    assert message in failed(Explain(tmp_path / "v.mp4", tmp_path / "m.keras", tmp_path / "o.mp4", **options), capsys)


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


def test_explain_says_which_taps_it_summed(model_file, video, tmp_path, capsys, asked):
    from har_tf.models.taps import stages

    out = tmp_path / "o.mp4"
    names = ", ".join(tap.name for tap in stages(load_model(model_file)[0]))
    for options in ({"method": "3dcam,gradcam,sum-gradcam"}, {"method": "3dcam", "windows": True, "hop": 100}):
        main(Explain(video, model_file, out, **options))
        assert capsys.readouterr().out.splitlines().count(f"summed over {names}") == 1
    main(Explain(video, model_file, out))
    assert "summed" not in capsys.readouterr().out


def test_explain_shows_several_taps_side_by_side(model_file, video, tmp_path, capsys):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    main(Explain(video, model_file, one, tap="conv3d"))
    main(Explain(video, model_file, two, tap="conv2d_1, conv3d"))
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
    fusion = fusion_gru((2, 64, 64, 3), 3, names, gru_units=(4,), frame_sizes=dict.fromkeys(names, 64))
    model = save_model(fusion, tmp_path / "fusion.keras", ("a", "b", "c"))
    shown, real = [], explain.save_overlay
    monkeypatch.setattr(explain, "save_overlay", lambda *a, **k: shown.append(a[2]) or real(*a, **k))
    main(Explain(video, model, tmp_path / "o.mp4", tap="MobileNetV2,MobileNet"))
    taps = {name: explanation.settings["tap"] for name, explanation in shown[0].items()}
    assert taps == {"MobileNetV2": "MobileNetV2_out_relu", "MobileNet": "MobileNet_conv_pw_13_relu"}
    error = failed(Explain(video, model, tmp_path / "n.mp4", tap="MobileNet,GoogLeNet"), capsys)
    assert error.startswith("error: --tap is a network (MobileNet, MobileNetV2) or a feature map: tap 'GoogLeNet' is")


def test_explain_does_not_overwrite_its_video(model_file, video, tmp_path, capsys):
    content = video.read_bytes()
    (link := tmp_path / "link.mp4").symlink_to(video)
    for out in (video, link):
        assert f"overwrite the video it explains. Received: --out {out}" in failed(
            Explain(video, model_file, out), capsys
        )
    assert video.read_bytes() == content


def test_prepare_then_open(tiny_recipe, tiny_run, tmp_path, capsys):
    from har_tf.store.prepared import PreparedDataset

    folder = next((tiny_recipe.out / "figures").iterdir())
    main(Prepare(str(folder), tmp_path, classes="wave, clap", num_frames=4, size=(16, 24), workers=0))
    count, path = capsys.readouterr().out.splitlines()[-2:]
    assert count == "12 clips, none left out"
    assert PreparedDataset.open(Path(path)).class_names == ("wave", "clap")


@pytest.fixture
def videos(tmp_path):
    """UCF101's layout and lists: two classes, one video of each in training, two in test."""
    root = tmp_path / "UCF-101"
    for label, name in enumerate(("Archery", "Biking")):
        (root / name).mkdir(parents=True)
        for group in (1, 2, 8):
            frames = np.random.default_rng([label, group]).integers(0, 256, (1, 6, 8, 3), dtype=np.uint8)
            frames = np.stack([cv2.resize(frames[0], (48, 32), interpolation=cv2.INTER_CUBIC)] * 10)
            write_video(root / name / f"v_{name}_g{group:02d}_c01.mp4", frames)
    lists = tmp_path / "lists"
    lists.mkdir()
    for part, groups in (("train", (8,)), ("test", (1, 2))):
        names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in ("Archery", "Biking") for group in groups]
        (lists / f"{part}list01.txt").write_text("\n".join(names))
    (lists / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    return root


def test_check_then_prepare_by_the_manifest(videos, tmp_path, capsys):
    from har_tf.store.prepared import PreparedDataset

    out = tmp_path / "m.parquet"
    assert guarded(lambda: main(Check(videos, out, workers=0))) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "files       6, 6 of them sound"
    assert printed.out.splitlines()[-1] == str(out)
    (videos / "Biking" / "v_Biking_g01_c01.mp4").write_text("broken")
    assert failed(Check(videos, out, workers=0), capsys) == f"error: {videos}, 6 files: files with a problem: 1"
    options = {"num_frames": 4, "size": (16, 24), "workers": 0}
    main(Prepare("ucf101", tmp_path, root=videos, lists=tmp_path / "lists", manifest=out, **options))
    count, path = capsys.readouterr().out.splitlines()[-2:]
    assert count == "5 clips, 1 left out: 1 with a problem"
    prepared = PreparedDataset.open(Path(path))
    assert prepared.class_names == ("Archery", "Biking")
    assert [skip.path.name for skip in prepared.skipped] == ["v_Biking_g01_c01.mp4"]
    (videos / "Biking" / "v_Biking_g02_c01.mp4").write_text("changed")
    options["size"] = (24, 24)
    assert "v_Biking_g02_c01.mp4" in failed(Prepare(str(videos), tmp_path, manifest=out, **options), capsys)


def test_check_audits_the_official_split(videos, tmp_path, capsys):
    train, test = videos / "Archery" / "v_Archery_g08_c01.mp4", videos / "Biking" / "v_Biking_g02_c01.mp4"
    frames = read_clip(train, None, None)
    write_video(test, frames, crf=30)
    options = Check(videos, audit=True, lists=tmp_path / "lists", workers=0)
    assert failed(options, capsys).endswith("6 files: near-identical pairs across the split: 1")
    main(Check(videos, audit=True, workers=0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "near-identical: 1 pairs, 0 of them of the same source"
    assert "Archery/v_Archery_g08_c01.mp4 ~ Biking/v_Biking_g02_c01.mp4" in lines[-1]

    test.write_bytes(train.read_bytes())
    options = Check(videos, audit=True, dataset="ucf101", lists=tmp_path / "lists", workers=0, json=True)
    assert guarded(lambda: main(options)) == 1
    report = json.loads(capsys.readouterr().out)
    both = ["Archery/v_Archery_g08_c01.mp4", "Biking/v_Biking_g02_c01.mp4"]
    assert report["duplicates"] == {"in two parts of the split": [both]}
    assert (report["files"], report["problems"], report["near_identical"]) == (6, {}, [])


def test_check_refuses_before_it_reads(videos, tmp_path, capsys):
    assert "--dataset ucf" in failed(Check(videos, dataset="ucf"), capsys)
    assert "m.txt" in failed(Check(videos, tmp_path / "m.txt"), capsys)
    assert "no official split" in failed(Check(videos, split=2), capsys)
    assert "none: no such folder" in failed(Check(tmp_path / "none"), capsys)


def test_options_reach_the_loader_as_the_types_of_its_arguments(monkeypatch, videos, tmp_path):
    from har_tf import datasets
    from har_tf.datasets import DatasetError

    asked = []

    def load(*args, **options):
        asked.append(options)
        raise DatasetError("enough")

    monkeypatch.setattr(datasets, "load", load)
    given = ("boxes=joints, margin=0.25", "partial=True,workers=3,manifest=m.csv")
    with pytest.raises(DatasetError, match="enough"):
        main(Prepare("jhmdb", tmp_path, root=videos, options=given))
    assert asked == [{"boxes": "joints", "margin": 0.25, "partial": True, "workers": 3, "manifest": "m.csv"}]
    with pytest.raises(DatasetError, match="enough"):
        main(Check(videos, dataset="thumos", options=("one_label=false",)))
    assert asked[1] == {"split": 1, "lists": None, "one_label": False}
    with pytest.raises(DatasetError, match="enough"):
        main(Prepare("figures", tmp_path, options=("clips=8,noise=0",)))
    assert asked[2] == {"clips": 8, "noise": 0.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "part=train",
            "--options of thumos are annotations=..., one_label=..., drop_wrong=..., partial=.... Got: part=t",
        ),
        (
            "partial",
            "--options of thumos are annotations=..., one_label=..., drop_wrong=..., partial=.... Got: partial",
        ),
        ("root=a", "--options of thumos are"),
        ("partial=yes", "--options: partial is true or false. Received: partial=yes"),
        ("partial=true,partial=false", "--options: partial is given twice"),
    ],
)
def test_wrong_options_are_refused_before_the_work(videos, tmp_path, capsys, given, message):
    assert message in failed(Prepare("thumos", tmp_path, root=videos, options=(given,)), capsys)
    assert message in failed(Check(videos, dataset="thumos", options=(given,)), capsys)


def test_options_are_of_named_data_sets(videos, tmp_path, capsys):
    message = failed(Prepare("jhmdb", tmp_path, root=videos, options=("margin=much",)), capsys)
    assert "--options: margin is a value of type float. Received: margin=much" in message
    assert "options of" in failed(Prepare(str(videos), tmp_path, options=("partial=true",)), capsys)
    assert "A folder has no options" in failed(Check(videos, options=("partial=true",)), capsys)


def test_options_may_be_repeated_on_the_command_line():
    import tyro

    text = ["check", ".", "--dataset", "thumos", "--options", "partial=true,one_label=false", "--options", "a=b"]
    options = tyro.cli(Command, args=text, config=(tyro.conf.OmitSubcommandPrefixes,))
    assert options.options == ("partial=true,one_label=false", "a=b")


@pytest.mark.parametrize("timeout", [-1, 0, float("nan")])
def test_a_wrong_timeout_is_called_so(videos, tmp_path, capsys, timeout):
    assert f"--timeout {timeout:g}" in failed(Check(videos, timeout=timeout), capsys)
    assert f"--timeout {timeout:g}" in failed(Prepare(str(videos), tmp_path / "new", timeout=timeout), capsys)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def found_boxes(tmp_path_factory):
    """A folder of one video, and a file of detections in it: a person in every frame, a ball in the first ten."""
    folder = tmp_path_factory.mktemp("corpus")
    write_video(folder / "a.mp4", np.full((12, 48, 64, 3), 90, np.uint8))
    content = {
        "images": [{"id": i, "video": "a.mp4", "frame": i} for i in range(12)],
        "categories": [{"id": 1, "name": "person"}, {"id": 37, "name": "sports ball"}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [2 * i, 8, 10, 20], "score": 0.9} for i in range(12)]
        + [{"image_id": i, "category_id": 37, "bbox": [40, 30, 9, 9]} for i in range(10)],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def test_concepts_are_mined_and_reviewed(found_boxes, tmp_path, capsys):
    out, sheet, verdicts = tmp_path / "concepts", tmp_path / "review.html", tmp_path / "verdicts.json"
    main(Concepts(Mine(found_boxes, str(found_boxes / "boxes.json"), ("person",), out)))
    assert capsys.readouterr().out.splitlines() == [
        "person, spatiotemporal: 1 clips (0 accepted, 0 rejected, 1 undecided)",
        "person, spatial: 1 clips (0 accepted, 0 rejected, 1 undecided)",
        "other classes: 2 clips",
        "1 videos, 12 frames, 2 tracks, 4 clips",
        str(out),
    ]
    assert probe(out / "person" / "spatiotemporal" / "a_t0.mp4").frames == 12
    main(Concepts(Review(out, write=sheet)))
    assert "person/spatiotemporal/a_t0.mp4" in sheet.read_text()
    verdicts.write_text(json.dumps({"person/spatial/a_t0.mp4": {"verdict": "accepted"}}))
    capsys.readouterr()
    main(Concepts(Review(out, verdicts=verdicts)))
    assert capsys.readouterr().out.splitlines()[1] == "person, spatial: 1 clips (1 accepted, 0 rejected, 0 undecided)"


def test_concepts_that_cannot_be_mined_or_reviewed_are_one_line(found_boxes, tmp_path, capsys):
    boxes, out = str(found_boxes / "boxes.json"), tmp_path / "concepts"
    missing = Concepts(Mine(tmp_path / "missing", boxes, ("person",), out))
    assert "missing: no such folder. Expected a folder of videos" in failed(missing, capsys)
    assert "a.onnx: no such detector" in failed(Concepts(Mine(found_boxes, "a.onnx", ("person",), out)), capsys)
    assert "does not know 'dog'" in failed(Concepts(Mine(found_boxes, boxes, ("dog",), out)), capsys)
    assert not out.exists()
    high = Concepts(Mine(found_boxes, boxes, ("person",), out, score=0.95))
    assert "no clip of person. Mine more videos, or lower --score" in failed(high, capsys)
    both = Concepts(Review(found_boxes, write=tmp_path / "a.html", verdicts=tmp_path / "a.json"))
    assert "one at a time" in failed(both, capsys)
    assert "no concepts. Expected concepts.json" in failed(Concepts(Review(found_boxes)), capsys)
    with pytest.raises(SystemExit) as error:
        main(Concepts(Mine(found_boxes, boxes, (), out)))
    assert error.value.code == 2


def test_what_needs_no_tensorflow_does_without(videos, tmp_path):
    """`check` of a cluster's data should not load what only models need."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from har_tf.__main__ import Check, main\n"
        f"main(Check(Path({str(videos)!r}), audit=True, workers=0)); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


def test_preview_is_a_sheet_of_all_actions(tmp_path):
    from har_tf.datasets.stick_figures import Figures, draw

    main(Preview("figures", tmp_path / "sheet.png", size=(96, 144)))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    assert sheet.shape == (2 * len(ACTIONS) * 96, 7 * 144, 3)
    first = draw(ACTIONS[0], 0, Figures(size=(96, 144))).frames[0]
    assert (sheet[:80, :144] == first[:80]).all(axis=-1).mean() > 0.9, "all but the boxes and the name"


def test_failures_are_one_line_that_names_the_thing(model_file, video, tmp_path, capsys):
    text = tmp_path / "text.keras"
    text.write_text("hello")
    out = tmp_path / "o.mp4"
    assert "none.keras: no such model file" in failed(Predict((video,), tmp_path / "none.keras"), capsys)
    assert "text.keras: not a .keras model file" in failed(Explain(video, text, out), capsys)
    assert "none.avi" in failed(Explain(tmp_path / "none.avi", model_file, out), capsys)
    assert "--out o.avi" in failed(Explain(video, model_file, Path("o.avi")), capsys)
    assert "--class-name jump" in failed(Explain(video, model_file, out, class_name="jump"), capsys)
    for wrong in ({"tap": "conv9"}, {"method": "3dcam", "taps": "conv3d,conv9"}):
        error = failed(Explain(video, model_file, out, **wrong), capsys)
        assert error.startswith("error: tap 'conv9' is not in the model") and "conv3d" in error
    assert str(tmp_path / "empty") in failed(Prepare(str(tmp_path / "empty"), tmp_path), capsys)
    assert not out.exists()


def test_predict_without_a_video_is_wrong_usage(model_file, capsys):
    with pytest.raises(SystemExit) as ended:
        main(Predict((), model_file))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: at least one video is needed\n"


def test_a_model_of_images_is_refused(tmp_path, video, capsys):
    import keras

    image = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    image.save(tmp_path / "image.keras")
    error = failed(Predict((video,), tmp_path / "image.keras"), capsys)
    assert "image.keras: takes (None, 8, 8, 3), not clips" in error


def test_short_videos_repeat_their_last_frame(model_file, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "short.mp4", frames)
    main(Predict((tmp_path / "short.mp4",), model_file, json=True))
    printed, printed_note = capsys.readouterr()
    printed = json.loads(printed)["probabilities"]
    assert printed_note == f"note: {tmp_path / 'short.mp4'} has 3 frames; the last is repeated to make 10\n"
    decoded = read_clip(tmp_path / "short.mp4", None, (32, 48))
    model, names = load_model(model_file)
    expected = model.predict(decoded[[0, 1, *[2] * 8]][None], verbose=0)[0]
    assert [printed[name] for name in names] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_clip_that_the_model_s_setting_fills_up_is_noted(model_file, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (11, 32, 48, 3), dtype=np.uint8)
    short, still = write_video(tmp_path / "s.mp4", frames[:3]), write_video(tmp_path / "still.mp4", frames[[0] * 11])
    model, names = load_model(model_file)
    wrapping = save_model(model, tmp_path / "wrap.keras", names, {"short": "wrap"})
    strided = save_model(model, tmp_path / "strided.keras", names, {"sampling": "strided"})
    long = write_video(tmp_path / "long.mp4", frames)
    out = tmp_path / "o.mp4"
    for options, note in (
        (Explain(short, model_file, out), f"note: {short} has 3 frames; the last is repeated to make 10\n"),
        (Explain(short, wrapping, out), f"note: {short} has 3 frames; they are repeated in turn to make 10\n"),
        (Explain(short, model_file, out, short="wrap"), ""),  # which says so itself
        (Predict((long,), strided), f"note: {long} has 11 frames; the last is repeated to make 19\n"),
        (Predict((still, long), model_file), ""),
    ):
        main(options)
        assert capsys.readouterr().err == note


def test_a_broken_video_is_one_line_also_as_a_program(model_file, tmp_path):
    """As `python -m har_tf` the module has another name, which the message must not show."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "har_tf", "predict", str(tmp_path), "--model", str(model_file)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"error: {tmp_path}: ")
    assert "Error:" not in ended.stderr


def crashing(path, **options):
    """Puts an end to the process that reads a certain video, as a decoder may."""
    if path.stem == "crash":
        os._exit(3)
    return read_clip(path, **options)


def test_predict_goes_on_after_a_crash_of_the_decoder(model_file, video, tmp_path, capsys, monkeypatch):
    shutil.copy(video, tmp_path / "crash.mp4")
    monkeypatch.setattr("har_tf.video.read_clip", crashing)
    line = failed(Predict((tmp_path / "crash.mp4", video), model_file), capsys)
    assert "crash.mp4: " in line
    assert "died" in line


def test_import_weights_writes_the_published_network(shared, tmp_path, capsys):
    import keras

    weights = shared / "weights" / "googlenet_bvlc.npz"
    main(ImportWeights("googlenet", weights, tmp_path / "new" / "g.keras", size=(64, 80)))
    assert capsys.readouterr().out.splitlines() == [
        "googlenet, variant bvlc: 6,998,552 parameters",
        str(tmp_path / "new" / "g.keras"),
    ]
    model = keras.models.load_model(tmp_path / "new" / "g.keras")
    assert model.input_shape == (None, 64, 80, 3)
    with np.load(weights) as arrays:
        np.testing.assert_array_equal(model.get_layer("predictions").kernel, arrays["loss3/classifier/weights"])

    main(ImportWeights("googlenet", weights, tmp_path / "g.keras", top=False, size=(64, 64)))
    left_out, counted, _ = capsys.readouterr().out.splitlines()
    assert left_out.endswith("left out on purpose: loss3/classifier/weights, loss3/classifier/biases")
    assert counted == "googlenet, variant bvlc: 5,973,552 parameters"


def random_tensors(model, form) -> dict[str, np.ndarray]:
    """A state dict of the published names and shapes."""
    rng = np.random.default_rng(0)
    return {name: rng.random(slot.shape, "f4") for name, slot in form.slots(model, None).items()}


def test_import_weights_builds_the_3d_resnext_that_the_file_holds(tmp_path, capsys):
    import keras

    from har_tf.models.resnext3d import resnext3d
    from har_tf.models.weights.resnext3d import HARA

    small = {"blocks": (1, 1, 1, 1), "width": 32, "num_classes": 5}
    tensors = random_tensors(resnext3d((4, 32, 32, 3), **small), HARA)
    np.savez(file := tmp_path / "resnext.npz", **tensors)
    out = tmp_path / "resnext.keras"
    main(ImportWeights("resnext3d", file, out, frames=4, size=(48, 64)))
    assert capsys.readouterr().out.startswith("resnext3d, blocks (1, 1, 1, 1), 5 classes: ")
    model = keras.models.load_model(out)
    assert model.input_shape == (None, 4, 48, 64, 3)
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, tensors["fc.weight"].T)
    assert "holds 5 classes. Received: --num-classes 6" in failed(
        ImportWeights("resnext3d", file, tmp_path / "6.keras", num_classes=6), capsys
    )


def test_import_weights_builds_the_video_swin_that_the_file_holds(tmp_path, capsys):
    from har_tf.models.saving import load_model
    from har_tf.models.video_swin import video_swin
    from har_tf.models.weights.video_swin import MMACTION

    small = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "num_classes": 5}
    tensors = random_tensors(video_swin(input_shape=(2, 16, 16, 3), **small), MMACTION)
    np.savez(file := tmp_path / "swin.npz", **tensors)
    out = tmp_path / "swin.keras"
    main(ImportWeights("video_swin", file, out, frames=4, size=(16, 24)))
    assert capsys.readouterr().out.startswith("video_swin, blocks (1, 1, 1, 1), window (8, 7, 7), 5 classes: ")
    model, _ = load_model(out)
    assert model.input_shape == (None, 4, 16, 24, 3)
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, tensors["cls_head.fc_cls.weight"].T)
    assert "holds 5 classes. Received: --num-classes 6" in failed(
        ImportWeights("video_swin", file, tmp_path / "6.keras", num_classes=6), capsys
    )


def test_import_weights_builds_i3d(tmp_path, capsys):
    """From a checkpoint, which TensorFlow calls by what its files begin with."""
    import keras
    import tensorflow as tf

    from har_tf.models.i3d import i3d
    from har_tf.models.weights.i3d import TENSORFLOW

    network = i3d((16, 64, 64, 2), 3, "flow", batch_norm_scale=False)
    tensors = random_tensors(network, TENSORFLOW)
    file, (keys, values) = tmp_path / "model.ckpt", zip(*sorted(tensors.items()), strict=True)
    tf.raw_ops.SaveV2(prefix=str(file), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=values)
    options = {"frames": 16, "size": (64, 64), "num_classes": 3}
    main(ImportWeights("i3d", file, tmp_path / "i3d.keras", modality="flow", **options))
    assert capsys.readouterr().out.startswith("i3d, flow: ")
    model = keras.models.load_model(tmp_path / "i3d.keras")
    assert model.input_shape == (None, 16, 64, 64, 2)
    assert "flow" in failed(ImportWeights("i3d", file, tmp_path / "rgb.keras", **options), capsys)
    assert not (tmp_path / "rgb.keras").exists()


def test_import_weights_takes_a_checkpoint_by_the_name_that_tensorflow_gives_it(tmp_path, capsys):
    import tensorflow as tf

    names = ["global_step"]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"), tensor_names=names, shape_and_slices=[""], tensors=[np.zeros(3, "f4")]
    )
    options = {"frames": 16, "size": (64, 64), "num_classes": 3}
    for given in ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        error = failed(ImportWeights("resnext3d", tmp_path / given, tmp_path / "r.keras", **options), capsys)
        assert error == f"error: {tmp_path / 'model.ckpt.index'}: no weights of a 3D ResNeXt among global_step"
    error = failed(ImportWeights("i3d", tmp_path / "other.ckpt", tmp_path / "i.keras"), capsys)
    assert error == f"error: {tmp_path / 'other.ckpt'}: no such weights file"


def test_import_weights_fails_in_one_line_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "g.keras"
    np.savez(other := tmp_path / "other.npz", **{"conv1/7x7_s2/weights": np.zeros((7, 7, 3, 64), "f4")})
    (rubbish := tmp_path / "rubbish.pth").write_text("no weights")
    assert "no such weights file" in failed(ImportWeights("googlenet", tmp_path / "none.npz", out), capsys)
    assert "does not fit googlenet(variant='bvlc'). 115 missing:" in failed(
        ImportWeights("googlenet", other, out), capsys
    )
    assert "rubbish.pth: not a state dict" in failed(ImportWeights("googlenet", rubbish, out), capsys)
    assert "holds googlenet(variant='bvlc')" in failed(
        ImportWeights("googlenet", other, out, variant="batchnorm"), capsys
    )
    for name, change, words in (
        ("i3d", {"variant": "bvlc"}, "--variant is an option of googlenet. Received: i3d"),
        ("resnext3d", {"modality": "flow"}, "--modality is an option of i3d. Received: resnext3d"),
        ("googlenet", {"frames": 16}, "googlenet takes pictures, not clips"),
    ):
        assert words in failed(ImportWeights(name, other, out, **change), capsys)
    assert "end in .keras" in failed(ImportWeights("googlenet", other, tmp_path / "g.h5"), capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.npz", "rubbish.pth"]
