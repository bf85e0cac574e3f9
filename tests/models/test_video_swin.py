"""Video Swin: published counts and sizes, the answers of the published network by torch, and its explanations."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from checks import random_clip

from har_tf.explain import layerwise, stages
from har_tf.models import saving
from har_tf.models.resnext3d import resnext3d
from har_tf.models.taps import find, taps
from har_tf.models.video_swin import video_swin
from har_tf.models.weights import checkpoints
from har_tf.models.weights import video_swin as published
from har_tf.models.weights.import_weights import import_weights, video_swin_options

TINY = {
    "embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window": (2, 3, 3), "num_classes": 3,
}  # fmt: skip
SHAPE = (6, 40, 52, 3)
MAPS = ["patch_embed", "layer1", "layer2", "layer3", "layer4", "norm"]


def randomized(model, seed=0):
    """The model with weights unlike those it starts from, so that nothing can be left out or mixed up."""
    rng = np.random.default_rng(seed)
    arrays = []
    for weight in model.weights:
        spread = 0.3 if len(weight.shape) == 1 else (1 / np.prod(weight.shape[:-1])) ** 0.5
        spread = 0.5 if "table" in weight.path else spread
        arrays.append(rng.normal(1 if weight.path.endswith("gamma") else 0, spread, weight.shape))
    model.set_weights(arrays)
    return model


def logits(model, clip):
    top = model.get_layer("predictions")
    return np.asarray(keras.Model(model.input, top.input)(clip) @ top.kernel + top.bias)


@pytest.fixture(scope="module")
def tiny():
    return randomized(video_swin(input_shape=SHAPE, **TINY))


@pytest.mark.parametrize(
    ("size", "whole", "bare"),
    [("tiny", 28_158_070, 27_850_470), ("small", 49_816_678, 49_509_078), ("base", 88_048_984, 87_638_984)],
)
def test_parameters_are_the_published_ones(monkeypatch, size, whole, bare):
    # Millions of random numbers would take most of the time.
    zeros = staticmethod(lambda shape, dtype=None: np.zeros(shape, "float32"))
    monkeypatch.setattr(keras.initializers.RandomNormal, "__call__", zeros)
    model = video_swin(size, (4, 224, 224, 3) if size == "tiny" else (2, 32, 32, 3))
    assert model.count_params() == sum(weight.shape.num_elements() for weight in model.trainable_weights) == whole
    assert whole - model.get_layer("predictions").count_params() == bare
    if size == "tiny":
        found = {tap.name: tap.shape for tap in taps(model)}
        sizes = [(56, 96), (56, 96), (28, 192), (14, 384), (7, 768), (7, 768)]
        assert [found[name] for name in MAPS] == [(2, side, side, channels) for side, channels in sizes]


def test_drop_path_grows_with_depth():
    model = video_swin(input_shape=SHAPE, drop_path=0.5, **TINY)
    rates = {layer.name: layer.rate for layer in model.layers if "drop_path" in layer.name}
    of_blocks = {"layer1_1": 0.125, "layer2_0": 0.25, "layer3_0": 0.375, "layer4_0": 0.5}
    assert rates == pytest.approx({f"{name}_drop_path{i}": rate for name, rate in of_blocks.items() for i in (1, 2)})
    drop = model.get_layer("layer4_0_drop_path1")
    kept = np.asarray(drop(np.ones((64, 1, 2, 2, 3), "float32"), training=True))
    assert set(np.unique(kept)) == {0, 2}
    assert np.ptp(kept, axis=(1, 2, 3, 4)).max() == 0  # a clip as a whole


def test_survives_saving(tiny, tmp_path):
    """With class names, in a process that has imported nothing but what loads it; `test_every_model` has the rest."""
    clip = random_clip(2, *SHAPE[:3])
    file = saving.save_model(tiny, tmp_path / "named.keras", ["run", "walk", "jump"])
    np.save(tmp_path / "clip.npy", clip)
    script = (
        "import sys, numpy\n"
        "from har_tf.models.saving import load_model\n"
        f"model, names = load_model({str(file)!r})\n"
        "assert names == ('run', 'walk', 'jump')\n"
        f"numpy.save({str(tmp_path / 'answer.npy')!r}, model(numpy.load({str(tmp_path / 'clip.npy')!r})))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), tiny(clip), atol=1e-6)


def test_learns_bright_from_dark_in_half_precision():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = video_swin(input_shape=(4, 16, 16, 3), **{**TINY, "num_classes": 2}, dropout=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("layer1_1_attn").compute_dtype == "float16"
    assert model.get_layer("layer1_1_attn").qkv.compute_dtype == "float16"
    labels = np.arange(16) % 2
    clips = (random_clip(16, 4, 16, 16) // 2 + 120 * labels[:, None, None, None, None]).astype("uint8")
    # A graph would take longer to be traced than these steps.
    model.compile(keras.optimizers.AdamW(5e-3), "sparse_categorical_crossentropy", run_eagerly=True)
    table = model.get_layer("layer1_1_attn").relative_position_bias_table
    before = table.numpy()
    losses = [model.train_on_batch(clips, labels) for _ in range(4)]
    assert losses[-1] < 0.4 < losses[0]
    assert table.dtype == "float32"
    assert np.abs(table - before).max() > 0


def test_taps_are_grids_and_stages_are_those_of_the_network(tiny):
    found = {tap.name: tap.shape for tap in taps(tiny)}
    # 6 x 40 x 52 pixels are 3 x 10 x 13 patches, odd maps are padded before they are merged.
    assert found["patch_embed"] == found["layer1"] == found["layer1_1_attn"] == (3, 10, 13, 8)
    assert found["layer2"] == (3, 5, 7, 16)
    assert found["layer3"] == (3, 3, 4, 32)
    assert found["layer4"] == found["norm"] == (3, 2, 2, 64)
    assert not any("pad" in name or "permute" in name or "drop" in name for name in found)
    assert [tap.name for tap in stages(tiny)] == ["layer1", "layer2", "layer3", "layer4"]
    assert find(tiny).name == "norm"


@pytest.fixture(scope="module")
def explained(tiny):
    """Two clips and what one pass over the model gave at all its maps."""
    clip = random_clip(2, *SHAPE[:3])
    return clip, layerwise(tiny, clip, MAPS, class_index=1)


def test_explanations_are_the_same_after_saving(tiny, explained, tmp_path):
    clip, found = explained
    tiny.save(path := tmp_path / "model.keras")
    again = layerwise(keras.models.load_model(path), clip, MAPS, class_index=1)
    for name in MAPS:
        assert found.gradients[name].shape[1:] == tiny.get_layer(name).output.shape[1:4]
        np.testing.assert_allclose(again.gradcam(name).signed, found.gradcam(name).signed, atol=1e-6)
    summed = found.cam3d(MAPS[1:5])
    assert summed.maps.shape == (2, *SHAPE[:3])
    assert not summed.empty.any()
    np.testing.assert_allclose(again.cam3d(MAPS[1:5]).maps, summed.maps, atol=1e-4)


def test_gradcam_at_the_last_map_adds_up_to_the_logit(tiny, explained):
    """Behind `norm` are an average and a dense layer: the signed map's sum is the logit without its bias."""
    clip, found = explained
    expected = logits(tiny, clip)[:, 1] - tiny.get_layer("predictions").bias[1]
    np.testing.assert_allclose(found.gradcam("norm").signed.sum((1, 2, 3)), expected, atol=1e-4)
    assert np.abs(expected).min() > 1e-2


def test_gradient_at_the_patches_is_the_slope_of_the_logit(tiny, explained):
    """By a finite difference along all channels of the place where the slope is largest."""
    clip, found = explained
    beta = found.gradients["patch_embed"][0]
    place = (0, *np.unravel_index(np.abs(beta).argmax(), beta.shape))
    rest = keras.Model(tiny.get_layer("patch_embed").output, tiny.get_layer("predictions").input)
    grid = np.asarray(keras.Model(tiny.input, tiny.get_layer("patch_embed").output)(clip[:1]))
    step = np.zeros_like(grid)
    step[place] = 0.05
    up, down = (rest(grid + sign * step) @ tiny.get_layer("predictions").kernel for sign in (1, -1))
    assert beta[place[1:]] == pytest.approx(float(up[0, 1] - down[0, 1]) / 0.1, rel=2e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "is of size 'tiny', 'small', 'base'. Received: size='huge'"),
        ({"depths": (2, 2, 6)}, r"four stages .* Received: depths=\(2, 2, 6\)"),
        ({"depths": (2, 0, 6, 2)}, r"Received: depths=\(2, 0, 6, 2\)"),
        ({"num_heads": (3, 6, 12)}, r"num_heads=\(3, 6, 12\)"),
        ({"embed_dim": 40}, r"divide its channels, .* Received: embed_dim=40, num_heads=\(3, 6, 12, 24\)"),
        ({"window": (0, 7, 7)}, r"A window is at least 1 long .* Received: window=\(0, 7, 7\)"),
        ({"patch": (4, 4)}, r"A patch is .* Received: patch=\(4, 4\)"),
        ({"input_shape": (32, 224, 3)}, r"Received: input_shape=\(32, 224, 3\)"),
        ({"input_shape": (32, 224, 224, 1)}, r"width, 3\). Received: input_shape=\(32, 224, 224, 1\)"),
        ({"input_shape": (None, 224, 224, 3)}, r"build a model for each size, .* Received: input_shape=\(None, 224"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        video_swin(**options)


# --- published weights -----------------------------------------------------------------------------------------------


def state_dict(model):
    """The model's weights under their published names and in the shapes of the file, with the buffers."""
    arrays = {}
    for name, slot in published.MMACTION.slots(model, None).items():
        value = np.asarray(slot.variable)
        if value.ndim > 1 and not name.endswith("table"):
            value = value.transpose(-1, -2, *range(value.ndim - 2))  # torch has outputs and inputs first
        front = "" if name.startswith("cls_head") else "backbone."
        arrays[front + name] = value
        if name.endswith("table"):
            places = np.prod(model.get_layer("layer1_0_attn").window)
            arrays[front + name.replace("bias_table", "index")] = np.zeros((places, places), "int64")
    return arrays


def torch_network(torch, options, seed=0):
    """The published network with weights unlike those it starts from."""
    from benchmarks.video_swin_torch import VideoSwin

    torch.manual_seed(seed)
    module = VideoSwin(**options).eval()
    for name, parameter in module.named_parameters():
        spread = 0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        spread = 0.5 if name.endswith("table") else spread
        torch.nn.init.normal_(parameter, 1 if "norm" in name and name.endswith("weight") else 0, spread)
    return module


def torch_logits(torch, module, clip):
    x = (clip - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    with torch.no_grad():
        return module(torch.from_numpy(x.astype("float32").transpose(0, 4, 1, 2, 3).copy())).numpy()


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((8, 48, 48), {}),  # whole windows, moved ones
        ((6, 40, 52), {}),  # every kind of padding
        ((5, 33, 46), {}),  # patches that are not whole
        ((3, 24, 100), {"window": (4, 5, 3)}),  # smaller than the window in time, and then in height
        ((2, 16, 16), {"window": (8, 7, 7), "patch": (1, 2, 4)}),  # one window
    ],
)
def test_answers_of_torch(size, options):
    torch = pytest.importorskip("torch", reason="needs torch, whose answers these are")
    options = {**TINY, **options}
    module = torch_network(torch, options)
    clip = random_clip(2, *size)
    model = import_weights(video_swin(input_shape=(*size, 3), **options), module.state_dict())
    expected = torch_logits(torch, module, clip)
    assert np.ptp(expected, axis=0).max() > 1e-2  # the two clips differ
    np.testing.assert_allclose(logits(model, clip), expected, atol=1e-4)


def test_a_whole_checkpoint_of_the_published_windows(tmp_path):
    """8 x 7 x 7 on 16 x 14 x 14 patches, in a file as the training script writes it."""
    torch = pytest.importorskip("torch", reason="needs torch, which wrote the published files")
    options = {"embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "num_classes": 5}
    module = torch_network(torch, options)
    checkpoint = {"meta": {"epoch": 30, "env_info": "PyTorch: 1.7.1"}, "state_dict": module.state_dict()}
    torch.save(checkpoint, path := tmp_path / "swin.pth")
    clip = random_clip(1, 32, 60, 60)
    told = video_swin_options(path)
    assert told == {**options, "window": (8, 7, 7), "patch": (2, 4, 4)}
    model = video_swin(input_shape=(32, 60, 60, 3), weights=path, **told)
    np.testing.assert_allclose(logits(model, clip), torch_logits(torch, module, clip), atol=1e-4)
    np.testing.assert_allclose(
        model.predict(clip, verbose=0), torch.softmax(torch.from_numpy(torch_logits(torch, module, clip)), 1), atol=1e-5
    )


def test_names_and_what_is_left_out(tiny, caplog):
    arrays = state_dict(tiny)
    assert len(arrays) == 4 + 5 * (1 + 1 + 12) + 3 * 3 + 2 + 2
    for name in ("backbone.layers.2.blocks.0.mlp.fc1.weight", "backbone.layers.0.downsample.reduction.weight",
                 "backbone.patch_embed.norm.bias", "backbone.norm.weight", "cls_head.fc_cls.bias"):  # fmt: skip
        assert name in arrays
    model = video_swin(input_shape=(2, 16, 16, 3), **TINY)  # of another size of clips
    import_weights(model, {f"module.{name}": array for name, array in arrays.items()})
    for old, new in zip(tiny.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # MMAction2's names since version 1, masks as some ports keep them, and a model without classifier.
    arrays["backbone.layers.0.blocks.1.attn_mask"] = np.zeros((4, 18, 18), "float32")
    renamed = {name.replace("backbone.norm.", "backbone.norm3."): array for name, array in arrays.items()}
    bare = video_swin(input_shape=(2, 16, 16, 3), include_top=False, **TINY)
    with caplog.at_level("INFO", logger="har_tf.models.weights.import_weights"):
        import_weights(bare, renamed)
    assert "left out on purpose" in caplog.text
    assert "cls_head.fc_cls.weight" in caplog.text
    np.testing.assert_array_equal(bare.get_layer("norm").gamma, tiny.get_layer("norm").gamma)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("backbone.layers.1.blocks.0.attn.qkv.bias"), "1 missing: layers.1.blocks.0.attn.qkv.bias$"),
        (
            lambda a: a.update({"backbone.layers.1.blocks.1.norm1.weight": np.zeros(16, "f4")}),
            "1 unexpected: layers.1.blocks.1.norm1.weight$",
        ),
        (
            lambda a: a.update({"backbone.layers.3.blocks.1.attn.relative_position_index": np.zeros((18, 18), "i8")}),
            "1 unexpected: layers.3.blocks.1.attn.relative_position_index$",
        ),
        (
            lambda a: a.update({"cls_head.fc_cls.bias": np.zeros(4, "f4")}),
            r"1 of another shape: cls_head.fc_cls.bias is \(4,\), not \(3,\)$",
        ),
        (
            lambda a: a.update({"backbone.layers.0.blocks.0.attn.relative_position_index": np.zeros((392, 392), "i8")}),
            r"its windows have 392 places. Received: a model of window=\(2, 3, 3\)$",
        ),
    ],
)
def test_differences_are_listed_and_nothing_is_changed(tiny, change, message):
    model = video_swin(input_shape=(2, 16, 16, 3), **TINY)
    before = model.get_weights()
    arrays = state_dict(tiny)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        import_weights(model, arrays)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_other_networks(tiny):
    arrays = state_dict(tiny)
    other = video_swin(input_shape=(2, 16, 16, 3), **{**TINY, "depths": (2, 1, 2, 1), "embed_dim": 16})
    with pytest.raises(
        ValueError, match=r"does not fit video_swin\(\)\. 13 missing: layers\.2\.blocks\.1\.norm1"
    ) as error:
        import_weights(other, arrays)
    assert "patch_embed.proj.weight is (8, 3, 2, 4, 4), not (16, 3, 2, 4, 4)" in str(error.value)
    with pytest.raises(ValueError, match=r"holds video_swin\(\). Received: a model of resnext3d\(\)"):
        import_weights(resnext3d((4, 16, 16, 3), width=32, blocks=(1, 1, 1, 1), cardinality=1), arrays)


def test_a_file_tells_its_network(tiny):
    arrays = state_dict(tiny)
    assert published.options(checkpoints.from_mapping(arrays)) == {**TINY, "patch": (2, 4, 4)}


# --- torchvision's names for the same network ------------------------------------------------------------------------


def torchvision_dict(model):
    """The model's weights as torchvision.models.video.swin3d_t names them."""
    rows = {f"layers.{i}.blocks.": f"features.{2 * i}." for i in range(4)}
    rows |= {f"layers.{i}.downsample.": f"features.{2 * i + 1}." for i in range(3)}
    rows |= {"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3", "cls_head.fc_cls": "head", "backbone.": ""}
    renamed = {}
    for name, array in state_dict(model).items():
        for old, new in rows.items():
            name = name.replace(old, new)
        renamed[name] = array
    return renamed


def test_torchvision_s_names_give_equal_answers(tiny):
    arrays = torchvision_dict(tiny)
    for name in ("features.0.1.attn.relative_position_index", "features.1.reduction.weight", "features.6.0.mlp.3.bias",
                 "features.5.norm.weight", "patch_embed.norm.bias", "norm.weight", "head.weight"):  # fmt: skip
        assert name in arrays
    told = published.options(checkpoints.from_mapping(arrays))
    assert told == {**TINY, "patch": (2, 4, 4)}
    clip = random_clip(2, *SHAPE[:3])
    for saved in (
        arrays,
        {"epoch": 3, "model_state_dict": {f"module.{name}": array for name, array in arrays.items()}},
        {"state_dict": {f"model._orig_mod.{name}": array for name, array in arrays.items()}, "hyper": {"lr": 0.1}},
    ):
        model = import_weights(video_swin(input_shape=SHAPE, **told), saved)
        np.testing.assert_array_equal(logits(model, clip), logits(tiny, clip))
    bare = import_weights(video_swin(input_shape=SHAPE, include_top=False, **TINY), arrays)
    np.testing.assert_array_equal(bare.get_layer("norm").gamma, tiny.get_layer("norm").gamma)


def test_differences_are_listed_by_torchvision_s_names(tiny):
    model = video_swin(input_shape=(2, 16, 16, 3), **TINY)
    arrays = torchvision_dict(tiny)
    del arrays["features.2.0.attn.qkv.bias"]
    arrays["features.0.0.attn.relative_position_index"] = np.zeros((18, 18), "i8")
    with pytest.raises(ValueError, match=r"1 missing: features\.2\.0\.attn\.qkv\.bias$"):
        import_weights(model, arrays)
    with pytest.raises(ValueError, match="no weights of a Video Swin among features.0.0.weight"):
        published.options(
            checkpoints.from_mapping({"features.0.0.weight": np.zeros((96, 3, 4, 4), "f4")})
        )  # of pictures


@pytest.mark.parametrize("size", [(8, 48, 48), (5, 33, 46)])
def test_answers_of_torchvision(size, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torchvision, whose answers these are")
    pytest.importorskip("torchvision", reason="needs torchvision, whose answers these are")
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    options = {**TINY, "depths": (2, 2, 1, 1)}
    torch.manual_seed(0)
    names = {"window": "window_size", "patch": "patch_size"}
    theirs = {names.get(key, key): list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    module = SwinTransformer3d(patch_size=[2, 4, 4], **theirs).eval()
    for name, parameter in module.named_parameters():
        spread = 0.3 if parameter.ndim == 1 else 0.5 if name.endswith("table") else parameter[0].numel() ** -0.5
        torch.nn.init.normal_(parameter, 1 if "norm" in name and name.endswith("weight") else 0, spread)
    torch.save({"model_state_dict": module.state_dict(), "epoch": 3}, path := tmp_path / "swin3d.pth")
    told = video_swin_options(path)
    assert told == {**options, "patch": (2, 4, 4)}
    clip = random_clip(2, *size)
    expected = torch_logits(torch, module, clip)
    assert np.ptp(expected, axis=0).max() > 1e-2
    model = video_swin(input_shape=(*size, 3), weights=path, **told)
    np.testing.assert_allclose(logits(model, clip), expected, atol=1e-4)
    for window in ((8, 7, 7), (16, 7, 7), (1, 7, 7)):
        rows = int(np.prod([2 * n - 1 for n in window]))
        assert published._window(rows, None) == published._window(rows, (np.prod(window),)) == window
    with pytest.raises(ValueError, match="bias table of 169 rows, which leaves the window open"):
        published._window(13 * 13, (50,))
    with pytest.raises(ValueError, match="no weights of a Video Swin among a, b"):
        published.options(checkpoints.from_mapping({"a": np.zeros(1), "b": np.zeros(1)}))


def test_a_file_tells_its_size():
    arrays = {"patch_embed.proj.weight": (128, 3, 2, 4, 4), "cls_head.fc_cls.weight": (174, 1024)}
    for stage, (depth, heads) in enumerate(zip((2, 2, 18, 2), (4, 8, 16, 32), strict=True)):
        for block in range(depth):
            arrays[f"layers.{stage}.blocks.{block}.attn.relative_position_bias_table"] = (31 * 13 * 13, heads)
    told = published.options(checkpoints.from_mapping({name: np.zeros(shape) for name, shape in arrays.items()}))
    assert told["size"] == "base"
    assert told["window"] == (16, 7, 7)
    assert told["num_classes"] == 174
