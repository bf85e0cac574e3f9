"""README's first picture: a clip of the demo, and where the demo's model finds what speaks for its answer.

    make demo
    PYTHONPATH=. .venv/bin/python docs/hero.py runs/ucf10_cnn_gru/RUN --out docs/overlay.jpg

RUN is the folder that `make demo` named at its end.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from experiments.ucf10_cnn_gru import PRESETS
from har_tf.experiment import changed
from har_tf.explain import layerwise, overlay
from har_tf.explain.explanation import Explanation, scaled
from har_tf.models.saving import load_model
from har_tf.report.plots import frame_strip
from har_tf.video import read_clip

CLIP = "v_pick_up_g0212_c01"  # a test clip that the model answers right; a thing is picked up, so there is one to find
FIRST_LAYERS, LAST_LAYER = ["conv2d_1", "relu_1"], "conv3d"
BLUR = 5  # standard deviation in pixels of 64 x 96: single pixels of a first layer cannot be seen in a small picture
WIDTH = 1200  # of the picture, in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of `make demo`")
    parser.add_argument("--out", type=Path, default=Path("docs/overlay.jpg"), help="the picture (.jpg)")
    arguments = parser.parse_args()

    recipe = changed(PRESETS["figures"], out=arguments.run.resolve().parent.parent)
    dataset = recipe.embedded.draw(recipe.output, size=recipe.size, seed=recipe.seed)
    path = next(record.path for record in dataset.records if record.path.stem == CLIP)
    model, class_names = load_model(arguments.run / "model.keras")
    clip = read_clip(path, recipe.num_frames, recipe.size)[None]

    maps = layerwise(model, clip, [*FIRST_LAYERS, LAST_LAYER])
    first, last = blurred(maps.cam3d(FIRST_LAYERS)), maps.gradcam(LAST_LAYER)
    _, _, height, width = maps.weighted[LAST_LAYER].shape
    answer = f"{class_names[int(first.class_index[0])]}, {100 * float(first.probability[0]):.0f} %"
    rows = [
        (f"A clip that was not in training. The answer of the model: {answer}", clip[0]),
        ("What speaks for this answer, by the first two layers (Sum 3DCAM)", overlay(clip, first, alpha=0.5)[0]),
        (f"The same by the last layer, of {height} x {width} cells (Grad-CAM)", overlay(clip, last, alpha=0.5)[0]),
    ]
    with TemporaryDirectory() as folder:
        strip = Image.open(frame_strip(rows, Path(folder) / "hero.png", max_frames=6)).convert("RGB")
    strip.thumbnail((WIDTH, WIDTH))
    strip.save(arguments.out, quality=88)


def blurred(explanation: Explanation) -> Explanation:
    """The maps, blurred, each frame divided by its own maximum."""
    maps = np.stack([cv2.GaussianBlur(frame, (0, 0), BLUR) for frame in explanation.maps[0]])
    return replace(explanation, maps=scaled(maps[None], "frame"))


if __name__ == "__main__":
    main()
