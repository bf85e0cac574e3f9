import json

import keras
import numpy as np
import pytest
from keras import layers

from har_tf.evaluate.confidence import confidence
from har_tf.evaluate.controls import uniform


def brightness(dtype="uint8"):
    """Class 1 has the logit 0.1 x (sum of the first frame - sum of the second)."""
    clip = keras.Input((2, 2, 2, 1), dtype=dtype)
    x = layers.Flatten()(layers.Rescaling(0.1)(clip))
    model = keras.Model(clip, layers.Dense(2, "softmax", use_bias=False)(x))
    model.set_weights([np.outer([1, 1, 1, 1, -1, -1, -1, -1], [0, 1])])
    return model


def chance(logit):
    return 1 / (1 + np.exp(-logit))


def test_drop_and_increase_worked_out_by_hand():
    clips = np.array([[[[10, 6], [4, 0]], [[5, 5], [2, 0]]]], "uint8")[..., None]  # 20 - 12
    first, half = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))
    first[:, 0] = 7  # divided by its largest value: the first frame alone
    half[0, :, 0] = [[2, 1], [2, 1]]  # of the upper rows the left pixels, and half of the right ones: 10 + 3 - 5 - 2.5
    maps = {"first": first, "half": half, "second": first[:, ::-1], "all": uniform((1, 2, 2, 2))}
    found = confidence(brightness(), clips, maps, 1, groups=["a"])
    whole = chance(0.8)
    assert found.probability == pytest.approx([whole])
    # 2.5 is rounded to the even number, as the model takes whole numbers.
    wanted = {"first": chance(2.0), "half": chance(0.1 * (10 + 3 - 5 - 2)), "second": chance(-1.2), "all": whole}
    for name, value in wanted.items():
        assert found.masked[name] == pytest.approx([value], rel=1e-5)
        assert found.drop[name] == pytest.approx([max(whole - value, 0) / whole], abs=1e-6)
    assert {name: value.tolist() for name, value in found.increase.items()} == {
        "first": [1], "half": [0], "second": [0], "all": [0],
    }  # fmt: skip
    row = json.loads(json.dumps(found.as_dict(), allow_nan=False))["maps"]["second"]
    assert row["drop"]["mean"] == pytest.approx(found.drop["second"][0]) and row["increase"]["mean"] == 0


def test_the_rest_may_be_filled_otherwise():
    clips = np.array([[[[10, 6], [4, 0]], [[5, 5], [2, 0]]]], "float32")[..., None]  # its mean is 4
    shown = np.zeros((1, 2, 2, 2))
    shown[:, 0] = 1
    found = confidence(brightness("float32"), clips, {"first": shown}, 1, fill="mean")
    assert found.masked["first"] == pytest.approx([chance(0.1 * (20 - 16))])
    found = confidence(brightness("float32"), clips, {"first": shown}, 1, fill=5)
    assert found.masked["first"] == pytest.approx([chance(0.0)])


def test_a_negative_map_is_no_share():
    with pytest.raises(ValueError, match=r"^maps of 'a' are shares of what is left, 0 or more\. Received: -1$"):
        confidence(brightness(), np.zeros((1, 2, 2, 2, 1), "uint8"), {"a": -uniform((1, 2, 2, 2))})
