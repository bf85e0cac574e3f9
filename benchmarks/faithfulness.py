"""Does measuring deletion and insertion take longer than the forward passes that it needs?

    python -m benchmarks.faithfulness --out faithfulness.json       # 5 minutes on two cores

Deletes and inserts clips along the maps of ten methods in 20 steps on CNN-GRU, a few clips a turn, and in the same turn
has the same network answer as many clips in plain batches: by its compiled graph, with BatchNorm in the convolutions as
here, and by Keras' `predict_on_batch`. Prints the seconds of all clips and the median ratios of the turns. Aims: 50
clips x 10 methods x (deletion + insertion) in under 120 s, at most 1.15 times as long as the passes alone.

    python -m benchmarks.faithfulness --peers

Values of single frames by Quantus, Xplique and Captum, which the tests hold, and the time of Xplique's deletion and
insertion of frames on GoogLeNet beside ours. They want other versions of what they need than har_tf, and work without:
pip install --no-deps quantus xplique captum tf_keras; pip install cachetools tensorflow_probability.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro


@dataclass(frozen=True)
class Options:
    clips: int = 50
    methods: int = 10
    steps: int = 20
    input_shape: tuple[int, int, int, int] = (10, 128, 192, 3)
    turn: int = 5  # clips a turn
    batch: int = 32
    peers: bool = False
    frames: int = 8  # that Xplique is measured on
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    result = {"options": {**asdict(options), "out": None}, **(peers if options.peers else passes)(options)}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def passes(options: Options) -> dict:
    import keras

    from har_tf.evaluate.faithfulness import faithfulness
    from har_tf.explain.answers import answers_of
    from har_tf.explain.changed import changed_answers
    from har_tf.models.cnn_gru import cnn_gru

    keras.utils.set_random_seed(0)
    model = cnn_gru(options.input_shape)
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (options.batch, *options.input_shape), np.uint8)
    inner = options.methods * 2 * (options.steps - 1)
    needed = options.turn * (inner + 2)  # the whole clip and the filled one once
    batches = -(-needed // options.batch)
    answers = answers_of(model, batch)

    def ours(clips, maps):
        return faithfulness(model, clips, maps, 0, ["both"], ["blur"], steps=options.steps, batch_size=options.batch)

    def plain(*_):
        for _ in range(batches):
            changed_answers(answers, None, (), (batch,), options.batch)

    def keras_own(*_):
        for _ in range(batches):
            model.predict_on_batch(batch)

    turns = {"har_tf": [], "plain": [], "predict_on_batch": []}
    processor = []
    ours(*_clips_and_maps(rng, 1, options))  # compiles
    plain(), keras_own()
    for _ in range(-(-options.clips // options.turn)):
        arguments = _clips_and_maps(rng, options.turn, options)
        for name, run in zip(turns, (ours, plain, keras_own), strict=True):
            start, busy = time.perf_counter(), time.process_time()
            run(*arguments)
            seconds = time.perf_counter() - start
            processor += [time.process_time() - busy] * (name == "har_tf")
            turns[name].append(seconds * (1 if name == "har_tf" else needed / (batches * options.batch)))
    share = options.clips / options.turn / len(processor)
    seconds = {name: sum(values) * share for name, values in turns.items()}
    ratios = {
        name: statistics.median(mine / other for mine, other in zip(turns["har_tf"], turns[name], strict=True))
        for name in ("plain", "predict_on_batch")
    }
    # All batches of a clip have one size, so that the last is filled up.
    rows = -(-inner // -(-inner // options.batch)) * -(-inner // options.batch)
    print(f"{options.clips} clips, {options.methods} maps, deletion and insertion in {options.steps} steps")
    print(f"{needed // options.turn} passes a clip are needed, {rows + 2} are made")
    for name, value in seconds.items():
        print(f"{name:17}{value:7.1f} s, {value / options.clips / needed * options.turn * 1e3:.2f} ms a pass")
    print(f"har_tf kept processors busy for {sum(processor) * share:.0f} s, which other programs do not change")
    print(f"the passes alone x {ratios['plain']:.2f} (aim: 1.15 or less)")
    print(f"Keras' predict_on_batch x {ratios['predict_on_batch']:.2f}")
    return {
        "seconds": seconds,
        "ratios": ratios,
        "needed": needed // options.turn,
        "made": rows + 2,
        "processor": sum(processor) * share,
    }


def _clips_and_maps(rng, count: int, options: Options):
    """Noise, and maps as networks make them: enlarged from 16 x 24 cells, of which half have no evidence."""
    from har_tf.explain.upsampling import enlarge

    size = options.input_shape[:3]
    clips = rng.integers(0, 256, (count, *options.input_shape), np.uint8)
    coarse = np.maximum(rng.normal(size=(options.methods, count, size[0], 16, 24)), 0).astype(np.float32)
    return clips, {f"map {i}": enlarge(maps, size) for i, maps in enumerate(coarse)}


def peers(options: Options) -> dict:
    import keras
    from keras import layers
    from xplique.metrics import Deletion, Insertion

    from har_tf.evaluate.faithfulness import faithfulness
    from har_tf.models.googlenet import googlenet

    # As in tests/evaluate/test_faithfulness.py.
    rng = np.random.default_rng(0)
    half = rng.integers(-127, 128, (2, 32, 1))
    images = (128 + np.concatenate([half, -half], axis=1)).reshape(2, 8, 8, 1).astype("float32")
    saliency = rng.permuted(np.arange(128).reshape(2, 64), axis=1).reshape(2, 8, 8)
    weights = [rng.normal(size=(64, 6)) / 8, rng.normal(size=(6, 3))]
    image = keras.Input((8, 8, 1))
    x = layers.Dense(6, "tanh", use_bias=False)(layers.Flatten()(layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, layers.Dense(3, "softmax", use_bias=False)(x))
    model.set_weights(weights)
    first = np.eye(3, dtype="float32")[[0]]
    values = {"Quantus PixelFlipping": _by_quantus(weights, images, saliency), "Captum infidelity": _by_captum()}
    for metric in (Deletion, Insertion):
        values[f"Xplique {metric.__name__}"] = [
            float(metric(model, images[i : i + 1], first, baseline_mode=128.0, steps=8).evaluate(saliency[i : i + 1]))
            for i in (0, 1)
        ]
    for name, value in values.items():
        print(name, value)

    network = googlenet((224, 224, 3), 1000)
    frames = rng.integers(0, 256, (options.frames, 224, 224, 3), np.uint8)
    maps, targets = rng.random((options.frames, 224, 224)), np.eye(1000, dtype="float32")[[0] * options.frames]
    seconds = {"har_tf": [], "Xplique": []}

    def theirs():
        for metric in (Deletion, Insertion):
            metric(network, frames, targets, batch_size=32, baseline_mode=128.0, steps=options.steps).evaluate(maps)

    runs = {
        "har_tf": lambda: faithfulness(network, frames, {"a": maps}, 0, ["space"], ["mean"], steps=options.steps),
        "Xplique": theirs,
    }
    for turn in range(4):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] += [time.perf_counter() - start] * (turn > 0)  # the first compiles
    ratio = statistics.median(x / y for x, y in zip(seconds["Xplique"], seconds["har_tf"], strict=True))
    print(f"{options.frames} frames on GoogLeNet: Xplique takes {ratio:.2f} x as long")
    return {"values": values, "seconds": seconds, "ratio": ratio}


def _by_quantus(weights, images, saliency) -> list:
    import quantus
    import torch

    class Network(torch.nn.Module):
        def forward(self, x):
            first, second = (torch.tensor(each, dtype=torch.float32) for each in weights)
            return torch.tanh(x.reshape(len(x), -1) / 255 @ first) @ second

    metric = quantus.PixelFlipping(
        features_in_step=8, perturb_baseline=128.0, abs=False, normalise=False, disable_warnings=True
    )
    of_channels = np.moveaxis(images, -1, 1)
    labels = np.array([0, 0])
    return metric(Network().eval(), of_channels, labels, saliency[:, None], softmax=True)


def _by_captum() -> float:
    """As in tests/evaluate/test_stability.py."""
    import torch
    from captum.metrics import infidelity

    from har_tf.evaluate.perturbation import rng_of
    from har_tf.evaluate.stability import _boxed, _boxes

    size, rng = (4, 6, 8), np.random.default_rng(0)
    weights, clip = rng.normal(size=size), rng.random((1, *size, 1)).astype("float32")
    maps = rng.random((1, *size)) - 0.5 + weights * (clip - clip.mean())[..., 0]
    boxes = _boxes(size, 16, rng_of(clip[0], 0))
    missing = torch.tensor(_boxed(np.zeros((*size, 1)), np.ones((*size, 1)), boxes).numpy())
    return infidelity(
        lambda x: (x[..., 0] * torch.tensor(weights)).sum((1, 2, 3)),
        lambda x: (missing, x * (1 - missing) + float(clip.mean()) * missing),
        torch.tensor(clip, dtype=torch.float64),
        torch.tensor(maps)[..., None],
        n_perturb_samples=16,
        normalize=True,
    ).item()


if __name__ == "__main__":
    main(tyro.cli(Options))
