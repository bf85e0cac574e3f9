"""What the notebooks hold: how they begin, and outputs for those who only read them."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import har_tf
from har_tf.notebook import LOG

REPOSITORY = Path(har_tf.__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
EXPERIMENTS = ("cam3d", "fusion_gru", "gated_recognition", "ucf10_cnn_gru", "video_tcav")
LARGEST = 300_000  # bytes


def test_there_is_one_for_each_paper_s_experiment_and_one_for_own_videos():
    assert {path.stem for path in NOTEBOOKS} == {*EXPERIMENTS, "own_videos"}


def outputs(path: Path) -> list[dict]:
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_shows_pictures_and_tables_in_little_room(path):
    kinds = [kind for output in outputs(path) for kind in output.get("data", {})]
    assert "text/markdown" in kinds and any(kind.startswith("image/") for kind in kinds)
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_shows_no_log_and_nothing_of_the_machine_it_ran_on(path):
    lines = []
    for output in outputs(path):
        assert output.output_type != "error", output
        data = output.get("data", {})
        texts = [output.get("text", ""), *(data.get(kind, "") for kind in ("text/plain", "text/markdown"))]
        lines += [line for text in texts for line in "".join(text).splitlines()]
    assert not [line for line in lines if LOG.search(line) or "Warning" in line]
    assert not [line for line in lines if any(f"/{place}/" in line for place in ("tmp", "home", "root", "work", "usr"))]


def setup_cell(path: Path) -> str:
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


def test_all_begin_alike():
    (source,) = {setup_cell(path) for path in NOTEBOOKS}
    assert f'TAG = "v{har_tf.__version__}"' in source


def test_clones_the_code_where_it_is_no_input(tmp_path):
    """At its tag, and not what was added since."""
    source, here = tmp_path / "source", tmp_path / "here"
    (source / "har_tf").mkdir(parents=True)
    here.mkdir()
    checks = "import sys\nprint('checked', *sys.argv[1:])\n"
    files = {"har_tf/ranges.py": checks, "har_tf/__init__.py": "", "har_tf/notebook.py": "", "a.txt": "tagged"}
    for name, text in files.items():
        (source / name).write_text(text)
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "a"], check=True)
    subprocess.run([*git, "tag", f"v{har_tf.__version__}"], check=True)
    (source / "a.txt").write_text("later")
    subprocess.run([*git, "commit", "--quiet", "-a", "-m", "b"], check=True)
    program = setup_cell(NOTEBOOKS[0]) + "\nprint(Path('a.txt').read_text(), notebook.__file__)"
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HAR_TF_REPOSITORY")}
    lost = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert lost.returncode == 1 and "set REPOSITORY" in lost.stderr
    environment["HAR_TF_REPOSITORY"] = source.as_uri()
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = here / f"har_tf-v{har_tf.__version__}"
    assert done.stdout.split() == ["checked", "--install", "tagged", str(code / "har_tf" / "notebook.py")]
