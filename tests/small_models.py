"""A small model of every architecture: `from small_models import MODELS, small_model`. It imports no TensorFlow."""

import functools

import keras
import numpy as np
import pytest
from tiny_networks import make_tiny

from har_tf.models import cnn_gru, frame_cnn, gated, googlenet, i3d, resnext3d, video_swin
from har_tf.models.fusion_gru import FUSIONS, fusion_gru

STREAMS, SIDES = ("MobileNet", "MobileNetV2"), {"MobileNet": 64, "MobileNetV2": 48}
TINY_RESNEXT = {"blocks": (1, 1, 2, 1), "width": 32, "cardinality": 4}
TINY_SWIN = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window": (2, 3, 3)}


def fused(fusion):
    return fusion_gru(
        (2, 64, 64, 3), 3, STREAMS, None, fusion=fusion, gru_units=(3,), frame_sizes=SIDES, bidirectional=True
    )


def gated_i3d():
    """Gates start from zero, where they would change no answer."""
    model = gated(i3d((16, 40, 40, 3), 4, width=1 / 16), ["mixed_3c", "mixed_4f"])
    for layer in model.layers:
        if layer.name in ("gate_mixed_3c", "gate_mixed_4f"):
            layer.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in layer.get_weights()])
    return model


MODELS = {
    "cnn_gru": lambda: cnn_gru((3, 32, 48, 3), 4, (4, 6, 8), (2, 2, 2)),
    "frame_cnn": lambda: frame_cnn("MobileNet", (2, 64, 64, 3), 4, alpha=0.25),
    "googlenet, bvlc": lambda: googlenet((45, 64, 3), 4, "bvlc"),
    "googlenet, batchnorm": lambda: googlenet((45, 64, 3), 4, "batchnorm"),
    "i3d, rgb": lambda: i3d((9, 45, 34, 3), 4, width=1 / 16),
    "i3d, flow": lambda: i3d((9, 45, 34, 2), 4, "flow", width=1 / 16, batch_norm_scale=False),
    "resnext3d, A": lambda: resnext3d((16, 64, 64, 3), 4, shortcut="A", dropout=0.5, **TINY_RESNEXT),
    "resnext3d, B": lambda: resnext3d((16, 64, 64, 3), 4, shortcut="B", dropout=0.5, **TINY_RESNEXT),
    "gated": gated_i3d,
    "video_swin": lambda: video_swin("tiny", (6, 40, 52, 3), 4, **TINY_SWIN),
    **{f"fusion_gru, {fusion}": functools.partial(fused, fusion) for fusion in FUSIONS},
}


def small_model(name: str) -> keras.Model:
    """One of `MODELS`; real networks are fused in one way, tiny ones in the others."""
    with pytest.MonkeyPatch.context() as patch:
        if name.startswith("fusion_gru") and name != f"fusion_gru, {FUSIONS[0]}":
            make_tiny(patch, None)
        return MODELS[name]()
