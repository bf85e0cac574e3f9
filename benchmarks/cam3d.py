"""Is 3DCAM over five taps as fast as Grad-CAM at one, and how much faster than a pass a tap?

    python -m benchmarks.cam3d --out cam3d.json

Explains the same clips on the same 3D convolutional network: with Sum 3DCAM in one pass for all five stages, with a
pass a tap, and with Grad-CAM at one tap. A gradient at the first stage has to come back through all others, which is
work that Grad-CAM at the last stage is spared and no implementation can leave out, so the peer is Grad-CAM at the
first of the taps; the ratio to Grad-CAM at the last is printed as well. First shows that the maps of one pass are those
of five, and those of a plain NumPy implementation; then takes turns and prints medians. Aims:
at most 1.3 times as long as Grad-CAM at one tap, at least 3 times as fast as a pass a tap.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.gradcam import medians


@dataclass(frozen=True)
class Options:
    clips: int = 4
    model: Literal["resnext3d", "i3d", "cnn_gru", "googlenet"] = "resnext3d"
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3)
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)  # of resnext3d: those of depth 50
    width: int = 128  # of resnext3d
    repeats: int = 7
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    import keras
    import numpy as np

    from har_tf.explain import cam3d, gradcam, layerwise, stages

    keras.utils.set_random_seed(0)
    model = _model(options)
    shape = model.input_shape[1:]
    clips = np.random.default_rng(0).integers(0, 256, (options.clips, *shape)).astype(model.inputs[0].dtype)
    names = [tap.name for tap in stages(model)]
    classes = model.predict(clips, verbose=0).argmax(axis=1)

    found = layerwise(model, clips, names, classes)
    together = cam3d(model, clips, names, classes, normalize=None)
    alone = sum(cam3d(model, clips, [name], classes, normalize=None).maps for name in names)
    # The mean: where the input of some ReLU is zero but for rounding, the gradients of two graphs differ a little.
    difference = float(np.abs(together.maps - alone).mean())
    direct = float(np.abs(together.maps - _direct(model, clips, classes, names)).mean())
    if not max(difference, direct) < 1e-3:
        raise AssertionError(f"the maps differ by {max(difference, direct):.2g}; the times would mean nothing")

    contestants = {
        "cam3d": lambda: cam3d(model, clips, names, classes),
        "a_pass_a_tap": lambda: [cam3d(model, clips, [name], classes) for name in names],
        "gradcam_first": lambda: gradcam(model, clips, names[0], classes),
        "gradcam_last": lambda: gradcam(model, clips, names[-1], classes),
        "maps_alone": found.cam3d,
    }
    median = medians(contestants, options.repeats)
    result = {
        "options": {**asdict(options), "out": None},
        "taps": names,
        "seconds": median,
        "cam3d_over_gradcam_first": median["cam3d"] / median["gradcam_first"],
        "cam3d_over_gradcam_last": median["cam3d"] / median["gradcam_last"],
        "a_pass_a_tap_over_cam3d": median["a_pass_a_tap"] / median["cam3d"],
        "mean_difference_of_maps": difference,
        "mean_difference_from_direct": direct,
    }
    print(f"{options.model}, {options.clips} clips of {shape}, taps {', '.join(names)}")
    for name, value in median.items():
        print(f"{name:14} {value:7.3f} s  {options.clips / value:7.1f} clips/s")
    print(f"maps of one pass differ by {difference:.1e} from those of a pass a tap, by {direct:.1e} from NumPy's")
    print(f"Grad-CAM at {names[0]} x {result['cam3d_over_gradcam_first']:.2f} (aim: 1.3 or less)")
    print(f"Grad-CAM at {names[-1]} x {result['cam3d_over_gradcam_last']:.2f}, with a shorter way back")
    print(f"a pass a tap takes {result['a_pass_a_tap_over_cam3d']:.1f} x as long (aim: 3 or more for five taps)")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _model(options: Options):
    from har_tf.models import cnn_gru, googlenet
    from har_tf.models.i3d import i3d
    from har_tf.models.resnext3d import resnext3d

    build = {
        "resnext3d": lambda: resnext3d(options.input_shape, 101, blocks=options.blocks, width=options.width),
        "i3d": lambda: i3d(options.input_shape, 101),
        "cnn_gru": lambda: cnn_gru(options.input_shape, 10),
        "googlenet": lambda: googlenet(options.input_shape[1:], 1000),
    }
    return build[options.model]()


def _direct(model, clips, classes, names):
    """Equations (1), (2) and (6) clip by clip, whatever the layout of the maps."""
    import keras
    import numpy as np
    import tensorflow as tf

    from har_tf.explain.upsampling import enlarge
    from har_tf.models.taps import find_several

    head = model.get_layer("predictions")
    probe = keras.Model(model.inputs[0], [*(model.get_layer(name).output for name in names), head.input])
    size = (1, *clips.shape[1:3]) if clips.ndim == 4 else clips.shape[1:4]
    shapes = [tap.shape for tap in find_several(model, names)]
    total = np.zeros((len(clips), *size))

    @tf.function
    def passes(clip, label):
        *maps, last = probe(clip, training=False)
        score = (last @ head.kernel + head.bias)[0, label]
        return maps, tf.gradients(score, maps)

    for i, label in enumerate(classes):
        for shape, feature, gradient in zip(shapes, *passes(clips[i : i + 1], label), strict=True):
            product = 1
            for small in (feature, gradient):
                large = enlarge(small.numpy().sum(axis=-1).reshape(1, *shape[:3]), size, "corners")[0]
                product = product * np.maximum(large / large.max(), 0) if large.max() > 0 else 0
            total[i] += product
    return total


if __name__ == "__main__":
    main(tyro.cli(Options))
