"""Is a flat graph as fast as the model that it is made of?

    python -m benchmarks.flatten --out flatten.json

TimeDistributed(MobileNetV2) and a GRU against what `har_tf.models.flatten` makes of it, on the same weights: a forward
pass and a training step, compiled, in turns, of which the second of two counts. First shows that the answers agree.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from benchmarks.gradcam import medians


@dataclass(frozen=True)
class Options:
    clips: int = 4
    input_shape: tuple[int, int, int, int] = (16, 96, 96, 3)
    repeats: int = 5
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    import time

    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers

    from har_tf.models.flatten import flatten
    from har_tf.models.taps import taps

    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(
        input_shape=options.input_shape[1:], include_top=False, weights=None, pooling="avg"
    )
    wrapped = keras.Sequential(
        [
            keras.Input(options.input_shape),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.TimeDistributed(backbone),
            layers.GRU(64),
            layers.Dense(10, activation="softmax"),
        ]
    )
    start = time.perf_counter()
    flat = flatten(wrapped)
    seconds_to_flatten = time.perf_counter() - start
    start = time.perf_counter()
    count = len(taps(wrapped))
    seconds_to_taps = time.perf_counter() - start

    clips = tf.constant(np.random.default_rng(0).uniform(0, 255, (options.clips, *options.input_shape)), tf.float32)
    labels = tf.range(options.clips) % 10
    forward = {
        name: tf.function(lambda x, model=model: model(x, training=False)) for name, model in models(wrapped, flat)
    }
    difference = float(np.abs(forward["flat"](clips).numpy() - forward["wrapped"](clips).numpy()).max())
    if not difference < 1e-5:
        raise AssertionError(f"the answers differ by {difference:.2g}; the times would mean nothing")

    def step(model):
        optimizer = keras.optimizers.SGD(1e-4)
        optimizer.build(model.trainable_variables)

        @tf.function
        def train(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        return train

    steps = {name: step(model) for name, model in models(wrapped, flat)}
    seconds = {
        "forward": medians({n: lambda run=run: run(clips).numpy() for n, run in forward.items()}, options.repeats),
        "training step": medians(
            {n: lambda run=run: run(clips, labels).numpy() for n, run in steps.items()}, options.repeats
        ),
    }
    result = {
        "options": {**asdict(options), "out": None},
        "seconds": seconds,
        "wrapped_over_flat": {what: each["wrapped"] / each["flat"] for what, each in seconds.items()},
        "largest_difference_of_answers": difference,
        "seconds_to_flatten": seconds_to_flatten,
        "seconds_to_list_taps": seconds_to_taps,
    }
    for what, each in seconds.items():
        faster = result["wrapped_over_flat"][what]
        print(f"{what:13} wrapped {each['wrapped']:.3f} s, flat {each['flat']:.3f} s: {faster:.1f} x")
    print(f"answers differ by at most {difference:.1e}; flattened in {seconds_to_flatten:.1f} s, ", end="")
    print(f"{count} taps listed in {seconds_to_taps:.1f} s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def models(wrapped, flat):
    return (("wrapped", wrapped), ("flat", flat))


if __name__ == "__main__":
    main(tyro.cli(Options))
