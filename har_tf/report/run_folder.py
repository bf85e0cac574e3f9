"""The folder of one run: what was asked for, on what machine, and what came out."""

import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from har_tf import __version__
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import content_of
from har_tf.files.json_text import parse_json
from har_tf.files.whole import alone, check_writable, resumable, whole_file
from har_tf.names import csv_cell
from har_tf.report.publish import publish

__all__ = ["RunFolder", "check_writable", "command_line", "environment", "fingerprint", "run_name"]
_PACKAGES = ("tensorflow", "keras", "numpy", "av", "opencv-python", "scikit-learn")


class RunFolder:
    """The folder of a run, with the names that every experiment uses."""

    def __init__(self, path: str | Path, experiment: str):
        """Makes the folder.

        Args:
            path: the folder, such as `<out>/<experiment>/<run>`.
            experiment: which page is made of its results, a module of `har_tf.report.pages`.

        Raises:
            OSError: it cannot be made.
        """
        self.experiment = experiment
        self.path = Path(path)
        self.figures = self.path / "figures"
        self.overlays = self.path / "overlays"
        self.tables = self.path / "tables"
        self.training = self.path / "training"
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.figures, self.overlays, self.tables, self.training):
            folder.mkdir(exist_ok=True)

    @contextmanager
    def begun(self, recipe: Mapping) -> Iterator[Self]:
        """The run, at which no other process is in the meantime: one that comes to it waits, see `alone`.

        Writes what is asked for and on what machine. Of a finished run both stay until there are other results: what
        is asked now may be refused.
        """
        with alone(self.path / ".lock"), resumable(f"the same command goes on from what is finished in {self.path}"):
            self._recipe = recipe
            if not (self.path / "results.json").is_file():
                self.write_json("recipe.json", recipe)
                self.write_json("environment.json", environment())
            yield self

    def publish(self, results: Mapping) -> Path:
        """Writes `results.json`, and from it the tables, the figures and the page; prints the tables.

        Args:
            results: of the run that is `begun`: numbers, lists and texts; see the module of the experiment in
                `har_tf.report.pages`.

        Returns:
            The page.
        """
        path = self.path / "results.json"
        before = _measured(path) if path.is_file() else None
        self.write_json("results.json", {"experiment": self.experiment, **results})
        self.write_json("recipe.json", self._recipe)
        if _measured(path) != before:
            self.write_json("environment.json", environment())
        return publish(self.path)

    def write_json(self, name: str, content) -> Path:
        """Writes `content` to `<run>/<name>`, whole."""
        path = self.path / name
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
        return path

    def write_skipped(self, skipped: Mapping[Path, str]) -> None:
        """Writes `skipped.csv`: the files that were left out, each with the reason."""
        with (
            whole_file(self.path / "skipped.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            csv.writer(file).writerows(
                [("path", "reason"), *((csv_cell(str(path)), csv_cell(why)) for path, why in skipped.items())]
            )

    def keep(self, file: Path) -> Path:
        """Copies a file into the run folder."""
        with whole_file(self.path / file.name, file.stat().st_size) as temporary:
            shutil.copyfile(file, temporary)
        return self.path / file.name


def _measured(path: Path) -> dict:
    """What `results.json` holds but notes, which may tell where the data lie."""
    results = parse_json(path.read_bytes())
    for part in (results, *results.get("others", {}).values()):
        part.get("dataset", {}).pop("notes", None)
    return results


def fingerprint(settings) -> str:
    """A short name of JSON-like settings: equal ones have the same."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


def run_name(folder: Path, prefix: str, settings: Mapping, *datasets: ActionDataset) -> str:
    """The name of the run with these settings on these videos, so that the same command finds it again.

    It does not matter where things lie: files and folders among the settings count by what is in them, videos by their
    path in the data set and their content. A run that is there under another prefix keeps its name.

    Args:
        folder: where runs lie.
        prefix: what a reader sees of it, such as data set and protocol.
        settings: the options that change what comes out.
        *datasets: the videos; none: they follow from the settings.
    """
    settings = {name: _content(value) for name, value in settings.items()}
    videos = []
    for dataset in datasets:
        test = dataset.official[1] if dataset.official else ()
        videos += [[r.name(dataset.root), r.group, r.content(), r.path in test] for r in dataset]
    name = f"{prefix}-{fingerprint([settings, videos])}"
    known = {path.name for path in folder.glob(f"*-{name.rpartition('-')[2]}")}
    return name if name in known or not known else min(known)


def _content(value):
    """A setting; in place of a file, also in NAME=FILE,..., and of a folder what tells its content."""
    if isinstance(value, str):
        pieces = [piece.rpartition("=") for piece in value.split(",")]
        files = [(Path(file.strip()), name + equals) for name, equals, file in pieces]
        return [name + (content_of(file) if file.suffix and file.is_file() else str(file)) for file, name in files]
    if isinstance(value, Path) and value.is_dir():
        inner = [Path(place, name) for place, _, names in os.walk(value) for name in names]
        return sorted((file.relative_to(value).as_posix(), file.lstat().st_size) for file in inner)
    return content_of(value) if isinstance(value, Path) else value


def command_line() -> str:
    """The command that started this process, as one would type it."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", module.name.removesuffix(".__main__")] if module else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def environment() -> dict:
    """What a reader needs to judge or repeat a run: machine, packages, revision, command, date."""
    import tensorflow as tf

    from har_tf import devices

    packages = {"har_tf": __version__}
    for name in (*_PACKAGES, *["jax"] * devices.under_jax()):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "revision": _revision(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [details.get("device_name", "GPU") for details in gpus],
        "devices": devices.described(),
        "packages": packages,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """The commit of the code, with a mark where files were changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
