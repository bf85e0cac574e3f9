import numpy as np
import pytest

from har_tf.explain.fills import filled

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 3, 10, 20, 3), np.uint8)


def test_mean_is_the_colour_of_each_clip():
    found = filled(CLIPS, "mean")
    assert found.shape == CLIPS.shape
    np.testing.assert_allclose(found[1, 2, 5, 7], CLIPS[1].reshape(-1, 3).mean(axis=0), rtol=1e-6)


def test_blur_is_of_each_frame_and_keeps_flat_frames():
    clips = np.zeros((1, 2, 40, 40, 1), "uint8")
    clips[0, 1] = 200
    clips[0, 0, 20, 20] = 255
    found = filled(clips, "blur")
    np.testing.assert_allclose(found[0, 1], 200, atol=1e-3)
    assert found[0, 0].argmax() == 20 * 40 + 20
    # A Gaussian of a standard deviation of 4 pixels: 1 / (2 pi 16) in its middle.
    assert found[0, 0].max() == pytest.approx(255 / (2 * np.pi * 16), rel=0.02)


def test_numbers_colours_and_other_clips():
    assert (filled(CLIPS, 7) == 7).all() and not filled(CLIPS, "black").any()
    assert filled(CLIPS, [1, 2, 3])[1, 2, 3, 4].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(filled(CLIPS, CLIPS[::-1]), CLIPS[::-1])


@pytest.mark.parametrize("wrong", ["white", np.zeros((2, 2))])
def test_others_are_refused(wrong):
    with pytest.raises(ValueError, match="fill .* Received: "):
        filled(CLIPS, wrong)
