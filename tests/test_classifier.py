"""`Classifier`: what it reads, answers, explains, and keeps in its file."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from har_tf.classifier import Classifier
from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.saving import save_model
from har_tf.video import VideoError, probe, read_clip, write_video

HOW = {"sampling": "dense", "short": "wrap", "fit": "crop"}


@pytest.fixture(scope="module")
def model():
    """(a network of random weights, its class names)."""
    keras.utils.set_random_seed(0)
    return cnn_gru((10, 32, 48, 3), 3, filters=(4, 8, 8), pool_sizes=(2, 2, 2)), ("catch", "throw", "wave")


@pytest.fixture(scope="module")
def classifier(model):
    return Classifier(*model, clip=HOW, provenance={"weights": "random", "seed": 0})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with three videos, one below another folder, and a file that is none."""
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    (folder / "below").mkdir()
    for name in ("a.mp4", "b.mp4", "below/c.mp4"):
        write_video(folder / name, rng.integers(0, 256, (24, 48, 64, 3), np.uint8))
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def clips(videos):
    """What the model should be given of them."""
    paths = [videos / "a.mp4", videos / "b.mp4", videos / "below" / "c.mp4"]
    return np.stack([read_clip(path, 10, (32, 48), **HOW) for path in paths])


def test_clips_are_read_as_the_model_was_trained(classifier, model, videos, clips):
    expected = model[0].predict(clips, verbose=0)
    found = classifier.predict(videos)
    assert found.names == tuple(str(videos / name) for name in ("a.mp4", "b.mp4", "below/c.mp4"))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    best = expected[0].argmax()
    ((name, p), *_), *others = found.top(2)
    assert (name, p) == (classifier.class_names[best], pytest.approx(expected[0, best], abs=1e-6))
    assert len(others) == 2 and all(len(row) == 2 and row[0][1] >= row[1][1] for row in others)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_every_kind_of_source_gives_the_same_answers(classifier, videos, clips, batch_size):
    expected = classifier.predict(clips).probabilities
    paths = [str(videos / "a.mp4"), videos / "b.mp4", videos / "below" / "c.mp4"]
    batches = tf.data.Dataset.from_tensor_slices((clips, [0, 1, 2])).batch(2)
    for source in (paths, clips, batches, batches.map(lambda clip, label: clip)):
        np.testing.assert_allclose(classifier.predict(source, batch_size).probabilities, expected, atol=1e-6)
    one = classifier.predict(videos / "b.mp4", batch_size)
    np.testing.assert_allclose(one.probabilities, expected[1:2], atol=1e-6)
    np.testing.assert_allclose(classifier.predict(clips[2], batch_size).probabilities, expected[2:], atol=1e-6)


def test_the_model_sees_one_batch_size_only(model, clips):
    sizes = []
    classifier = Classifier(*model)
    answer, classifier._answer = classifier._answer, lambda batch: sizes.append(len(batch)) or answer(batch)
    classifier.predict(clips, batch_size=2)
    assert sizes == [2, 2], "no graph is traced for the last, smaller batch"
    sizes.clear()
    classifier.predict(clips[0])
    classifier.predict(clips)
    assert sizes == [1, 3], "and no more clips are computed than there are"


def test_what_cannot_be_read_is_named(classifier, videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    found = classifier.predict([broken, videos / "a.mp4"])
    assert found.names == (str(videos / "a.mp4"),) and len(found) == 1
    assert list(found.skipped) == [str(broken)]
    with pytest.raises(VideoError, match="broken.mp4"):
        classifier.predict(broken)
    assert list(classifier.predict(tmp_path).skipped) == [str(broken)], "of a folder also the only one"
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no video in this folder"):
        classifier.predict(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"clips are uint8 of \(10, 32, 48, 3\). Received: uint8 of \(9, 32, 48, 3\)"):
        classifier.predict(np.zeros((1, 9, 32, 48, 3), np.uint8))


def test_sources_that_cannot_be_meant_are_refused(classifier, clips):
    with pytest.raises(ValueError, match="there are no clips"):
        classifier.predict(clips[:0])
    with pytest.raises(ValueError, match="there are no clips"):
        classifier.features([])
    with pytest.raises(ValueError, match="batch_size"):
        classifier.predict(clips, batch_size=0)
    with pytest.raises(ValueError, match="windows are taken of a video"):
        classifier.explain(clips[0], windows=True)


def test_an_explanation_is_of_the_clip_and_a_whole_video_s_overlay_has_its_speed(classifier, videos, clips, tmp_path):
    explained = classifier.explain(videos / "a.mp4", method="3dcam", class_name="catch")
    np.testing.assert_array_equal(explained.frames, read_clip(videos / "a.mp4", 10, (32, 48), **HOW))
    (one,) = classifier.explain(clips[0], "3dcam", taps="conv3d").explanations.values()
    assert one.settings["taps"] == ("conv3d",)
    (found,) = explained.explanations.values()
    assert found.maps.shape == (1, 10, 32, 48)
    assert classifier.class_names[found.class_index[0]] == "catch"
    assert any(note.startswith("summed over") for note in explained.notes)
    path = explained.save(tmp_path / "new" / "overlay.mp4")
    assert probe(path).frames == 10
    whole = classifier.explain(videos / "a.mp4", windows=True)
    assert len(whole.windows) > 1 and len(list(whole.frames())) == probe(videos / "a.mp4").frames
    written = whole.save(tmp_path / "whole.mp4")
    assert (probe(written).frames, probe(written).fps) == (probe(videos / "a.mp4").frames, probe(videos / "a.mp4").fps)
    with pytest.raises(ValueError, match="The model's classes are .*Received: jump"):
        classifier.explain(videos / "a.mp4", class_name="jump")
    with pytest.raises(ValueError, match="tap 'conv9' is not in the model"):
        classifier.explain(videos / "a.mp4", tap="conv9")


def test_features_are_the_mean_of_a_feature_map(classifier, model, videos, clips):
    maps = keras.Model(model[0].inputs, model[0].get_layer("conv3d").output).predict(clips, verbose=0)
    expected = maps.mean(axis=(1, 2, 3))
    for source in (videos, clips):
        np.testing.assert_allclose(classifier.features(source, "conv3d", batch_size=2), expected, atol=1e-5)
    np.testing.assert_allclose(classifier.features(clips), expected, atol=1e-5, err_msg="the last tap by itself")
    folded = classifier.features(clips, "relu_1")
    assert folded.shape[0] == 3 and folded.dtype == np.float32


def test_a_saved_classifier_is_a_keras_file_that_knows_everything(classifier, clips, tmp_path):
    path = classifier.save(tmp_path / "model.keras")
    loaded = Classifier.load(path)
    assert (loaded.class_names, loaded.clip, loaded.provenance) == (
        classifier.class_names, classifier.clip, {"weights": "random", "seed": 0},
    )  # fmt: skip
    np.testing.assert_array_equal(loaded.predict(clips).probabilities, classifier.predict(clips).probabilities)
    plain = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(plain.predict(clips, verbose=0), classifier.model.predict(clips, verbose=0))


def test_a_file_that_says_nothing_has_no_provenance(model, tmp_path):
    path = save_model(model[0], tmp_path / "model.keras", model[1])
    assert Classifier.load(path).provenance == {}
    assert "provenance.json" not in zipfile.ZipFile(path).namelist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_names": ("a", "b")}, "3 outputs need as many names. Received: 2 names"),
        ({"clip": {"stride": "2"}}, "Clips are taken by sampling, short, fit. Received: stride"),
    ],
)
def test_what_does_not_fit_is_refused(model, options, words):
    with pytest.raises(ValueError, match=words):
        Classifier(**{"model": model[0], "class_names": model[1], **options})


def test_a_model_of_pictures_is_refused_where_it_is_asked(tmp_path):
    picture = keras.Input((32, 32, 3), dtype="uint8")
    outputs = keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(keras.layers.Rescaling(1.0)(picture)))
    path = save_model(keras.Model(picture, outputs), tmp_path / "picture.keras", ("a", "b"))
    write_video(tmp_path / "a.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"picture.keras: takes \(None, 32, 32, 3\), not clips"):
        Classifier.load(path).predict(tmp_path / "a.mp4")
