"""What losses take a model's answers for."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, losses

from har_tf.models.logits import probabilities, with_sigmoids
from har_tf.models.losses import Unread, activation_behind, from_config, loss_of, name_of
from har_tf.models.pixels import of_pixels
from har_tf.models.saving import load_model

SIGMOID = losses.BinaryCrossentropy(from_logits=True)


class Weighted(losses.BinaryCrossentropy):
    pass


class Margin(losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred


def own(y_true, y_pred):
    return losses.binary_crossentropy(y_true, y_pred, from_logits=True)


def model_with(loss, outputs=1):
    clip = keras.Input((2, 4, 4, 3), dtype="uint8")
    x = layers.GlobalAveragePooling3D()(layers.Rescaling(1 / 255)(clip))
    ends = [layers.Dense(3, name=name)(x) for name in ("tags", "who")[:outputs]]
    model = keras.Model(clip, ends if outputs > 1 else ends[0])
    model.compile(loss=loss)
    return model


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (None, None), ("binary_crossentropy", None), (losses.binary_crossentropy, None), (losses.Hinge(), None),
        (losses.BinaryCrossentropy(), None),
        (SIGMOID, "sigmoid"), ([SIGMOID], "sigmoid"), ({"tags": SIGMOID}, "sigmoid"),
        (Weighted(from_logits=True), "sigmoid"), (losses.BinaryFocalCrossentropy(from_logits=True), "sigmoid"),
        (losses.SparseCategoricalCrossentropy(from_logits=True), "softmax"),
        (partial(losses.binary_crossentropy, from_logits=True), "sigmoid"),
        (partial(losses.sparse_categorical_crossentropy, from_logits=True), "softmax"), (own, "own"), (Margin(), "own"),
    ],
)  # fmt: skip
def test_the_activation_behind_a_loss(loss, activation):
    model = model_with(loss)
    assert activation_behind(model) == activation
    logits = np.array([[2.0, 0.0, -2.0]], "float32")
    if activation == "own":
        with pytest.raises(ValueError, match=f"trained with the loss '{name_of(model)}', which is not one of Keras"):
            probabilities(model, logits)
    elif activation == "sigmoid":
        assert with_sigmoids(model).predict_on_batch(np.zeros((1, 2, 4, 4, 3), "uint8"))[0] == pytest.approx([0.5] * 3)
    else:
        assert probabilities(model, logits)[0].sum() == pytest.approx(1)


def test_each_output_has_its_own_loss():
    both = model_with({"tags": SIGMOID, "who": losses.CategoricalCrossentropy(from_logits=True)}, outputs=2)
    assert loss_of(both, "tags", 0) is SIGMOID
    assert activation_behind(of_pixels(both, output="who")) == "softmax"
    assert of_pixels(both, output="tags").layers[-1].name == "sigmoid"
    assert loss_of(model_with([None, SIGMOID], outputs=2), place=1) is SIGMOID


@pytest.mark.parametrize("loss", [SIGMOID, [SIGMOID], {"tags": SIGMOID}])
def test_a_saved_loss_is_read(loss, tmp_path):
    model_with(loss).save(tmp_path / "m.keras")
    assert load_model(tmp_path / "m.keras")[0].layers[-1].name == "sigmoid"


def test_a_loss_of_someones_own_in_a_file_is_named_not_run(tmp_path):
    model_with(Weighted(from_logits=True)).save(tmp_path / "m.keras")
    model, _ = load_model(tmp_path / "m.keras")
    assert activation_behind(model) == "own" and name_of(model) == "Weighted"
    assert from_config({"module": "builtins", "class_name": "function", "config": "own"}) == Unread("own")


def test_losses_of_outputs_that_have_keys_of_their_own():
    listed = model_with([None, SIGMOID], outputs=2)
    keyed = keras.Model(listed.input, {"a": listed.outputs[0], "b": listed.outputs[1]})
    keyed.compile(loss={"b": SIGMOID})
    assert of_pixels(keyed, output="b").layers[-1].name == "sigmoid"
    keyed.loss = [None, SIGMOID]  # in the order of its outputs
    assert of_pixels(keyed, output="b").layers[-1].name == "sigmoid"
    assert loss_of(keyed, "a", 0) is None
