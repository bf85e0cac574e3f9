"""`Classifier`: what it reads, answers, explains, and keeps in its file."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from har_tf import pipeline
from har_tf.classifier import Classifier
from har_tf.datasets import VideoRecord
from har_tf.datasets.dataset import ActionDataset
from har_tf.evaluate.abstention import Abstention
from har_tf.evaluate.calibration import Calibration
from har_tf.evaluate.conformal import PredictionSets
from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.saving import save_model
from har_tf.video import VideoError, probe, read_clip, write_video
from har_tf.video.reader import read_windows

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


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_answer_over_windows_is_their_mean(classifier, videos, batch_size):
    paths = [videos / "a.mp4", videos / "b.mp4"]
    how = {**HOW, "num_frames": 10, "size": (32, 48)}
    expected = [classifier.predict(read_windows(path, 3, **how)).probabilities.mean(axis=0) for path in paths]
    found = classifier.predict(paths, batch_size, windows=3)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.names == tuple(map(str, paths))
    (row,) = classifier.predict(paths[0], windows=3).probabilities
    np.testing.assert_allclose(row, expected[0], atol=1e-6)
    with pytest.raises(ValueError, match="windows are taken of videos"):
        classifier.predict(np.zeros((1, 10, 32, 48, 3), np.uint8), windows=3)
    uniform = Classifier(classifier.model, classifier.class_names)
    for other, windows in ((uniform, 3), (classifier, 0)):
        with pytest.raises(ValueError, match="windows, at least 1, are of frames that follow each other"):
            other.predict(paths[0], windows=windows)


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


def test_a_batch_that_cannot_be_read_raises_what_reading_it_raises(classifier, videos, tmp_path):
    records = [VideoRecord(videos / "a.mp4", 0), VideoRecord(tmp_path / "none.mp4", 0)]
    with pytest.raises(VideoError, match="none.mp4: no such file"):
        classifier.predict(pipeline.clips(records, 1, num_frames=10, size=(32, 48)))


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


def test_features_of_several_videos_end_at_the_broken_one_with_what_to_do(classifier, videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    with pytest.raises(VideoError, match=r"broken\.mp4: .*; leave it out \(`predict\(...\).skipped` lists all such\)"):
        classifier.features([videos / "a.mp4", broken])


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
    assert (probe(path).frames, probe(path).fps) == (probe(videos / "a.mp4").frames, probe(videos / "a.mp4").fps)
    assert probe(explained.save(tmp_path / "model.mp4", 0.5, "model")).frames == 10
    with pytest.raises(ValueError, match="size is the shorter side of a video's pictures"):
        explained.save(path, frames="model", size=64)
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
        ({"clip": {"stride": "2"}}, "Clips are taken by sampling, short, fit, by. Received: stride"),
    ],
)
def test_what_does_not_fit_is_refused(model, options, words):
    with pytest.raises(ValueError, match=words):
        Classifier(**{"model": model[0], "class_names": model[1], **options})


def test_a_model_of_pictures_reads_pictures(tmp_path):
    keras.utils.set_random_seed(0)
    picture = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 255)(picture))
    outputs = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    path = save_model(keras.Model(picture, outputs), tmp_path / "picture.keras", ("a", "b"))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    write_video(tmp_path / "a.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    loaded = Classifier.load(path)
    expected = loaded.model.predict(pixels[None], verbose=0)
    found = loaded.predict(tmp_path)
    assert found.names == (str(tmp_path / "a.png"),)
    for each in (found, loaded.predict(tmp_path / "a.png"), loaded.predict(pixels)):
        np.testing.assert_allclose(each.probabilities, expected, atol=1e-6)
    explained = loaded.explain(tmp_path / "a.png")
    assert explained.frames.shape == (1, 32, 32, 3)
    assert next(iter(explained.explanations.values())).maps.shape == (1, 1, 32, 32)
    with pytest.raises(VideoError, match="a.mp4: not a picture"):
        loaded.predict(tmp_path / "a.mp4")


def foreign(before=lambda x: x, units=2, activation="softmax", shape=(10, 32, 48, 3)):
    """A model that knows nothing of har_tf."""
    keras.utils.set_random_seed(0)
    clip = keras.Input(shape)
    x = keras.layers.Conv3D(4, 3, activation="relu", name="conv")(before(clip))
    x = keras.layers.Dense(units, activation)(keras.layers.GlobalAveragePooling3D()(x))
    return keras.Model(clip, x)


def test_a_model_that_does_not_show_its_scaling_takes_no_pixels_until_it_is_said(videos, clips, tmp_path):
    model = foreign()
    model.save(tmp_path / "theirs.keras")
    silent = Classifier.load(tmp_path / "theirs.keras")
    scaled = (clips / 255).astype("float32")
    expected = model.predict(scaled, verbose=0)
    for ask in (silent.predict, silent.explain, silent.features):
        for source in (videos / "a.mp4", clips[0]):
            with pytest.raises(ValueError, match="theirs.keras: .*does not show how it wants pixels scaled.* 0..1"):
                ask(source)
    np.testing.assert_allclose(silent.predict(scaled).probabilities, expected, atol=1e-6)
    said = Classifier.load(tmp_path / "theirs.keras", clip={"scaling": "0..1", **HOW})
    np.testing.assert_allclose(said.predict(videos).probabilities, expected, atol=1e-6)
    assert Classifier.load(said.save(tmp_path / "ours.keras")).clip == HOW | {"by": "frame"}
    np.testing.assert_allclose(
        Classifier.load(tmp_path / "ours.keras").predict(videos).probabilities, expected, atol=1e-6
    )
    np.testing.assert_allclose(said.float_model().predict(clips.astype("float32"), verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_has_two_classes(videos, clips, activation, tmp_path):
    model = foreign(keras.layers.Rescaling(1 / 255), 1, activation)
    p = model.predict(clips, verbose=0)[:, 0]
    p = p if activation else 1 / (1 + np.exp(-p))
    single = Classifier(model, ["fire"], HOW)
    assert single.class_names == ("not fire", "fire")
    np.testing.assert_allclose(single.predict(videos).probabilities, np.stack([1 - p, p], axis=1), atol=1e-6)
    for name, wanted in (("fire", p[0]), ("not fire", 1 - p[0]), (None, max(p[0], 1 - p[0]))):
        (found,) = single.explain(videos / "a.mp4", class_name=name).explanations.values()
        assert found.probability[0] == pytest.approx(wanted, abs=1e-6)
    maps = [
        next(iter(single.explain(clips[0], class_name=name, counterfactual=against).explanations.values())).maps
        for name, against in (("fire", False), ("not fire", True))
    ]
    np.testing.assert_allclose(*maps, atol=1e-6, err_msg="what speaks against the one speaks for the other")
    assert single.explain(videos / "a.mp4", windows=True).windows
    assert Classifier.load(single.save(tmp_path / "one.keras")).class_names == ("not fire", "fire")
    with pytest.raises(ValueError, match="1 output needs two names. Received: 3 names"):
        Classifier(model, ["a", "b", "c"])


def test_sizes_that_a_model_leaves_open_are_said(videos, tmp_path):
    model = foreign(keras.layers.Rescaling(1 / 255), shape=(None, None, None, 3))
    model.save(tmp_path / "open.keras")
    with pytest.raises(
        ValueError, match="open.keras: takes clips of .*None.*say how many frames .* by clip=.*--model-size"
    ):
        Classifier.load(tmp_path / "open.keras").predict(videos)
    said = Classifier(model, {"b": 1, "a": 0}, clip={"num_frames": 10, "size": (32, 48)})
    assert said.class_names == ("a", "b"), "a label map is put in order by its numbers"
    assert said.reading == {
        "num_frames": 10,
        "size": (32, 48),
        "sampling": "uniform",
        "short": "repeat_last",
        "fit": "stretch",
        "by": "frame",
    }
    assert Classifier.load(said.save(tmp_path / "said.keras")).predict(videos).probabilities.shape == (3, 2)


def test_a_gradient_tape_of_others_reaches_the_pixels(classifier, clips):
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    network = classifier.float_model()
    np.testing.assert_allclose(
        network.predict(clips.astype("float32"), verbose=0), classifier.predict(clips).probabilities, atol=1e-5
    )
    found = Saliency(network, ReplaceToLinear(), clone=True)(CategoricalScore([1]), clips[:1].astype("float32"))
    assert found.shape == (1, 10, 32, 48) and found.max() > 0


@pytest.fixture(scope="module")
def calibrated(classifier):
    """With a temperature of 0.5, which squares probabilities, and a bound between those of the first two classes."""
    made = Calibration(0.5, 120, 30, PredictionSets(0.9, 0.3, 120, 30), Abstention(0.95, 0.95, 0.6, 120, 80, 79))
    return Classifier(classifier.model, classifier.class_names, HOW, calibration=made)


def test_probabilities_are_calibrated_wherever_they_are_given(calibrated, classifier, videos, clips):
    squares = np.square(classifier.predict(clips).probabilities)
    expected = squares / squares.sum(axis=1, keepdims=True)
    found = calibrated.predict(clips)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(calibrated.predict(videos).probabilities, expected, atol=1e-5)
    names = np.array(classifier.class_names)
    for row, inside in zip(expected, found.sets(), strict=True):
        assert set(inside) == {*names[row >= 0.3], names[row.argmax()]}
    assert found.answered().tolist() == (expected.max(axis=1) >= 0.6).tolist()
    explained, raw = (some.explain(clips[0]) for some in (calibrated, classifier))
    ((one,), (other,)) = explained.explanations.values(), raw.explanations.values()
    np.testing.assert_allclose(one.probability, expected[0].max(), atol=1e-5)
    np.testing.assert_allclose(one.score, other.score, rtol=1e-5)
    np.testing.assert_allclose(one.maps, other.maps, atol=1e-5)
    assert explained.details()["calibration"].endswith(
        "temperature 0.5, fitted on 120 validation clips of 30 recordings"
    )
    assert raw.details()["calibration"] is None


def test_of_windows_each_is_calibrated_and_nothing_is_promised(calibrated, videos):
    how = {**HOW, "num_frames": 10, "size": (32, 48)}
    each = calibrated.predict(read_windows(videos / "a.mp4", 3, **how)).probabilities
    found = calibrated.predict(videos / "a.mp4", windows=3)
    np.testing.assert_allclose(found.probabilities[0], each.mean(axis=0), atol=1e-6)
    assert found.calibration.temperature == 0.5
    for promise in (found.sets, found.answered):
        with pytest.raises(ValueError, match="not means over windows"):
            promise()
    explained = calibrated.explain(videos / "a.mp4", windows=True)
    (one,), frames = explained.explanations.values(), np.stack(list(explained.frames()))
    rows = calibrated.predict(np.stack([frames[i : i + 10] for i in (0, 5, 10, 14)])).probabilities
    chosen = rows[rows.argmax(axis=1) == one.class_index[0]]
    np.testing.assert_allclose(one.probability, chosen[:, one.class_index[0]].mean(), atol=1e-5)


def test_a_file_keeps_the_calibration(calibrated, classifier, clips, tmp_path):
    path = calibrated.save(tmp_path / "a.keras")
    loaded = Classifier.load(path)
    assert loaded.calibration == calibrated.calibration
    np.testing.assert_allclose(loaded.predict(clips).probabilities, calibrated.predict(clips).probabilities, atol=1e-6)
    plain = Classifier.load(path, calibrated=False)
    assert plain.calibration is None
    raw = classifier.predict(clips).probabilities
    np.testing.assert_allclose(plain.predict(clips).probabilities, raw, atol=1e-6)
    np.testing.assert_allclose(keras.models.load_model(path).predict(clips, verbose=0), raw, atol=1e-6)
    with zipfile.ZipFile(plain.save(tmp_path / "b.keras"), "a") as archive:
        archive.writestr("calibration.json", '{"temperature": "hot"}')
    with pytest.raises(ValueError, match="b.keras: a calibration has temperature, clips"):
        Classifier.load(tmp_path / "b.keras")


def test_a_temperature_is_fitted_on_clips_and_on_a_part_of_a_data_set(classifier, videos, clips):
    names, rng = classifier.class_names, np.random.default_rng(0)
    answers = classifier.predict(clips).probabilities
    labels = np.concatenate([rng.choice(3, 12, p=np.sqrt(p) / np.sqrt(p).sum()) for p in answers])
    groups = [str(i) for i in np.arange(36)]
    found = classifier.calibrated(np.repeat(clips, 12, axis=0), labels, groups, coverage=0.9)
    assert found.calibration.recordings == 36 and found.calibration.sets.coverage == 0.9
    assert {"date", "har_tf"} == found.calibration.about.keys()
    assert classifier.calibration is None
    # The same videos as records, whose class names stand in another order.
    paths = [videos / "a.mp4", videos / "b.mp4", videos / "below" / "c.mp4"]
    records = [
        VideoRecord(path, 2 - int(label), group=group)
        for path, label, group in zip(np.repeat(paths, 12), labels, groups, strict=True)
    ]
    part = ActionDataset("part", videos, tuple(records), names[::-1])
    again = classifier.calibrated(part)
    assert again.calibration.temperature == pytest.approx(found.calibration.temperature, rel=1e-3)
    with pytest.raises(ValueError, match="a data set knows labels"):
        classifier.calibrated(part, labels)
    with pytest.raises(ValueError, match="the true class of each clip is needed"):
        classifier.calibrated(clips)
    with pytest.raises(ValueError, match="no sets for these answers"):
        classifier.predict(clips).sets()
