"""The folder of one run: what was asked for, on what machine, and what came out."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from har_tf import __version__
from har_tf.files.whole import whole_file

_PACKAGES = ("tensorflow", "keras", "numpy", "av", "opencv-python", "scikit-learn")


class RunFolder:
    """`<out>/<experiment>/<run>/` with the names that every experiment uses."""

    def __init__(self, out: str | Path, experiment: str, run: str):
        """Makes the folder.

        Raises:
            OSError: it cannot be made.
        """
        self.path = Path(out) / experiment / run
        self.figures = self.path / "figures"
        self.overlays = self.path / "overlays"
        self.tables = self.path / "tables"
        self.training = self.path / "training"
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.figures, self.overlays, self.tables, self.training):
            folder.mkdir(exist_ok=True)

    def write_json(self, name: str, content) -> Path:
        """Writes `content` to `<run>/<name>`, whole."""
        path = self.path / name
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
        return path

    def keep(self, file: Path) -> Path:
        """Copies a file into the run folder."""
        with whole_file(self.path / file.name) as temporary:
            shutil.copyfile(file, temporary)
        return self.path / file.name


def check_writable(folder: str | Path) -> None:
    """Raises OSError unless files can be written to `folder`, which is made where it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    probe = Path(folder) / f".{os.getpid()}"
    probe.touch()
    probe.unlink()


def fingerprint(settings) -> str:
    """A short name of JSON-like settings: equal ones have the same."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


def run_name(prefix: str, recipe, records: Iterable = ()) -> str:
    """The name of the folder for this recipe on these videos, so that the same command on the same data finds it again.

    Args:
        prefix: what a reader sees of it, such as data set and protocol.
        recipe: a dataclass of options; where and on how many cores it runs (`out`, `prepared`, `workers`, `run`) does
            not change what comes out, so it is not in the name.
        records: the `VideoRecord`s, with their sizes and times; of data that follow from the recipe none.
    """
    settings = asdict(replace(recipe, out=Path(), prepared=None, workers=None, run=None))
    videos = [[record.path.name, record.group, *record.stamp()] for record in records]
    return f"{prefix}-{fingerprint([settings, videos])}"


def command_line() -> str:
    """The command that started this process, as one would type it."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", module.name.removesuffix(".__main__")] if module else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def environment() -> dict:
    """What a reader needs to judge or repeat a run: machine, packages, revision, command, date."""
    import tensorflow as tf

    packages = {"har_tf": __version__}
    for name in _PACKAGES:
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
        "packages": packages,
    }


def machine(environment: dict) -> str:
    """The machine in a few words."""
    cores = f"{environment['cores']} cores of {environment['processor']}"
    return ", ".join([*environment["gpus"], cores])


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
