"""What does a gradient cost that is equal on every kernel: `max_pool3d` against Keras' MaxPooling3D, in I3D?

    python -m benchmarks.max_pooling
    TF_ENABLE_ONEDNN_OPTS=0 python -m benchmarks.max_pooling --repeats 3

Builds I3D twice on the same weights, once with Keras' layers, shows that their answers are equal, then takes turns and
prints medians of a forward pass, of the gradient at an early stage, as Grad-CAM takes it, and of a training step.
Aim: no slower.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import tyro

from benchmarks.gradcam import medians


@dataclass(frozen=True)
class Options:
    clips: int = 2
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3)
    width: float = 0.5
    repeats: int = 7
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers

    from har_tf.models.i3d import i3d

    keras.utils.set_random_seed(0)
    models = {"har_tf": i3d(options.input_shape, 10, width=options.width, dropout=0.0)}

    def by_keras(x, pool_size, strides=None, padding="valid", name=None):
        return layers.MaxPooling3D(pool_size, strides, padding, name=name)(x)

    with mock.patch("har_tf.models.i3d.max_pool3d", by_keras):
        models["keras"] = i3d(options.input_shape, 10, width=options.width, dropout=0.0)
    models["keras"].set_weights(models["har_tf"].get_weights())
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (options.clips, *options.input_shape), dtype="uint8")
    labels = rng.integers(0, 10, options.clips)
    ours, theirs = (model.predict(clips, verbose=0) for model in models.values())
    difference = float(np.abs(ours - theirs).max())
    if not difference < 1e-5:
        raise AssertionError(f"the outputs differ by {difference:.2g}; the times would mean nothing")

    def gradient(model):
        probe = keras.Model(model.input, [model.get_layer("mixed_3c").output, model.output])

        @tf.function
        def run(clips):
            maps, answer = probe(clips, training=False)
            return tf.gradients(tf.math.log(answer[:, 0]), maps)[0]

        return lambda: run(tf.constant(clips)).numpy()

    contestants = {}
    for name, model in models.items():
        model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
        contestants |= {
            f"forward, {name}": lambda model=model: model.predict_on_batch(clips),
            f"gradient at mixed_3c, {name}": gradient(model),
            f"training step, {name}": lambda model=model: model.train_on_batch(clips, labels),
        }
    median = medians(contestants, options.repeats)
    ratios = {}
    for what in ("forward", "gradient at mixed_3c", "training step"):
        ratios[what] = median[f"{what}, keras"] / median[f"{what}, har_tf"]
        print(
            f"{what:21} {median[f'{what}, har_tf']:7.3f} s, by MaxPooling3D {median[f'{what}, keras']:7.3f} s", end=""
        )
        print(f": {ratios[what]:.2f} x as long")
    result = {
        "options": {**asdict(options), "out": None},
        "seconds": median,
        "keras_over_har_tf": ratios,
        "largest_difference_of_outputs": difference,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Options))
