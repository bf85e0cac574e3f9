"""Does folding time into the batch pay, against TimeDistributed?

    python -m benchmarks.train_step --out train_step.json

Builds CNN-GRU (`har_tf.models.cnn_gru`) and the same network with every frame layer in `TimeDistributed`,
gives both the same weights, shows that their outputs are equal, then trains both on the same batch in turns
and prints medians. Aim: at least twice as fast. Dropout is off, as the two draw different masks.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    batch_size: int = 8
    input_shape: tuple[int, int, int, int] = (10, 128, 192, 3)
    repeats: int = 7
    out: Path | None = None  # JSON file for the figures


def time_distributed_cnn_gru(input_shape, num_classes=10, filters=(16, 32, 64), pool_sizes=(4, 4, 2)):
    """`cnn_gru` with its defaults, as Figure 2 draws it: TimeDistributed around each frame layer."""
    import keras
    from keras import layers

    clip = keras.Input(input_shape, dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    for i, (channels, pool) in enumerate(zip(filters, pool_sizes, strict=True), start=1):
        x = layers.TimeDistributed(layers.Conv2D(channels, 3, padding="same", use_bias=False), name=f"conv2d_{i}")(x)
        x = layers.TimeDistributed(layers.BatchNormalization(momentum=0.9), name=f"bn_{i}")(x)
        x = layers.TimeDistributed(layers.ReLU(), name=f"relu_{i}")(x)
        x = layers.TimeDistributed(layers.MaxPooling2D(pool), name=f"pool_{i}")(x)
    x = layers.Conv3D(50, 3, padding="same", activation="relu", name="conv3d")(x)
    x = layers.TimeDistributed(layers.Flatten(), name="flatten")(x)
    x = layers.GRU(32, return_sequences=True, name="gru1")(x)
    x = layers.GRU(50, name="gru2")(x)
    x = layers.Dense(100, activation="relu", name="dense")(x)
    return keras.Model(clip, layers.Dense(num_classes, activation="softmax", name="predictions")(x))


def main(options: Options) -> dict:
    import keras
    import numpy as np

    from har_tf.models.cnn_gru import cnn_gru

    keras.utils.set_random_seed(0)
    models = {
        "folded": cnn_gru(options.input_shape, dropout=0.0),
        "time_distributed": time_distributed_cnn_gru(options.input_shape),
    }
    models["time_distributed"].set_weights(models["folded"].get_weights())
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (options.batch_size, *options.input_shape), dtype="uint8")
    labels = random.integers(0, 10, options.batch_size)
    folded, peer = (model.predict(clips, verbose=0) for model in models.values())
    difference = float(np.abs(folded - peer).max())
    if not difference < 1e-5:
        raise AssertionError(f"the outputs differ by {difference:.2g}; the times would mean nothing")

    seconds = {name: [] for name in models}
    for model in models.values():
        model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
        for _ in range(2):  # compiles
            model.train_on_batch(clips, labels)
    for _ in range(options.repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(clips, labels)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = median["time_distributed"] / median["folded"]
    result = {
        "options": {**asdict(options), "out": None},
        "seconds": median,
        "time_distributed_over_folded": ratio,
        "largest_difference_of_outputs": difference,
    }
    for name, value in median.items():
        print(f"{name:17} {value:7.3f} s a step")
    print(f"outputs differ by at most {difference:.1e}")
    print(f"TimeDistributed takes {ratio:.1f} x as long (aim: 2 or more)")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Options))
