from dataclasses import replace

import numpy as np
import pytest

from har_tf.explain import Explanation, overlay, save_overlay
from har_tf.explain.overlay import _made
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


def test_captions_stand_beside_both_pictures_and_never_over_them():
    maps = np.zeros((2, 3, 8, 12))
    maps[1, 1, :, 6:] = 1
    clip = grey((3, 8, 12))
    frames = captioned(clip, explanation_of(maps), index=1, class_names=["a", "walk"], title="t" * 300, min_side=128)
    height, width = 128, 192
    assert frames.shape == (3, 18 * 4 + height, 2 * width + 4, 3)  # two lines above, two below
    top = 18 * 2
    original = frames[:, top : top + height, :width]
    painted = frames[:, top : top + height, width + 4 :]
    assert (original == 100).all()
    assert (painted[[0, 2]] == 100).all()
    assert (painted[1, :, -64:] == [114, 50, 50]).all()  # half of jet's (128, 0, 0)
    for strip in (frames[:, :top], frames[:, top + height :]):
        assert strip.min() < 100  # something is written
        assert (strip[:, :, -2:] == 255).all()  # and not clipped at the right


def test_the_frame_number_and_the_missing_evidence_are_told():
    clip, nothing = grey((2, 8, 12)), explanation_of(np.zeros((1, 2, 8, 12)))
    some = explanation_of(np.ones((1, 2, 8, 12)))
    frames = captioned(clip, some, min_side=128)
    assert (frames[0] != frames[1]).any()  # frame 1/2, frame 2/2
    last_line = captioned(clip, nothing, min_side=128)[0, -20:]
    assert (last_line != frames[0, -20:]).any()
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
    height, width = 128, 192
    assert frames.shape == (2, 18 * 4 + height, 4 * width + 3 * 4, 3)  # the class, the names; two lines below
    columns = [frames[:, :, i * (width + 4) : i * (width + 4) + width] for i in range(4)]
    pictures = [column[:, 36 : 36 + height] for column in columns]
    painted = [114, 50, 50]  # half of jet's (128, 0, 0)
    assert (pictures[0] == 100).all() and (pictures[3] == 100).all()
    assert (pictures[1][:, :, :64] == painted).all() and (pictures[1][:, :, -64:] == 100).all()
    assert (pictures[2][:, :, -64:] == painted).all() and (pictures[2][:, :, :64] == 100).all()
    names = [column[0, 18:36] for column in columns]
    assert (names[0] == 255).all()  # the clip itself has none
    assert all(name.min() < 100 for name in names[1:])
    for i in range(3):  # paper between the pictures
        assert (frames[:, :, i * (width + 4) + width : (i + 1) * (width + 4)][:, 18 : 36 + height] == 255).all()


def test_how_the_maps_were_made_is_said_once_where_they_agree():
    first, second = explanation_of(np.ones((1, 1, 2, 2))), explanation_of(np.zeros((1, 3, 4, 5)))
    second = replace(second, settings={**second.settings, "tap": "other", "normalize": None})
    shared = "pool spatial, normalize clip"
    assert _made({"": first}) == f"Grad-CAM, tap conv3d (1x2x2), {shared}"
    assert _made({"": second}) == "no positive evidence (Grad-CAM, tap other (3x4x5), pool spatial)"
    taps = "tap conv3d (1x2x2) / other (3x4x5)"
    assert _made({"a": first, "b": second}) == f"no positive evidence in b (Grad-CAM, {taps}, {shared})"
    third = replace(first, method="3DCAM", settings={"tap": "conv3d", "normalize": "clip"})
    assert _made({"a": first, "b": third}) == f"Grad-CAM / 3DCAM, tap conv3d (1x2x2), {shared}"


def test_one_name_is_shown_too():
    alone = captioned(grey((1, 8, 12)), explanation_of(np.ones((1, 1, 8, 12))), min_side=128)
    named = captioned(grey((1, 8, 12)), {"conv": explanation_of(np.ones((1, 1, 8, 12)))}, min_side=128)
    np.testing.assert_array_equal(np.delete(named, range(18, 36), axis=1), alone)


def test_explanations_of_different_classes_do_not_stand_side_by_side():
    first = explanation_of(np.ones((1, 1, 2, 2)))
    second = replace(first, class_index=np.array([0]))
    with pytest.raises(ValueError, match=r"of one class. Received: classes {'a': 1, 'b': 0}"):
        captioned(grey((1, 2, 2)), {"a": first, "b": second})
    with pytest.raises(ValueError, match="at least one explanation. Received: none"):
        captioned(grey((1, 2, 2)), {})


def test_what_is_summed_and_negated_is_told():
    summed = explanation_of(np.ones((1, 1, 2, 2)))
    settings = {"taps": ("conv", "layer1"), "counterfactual": True, "normalize": "clip"}
    summed = replace(summed, method="Sum 3DCAM", settings=settings)
    told = "Sum 3DCAM, taps conv + layer1, counterfactual negated gradient, normalize clip"
    assert _made({"": summed}) == told
    many = replace(summed, settings={"taps": tuple("abcdefgh"), "counterfactual": False, "normalize": "clip"})
    assert _made({"": many}) == "Sum 3DCAM, taps a + ... + h (8 taps), normalize clip"
    pro = captioned(grey((1, 8, 12)), replace(summed, settings={**settings, "counterfactual": False}), min_side=128)
    contra = captioned(grey((1, 8, 12)), summed, min_side=128)
    assert (pro[:, :18] != contra[:, :18]).any(), "the heading says against"


def test_a_long_small_print_takes_lines_and_no_letter_is_cut():
    explanation = explanation_of(np.ones((1, 2, 8, 12)))
    settings = {**explanation.settings, "taps": ("mixed_3c_with_a_name", "mixed_4f_with_a_name", "mixed_5c")}
    frames = captioned(grey((2, 8, 12)), replace(explanation, settings=settings), min_side=128)
    assert frames.shape[1] == 18 + 128 + 18 + 2 * 18
    assert (frames[:, :, -2:][:, -36:] == 255).all()
    assert frames[0, -18:].min() < 200, "the second line is written"


def test_frames_may_come_one_by_one_and_each_has_its_heading():
    explanation, clip = explanation_of(np.ones((1, 3, 8, 12))), grey((3, 8, 12))
    np.testing.assert_array_equal(captioned(iter(clip), explanation), captioned(clip, explanation))
    frames = captioned(clip, explanation, headings=["walk", "walk", "run"], min_side=128)
    assert (frames[0, :18] == frames[1, :18]).all() and (frames[0, :18] != frames[2, :18]).any()
    with pytest.raises(ValueError, match=r"headings holds one text a frame, 3. Received: 1"):
        captioned(clip, explanation, headings=["walk"])
    with pytest.raises(ValueError, match=r"an explanation of 3 frames needs these. Received: a clip of 2 frames"):
        captioned(clip[:2], explanation)
    with pytest.raises(ValueError, match=r"frames"):
        captioned(iter(clip[:2]), explanation)
    with pytest.raises(ValueError, match=r"maps in \[0, 1\]"):
        captioned(clip, explanation_of(2 * np.ones((1, 3, 8, 12)), None))
