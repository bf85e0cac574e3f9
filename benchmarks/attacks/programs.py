"""The programs that are interrupted, and what each of them leaves."""

import csv
import hashlib
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from har_tf import command
from har_tf.video import probe, write_video

CLASSES = ("jump", "run", "wave")
VIDEOS = 4  # a class
FRAMES, SIZE = 12, (32, 32)
VOLATILE = {"seconds", "date", "command", "checksum", "date_saved", "processor", "Minutes"}  # no two runs share it
# Pages and tables that say how long training took, pictures, and TensorBoard's log.
UNLIKE = (".html", ".md", ".png", ".pdf", ".svg", ".tex", ".jpg")


@dataclass(frozen=True)
class Bench:
    """Where the attacks take place.

    Attributes:
        material: see `programs.make_material`; with prepared clips.
        folder: for what the attacks write.
    """

    material: Path
    folder: Path

    def empty(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def make_material(folder: Path) -> Path:
    """Fills a folder with small videos, one of them damaged, and with detections in them; returns the folder."""
    images, boxes = [], []
    for label, name in enumerate(CLASSES):
        (folder / "videos" / name).mkdir(parents=True)
        for number in range(VIDEOS):
            video = f"{name}/{name}_g{number:02d}.mp4"
            write_video(folder / "videos" / video, moving_square(label, number), fps=10, threads=1)
            for frame in range(FRAMES):
                images.append({"id": len(images), "file_name": f"{video}/{frame:06d}.jpg", "height": 32, "width": 32})
                box = {"id": len(boxes), "image_id": images[-1]["id"], "category_id": label % 2, "score": 0.9}
                boxes.append(box | {"bbox": [frame, 4 + number, 14, 14]})
    (folder / "videos" / "wave" / "damaged.mp4").write_bytes(b"\0" * 1000)
    images.append({"id": len(images), "file_name": "wave/damaged.mp4/000000.jpg", "height": 32, "width": 32})
    categories = [{"id": number, "name": name} for number, name in enumerate(("person", "ball"))]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "detections.json").write_text(json.dumps(content))
    return folder


def moving_square(label: int, number: int) -> np.ndarray:
    """uint8 (T, H, W, 3): a square that moves over noise, in the colour of its class."""
    clip = np.random.default_rng([label, number]).integers(0, 90, (FRAMES, *SIZE, 3), np.uint8)
    for frame, pixels in enumerate(clip):
        pixels[4 + number : 18 + number, frame : frame + 14, label] = 250
    return clip


def _command(*arguments: object) -> None:
    """The project's command line."""
    from har_tf.cli import app

    sys.argv = ["har-tf", *map(str, arguments)]
    app.main()


def _called(function: Callable[[], Any]) -> None:
    """A function of the package, with the reasons and exit codes of the command line."""

    @dataclass(frozen=True)
    class Nothing:
        """No options."""

    command.run(lambda _: function(), Nothing, args=[])


def _prepare(material: Path, folder: Path) -> None:
    from har_tf.store import shards

    shards.SHARD_BYTES = 3 * 4 * 32 * 32 * 3  # several shards, so that there is something to take up
    out, size = folder / "prepared", ("--num-frames", 4, "--size", *SIZE)
    _command("prepare", material / "videos", "--out", out, *size, "--workers", 2)


def _check(material: Path, folder: Path) -> None:
    _command("check", material / "videos", "--out", folder / "manifest.parquet", "--workers", 2)


def _mine(material: Path, folder: Path) -> None:
    from har_tf.concepts import mining

    mining._SECONDS = 0.0  # the manifest after every video
    detections = ("--detector", material / "detections.json", "--labels", "person", "ball")
    _command("concepts", "mine", material / "videos", *detections, "--out", folder / "concepts")


def _train(material: Path, folder: Path) -> None:
    def train() -> None:
        import har_tf as har
        from har_tf.experiment import Training

        options, recipe = {"filters": (4, 4, 4), "pool_sizes": (2, 2, 2)}, Training(epochs=3, batch_size=4)
        har.train("Frame-CNN", material / "videos", folder / "run", num_frames=4, size=SIZE, options=options,
                  recipe=recipe, overlays=1, workers=0)  # fmt: skip

    _called(train)


def prepared(material: Path) -> Any:
    from har_tf.store.prepared import PreparedDataset

    (about,) = (material / "prepared").rglob("prepared.json")
    return PreparedDataset.open(about.parent)


def _features(material: Path, folder: Path) -> None:
    def extract() -> None:
        from har_tf import training
        from har_tf.store import features

        training.seed_everything(0)
        features.PART_FRAMES = 12
        features.extract(prepared(material), "MobileNet", None, folder / "features", "float32", 4, frame_size=32)

    _called(extract)


def _flow(material: Path, folder: Path) -> None:
    def compute() -> None:
        from har_tf.store import flow

        flow.FILE_BYTES = 3 * 4 * 32 * 32 * 2
        flow.flow_clips(prepared(material), folder / "flow")

    _called(compute)


def _write(material: Path, folder: Path) -> None:
    def write() -> None:
        frames = np.random.default_rng(0).integers(0, 256, (60, 96, 128, 3), np.uint8)
        write_video(folder / "video.mp4", frames, threads=1)

    _called(write)


@dataclass(frozen=True)
class Program:
    """What is interrupted.

    Attributes:
        name: of the program.
        run: given the folder of `make_material` and an empty one, writes to that one; raises SystemExit.
        heavy: whether it imports TensorFlow.
        code: that it ends with where nothing disturbs it.
    """

    name: str
    run: Callable[[Path, Path], None]
    heavy: bool = True
    code: int = 0


PROGRAMS = {
    program.name: program
    for program in (
        Program("prepare", _prepare),
        Program("train", _train),
        Program("features", _features),
        Program("flow", _flow),
        Program("mine", _mine, heavy=False),
        Program("check", _check, heavy=False, code=1),  # one of the videos is damaged
        Program("write_video", _write, heavy=False),
    )
}


# What heavy programs import, so that a process that is forked from one that has imported it begins at once.
IMPORTED = ("har_tf.cli.app", "har_tf.concepts.mining", "har_tf.front_door")


def snapshot(folder: Path) -> dict[str, str]:
    """{file: digest of what two runs share of it} of all files, hidden ones and those left over too."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir() and "tensorboard" not in path.parts)
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(path: Path) -> str:
    try:
        return _digest_of_lasting(path)
    except Exception:  # damaged; then every byte counts
        return _hash(path.read_bytes())


def _digest_of_lasting(path: Path) -> str:
    if path.suffix == ".npz":
        with np.load(path) as stored:
            arrays = [(name, str(stored[name].dtype), stored[name].shape, stored[name].tobytes())
                      for name in sorted(stored.files) if name != "about"]  # fmt: skip
        return _hash(repr(arrays).encode())
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return _hash(archive.read("config.json") + archive.read("model.weights.h5"))
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return _hash(json.dumps([_lasting(json.loads(line)) for line in lines], sort_keys=True).encode())
    if path.parent.name == "overlays":  # maps differ in their last bits, which the encoder turns into others
        return ""
    if path.name == "history.csv" or (path.parent.name == "tables" and path.suffix == ".csv"):
        rows = csv.DictReader(io.StringIO(path.read_text()))
        return _hash(repr([_lasting(row) for row in rows]).encode())
    return "" if path.suffix in UNLIKE else _hash(path.read_bytes())


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        # What tells seconds is sealed with them.
        left_out = VOLATILE | {"seal", "files"} if "seconds" in value else VOLATILE
        return {key: _lasting(inner) for key, inner in value.items() if key not in left_out}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def half_written(folder: Path) -> list[str]:
    """The files that stand in the place of a result and cannot be read."""
    bad = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and "tensorboard" not in path.parts:
            try:
                _check_whole(path)
            except Exception as error:  # whatever its reader raises
                bad.append(f"{path.relative_to(folder)} ({type(error).__name__})")
    return bad


def _check_whole(path: Path) -> None:
    content = path.read_bytes()
    if not content and path.name != "skipped.csv":
        raise ValueError("empty")
    if path.suffix in (".npz", ".keras"):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise ValueError("damaged")
    elif path.suffix == ".json":
        json.loads(content)
    elif path.suffix == ".mp4":
        probe(path)
    ends = {".html": b"</html>", ".parquet": b"PAR1"}
    if not content.rstrip().endswith(ends.get(path.suffix, b"")):
        raise ValueError("no end")


def main(name: str, material: str, folder: str) -> None:
    """Runs a program as a user would, with an exit code and a reason as those of the command line."""
    PROGRAMS[name].run(Path(material), Path(folder))
