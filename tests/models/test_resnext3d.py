"""3D ResNeXt: published counts and sizes, and the answers of the published network, by NumPy and by torch."""

import sys

import keras
import numpy as np
import pytest
from checks import random_clip, trainable

from har_tf.models.googlenet import googlenet
from har_tf.models.resnext3d import ACTIVITYNET_MEAN, resnext3d
from har_tf.models.taps import stages
from har_tf.models.weights import checkpoints
from har_tf.models.weights import resnext3d as published
from har_tf.models.weights.import_weights import import_weights, resnext3d_options

SMALL = {"blocks": (1, 2, 1, 1), "width": 64, "cardinality": 8, "num_classes": 5}
TINY = {"blocks": (1, 1, 2, 1), "width": 32, "cardinality": 4, "num_classes": 3}


def test_parameters_are_the_published_ones():
    model = resnext3d(num_classes=24)
    assert tuple(model.get_layer("layer4").output.shape) == (None, 1, 4, 4, 2048)
    assert model.get_layer("predictions").count_params() == 24 * (2048 + 1)
    assert trainable(model) == 47_521_216 + 24 * (2048 + 1) == 47_570_392
    assert model.count_params() - trainable(model) == 137_856
    for classes, count in ((400, 48_340_816), (101, 47_728_165), (51, 47_625_715)):
        assert 47_521_216 + classes * (2048 + 1) == count


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (112, [(16, 56), (8, 28), (4, 14), (2, 7), (1, 4)]),
        (224, [(16, 112), (8, 56), (4, 28), (2, 14), (1, 7)]),  # Table 1 of the 3DCAM paper, from layer 1 on
    ],
)
def test_stages_and_their_sizes(side, sizes):
    model = resnext3d((16, side, side, 3), **TINY)
    found = {tap.name: tap.shape for tap in stages(model)}
    assert list(found) == ["conv3d_1a_7x7", "layer1", "layer2", "layer3", "layer4"]
    assert [shape[:3] for shape in found.values()] == [(t, n, n) for t, n in sizes]
    assert [shape[3] for shape in found.values()] == [16, 64, 128, 256, 512]
    assert tuple(model.get_layer("maxpool3d_2a_3x3").output.shape[1:4]) == (*sizes[1], sizes[1][1])


@pytest.mark.parametrize(("depth", "blocks"), [(50, [3, 4, 6, 3]), (101, [3, 4, 23, 3]), (152, [3, 8, 36, 3])])
def test_depths(monkeypatch, depth, blocks):
    names = []
    monkeypatch.setattr(sys.modules["har_tf.models.resnext3d"], "_block", lambda x, *_: names.append(_[-2]) or x)
    resnext3d((4, 32, 32, 3), depth=depth)
    assert [sum(name.startswith(f"layer{i}_") for name in names) for i in range(1, 5)] == blocks


def test_sizes_may_stay_open():
    keras.utils.set_random_seed(0)
    model = resnext3d((None, None, None, 3), **TINY)
    fixed = resnext3d((5, 20, 30, 3), **TINY)
    fixed.set_weights(model.get_weights())
    clip = random_clip(2, 5, 20, 30)
    np.testing.assert_allclose(model(clip), fixed(clip), atol=1e-6)


def test_learns_bright_from_dark():
    keras.utils.set_random_seed(0)
    model = resnext3d((4, 16, 16, 3), **{**TINY, "num_classes": 2})
    labels = np.arange(16) % 2
    clips = (random_clip(16, 4, 16, 16) // 2 + 120 * labels[:, None, None, None, None]).astype("uint8")
    # A graph would take longer to be traced than these steps; test_xla.py trains in one.
    model.compile(keras.optimizers.SGD(0.01, 0.9), "sparse_categorical_crossentropy", run_eagerly=True)
    losses = [model.train_on_batch(clips, labels) for _ in range(10)]
    assert losses[-1] < 0.2 < losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 34}, "has depth 50, 101, 152. Received: depth=34"),
        ({"shortcut": "C"}, "of type 'A' or 'B'. Received: shortcut='C'"),
        ({"blocks": (3, 4, 6)}, r"four stages .* Received: blocks=\(3, 4, 6\)"),
        ({"blocks": (3, 4, 0, 3)}, "has a number of blocks"),
        ({"width": 48}, "multiple of 32, .* Received: width=48, cardinality=32"),
        ({"cardinality": 0}, "Received: width=128, cardinality=0"),
        ({"input_shape": (112, 112, 3)}, r"Received: input_shape=\(112, 112, 3\)"),
        ({"input_shape": (16, 112, 112, 2)}, r"width, 3\). Received: input_shape=\(16, 112, 112, 2\)"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        resnext3d(**options)


# --- published weights -----------------------------------------------------------------------------------------------


def state_dict(blocks, width, cardinality, num_classes, shortcut="B", seed=0):
    """Random arrays under the names and in the shapes that the published network has."""
    rng = np.random.default_rng(seed)
    arrays = {}

    def conv(name, filters, channels, size):
        shape = (filters, channels, size, size, size)
        arrays[f"{name}.weight"] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype("float32")

    def norm(name, channels):
        # The deviation is small, so that an epsilon of 0.001 in place of 0.00001 shows.
        for key, low, high in (("weight", 0.05, 0.2), ("bias", -0.2, 0.4)):
            arrays[f"{name}.{key}"] = rng.uniform(low, high, channels).astype("float32")
        for key, low, high in (("running_mean", -0.2, 0.2), ("running_var", 0.01, 0.05)):
            arrays[f"{name}.{key}"] = rng.uniform(low, high, channels).astype("float32")
        arrays[f"{name}.num_batches_tracked"] = np.array(7)

    channels = width // 2
    conv("conv1", channels, 3, 7)
    norm("bn1", channels)
    arrays["bn1.running_var"] *= 5e5  # of pixels up to 255
    for stage, count in enumerate(blocks):
        planes = width * 2**stage
        inner = cardinality * int(planes / 32)
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            conv(f"{name}.conv1", inner, channels, 1)
            norm(f"{name}.bn1", inner)
            conv(f"{name}.conv2", inner, inner // cardinality, 3)
            norm(f"{name}.bn2", inner)
            conv(f"{name}.conv3", 2 * planes, inner, 1)
            norm(f"{name}.bn3", 2 * planes)
            if block == 0 and shortcut == "B":
                conv(f"{name}.downsample.0", 2 * planes, channels, 1)
                norm(f"{name}.downsample.1", 2 * planes)
            channels = 2 * planes
    arrays["fc.weight"] = rng.normal(0, 0.1, (num_classes, channels)).astype("float32")
    arrays["fc.bias"] = rng.normal(0, 0.1, num_classes).astype("float32")
    return arrays


def logits_by_hand(arrays, clip, blocks, shortcut="B"):
    """The published network in NumPy, in float64 and with torch's order of axes (B, C, T, H, W)."""

    def windows(x, size, stride, pad):
        x = np.pad(x, [(0, 0), (0, 0)] + [(pad, pad)] * 3)
        x = np.lib.stride_tricks.sliding_window_view(x, (size,) * 3, (2, 3, 4))
        return x[:, :, :: stride[0], :: stride[1], :: stride[2]]

    def conv(name, x, stride=(1, 1, 1)):
        kernel = arrays[f"{name}.weight"].astype("float64")
        size, groups = kernel.shape[2], x.shape[1] // kernel.shape[1]
        x = windows(x, size, stride, size // 2)
        parts = zip(np.split(x, groups, 1), np.split(kernel, groups), strict=True)
        return np.concatenate([np.einsum("bcthwijk,fcijk->bfthw", a, k, optimize=True) for a, k in parts], 1)

    def norm(name, x):
        weight, bias, mean, variance = (
            arrays[f"{name}.{key}"].astype("float64")[:, None, None, None]
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    def relu(x):
        return np.maximum(x, 0)

    x = clip.transpose(0, 4, 1, 2, 3) - np.reshape([114.7748, 107.7354, 99.4750], (3, 1, 1, 1))
    x = relu(norm("bn1", conv("conv1", x, (1, 2, 2))))
    x = windows(x, 3, (2, 2, 2), 1).max((5, 6, 7))
    for stage, count in enumerate(blocks):
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            stride = (2, 2, 2) if stage and not block else (1, 1, 1)
            y = relu(norm(f"{name}.bn1", conv(f"{name}.conv1", x)))
            y = relu(norm(f"{name}.bn2", conv(f"{name}.conv2", y, stride)))
            y = norm(f"{name}.bn3", conv(f"{name}.conv3", y))
            if not block and shortcut == "B":
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride))
            elif not block:
                x = x[:, :, :: stride[0], :: stride[1], :: stride[2]]
                x = np.pad(x, [(0, 0), (0, y.shape[1] - x.shape[1])] + [(0, 0)] * 3)
            x = relu(x + y)
    return x.mean((2, 3, 4)) @ arrays["fc.weight"].T + arrays["fc.bias"]


def logits(model, clip):
    top = model.get_layer("predictions")
    return np.asarray(keras.Model(model.input, top.input)(clip) @ top.kernel + top.bias)


@pytest.mark.parametrize(
    ("size", "shortcut"), [((8, 32, 32), "B"), ((5, 33, 46), "B"), ((8, 48, 32), "A"), ((7, 37, 31), "A")]
)
def test_answers_of_the_published_network_by_hand(size, shortcut):
    arrays = state_dict(**TINY, shortcut=shortcut)
    clip = random_clip(2, *size)
    model = import_weights(resnext3d((*size, 3), shortcut=shortcut, **TINY), arrays)
    expected = logits_by_hand(arrays, clip, TINY["blocks"], shortcut)
    assert np.ptp(expected, axis=0).min() > 1e-3  # the two clips differ
    np.testing.assert_allclose(logits(model, clip), expected, atol=1e-4)
    odds = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(model(clip), odds / odds.sum(1, keepdims=True), atol=1e-5)


def torch_network(torch, blocks, width, cardinality, num_classes):
    """The network of 3D-ResNets-PyTorch (2018) with the weights of `state_dict`."""
    from benchmarks.networks_torch import ResNeXt3D

    torch.manual_seed(0)
    module = ResNeXt3D(num_classes, blocks, width, cardinality)
    arrays = state_dict(blocks, width, cardinality, num_classes)
    module.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()})
    return module.eval()


def torch_logits(torch, module, clip):
    x = torch.from_numpy((clip - np.array(ACTIVITYNET_MEAN)).astype("float32").transpose(0, 4, 1, 2, 3))
    with torch.no_grad():
        return module(x).numpy()


@pytest.mark.parametrize("size", [(16, 64, 64), (9, 45, 62)])
def test_answers_of_torch(size):
    torch = pytest.importorskip("torch")
    module = torch_network(torch, **SMALL)
    clip = random_clip(2, *size)
    model = import_weights(resnext3d((*size, 3), **SMALL), module.state_dict())
    np.testing.assert_allclose(logits(model, clip), torch_logits(torch, module, clip), atol=1e-4)


def test_the_published_depth_and_a_whole_checkpoint(tmp_path):
    """101 layers, in a file as the training script writes it: with `module.`, the optimiser, numbers and text."""
    torch = pytest.importorskip("torch")
    module = torch_network(torch, (3, 4, 23, 3), 128, 32, 400)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    sum(parameter.sum() for parameter in module.fc.parameters()).backward()  # a momentum, of which there are few
    optimizer.step()
    checkpoint = {
        "epoch": 122,
        "arch": "resnext-101",
        "state_dict": {f"module.{name}": tensor for name, tensor in module.state_dict().items()},
        "optimizer": optimizer.state_dict(),
    }
    assert checkpoint["optimizer"]["state"]
    torch.save(checkpoint, path := tmp_path / "resnext-101-kinetics.pth", _use_new_zipfile_serialization=False)
    clip = random_clip(1, 16, 32, 32)
    model = resnext3d((16, 32, 32, 3), weights=path)
    expected = torch_logits(torch, module, clip)
    np.testing.assert_allclose(logits(model, clip), expected, atol=1e-4 * np.abs(expected).max())
    assert published.options(checkpoints.read(path)) == {
        "blocks": (3, 4, 23, 3), "width": 128, "cardinality": 32, "shortcut": "B", "num_classes": 400,
    }  # fmt: skip


def test_what_the_model_has_not_is_left_out_on_purpose(caplog):
    arrays = {f"module.{name}": array for name, array in state_dict(**TINY).items()}
    model = resnext3d((4, 16, 16, 3), **TINY, include_top=False)
    with caplog.at_level("INFO", logger="har_tf.models.weights.import_weights"):
        import_weights(model, arrays)
    assert "left out on purpose: bn1.num_batches_tracked" in caplog.text
    kernel = model.get_layer("layer1_0_conv2").kernel
    np.testing.assert_array_equal(kernel, arrays["module.layer1.0.conv2.weight"].transpose(2, 3, 4, 1, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("layer2.0.bn2.running_var"), "1 missing: layer2.0.bn2.running_var$"),
        (lambda a: a.update({"layer1.1.conv1.weight": np.zeros(3, "f4")}), "1 unexpected: layer1.1.conv1.weight$"),
        (lambda a: a.update({"bn9.num_batches_tracked": np.array(1)}), "1 unexpected: bn9.num_batches_tracked$"),
        (
            lambda a: a.update({"fc.bias": np.zeros(4, "f4")}),
            r"1 of another shape: fc.bias is \(4,\), not \(3,\)$",
        ),
        (
            lambda a: a.update({"module.fc.bias": np.zeros(3, "f4")}),
            "fc.bias stands in it twice, once as module.fc.bias",
        ),
    ],
)
def test_differences_are_listed_and_nothing_is_changed(change, message):
    model = resnext3d((4, 16, 16, 3), **TINY)
    before = model.get_weights()
    arrays = state_dict(**TINY)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        import_weights(model, arrays)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_other_networks():
    model = resnext3d((4, 16, 16, 3), **TINY)
    with pytest.raises(ValueError, match=r"does not fit resnext3d\(\)\. 15 missing: layer3\.1\.conv1\.weight, "):
        import_weights(model, state_dict(**{**TINY, "blocks": (1, 1, 1, 1)}))
    with pytest.raises(ValueError, match=r"holds resnext3d\(\). Received: a model of googlenet\(variant='bvlc'\)"):
        import_weights(googlenet((32, 32, 3)), state_dict(**TINY))
    with pytest.raises(ValueError, match=r"holds googlenet\(variant='bvlc'\). Received: a model of resnext3d\(\)"):
        import_weights(model, {"conv1/7x7_s2/weights": np.zeros((7, 7, 3, 64), "f4")})


def test_a_file_tells_its_network():
    for options in ({**TINY, "shortcut": "A"}, {**SMALL, "shortcut": "B"}):
        arrays = {f"module.{name}": array for name, array in state_dict(**options).items()}
        assert published.options(checkpoints.from_mapping(arrays)) == options
    with pytest.raises(ValueError, match="no weights of a 3D ResNeXt among a, b"):
        published.options(checkpoints.from_mapping({"a": np.zeros(1), "b": np.zeros(1)}))


def resnet_shapes(bottleneck):
    """A state dict of a ResNet of the same authors and naming, without groups: one block a stage."""
    arrays, channels = {"conv1.weight": (64, 3, 7, 7, 7), "bn1.weight": (64,)}, 64
    for stage in range(4):
        planes, name = 64 * 2**stage, f"layer{stage + 1}.0"
        convs = ((1, planes), (3, planes), (1, 4 * planes)) if bottleneck else ((3, planes), (3, planes))
        for number, (size, filters) in enumerate(convs, start=1):
            arrays[f"{name}.conv{number}.weight"] = (filters, channels, size, size, size)
            arrays[f"{name}.bn{number}.weight"] = (filters,)
            channels = filters
    arrays |= {"fc.weight": (3, channels), "fc.bias": (3,)}
    return {f"module.{name}": np.broadcast_to(np.float32(0), shape) for name, shape in arrays.items()}


@pytest.mark.parametrize(
    ("bottleneck", "what"),
    [(False, "basic blocks, as ResNet-18 and 34"), (True, "bottleneck blocks without groups, as ResNet-50 and 101")],
)
def test_a_plain_resnet_is_called_so(bottleneck, what, tmp_path):
    """The same repository publishes ResNets under the same names."""
    arrays = resnet_shapes(bottleneck)
    message = f"{what} have them, so no 3D ResNeXt. Expected: .* such as resnext-101-kinetics.pth"
    np.savez(file := tmp_path / "resnet.npz", **arrays)
    with pytest.raises(ValueError, match=rf"resnet\.npz: holds {message}"):
        resnext3d_options(file)
    with pytest.raises(ValueError, match=f"state dict: holds {message}"):
        import_weights(resnext3d((4, 16, 16, 3), **TINY), arrays)
