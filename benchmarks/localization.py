"""How long does the IoU table of MaxBoxAcc take?

    nice -n 10 python -m benchmarks.localization --out localization.json      # 6 minutes

Measures maps of 224 x 224 with one true box at 101 thresholds, with `har_tf.evaluate.localization.overlaps` and with a
loop written the obvious way, as in the evaluation code of Choe et al. 2020: at every threshold a mask,
`cv2.findContours`, `cv2.boundingRect` and the IoU. First shows that the tables are equal. Then takes turns, a batch of
maps each, and prints what all maps take at the median batch, wall and processor time, and the ratio within a batch.

The more contours a map has, the longer both take; so there are maps made from 7 x 7 cells (the last layer of a
network), 28 x 28 and 56 x 56 (its first layers), and noise of single pixels, the worst case. The loop gets fewer maps,
as it would take half an hour otherwise. Neither uses more than one core. Aim: 1,000 maps in under 20 s.

    python -m benchmarks.localization --ucf24 --clips 40                      # 2 minutes

How long does the matching of maps and boxes of 3DCAM's Table 6 take? Clips of 16 frames of 112 x 112 with maps of five
layers of 56, 28, 14, 7 and 4 cells, as 3D ResNeXt-101 has them; all rows of a study under one blur, each with evidence,
hits and overlaps, in processes of its own as in a run (`--workers`). Prints milliseconds a map, and from them the
minutes for UCF24: 914 test videos, and a fifth of the 2,293 training videos under the rows among which is chosen; of
180 frames each, all with a box. What the network takes, on a GPU or not, is not in it.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro

from har_tf.evaluate.controls import CONTROLS
from har_tf.evaluate.localization import THRESHOLDS, UCF24_IOUS, overlaps
from har_tf.evaluate.map_rows import CAM3D, GRADCAM, SUMMAND, Batch, ModelRow, paper_rows, runs
from har_tf.evaluate.matching import Asked, Task, match
from har_tf.explain.scaling import scaled
from har_tf.explain.upsampling import enlarge
from har_tf.files.workers import Failed, available_cores, outcomes

SIZE = 224
SMALL, FRAMES, LAYERS = 112, 16, (56, 28, 14, 7, 4)
VIDEOS = {"test": 914, "held out": 459}


@dataclass(frozen=True)
class Options:
    maps: int = 1000
    loop_maps: int = 100  # so many of them are measured by the loop as well
    batch: int = 20  # maps a turn
    cells: tuple[int, ...] = (7, 28, 56, SIZE)
    ucf24: bool = False  # the matching of UCF24 in place of single maps
    clips: int = 40
    workers: int | None = None  # None: one a core
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    result = of_ucf24(options) if options.ucf24 else of_maps(options)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def of_ucf24(options: Options) -> dict:
    layers = len(LAYERS)
    best = [ModelRow(CAM3D, 1, 2), ModelRow(GRADCAM, 1, 2)]  # chosen, beside the paper's
    rows = {
        "test": [*dict.fromkeys([*paper_rows(layers), *best]), *CONTROLS],
        "held out": [*dict.fromkeys([*paper_rows(layers), *runs(layers)]), *CONTROLS],
    }
    workers = available_cores() if options.workers is None else options.workers
    result = {"workers": workers, "clips": options.clips, "parts": {}}
    for part, asked in rows.items():
        how = Asked({row: [getattr(row, "least_blur", 0.0)] for row in asked}, UCF24_IOUS, "all")
        tasks = [_task(how, seed) for seed in range(min(options.clips, 8))]
        each = []
        for task in tasks[:3]:
            (_, processor), _ = _timed(match, task)
            each.append(processor / len(asked) / FRAMES * 1e3)
        alone = statistics.median(each)
        warm = 4 * max(workers, 1)  # until every process has started
        begun, done = None, 0
        for done, outcome in enumerate(
            outcomes(match, (tasks[i % len(tasks)] for i in range(options.clips + warm)), workers)
        ):
            if isinstance(outcome, Failed):
                raise RuntimeError(outcome.reason)
            begun = time.perf_counter() if done < warm else begun
        together = (time.perf_counter() - begun) / (done - warm + 1) / len(asked) / FRAMES * 1e3
        minutes = together * len(asked) * VIDEOS[part] * 180 / 60e3
        result["parts"][part] = {"rows": len(asked), "alone_ms": alone, "ms": together, "minutes": minutes}
        print(
            f"{part}: {len(asked)} rows; {alone:.2f} ms a map in one process, {together:.2f} ms with {workers}; "
            f"{VIDEOS[part]} videos of UCF24: {minutes:.0f} minutes",
            flush=True,
        )
    return result


def _task(asked: Asked, seed: int) -> Task:
    """A clip of noise with the maps of five layers, and a box in every frame."""
    random = np.random.default_rng(seed)
    shape = (FRAMES, SMALL, SMALL)
    layers = {}
    for kind in (CAM3D, GRADCAM, SUMMAND):
        for i, cells in enumerate(LAYERS):
            coarse = np.maximum(random.normal(size=(1, max(1, FRAMES >> i), cells, cells)), 0).astype(np.float32)
            layers[kind, i] = scaled(enlarge(coarse, shape), "clip")
    clip = random.integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    signs = {i: np.array([False]) for i in range(len(LAYERS))}
    corners, sides = (
        random.integers(0, SMALL // 2, (FRAMES, 1, 2)),
        random.integers(SMALL // 8, SMALL // 2, (FRAMES, 1, 2)),
    )
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float64)
    return Task(asked, Batch(clip, layers, signs), dict(enumerate(boxes)), np.ones(FRAMES, bool))


def of_maps(options: Options) -> dict:
    result = {"options": {**asdict(options), "out": None}, "thresholds": len(THRESHOLDS), "cells": {}}
    for cells in options.cells:
        turns = {"har_tf": [], "loop": []}
        for start in range(0, options.maps, options.batch):
            count = min(options.batch, options.maps - start)
            maps, boxes = _maps(cells, count, seed=start)
            seconds, table = _timed(overlaps, maps, boxes)
            turns["har_tf"].append([value / count for value in seconds])
            if start < options.loop_maps:
                seconds, plain = _timed(_loop, maps, boxes)
                turns["loop"].append([value / count for value in seconds])
                if not np.array_equal(table.iou, plain):
                    raise AssertionError(f"{cells} cells: the tables differ by {np.abs(table.iou - plain).max():.2g}")
        wall, processor = (
            {name: options.maps * statistics.median(turn[clock] for turn in found) for name, found in turns.items()}
            for clock in (0, 1)
        )
        ratio = statistics.median(loop[1] / ours[1] for ours, loop in zip(turns["har_tf"], turns["loop"], strict=False))
        result["cells"][cells] = {"wall_seconds": wall, "processor_seconds": processor, "loop_over_har_tf": ratio}
        print(
            f"{cells:3} x {cells:3} cells, {options.maps} maps: {wall['har_tf']:6.1f} s wall, "
            f"{processor['har_tf']:6.1f} s processor; a loop {wall['loop']:6.1f} and {processor['loop']:6.1f} s: "
            f"{ratio:.1f} x; equal tables",
            flush=True,
        )
    return result


def _maps(cells, count, seed):
    """(count, 224, 224) maps enlarged from normal noise cut at 0, and a box for each."""
    random = np.random.default_rng([cells, seed])
    coarse = np.maximum(random.normal(size=(count, cells, cells)), 0).astype(np.float32)
    corners = random.integers(0, SIZE // 2, (count, 1, 2))
    sides = random.integers(SIZE // 8, SIZE // 2, (count, 1, 2))
    maps = [cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for one in coarse]
    return np.stack(maps), np.concatenate([corners, corners + sides], axis=-1).astype(np.float64)


def _timed(measure, *arguments):
    wall, processor = time.perf_counter(), time.process_time()
    found = measure(*arguments)
    return (time.perf_counter() - wall, time.process_time() - processor), found


def _loop(maps, boxes):
    table = np.zeros((len(maps), len(THRESHOLDS)))
    for row, score_map, true in zip(table, maps, boxes, strict=True):
        shares = score_map / score_map.max()
        for k, threshold in enumerate(THRESHOLDS):
            mask = (shares > np.float32(threshold)).astype(np.uint8)
            contours, parents = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[-2:]
            outer = (
                [contour for contour, parent in zip(contours, parents[0], strict=True) if parent[3] < 0]
                if contours
                else []
            )
            if outer:
                x, y, width, height = np.array([cv2.boundingRect(contour) for contour in outer]).T
                row[k] = _iou(np.stack([x, y, x + width, y + height], axis=1), true).max()
    return table


def _iou(first, second):
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    return common / (
        (first[:, 2:] - first[:, :2]).prod(-1)[:, None] + (second[:, 2:] - second[:, :2]).prod(-1) - common
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
