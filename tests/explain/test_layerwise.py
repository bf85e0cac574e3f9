import keras
import numpy as np
import pytest
from keras import layers

from har_tf.explain import backward, by_method, cam3d, gradcam, gradient_x_input, layerwise, sum_gradcam


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    clip = keras.Input((4, 8, 8, 3), name="clip")
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="a")(clip)
    x = layers.Conv3D(5, 3, strides=2, padding="same", activation="relu", name="b")(x)
    x = layers.Conv3D(6, 3, padding="same", activation="relu", name="c")(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(x))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).random((2, 4, 8, 8, 3), dtype="float32")


def test_methods_side_by_side_are_each_as_if_alone_and_take_one_pass(model, clips, monkeypatch):
    passes, real = [], backward._function
    monkeypatch.setattr(
        backward,
        "_function",
        lambda model, taps, *rest: passes.append(tuple(tap.name for tap in taps)) or real(model, taps, *rest),
    )
    found = by_method(model, clips, ["3dcam", "gradcam", "sum-gradcam"], taps=["a", "b"], class_index=1)
    assert passes == [("a", "b", "c")], "one pass for what is summed and for the last map"
    assert list(found) == ["Sum 3DCAM", "Grad-CAM c", "Sum Grad-CAM"]
    expected = (
        cam3d(model, clips, ["a", "b"], 1),
        gradcam(model, clips, class_index=1),
        sum_gradcam(model, clips, ["a", "b"], 1),
    )
    for one, other in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(one.maps, other.maps, atol=1e-5)
        assert one.method == other.method


def test_names_to_show(model, clips):
    assert list(by_method(model, clips, ["gradcam"])) == [""]
    assert list(by_method(model, clips, ["3dcam"])) == [""]
    tap = {"early": "a", "late": "c"}
    assert list(by_method(model, clips, ["gradcam"], tap)) == ["early", "late"]
    assert list(by_method(model, clips, ["gradcam", "3dcam"], tap, ["b"])) == [
        "Grad-CAM early",
        "Grad-CAM late",
        "3DCAM",
    ]
    assert list(by_method(model, clips, ["gradcam", "sum-gradcam"], taps=["c"])) == ["Grad-CAM c", "Sum Grad-CAM"]


def test_options_reach_every_method(model, clips):
    options = {"class_index": 2, "counterfactual": True, "normalize": "frame"}
    found = by_method(model, clips, ["gradcam", "3dcam"], pool="spatial", **options)
    for explanation in found.values():
        assert explanation.settings["counterfactual"] is True and explanation.settings["normalize"] == "frame"
        assert explanation.class_index.tolist() == [2, 2]
    assert found["Grad-CAM c"].settings["pool"] == "spatial"
    ranked = by_method(model, clips, ["3dcam"], top=2)[""]
    np.testing.assert_array_equal(ranked.class_index, np.argsort(-model(clips).numpy())[:, :2].ravel())


def test_methods_of_both_kinds_stand_side_by_side_of_one_class(model, clips, monkeypatch):
    methods, by = ["gradient-x-input", "gradcam", "3dcam"], {"tap": {"early": "a", "late": "c"}}
    found = by_method(model, clips, methods, top=2, **by)
    assert list(found) == ["Gradient x input", "Grad-CAM early", "Grad-CAM late", "Sum 3DCAM"]
    order = np.argsort(-model(clips).numpy())[:, :2].ravel()
    for explanation in found.values():
        np.testing.assert_array_equal(explanation.class_index, order)
    alone = gradient_x_input(model, clips, class_index=order[1::2])
    np.testing.assert_allclose(found["Gradient x input"].maps[1::2], alone.maps, atol=1e-5)
    (ranked,) = by_method(model, clips, ["gradient-x-input"], top=2).values()
    np.testing.assert_array_equal(ranked.class_index, order)
    against = by_method(model, clips, methods[:1], counterfactual=True, normalize=None, batch_size=1)[""]
    np.testing.assert_allclose(against.signed, -gradient_x_input(model, clips).signed, atol=1e-5)


def test_options_of_methods(model, clips):
    options = {"gradcam.pool": "spatial", "channels": "max"}
    found = by_method(model, clips, ["gradcam", "3dcam"], options=options)
    assert found["Grad-CAM c"].settings["pool"] == "spatial" and found["Sum 3DCAM"].settings["channels"] == "max"
    np.testing.assert_allclose(found["Sum 3DCAM"].maps, cam3d(model, clips, channels="max").maps, atol=1e-5)
    with pytest.raises(ValueError, match="pool is one for all methods at taps. Received: spatial and spatiotemporal"):
        two = {"gradcam.pool": "spatial", "pool": "spatiotemporal"}
        by_method(model, clips, ["gradcam", "sum-gradcam"], options=two)


def test_a_method_that_was_not_asked_for_is_not_there(model, clips):
    found = layerwise(model, clips, ["a", "c"], methods=["gradcam"])
    np.testing.assert_allclose(found.gradcam("c").maps, gradcam(model, clips).maps, atol=1e-5)
    with pytest.raises(ValueError, match="3dcam needs cam3d.beta, which was not computed: name it in layerwise"):
        found.cam3d()
