"""A small model on videos that it was not trained on: what is counted, what is shown, and what is refused."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from several_devices import assert_same, results_on

from experiments.zero_shot import KINETICS, Recipe, main
from har_tf.experiment import Data, Output
from har_tf.models.saving import save_model
from har_tf.store.checksums import sealed, unsealed

# Of `miniature`: videos of the three classes are of one grey each, of about these levels.
LEVELS = np.array([42, 112, 182]) / 255
NAMES = ("dark", "grey", "bright")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Of clips of 4 frames, at the level that is nearest."""
    clip = keras.Input((4, 16, 16, 3), dtype="uint8", name="clip")
    x = layers.GlobalAveragePooling3D()(layers.Rescaling(1 / 255)(clip))
    model = keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(x))
    kernel = np.tile(2 * 100 * LEVELS / 3, (3, 1))
    model.get_layer("predictions").set_weights([kernel, -100 * LEVELS**2])
    how = {"sampling": "dense", "short": "wrap", "by": "5fps"}
    return save_model(model, tmp_path_factory.mktemp("model") / "levels.keras", NAMES, how)


@pytest.fixture(scope="module")
def recipe(model_file, miniature, tmp_path_factory):
    first, second, _ = sorted(path.name for path in miniature.iterdir())
    output = Output(out=tmp_path_factory.mktemp("runs"), workers=0)
    # The second is called as another, so that it is never answered; for the third nothing stands.
    return Recipe(Data(data_dir=str(miniature)), output, model_file, f"{first}=dark,{second}=bright", windows=2)


def test_every_sampling_is_counted_and_shown(recipe, capsys):
    main(recipe)
    (folder,) = (recipe.output.out / "zero_shot").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert [row["sampling"] for row in results["rows"]] == ["uniform", "dense", "windows"]
    for row in results["rows"]:
        assert (row["videos"], row["top1"], row["top5"]) == (20, 0.5, 1.0)
        assert [entry["top1"] for entry in row["classes"]] == [1.0, 0.0, None]
        assert [entry["answers"] for entry in row["classes"]] == [[["dark", 10]], [["grey", 10]], [["bright", 10]]]
    assert results["model"]["stands_for"] == {"0": "dark", "1": "bright"}
    assert results["dataset"]["groups"] == 15
    printed = capsys.readouterr().out
    assert "20 of 30 videos" in printed and "grey (10)" in printed
    assert (folder / "report.html").is_file() and (folder / "tables" / "classes.csv").is_file()


def test_figures_are_those_of_one_device(recipe, tmp_path):
    recipe = replace(recipe, output=replace(recipe.output, out=tmp_path))
    assert_same(*(results_on(count, main, recipe) for count in (8, 1)))


def test_a_run_goes_on_from_its_finished_samplings(recipe, monkeypatch):
    main(recipe)
    monkeypatch.setattr("har_tf.classifier.Classifier.answers", lambda *_, **__: pytest.fail("answered again"))
    main(recipe)


def test_answers_of_another_model_and_damaged_ones_are_not_taken(recipe):
    main(recipe)
    (folder,) = (recipe.output.out / "zero_shot").iterdir()
    file = folder / "training" / "dense.json"
    sound = file.read_bytes()
    other = unsealed(sound)
    other["asked"]["weights"] += 1
    other["probabilities"] = {name: [0.0, 0.0, 1.0] for name in other["probabilities"]}
    for content in (sealed(other), sound.replace(b"0.", b"1.", 1), sound[:100], b"["):
        file.write_bytes(content)
        main(recipe)
        assert file.read_bytes().split(b'"seconds"')[0] == sound.split(b'"seconds"')[0]


def test_what_cannot_be_answered_is_refused(recipe, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.keras: no such model; .* import-weights"):
        main(replace(recipe, model=tmp_path / "none.keras"))
    with pytest.raises(ValueError, match="--windows must be at least 1"):
        main(replace(recipe, windows=0))
    with pytest.raises(ValueError, match="not on the embedded ones"):
        main(replace(recipe, data=Data("figures")))
    with pytest.raises(ValueError, match="has no class 'Nothing'"):
        main(replace(recipe, called="Nothing=dark"))
    first = recipe.called.partition("=")[0]
    with pytest.raises(ValueError, match="the model has no class 'darkness'"):
        main(replace(recipe, called=f"{first.upper()}=darkness"))
    with pytest.raises(ValueError, match=r"levels.keras: has no class of .*; --called says which stand for them"):
        main(replace(recipe, called=KINETICS, data=replace(recipe.data, classes="Archery,Biking")))
