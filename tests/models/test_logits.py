import keras
import pytest
from keras import layers, ops

from har_tf.models.logits import input_of, logits_of

FEATURES = layers.GlobalAveragePooling3D(name="features")


def model_of(end):
    clip = keras.Input((2, 4, 4, 3))
    return keras.Model(clip, end(FEATURES(clip)))


@pytest.mark.parametrize(
    ("end", "dense", "activation"),
    [
        (layers.Dense(3, activation="softmax", name="top"), "top", "softmax"),
        (lambda x: layers.Softmax()(layers.Dense(3, name="top")(x)), None, "softmax"),
        (lambda x: layers.Activation("log_softmax")(layers.Dense(3, name="top")(x)), None, "log_softmax"),
        (lambda x: ops.sigmoid(layers.Dense(3, name="top")(x)), None, "sigmoid"),
        (lambda x: ops.cast(layers.Softmax()(layers.Dense(3, name="top")(x)), "float16"), None, "softmax"),
        (lambda x: layers.Activation("linear")(layers.Dense(3, name="top")(x)), None, None),
    ],
)
def test_logits_are_found_in_front_of_the_last_activation(end, dense, activation):
    found = logits_of(model_of(end))
    assert found.activation == activation
    assert (found.dense and found.dense.name) == dense
    maker = found.tensor._keras_history.operation.name
    assert maker == ("features" if dense else "top")


def test_another_activation_is_part_of_the_model():
    model = model_of(layers.Dense(3, activation="relu", name="top"))
    found = logits_of(model)
    assert (found.tensor is model.output, found.dense, found.activation) == (True, None, None)
    assert input_of(model.output) is input_of(keras.Model(model.input, model.output).output)
