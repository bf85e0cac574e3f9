"""How much quicker is TCAV with the gradients of a class taken once, than with a gradient pass for each CAV?

    python -m benchmarks.tcav --out tcav.json       # about 5 min on two cores

Scores concepts against random sets at several taps of a CNN-GRU. The direct way is that of tensorflow/tcav: activations
are kept, and then for every concept, random set and tap a CAV is fitted and the clips of the class pass forward and
backward for its derivatives; here in batches and compiled, where tcav takes one clip at a time. Ours passes every clip
once, for all taps, and multiplies. Both fit the same CAVs. First shows that the scores are equal; then takes turns;
medians. Aim: at least 10 times as fast at 4 concepts, 10 random sets and 3 taps. What `tcav.score` takes with
cross-validation, relative scores and tests, which the direct way here leaves out, is told as well.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from benchmarks.gradcam import medians


@dataclass(frozen=True)
class Options:
    concepts: int = 4
    random_sets: int = 10
    set_size: int = 20  # clips of a concept or random set
    clips: int = 20  # of the class
    input_shape: tuple[int, int, int, int] = (10, 64, 96, 3)
    taps: tuple[str, ...] = ("relu_2", "relu_3", "conv3d")
    repeats: int = 3
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    import keras
    import numpy as np

    from har_tf.concepts import tcav
    from har_tf.concepts.scores import derivatives, sign_count
    from har_tf.models.cnn_gru import cnn_gru

    keras.utils.set_random_seed(0)
    model = cnn_gru(options.input_shape)
    random = np.random.default_rng(0)

    def drawn(count):
        return random.integers(0, 256, (count, *options.input_shape), dtype="uint8")

    clips, index = drawn(options.clips), 3
    concepts = {f"concept {i}": drawn(options.set_size) // np.uint8(i) for i in range(1, options.concepts + 1)}
    random_sets = [drawn(options.set_size) for _ in range(options.random_sets)]
    classifier = tcav.CavFit(folds=None)

    def once():
        slopes = tcav.gradients(model, clips, index, options.taps)
        seen, others = _activations(model, concepts, random_sets, options.taps)
        found = {}
        for tap in options.taps:
            for name, each in seen.items():
                directions = _directions(each[tap], [other[tap] for other in others], classifier)
                found[tap, name] = derivatives(slopes[tap], directions)
        return found

    passes = {tap: _pass(model, tap, index) for tap in options.taps}

    def direct():
        seen, others = _activations(model, concepts, random_sets, options.taps)
        found = {}
        for tap in options.taps:
            for name, each in seen.items():
                directions = _directions(each[tap], [other[tap] for other in others], classifier)
                found[tap, name] = np.array([passes[tap](clips, direction) for direction in directions])
        return found

    ours, theirs = once(), direct()
    difference = max(float(np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max()) for key in ours)
    equal = all(np.array_equal(sign_count(ours[key]), sign_count(theirs[key])) for key in ours)
    if not difference < 1e-3 or not equal:
        raise AssertionError(f"derivatives differ by {difference:.2g} of the largest, scores are equal: {equal}")

    median = medians({"once": once, "direct": direct}, options.repeats)
    start = time.perf_counter()
    tcav.score(model, clips, index, concepts, random_sets, options.taps)
    median["score_with_tests"] = time.perf_counter() - start
    start = time.perf_counter()
    _activations(model, concepts, random_sets, options.taps)
    median["activations_alone"] = time.perf_counter() - start
    result = {
        "options": {**asdict(options), "out": None},
        "seconds": median,
        "direct_over_once": median["direct"] / median["once"],
        "direct_over_score_with_tests": median["direct"] / median["score_with_tests"],
        "largest_relative_difference_of_derivatives": difference,
        "scores_are_equal": equal,
    }
    count = options.concepts * options.random_sets * len(options.taps)
    print(f"{options.concepts} concepts x {options.random_sets} random sets x {len(options.taps)} taps: {count} CAVs")
    for name, value in median.items():
        print(f"{name:18} {value:8.3f} s")
    print(f"scores are equal; derivatives differ by at most {difference:.1e} of the largest")
    print(f"a gradient pass for each CAV takes {result['direct_over_once']:.1f} x as long (aim: 10 or more)")
    print(
        f"and {result['direct_over_score_with_tests']:.1f} x as long as scores, relative scores, accuracies and tests"
    )
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _activations(model, concepts, random_sets, taps):
    from har_tf.concepts import tcav

    seen = {name: tcav.activations(model, each, taps) for name, each in concepts.items()}
    return seen, [tcav.activations(model, each, taps) for each in random_sets]


def _directions(concept, others, classifier):
    from har_tf.concepts.cav import cavs

    return [cavs({"concept": concept, "random": each}, classifier)["concept"].direction for each in others]


def _pass(model, tap, index):
    """The derivatives of the class's logit along one direction at one tap, by a forward and a backward pass."""
    import keras
    import numpy as np
    import tensorflow as tf

    head = model.get_layer("predictions")
    probe = keras.Model(model.inputs[0], [model.get_layer(tap).output, head.input])

    @tf.function
    def run(clips, direction):
        feature, x = probe(clips, training=False)
        logit = (x @ head.kernel + head.bias)[:, index]
        (gradient,) = tf.gradients(logit, feature)
        along = tf.reshape(gradient, [tf.shape(clips)[0], -1, feature.shape[-1]]) @ direction[:, None]
        return tf.reduce_sum(along, axis=(1, 2))

    return lambda clips, direction: run(clips, np.asarray(direction, "float32")).numpy()


if __name__ == "__main__":
    main(tyro.cli(Options))
