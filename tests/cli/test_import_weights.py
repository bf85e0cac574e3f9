"""python -m har_tf import-weights."""

import re
from dataclasses import replace

import numpy as np
import pytest
from checks import failed, run_command

from har_tf.cli.import_weights import _PUBLISHED, ImportWeights
from har_tf.models.saving import CLIP, clip_settings, load_model


def test_import_weights_writes_the_published_network(shared, tmp_path, capsys):
    import keras

    weights = shared / "weights" / "googlenet_bvlc.npz"
    run_command(ImportWeights("googlenet", weights, tmp_path / "new" / "g.keras", size=(64, 80)))
    assert capsys.readouterr().out.splitlines() == [
        "googlenet, variant bvlc: 6,998,552 parameters",
        str(tmp_path / "new" / "g.keras"),
    ]
    model = keras.models.load_model(tmp_path / "new" / "g.keras")
    assert model.input_shape == (None, 64, 80, 3)
    with np.load(weights) as arrays:
        np.testing.assert_array_equal(model.get_layer("predictions").kernel, arrays["loss3/classifier/weights"])

    run_command(ImportWeights("googlenet", weights, tmp_path / "g.keras", top=False, size=(64, 64)))
    left_out, counted, _ = capsys.readouterr().out.splitlines()
    assert left_out.endswith("left out on purpose: loss3/classifier/weights, loss3/classifier/biases")
    assert counted == "googlenet, variant bvlc: 5,973,552 parameters"


def random_tensors(model, form) -> dict[str, np.ndarray]:
    """A state dict of the published names and shapes."""
    rng = np.random.default_rng(0)
    return {name: rng.random(slot.shape, "f4") for name, slot in form.slots(model, None).items()}


def test_import_weights_builds_the_3d_resnext_that_the_file_holds(tmp_path, capsys):
    import keras

    from har_tf.models.resnext3d import resnext3d
    from har_tf.models.weights.resnext3d import HARA

    small = {"blocks": (1, 1, 1, 1), "width": 32, "num_classes": 5}
    tensors = random_tensors(resnext3d((4, 32, 32, 3), **small), HARA)
    np.savez(file := tmp_path / "resnext.npz", **tensors)
    out = tmp_path / "resnext.keras"
    run_command(ImportWeights("resnext3d", file, out, frames=4, size=(48, 64)))
    assert capsys.readouterr().out.startswith("resnext3d, blocks (1, 1, 1, 1), 5 classes: ")
    model = keras.models.load_model(out)
    assert model.input_shape == (None, 4, 48, 64, 3)
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, tensors["fc.weight"].T)
    assert "holds 5 classes. Received: --num-classes 6" in failed(
        ImportWeights("resnext3d", file, tmp_path / "6.keras", num_classes=6), capsys
    )


def test_import_weights_names_the_classes(tmp_path, capsys):
    """Of torchvision's form, in what its training script saves, which is built as the file says."""
    from har_tf.models.video_swin import video_swin
    from har_tf.models.weights.video_swin import TORCHVISION

    small = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "num_classes": 3}
    tensors = random_tensors(video_swin(input_shape=(2, 16, 16, 3), **small), TORCHVISION)
    np.savez(file := tmp_path / "swin3d.npz", **{f"module.{name}": array for name, array in tensors.items()})
    (names := tmp_path / "labels.txt").write_text("walk\njump high\nécrire\n", encoding="utf-8")
    command = ImportWeights("video_swin", file, tmp_path / "a.keras", class_names=names, frames=2, size=(16, 16))
    run_command(command)
    model, given = load_model(tmp_path / "a.keras")
    assert given == ("walk", "jump high", "écrire")
    assert clip_settings(tmp_path / "a.keras") == CLIP | {"sampling": "strided", "fit": "crop"}
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, tensors["head.weight"].T)
    capsys.readouterr()

    names.write_text("walk\njump\n")
    error = failed(replace(command, out=tmp_path / "b.keras"), capsys)
    assert error == f"error: {names}: 2 class names. Received: a network of 3 classes"
    names.write_text("walk\n\x1b[2J\nrun\n")
    assert f"{names}: class names have no control characters" in failed(command, capsys)
    assert "has no classes" in failed(replace(command, top=False), capsys)
    assert not (tmp_path / "b.keras").exists()


def test_import_weights_builds_the_video_swin_that_the_file_holds(tmp_path, capsys):
    from har_tf.models.video_swin import video_swin
    from har_tf.models.weights.video_swin import MMACTION

    small = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "num_classes": 5}
    tensors = random_tensors(video_swin(input_shape=(2, 16, 16, 3), **small), MMACTION)
    np.savez(file := tmp_path / "swin.npz", **tensors)
    out = tmp_path / "swin.keras"
    run_command(ImportWeights("video_swin", file, out, frames=4, size=(16, 24)))
    assert capsys.readouterr().out.startswith("video_swin, blocks (1, 1, 1, 1), window (8, 7, 7), 5 classes: ")
    model, _ = load_model(out)
    assert model.input_shape == (None, 4, 16, 24, 3)
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, tensors["cls_head.fc_cls.weight"].T)
    assert "holds 5 classes. Received: --num-classes 6" in failed(
        ImportWeights("video_swin", file, tmp_path / "6.keras", num_classes=6), capsys
    )


def test_import_weights_builds_the_i3d_that_the_file_holds(tmp_path, capsys):
    """From a checkpoint, which TensorFlow calls by what its files begin with."""
    import keras
    import tensorflow as tf

    from har_tf.models.i3d import i3d
    from har_tf.models.weights.i3d import TENSORFLOW

    network = i3d((8, 32, 32, 2), 3, "flow", width=1 / 16, batch_norm_scale=False)
    tensors = {f"Flow/inception_i3d/{name}": array for name, array in random_tensors(network, TENSORFLOW).items()}
    file, (keys, values) = tmp_path / "model.ckpt", zip(*sorted(tensors.items()), strict=True)
    tf.raw_ops.SaveV2(prefix=str(file), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=values)
    command = ImportWeights("i3d", file, tmp_path / "i3d.keras", frames=8, size=(32, 32))
    run_command(command)
    assert capsys.readouterr().out.startswith("i3d, flow: ")
    model = keras.models.load_model(tmp_path / "i3d.keras")
    assert model.input_shape == (None, 8, 32, 32, 2)
    taken = {"sampling": "dense", "short": "wrap", "fit": "inner", "by": "25fps"}
    assert clip_settings(tmp_path / "i3d.keras") == taken
    kernel = tensors["Flow/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/w"]
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, kernel)
    command = replace(command, out=tmp_path / "other.keras")
    index = tmp_path / "model.ckpt.index"
    error = failed(replace(command, modality="rgb"), capsys)
    assert error == f"error: {index}: holds flow. Received: --modality rgb"
    error = failed(replace(command, num_classes=400), capsys)
    assert error == f"error: {index}: holds 3 classes. Received: --num-classes 400"
    assert not (tmp_path / "other.keras").exists()


@pytest.mark.parametrize("network", ["googlenet", "resnext3d", "i3d", "video_swin"])
def test_import_weights_says_where_a_missing_file_is_published(network, tmp_path, capsys):
    error = failed(ImportWeights(network, tmp_path / "none.npz", tmp_path / "model.keras"), capsys)
    start = f"error: {tmp_path / 'none.npz'}: no such weights file. {network} is published as "
    assert error.startswith(start)
    assert "\n" not in error
    assert re.findall(r"https?://[^;\s]+", error) == [url for name, _, url in _PUBLISHED if name == network]


def test_import_weights_takes_a_checkpoint_by_the_name_that_tensorflow_gives_it(tmp_path, capsys):
    import tensorflow as tf

    names = ["global_step"]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"), tensor_names=names, shape_and_slices=[""], tensors=[np.zeros(3, "f4")]
    )
    options = {"frames": 16, "size": (64, 64), "num_classes": 3}
    for given in ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        error = failed(ImportWeights("resnext3d", tmp_path / given, tmp_path / "r.keras", **options), capsys)
        assert error == f"error: {tmp_path / 'model.ckpt.index'}: no weights of a 3D ResNeXt among global_step"
    error = failed(ImportWeights("i3d", tmp_path / "other.ckpt", tmp_path / "i.keras"), capsys)
    assert error.startswith(f"error: {tmp_path / 'other.ckpt'}: no such weights file. i3d is published as ")


def test_import_weights_fails_in_one_line_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "g.keras"
    np.savez(other := tmp_path / "other.npz", **{"conv1/7x7_s2/weights": np.zeros((7, 7, 3, 64), "f4")})
    (rubbish := tmp_path / "rubbish.pth").write_text("no weights")
    assert "no such weights file" in failed(ImportWeights("googlenet", tmp_path / "none.npz", out), capsys)
    assert "does not fit googlenet(variant='bvlc'). 115 missing:" in failed(
        ImportWeights("googlenet", other, out), capsys
    )
    assert "rubbish.pth: not a state dict" in failed(ImportWeights("googlenet", rubbish, out), capsys)
    assert "holds googlenet(variant='bvlc')" in failed(
        ImportWeights("googlenet", other, out, variant="batchnorm"), capsys
    )
    for name, change, words in (
        ("i3d", {"variant": "bvlc"}, "--variant is an option of googlenet. Received: i3d"),
        ("resnext3d", {"modality": "flow"}, "--modality is an option of i3d. Received: resnext3d"),
        ("googlenet", {"frames": 16}, "googlenet takes pictures, not clips"),
    ):
        assert words in failed(ImportWeights(name, other, out, **change), capsys)
    assert "end in .keras" in failed(ImportWeights("googlenet", other, tmp_path / "g.h5"), capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.npz", "rubbish.pth"]


def test_the_real_i3d_names_what_it_sees(shared, tmp_path, capsys):
    """On fewer and smaller frames than it was trained on, which it still knows."""
    from har_tf.classifier import Classifier

    weights, out = shared / "weights", tmp_path / "i3d.keras"
    file, names = weights / "i3d_rgb_kinetics400.npz", weights / "kinetics400_labels.txt"
    run_command(ImportWeights("i3d", file, out, class_names=names, frames=32, size=(160, 160)))
    classifier = Classifier.load(out)
    videos = [shared / f"data/ucf10/{name}/v_{name}_g01_c01.avi" for name in ("PlayingViolin", "PullUps")]
    (violin, first), (pulls, second) = (answer[0] for answer in classifier.predict(videos).top(1))
    assert (violin, pulls) == ("playing violin", "pull ups")
    assert min(first, second) > 0.9
