"""python -m har_tf check."""

import json
from pathlib import Path

import pytest
from checks import failed, run_command

from har_tf.cli.app import Check, Prepare
from har_tf.command import guarded
from har_tf.video import read_clip, write_video


def test_check_then_prepare_by_the_manifest(videos, tmp_path, capsys):
    from har_tf.store.prepared import PreparedDataset

    out = tmp_path / "m.parquet"
    assert guarded(lambda: run_command(Check(videos, out, workers=0))) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "files       6, 6 of them sound"
    assert printed.out.splitlines()[-1] == str(out)
    (videos / "Biking" / "v_Biking_g01_c01.mp4").write_text("broken")
    assert failed(Check(videos, out, workers=0), capsys) == f"error: {videos}, 6 files: files with a problem: 1"
    options = {"num_frames": 4, "size": (16, 24), "workers": 0}
    run_command(Prepare("ucf101", tmp_path, root=videos, lists=tmp_path / "lists", manifest=out, **options))
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
    run_command(Check(videos, audit=True, workers=0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "near-identical: 1 pairs, 0 of them of the same source"
    assert "Archery/v_Archery_g08_c01.mp4 ~ Biking/v_Biking_g02_c01.mp4" in lines[-1]

    test.write_bytes(train.read_bytes())
    options = Check(videos, audit=True, dataset="ucf101", lists=tmp_path / "lists", workers=0, json=True)
    assert guarded(lambda: run_command(options)) == 1
    report = json.loads(capsys.readouterr().out)
    both = ["Archery/v_Archery_g08_c01.mp4", "Biking/v_Biking_g02_c01.mp4"]
    assert report["duplicates"] == {"in two parts of the split": [both]}
    assert (report["files"], report["problems"], report["near_identical"]) == (6, {}, [])


def test_check_refuses_before_it_reads(videos, tmp_path, capsys):
    assert "--dataset ucf" in failed(Check(videos, dataset="ucf"), capsys)
    assert "m.txt" in failed(Check(videos, tmp_path / "m.txt"), capsys)
    assert "no official split" in failed(Check(videos, split=2), capsys)
    assert "none: no such folder" in failed(Check(tmp_path / "none"), capsys)


@pytest.mark.parametrize("timeout", [-1, 0, float("nan")])
def test_a_wrong_timeout_is_called_so(videos, tmp_path, capsys, timeout):
    assert f"--timeout {timeout:g}" in failed(Check(videos, timeout=timeout), capsys)
    assert f"--timeout {timeout:g}" in failed(Prepare(str(videos), tmp_path / "new", timeout=timeout), capsys)
    assert not (tmp_path / "new").exists()
