import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.models.logits import check_outputs, log_probabilities, logits_of, probabilities
from har_tf.models.pixels import of_pixels
from har_tf.models.saving import load_model

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
    assert (found.activation, found.averaged, found.linear) == (activation, False, activation is None)
    assert [layer.name for layer in found.layers if isinstance(layer, layers.Dense)] == ([dense] if dense else [])
    if activation:
        (tensor,) = found.tensors
        assert tensor._keras_history.operation.name == ("features" if dense else "top")


@pytest.mark.parametrize(
    ("end", "averaged"),
    [
        (lambda x: layers.Flatten()(layers.Dropout(0.5)(layers.Dense(3, activation="softmax")(x))), False),
        (lambda x: layers.Reshape((3,))(layers.Dense(3, activation=tf.nn.softmax)(x)), False),
        (lambda x: layers.Average()([layers.Dense(3, activation="softmax")(x) for _ in range(2)]), True),
        (lambda x: ops.mean(layers.Dense(3, activation="softmax")(layers.RepeatVector(4)(x)), axis=1), True),
    ],
)
def test_logits_behind_other_shapes_and_means(end, averaged):
    found = logits_of(model_of(end))
    assert (found.activation, found.averaged, len(found.tensors)) == ("softmax", averaged, 1)


@pytest.mark.parametrize("activation", [tf.nn.softmax, lambda x: keras.ops.softmax(3 * x)])
def test_an_activation_that_keras_does_not_name_is_taken_for_a_softmax_and_compared(activation):
    assert logits_of(model_of(layers.Dense(3, activation=activation))).activation == "softmax"
    assert logits_of(model_of(layers.Dense(1, activation=activation))).activation == "sigmoid"
    lambda_behind = model_of(lambda x: layers.Lambda(activation)(layers.Dense(3)(x)))
    assert logits_of(lambda_behind).activation == "softmax"


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_an_end_that_makes_no_probabilities_is_refused_by_its_name(activation):
    model = model_of(layers.Dense(3, activation=activation, name="end"))
    for answers in (np.array([[0.5, -0.5, 0]]), np.array([[0.5, 0.5, 0]])):
        with pytest.raises(ValueError, match=r"its end, 'end', .*keras.layers.Softmax\(\)\(model.output\)"):
            probabilities(model, answers)


def test_what_lies_in_0_to_1_is_no_logit_where_the_graph_does_not_say_so():
    heads = model_of(lambda x: layers.Concatenate()([layers.Dense(2, activation="softmax")(x) for _ in range(2)]))
    answers = np.array([[0.25, 0.75, 0.5, 0.5]], "float32")
    np.testing.assert_array_equal(probabilities(heads, answers), answers)
    logits = model_of(lambda x: layers.Concatenate()([layers.Dense(2)(x) for _ in range(2)]))
    np.testing.assert_allclose(probabilities(logits, answers).sum(), 1, atol=1e-6)


@pytest.mark.parametrize("saved", [False, True])
def test_several_logits_of_a_binary_loss_are_a_sigmoid_each(saved, tmp_path):
    model = model_of(layers.Dense(3))
    logits = np.array([[0.0, np.log(3), -np.log(3)]], "float32")
    assert probabilities(model, logits).sum() == pytest.approx(1)
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    np.testing.assert_allclose(probabilities(model, logits), [[0.5, 0.75, 0.25]], atol=1e-6)
    if saved:
        model.save(tmp_path / "model.keras")
        answered, _ = load_model(tmp_path / "model.keras")
    else:
        answered = of_pixels(model)
    answers = answered.predict(np.ones((1, 2, 4, 4, 3)), verbose=0)
    np.testing.assert_allclose(
        answers, 1 / (1 + np.exp(-model.predict(np.ones((1, 2, 4, 4, 3)), verbose=0))), atol=1e-6
    )
    np.testing.assert_array_equal(probabilities(answered, answers), answers)


def test_outputs_become_probabilities():
    logits = np.array([[1.0, 1.0, 1.0], [-50.0, 50.0, 0.0]], "float32")
    softmax = np.array([[1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
    np.testing.assert_allclose(probabilities(model_of(layers.Dense(3)), logits), softmax, atol=1e-6)
    one = probabilities(model_of(layers.Dense(1)), np.array([[0.0], [-np.log(3.0)]]))
    np.testing.assert_allclose(one, [[0.5, 0.5], [0.75, 0.25]], atol=1e-6, err_msg="its absence and its presence")
    same = np.array([[0.25, 0.75, 0.0]], "float32")
    np.testing.assert_array_equal(probabilities(model_of(layers.Dense(3, activation="softmax")), same), same)
    model = model_of(lambda x: layers.Activation("log_softmax")(layers.Dense(3)(x)))
    np.testing.assert_allclose(probabilities(model, np.log([[0.25, 0.5, 0.25]])), [[0.25, 0.5, 0.25]], atol=1e-6)


@pytest.mark.parametrize(
    ("end", "outputs"),
    [
        (layers.Dense(3), [[200.0, 0, -300], [1, 2, 3]]),
        (layers.Dense(3, activation="log_softmax"), [np.log([0.2, 0.3, 0.5])]),
        (layers.Dense(3, activation="softmax"), [[0.2, 0.3, 0.5], [1e-30, 0.5, 0.5]]),
        (layers.Dense(1), [[100.0], [-2]]),
        (layers.Dense(1, activation="sigmoid"), [[0.25], [1e-30]]),
    ],
)
def test_logarithms_of_probabilities(end, outputs):
    model, outputs = model_of(end), np.array(outputs)
    found = log_probabilities(model, outputs.astype("float32"))
    np.testing.assert_allclose(np.exp(found), probabilities(model, outputs), rtol=1e-5, atol=1e-12)
    assert np.isfinite(found).all() and np.allclose(np.exp(found).sum(axis=1), 1)


def test_logarithms_go_further_than_probabilities():
    logits = np.array([[200.0, 0, -300]])
    np.testing.assert_allclose(log_probabilities(model_of(layers.Dense(3)), logits), [[0, -200, -500]])
    np.testing.assert_allclose(log_probabilities(model_of(layers.Dense(1)), [[-100.0]]), [[0, -100]])
    softmax, sigmoid = (layers.Dense(n, activation=name) for n, name in ((3, "softmax"), (1, "sigmoid")))
    assert -88 < log_probabilities(model_of(softmax), [[1.0, 0, 0]])[0, 1] < -87
    assert -17 < log_probabilities(model_of(sigmoid), [[1.0]])[0, 0] < -16  # what float32 tells from 1


def test_a_sigmoid_for_each_class_has_no_distribution():
    model = model_of(layers.Dense(3, activation="sigmoid"))
    with pytest.raises(ValueError, match="answers every class by itself"):
        log_probabilities(model, [[0.9, 0.8, 0.1]])


def test_models_of_several_outputs_or_an_output_a_frame_are_refused():
    clip = keras.Input((2, 4, 4, 3))
    two = keras.Model(
        clip, [layers.Dense(3, name="action")(FEATURES(clip)), layers.Dense(2, name="who")(FEATURES(clip))]
    )
    with pytest.raises(ValueError, match=r"one output \(B, classes\).*Its outputs are action, who"):
        check_outputs(two)
    with pytest.raises(ValueError, match=r"Received: outputs \(None, 4, 3\)"):
        check_outputs(model_of(lambda x: layers.RepeatVector(4)(layers.Dense(3)(x))))
    check_outputs(model_of(layers.Dense(3)))
