"""How much quicker is a grouped 3D convolution on a CPU as `har_tf.models.grouped_conv` computes it?

    python -m benchmarks.grouped_conv --out grouped_conv.json       # under 4 min on two cores

First one layer, a training step of which is its output and the gradients of input and kernel: Keras' Conv3D with
groups, the same after `quicken`, one convolution for each group, one convolution with a kernel that is zero between all
groups, and for comparison a layer without groups, which is another function. Then a training step of a small 3D ResNeXt
with Keras' layers and with quickened ones. Shows first that outputs and gradients are equal; the contestants take
turns; medians. Aim: the quickened layer at least 10 times as fast as Keras' on a CPU. On a GPU `quicken` changes
nothing, and both lines tell the same.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    shape: tuple[int, int, int, int] = (4, 16, 28, 28)  # batch, time, height, width of the layer's input
    channels: int = 128
    groups: int = 32
    repeats: int = 5
    clip: tuple[int, int, int, int] = (16, 112, 112, 3)  # of the network
    batch_size: int = 2
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)  # of the network
    network_repeats: int = 3
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    layer = _layer(options)
    network = _network(options)
    result = {"options": {**asdict(options), "out": None}, "layer": layer, "network": network}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _layer(options: Options) -> dict:
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import ops

    from har_tf.models.grouped_conv import quicken

    random = np.random.default_rng(0)
    channels, groups = options.channels, options.groups
    x = tf.constant(random.normal(size=(*options.shape, channels)), tf.float32)
    weights = tf.constant(random.normal(size=x.shape), tf.float32)

    def layer(groups):
        clip = keras.Input(x.shape[1:])
        return keras.Model(clip, keras.layers.Conv3D(channels, 3, padding="same", groups=groups, use_bias=False)(clip))

    def each_group(x, kernel):
        parts = zip(ops.split(x, groups, -1), ops.split(kernel, groups, -1), strict=True)
        return ops.concatenate([ops.conv(a, k, padding="same") for a, k in parts], -1)

    def zeros_between(x, kernel):
        own = np.kron(np.eye(groups), np.ones((channels // groups, channels // groups))).astype("float32")
        return ops.conv(x, ops.tile(kernel, (1, 1, 1, groups, 1)) * own, padding="same")

    models = {"keras": layer(groups), "quickened": quicken(layer(groups)), "each_group": layer(groups)}
    models |= {"zeros_between": layer(groups), "no_groups": layer(1)}
    models["each_group"].layers[1].convolution_op = each_group
    models["zeros_between"].layers[1].convolution_op = zeros_between

    def step(model):
        @tf.function
        def run():
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = model(x, training=True)
            return y, *tape.gradient(y, [x, *model.trainable_weights], weights)

        return lambda: [part.numpy() for part in run()]

    steps = {name: step(model) for name, model in models.items()}
    expected, largest = None, 0.0
    for name, model in models.items():
        if name == "no_groups":
            continue
        model.set_weights(models["keras"].get_weights())
        found = steps[name]()
        expected = expected or found
        for ours, theirs in zip(found, expected, strict=True):
            largest = max(largest, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    if not largest < 1e-4:
        raise AssertionError(f"outputs or gradients differ by {largest:.2g} of the largest; the times mean nothing")
    median = _medians(steps, options.repeats)
    print(f"one layer, {channels} channels, {groups} groups, on {' x '.join(map(str, options.shape))}")
    _show(median, "quickened")
    print(f"  outputs and gradients differ by at most {largest:.1e} of the largest; aim: keras at least 10 x")
    return {"seconds": median, "largest_relative_difference": largest}


def _network(options: Options) -> dict:
    import keras
    import numpy as np

    from har_tf.models.resnext3d import resnext3d

    keras.utils.set_random_seed(0)
    quickened = resnext3d(options.clip, 10, blocks=options.blocks)
    stock = keras.models.clone_model(quickened)  # which has Keras' own `convolution_op`
    stock.set_weights(quickened.get_weights())
    models = {"keras": stock, "quickened": quickened}
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (options.batch_size, *options.clip), dtype="uint8")
    labels = random.integers(0, 10, options.batch_size)
    ours, theirs = (model.predict(clips, verbose=0) for model in models.values())
    difference = float(np.abs(ours - theirs).max())
    if not difference < 1e-4:
        raise AssertionError(f"the outputs differ by {difference:.2g}; the times would mean nothing")
    for model in models.values():
        model.compile("sgd", "sparse_categorical_crossentropy")
    steps = {name: lambda model=model: model.train_on_batch(clips, labels) for name, model in models.items()}
    median = _medians(steps, options.network_repeats)
    shape = " x ".join(map(str, (options.batch_size, *options.clip[:3])))
    print(f"a training step of 3D ResNeXt with blocks {options.blocks} on {shape}")
    _show(median, "quickened")
    print(f"  outputs differ by at most {difference:.1e}")
    return {"seconds": median, "largest_difference": difference}


def _medians(steps: dict, repeats: int) -> dict[str, float]:
    for step in steps.values():
        step()  # compiles
    seconds = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _show(median: dict[str, float], ours: str) -> None:
    for name, value in median.items():
        print(f"  {name:14} {value:8.3f} s   {value / median[ours]:6.1f} x")


if __name__ == "__main__":
    main(tyro.cli(Options))
