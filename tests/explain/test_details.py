import json
from dataclasses import replace

import numpy as np
import pytest

from har_tf.explain import Explanation, Sampled, details
from har_tf.video import write_video


def test_what_a_map_is_and_where_its_colours_end():
    maps = np.zeros((1, 2, 10, 10), "float32")
    maps[0, 0], maps[0, 1, 0, 0] = 0.5, 1
    settings = {"tap": "conv", "pool": "spatial", "normalize": "clip"}
    one = np.ones(1, "float32")
    explanation = Explanation(maps, maps[:, :, :4, :6], one.astype("int64"), 3 * one, 0.25 * one, "Grad-CAM", settings)
    (found,) = details.of_maps({"": explanation}, ["a", "walk"], "percentile")
    assert (found["name"], found["class"], found["probability"], found["score"]) == ("Grad-CAM", "walk", 0.25, 3.0)
    assert found["taps"] == [{"name": "conv", "cells": {"time": 2, "height": 4, "width": 6}}]
    assert found["settings"] == {"pool": "spatial", "normalize": "clip"}
    share = found["scale"].pop("share_of_the_maximum")  # 200 pixels: between the largest and the next
    assert share == pytest.approx(0.5025, abs=1e-6)
    assert found["scale"] == {"ends_at": "percentile", "means": "strongest 0.5 % of this clip"}
    joined = Explanation(maps, maps, one.astype("int64"), one, one, "3DCAM", {"taps": ("x", "y"), "normalize": "frame"})
    (found,) = details.of_maps({"": joined}, ["a", "walk"], "max")
    assert found["taps"] == [{"name": "x", "cells": None}, {"name": "y", "cells": None}]
    assert found["scale"]["share_of_the_maximum"] == [0.5, 1.0]
    coarse = replace(joined, settings={"cells": [(2, 3, 4)], "normalize": "clip", "steps": 3}, grain=True)
    (found,) = details.of_maps({"": coarse}, ["a", "walk"], "max")
    assert found["taps"] == [] and found["grid"] == {"time": 2, "height": 3, "width": 4}
    smoothed = "smoothed over 2% of the shorter side"
    assert found["settings"] == {"normalize": "clip", "steps": 3, "picture": smoothed}
    json.dumps(found)


def test_which_frames_were_sampled_and_where_they_lie(tmp_path):
    frames = np.zeros((5, 40, 80, 3), np.uint8)
    path = write_video(tmp_path / "v.mp4", zip(frames, [0, 0.5, 2, 3, 4], strict=True))
    found = details.of_sampling(Sampled(path, np.array([0, 2, 2]), (20, 20), "crop"), 1, None)
    assert (found["frames"], found["seconds"], found["size"]) == ([0, 2, 2], [0, 2, 2], [40, 80])
    assert found["seen"] == {"top": 0, "bottom": 40, "left": 20, "right": 60}
    assert "line" in found["outside"]
    whole = details.of_sampling(Sampled(path, np.array([1]), (20, 20)), 1, 80)
    assert (whole["overlay_size"], whole["outside"], whole["seconds"]) == ([80, 160], None, [0.5])


def test_values_become_plain():
    assert details.plain({"a": np.float32(0.5), "b": (np.arange(2), None), 3: object}) == {
        "a": 0.5, "b": [[0, 1], None], "3": str(object),
    }  # fmt: skip
