"""Damaged and hostile files of every kind that the package opens, besides videos, which are `fuzz_video`'s.

A reader survives if it gives what the sound file holds, or, of a kind without checksums, anything, or raises one of the
errors that it documents, in one line that names the file; all in seconds and a few hundred megabytes.
"""

import csv
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attacks.programs import CLASSES, moving_square
from benchmarks.mutations import CONTENTS

LENGTH = 1000  # characters that the line of an error may have, at most

# What stands in place of a value of JSON.
STRANGE = (
    None, True, -1, 0, 10**400, 1e308, float("nan"), "", "\x1b[31m", "\udcff", "a\nb", "=1+1", [], {}, [[]], {"": {}},
    "9" * 5000, ["x"] * 1000,
)  # fmt: skip


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: of the sound file.
        make: writes it to the path that it is given.
        read: reads it all, as the package does; returns what it holds, comparable by `repr`.
        errors: names of the classes of error that the reader documents.
        sealed: whether it holds checksums, so that damage must be noticed.
        members: endings of the members of a zip archive to damage in place of the archive itself.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    errors: tuple[str, ...] = ("ValueError",)
    sealed: bool = False
    members: tuple[str, ...] = ()


def _save_keras(path: Path) -> None:
    import keras

    from har_tf.models.saving import save_model

    keras.utils.set_random_seed(0)
    clip = keras.Input((4, 32, 32, 3), dtype="uint8", name="clip")
    x = keras.layers.Rescaling(1 / 255)(clip)
    x = keras.layers.Conv3D(4, (1, 5, 5), (1, 4, 4), activation="relu", name="conv3d")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, keras.layers.Dense(3, activation="softmax", name="predictions")(x))
    save_model(model, path, CLASSES, {"short": "wrap"}, {"data": "moving squares"})


def _predict(path: Path) -> object:
    from har_tf.classifier import Classifier

    loaded = Classifier.load(path)
    answered = loaded.predict(moving_square(0, 0)[None, :4])
    return answered.class_names, loaded.clip, answered.probabilities.round(4).tolist()


def _small_network() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")])


def _import(path: Path) -> object:
    from har_tf.models.weights.import_weights import import_weights

    return [weight.tolist() for weight in import_weights(_small_network(), path).get_weights()]


def _tensors(path: Path) -> object:
    from har_tf.models.weights import checkpoints

    return [(name, np.asarray(tensor.read()).tolist()) for name, tensor in checkpoints.read(path).items()]


def _save_torch(path: Path) -> None:
    """A zip as torch.save({"a.weight": a tensor of 2 x 3}) writes it."""
    state = (
        b"\x80\x02}X\x08\x00\x00\x00a.weightctorch._utils\n_rebuild_tensor_v2\n(("
        b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
        b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRs."
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())


def _save_caffe(path: Path) -> None:
    """One layer with a blob of 2 x 3."""

    def field(number: int, content: bytes) -> bytes:
        return (
            bytes([number % 16 << 3 | 2 | 128 * (number > 15)]) + bytes([number >> 4] * (number > 15)) + _sized(content)
        )

    shape, values = field(7, field(1, b"\x02\x03")), field(5, np.arange(6, dtype="<f4").tobytes())
    path.write_bytes(field(100, field(1, b"conv1") + field(2, b"Convolution") + field(7, shape + values)))


def _sized(content: bytes) -> bytes:
    return bytes([len(content)]) + content  # of fewer than 128 bytes


def _save_pickle(path: Path) -> None:
    boxes = np.arange(8, dtype=np.float32).reshape(2, 4)
    path.write_bytes(pickle.dumps({"wave/a": {"numf": 2, "label": 1, "annotations": [{"boxes": boxes}]}}, 2))


def _load_pickle(path: Path) -> object:
    from har_tf.files import safe_pickle

    return safe_pickle.load(path)


def _save_detections(path: Path) -> None:
    images = [{"id": n, "file_name": f"a.mp4/{n:06d}.jpg", "height": 32, "width": 32} for n in range(4)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [n, 2, 9, 9], "score": 0.9} for n in range(4)]
    categories = [{"id": 1, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def _detect(path: Path) -> object:
    from har_tf.concepts.detectors.open import open_detector

    detector = open_detector(path)
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    return [(d.boxes.tolist(), d.scores.tolist()) for d in detector(frames, "a.mp4", 0)], detector.names


def _save_tflite(path: Path) -> None:
    from har_tf import quiet

    tf = quiet.import_tensorflow()
    weights = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 3))])
    def network(pictures):
        return tf.nn.softmax(tf.reduce_mean(tf.nn.conv2d(pictures, weights, 2, "SAME"), (1, 2)))

    with quiet.stderr_kept():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], network)
        path.write_bytes(converter.convert())


def _save_onnx(path: Path) -> None:
    """A YOLO of one class whose output is a constant: a convolution of the whole picture."""

    def number(field: int, value: int) -> bytes:
        return _varint(field << 3) + _varint(value)

    def data(field: int, value: bytes) -> bytes:
        return _varint(field << 3 | 2) + _varint(len(value)) + value

    def tensor(name: bytes, array: np.ndarray) -> bytes:
        sides = b"".join(number(1, side) for side in array.shape)
        return sides + number(2, {"f": 1, "i": 7}[array.dtype.kind]) + data(8, name) + data(9, array.tobytes())

    def value(name: bytes, shape: tuple[int, ...]) -> bytes:
        sides = b"".join(data(1, number(1, side)) for side in shape)
        return data(1, name) + data(2, data(1, number(1, 1) + data(2, sides)))

    side, shape = 32, (1, 5, 21)  # grids of 4 x 4, 2 x 2 and 1 x 1
    kernel, bias = np.zeros((105, 3, side, side), np.float32), np.full(105, 0.1, np.float32)
    attribute = data(5, data(1, b"kernel_shape") + number(8, side) * 2 + number(20, 7))
    graph = data(1, data(1, b"images") + data(1, b"k") + data(1, b"b") + data(2, b"c") + data(4, b"Conv") + attribute)
    graph += data(1, data(1, b"c") + data(1, b"s") + data(2, b"output") + data(4, b"Reshape")) + data(2, b"tiny")
    for name, array in ((b"k", kernel), (b"b", bias), (b"s", np.array(shape))):
        graph += data(5, tensor(name, array))
    graph += data(11, value(b"images", (1, 3, side, side))) + data(12, value(b"output", shape))
    names = data(14, data(1, b"names") + data(2, b"{0: 'person'}"))
    path.write_bytes(number(1, 8) + data(8, data(1, b"") + number(2, 13)) + data(7, graph) + names)


def _varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + _varint(number >> 7) if number > 127 else bytes([number])


def _save_manifest(path: Path) -> None:
    from har_tf.audit.check import check
    from har_tf.video import write_video

    for name in ("a", "b"):
        (path.parent / "videos" / name).mkdir(parents=True)
        write_video(path.parent / "videos" / name / "v.mp4", moving_square(0, 0), threads=1)
    check(path.parent / "videos", path, workers=0)


def _read_manifest(path: Path) -> object:
    from har_tf.audit.manifest import Manifest

    return Manifest.read(path)


def _save_concepts(path: Path) -> None:
    from har_tf.concepts.mining import cut_tracks
    from har_tf.concepts.tracks import Track
    from har_tf.video import write_video

    video = path.parent / "v.mp4"
    write_video(video, moving_square(0, 0), threads=1)
    boxes = np.array([(n, 4, n + 14, 18) for n in range(10)], np.float32)
    track = Track("person", np.arange(10), boxes, np.ones(10, np.float32))
    cut_tracks({video: [track]}, [video], ["person"], path.parent)


def _read_concepts(path: Path) -> object:
    from har_tf.concepts import concept_set

    return concept_set.load(path.parent).clips


def _save_results(path: Path) -> None:
    (path.parent / "environment.json").write_text(
        json.dumps({"date": "2026-11-25", "command": "python", "cores": 2, "processor": "a", "gpus": []})
    )
    classes = [
        {"name": name, "support": 1, "predicted": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0} for name in CLASSES
    ]
    model = {
        "name": "Frame-CNN", "starts_from": "random weights", "parameters": 10, "best_epoch": 1, "seconds": 1.0,
        "history": {"loss": [2.0, 1.0], "accuracy": [0.5, 1.0]}, "class_names": list(CLASSES), "clips": 3,
        "accuracy": 1.0, "accuracy_interval": [0.4, 1.0], "precision": 1.0, "recall": 1.0, "f1": 1.0,
        "per_class": classes, "confusion": np.eye(3, dtype=int).tolist(), "absent": [],
    }  # fmt: skip
    results = {
        "experiment": "train", "protocol": "random", "clips": {"training": 8, "validation": 1, "test": 3},
        "dataset": {"name": "a", "classes": list(CLASSES), "clips": 12, "skipped": 0, "notes": []},
        "overlap": {"test_clips": 3, "with_group": 3, "with_sibling": 0, "same_file": 0, "groups": [], "identical": [],
                    "near_identical": [], "near_of_other_groups": 0, "unread": 0},
        "overlap_text": "none", "most_frequent_class": 0.5, "pictures": [], "model": model,
    }  # fmt: skip
    path.write_text(json.dumps(results))


def _report(path: Path) -> object:
    from har_tf.report.publish import publish

    publish(path.parent)


def _save_mat(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"pos_img": np.arange(120.0).reshape(2, 15, 4)}, do_compression=True)


def _read_mat(path: Path) -> object:
    from har_tf.datasets import jhmdb

    return jhmdb._joints(path).tolist()


def _save_xml(path: Path) -> None:
    sides = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    size, item = "<size><width>32</width><height>32</height></size>", f"<name>n1</name><bndbox>{sides}</bndbox>"
    path.write_text(f"<annotation>{size}<object>{item}</object></annotation>")


def _read_xml(path: Path) -> object:
    from har_tf.datasets.ilsvrc import read_annotation

    return read_annotation(path)


def _save_list(path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        rows.writerows(["wave", f"abcdefghi{n:02d}", n, n + 10, "train"] for n in range(20))


def _read_list(path: Path) -> object:
    from har_tf.datasets.kinetics import read_list

    return read_list(path)


def _read_class_names(path: Path) -> object:
    from har_tf.names import read_names

    return read_names(path)


def _write_names(path: Path) -> None:
    path.write_text(json.dumps(dict(zip(CLASSES, range(3), strict=True))))


def _save_h5(path: Path) -> None:
    _small_network().save_weights(path)


def _save_npz(path: Path) -> None:
    np.savez(path, **{"conv1/weights": np.arange(6, dtype="f4"), "conv1/biases": np.ones(2, "f4")})


_DETECTOR = ("DetectorError",)
_DATASET = ("DatasetError",)
FILES = {
    ".keras": FileKind("model.keras", _save_keras, _predict, sealed=True),
    "members of .keras": FileKind("model.keras", _save_keras, _predict, members=(".json", ".h5")),
    ".h5": FileKind("model.weights.h5", _save_h5, _import),
    ".pth": FileKind("model.pth", _save_torch, _tensors, sealed=True),
    "pickle in .pth": FileKind("model.pth", _save_torch, _tensors, members=(".pkl",)),
    ".caffemodel": FileKind("model.caffemodel", _save_caffe, _tensors),
    ".npz": FileKind("model.npz", _save_npz, _tensors, sealed=True),
    "members of .npz": FileKind("model.npz", _save_npz, _tensors, members=(".npy",)),
    "pickle": FileKind("boxes.pkl", _save_pickle, _load_pickle, ("PickleFileError",)),
    "detections.json": FileKind("detections.json", _save_detections, _detect, _DETECTOR),
    ".tflite": FileKind("network.tflite", _save_tflite, _detect, _DETECTOR),
    ".onnx": FileKind("network.onnx", _save_onnx, _detect, _DETECTOR),
    "concepts.json": FileKind("concepts.json", _save_concepts, _read_concepts, ("ConceptError",)),
    "results.json": FileKind("results.json", _save_results, _report, ("ReportError",)),
    "class_names.json": FileKind("class_names.json", _write_names, _read_class_names),
    ".parquet": FileKind("manifest.parquet", _save_manifest, _read_manifest, _DATASET),
    "manifest .csv": FileKind("manifest.csv", _save_manifest, _read_manifest, _DATASET),
    "list .csv": FileKind("train.csv", _save_list, _read_list, _DATASET),
    ".mat": FileKind("joint_positions.mat", _save_mat, _read_mat, _DATASET),
    ".xml": FileKind("boxes.xml", _save_xml, _read_xml, _DATASET),
}


def make(kind: str, folder: Path) -> None:
    """Writes the sound file of a kind, and what is beside it, into a new folder."""
    folder.mkdir(parents=True)
    FILES[kind].make(folder / FILES[kind].name)


def attempt(kind: str, number: int, sound: Path, folder: Path) -> str | None:
    """Reads a damaged file.

    Args:
        kind: one of `FILES`.
        number: how it is damaged; 0: not at all.
        sound: the folder of the sound file.
        folder: for a copy.

    Returns:
        Why the reader did not survive; None where it did.
    """
    of = FILES[kind]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    path = folder / of.name
    how = _damage(path, of, number, np.random.default_rng(number))
    try:
        found = of.read(path)
    except Exception as error:  # of what kind it is, is the question
        if how == "sound" and kind != ".tflite":  # ours is a network, but no detector
            return f"the sound file is refused: {error}"
        fault = _fault(error, of, path)
        return f"{how}: {fault}" if fault else None
    if (of.sealed or how == "sound") and repr(found) != repr(of.read(sound / of.name)):
        return f"{how}: silently other than the sound file"
    return None


def _fault(error: Exception, kind: FileKind, path: Path) -> str | None:
    names = {of.__name__ for of in type(error).__mro__}
    text = str(error)
    told = f"{type(error).__name__}: {text[:200]!r}"
    if not names & {*kind.errors}:
        return f"an error of another kind than {', '.join(kind.errors)}: {told}"
    if "\n" in text or "\r" in text or "\x1b" in text:
        return f"more than a line: {told}"
    if len(text) > LENGTH:
        return f"a line of {len(text)} characters: {told}"
    return None if path.name in text else f"does not name the file: {told}"


def _damage(path: Path, kind: FileKind, number: int, rng: np.random.Generator) -> str:
    """Damages a file in one of the ways that its kind knows; returns in words how."""
    if number == 0:
        return "sound"
    if not kind.members:
        content, how = _damaged(path.read_bytes(), path.suffix, number, rng)
        path.write_bytes(content)
        return how
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = str(rng.choice([name for name in members if name.endswith(kind.members)]))
    members[name], how = _damaged(members[name], Path(name).suffix, number, rng)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return f"{name}, {how}"


def _damaged(content: bytes, suffix: str, number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    if suffix == ".json" and number % 3:  # most damage to bytes makes it no JSON
        return (
            (_deep(rng), "deep") if number % 3 == 1 and number % 7 < 2 else (_other_value(content, rng), "other value")
        )
    ways = [how for how in CONTENTS if how not in ("sound", "1000 bytes flipped")]
    how = ways[number % len(ways)]
    if len(content) < 2:
        return b"\xff", "0xff"
    other = rng.integers(0, 256, 600, dtype=np.uint8).tobytes()
    return bytes(CONTENTS[how](bytearray(content), rng, other)), how


def _deep(rng: np.random.Generator) -> bytes:
    opening, closing = [(b"[", b"]"), (b'{"a":', b"}")][int(rng.integers(2))]
    return opening * 100_000 + b"1" + closing * 100_000


def _other_value(content: bytes, rng: np.random.Generator) -> bytes:
    """JSON with one of its values, at any depth, replaced by a strange one, or with a key lost or renamed."""
    value = json.loads(content)
    places = [(None, None)]

    def collect(inner: Any) -> None:
        for key, child in inner.items() if isinstance(inner, dict) else enumerate(inner):
            places.append((inner, key))
            if isinstance(child, dict | list):
                collect(child)

    if isinstance(value, dict | list):
        collect(value)
    holder, key = places[int(rng.integers(len(places)))]
    strange = STRANGE[int(rng.integers(len(STRANGE)))]
    if holder is None:
        value = strange
    elif rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = strange
    written = io.StringIO()
    json.dump(value, written)
    return written.getvalue().encode()
