from dataclasses import replace

import numpy as np
import pytest

from har_tf.explain import Explanation, Sampled, overlay, save_overlay
from har_tf.explain.overlay import _warning, over_video, panel_of, scale_end, shown
from har_tf.explain.overlay import captioned as frame_by_frame


def captioned(*args, **options):
    return np.stack(list(frame_by_frame(*args, **options)))


def explanation_of(maps, normalize="clip"):
    maps = np.asarray(maps, "float32")
    ones = np.ones(len(maps))
    settings = {"tap": "conv3d", "pool": "spatial", "normalize": normalize}
    return Explanation(maps, maps, ones.astype("int64"), ones, 0.5 * ones, "Grad-CAM", settings)


def grey(shape, value=100):
    return np.full((*shape, 3), value, "uint8")


def test_colour_comes_in_the_measure_of_the_saliency():
    # Jet is (128, 0, 0) at 1 and (128, 255, 127) or so half way; nothing is painted where the saliency is 0.
    painted = overlay(grey((1, 1, 1, 3)), explanation_of([[[[0, 0.5, 1]]]]), alpha=0.4)[0, 0, 0]
    assert painted.dtype == np.uint8
    assert painted[0].tolist() == [100, 100, 100]
    assert painted[2].tolist() == [round(0.6 * 100 + 0.4 * 128), 60, 60]
    half = np.array([130, 255, 126])
    np.testing.assert_allclose(painted[1], 0.8 * 100 + 0.2 * half, atol=2)


def test_a_clip_without_evidence_is_left_as_it_was():
    clip = np.random.default_rng(0).integers(0, 256, (1, 2, 4, 4, 3), dtype="uint8")
    np.testing.assert_array_equal(overlay(clip, explanation_of(np.zeros((1, 2, 4, 4)))), clip)


def test_uniform_blend_mixes_every_pixel():
    cold = overlay(grey((1, 1, 1, 1)), explanation_of([[[[0]]]]), alpha=0.4, blend="uniform")[0, 0, 0, 0]
    assert cold.tolist() == [60, 60, round(0.6 * 100 + 0.4 * 128)]  # jet starts at dark blue


def test_maps_are_resized_to_larger_frames_and_images_are_clips_of_one_frame():
    painted = overlay(grey((1, 8, 8)), explanation_of([[[[1, 0], [0, 0]]]]))
    assert painted.shape == (1, 1, 8, 8, 3)
    changed = (painted[0, 0] != 100).any(axis=-1)
    assert changed[:2, :2].all()
    assert not changed[6:].any()


def test_float_clips_are_painted_alike():
    explanation = explanation_of([[[[0.3, 1]]]])
    clip = grey((1, 1, 1, 2))
    np.testing.assert_array_equal(overlay(clip.astype("float32"), explanation), overlay(clip, explanation))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.5}, "alpha lies in"),
        ({"blend": "add"}, "blend is 'saliency' or 'uniform'"),
        ({"colormap": "rainbows"}, r"colormap is one of .*jet.* Received: colormap='rainbows'"),
        ({"clips": grey((1, 3, 2, 2))}, r"1 clips of 2 frames .* shape \(1, 3, 2, 2, 3\)"),
        ({"clips": np.zeros((2, 2))}, r"clips are \(B, T, H, W, 3\). Received: shape \(2, 2\)"),
        (
            {"explanation": explanation_of([[[[7.0]]] * 2], None)},
            r"maps in \[0, 1\].* up to 7, normalize=None",
        ),
    ],
)
def test_wrong_arguments(changes, message):
    arguments = {"clips": grey((1, 2, 2, 2)), "explanation": explanation_of(np.ones((1, 2, 2, 2))), **changes}
    with pytest.raises(ValueError, match=message):
        overlay(**arguments)


def test_pixels_in_other_ranges_and_grey_ones_are_shown_alike():
    explanation, clip = explanation_of([[[[0, 1]]]]), grey((1, 1, 1, 2), 51)
    wanted = overlay(clip, explanation)
    for same in (clip / 255, clip / 127.5 - 1, clip.astype("float64"), clip[..., :1], clip.astype("int32")):
        np.testing.assert_array_equal(overlay(same, explanation), wanted)


def test_the_map_of_a_model_that_crops_its_input_is_painted_at_its_place(tmp_path):
    import keras
    from keras import layers

    from har_tf.explain import gradcam
    from har_tf.video import read_clip

    clip = np.full((1, 4, 32, 48, 3), 0.2, "float32")
    clip[:, :, 10:14, 30:34] = 1
    x = inputs = layers.Input(clip.shape[1:])
    x = layers.TimeDistributed(layers.CenterCrop(24, 24))(x)
    x = layers.Conv3D(1, (1, 3, 3), padding="same", activation="relu", kernel_initializer="ones")(x)
    weights = keras.initializers.Constant([[1.0, -1.0]])
    model = keras.Model(inputs, layers.Dense(2, kernel_initializer=weights)(layers.GlobalMaxPooling3D()(x)))
    explanation = gradcam(model, clip)
    changed = np.abs(overlay(clip, explanation).astype(int) - np.rint(clip * 255)).max(axis=-1)
    assert (changed[0, :, 11:13, 31:33] > 50).all(), "on the patch"
    assert not changed[0, :, :, :12].any() and not changed[0, :, :4].any(), "nothing where the model never looks"
    path = save_overlay(tmp_path / "o.mp4", clip, explanation, min_side=32)  # so narrow that the legend is cut
    assert read_clip(path, None, None).shape[2] == 2 * 48 + 4


@pytest.mark.parametrize(
    ("bright", "scale", "end", "meaning"),
    [
        (1000, "percentile", 0.25, "strongest 0.5 % of this clip"),
        (1000, "max", 1, "strongest point of this clip"),
        (40, "percentile", 1, "strongest point of this clip"),  # less than 0.5 % of the pixels
    ],
)
def test_the_colour_scale_ends_where_it_says(bright, scale, end, meaning):
    maps = np.zeros((1, 1, 100, 100))
    maps.flat[: bright - 10], maps.flat[bright - 10 : bright] = 0.25, 1
    found = scale_end(explanation_of(maps), scale)
    assert (found.values.tolist(), found.meaning) == ([[end]], meaning)


def test_a_map_whose_mass_lies_in_few_pixels_is_seen():
    maps = np.full((1, 1, 100, 100), 0.2)
    maps[0, 0, 0, 0] = 1
    seen, today = (overlay(grey((1, 1, 100, 100)), explanation_of(maps), scale=s)[0, 0] for s in ("percentile", "max"))
    assert seen[50, 50].tolist() == [round(0.6 * 100 + 0.4 * 128), 60, 60]
    assert np.abs(today[50, 50].astype(int) - 100).max() < 15
    assert (seen[0, 0] == seen[50, 50]).all(), "what is stronger is not another colour"


def test_frames_that_were_scaled_one_by_one_have_their_own_ends():
    maps = np.ones((1, 2, 10, 10))
    maps[0, 1] = 0.5
    found = scale_end(explanation_of(maps, "frame"))
    assert (found.values.tolist(), found.meaning) == ([[1, 0.5]], "strongest 0.5 % of each frame")
    assert scale_end(explanation_of(np.zeros((2, 1, 4, 4)))).values.tolist() == [[1], [1]]


def parts(frames, height, width, columns):
    """What stands above, in and below pictures side by side."""
    same = [(frames[0, y : y + height, :width] == 100).all() for y in range(frames.shape[1] - height + 1)]
    top = same.index(True)
    body = frames[:, top : top + height]
    pictures = [body[:, :, i * (width + 4) : i * (width + 4) + width] for i in range(columns)]
    return frames[:, :top], pictures, frames[:, top + height :]


def test_captions_stand_beside_both_pictures_and_never_over_them():
    maps = np.zeros((2, 3, 8, 12))
    maps[1, 1, :, 6:] = 1
    frames = captioned(
        grey((3, 8, 12)), explanation_of(maps), index=1, class_names=["a", "walk"], title="t" * 300, min_side=128
    )
    above, (original, painted), below = parts(frames, 128, 192, 2)
    assert (original == 100).all()
    assert (painted[[0, 2]] == 100).all()
    assert (painted[1, :, -64:] == [114, 50, 50]).all()  # half of jet's (128, 0, 0)
    for strip in (above, below):
        assert strip.min() < 100  # something is written
        assert (strip[:, :, -2:] == 255).all()  # and not clipped at the right


def test_the_moment_the_missing_evidence_and_a_coarse_grid_are_told():
    clip, nothing = grey((2, 8, 12)), explanation_of(np.zeros((1, 2, 8, 12)))
    some = explanation_of(np.ones((1, 2, 80, 120)))
    frames = captioned(clip, some, min_side=128)
    assert (frames[0] != frames[1]).any()  # frame 1/2, frame 2/2
    assert _warning({"": some}, False) == ""
    assert _warning({"": nothing}, False) == "No positive evidence was found: nothing is painted."
    coarse = replace(some, signed=np.ones((1, 2, 4, 6)))
    told = "A grid of 4 x 6 cells: colour may lie beside what it means."
    assert _warning({"": coarse}, False) == told
    assert _warning({"": coarse}, True) == told + " The model sees what is inside the line."
    assert _warning({"a": some, "b": nothing, "c": coarse}, False) == (
        "No positive evidence was found in b: nothing is painted. "
        "A grid of 4 x 6 cells (c): colour may lie beside what it means."
    )
    assert len(captioned(clip, coarse, min_side=128)[0]) > len(frames[0])
    with pytest.raises(ValueError, match=r"one number a frame, 2. Received: 3"):
        captioned(clip, some, times=[0, 1, 2])


def test_the_video_reads_back(tmp_path):
    from har_tf.video import probe, read_clip

    maps = np.zeros((1, 3, 16, 24))
    maps[0, 2] = 1
    clip = grey((1, 3, 16, 24))
    path = save_overlay(tmp_path / "overlay.mp4", clip, explanation_of(maps), fps=4, min_side=64)
    info = probe(path)
    expected = captioned(clip, explanation_of(maps), min_side=64)
    assert (info.frames, info.fps) == (3, 4)
    back = read_clip(path, num_frames=None, size=None)[:, : expected.shape[1], : expected.shape[2]]
    assert np.abs(back.astype(int) - expected).mean() < 4


def test_several_explanations_stand_side_by_side_under_their_names():
    left, right, nothing = np.zeros((1, 2, 8, 12)), np.zeros((1, 2, 8, 12)), np.zeros((1, 2, 8, 12))
    left[0, :, :, :6], right[0, :, :, 6:] = 1, 1
    explanations = {"GoogLeNet": explanation_of(left), "MobileNet": explanation_of(right), "c": explanation_of(nothing)}
    frames = captioned(grey((2, 8, 12)), explanations, class_names=["a", "walk"], min_side=128)
    _, pictures, _ = parts(frames, 128, 192, 4)
    painted = [114, 50, 50]  # half of jet's (128, 0, 0)
    assert (pictures[0] == 100).all() and (pictures[3] == 100).all()
    assert (pictures[1][:, :, :64] == painted).all() and (pictures[1][:, :, -64:] == 100).all()
    assert (pictures[2][:, :, -64:] == painted).all() and (pictures[2][:, :, :64] == 100).all()
    unnamed = captioned(grey((2, 8, 12)), explanations["GoogLeNet"], min_side=128)
    assert frames.shape[1] > unnamed.shape[1] - 16, "a line of names; the legend needs none of its own"


def test_the_title_says_class_probability_and_method(monkeypatch):
    from har_tf.explain import captions

    drawn, real = [], captions.line
    monkeypatch.setattr(
        captions, "line", lambda text, *a, tail="", **k: drawn.append(text + tail) or real(text, *a, tail=tail, **k)
    )
    walk = explanation_of(np.ones((1, 1, 80, 120)))
    captioned(grey((1, 8, 12)), walk, class_names=["a", "walk"], title="a.mp4")
    assert {"walk, p = 50.0%, Grad-CAM", "a.mp4", "frame 1/1"} <= set(drawn)
    against = replace(walk, settings={**walk.settings, "counterfactual": True})
    captioned(grey((1, 8, 12)), {"one": against, "two": against}, class_names=["a", "walk"])
    assert {"against walk, p = 50.0%", "clip", "one", "two"} <= set(drawn)


def test_explanations_of_different_classes_do_not_stand_side_by_side():
    first = explanation_of(np.ones((1, 1, 2, 2)))
    second = replace(first, class_index=np.array([0]))
    with pytest.raises(ValueError, match=r"of one class. Received: classes {'a': 1, 'b': 0}"):
        captioned(grey((1, 2, 2)), {"a": first, "b": second})
    with pytest.raises(ValueError, match="at least one explanation. Received: none"):
        captioned(grey((1, 2, 2)), {})


def test_frames_may_come_one_by_one_and_each_has_its_heading():
    explanation, clip = explanation_of(np.ones((1, 3, 8, 12))), grey((3, 8, 12))
    np.testing.assert_array_equal(captioned(iter(clip), explanation), captioned(clip, explanation))
    frames = captioned(clip, explanation, headings=["walk", "walk", "run"], min_side=128)
    assert (frames[0, :16] == frames[1, :16]).all() and (frames[0, :16] != frames[2, :16]).any()
    with pytest.raises(ValueError, match=r"headings holds one text a frame, 3. Received: 1"):
        captioned(clip, explanation, headings=["walk"])
    with pytest.raises(ValueError, match=r"an explanation of 3 frames needs these. Received: a clip of 2 frames"):
        captioned(clip[:2], explanation)
    with pytest.raises(ValueError, match=r"frames"):
        captioned(iter(clip[:2]), explanation)
    with pytest.raises(ValueError, match=r"maps in \[0, 1\]"):
        captioned(clip, explanation_of(2 * np.ones((1, 3, 8, 12)), None))


@pytest.fixture
def video(tmp_path):
    """Nine grey frames of 120 x 200 at uneven times."""
    from har_tf.video import write_video

    seconds = [0, 0.1, 0.2, 0.3, 0.4, 1.4, 1.5, 1.6, 1.7]
    return write_video(tmp_path / "v.mp4", zip(grey((9, 120, 200)), seconds, strict=True), qp=1), seconds


def test_maps_lie_on_all_frames_of_the_video_at_its_size_and_times(video, tmp_path):
    from har_tf.video.reader import play

    path, seconds = video
    maps = np.zeros((1, 3, 12, 20))
    maps[0, 1] = 1  # on frame 4 alone
    clip = Sampled(path, np.array([0, 4, 8]), (12, 20))
    shown = dict(enumerate(over_video(clip, explanation_of(maps), alpha=1)))
    assert [second for _, second in shown.values()] == pytest.approx(seconds)
    picture = shown[0][0]
    assert picture.shape[1] == 2 * 200 + 4
    middle = [frame[len(frame) // 2, 300].astype(int) for frame, _ in shown.values()]
    assert np.abs(middle[0] - 100).max() < 4 and np.abs(middle[8] - 100).max() < 4
    assert np.abs(middle[4] - [128, 0, 0]).max() < 4  # jet's last colour
    # Half way: half of jet's middle colour, (130, 255, 126).
    assert np.abs(middle[2] - [115, 178, 113]).max() < 4 and np.abs(middle[6] - middle[2]).max() < 4
    out = save_overlay(tmp_path / "o.mp4", clip, explanation_of(maps))
    assert [second for _, second in play(out)] == pytest.approx(seconds, abs=1e-3)


def test_a_cropped_clip_s_map_lies_where_the_clip_did_and_unseen_frames_are_bare(video):
    path, _ = video
    clip = Sampled(path, np.array([2, 3]), (20, 20), "crop")
    frames = np.stack([frame for frame, _ in over_video(clip, explanation_of(np.ones((1, 2, 20, 20))), alpha=1)])
    row = frames[:, len(frames[0]) // 2, 204:].astype(int)
    red = (np.abs(row - [128, 0, 0]) < 8).all(axis=-1)
    assert red[2, 46:154].all() and not red[2, :36].any() and not red[2, 164:].any()
    assert not red[[0, 1, 4, 5, 6, 7, 8]].any()
    unseen = frames[:, -40:, :100].min(axis=(1, 2, 3))
    assert (frames[0] != frames[2]).any() and unseen.max() < 200


def test_the_size_of_a_video_s_pictures_may_be_chosen_and_is_never_too_wide(video):
    path, _ = video
    clip = Sampled(path, np.arange(9), (12, 20))
    assert panel_of(clip, 1) == ((120, 200), (120, 200))
    assert panel_of(clip, 1, 60)[1] == (60, 100)
    assert panel_of(clip, 40)[1] == (58, 96), "41 pictures in 4096 pixels"


def test_an_animation_is_written_by_its_ending(video, tmp_path):
    from PIL import Image

    clip = Sampled(video[0], np.arange(9), (12, 20))
    for ending in (".gif", ".webp"):
        with Image.open(save_overlay(tmp_path / f"o{ending}", clip, explanation_of(np.ones((1, 9, 12, 20))))) as found:
            assert (found.n_frames, found.size[0]) == (9, 404)


@pytest.mark.parametrize("normalize", ["clip", "frame"])
def test_maps_of_single_pixels_are_smoothed_in_pictures_alone(normalize):
    maps = np.zeros((1, 2, 100, 150), "float32")
    maps[0, 0, 50, 75], maps[0, 1, 50, 75] = 1, 1 if normalize == "frame" else 0.5
    grained = replace(explanation_of(maps, normalize), grain=True)
    picture = shown(grained)
    weights = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2**2))  # 2 % of 100 pixels
    np.testing.assert_allclose(picture.maps[0, 0, 50, 67:84], weights, atol=0.01)
    assert picture.maps[0, 1].max() == pytest.approx(maps[0, 1].max(), abs=1e-5)
    assert grained.maps is maps and picture.settings["picture"] == "smoothed over 2% of the shorter side"
    assert shown(picture) is picture and shown(explanation_of(maps)).maps is maps
    painted = overlay(grey((1, 2, 100, 150)), grained)
    assert (painted[0, 0, 50, 78] != 100).any() and (painted[0, 0, 10, 10] == 100).all()
    assert _warning({"Gradient": picture}, False) == "A map of single pixels, smoothed for the picture."
    frame = captioned(grey((2, 100, 150)), grained)[0]
    plain = captioned(grey((2, 100, 150)), replace(grained, grain=False))[0]
    assert len(frame) > len(plain)
