"""What the notebooks share: the accelerators of a machine, an experiment as a command, and what a run shows."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from har_tf.files.whole import size_text
from har_tf.names import say
from har_tf.ranges import installed

# Lines of TensorFlow's and XLA's C++ code, which come whatever the level of its log is.
LOG = re.compile(
    r"([IWEF]\d{4} |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] |WARNING: All log messages before absl|"
    r"To enable the following instructions)"
)
DEVICES = Path("/dev")  # where TPUs stand
ON_JAX = ("ucf10_cnn_gru", "fusion_gru", "gated_recognition")  # experiments whose training JAX can do


def accelerators() -> dict[str, str]:
    """What this machine computes with, as options of an experiment and of `har_tf.experiment.Devices`; says it.

    Nothing is imported to find out: TensorFlow would keep the GPUs from the experiment.
    """
    if any(next(DEVICES.glob(name), None) for name in ("accel[0-9]*", "vfio/[0-9]*")):
        say("computes on a TPU")
        return {"strategy": "tpu", "precision": "mixed_bfloat16"}
    if gpus := _gpus():
        say(f"computes on {' and '.join(gpus)}")
        return {"strategy": "mirrored" if len(gpus) > 1 else "one", "precision": "mixed_float16"}
    say("computes on the CPU; for real data switch an accelerator on")
    return {}


def _gpus() -> list[str]:
    """The names of NVIDIA's GPUs, as their driver tells them."""
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^GPU \d+: (.*?)(?: \(UUID.*)?$", listed, re.MULTILINE)


def run(experiment: str, out: Path, options: Mapping[str, Any], more: Iterable[str] = ()) -> Path:
    """Runs an experiment as its command, and shows what it prints, but for the tables, which `tables` shows as such.

    Args:
        experiment: its name, such as "cam3d_localization".
        out: folder for runs; how much room there is, is said first.
        options: option → value; those of None are left out. Keras trains with JAX on a TPU; where TensorFlow was
            built for the CPU, as on Kaggle's TPU machines, experiments that only explain compute there.
        more: further words of the command.

    Returns:
        The folder of the run.

    Raises:
        SystemExit: the experiment failed, for the reason that it has printed.
    """
    out.mkdir(parents=True, exist_ok=True)
    say(f"{size_text(shutil.disk_usage(out).free)} of disk are free in {out}")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    if options.get("strategy") == "tpu":
        if experiment in ON_JAX:
            environment["KERAS_BACKEND"] = "jax"
        elif installed("tensorflow-cpu"):
            say("TensorFlow, which explains, is built for the CPU here: a machine with GPUs is quicker")
            options = {name: value for name, value in options.items() if name not in ("strategy", "precision")}
    arguments = ["-m", f"experiments.{experiment}", "--out", str(out)]
    for option, value in options.items():
        arguments += [] if value is None else [f"--{option.replace('_', '-')}", str(value)]
    arguments += more
    say(shlex.join(["python", *arguments]))
    folder, in_tables = None, False
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if line.startswith("run folder: "):
                folder = Path(line.removeprefix("run folder: ").strip())
            in_tables = (in_tables or line.startswith("**")) and folder is None
            if not in_tables and not LOG.match(line):
                say(line.rstrip("\n"))
    if process.returncode or folder is None:
        raise SystemExit(f"the experiment ended with exit code {process.returncode}; the reason is above")
    return folder


def tables(folder: Path, pattern: str = "*") -> None:
    """Shows tables of a run."""
    from IPython.display import Markdown, display

    for table in sorted(folder.glob(f"tables/{pattern}.md")):
        display(Markdown(table.read_text(encoding="utf-8")))


def pictures(folder: Path, pattern: str = "*", width: int = 800) -> None:
    """Shows figures of a run, no wider than `width`, as small files, so that a stored notebook stays small."""
    from IPython.display import Image, display

    for figure in sorted(folder.glob(f"figures/{pattern}.png"), key=_number):
        display(Image(small(figure, width)))


def _number(path: Path) -> tuple:
    """Figure 9 before Figure 10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name))


def small(path: Path, width: int = 800) -> bytes:
    """A picture of 64 colours or as JPEG, whichever takes fewer bytes, no wider than `width`."""
    from PIL import Image

    with Image.open(path) as image:
        rgb = image.convert("RGB")
    if rgb.width > width:
        rgb = rgb.resize((width, round(rgb.height * width / rgb.width)), Image.Resampling.LANCZOS)
    written = []
    for picture, options in (
        (rgb.quantize(64), {"format": "png", "optimize": True}),
        (rgb, {"format": "jpeg", "quality": 60}),
    ):
        picture.save(buffer := BytesIO(), **options)
        written.append(buffer.getvalue())
    return min(written, key=len)


def videos(folder: Path, count: int = 1, width: int = 600) -> None:
    """Shows overlay videos of a run, see `video`."""
    for path in sorted(folder.glob("overlays/*.mp4"))[:count]:
        say(path.name)
        video(path, width)


def video(path: Path, width: int = 600) -> None:
    """Shows a video, coded anew and no larger than it is shown, so that it takes little room."""
    from IPython.display import Video, display

    from har_tf.video import probe, read_clip, write_video

    info = probe(path)
    size = None if info.width <= width else (round(info.height * width / info.width), width)
    with TemporaryDirectory() as temporary:
        clip = read_clip(path, None, size)
        coded = write_video(Path(temporary) / path.name, clip, info.fps, crf=34, preset="slow").read_bytes()
    display(Video(data=coded, embed=True, mimetype="video/mp4", width=width))
