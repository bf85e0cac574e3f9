import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from known_models import Counting, linear

from har_tf.explain.answers import answers_of, classes_to_explain

CLIP = np.array([1.0, 2.0, 3.0, 4.0], "float32").reshape(1, 1, 2, 2, 1)


def answered(model, clips=CLIP):
    answers = answers_of(model, clips)
    scores, probabilities = tf.function(answers.of)(tf.constant(clips))
    return answers.score, scores.numpy()[0], probabilities.numpy()[0]


@pytest.mark.parametrize("softmax", [False, True])
def test_logits_in_front_of_a_softmax_and_where_there_is_none(softmax):
    score, logits, probabilities = answered(linear([[[1, 0], [0, 0.5]]], bias=-1, softmax=softmax))
    assert score == "logit"
    np.testing.assert_allclose(logits, [0, 1 + 2 - 1], atol=1e-6)
    np.testing.assert_allclose(probabilities, [1 / (1 + np.e**2), np.e**2 / (1 + np.e**2)], rtol=1e-5)


def test_one_output_is_the_class_and_its_absence():
    clip = keras.Input((1, 2, 2, 1))
    model = keras.Model(clip, layers.Dense(1, "sigmoid", kernel_initializer="ones")(layers.Flatten()(clip)))
    score, logits, probabilities = answered(model, 0.1 * CLIP)
    assert score == "logit"
    np.testing.assert_allclose(logits, [-1, 1], atol=1e-6)
    np.testing.assert_allclose(probabilities, [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-5)


def test_a_model_without_a_graph_is_called():
    score, logits, _ = answered(Counting([1, 0, 0, 0.5]))
    assert score == "logit"
    np.testing.assert_allclose(logits, [0, 3], atol=1e-6)

    class Probable(Counting):
        def call(self, x, training=False):
            return tf.nn.softmax(super().call(x))

    score, logs, probabilities = answered(Probable([1, 0, 0, 0.5]))
    assert score == "log-probability"
    np.testing.assert_allclose(logs, np.log([1 / (1 + np.e**3), np.e**3 / (1 + np.e**3)]), rtol=1e-5)
    np.testing.assert_allclose(np.exp(logs), probabilities, rtol=1e-5)


class AsItIs(keras.Model):
    """Answers the first pixels of a clip, in a way that cannot be traced."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def call(self, x, training=False):
        return tf.reshape(x, (tf.shape(x)[0], -1))[:, : self.classes]


def of_answers(*answers):
    """float32 clips (B, 1, 2, 2, 1) that `AsItIs` answers so."""
    clips = np.zeros((len(answers), 4), "float32")
    clips[:, : len(answers[0])] = answers
    return clips.reshape(-1, 1, 2, 2, 1)


def test_small_logits_are_no_probabilities():
    score, logits, probabilities = answered(AsItIs(2), of_answers([0.3, 0.4]))
    assert score == "logit"
    np.testing.assert_allclose(logits, [0.3, 0.4])
    np.testing.assert_allclose(probabilities, [1 / (1 + np.exp(0.1)), 1 / (1 + np.exp(-0.1))], rtol=1e-5)
    assert answered(AsItIs(2), of_answers([0.3, 0.7], [0.2, 0.8], [0.9, 0.1]))[0] == "log-probability"
    assert answered(AsItIs(2), of_answers([0.3, 0.7], [0.2, 0.8], [0.9, 0.3]))[0] == "logit"


def test_clips_that_come_later_may_show_that_answers_are_logits():
    model = AsItIs(1)
    first = answers_of(model, of_answers([0.4], [0.9]))
    assert first.score == "log-probability"
    assert answers_of(model, of_answers([0.5])) is first, "what was compiled is kept"
    assert answers_of(model, of_answers([0.5], [1.5])).score == "logit"
    assert answered(model, of_answers([0.4]))[:1] == ("logit",)


def test_what_a_model_refuses_is_told_in_its_own_words():
    class Refuses(keras.Model):
        def call(self, x, training=False):
            if x.shape[2] != 3:
                raise ValueError("clips are 3 pixels high")
            return tf.reshape(x, (tf.shape(x)[0], -1))

    with pytest.raises(ValueError, match="clips are 3 pixels high"):
        answers_of(Refuses(), CLIP)


def test_present_weights_are_read():
    model = linear([[[1, 0], [0, 0]]])
    assert answered(model)[1][1] == 1
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert answered(model)[1][1] == 2


def test_a_model_of_several_inputs_is_refused_by_name():
    one, other = keras.Input((1, 2, 2, 1), name="rgb"), keras.Input((1, 2, 2, 1), name="flow")
    model = keras.Model([one, other], layers.Dense(2)(layers.Flatten()(layers.Add()([one, other]))), name="both")
    with pytest.raises(ValueError, match="model 'both' takes clips for rgb, flow. Only those of a model of one input"):
        answers_of(model, [CLIP, CLIP])


def test_classes_to_explain():
    probabilities = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    assert classes_to_explain(None, probabilities, single=False).tolist() == [1, 0]
    assert classes_to_explain(2, probabilities, single=False).tolist() == [2, 2]
    assert classes_to_explain(None, probabilities[:, :2], single=True).tolist() == [1, 1]
    for wrong in (3, [0, -1], [1], 0.5, [[0, 1]]):
        with pytest.raises(ValueError, match="Received: "):
            classes_to_explain(wrong, probabilities, single=False)
