"""Experiments with `--strategy mirrored`, on clips that devices cannot share evenly: the figures of one device.

`gated_recognition` and `zero_shot` do so in their own tests.
"""

import pytest
from several_devices import assert_same, results_on
from tiny_networks import make_tiny

from experiments import cam3d_localization, cam3d_untrimmed, fusion_gru, ucf10_cnn_gru, video_tcav
from har_tf import subject
from har_tf.experiment import changed

# Batches of 8 leave clips over.
FEW = {"epochs": 2, "batch_size": 8, "validation": 0.3, "overlays": 0, "trusted": 0, "workers": 0}
CNN_GRU = {"filters": (4, 4, 4), "pool_sizes": (2, 2, 2), "dropout": 0.0}
# Adam makes large steps of gradients that are zero but for rounding, which explanations would show.
EXPLAINED = FEW | {"network": "CNN-GRU", "size": (32, 48), "num_frames": 4, "taps": "conv2d_3,conv3d"}
EXPLAINED |= {"epochs": 1, "learning_rate": 1e-7}
RESNEXT = EXPLAINED | {"network": "ResNeXt3D", "size": (32, 32), "width": 32, "cardinality": 2, "taps": "layer2,layer3"}
RUNS = {
    # experiment: devices, options
    ucf10_cnn_gru: (2, FEW | CNN_GRU | {"clips": 43, "size": (32, 48), "models": "CNN-GRU", "num_frames": 4}),
    fusion_gru: (2, FEW | {"clips": 43, "size": 64, "gru_units": (6, 5), "num_frames": 4, "splits": "1"}),
    video_tcav: (
        2, EXPLAINED | {
            "clips": 103, "test": 0.7, "folds": 2, "level": 0.3, "class_clips": 5, "concept_clips": 5,
            "num_random": 3, "resamples": 5, "random_videos": 9, "reversal_clips": 3,
        },
    ),
    cam3d_localization: (2, EXPLAINED | {"clips": 43, "frames_per_clip": 2, "blur": (1 / 16,)}),
    cam3d_untrimmed: (2, RESNEXT | {"clips": 43, "stride": 4, "hop": 8, "streams": 1, "actions": 3, "repeats": 1}),
}  # fmt: skip


@pytest.mark.parametrize("experiment", RUNS, ids=lambda module: module.EXPERIMENT)
def test_figures_are_those_of_one_device(experiment, monkeypatch, tmp_path):
    count, options = RUNS[experiment]
    for name, value in CNN_GRU.items():
        monkeypatch.setitem(subject.SMALL_CNN_GRU, name, value)
    if experiment is fusion_gru:
        options = options | {"weights": "imagenet", "weights_dir": make_tiny(monkeypatch, tmp_path)}
    recipe = changed(experiment.PRESETS["figures"], **options, out=tmp_path)
    assert_same(*(results_on(number, experiment.main, recipe) for number in (count, 1)))
