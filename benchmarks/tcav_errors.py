"""How often do the tests of TCAV call a concept significant that is nothing, and how often one that is something?

    python -m benchmarks.tcav_errors       # 3 min on two cores

Draws activations and gradients of which the answer is known, for a class that reads one direction, a little otherwise
in each of its clips. "nothing" is a concept of clips like those of the random sets; "unread" can be told from them, by
a direction that the class does not read; "read" lies along the one that it does. Prints the share of the draws that are
significant at 0.05, one hypothesis, by the papers' t-test, by the permutation test, and by both.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from threadpoolctl import threadpool_limits

from har_tf.concepts.cav import CavFit
from har_tf.concepts.significance import Criterion, significance

SETTINGS = ((64, 30), (16, 12))  # features of a tap, clips of a set
KINDS = ("nothing", "unread", "read")


@dataclass(frozen=True)
class Options:
    draws: int = 200
    random_sets: int = 10
    class_clips: int = 12
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    result = {"options": {**asdict(options), "out": None}, "shares": []}
    criterion = Criterion(hypotheses=1, permutations=399)
    for features, clips in SETTINGS:
        for kind in KINDS:
            passed = np.zeros(3)
            for seed in range(options.draws):
                concept, gradients, others = _drawn(seed, kind, features, clips, options)
                found = significance({kind: concept}, gradients, others, CavFit(folds=None), criterion)[kind]
                passed += [found.t_test < 0.05, found.permutation < 0.05, found.significant]
            shares = dict(zip(("t_test", "permutation", "both"), (passed / options.draws).tolist(), strict=True))
            result["shares"].append({"features": features, "clips": clips, "concept": kind} | shares)
            told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            print(f"{kind:8} {features} features, {clips} clips a set: {told}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _drawn(seed, kind, features, clips, options):
    random = np.random.default_rng(seed)
    spread = random.permutation(np.arange(1, features + 1)) ** -0.5
    reads, apart = np.linalg.qr(random.normal(size=(features, 2)))[0].T
    towards = {"nothing": 0, "unread": 3 * apart, "read": reads}[kind]
    sets = [spread * random.normal(size=(clips, features)) for _ in range(options.random_sets + 1)]
    gradients = reads + random.normal(size=(options.class_clips, features)) / features
    return sets[0] + towards, gradients, sets[1:]


if __name__ == "__main__":
    with threadpool_limits(1):  # thousands of small products
        main(tyro.cli(Options))
