"""Is a training step, and a forward pass, as fast as the same network in PyTorch, and as in `TimeDistributed`?

    python -m benchmarks.train_step --out train_step.json       # pip install torch; 5 min on two quiet cores
    python -m benchmarks.train_step --networks 3D-ResNeXt-50 --repeats 11
    python -m benchmarks.train_step --networks                  # TimeDistributed alone, without PyTorch

Gives our network and `benchmarks.networks_torch`'s the same weights, shows that their answers, and the loss of a batch
in training, are equal, and takes turns: `train_on_batch` against a step of torch, both by SGD with momentum, and
`predict_on_batch` against `inference_mode`, on as many threads. Each contestant follows itself once before it is timed;
medians of seconds, and of the rounds' ratios. Dropout is off, as the two draw different masks. Aim: PyTorch takes 1.3
times as long or more.

Then CNN-GRU and the same network with every frame layer in `TimeDistributed`: does folding time into the batch pay?
Aim: at least twice as fast.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

Network = Literal["CNN-GRU", "I3D", "Video-Swin-T", "3D-ResNeXt-50"]
SHAPES = {
    "CNN-GRU": (8, 10, 128, 192, 3),
    "I3D": (2, 16, 224, 224, 3),
    "Video-Swin-T": (2, 8, 112, 112, 3),
    "3D-ResNeXt-50": (2, 16, 112, 112, 3),
}


@dataclass(frozen=True)
class Options:
    networks: tuple[Network, ...] = tuple(SHAPES)  # beside PyTorch's
    steps: tuple[Literal["training", "forward"], ...] = ("training", "forward")
    time_distributed: bool = True  # whether CNN-GRU is compared with TimeDistributed too
    repeats: int = 7
    threads: int | None = None  # of both; None: as many as there are processors
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
    threads = options.threads or len(os.sched_getaffinity(0))
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    result = {"options": {**asdict(options), "out": None}, "threads": threads, "torch": {}}
    if options.networks:
        try:
            import torch
        except ImportError:
            raise SystemExit("the comparison needs PyTorch: pip install torch") from None
        torch.set_num_threads(threads)
        print(f"{threads} threads; PyTorch {torch.__version__}, TensorFlow {tf.__version__}")
    for network in options.networks:
        result["torch"][network] = beside_torch(network, options)
        keras.utils.clear_session()
    if options.time_distributed:
        result["time_distributed"] = beside_time_distributed(options)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def pair(network: Network, shape: tuple[int, ...]):
    """Our network for clips of this shape, PyTorch's with the same weights, and how PyTorch's wants pixels scaled."""
    import torch

    from benchmarks import networks_torch
    from benchmarks.video_swin_torch import VideoSwin
    from har_tf import models
    from har_tf.models.resnext3d import ACTIVITYNET_MEAN
    from har_tf.models.video_swin import IMAGENET_MEAN, IMAGENET_STD
    from har_tf.models.weights.import_weights import import_weights

    torch.manual_seed(0)
    if network == "CNN-GRU":
        module = networks_torch.CnnGru(shape)
        return networks_torch.fill_cnn_gru(models.cnn_gru(shape, dropout=0.0), module), module, (0.0, 255.0)
    build, module, scaling = {
        "I3D": (lambda: models.i3d(shape, dropout=0.0), networks_torch.I3D, (127.5, 127.5)),
        "Video-Swin-T": (
            lambda: models.video_swin("tiny", shape, dropout=0.0, drop_path=0.0),
            VideoSwin,
            (IMAGENET_MEAN, IMAGENET_STD),
        ),
        "3D-ResNeXt-50": (
            lambda: models.resnext3d(shape, depth=50), networks_torch.ResNeXt3D, (ACTIVITYNET_MEAN, 1.0)
        ),
    }[network]  # fmt: skip
    module = module()
    return import_weights(build(), module.state_dict()), module, scaling


def beside_torch(network: Network, options: Options) -> dict:
    """Seconds a step of both, and how many times as long PyTorch takes."""
    import keras
    import numpy as np
    import torch

    model, module, scaling = pair(network, SHAPES[network][1:])
    mean, std = (torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1) for values in scaling)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, SHAPES[network], dtype="uint8")
    labels = rng.integers(0, 10, len(clips))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), "sparse_categorical_crossentropy")

    def logits():
        return module((torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() - mean) / std)

    def training():
        module.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits(), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    def forward():
        module.eval()
        with torch.inference_mode():
            return torch.softmax(logits(), 1).numpy()

    contestants = {
        "forward": {"ours": lambda: model.predict_on_batch(clips), "torch": forward},
        "training": {"ours": lambda: model.train_on_batch(clips, labels), "torch": training},
    }
    # Both compile here, first the forward passes, whose weights are still equal.
    answers = {name: run() for name, run in contestants["forward"].items()}
    losses = {name: run() for name, run in contestants["training"].items()}
    apart = float(np.abs(answers["ours"] - answers["torch"]).max()), abs(losses["ours"] - losses["torch"])
    if not max(apart) < 1e-3:
        raise AssertionError(f"{network}: answers differ by {apart[0]:.2g}, losses by {apart[1]:.2g}; no times")
    found = {"shape": SHAPES[network], "difference of probabilities": apart[0], "difference of losses": apart[1]}
    print(
        f"{network} on {' x '.join(map(str, SHAPES[network][:4]))}: probabilities differ by {apart[0]:.0e}, "
        f"the losses of a step by {apart[1]:.0e}"
    )
    for what in options.steps:
        median, rounds = in_turns(contestants[what], options.repeats)
        ratio = statistics.median(torchs / ours for ours, torchs in zip(*rounds.values(), strict=True))
        found[what] = {"seconds": median, "torch_over_ours": ratio, "rounds": rounds}
        print(f"  {what:9} {median['ours']:7.3f} s, PyTorch {median['torch']:7.3f} s: {ratio:.2f} x as long")
    return found


def in_turns(contestants: dict[str, Callable], repeats: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Median seconds of each, and the seconds of each round; a contestant follows itself once untimed."""
    rounds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            run()
            start = time.perf_counter()
            run()
            rounds[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in rounds.items()}, rounds


def beside_time_distributed(options: Options) -> dict:
    """Seconds a training step of CNN-GRU and of the same network in `TimeDistributed`."""
    import keras
    import numpy as np

    from har_tf.models.cnn_gru import cnn_gru

    keras.utils.set_random_seed(0)
    shape = SHAPES["CNN-GRU"][1:]
    models = {"folded": cnn_gru(shape, dropout=0.0), "time_distributed": time_distributed_cnn_gru(shape)}
    models["time_distributed"].set_weights(models["folded"].get_weights())
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, SHAPES["CNN-GRU"], dtype="uint8")
    labels = random.integers(0, 10, len(clips))
    folded, peer = (model.predict(clips, verbose=0) for model in models.values())
    difference = float(np.abs(folded - peer).max())
    if not difference < 1e-5:
        raise AssertionError(f"the outputs differ by {difference:.2g}; the times would mean nothing")
    for model in models.values():
        model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
        model.train_on_batch(clips, labels)  # compiles
    steps = {name: lambda model=model: model.train_on_batch(clips, labels) for name, model in models.items()}
    median, rounds = in_turns(steps, options.repeats)
    ratio = statistics.median(peer / folded for folded, peer in zip(*rounds.values(), strict=True))
    for name, value in median.items():
        print(f"{name:17} {value:7.3f} s a step")
    print(f"outputs differ by at most {difference:.1e}")
    print(f"TimeDistributed takes {ratio:.1f} x as long (aim: 2 or more)")
    return {"seconds": median, "time_distributed_over_folded": ratio, "largest_difference_of_outputs": difference}


if __name__ == "__main__":
    main(tyro.cli(Options))
