"""The feature store: what is in it, what it is keyed by, what a killed run leaves, and the order it is read in."""

import functools
import importlib.util
import json
import shutil
import time
import zlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from har_tf import datasets, training
from har_tf.datasets import DatasetError, VideoRecord
from har_tf.models.fusion_gru import frame_encoder, fusion_gru_head
from har_tf.models.resnext3d import resnext3d
from har_tf.models.saving import save_model
from har_tf.pipeline import clips
from har_tf.store import features
from har_tf.store.checksums import checksum, checksum_of_file, sealed
from har_tf.store.features import FeatureStore, batches, extract
from har_tf.store.prepared import PreparedDataset
from har_tf.video import write_video

FRAMES, SIZE, CHANNELS = 4, 32, 256


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """11 videos of noise in two classes, and one that cannot be read."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for number in range(11):
        folder = root / ("even", "odd")[number % 2]
        folder.mkdir(exist_ok=True)
        write_video(
            folder / f"v_{number:02d}_g{number // 4:02d}_c01.mp4", rng.integers(0, 256, (6, 32, 32, 3), "uint8")
        )
    (root / "odd" / "v_99_g09_c01.mp4").write_bytes(b"no video")
    return datasets.load(root)


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    return datasets.prepare(dataset, tmp_path_factory.mktemp("out"), FRAMES, (SIZE, SIZE), workers=0)


@pytest.fixture(scope="module")
def weights(small_weights):
    return small_weights / "mobilenet_notop.weights.h5"


@pytest.mark.parametrize("frame_size", [SIZE, 48])
def test_holds_what_the_network_gives(prepared, weights, tmp_path, frame_size):
    """Before a smaller network takes its place: resized as in the model."""
    few = prepared.subset(datasets.load(prepared.root).records[:3])
    store = extract(few, "MobileNet", weights, tmp_path, "float32", 8, frame_size=frame_size)
    frames = few.read(range(3)).reshape(-1, SIZE, SIZE, 3)
    expected = frame_encoder("MobileNet", SIZE, weights, frame_size=frame_size).predict(frames, verbose=0)
    expected = expected.reshape(3, FRAMES, CHANNELS)
    assert expected.std() > 0.01
    assert (len(store), store.shape, store.dtype) == (3, (FRAMES, CHANNELS), "float32")
    np.testing.assert_allclose(store.read(range(3)), expected, atol=1e-4 * expected.max())
    # Any order, and each clip as often as it is asked for.
    np.testing.assert_array_equal(store.read([2, 0, 2]), store.read(range(3))[[2, 0, 2]])


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_leave_nothing(prepared, weights, tmp_path):
    with pytest.raises(ValueError, match="not the weights of MobileNetV2"):
        extract(prepared, "MobileNetV2", weights, tmp_path, frame_size=SIZE)
    assert not list(tmp_path.iterdir())


def small_encoder(backbone, size, weights, frame_size):
    """In the place of `frame_encoder`: another network for each file, or seed, that takes no seconds to build."""
    if weights is not None:
        keras.utils.set_random_seed(zlib.crc32(Path(weights).read_bytes()))
    frames = keras.Input((size, size, 3), dtype="uint8")
    means = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(frames))
    return keras.Model(frames, keras.layers.Dense(CHANNELS, "relu")(keras.layers.Flatten()(means)))


@pytest.fixture(scope="module")
def small():
    """What a store keeps and when does not depend on the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "frame_encoder", small_encoder)
        yield


@pytest.fixture(scope="module")
def store(prepared, weights, small, tmp_path_factory):
    return extract(prepared, "MobileNet", weights, tmp_path_factory.mktemp("store"), "float32", 8, frame_size=SIZE)


def gathered(dataset):
    """All features, by input, and all labels of some batches."""
    parts, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, np.concatenate(labels)


def made(path, backbone="A", count=5, shape=(2, 3), seed=0, values=None):
    """A store of these or random numbers, written by hand."""
    path.mkdir()
    if values is None:
        values = np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")
    np.save(path / "features.npy", values)
    names = np.array([f"even/{n}.mp4".encode() for n in range(count)])
    columns = {"label": np.arange(count, dtype="int32") % 2, "group": np.full(count, b""), "name": names, "path": names}
    np.savez(path / "index.npz", **columns, checksum=np.array([checksum(clip) for clip in values], "uint64"))
    about = {"backbone": backbone, "weights": "random", "root": "/videos", "class_names": ["even", "odd"]}
    about |= {"shape": list(shape), "dtype": "float32", "seconds": 1.0, "left_out": []}
    FeatureStore.describe(path, about, {"features.npy": checksum_of_file(path / "features.npy")})
    return FeatureStore.open(path), values


def test_knows_the_clips(store, prepared):
    np.testing.assert_array_equal(store.labels, prepared.labels)
    assert store.record_paths == prepared.record_paths
    assert store.groups == prepared.groups
    assert store.class_names == ("even", "odd")
    assert (store.backbone, store.weights) == ("MobileNet", "mobilenet_notop.weights.h5")
    assert store.seconds > 0


def test_float16_keeps_eleven_bits_in_half_the_space(store, prepared, weights, tmp_path):
    half = extract(prepared, "MobileNet", weights, tmp_path, batch_size=8, frame_size=SIZE)
    assert half.dtype == "float16"
    exact, rounded = store.read(range(11)), half.read(range(11))
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(rounded, exact.astype("float16"))
    np.testing.assert_allclose(rounded, exact, rtol=2**-11, atol=2**-24)
    bytes_of = [(each.path / "features.npy").stat().st_size - 128 for each in (store, half)]
    assert bytes_of == [11 * FRAMES * CHANNELS * 4, 11 * FRAMES * CHANNELS * 2]


def test_a_second_call_opens_what_is_there(store, prepared, weights, monkeypatch):
    monkeypatch.setattr(features, "frame_encoder", None)
    again = extract(prepared, "MobileNet", weights, store.path.parent, "float32", 32, frame_size=SIZE)
    assert again.path == store.path


def test_other_weights_settings_and_clips_are_another_store(store, prepared, weights, tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(store.path, folder / store.path.name)
    other = tmp_path / weights.name  # a file of the same name
    other.write_bytes(b"other weights")

    def path_of(prepared=prepared, weights=weights, dtype="float32", size=SIZE):
        return extract(prepared, "MobileNet", weights, folder, dtype, 8, size).path

    assert path_of() == folder / store.path.name
    others = [
        path_of(weights=other),
        path_of(dtype="float16"),
        path_of(size=48),
        path_of(prepared.subset(datasets.load(prepared.root).records[:3])),
    ]
    assert len({path_of(), *others}) == 5
    assert not list(folder.glob(".*"))


def test_random_weights_are_known_by_their_values(small, prepared, tmp_path):
    few = prepared.subset(datasets.load(prepared.root).records[:2])

    def path_of(seed):
        keras.utils.set_random_seed(seed)
        return extract(few, "MobileNet", None, tmp_path, frame_size=SIZE).path

    assert path_of(1) == path_of(1) != path_of(2)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["the features", "the list", "the end"])
def test_a_killed_run_is_taken_up_and_ends_with_the_same_bytes(store, prepared, weights, tmp_path, monkeypatch, at):
    monkeypatch.setattr(features, "PART_FRAMES", 1)  # parts of two clips
    computed, real_write, real_list, real_end = [], features._Array.write, features._list, FeatureStore.describe

    def write(self, start, part):
        computed.append(start)
        if start == 6 and at == "the features":
            with self.path.open("r+b") as file:
                file.seek(self.place(start))
                file.write(part.tobytes()[:100])
            raise Killed
        return real_write(self, start, part)

    def listed(notes, parts):
        if at == "the list" and (6, 8) in parts:
            raise Killed
        real_list(notes, parts)

    def end(*args):
        if at == "the end":
            raise Killed
        return real_end(*args)

    monkeypatch.setattr(features._Array, "write", write)
    monkeypatch.setattr(features, "_list", listed)
    monkeypatch.setattr(FeatureStore, "describe", end)
    arguments = (prepared, "MobileNet", weights, tmp_path, "float32", 8, SIZE)
    with pytest.raises(Killed):
        extract(*arguments)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    before = list(computed)
    at, computed[:] = None, []
    taken_up = extract(*arguments)
    assert before == ([0, 2, 4, 6] if 10 not in before else [0, 2, 4, 6, 8, 10])
    assert computed == ([6, 8, 10] if 10 not in before else [])
    assert (taken_up.path / "features.npy").read_bytes() == (store.path / "features.npy").read_bytes()
    assert taken_up.path.name == store.path.name
    assert [path.name for path in tmp_path.iterdir()] == [taken_up.path.name]


def test_a_part_that_was_damaged_meanwhile_is_computed_again(store, prepared, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PART_FRAMES", 1)
    monkeypatch.setattr(FeatureStore, "describe", lambda *args: (_ for _ in ()).throw(Killed))
    arguments = (prepared, "MobileNet", weights, tmp_path, "float32", 8, SIZE)
    with pytest.raises(Killed):
        extract(*arguments)
    (path,) = tmp_path.glob(".*.work/features.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.undo()
    monkeypatch.setattr(features, "PART_FRAMES", 1)
    assert (extract(*arguments).path / "features.npy").read_bytes() == (store.path / "features.npy").read_bytes()


@pytest.mark.parametrize(
    ("name", "at", "again"),
    [("features.npy", -1, "3 of 11"), ("features.npy", 20, "0 of 11"), ("index.npz", 60, "0 of 11"),
     ("parts.jsonl", 3, "0 of 11"), ("features.json", 30, "0 of 11")],
)  # fmt: skip
def test_of_a_damaged_store_what_is_damaged_is_computed_again(
    small, prepared, weights, tmp_path, caplog, monkeypatch, name, at, again
):
    monkeypatch.setattr(features, "PART_FRAMES", 16)  # parts of 4, 4 and 3 clips
    arguments = (prepared, "MobileNet", weights, tmp_path, "float32", 8, SIZE)
    path = extract(*arguments).path
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    content = bytearray(before[name])
    content[at] ^= 1
    (path / name).write_bytes(content[:-2] if at == -1 else content)
    extract(*arguments)
    assert f"{path}: not a feature store, or a damaged one: " in caplog.text
    assert f"{again} clips are made again, the others kept" in caplog.text
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("name", ["features.json", "index.npz", "features.npy"])
def test_a_flipped_bit_of_any_byte_is_noticed(tmp_path, name):
    path = made(tmp_path / "a")[0].path / name
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DatasetError, match="not a feature store, or a damaged one|a feature store of format"):
            FeatureStore.open(path.parent, check=True)
    path.write_bytes(content)
    FeatureStore.open(path.parent, check=True)


def test_a_bit_that_flips_after_the_store_was_opened_is_noticed_when_its_clip_is_read(tmp_path):
    store, values = made(tmp_path / "a")
    path = store.path / "features.npy"
    content = path.read_bytes()
    for place in range(128, len(content), 5):
        with path.open("r+b") as file:
            file.write(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        clip = (place - 128) // 24
        with pytest.raises(
            DatasetError, match=rf"{path}: damaged at the clip of even/{clip}.mp4: differs .* `extract`"
        ):
            store.read([clip])
        others = [n for n in range(5) if n != clip]
        np.testing.assert_array_equal(store.read(others), values[others])


@pytest.mark.parametrize("name", ["features.json", "index.npz", "features.npy"])
def test_a_shorter_file_is_noticed(tmp_path, name):
    path = made(tmp_path / "a")[0].path / name
    content = path.read_bytes()
    for length in [*range(0, len(content), 10), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(DatasetError, match="not a feature store, or a damaged one"):
            FeatureStore.open(path.parent)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '"format"', "[" * 9 + "]" * 9])
def test_other_json_is_no_store(tmp_path, text):
    path = made(tmp_path / "a")[0].path
    (path / "features.json").write_text(text)
    with pytest.raises(DatasetError, match="not a feature store, or a damaged one"):
        FeatureStore.open(path)


@pytest.mark.parametrize("columns", [("label", "group", "path"), ("label", "group", "name", "path", "index")])
def test_an_index_of_other_columns_is_no_store(tmp_path, columns):
    """With the right checksum, as another program might write it."""
    path = made(tmp_path / "a")[0].path
    np.savez(path / "index.npz", **dict.fromkeys(columns, np.zeros(5, "int32")))
    about = json.loads((path / "features.json").read_text())
    del about["seal"]
    FeatureStore.describe(path, about, {"features.npy": checksum_of_file(path / "features.npy")})
    with pytest.raises(
        DatasetError, match=r"index\.npz holds label, group, .*\. Expected checksum, label, group, name"
    ):
        FeatureStore.open(path)


SPANS = [(0, 2), (2, 4), (4, 5)]


def test_every_clip_has_a_checksum(tmp_path):
    array = features._Array(tmp_path / "features.npy", (5, 2, 3), "float32")
    values = np.arange(30, dtype="float32").reshape(5, 2, 3)
    for start, stop in (SPANS[2], *SPANS[:2]):
        expected = [checksum(clip.tobytes()) for clip in values[start:stop]]
        assert array.write(start, values[start:stop]) == array.checksums(start, stop) == expected
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), values)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe[0, 2",
        b"3",
        b"null",
        b"[" * 9999,
        *map(sealed, ({}, {"span": 3}, {"span": [[0], 2]}, {"span": [0, 2]})),
    ],
)
def test_a_damaged_line_of_the_list_of_parts_costs_nothing_and_both_of_them_that_part(tmp_path, line):
    notes, parts = tmp_path / "parts.jsonl", {(0, 2): ([1, 2], 1.0), (2, 4): ([3, 2**64 - 1], 0.5)}
    features._list(notes, parts)
    assert features._listed(notes, SPANS) == parts
    _, second, *twice = notes.read_bytes().splitlines()
    notes.write_bytes(b"\n".join([line, second, *twice]))
    assert features._listed(notes, SPANS) == parts
    notes.write_bytes(b"\n".join([line, second, line, line]))
    assert features._listed(notes, SPANS) == {(2, 4): parts[2, 4]}


def test_reading_on_after_the_store_was_computed_anew(tmp_path):
    """As with an open file: a training that is under way keeps what it has opened."""
    first, values = made(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    np.testing.assert_array_equal(first.read([3, 1]), values[[3, 1]])


def test_without_a_terminal_progress_is_told_in_lines(small, prepared, weights, tmp_path, monkeypatch, capsys):
    clock = iter(range(0, 10_000, 25))  # seconds
    monkeypatch.setattr(features.time, "monotonic", lambda: next(clock))
    extract(prepared, "MobileNet", weights, tmp_path, batch_size=4, frame_size=SIZE)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("features of")]
    assert lines[-1].startswith("features of MobileNet: 44 of 44 frames, ")
    assert 3 <= len(lines) < 11  # there are 11 batches
    assert all(line.endswith(" frames/s") for line in lines)


def test_subset_follows_the_records_and_knows_what_was_skipped(store, dataset):
    records = dataset.records
    chosen = store.subset([records[5], records[0], next(r for r in records if "v_99" in r.path.name)])
    assert [path.name for path in chosen.record_paths] == [records[5].path.name, records[0].path.name]
    np.testing.assert_array_equal(chosen.read([1, 0]), store.read([0, 5]))
    np.testing.assert_array_equal(chosen.subset([records[5]]).read([0]), store.read([5]))
    train, test = dataset.split("group", seed=0)
    assert len(store.subset(train)) + len(store.subset(test)) == 11
    with pytest.raises(DatasetError, match=r"other\.mp4 is not among the videos that this was made of"):
        store.subset([VideoRecord(dataset.root / "odd" / "other.mp4", 1)])
    with pytest.raises(DatasetError, match="made for other classes: even, odd. Received: odd, even"):
        store.subset(replace(dataset, class_names=("odd", "even")))


def test_one_pass_in_order_with_a_smaller_last_batch(store):
    dataset = batches(store, 4)
    spec = {"features_MobileNet": tf.TensorSpec((None, FRAMES, CHANNELS), tf.float32)}
    assert dataset.element_spec == (spec, tf.TensorSpec((None,), tf.int32))
    assert dataset.cardinality() == 3
    assert [len(labels) for _, labels in dataset] == [4, 4, 3]
    given, labels = gathered(dataset)
    np.testing.assert_array_equal(given["features_MobileNet"], store.read(range(11)))
    np.testing.assert_array_equal(labels, store.labels)


def test_the_order_is_that_of_the_clips(store, prepared):
    """So that a head on features and the same model on frames see the same batches."""
    frames = np.concatenate([c for c, _ in clips(prepared, 4, training=True, seed=3, epochs=[2]).as_numpy_iterator()])
    stored = {clip.tobytes(): position for position, clip in enumerate(prepared.read(range(11)))}
    order = [stored[clip.tobytes()] for clip in frames]
    assert order != sorted(order)
    given, labels = gathered(batches(store, 4, training=True, seed=3, epochs=[2]))
    np.testing.assert_array_equal(given["features_MobileNet"], store.read(order))
    np.testing.assert_array_equal(labels, store.labels[order])


def test_a_run_goes_on_in_the_middle(store):
    whole = gathered(batches(store, 4, training=True, seed=1, epochs=range(3)))
    rest = batches(store, 4, training=True, seed=1, epochs=range(1, 3), skip=1)
    assert rest.cardinality() == 3  # two of whole batches in a pass over 11 clips
    np.testing.assert_array_equal(gathered(rest)[1], whole[1][8 + 4 :])
    np.testing.assert_array_equal(gathered(rest)[0]["features_MobileNet"], whole[0]["features_MobileNet"][8 + 4 :])
    assert not np.array_equal(whole[1][:8], whole[1][8:16])


def test_several_stores_go_side_by_side(tmp_path):
    (first, a), (second, b) = made(tmp_path / "a", "A"), made(tmp_path / "b", "B", shape=(2, 4), seed=1)
    given, labels = gathered(batches([first, second], 2))
    np.testing.assert_array_equal(given["features_A"], a)
    np.testing.assert_array_equal(given["features_B"], b)
    assert labels.tolist() == [0, 1, 0, 1, 0]


def test_trains_a_head(tmp_path):
    """Two classes that the features tell apart, through `training.fit`, interrupted and taken up."""
    values = np.random.default_rng(0).normal(size=(40, 2, 3)).astype("float32")
    values[:, 1, 0] = np.where(np.arange(40) % 2 == 1, 2, -2)
    stores = [made(tmp_path / "a", "A", 40, values=values)[0], made(tmp_path / "b", "B", 40, seed=1)[0]]
    keras.utils.set_random_seed(0)
    head = fusion_gru_head(2, {"A": 3, "B": 3}, 2, gru_units=(8, 8))

    def train(epochs):
        return batches(stores, 8, training=True, epochs=epochs)

    recipe = training.TrainingRecipe(epochs=15, learning_rate=0.02)
    history = training.fit(head, train, batches(stores, 40), recipe, tmp_path / "run", verbose=0)
    assert history.epochs["val_accuracy"][-1] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "A"}, "Each store is of another backbone. Received: A, A"),
        ({"count": 4}, r"features of different clips.* with 5 clips, .*b with 4"),
        ({"shape": (3, 3)}, "clips of different lengths.* with 2 frames, .*b with 3"),
    ],
)
def test_stores_that_do_not_go_together(tmp_path, change, words):
    first, second = made(tmp_path / "a")[0], made(tmp_path / "b", **{"backbone": "B", **change})[0]
    with pytest.raises(ValueError, match=words):
        batches([first, second], 2)


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"epochs": []}, {"skip": 4}])
def test_batches_out_of_range(store, arguments):
    with pytest.raises(ValueError, match="skip from 0 to [0-9]+, all batches. Received"):
        batches(store, **{"batch_size": 4, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"backbone": "MobilNet"}, ValueError, "Closest: MobileNet"),
        ({"dtype": "int8"}, ValueError, "float16 or float32.* Received: dtype='int8'"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"weights": "nowhere.h5"}, FileNotFoundError, r"nowhere\.h5: no such weights file"),
    ],
)
def test_wrong_arguments_come_before_any_work(prepared, tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        extract(**{"prepared": prepared, "backbone": "MobileNet", "weights": None, "out_dir": tmp_path, **arguments})
    assert not list(tmp_path.iterdir())


def test_frames_that_are_not_square_are_refused(dataset, tmp_path):
    wide = datasets.prepare(dataset, tmp_path / "out", 2, (32, 48), workers=0)
    with pytest.raises(ValueError, match=r"square frames.* Received: frames of 32 x 48"):
        extract(wide, "MobileNet", None, tmp_path / "store")


def test_a_disk_that_is_too_small(small, prepared, weights, tmp_path, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    with pytest.raises(DatasetError, match=r"33.8 kB are needed for 11 clips of 4 x 256 float16 features; 1.0 kB"):
        extract(prepared, "MobileNet", weights, tmp_path, frame_size=SIZE)


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (70_000.0, "float16", r"even/v_.*: a feature of MobileNet is 70000, .*use dtype='float32'"),
        (np.nan, "float32", r"even/v_.*: a feature of MobileNet is not a finite number"),
    ],
)
def test_features_that_cannot_be_kept(small, prepared, weights, tmp_path, monkeypatch, value, dtype, words):
    monkeypatch.setattr(features, "_compiled", lambda *_: lambda pixels: tf.fill((len(pixels), CHANNELS), value))
    with pytest.raises(FloatingPointError, match=words):
        extract(prepared, "MobileNet", weights, tmp_path, dtype, frame_size=SIZE)


def test_what_a_network_of_clips_gives_is_stored_once(prepared, tmp_path):
    def network(seed):
        keras.utils.set_random_seed(seed)
        clip = keras.Input((FRAMES, SIZE, SIZE, 3), dtype="uint8")
        x = keras.layers.Conv3D(6, 3, 8)(keras.layers.Rescaling(1 / 255)(clip))
        return keras.Model(clip, keras.layers.GlobalAveragePooling3D()(x))

    store = features.outputs(prepared, network(0), "tiny/network", "random", tmp_path, batch_size=4)
    assert (len(store), store.shape, store.dtype, store.backbone) == (11, (1, 6), "float32", "tiny/network")
    expected = network(0).predict(prepared.read(range(11)), verbose=0)[:, None]
    np.testing.assert_allclose(store.read(range(11)), expected, atol=1e-5)
    # The same clips and weights are opened, others are another store.
    assert features.outputs(prepared, network(0), "tiny/network", "random", tmp_path).path == store.path
    assert features.outputs(prepared, network(1), "tiny/network", "random", tmp_path).path != store.path
    few = prepared.subset(datasets.load(prepared.root).records[3:6])
    np.testing.assert_array_equal(store.at(few).read(range(3)), store.read(range(3, 6)))
    assert store.at(few).names == few.names and few.whole().names == prepared.names


PROCESSES = ("--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
THREADS = (*PROCESSES[:2], "--direct_running_mode=multi_threading")
needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam, the extra `beam`, is not installed"
)


def content(store):
    """What two stores of the same have alike: all but the times that it took."""
    about = json.loads((store.path / "features.json").read_bytes())
    return about["data"], (store.path / "index.npz").read_bytes(), (store.path / "features.npy").read_bytes()


@needs_beam
def test_two_worker_processes_of_beam_make_the_same_bytes(prepared, small, store, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PART_FRAMES", 16)  # parts of 4, 4 and 3 clips
    found = extract(prepared, "MobileNet", weights, tmp_path, "float32", 8, frame_size=SIZE, beam=PROCESSES)
    assert content(found) == content(store) and found.path.name == store.path.name
    assert {path.name for path in found.path.iterdir()} == {path.name for path in store.path.iterdir()}


@pytest.mark.parametrize("own", [False, True])
def test_a_worker_of_beam_computes_grouped_convolutions_as_this_process_does(prepared, tmp_path, own):
    keras.utils.set_random_seed(0)
    clip = keras.Input((FRAMES, SIZE, SIZE, 3), dtype="uint8")
    if own:  # of a user's code, which knows nothing of `quicken`
        x = keras.layers.Conv3D(32, 3, groups=8)(keras.layers.Conv3D(32, 1)(keras.layers.Rescaling(1 / 255)(clip)))
        network = keras.Model(clip, keras.layers.Flatten()(x))
    else:
        top = resnext3d(clip.shape[1:], 2, blocks=(1, 1, 1, 1), width=32, cardinality=4)
        network = keras.Model(top.inputs, keras.layers.GlobalAveragePooling3D()(top.get_layer("layer4").output))
    expected = features.outputs(prepared, network, "own", "random", tmp_path)
    compute = functools.partial(features._computed, batch_size=4, dtype="float32", backbone="own")
    network = save_model(network, tmp_path / "network.keras", None)
    part = features._Part(tmp_path, network, prepared.path, prepared.root, prepared._rows, compute)
    part((0, len(prepared)))
    found, _ = features._carried(tmp_path, (0, len(prepared)), expected._array)
    np.testing.assert_array_equal(found, expected.read(range(len(prepared))))


@needs_beam
def test_parts_that_a_killed_pipeline_has_finished_are_not_computed_again(
    prepared, small, store, weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(features, "PART_FRAMES", 16)
    rounded, done = features._rounded, []

    def failing(found, dtype, backbone, names):
        done.append(prepared.names.index(names[0]))
        if len(done) == 3:  # when the two others are there
            deadline = time.monotonic() + 20
            while len(list(tmp_path.glob(".*.work/parts/*-*"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            raise OSError(28, "No space left on device")
        return rounded(found, dtype, backbone, names)

    options = {"out_dir": tmp_path, "dtype": "float32", "batch_size": 8, "frame_size": SIZE}
    with monkeypatch.context() as patch, pytest.raises(DatasetError, match="pipeline failed: .*No space left"):
        patch.setattr(features, "_rounded", failing)
        extract(prepared, "MobileNet", weights, **options, beam=THREADS)
    failed, again = done[2], []
    monkeypatch.setattr(features, "_rounded", lambda *given: again.append(given[3][0]) or rounded(*given))
    # This process takes up what the workers left.
    assert content(extract(prepared, "MobileNet", weights, **options)) == content(store)
    assert again == [prepared.names[failed]]


@needs_beam
def test_clips_that_a_worker_does_not_see_and_wrong_options(prepared, small, weights, tmp_path, monkeypatch):
    copied = shutil.copytree(prepared.path.parents[1], tmp_path / "prepared")
    elsewhere = PreparedDataset.open(copied / prepared.path.relative_to(prepared.path.parents[1]))
    shutil.rmtree(copied)
    options = {"out_dir": tmp_path / "out", "dtype": "float32", "batch_size": 8, "frame_size": SIZE}
    with pytest.raises(DatasetError, match=r"1\.0\.0: a Beam worker does not see this file. Do all workers"):
        extract(elsewhere, "MobileNet", weights, **options, beam=THREADS)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ValueError, match="knows no options --runer"):
        extract(prepared, "MobileNet", weights, **options, beam=["--runer=x"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install"):
        extract(prepared, "MobileNet", weights, **options, beam=THREADS)
    assert not (tmp_path / "out").exists()
