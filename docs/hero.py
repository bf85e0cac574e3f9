"""README's first picture: a clip of the demo, two maps of what speaks for the model's answer, and a test of both.

The test paints the warmest spots of a map grey and asks the model again. If the answer stays, the model did not need
what was there.

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
from har_tf.classifier import Classifier
from har_tf.experiment import changed
from har_tf.explain import layerwise, overlay
from har_tf.explain.explanation import Explanation, scaled
from har_tf.report.plots import frame_strip
from har_tf.video import read_clip

CLIP = "v_pick_up_g0212_c01"  # a test clip that the model answers right; a thing is picked up, so there is one to find
FIRST_LAYERS, LAST_LAYER = ["conv2d_1", "relu_1"], "conv3d"
BLUR = 5  # standard deviation in pixels of 64 x 96: single pixels of a first layer cannot be seen in a small picture
PAINTED = 0.07  # share of the clip's pixels that is painted over
WIDTH = 1200  # of the picture, in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of `make demo`")
    parser.add_argument("--out", type=Path, default=Path("docs/overlay.jpg"), help="the picture (.jpg)")
    arguments = parser.parse_args()

    recipe = changed(PRESETS["figures"], out=arguments.run.resolve().parent.parent)
    dataset = recipe.embedded.draw(recipe.output, size=recipe.size, seed=recipe.seed)
    path = next(record.path for record in dataset.records if record.path.stem == CLIP)
    classifier = Classifier.load(arguments.run / "model.keras")
    clip = read_clip(path, **classifier.reading)

    maps = layerwise(classifier.model, clip[None], [*FIRST_LAYERS, LAST_LAYER])
    first, last = blurred(maps.cam3d(FIRST_LAYERS)), maps.gradcam(LAST_LAYER)
    label = int(first.class_index[0])
    clips = np.stack([clip, painted(clip, first.maps[0]), painted(clip, last.maps[0])])
    whole, without_first, without_last = (f"{p:.0%}" for p in classifier.predict(clips).probabilities[:, label])
    _, _, height, width = maps.weighted[LAST_LAYER].shape
    name = classifier.class_names[label]
    rows = [
        (f"A clip that was not in training. The model answers {name}, {whole}", clip),
        (
            f"What speaks for {name}, by the first two layers (Sum 3DCAM). Spots painted grey: {without_first}",
            overlay(clip[None], first, alpha=0.5, scale="max")[0],
        ),
        (
            f"The same by the last layer, {height} x {width} cells (Grad-CAM). Spots painted grey: {without_last}",
            overlay(clip[None], last, alpha=0.5, scale="max")[0],
        ),
    ]
    with TemporaryDirectory() as folder:
        strip = Image.open(frame_strip(rows, Path(folder) / "hero.png", max_frames=6)).convert("RGB")
    strip.thumbnail((WIDTH, WIDTH))
    strip.save(arguments.out, quality=88)


def blurred(explanation: Explanation) -> Explanation:
    """The maps, blurred, each frame divided by its own maximum."""
    maps = np.stack([cv2.GaussianBlur(frame, (0, 0), BLUR) for frame in explanation.maps[0]])
    return replace(explanation, maps=scaled(maps[None], "frame"))


def painted(clip: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """The clip with its most salient pixels in the clip's mean colour."""
    copy = clip.copy()
    copy[saliency > np.quantile(saliency, 1 - PAINTED)] = clip.mean(axis=(0, 1, 2)).astype("uint8")
    return copy


if __name__ == "__main__":
    main()
