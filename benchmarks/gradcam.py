"""Is Grad-CAM as fast as one forward and one backward pass?

    python -m benchmarks.gradcam --out gradcam.json

Explains the same clips on the same CNN-GRU and tap three times: with `har_tf.explain.gradcam`, with tf-keras-vis, and
with a plain compiled forward and backward pass that stops at the gradient. First shows that the maps agree, then takes
turns, each of two calls of which the second counts, and prints medians. Aims: at least 8 times as fast as tf-keras-vis,
at most 1.5 times the plain pass. Then the same turns for several taps, in one pass and with a pass a tap.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    clips: int = 8
    input_shape: tuple[int, int, int, int] = (10, 128, 192, 3)
    repeats: int = 7
    tap: str = "conv3d"
    taps: tuple[str, ...] = ("relu_2", "pool_2", "relu_3", "pool_3", "conv3d")  # explained together
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    import keras
    import numpy as np

    from har_tf.explain import gradcam, gradcam_at
    from har_tf.models.cnn_gru import cnn_gru

    keras.utils.set_random_seed(0)
    # tf-keras-vis differentiates from the input on, which therefore has to be float for all three.
    model = keras.models.clone_model(
        cnn_gru(options.input_shape),
        input_tensors=keras.Input(options.input_shape, dtype="float32", name="clip"),
    )
    clips = np.random.default_rng(0).integers(0, 256, (options.clips, *options.input_shape)).astype("float32")
    classes = model.predict(clips, verbose=0).argmax(axis=1)
    contestants = {
        "har_tf": lambda: gradcam(model, clips, tap=options.tap, class_index=classes).maps,
        "plain": _plain(model, clips, classes, options.tap),
        "tf_keras_vis": _tf_keras_vis(model, clips, classes, options.tap),
    }
    ours = gradcam(model, clips, tap=options.tap, class_index=classes, normalize=None).signed
    theirs = np.asarray(contestants["tf_keras_vis"](expand_cam=False, normalize_cam=False))
    difference = float(np.abs(np.maximum(ours, 0) - theirs).max() / theirs.max())
    if not difference < 1e-4:
        raise AssertionError(f"the maps differ by {difference:.2g} of their maximum; the times would mean nothing")

    median = medians(contestants, options.repeats)
    several = {
        count: medians(
            {
                "one_pass": lambda names=names: gradcam_at(model, clips, names, classes),
                "a_pass_a_tap": lambda names=names: [gradcam(model, clips, name, classes) for name in names],
            },
            options.repeats,
        )
        for count, names in ((2, options.taps[-2:]), (len(options.taps), options.taps))
    }
    result = {
        "options": {**asdict(options), "out": None},
        "seconds": median,
        "clips_per_second": {name: options.clips / value for name, value in median.items()},
        "tf_keras_vis_over_har_tf": median["tf_keras_vis"] / median["har_tf"],
        "har_tf_over_plain": median["har_tf"] / median["plain"],
        "largest_difference_of_maps": difference,
        "seconds_at_several_taps": several,
    }
    for name, value in median.items():
        print(f"{name:13} {value:7.3f} s  {options.clips / value:7.1f} clips/s")
    print(f"maps differ by at most {difference:.1e} of their maximum")
    print(f"tf-keras-vis takes {result['tf_keras_vis_over_har_tf']:.1f} x as long (aim: 8 or more)")
    print(f"a plain forward and backward pass x {result['har_tf_over_plain']:.2f} (aim: 1.5 or less)")
    for count, seconds in several.items():
        together, alone = seconds["one_pass"], seconds["a_pass_a_tap"]
        print(f"{count} taps in one pass {together:.3f} s, with a pass a tap {alone:.3f} s: {alone / together:.1f} x")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def medians(contestants, repeats):
    for run in contestants.values():  # compiles
        run()
    seconds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            # Untimed: threads that wait for more work (NumPy's do for some 30 ms) would slow the next contestant; so
            # each contestant follows itself, as in a loop over many clips.
            run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _plain(model, clips, classes, tap):
    """The gradient of the same logits with respect to the same tap, and nothing else."""
    import keras
    import tensorflow as tf

    head = model.get_layer("predictions")
    probe = keras.Model(model.inputs[0], [model.get_layer(tap).output, head.input])

    @tf.function
    def run(clips, classes):
        with tf.GradientTape() as tape:
            feature, x = probe(clips, training=False)
            score = tf.gather(x @ head.kernel + head.bias, classes, batch_dims=1)
        return score, tape.gradient(score, feature)

    return lambda: [x.numpy() for x in run(tf.constant(clips), tf.constant(classes))]


def _tf_keras_vis(model, clips, classes, tap):
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    explainer = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    score = CategoricalScore(classes.tolist())

    def run(**options):
        return explainer(score, clips, penultimate_layer=tap, seek_penultimate_conv_layer=False, **options)

    return run


if __name__ == "__main__":
    main(tyro.cli(Options))
