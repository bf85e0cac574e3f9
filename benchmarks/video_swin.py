"""Is a forward pass of Video Swin as fast as the same network in PyTorch?

    python -m benchmarks.video_swin --out video_swin.json       # about 2 min on two quiet cores
    python -m benchmarks.video_swin --frames 16

Gives both networks the same weights, shows that their probabilities are equal, and takes turns; medians. "predict" is
`model.predict`, "graph" the model in a `tf.function`, as the explanations run it, "xla" the same compiled by XLA, which
Keras does of itself where there is an accelerator, and "eager" the model called as a function. PyTorch runs
`benchmarks.video_swin_torch`, the published network's steps, under `inference_mode`, with as many threads as
TensorFlow. Aim: predict at most 1.3 times as long as PyTorch.
"""

import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Options:
    size: Literal["tiny", "small", "base"] = "tiny"
    frames: int = 32
    side: int = 224
    batch_size: int = 1
    repeats: int = 5
    threads: int | None = None  # of both; None: as many as there are processors
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    try:
        import torch
    except ImportError:
        raise SystemExit("this comparison needs PyTorch: pip install torch") from None
    threads = options.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import numpy as np

    from benchmarks.video_swin_torch import VideoSwin
    from har_tf.models.video_swin import IMAGENET_MEAN, IMAGENET_STD, SIZES, video_swin
    from har_tf.models.weights.import_weights import import_weights

    torch.manual_seed(0)
    module = VideoSwin(*SIZES[options.size][:3]).eval()
    torch.nn.init.normal_(module.cls_head.fc_cls.weight)  # so that the classes' probabilities are far apart
    shape = (options.frames, options.side, options.side, 3)
    model = import_weights(video_swin(options.size, shape), module.state_dict())
    clips = np.random.default_rng(0).integers(0, 256, (options.batch_size, *shape), dtype="uint8")
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    graph = tf.function(lambda x: model(x, training=False))
    xla = tf.function(lambda x: model(x, training=False), jit_compile=True)

    def in_torch():
        with torch.inference_mode():
            pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float()
            return torch.softmax(module((pixels - mean) / std), 1).numpy()

    contestants = {
        "torch": in_torch,
        "predict": lambda: model.predict(clips, verbose=0),
        "graph": lambda: graph(clips).numpy(),
        "xla": lambda: xla(clips).numpy(),
        "eager": lambda: model(clips, training=False).numpy(),
    }
    answers = {name: run() for name, run in contestants.items()}  # compiles
    difference = max(float(np.abs(answer - answers["torch"]).max()) for answer in answers.values())
    if not difference < 1e-4:
        raise AssertionError(f"the probabilities differ by {difference:.2g}; the times would mean nothing")
    seconds = {name: [] for name in contestants}
    for _ in range(options.repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"Video Swin {options.size} on {' x '.join(map(str, (options.batch_size, *shape[:3])))}, {threads} threads")
    for name, value in median.items():
        print(f"  {name:8} {value:7.3f} s   {value / median['torch']:5.2f} x torch")
    print(f"  probabilities differ by at most {difference:.1e}; aim: predict at most 1.3 x")
    result = {"options": {**asdict(options), "out": None}, "threads": threads, "seconds": median, "all": seconds}
    result["largest_difference"] = difference
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Options))
