"""Does this machine's GPU, TPU or CPU compute what the networks mean, and how fast? To be sent with a bug report.

    python -m benchmarks.device_check --out device_check.json
    KERAS_BACKEND=jax python -m benchmarks.device_check           # needs no TensorFlow

Each operation that another device computes by other code is computed on the device and, by Keras' stock layers in
float64, on the CPU; a small edition of each network on the CPU in float32. A row says by how much they differ (outputs
and gradients; of an operation the largest difference over the largest value, of a network the norm of the difference
over the norm), how much is allowed, and how long the device takes. Then: whether a step gives the same bits twice, and
seconds a step of the four video networks at full size, beside PyTorch's where it is installed and sees the same device.

float32 rows are computed without TF32, the 10-bit products of GPUs since Ampere; with it they are rows of their own.
Rows come in order of importance, and the file is written anew after each. What has not begun after `--budget` seconds
is not run, which the row says. The exit code is 1 where a row has FAILED.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np

# How much may differ, by precision: of one operation, of a network's answers, of a network's gradients. Measured on
# correct kernels and rounded up (docs/results.md); a kernel that is off by one place or one group differs by over 0.3.
ALLOWED = {
    "float32": (1e-4, 1e-4, 2e-3),
    "tf32": (3e-3, 1e-2, 6e-2),
    "mixed_float16": (1e-2, 2e-2, 0.1),
    "mixed_bfloat16": (6e-2, 8e-2, 0.3),
}
_NUMBERS = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}  # what a policy computes in
_REPEATS = 5


@dataclass(frozen=True)
class Operation:
    """One operation, as it runs on the device and as stock layers say it.

    Args:
        name: in the table.
        arrays: what both are functions of, in float64; those that are `whole` are not rounded.
        ours, stock: functions that build a function of tensors, under the present dtype policy.
    """

    name: str
    arrays: tuple[np.ndarray, ...]
    ours: Callable[[], Callable]
    stock: Callable[[], Callable]


def operations() -> list[Operation]:
    """The operations that are other code on each device."""
    import keras
    from keras import layers, ops

    from har_tf.models import grouped_conv, padded_conv
    from har_tf.models.max_pooling import max_pool3d
    from har_tf.models.window_attention import WindowAttention

    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape)  # noqa: E731

    def of(function):
        return lambda: function

    def of_graph(build, *shape):
        """A function of a batch and of the weights of what `build` makes of it."""

        def make():
            batch = keras.Input(shape)
            model = keras.Model(batch, build()(batch))
            rest = [variable.value for variable in model.non_trainable_variables]
            return lambda x, *weights: model.stateless_call(list(weights), rest, x, training=True)[0]

        return make

    x, kernel = normal(2, 4, 14, 14, 64), normal(3, 3, 3, 8, 64)
    conv = of(lambda x, k: ops.conv(x, k, 1, "same", "channels_last"))
    strided = of(lambda x, k: ops.conv(x, k, 2, "same", "channels_last"))
    around = [(0, 0), (1, 1), (2, 2), (2, 2), (0, 0)]
    behind_padding = of(lambda x, k: padded_conv.convolve(ops.pad(x, around), k, (1, 1, 1), (1, 1, 1)))
    plain = of(lambda x, k: ops.conv(ops.pad(x, around), k, 1, "same", "channels_last"))
    gru = of_graph(lambda: layers.GRU(32, return_sequences=True), 10, 64)
    norm = of_graph(layers.BatchNormalization, 4, 14, 14, 64)
    pooling = of_graph(lambda: lambda x: max_pool3d(x, 3, 2, "same"), 6, 9, 9, 16)
    attention = of_graph(lambda: WindowAttention(3, (4, 7, 7), shifted=True), 4, 14, 14, 48)
    ties = rng.integers(0, 3, (2, 6, 9, 9, 16)).astype("float64")
    qkv, table = normal(48, 144) / 7, 7 * 13 * 13
    recurrent = [normal(64, 96) / 8, normal(32, 96) / 6, normal(2, 96) / 9]
    return [
        Operation("grouped Conv3D, Keras'", (x, kernel), conv, conv),
        Operation(
            "grouped Conv3D, ours", (x, kernel), of(lambda x, k: grouped_conv.convolve(x, k, 8, 1, "same")), conv
        ),
        Operation("Conv3D", (x, normal(3, 3, 3, 64, 32)), conv, conv),
        Operation("Conv3D 7x7x7, stride 2", (normal(2, 6, 20, 20, 3), normal(7, 7, 7, 3, 32)), strided, strided),
        Operation("Conv3D behind a padding", (x, normal(3, 3, 3, 64, 32)), behind_padding, plain),
        Operation("max pooling with ties", (ties,), pooling, of(first_of_ties)),
        Operation("GRU", (normal(4, 10, 64), *recurrent), gru, gru),
        Operation("BatchNorm, training", (x, normal(64), normal(64)), norm, norm),
        Operation(
            "window attention",
            (normal(2, 4, 14, 14, 48), normal(table, 3), qkv, normal(144) / 9, normal(48, 48) / 7, normal(48) / 9),
            attention,
            attention,
        ),
    ]


def first_of_ties(x):
    """Max pooling 3 by 2, "same", of (2, 6, 9, 9, 16) by a slice for each place of the window.

    Behind `ops.argmax` stands the first of equal values, to which alone the gradient goes.
    """
    from keras import ops

    padded = ops.pad(x, [(0, 0), (0, 1), (1, 1), (1, 1), (0, 0)], constant_values=-1.0)
    places = [
        padded[:, t : t + 5 : 2, i : i + 9 : 2, j : j + 9 : 2] for t in range(3) for i in range(3) for j in range(3)
    ]
    stacked = ops.stack(places, axis=-1)
    return ops.sum(stacked * ops.one_hot(ops.argmax(stacked, axis=-1), 27, dtype=stacked.dtype), axis=-1)


def networks() -> dict[str, tuple[Callable, tuple[int, ...], str | None]]:
    """Small editions of the networks: builder, shape of a batch, and the tap whose gradient is checked."""
    from har_tf import models

    swin = {"embed_dim": 24, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 4, 8), "dropout": 0.0, "drop_path": 0.0}
    narrow = {"blocks": (1, 1, 1, 1), "width": 64, "cardinality": 8}
    return {
        "CNN-GRU": (lambda shape: models.cnn_gru(shape, 5, dropout=0.0), (4, 4, 48, 64, 3), "conv3d"),
        "3D ResNeXt": (lambda shape: models.resnext3d(shape, 5, **narrow), (8, 8, 32, 32, 3), "layer3"),
        "I3D": (lambda shape: models.i3d(shape, 5, width=0.25, dropout=0.0), (8, 8, 32, 32, 3), "mixed_4f"),
        "Video Swin": (lambda shape: models.video_swin("tiny", shape, 5, **swin), (2, 8, 80, 80, 3), "layer3"),
        "GoogLeNet": (lambda shape: models.googlenet(shape, 5), (8, 32, 32, 3), "inception_4e_output"),
    }


class Table:
    """Rows as they come, on the screen and in a file.

    Args:
        out: JSON file, written anew after each row; None: none.
        budget: seconds after which no row begins.
        only: regular expression for the rows that are wanted, in "what, precision".
    """

    def __init__(self, out: Path | None, budget: float, only: str = ""):
        self.content = {"header": {}, "rows": [], "seconds": []}
        self.out, self.budget, self.only, self.start = out, budget, re.compile(only), time.perf_counter()

    def wants(self, *words: str) -> bool:
        return self.only.search(", ".join(words)) is not None

    def row(self, what: str, precision: str, measure: Callable[[], tuple[float, float, float, str]]) -> None:
        """Adds a row; `measure` gives (difference, allowed, milliseconds, what differs most)."""
        if not self.wants(what, precision):
            return
        row = {"what": what, "precision": precision}
        if time.perf_counter() - self.start > self.budget:
            row["verdict"] = "not run: out of time"
        else:
            try:
                difference, allowed, ms, where = measure()
            except Exception as error:  # what a device cannot do is a finding, and the other rows are wanted too
                row["verdict"] = "FAILED: " + f"{type(error).__name__}: {error}".split("\n")[0][:200]
            else:
                row |= {"difference": difference, "allowed": allowed, "ms": ms, "where": where}
                row["verdict"] = "ok" if difference <= allowed else "FAILED"
        self.content["rows"].append(row)
        figures = ""
        if "difference" in row:
            figures = f"{row['difference']:10.1e} {row['allowed']:8.0e} {row['ms']:10.2f} ms  {row['where']}"
        self.say(f"{what:34} {precision:15} {row['verdict']:7} {figures}")

    def seconds(self, network: str, what: str, precision: str, measure: Callable[[], float]) -> None:
        """Adds the seconds of a step."""
        if not self.wants(network, what, precision):
            return
        row = {"network": network, "what": what, "precision": precision}
        if time.perf_counter() - self.start > self.budget:
            row["verdict"] = "not run: out of time"
        else:
            begun = time.perf_counter()
            try:
                row["seconds"] = measure()
            except Exception as error:
                row["verdict"] = f"not run: {type(error).__name__}: {error}".split("\n")[0][:200]
            row["compiled and measured in"] = time.perf_counter() - begun
        self.content["seconds"].append(row)
        figure = f"{row['seconds'] * 1000:10.2f} ms" if "seconds" in row else row["verdict"]
        self.say(f"{network:16} {what:34} {precision:15} {figure}")

    def say(self, line: str) -> None:
        print(f"{time.perf_counter() - self.start:6.1f} s  {line}", flush=True)
        if self.out:
            part = self.out.with_name(self.out.name + ".part")
            part.write_text(json.dumps(self.content, indent=1) + "\n")
            part.replace(self.out)


class Truth:
    """What float64 on the CPU makes of an operation.

    Its arrays are rounded to bfloat16, so that every precision is given the same numbers.
    """

    def __init__(self, operation: Operation):
        import ml_dtypes  # noqa: F401  NumPy's bfloat16

        from benchmarks import engine

        rounded = lambda array: array.astype("bfloat16").astype("float64")  # noqa: E731
        self.operation, self.arrays = operation, [rounded(array) for array in operation.arrays]
        with engine.in_float64():
            function = operation.stock()
            shape = engine.compiled(function, cpu=True)(*engine.placed(self.arrays, cpu=True)).shape
            self.weights = rounded(np.random.default_rng(1).normal(size=shape))
            self.expected = self.with_gradients(function, "float64", cpu=True)()

    def with_gradients(self, function: Callable, dtype: str, **options) -> Callable:
        """A compiled function of nothing to the output, and its gradient by each array."""
        from keras import ops

        from benchmarks import engine

        def run(weights, *arrays):
            return engine.pulled_back(function, [ops.cast(array, dtype) for array in arrays], weights)

        run = engine.compiled(run, **options)
        arrays = [
            array.astype("float64" if dtype == "float64" else "float32") for array in (self.weights, *self.arrays)
        ]
        given = engine.placed(arrays, options.get("cpu", False))
        return lambda: run(*given)

    def check(self, precision: str):
        """(difference, allowed, ms, where) of what the device makes of it."""
        with policy(precision):
            run = self.with_gradients(
                self.operation.ours(), _NUMBERS.get(precision, "float32"), tf32=precision == "tf32"
            )
            differences = [apart(found, expected) for found, expected in zip(run(), self.expected, strict=True)]
            ms = 1000 * median_seconds(run)
        worst = int(np.argmax(differences))
        where = f"gradient of argument {worst - 1}" if worst else "output"
        return differences[worst], ALLOWED[precision][0], ms, where


def apart(found, expected) -> float:
    """The largest difference over the largest value; infinity where one is no number."""
    found, expected = numbers(found), numbers(expected)
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)
    return float(difference) if np.isfinite(difference) else float("inf")


def numbers(tensor) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype("float64")


def policy(precision: str):
    """A context in which layers are built of this precision."""
    import contextlib

    import keras

    @contextlib.contextmanager
    def set_policy():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision if precision in _NUMBERS else "float32")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    return set_policy()


class Network:
    """A small network, its batch, and what the CPU makes of it in float32.

    (Not in float64, whose convolutions XLA compiles for minutes, and in which TensorFlow has no average pooling.)

    Args:
        name: of `networks`.
        training: whether a training step is wanted of it too.
        truth: weights and expected values, where another process computed them.
    """

    def __init__(self, name: str, training: bool, truth: tuple[list, dict] | None = None):
        import keras

        build, shape, self.tap = networks()[name]
        self.name, self.build = name, lambda: built(build, shape)
        rng = np.random.default_rng(2)
        self.clips = rng.integers(0, 256, shape, dtype="uint8")
        self.labels = rng.integers(0, 5, shape[0]).astype("int32")
        if truth is None:
            keras.utils.set_random_seed(0)
            with policy("float32"):
                self.weights = self.build().get_weights()
                found = self.everything(self.trains and training, cpu=True)()
            truth = self.weights, {name: list(map(numbers, parts)) for name, parts in found.items()}
        self.weights, self.expected = truth

    def everything(self, training: bool, **options):
        """A compiled function of nothing to {what: tensors}, under the present policy.

        Args:
            training: whether the last two are of a training step, beside the answers and gradients of prediction. The
                batch is small, and BatchNorm's variance of few values makes those ill-conditioned: half precision would
                differ by tens of percent wherever it is computed.

        Of float16, gradients and loss are multiplied by 1024, without which small gradients vanish.
        """
        import keras
        from keras import ops

        from benchmarks import engine

        model = self.build()
        place = {id(variable): i for i, variable in enumerate(model.weights)}
        trained = [place[id(variable)] for variable in model.trainable_variables]
        head = model.get_layer("predictions")
        front = keras.Model(model.input, model.get_layer(self.tap).output)
        back = keras.Model(front.output, head.input)
        scale = self.scale()

        def called(part, weights, x, training=False):
            variables = (part.trainable_variables, part.non_trainable_variables)
            values = [[weights[place[id(v)]] if id(v) in place else v.value for v in part] for part in variables]
            return part.stateless_call(*values, x, training=training)[0]

        def run(weights, clips, labels):
            def logits(feature):
                x = ops.cast(called(back, weights, feature), head.variable_dtype)
                return ops.matmul(x, weights[place[id(head.kernel)]]) + weights[place[id(head.bias)]]

            def loss(variables, training):
                values = dict(enumerate(weights)) | dict(zip(trained, variables, strict=True))
                return scale * engine.cross_entropy(labels, called(model, values, clips, training)), ()

            chosen = ops.one_hot(labels, 5, dtype=head.variable_dtype) * scale
            answers, gradient = engine.pulled_back(logits, [called(front, weights, clips)], chosen)
            found = {"logits": [answers], "gradient at the tap": [gradient]}
            for mode in (False, True) if training else (False,):
                (value, _), gradients = engine.loss_and_gradients(
                    lambda variables, mode=mode: loss(variables, mode), [weights[i] for i in trained]
                )
                where = "in training" if mode else "in prediction"
                found |= {f"loss {where}": [value], f"gradients of the weights {where}": gradients}
            return found

        function = engine.compiled(run, **options)
        given = engine.placed([self.weights, self.clips, self.labels], options.get("cpu", False))
        return lambda: function(*given)

    @property
    def trains(self) -> bool:
        """Whether a training step has one answer: GoogLeNet's dropout draws other masks on each device."""
        return self.name != "GoogLeNet"

    @staticmethod
    def scale() -> float:
        import keras

        return 1024.0 if keras.config.dtype_policy().name == "mixed_float16" else 1.0

    def check(self, precision: str, **options):
        """(difference, allowed, ms, where) of the quantity that comes nearest to what is allowed, or passes it."""
        with policy(precision):
            training = "loss in training" in self.expected and precision == "float32"
            run = self.everything(training, tf32=precision == "tf32", **options)
            scale = self.scale()
            found = {name: [numbers(x) / scale for x in parts] for name, parts in run().items()}
            found["logits"] = [x * scale for x in found["logits"]]
            ms = 1000 * median_seconds(run)
        _, answers, gradients = ALLOWED[precision]
        worst = None
        for name in found:
            allowed = gradients if name.startswith("gradient") else answers
            difference = norm_apart(found[name], self.expected[name])
            if worst is None or not difference / allowed <= worst[0] / worst[1]:
                worst = (difference, allowed, ms, name)
        return worst


def norm_apart(found, expected) -> float:
    """The norm of the difference of several arrays over their norm: single gradients may be zero but for rounding."""
    square = lambda arrays: sum(float((array**2).sum()) for array in arrays)  # noqa: E731
    difference = (square([a - b for a, b in zip(found, expected, strict=True)]) / max(square(expected), 1e-60)) ** 0.5
    return difference if np.isfinite(difference) else float("inf")


def median_seconds(run: Callable) -> float:
    """Seconds a call, of rounds of calls that do not wait for each other."""
    from benchmarks import engine

    rounds, count = [], 1
    for _ in range(1 + _REPEATS):
        start = time.perf_counter()
        for _ in range(count):
            outputs = run()
        engine.wait(outputs)
        rounds.append((time.perf_counter() - start) / count)
        if rounds[-1] > 0.5:
            return rounds[-1]
        count = max(1, min(20, round(0.05 / rounds[-1])))
    return statistics.median(rounds[1:])


def truth_of(name: str, training: bool) -> tuple[list, dict]:
    """Weights of a network and what the CPU makes of it, in a process that sees no accelerator."""
    network = Network(name, training)
    return network.weights, network.expected


def truths_beside(training: dict[str, bool]) -> dict[str, Callable]:
    """The truths of networks, with a training step or without, as processes compute them beside this one."""
    hidden = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    count = max(1, min(len(training), len(os.sched_getaffinity(0)) // 3))
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
    with mock.patch.dict(os.environ, hidden):  # which the processes inherit where they start, at their first work
        work = {name: pool.submit(truth_of, name, trains) for name, trains in training.items()}
    pool.shutdown(wait=False)
    return {name: future.result for name, future in work.items()}


def check_maps(network: Network):
    """A row for Grad-CAM and 3DCAM of the same classes, on the device and on the CPU."""
    from benchmarks import engine
    from har_tf.explain import cam3d, gradcam

    with policy("float32"):
        model = network.build()
    model.set_weights(network.weights)
    methods = {
        "Grad-CAM": lambda: gradcam(model, network.clips, network.tap, network.labels, normalize=None).maps,
        "3DCAM": lambda: cam3d(model, network.clips, [network.tap], network.labels, normalize=None).maps,
    }
    with engine.on_cpu():
        expected = {name: method() for name, method in methods.items()}
    differences = {name: apart(method(), expected[name]) for name, method in methods.items()}
    start = time.perf_counter()
    methods["3DCAM"]()
    where = max(differences, key=differences.get)
    return differences[where], ALLOWED["float32"][2], 1000 * (time.perf_counter() - start), where


def check_bits(network: Network, deterministic: bool):
    """A row that says whether four calls give the same bits; a difference is allowed where nobody asked for none."""
    with policy("float32"):
        run = network.everything(True, tf32=True, deterministic=deterministic)
        first = [numbers(x) for parts in run().values() for x in parts]
        differs, ms = 0.0, 1000 * median_seconds(run)
        for _ in range(3):
            again = [numbers(x) for parts in run().values() for x in parts]
            differs = max(differs, *(float(np.abs(a - b).max()) for a, b in zip(first, again, strict=True)))
    return differs, 0.0 if deterministic else float("inf"), ms, "four calls" if differs else "four calls, equal bits"


def video_networks() -> dict[str, tuple[Callable, tuple[int, ...], Callable]]:
    """The video networks at full size: builder, shape of a batch, and a builder of the same network in PyTorch."""
    from har_tf import models

    def by_torch(name, *arguments):
        def build():
            from benchmarks import networks_torch, video_swin_torch

            return getattr(video_swin_torch if name == "VideoSwin" else networks_torch, name)(*arguments)

        return build

    swin = {"dropout": 0.0, "drop_path": 0.0}
    return {
        "3D ResNeXt-50": (
            lambda shape: models.resnext3d(shape, 400, depth=50), (2, 16, 112, 112, 3), by_torch("ResNeXt3D")
        ),
        "I3D": (lambda shape: models.i3d(shape, 400, dropout=0.0), (2, 16, 224, 224, 3), by_torch("I3D")),
        "CNN-GRU": (lambda shape: models.cnn_gru(shape, 10, dropout=0.0), (8, 10, 128, 192, 3), by_torch("CnnGru")),
        "Video Swin-T": (
            lambda shape: models.video_swin("tiny", shape, **swin), (2, 8, 112, 112, 3), by_torch("VideoSwin")
        ),
    }  # fmt: skip


def seconds_a_step(step: Callable, wait: Callable, aim=0.5) -> float:
    """The mean of steps that are started one after the other for some half a second, after two that warm up."""
    for _ in range(2):
        start = time.perf_counter()
        step()
        wait()
        seconds = time.perf_counter() - start
    if seconds > aim:
        return seconds
    count = max(3, min(200, round(aim / seconds)))
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return (time.perf_counter() - start) / count


def ours(build: Callable, shape: tuple[int, ...], precision: str, training=True, xla=None) -> float:
    """Seconds a step of one of our networks."""
    from benchmarks import engine

    clips, labels = batch(shape)
    with policy(precision):
        steps = engine.Steps(built(build, shape), xla, training)
        return seconds_a_step(lambda: steps(clips, labels), steps.wait)


def built(build: Callable, shape: tuple[int, ...]):
    """A network for batches of this shape."""
    from benchmarks import engine

    with engine.quick_weights():
        return build(shape[1:])


def batch(shape):
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, shape, dtype="uint8"), rng.integers(0, 10, shape[0]).astype("int32")


def torchs(build: Callable, shape: tuple[int, ...], precision: str, cuda: bool, training=True) -> float:
    """Seconds a step of the same network in PyTorch, eager, with TF32 and cuDNN's search for the best kernel."""
    import torch

    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    device = torch.device("cuda" if cuda else "cpu")
    module = build().to(device).train(training)
    clips, labels = (torch.from_numpy(array) for array in batch(shape))
    labels = labels.long().to(device)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    number = {"mixed_float16": torch.float16, "mixed_bfloat16": torch.bfloat16}.get(precision)
    last = [None]

    def step():
        with torch.set_grad_enabled(training), torch.autocast(device.type, number, enabled=number is not None):
            pixels = clips.to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
            answers = module(pixels)
            if training:
                loss = torch.nn.functional.cross_entropy(answers, labels)
        if training:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            answers = loss
        last[0] = answers.detach()

    return seconds_a_step(step, lambda: last[0].cpu())


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file, written anew after each row")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which no row begins (default 240)")
    parser.add_argument("--only", default="", help="rows to run, a regular expression, as 'step' or 'small.*float16'")
    options = parser.parse_args(arguments)
    return run(options)


def measure_steps(table: Table, device: str | None, precision: str) -> None:
    with_torch, cuda = importlib.util.find_spec("torch") is not None, False
    if with_torch:
        import torch

        cuda = torch.cuda.is_available()
        with_torch = cuda == (device is not None)  # the same device, or none
    for name, (build, shape, peer) in video_networks().items():
        for training, what in ((True, "training step"), (False, "forward pass")):
            given = (shape, precision)
            table.seconds(name, what, precision, lambda g=given, b=build, t=training: ours(b, *g, t))
            if with_torch:
                run = lambda g=given, p=peer, t=training: torchs(p, *g, cuda, t)  # noqa: E731
                table.seconds(name, f"{what}, PyTorch", precision, run)


# Input, kernel, strides and groups of layers of 3D ResNeXt-50 (2 x 16 x 112 x 112) and I3D (2 x 16 x 224 x 224).
CONVOLUTIONS = {
    "3D ResNeXt, 7x7x7": ((2, 22, 118, 118, 3), (7, 7, 7, 3, 64), (1, 2, 2), 1),
    "3D ResNeXt, 1x1x1": ((2, 8, 28, 28, 64), (1, 1, 1, 64, 128), (1, 1, 1), 1),
    "3D ResNeXt, 3x3x3, 32 groups": ((2, 10, 30, 30, 128), (3, 3, 3, 4, 128), (1, 1, 1), 32),
    "the same, ours": ((2, 10, 30, 30, 128), (3, 3, 3, 4, 128), (1, 1, 1), 32),
    "I3D, 3x3x3": ((2, 10, 58, 58, 64), (3, 3, 3, 64, 192), (1, 1, 1), 1),
}


def measure_convolutions(table: Table) -> None:
    """Each convolution and its gradients, under XLA and, on TensorFlow, without."""
    from keras import ops

    from benchmarks import engine
    from har_tf.models.grouped_conv import convolve

    rng = np.random.default_rng(4)
    for name, (shape, kernel_shape, strides, groups) in CONVOLUTIONS.items():
        x, kernel = rng.normal(size=shape).astype("float32"), rng.normal(size=kernel_shape).astype("float32")

        def conv(x, k, strides=strides, groups=groups, name=name):
            if name.endswith("ours"):
                return convolve(x, k, groups, strides)
            return ops.conv(x, k, strides, "valid", "channels_last")

        moves = zip(shape[1:4], kernel_shape, strides, strict=False)
        weights = np.ones((shape[0], *((n - k) // s + 1 for n, k, s in moves), kernel_shape[-1]), "float32")
        parts = {
            "forward": conv,
            "to the input": lambda x, k, c=conv, w=weights: engine.pulled_back(lambda x: c(x, k), [x], w)[1],
            "to the kernel": lambda x, k, c=conv, w=weights: engine.pulled_back(lambda k: c(x, k), [k], w)[1],
        }
        for part, function in parts.items():
            for xla in (True,) if engine.NAME == "jax" else (True, False):

                def measure(function=function, xla=xla, arrays=(x, kernel)):
                    run = engine.compiled(function, xla=xla, tf32=True)
                    given = engine.placed(list(arrays))
                    engine.wait(run(*given))
                    return median_seconds(lambda: run(*given))

                table.seconds(name, f"{part}{'' if xla else ', without XLA'}", "as it comes", measure)


def run(options) -> int:
    table = Table(options.out, options.budget, options.only)
    from benchmarks import engine

    device = engine.accelerator()
    table.content["header"] = header = {"engine": engine.NAME, "accelerator": device, **engine.versions()}
    for name, value in header.items():
        print(f"{name}: {value}")
    training = {name: table.wants(f"{name}, small", "float32") for name in networks()}
    wanted = [name for name in networks() if any(table.wants(f"{name}, small", p) for p in ALLOWED)]
    beside = truths_beside({name: training[name] for name in wanted}) if device and wanted else {}

    @cache
    def network(name):
        return Network(name, training[name], beside[name]() if name in beside else None)

    def check_networks(precision):
        for name in networks():
            table.row(f"{name}, small", precision, lambda n=name, p=precision: network(n).check(p))

    def check_xla():
        for name in networks():
            table.row(f"{name}, small, by XLA", "float32", lambda n=name: network(n).check("float32", xla=True))

    def check_explanations():
        for name in ("CNN-GRU", "3D ResNeXt", "I3D", "Video Swin"):
            table.row(f"{name}, small, explained", "float32", lambda n=name: check_maps(network(n)))

    def check_twice(deterministic):
        for name in ("3D ResNeXt", "CNN-GRU"):
            what = f"{name}, {'deterministic' if deterministic else 'as it comes'}"
            table.row(what, "tf32" if device else "float32", lambda n=name: check_bits(network(n), deterministic))

    def check_operations(precision):
        for name, truth in truths.items():
            table.row(name, precision, lambda t=truth, p=precision: t().check(p))

    truths = {operation.name: cache(partial(Truth, operation)) for operation in operations()}
    half = ("mixed_float16", "mixed_bfloat16") if device else ("mixed_bfloat16",)  # no CPU computes float16 by itself
    more = (*half, "tf32") if device else half
    parts = [
        ("operations", lambda: check_operations("float32")),
        ("steps", lambda: measure_steps(table, device, "float32")),
        ("networks", lambda: check_networks("float32")),
        *((("networks", check_explanations), ("networks", check_xla)) if engine.NAME == "tensorflow" else ()),
        ("steps", lambda: measure_convolutions(table)),
        *(("operations", partial(check_operations, precision)) for precision in more),
        ("networks", lambda: check_networks(half[0])),
        ("steps", lambda: measure_steps(table, device, "mixed_bfloat16")),
        ("networks", lambda: check_twice(False)),
        *((("networks", lambda: check_twice(True)),) if engine.NAME == "jax" else ()),
        *(("networks", partial(check_networks, precision)) for precision in more[1:]),
        *((("networks", lambda: check_twice(True)),) if engine.NAME == "tensorflow" else ()),  # which cannot go back
    ]
    if not device:  # on a CPU the steps take longest
        parts.sort(key=lambda part: part[0] == "steps")
    for _, part in parts:
        part()
    rows = table.content["rows"]
    failed = [f"{row['what']} ({row['precision']})" for row in rows if row["verdict"].startswith("FAILED")]
    skipped = sum(row.get("verdict", "").startswith("not run") for row in (*rows, *table.content["seconds"]))
    table.say(f"{len(rows)} rows, {len(failed)} FAILED{': ' if failed else ''}{', '.join(failed)}; {skipped} not run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
