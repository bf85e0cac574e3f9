"""`python -m har_tf trust`: refusals that come before the data are scanned and before TensorFlow, and small runs."""

import json
from dataclasses import replace

import pytest

from har_tf import datasets
from har_tf.cli.trust import Options, Trust

FEW = Options(methods="gradient", explained=0, sensitive=0, randomized=0, relied=4, corrupted=0)
NONE = replace(FEW, relied=0)  # but its probabilities


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return datasets.load("figures", tmp_path_factory.mktemp("figures"), clips=20, size=(32, 48), frames=8, workers=0)


@pytest.fixture(scope="module")
def file(tmp_path_factory, drawn):
    """A model of seven of the ten classes, and of three others."""
    from har_tf.classifier import Classifier
    from har_tf.models.zoo import named

    model = named("Frame-CNN").build((4, 32, 48, 3), 10, pool_sizes=(2, 2, 2), filters=(2, 2, 2))
    names = (*drawn.class_names[:7], "a", "b", "c")
    return Classifier(model, names).save(tmp_path_factory.mktemp("model") / "tiny.keras")


def test_what_is_wrong_is_said_before_the_data_are_scanned(tmp_path, file, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("scanned"))
    for model, given, message in (
        (file, {"options": Options(methods="magic")}, "methods are some of"),
        (file, {"options": Options(explained=-1)}, "--explained must be at least 0"),
        (file, {"options": Options(explained=1)}, "--explained compares clips"),
        (file, {"validation": 1.0}, "--validation must be between"),
        (file, {"called": "x"}, "--called takes CLASS OF THE DATA=CLASS OF THE MODEL"),
        (file, {"called": "walk=dance"}, "--called: .*tiny.keras.*dance"),
        (tmp_path / "m.keras", {}, "m.keras: no such model file"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            Trust(model, str(tmp_path / "nowhere"), out=tmp_path / "out", **given).run()


def test_a_saved_model_is_measured_on_the_classes_that_it_has(tmp_path, drawn, file, capsys):
    bad = next(record.path for record in drawn.records if record.label == 0)
    kept = bad.read_bytes()
    bad.write_bytes(b"no video")
    try:
        Trust(file, str(drawn.root), out=tmp_path / "out", workers=0, options=FEW).run()
    finally:
        bad.write_bytes(kept)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    found = results["models"]["tiny"]
    assert (found["clips"], found["left_out"], results["dataset"]["skipped"]) == (13, 6, 1)
    assert found["reliance"]["verdicts"]["order_blind"] is True
    assert (found["trained_here"], found["may_have_trained_on_these"]) == (False, True)
    assert "there are no validation clips" in capsys.readouterr().out


def test_a_model_of_other_classes_or_of_images_is_refused_before_anything_is_measured(tmp_path, drawn, file):
    import keras

    from har_tf import front_door
    from har_tf.classifier import Classifier

    own = Classifier.load(file)
    image = keras.Input((32, 48, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    images = Classifier(keras.Model(image, keras.layers.Dense(10, activation="softmax")(pooled)), drawn.class_names)
    others = Classifier(own.model, [f"other {i}" for i in range(10)])
    rest = drawn.subset(record for record in drawn.records if record.label >= 7)
    for wrong, data, message in (
        (images, drawn, "second: .*on clips. Received: a model of images"),
        (others, drawn, "second: .*has none of its classes .*It has other 0"),
        (own, rest, f"has none of its classes \\({drawn.class_names[7]}, "),
    ):
        with pytest.raises(ValueError, match=message):
            front_door.trust({"first": own, "second": wrong}, data, tmp_path / "out", options=FEW, workers=0)
        with pytest.raises(ValueError, match=message.removeprefix("second: ")):
            wrong.trust(data, options=FEW)
    assert not (tmp_path / "out").exists()


def test_a_classifier_leaves_out_the_classes_that_it_lacks_as_the_command_does(drawn, file, monkeypatch):
    from har_tf.classifier import Classifier
    from har_tf.evaluate import labelled_clips

    read = labelled_clips.read
    monkeypatch.setattr(labelled_clips, "read", lambda part, reading, workers: read(part, reading, workers=0))
    rest = drawn.subset(record for record in drawn.records if record.label >= 7)
    found = Classifier.load(file).trust(drawn, rest, FEW).results
    assert found["clips"] == 14
    assert found["probabilities"]["not_fitted"] == "there are no validation clips"


def test_a_call_that_was_stopped_goes_on_with_the_next_model(tmp_path, drawn, file, monkeypatch):
    from har_tf import front_door
    from har_tf.classifier import Classifier

    def call(seed=0):
        models = {"first": Classifier.load(file), "second": Classifier.load(file)}
        return front_door.trust(models, drawn, tmp_path / "out", options=NONE, workers=0, seed=seed).results["models"]

    measure, asked = front_door.scrutiny.measure, []

    def stopping(*given):
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(*given)

    monkeypatch.setattr(front_door.scrutiny, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        call()
    found = call()
    assert len(asked) == 3, "the first is not measured again"
    assert found["first"]["accuracy"] == found["second"]["accuracy"]
    call(seed=1)
    assert len(asked) == 5, "asked for otherwise, both are"


def test_of_a_saved_model_the_split_says_what_validation_clips_are_for(tmp_path, file, capsys):
    from har_tf import front_door

    data = datasets.load("figures", tmp_path / "figures", clips=40, size=(32, 48), frames=8, workers=0)
    out = tmp_path / "out"
    found = front_door.trust(file, data, out, protocol="group", options=NONE, validation=0.4, workers=0).results
    assert found["split"]["validation_text"].startswith("probabilities calibrated on 40 % of the training part")
    assert "best epoch" not in capsys.readouterr().out
