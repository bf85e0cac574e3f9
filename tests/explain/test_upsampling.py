import numpy as np
import pytest

from har_tf.explain.upsampling import enlarge, interpolation


def test_enlarging_interpolates_between_cell_centres():
    # Two cells over four pixels have their centres at 0.5 and 2.5: pixel 1 is a quarter of the way.
    maps = np.array([[[[0.0, 4.0]]]], "float32")
    np.testing.assert_allclose(enlarge(maps, (1, 1, 4)), [[[[0, 1, 3, 4]]]])
    np.testing.assert_allclose(enlarge(maps.reshape(1, 2, 1, 1), (4, 1, 1)).ravel(), [0, 1, 3, 4])
    np.testing.assert_allclose(enlarge(maps.reshape(1, 1, 2, 1), (2, 4, 1))[0, 1].ravel(), [0, 1, 3, 4])


def test_enlarging_agrees_with_opencv():
    import cv2

    small = np.random.default_rng(0).random((1, 1, 4, 6)).astype("float32")
    large = cv2.resize(small[0, 0], (50, 33), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(enlarge(small, (1, 33, 50))[0, 0], large, atol=1e-5)


def test_a_map_of_one_moment_holds_for_all_frames_and_size_one_stays():
    maps = np.array([[[[1.0, 2.0]]]], "float32")
    for align in ("centres", "corners"):
        np.testing.assert_array_equal(enlarge(maps, (3, 1, 2), align), np.repeat(maps, 3, axis=1))


def test_corners_lie_on_corners():
    # The first cell on pixel 0, the last on pixel 3: pixel 1 is a third of the way.
    np.testing.assert_allclose(interpolation(2, 4, "corners") @ [0, 3], [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(interpolation(3, 5, "corners") @ [0, 4, 6], [0, 2, 4, 5, 6])
    np.testing.assert_array_equal(interpolation(7, 7, "corners"), np.eye(7))
    np.testing.assert_array_equal(interpolation(3, 1, "corners"), [[0, 1, 0]])
    np.testing.assert_array_equal(interpolation(2, 1, "corners"), [[0.5, 0.5]])


def trilinear(cells, size):
    """Equations (3) to (5), as they are printed, point by point."""
    large = np.empty(size)
    for point in np.ndindex(*size):
        places = [0.0 if n == 1 else p * (o - 1) / (n - 1) for p, n, o in zip(point, size, cells.shape, strict=True)]
        first = [min(int(place), max(o - 2, 0)) for place, o in zip(places, cells.shape, strict=True)]
        a1, a2, a3 = (place - left for place, left in zip(places, first, strict=True))
        v = {}
        for corner in np.ndindex(2, 2, 2):
            v[corner] = cells[tuple(min(f + c, o - 1) for f, c, o in zip(first, corner, cells.shape, strict=True))]
        low = (v[0, 0, 0] * (1 - a1) + v[1, 0, 0] * a1) * (1 - a2) + (v[0, 1, 0] * (1 - a1) + v[1, 1, 0] * a1) * a2
        high = (v[0, 0, 1] * (1 - a1) + v[1, 0, 1] * a1) * (1 - a2) + (v[0, 1, 1] * (1 - a1) + v[1, 1, 1] * a1) * a2
        large[point] = low * (1 - a3) + high * a3
    return large


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((2, 3, 4), (5, 7, 9)),
        ((1, 4, 4), (6, 8, 8)),
        ((3, 1, 4), (4, 5, 6)),
        ((3, 4, 1), (8, 4, 3)),
        ((1, 1, 1), (2, 3, 4)),
        ((4, 5, 6), (2, 3, 4)),
    ],
)
def test_corners_equal_the_paper_s_trilinear_interpolation(old, new):
    maps = np.random.default_rng(0).normal(size=(2, *old)).astype("float32")
    expected = [trilinear(cells, new) for cells in maps]
    np.testing.assert_allclose(enlarge(maps, new, "corners"), expected, atol=1e-5)


def test_another_alignment_is_refused():
    with pytest.raises(ValueError, match="align is one of 'centres', 'corners'. Received: align='edges'"):
        interpolation(2, 4, "edges")
