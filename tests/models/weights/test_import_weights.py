"""Published checkpoints: strict, harmless, and the same answers as the network they come from."""

import argparse
import collections
import functools
import io
import pathlib
import pickle
import struct
import zipfile

import keras
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from har_tf.models.googlenet import googlenet
from har_tf.models.weights import checkpoints
from har_tf.models.weights import import_weights as importers
from har_tf.models.weights.import_weights import import_weights

CLASSES = 5


@pytest.fixture(scope="module")
def bvlc():
    """One network, filled anew by every test that reads it."""
    return googlenet((64, 64, 3), CLASSES)


def assert_refused(model, source, message):
    """Demands an error, and that the model is as before."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        import_weights(model, source)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@functools.cache
def caffe_arrays(aux=False):
    """{caffe layer: (kernel out x in x h x w, bias)} of bvlc_googlenet, by the rules of its prototxt."""
    classes, rng = CLASSES, np.random.default_rng(0)
    shapes = {"conv1/7x7_s2": (64, 3, 7, 7), "conv2/3x3_reduce": (64, 64, 1, 1), "conv2/3x3": (192, 64, 3, 3)}
    blocks = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    widths = (
        (64, 96, 128, 16, 32, 32),
        (128, 128, 192, 32, 96, 64),
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128),
        (384, 192, 384, 48, 128, 128),
    )
    channels = 192
    for block, (one, three_in, three, five_in, five, pool) in zip(blocks, widths, strict=True):
        name = f"inception_{block}"
        shapes |= {
            f"{name}/1x1": (one, channels, 1, 1),
            f"{name}/3x3_reduce": (three_in, channels, 1, 1),
            f"{name}/3x3": (three, three_in, 3, 3),
            f"{name}/5x5_reduce": (five_in, channels, 1, 1),
            f"{name}/5x5": (five, five_in, 5, 5),
            f"{name}/pool_proj": (pool, channels, 1, 1),
        }
        channels = one + three + five + pool
    shapes["loss3/classifier"] = (classes, 1024)
    if aux:
        for loss, width in (("loss1", 512), ("loss2", 528)):
            shapes |= {f"{loss}/conv": (128, width, 1, 1), f"{loss}/fc": (1024, 2048)}
            shapes[f"{loss}/classifier"] = (classes, 1024)
    return {
        name: (
            rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape).astype("float32"),
            rng.normal(0, 0.1, shape[0]).astype("float32"),
        )
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def caffe():
    """caffe(version) -> NetParameter class with the fields of caffe.proto that matter, made at run time."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    kinds = {"float": 2, "double": 1, "int32": 5, "int64": 3, "string": 9, "message": 11}

    def message(name, *fields):
        proto = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            in_file = kind not in kinds
            added = proto.field.add(name=field, number=number, label=3 if repeated else 1)
            added.type = kinds["message" if in_file else kind]
            if in_file:
                added.type_name = f".caffe.{kind}"
            elif repeated and kind != "string":
                added.options.packed = True

    message("BlobShape", ("dim", 1, "int64", True))
    message(
        "BlobProto",
        *((name, i, "int32", False) for i, name in enumerate(("num", "channels", "height", "width"), start=1)),
        ("data", 5, "float", True),
        ("diff", 6, "float", True),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, "double", True),
    )
    message("LayerParameter", ("name", 1, "string", False), ("type", 2, "string", False), ("blobs", 7, "BlobProto", 1))
    message("V1LayerParameter", ("name", 4, "string", False), ("type", 5, "int32", False), ("blobs", 6, "BlobProto", 1))
    message(
        "NetParameter",
        ("name", 1, "string", False),
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


def write_caffemodel(net_class, path, arrays, old=False, double=False):
    """A file as Caffe writes it: with layers that hold nothing, and gradients beside the weights."""
    net = net_class(name="GoogleNet")
    layers = net.layers if old else net.layer
    layers.add(name="data", type=5 if old else "Data")
    for name, pair in arrays.items():
        layer = layers.add(name=name, type=4 if old else "Convolution")
        for array in pair:
            blob = layer.blobs.add()
            if old:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
            else:
                blob.shape.dim.extend(array.shape)
            (blob.double_data if double else blob.data).extend(array.ravel())
            if not double:
                blob.diff.extend(np.zeros(min(array.size, 10)))
    path.write_bytes(net.SerializeToString())
    return path


def npz_arrays(arrays):
    """What the .npz of the shared weights holds: (h, w, in, out), (in, out)."""
    named = {}
    for name, (kernel, bias) in arrays.items():
        named[f"{name}/weights"] = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        named[f"{name}/biases"] = bias
    return named


def test_npz_and_caffemodels_give_the_same_network(tmp_path, caffe, bvlc):
    arrays = caffe_arrays()
    np.savez(tmp_path / "g.npz", **npz_arrays(arrays))
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    expected = import_weights(bvlc, tmp_path / "g.npz")(image)
    assert np.ptp(expected) > 1e-3
    for name, options in (("new", {}), ("old", {"old": True}), ("double", {"double": True})):
        path = write_caffemodel(caffe, tmp_path / f"{name}.caffemodel", arrays, **options)
        assert importers.googlenet_variant(path) == "bvlc"
        bvlc.set_weights([np.zeros(weight.shape) for weight in bvlc.weights])
        np.testing.assert_array_equal(import_weights(bvlc, path)(image), expected)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path, bvlc):
    np.savez_compressed(tmp_path / "g.npz", zeros=np.zeros(100_000_000, np.uint8))
    with pytest.raises(ValueError, match=r"g.npz: .* unpacks to 100000\d+ bytes, more than 20 times what it has"):
        import_weights(bvlc, tmp_path / "g.npz")


def test_what_the_model_has_not_is_left_out_on_purpose(caplog):
    arrays = npz_arrays(caffe_arrays(aux=True))
    model = googlenet((32, 32, 3), include_top=False)
    with caplog.at_level("INFO", logger="har_tf.models.weights.import_weights"):
        assert import_weights(model, arrays) is model
    assert "left out on purpose: loss3/classifier/weights, loss3/classifier/biases, loss1/conv/weights" in caplog.text
    np.testing.assert_array_equal(model.get_layer("inception_5b_1x1").kernel, arrays["inception_5b/1x1/weights"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("conv2/3x3/biases"), "1 missing: conv2/3x3/biases$"),
        (lambda a: a.update(extra=np.zeros(3, "f4")), "1 unexpected: extra$"),
        (
            lambda a: a.update({"conv2/3x3/biases": np.zeros(191, "f4")}),
            r"1 of another shape: conv2/3x3/biases is \(191,\), not \(192,\)",
        ),
        (
            lambda a: a.update({"loss3/classifier/weights": np.zeros((1024, 6), "f4")}),
            r"loss3/classifier/weights is \(1024, 6\), not \(1024, 5\)",
        ),
        (lambda a: a.update({"conv2/3x3/biases": np.zeros(192, "i4")}), "no floating point: conv2/3x3/biases is int32"),
        (lambda a: a.update({"conv2/3x3/biases": np.full(192, np.nan, "f4")}), "conv2/3x3/biases holds values that"),
        (
            lambda a: [a.pop(k) for k in list(a) if k.startswith("inception")],
            r"108 missing: inception_3a/3x3_reduce/weights, .*, \.\.\. \(98 more\)$",
        ),
    ],
)
def test_differences_are_listed_and_nothing_is_changed(bvlc, change, message):
    arrays = npz_arrays(caffe_arrays())
    change(arrays)
    assert_refused(bvlc, arrays, message)


def test_weights_of_the_other_variant_and_of_other_models(tmp_path, bvlc):
    with pytest.raises(
        ValueError, match=r"holds googlenet\(variant='bvlc'\). Received: .* googlenet\(variant='batchnorm'\)"
    ):
        import_weights(googlenet((32, 32, 3), 5, "batchnorm"), npz_arrays(caffe_arrays()))
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="small")
    with pytest.raises(
        ValueError, match=r"imported into googlenet\(variant='bvlc'\), .* Received: a model called 'small'"
    ):
        import_weights(other, npz_arrays(caffe_arrays()))
    with pytest.raises(FileNotFoundError, match="none.npz: no such weights file"):
        import_weights(other, tmp_path / "none.npz")
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ValueError, match="weights files end in .npz, .caffemodel, .pth, .pt, .index. Received: .bin"):
        import_weights(bvlc, tmp_path / "weights.bin")


def test_keras_files(tmp_path, bvlc):
    """Strict too: of other classes, and without top into a model with one and the other way round."""
    wanted = bvlc.get_weights()
    for name in ("g.weights.h5", "g.keras"):
        path = tmp_path / name
        bvlc.save_weights(path) if name.endswith("h5") else bvlc.save(path)
        bvlc.set_weights([weight + 1 for weight in wanted])
        for ours, expected in zip(import_weights(bvlc, path).get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert importers.googlenet_variant(tmp_path / "g.weights.h5") == "bvlc"
    other = googlenet((32, 32, 3), 6)
    assert_refused(other, tmp_path / "g.weights.h5", r"g\.weights\.h5: not the weights of googlenet")
    bare = googlenet((32, 32, 3), include_top=False)
    assert_refused(bare, tmp_path / "g.weights.h5", "not the weights of googlenet")
    bare.save_weights(tmp_path / "bare.weights.h5")
    assert_refused(bvlc, tmp_path / "bare.weights.h5", "not the weights of googlenet")


# --- files that are damaged or mean harm -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".caffemodel", ".pth"])
@pytest.mark.parametrize("content", [b"", b"\x00", b"not weights at all" * 99, b"PK\x03\x04", b"\xff" * 4096])
def test_rubbish_is_an_error_that_names_the_file(tmp_path, ending, content):
    path = tmp_path / f"rubbish{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"rubbish\{ending}: not a"):
        checkpoints.read(path)


def read_all(path):
    return {name: tensor.read() for name, tensor in checkpoints.read(path).items() if np.prod(tensor.shape) < 1e6}


def test_damaged_files_are_errors_or_the_same_names(tmp_path, caffe):
    """Cut anywhere and with any byte changed: never another exception than ValueError."""
    small = {"conv1/7x7_s2": (np.ones((2, 3, 7, 7), "f4"), np.ones(2, "f4"))}
    files = {
        ".caffemodel": write_caffemodel(caffe, tmp_path / "a.caffemodel", small).read_bytes(),
        ".pth": torch_zip({"a.weight": np.arange(6, dtype="f4").reshape(2, 3)}),
    }
    np.savez(tmp_path / "a.npz", a=np.arange(6, dtype="f4"))
    files[".npz"] = (tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(0)
    failed = 0
    for ending, content in files.items():
        path = tmp_path / f"damaged{ending}"
        for trial in range(200):
            mutated = bytearray(content[: rng.integers(len(content))] if trial % 2 else content)
            for _ in range(min(3, len(mutated))):
                mutated[rng.integers(len(mutated))] = rng.integers(256)
            path.write_bytes(mutated)
            try:
                read_all(path)
            except ValueError as error:
                failed += 1
                assert f"damaged{ending}" in str(error)
    assert failed > 300


def test_a_damaged_head_of_an_array_is_told_though_the_checksum_of_the_archive_fits(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(6, dtype="f4"))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        head = archive.read("a.npy")
    with zipfile.ZipFile(tmp_path / "damaged.npz", "w") as archive:
        archive.writestr("a.npy", head.replace(b", }", b"   "))  # a dict of Python that does not end
    with pytest.raises(ValueError, match=r"damaged.npz: not a .npz file of arrays, or a damaged one"):
        read_all(tmp_path / "damaged.npz")


def test_caffe_lengths_are_not_believed(tmp_path):
    def field(number, content):
        return bytes([number << 3 | 2]) + varint(len(content)) + content

    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    huge = field(7, field(1, varint(2**50))) + field(5, struct.pack("<f", 1))  # a blob of 2^50 values, with one
    layer = field(1, b"conv1/7x7_s2") + field(7, huge)
    for content, message in (
        (bytes([0xA2, 0x06]) + varint(len(layer)) + layer, r"a blob of shape \(1125899906842624,\) has 4 bytes"),
        (bytes([0xA2, 0x06]) + varint(2**60), "a field of 1152921504606846976 bytes, of which 0 are there"),
        (bytes([0xA2, 0x06]) + b"\xff" * 12, "no protobuf number"),
        (bytes([0x0A]) + varint(3) + b"net", "it has no layer with weights"),
    ):
        (path := tmp_path / "a.caffemodel").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            checkpoints.read(path)


def test_npz_of_objects_is_refused(tmp_path, bvlc):
    np.savez(tmp_path / "a.npz", **{"conv1/7x7_s2/weights": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="does not fit|damaged"):
        import_weights(bvlc, tmp_path / "a.npz")


# --- torch files -----------------------------------------------------------------------------------------------------


class Storage:
    """Stands for a storage in the pickles below: pickled as torch's persistent reference."""

    def __init__(self, key, kind, items):
        self.reference = ("storage", kind, key, "cpu", items)


class Named:
    """Stands for torch.FloatStorage and the like: pickled as a global of that name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Writer(pickle._Pickler):
    """Pickles as torch.save does (protocol 2), without torch."""

    def persistent_id(self, value):
        return value.reference if isinstance(value, Storage) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Named):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


def torch_pickle(value):
    buffer = io.BytesIO()
    Writer(buffer, 2).dump(value)
    return buffer.getvalue()


KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


def torch_zip(arrays, value=None):
    """The bytes of a zip that torch.save(arrays) would write."""
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    state, storages = {}, []
    for i, (name, array) in enumerate(arrays.items()):
        kind = Named("torch", KINDS[array.dtype.str[1:]])
        strides = tuple(s // array.itemsize for s in array.strides)
        state[name] = Call(rebuild, Storage(str(i), kind, array.size), 0, array.shape, strides, False, None)
        storages.append(array.tobytes(order="A"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", torch_pickle(state if value is None else value))
        archive.writestr("archive/byteorder", "little")
        for i, raw in enumerate(storages):
            archive.writestr(f"archive/data/{i}", raw)
    return buffer.getvalue()


def test_reads_a_torch_zip_without_torch(tmp_path):
    arrays = {
        "a.weight": np.arange(6, dtype="f4").reshape(2, 3),
        "b": np.arange(6, dtype="f8").reshape(2, 3).T,  # strides of a transposed tensor
        "half": np.arange(3, dtype="f2"),
        "num_batches_tracked": np.array(7, "i8"),
    }
    (path := tmp_path / "a.pth").write_bytes(torch_zip(arrays))
    found = read_all(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_tensors_as_torch_wrote_them_before_0_4_are_read(tmp_path):
    storage = Storage("0", Named("torch", "FloatStorage"), 6)
    value = {"a": Call(Named("torch._utils", "_rebuild_tensor"), storage, 1, (2, 2), (3, 1))}
    (path := tmp_path / "a.pth").write_bytes(torch_zip({"x": np.arange(6, dtype="f4")}, value))
    np.testing.assert_array_equal(read_all(path)["a"], [[1, 2], [4, 5]])


class Evil:
    def __reduce__(self):
        return print, ("run",)


def bad_tensor(offset=0, shape=(2, 3), strides=(3, 1), key="0", kind="FloatStorage", items=6):
    storage = Storage(key, Named("torch", kind), items)
    return {"a": Call(Named("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, None)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Evil(), "refuses to import (builtins|__builtin__).print"),
        ({"a": Call(Named("os", "system"), "true")}, "refuses to import os.system"),
        ({"a": Named("torchvision.models.googlenet", "GoogLeNet")}, r"refuses to import .*; save model.state_dict\(\)"),
        (bad_tensor(offset=1), "does not lie in its storage of 6 items"),
        (bad_tensor(strides=(4, 1)), "does not lie in its storage"),
        (bad_tensor(shape=(2**40, 3)), "does not lie in its storage"),
        (bad_tensor(strides=(-3, 1)), "a tensor without a shape"),
        (bad_tensor(items=7), "storage 0 has 24 bytes, not 28"),
        (bad_tensor(key="../data.pkl"), "archive/data/../data.pkl"),
        (bad_tensor(kind="ComplexFloatStorage"), "refuses to import torch.ComplexFloatStorage"),
        ({"a": 3}, "no dict of tensors"),
        ([1, 2], "no dict of tensors"),
    ],
)
def test_pickles_that_are_no_state_dict_are_refused(tmp_path, capsys, value, message):
    (path := tmp_path / "a.pth").write_bytes(torch_zip({"x": np.arange(6, dtype="f4")}, value))
    with pytest.raises(ValueError, match=message):
        checkpoints.read(path)
    assert not capsys.readouterr().out


def test_state_dicts_are_found_in_what_training_scripts_save(tmp_path):
    """Under any of the usual keys, beside the optimiser's, or as the only dict of tensors."""
    arrays = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "x": np.zeros(2, "f4")}
    path = tmp_path / "a.pth"

    def tensor(key, items):
        storage = Storage(key, Named("torch", "FloatStorage"), items)
        return Call(Named("torch._utils", "_rebuild_tensor_v2"), storage, 0, (items,), (1,), False, None)

    inner = {"a.weight": tensor("0", 6)}
    optimizer = {"state": {0: {"step": tensor("1", 2)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    for wrapped in (
        {
            "model_state_dict": inner,
            "optimizer_state_dict": optimizer,
            "epoch": 3,
            "best": 0.5,
            "ema_state_dict": inner,
        },
        {"model": {"state_dict": inner}, "optimizer": optimizer},
        {"net": inner, "acc": 1.0},
        {"student": inner, "optimizer": optimizer, "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a"))},
        {"model": inner, "best": np.float64(0.5), "seen": collections.defaultdict(list, {"a": [1]}), "kinds": {1, 2}},
    ):
        path.write_bytes(torch_zip(arrays, wrapped))
        assert list(read_all(path)) == ["a.weight"]
    path.write_bytes(torch_zip(arrays, {"generator": inner, "critic": inner}))
    with pytest.raises(ValueError, match="a.pth: .* several state dicts, generator, critic; save the one"):
        checkpoints.read(path)
    endless = {}
    endless["model"] = endless
    path.write_bytes(torch_zip(arrays, endless))
    with pytest.raises(ValueError, match="no dict of tensors"):
        checkpoints.read(path)


def test_compressed_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", torch_pickle({}))
        archive.writestr("archive/data/0", b"\x00" * 10**6)
    with pytest.raises(ValueError, match="compressed"):
        checkpoints.read(tmp_path / "a.pth")


@pytest.mark.parametrize("old", [False, True])
def test_reads_what_torch_writes(tmp_path, old):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "view": base[3:9].reshape(2, 3),
        "transposed": base.reshape(4, 6).T,
        "half": base.half()[:5],
        "bfloat16": (base * 1.37).bfloat16(),
        "parameter": torch.nn.Parameter(base[:4] + 0.5),
        "tracked": torch.tensor(3),
        "expanded": base[:1].expand(3),
        "empty": torch.zeros(0, 4),
        "strided": base[::5],
    }
    path = tmp_path / "a.pth"
    for saved in (state, {"state_dict": state}, {"model": state}):
        torch.save(saved, path, _use_new_zipfile_serialization=not old)
        found = read_all(path)
        assert list(found) == list(state)
        for name, tensor in state.items():
            expected = tensor.detach()
            expected = expected.float() if expected.dtype == torch.bfloat16 else expected
            np.testing.assert_array_equal(found[name], expected.numpy())
            assert found[name].shape == tuple(tensor.shape)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=not old)  # an OrderedDict with metadata
    np.testing.assert_array_equal(read_all(path)["0.weight"], module[0].weight.detach())
    torch.save(module, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match="save model.state_dict"):
        checkpoints.read(path)


def torchvision_googlenet(torch, classes):
    """torchvision's GoogLeNet, written down from its documentation with its names of parts."""
    nn = torch.nn

    class Conv(nn.Module):
        def __init__(self, channels, filters, **options):
            super().__init__()
            self.conv = nn.Conv2d(channels, filters, bias=False, **options)
            self.bn = nn.BatchNorm2d(filters, eps=0.001)

        def forward(self, x):
            return torch.relu(self.bn(self.conv(x)))

    class Inception(nn.Module):
        def __init__(self, channels, one, three_in, three, five_in, five, pool):
            super().__init__()
            self.branch1 = Conv(channels, one, kernel_size=1)
            self.branch2 = nn.Sequential(
                Conv(channels, three_in, kernel_size=1), Conv(three_in, three, kernel_size=3, padding=1)
            )
            self.branch3 = nn.Sequential(
                Conv(channels, five_in, kernel_size=1), Conv(five_in, five, kernel_size=3, padding=1)
            )
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), Conv(channels, pool, kernel_size=1))

        def forward(self, x):
            return torch.cat([branch(x) for branch in (self.branch1, self.branch2, self.branch3, self.branch4)], 1)

    class Aux(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = Conv(channels, 128, kernel_size=1)
            self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, classes)

    class GoogLeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = Conv(3, 64, kernel_size=7, stride=2, padding=3)
            self.conv2 = Conv(64, 64, kernel_size=1)
            self.conv3 = Conv(64, 192, kernel_size=3, padding=1)
            self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
            self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
            self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
            self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
            self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
            self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
            self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
            self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
            self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
            self.aux1, self.aux2 = Aux(512), Aux(528)
            self.fc = nn.Linear(1024, classes)

        def forward(self, x):
            pool = nn.MaxPool2d(3, 2, ceil_mode=True)
            x = pool(self.conv3(self.conv2(pool(self.conv1(x)))))
            x = self.inception4a(pool(self.inception3b(self.inception3a(x))))
            x = self.inception4d(self.inception4c(self.inception4b(x)))
            x = nn.functional.max_pool2d(self.inception4e(x), 2, 2, ceil_mode=True)
            x = self.inception5b(self.inception5a(x))
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    module = GoogLeNet().eval()
    for part in module.modules():  # not what they start from, so that nothing can be left out or mixed up
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 1.6)
            nn.init.uniform_(part.bias, -0.2, 0.4)
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.2, 0.6)
    return module


@pytest.mark.parametrize("size", [(224, 224), (97, 130)])
def test_torchvision_networks_give_torch_s_answers(tmp_path, size):
    torch = pytest.importorskip("torch")
    module = torchvision_googlenet(torch, 7)
    assert sum(p.numel() for n, p in module.named_parameters() if n[:3] != "aux") == 6_624_904 - 993 * 1025
    torch.save(module.state_dict(), path := tmp_path / "googlenet.pth")
    image = np.random.default_rng(2).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = module(torch.from_numpy(image.transpose(0, 3, 1, 2) / np.float32(127.5) - 1))
    assert importers.googlenet_variant(path) == "batchnorm"
    model = import_weights(googlenet((*size, 3), 7, "batchnorm"), path)
    logits, wanted = np.log(model(image)), expected.numpy()
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), atol=1e-4
    )
    bare = import_weights(googlenet((*size, 3), variant="batchnorm", include_top=False), module.state_dict())
    features = keras.Model(model.input, model.get_layer("inception5b").output)
    np.testing.assert_allclose(bare(image), features(image), atol=1e-6)


def test_counters_of_torch_are_left_out_but_not_any_name(tmp_path):
    names = {f"{name}.num_batches_tracked": np.array(1) for name in ("conv1.bn", "inception3a.branch1.bn", "odd.bn")}
    with pytest.raises(
        ValueError, match=r"googlenet\(variant='batchnorm'\)\. 287 missing: .*1 unexpected: odd\.bn\.num"
    ):
        import_weights(googlenet((32, 32, 3), 5, "batchnorm"), names)


def test_damaged_files_of_the_older_layout(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "old.pth"
    state = {"a": torch.arange(6.0), "b": torch.arange(4).half()}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    content, rng, failed = path.read_bytes(), np.random.default_rng(0), 0
    for trial in range(200):
        mutated = bytearray(content[: rng.integers(len(content))] if trial % 2 else content)
        for _ in range(min(3, len(mutated))):
            mutated[rng.integers(len(mutated))] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            read_all(path)
        except ValueError as error:
            failed += 1
            assert "old.pth" in str(error)
    assert failed > 120
