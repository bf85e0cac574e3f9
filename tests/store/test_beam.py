"""The pipeline through Apache Beam's own runner for one machine, with two workers."""

import errno
import importlib.util
import shutil
import subprocess
import sys

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError
from har_tf.store import beam, shards

CLIP = {"num_frames": 3, "size": (16, 24)}
THREADS = ("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading")
needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam, the extra `beam`, is not installed"
)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def eight_a_shard(monkeypatch):
    """30 records become shards of 8, 8, 8 and 6."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 8 * 3 * 16 * 24 * 3)


@pytest.fixture
def dataset(miniature, tmp_path):
    """The miniature, with one file that is no video."""
    root = shutil.copytree(miniature, tmp_path / "videos" / "UCF-101")
    (root / "Biking" / "v_Biking_g01_c01.mp4").write_bytes(b"not a video at all")
    return datasets.load(root)


@needs_beam
def test_two_worker_processes_of_the_command_make_the_same_bytes(dataset, tmp_path):
    expected = datasets.prepare(dataset, tmp_path / "here", **CLIP, workers=0)
    options = "--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"
    arguments = [str(dataset.root), "--out", str(tmp_path / "beam"), "--num-frames", "3", "--size", "16", "24"]
    small = f"from har_tf.store import shards; shards.SHARD_BYTES = {shards.SHARD_BYTES}"
    command = [sys.executable, "-c", f"{small}; from har_tf.cli.app import main; main()", "prepare", *arguments]
    done = subprocess.run([*command, f"--beam={options}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "beam").iterdir()
    assert done.stdout.splitlines()[-2:] == ["29 clips, 1 left out: 1 with a problem", str(made / "1.0.0")]
    assert made.name == expected.path.parent.name
    assert contents(made) == contents(expected.path.parent)


@needs_beam
def test_what_a_failed_pipeline_has_finished_is_not_done_again(dataset, tmp_path, monkeypatch):
    expected = datasets.prepare(dataset, tmp_path / "here", **CLIP, workers=0)
    serialise = shards._serialise

    def full(clip, item):
        if item.position == 29:
            raise OSError(errno.ENOSPC, "No space left on device")
        return serialise(clip, item)

    with monkeypatch.context() as patch, pytest.raises(DatasetError, match=r"pipeline failed.*No space left") as caught:
        patch.setattr(shards, "_serialise", full)
        datasets.prepare(dataset, tmp_path / "out", **CLIP, beam=THREADS)
    assert "\n" not in str(caught.value)
    finished = {path.name for path in (tmp_path / "out").glob(".*.work/notes/*.json")}
    assert "00003.json" not in finished
    decoded, decode = [], shards.decode
    monkeypatch.setattr(shards, "decode", lambda task: (decoded.append(task[0].path), decode(task))[1])
    # This machine takes up what the pipeline left.
    prepared = datasets.prepare(dataset, tmp_path / "out", **CLIP, workers=0)
    left = [number for number in range(4) if f"{number:05d}.json" not in finished]
    assert decoded == [dataset.records[i].path for n in left for i in range(8 * n, min(8 * n + 8, 30))]
    assert contents(prepared.path) == contents(expected.path)


@needs_beam
def test_damage_is_mended_by_a_pipeline(dataset, tmp_path, caplog):
    prepared = datasets.prepare(dataset, tmp_path / "out", **CLIP, workers=0)
    expected = contents(prepared.path.parent)
    file = next(prepared.path.glob("*-00001-of-*"))
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    datasets.prepare(dataset, tmp_path / "out", **CLIP, beam=THREADS)
    assert f"1 of 30 clips are made again, the others kept: {prepared.names[8]}" in caplog.text
    assert contents(prepared.path.parent) == expected


@needs_beam
def test_a_shard_that_never_shows_is_an_error(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("har_tf.store.beam._do", lambda number, **where: number)
    monkeypatch.setattr("har_tf.store.beam.LATE", 0.0)
    with pytest.raises(DatasetError, match=r"00000-of-00004: .* 4 of 4 files are not there"):
        datasets.prepare(dataset, tmp_path / "out", **CLIP, beam=THREADS)


@needs_beam
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--runer=DirectRunner"], r"knows no options --runer=DirectRunner. Closest: --runner"),
        (["--direct_num_workers=2", "stray"], "knows no options stray"),
        (["--runner=Nope"], "Apache Beam: Unexpected pipeline runner: Nope"),
        (["--direct_num_workers=two"], "invalid int value: 'two'"),
    ],
)
def test_options_that_beam_would_ignore_come_before_the_work(dataset, tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason):
        datasets.prepare(dataset, tmp_path / "out", **CLIP, beam=options)
    assert not (tmp_path / "out").exists()


@needs_beam
def test_options_of_a_remote_runner_are_its_own_matter():
    """Which options it has is only known to the server of its jobs."""
    beam.through_beam(["--runner=PortableRunner", "--job_endpoint=localhost:1", "--spark_version=3"], None)


def test_without_beam_it_is_told_before_the_work(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'har_tf\[beam\]'"):
        datasets.prepare(dataset, tmp_path / "out", **CLIP, beam=THREADS)
    assert not (tmp_path / "out").exists()
