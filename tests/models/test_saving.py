"""Class names travel inside the .keras file, and Keras does not mind."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from har_tf.models.saving import CLIP, calibration, clip_settings, load_model, save_model, save_weights


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax", name="predictions")])


def test_names_and_outputs_come_back(model, tmp_path):
    path = save_model(model, tmp_path / "model.keras", ["run", "jump", "écrire"])
    loaded, names = load_model(path)
    x = np.ones((2, 4), "float32")
    assert names == ("run", "jump", "écrire")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(keras.models.load_model(path).predict(x, verbose=0), model.predict(x, verbose=0))
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_names_beside_a_file_that_keras_saved(model, tmp_path):
    model.save(tmp_path / "plain.keras")
    assert load_model(tmp_path / "plain.keras")[1] == ("class 0", "class 1", "class 2")
    (tmp_path / "class_names.json").write_text(json.dumps(["a", "b", "c"]))
    assert load_model(tmp_path / "plain.keras")[1] == ("a", "b", "c")
    (tmp_path / "class_names.json").write_text(json.dumps(["a", "b"]))
    with pytest.raises(ValueError, match="3 outputs, but 2 class names"):
        load_model(tmp_path / "plain.keras")


def test_a_failed_save_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = save_model(model, tmp_path / "model.keras", list("abc"))
    before = path.read_bytes()
    monkeypatch.setattr(
        "zipfile.ZipFile.writestr", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        save_model(model, path, list("xyz"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_weights_are_those_that_keras_writes(model, tmp_path):
    save_weights(model, tmp_path / "new" / "a.weights.h5")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "new" / "a.weights.h5")
    for one, another in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.weights.h5"]


def test_a_calibration_is_a_member_that_keras_does_not_mind(model, tmp_path):
    path = save_model(model, tmp_path / "a.keras", list("abc"), calibration={"temperature": 2.0})
    assert calibration(path) == {"temperature": 2.0}
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(keras.models.load_model(path).predict(x, verbose=0), model.predict(x, verbose=0))
    assert calibration(save_model(model, path, list("abc"))) is None


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
def test_a_full_disk_is_told_with_the_file_and_what_is_needed(model, tmp_path, little_room, name):
    """HDF5 ends the process where it cannot write all it has."""
    wide = keras.Sequential([keras.Input((1000,)), layers.Dense(3)])
    path = tmp_path / name
    full = pytest.raises(OSError, match=r"\(at least 12.0 kB are needed, .* were written, .* are free")
    with full as raised, little_room():
        save_weights(wide, path) if name.endswith("h5") else save_model(wide, path, None)
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_and_names_are_named(model, tmp_path):
    with pytest.raises(ValueError, match="3 outputs need as many names. Received: 2 names"):
        save_model(model, tmp_path / "model.keras", list("ab"))
    with pytest.raises(ValueError, match="end in .keras"):
        save_model(model, tmp_path / "model.h5", list("abc"))
    with pytest.raises(FileNotFoundError, match="no such model file"):
        load_model(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match="not a .keras model file"):
        load_model(tmp_path / "text.keras")
    damaged = bytearray(save_model(model, tmp_path / "damaged.keras", list("abc")).read_bytes())
    with zipfile.ZipFile(tmp_path / "damaged.keras") as archive:
        weights = archive.getinfo("model.weights.h5")
    middle = weights.header_offset + weights.compress_size // 2
    damaged[middle : middle + 200] = bytes(200 * [255])
    (tmp_path / "damaged.keras").write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged.keras: not a model that Keras can load"):
        load_model(tmp_path / "damaged.keras")


def test_the_optimiser_stays_behind(tmp_path):
    trained = keras.Sequential([keras.Input((50,)), layers.Dense(50), layers.Dense(3)])
    trained.compile("adam", "mse")
    trained.fit(np.ones((2, 50)), np.ones((2, 3)), verbose=0)
    trained.save(tmp_path / "with.keras")
    path = save_model(trained, tmp_path / "without.keras", list("abc"))
    assert path.stat().st_size < 0.6 * (tmp_path / "with.keras").stat().st_size
    x = np.ones((1, 50), "float32")
    np.testing.assert_array_equal(load_model(path)[0](x), trained(x))


def test_how_clips_are_taken_travels_with_the_model(model, tmp_path):
    assert clip_settings(save_model(model, tmp_path / "plain.keras", list("abc"))) == CLIP
    path = save_model(model, tmp_path / "cropped.keras", list("abc"), {"fit": "crop", "sampling": "dense"})
    by_time = save_model(model, tmp_path / "by_time.keras", list("abc"), {"by": "time"})
    assert clip_settings(by_time)["by"] == "time"
    assert clip_settings(path) == {"sampling": "dense", "short": "repeat_last", "fit": "crop", "by": "frame"}
    keras.models.load_model(path)
    with pytest.raises(ValueError, match="Clips are taken by sampling, short, fit, by. Received: size"):
        save_model(model, tmp_path / "other.keras", list("abc"), {"size": "small"})
    model.save(tmp_path / "keras.keras")
    assert clip_settings(tmp_path / "keras.keras") == CLIP
    (tmp_path / "text.keras").write_text("text")
    with pytest.raises(ValueError, match="text.keras: not a .keras model file"):
        clip_settings(tmp_path / "text.keras")


def test_what_keras_cannot_load_by_itself_is_named_with_what_helps(tmp_path):
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def doubled(x):
        return 2 * x

    for name, layer, words in (
        ("own", Doubling(), "it needs the class 'Doubling', which is not one of Keras. Load it where that is defined"),
        ("code", keras.layers.Lambda(lambda x: 2 * x), r"holds Python code in a Lambda layer.*safe_mode=False"),
        ("function", keras.layers.Activation(doubled), "it needs the function 'doubled', which is not one of Keras"),
    ):
        clip = keras.Input((7,))
        keras.Model(clip, keras.layers.Dense(2)(layer(clip))).save(tmp_path / f"{name}.keras")
        with pytest.raises(ValueError, match=f"{name}.keras: not a model that Keras can load.*{words}") as refused:
            load_model(tmp_path / f"{name}.keras")
        assert "\n" not in str(refused.value)


def test_names_are_taken_by_the_rules_of_files(model, tmp_path):
    """A label map is put in order; what has no order, or is no list of names, is refused before a file is written."""
    path = tmp_path / "model.keras"
    for names in ({"b": 1, "c": 2, "a": 0}, {2: "c", 0: "a", 1: "b"}, np.array(["a", "b", "c"]), iter("abc")):
        assert load_model(save_model(model, path, names))[1] == ("a", "b", "c")
    path.unlink()
    for names in ("abc", {"a", "b", "c"}, ["a", "b", 3], ["a", "b", " "], ["a", "b", "c\x1b[2J"], {"a": 0, "b": 2}, 3):
        with pytest.raises(ValueError, match=r"model.keras: the model: (class names|a label map)"):
            save_model(model, path, names)
    assert not path.exists()


def rewritten(path, **members):
    """The `.keras` file with other members, of which `_` in a name stands for a dot."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (content | {name.replace("__", "."): value for name, value in members.items()}).items():
            archive.writestr(name, value)
    return path


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "clip.json", "class_names.json"])
@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, '{"a":' * 120 + "1" + "}" * 120, b"\xff", "3"])
def test_json_of_any_kind_in_a_model_file_is_one_line(model, tmp_path, name, content):
    path = save_model(model, tmp_path / "model.keras", list("abc"))
    rewritten(path, **{name.replace(".", "__"): content})
    with pytest.raises(ValueError, match=r"model.keras: .*") as error:
        clip_settings(path)
        load_model(path)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_in_the_file_are_not_read(model, tmp_path):
    """A file of some kB may claim terabytes, which HDF5 would give as zeros, or name other files."""
    path = save_model(model, tmp_path / "model.keras", list("abc"))
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")

    def changed(change):
        content = io.BytesIO(weights)
        with h5py.File(content, "a") as file:
            place = file["layers/dense/vars"]
            del place["0"]
            change(place)
        return rewritten(path, model__weights__h5=content.getvalue())

    for words, change in (
        (
            "claims 400000000 bytes, of which 0",
            lambda place: place.create_dataset("0", (10_000, 10_000), "f4", chunks=True),
        ),
        ("is a link to elsewhere", lambda place: place.__setitem__("0", h5py.ExternalLink("other.h5", "a"))),
        ("is a link to elsewhere", lambda place: place.__setitem__("0", h5py.SoftLink("/"))),
        ("claims 48 bytes", lambda place: place.create_dataset("0", (4, 3), "f4", external="/dev/zero")),
    ):
        with pytest.raises(ValueError, match=f"model.keras: .*{words}"):
            load_model(changed(change))
    rewritten(path, model__weights__h5=weights, more=bytes(10))
    assert load_model(path)[1] == ("a", "b", "c")


def test_an_archive_that_unpacks_to_far_more_is_refused(model, tmp_path):
    path = save_model(model, tmp_path / "model.keras", list("abc"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(100_000_000))
    with pytest.raises(ValueError, match=r"model.keras: .*Expected at most 20 times its \d+ bytes.*Received: 1000"):
        load_model(path)


def test_weights_that_are_not_found_are_no_random_ones(model, tmp_path):
    save_model(model, tmp_path / "m.keras", ("a", "b", "c"))
    with zipfile.ZipFile(tmp_path / "m.keras") as sound, zipfile.ZipFile(tmp_path / "other.keras", "w") as other:
        for name in sound.namelist():
            content = sound.read(name)
            if name == "model.weights.h5":
                (tmp_path / name).write_bytes(content)
                with h5py.File(tmp_path / name, "a") as file:
                    del file["layers/dense"]
                content = (tmp_path / name).read_bytes()
            other.writestr(name, content)
    with pytest.raises(ValueError, match="other.keras: not a model that Keras can load"):
        load_model(tmp_path / "other.keras")
