"""Window attention: windows, shifts, masks and bias worked out by hand, and the layer itself by NumPy."""

import keras
import numpy as np
import pytest

from har_tf.models.window_attention import (
    WindowAttention,
    merge,
    padded,
    partition,
    regions,
    relative_position_index,
    window_and_shift,
)


def test_partition_of_numbered_places():
    grid = np.arange(2 * 2 * 4).reshape(1, 2, 2, 4, 1)  # 0 to 7 in the first frame, 8 to 15 in the second
    windows = np.asarray(partition(grid, (1, 2, 2)))[..., 0]
    np.testing.assert_array_equal(windows, [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])
    windows = np.asarray(partition(grid, (2, 1, 2)))[..., 0]
    np.testing.assert_array_equal(windows, [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]])


@pytest.mark.parametrize("window", [(1, 1, 1), (2, 3, 4), (4, 6, 4), (4, 1, 8)])
def test_merge_undoes_partition(window):
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 8, 5)).astype("float32")
    windows = partition(x, window)
    assert windows.shape == (3 * 4 * 6 * 8 // np.prod(window), np.prod(window), 5)
    np.testing.assert_array_equal(merge(windows, window, (4, 6, 8)), x)


def test_bias_index_by_hand():
    # Places 0 and 1 beside each other: 0 - 1 is row 0, the same place row 1, 1 - 0 row 2.
    np.testing.assert_array_equal(relative_position_index((1, 1, 2)), [[1, 0], [2, 1]])
    # (h, w) from (0, 0) to (1, 1); the row is (dh + 1) * 3 + dw + 1.
    flat = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    np.testing.assert_array_equal(relative_position_index((1, 2, 2)), flat)
    # Two frames of it: within a frame dt = 0, to the later frame dt = -1, to the earlier one dt = 1, nine rows each.
    flat = np.array(flat)
    np.testing.assert_array_equal(
        relative_position_index((2, 2, 2)), np.block([[flat + 9, flat], [flat + 18, flat + 9]])
    )
    index = relative_position_index((8, 7, 7))
    assert index.shape == (392, 392)
    assert (index[0, 0], index[0, -1], index[-1, 0]) == (15 * 13 * 13 // 2, 0, 15 * 13 * 13 - 1)
    assert len(np.unique(index)) == 15 * 13 * 13


def test_windows_shrink_to_the_grid_and_are_not_moved_there():
    assert window_and_shift((16, 56, 56), (8, 7, 7)) == ((8, 7, 7), (4, 3, 3))
    assert window_and_shift((16, 56, 56), (8, 7, 7), shifted=False) == ((8, 7, 7), (0, 0, 0))
    assert window_and_shift((8, 7, 56), (8, 7, 7)) == ((8, 7, 7), (0, 0, 3))
    assert window_and_shift((5, 9, 3), (8, 7, 7)) == ((5, 7, 3), (0, 3, 0))
    assert padded((5, 9, 3), (5, 7, 3)) == (5, 14, 3)


def test_regions_by_hand():
    # A row of six in windows of four, moved by two and padded to eight: 2 3 4 5 | 6 7 0 1, of which 0 and 1 came round.
    np.testing.assert_array_equal(regions((1, 1, 8), (1, 1, 4), (0, 0, 2)), [[0, 0, 0, 0], [0, 0, 1, 1]])
    # Four windows of 2 x 2 in a picture of 4 x 4, moved by one: the last row came from the top, the last column from
    # the left, so that at the lower right all four are apart.
    picture = regions((1, 4, 4), (1, 2, 2), (0, 1, 1))
    np.testing.assert_array_equal(picture, [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 2, 2], [0, 1, 2, 3]])
    # Moved in time alone, where the other axes are one window each.
    in_time = regions((4, 1, 2), (2, 1, 2), (1, 0, 0))
    np.testing.assert_array_equal(in_time, [[0, 0, 0, 0], [0, 0, 4, 4]])


def attention_by_hand(layer, x):
    """The layer place by place: each place looks up which others share its window, in the coordinates of the grid."""
    grid, heads = x.shape[1:4], layer.num_heads
    size, shift = window_and_shift(grid, layer.window, layer.shifted)
    whole = padded(grid, size)
    kernel, bias = (np.asarray(w, "float64") for w in (layer.qkv.kernel, layer.qkv.bias))
    table = np.asarray(layer.relative_position_bias_table, "float64")
    answer = np.zeros(x.shape)
    full = np.zeros((len(x), *whole, x.shape[-1]))
    full[:, : grid[0], : grid[1], : grid[2]] = x
    query, key, value = np.split(full @ kernel + bias, 3, axis=-1)
    places = list(np.ndindex(*whole))
    # Where a place stands after the move: its window, its number in it, and on which side of the cut it was before.
    moved = {p: tuple((n - s) % m for n, s, m in zip(p, shift, whole, strict=True)) for p in places}
    window_of = {p: tuple(n // w for n, w in zip(moved[p], size, strict=True)) for p in places}
    number_in = {p: np.ravel_multi_index([n % w for n, w in zip(moved[p], size, strict=True)], size) for p in places}
    side = {p: tuple(n < s for n, s in zip(p, shift, strict=True)) for p in places}
    channels = x.shape[-1] // heads
    for p in np.ndindex(*grid):
        near = [q for q in places if window_of[q] == window_of[p] and side[q] == side[p]]
        for b in range(len(x)):
            for h in range(heads):
                part = slice(h * channels, (h + 1) * channels)
                # The published index is that of the full window, read at the numbers in the small one.
                full_places = [np.unravel_index(number_in[q], layer.window) for q in (p, *near)]
                apart = [np.subtract(full_places[0], q) + np.array(layer.window) - 1 for q in full_places[1:]]
                rows = [np.ravel_multi_index(d, [2 * n - 1 for n in layer.window]) for d in apart]
                keys, values = (np.stack([t[(b, *q)][part] for q in near]) for t in (key, value))
                logits = keys @ query[(b, *p)][part] / channels**0.5 + table[rows, h]
                odds = np.exp(logits - logits.max())
                answer[(b, *p)][part] = odds / odds.sum() @ values
    return answer @ np.asarray(layer.proj.kernel, "float64") + np.asarray(layer.proj.bias)


@pytest.mark.parametrize(
    ("grid", "window", "shifted"),
    [
        ((2, 4, 4), (2, 2, 2), False),
        ((4, 4, 4), (2, 2, 2), True),
        ((3, 5, 4), (2, 3, 3), True),  # padded
        ((2, 2, 5), (4, 3, 2), True),  # smaller than the window in time and height
        ((1, 2, 2), (2, 3, 3), True),  # one window, smaller than a full one
    ],
)
def test_attention_by_hand(grid, window, shifted):
    rng = np.random.default_rng(0)
    layer = WindowAttention(2, window, shifted)
    x = rng.normal(size=(2, *grid, 6)).astype("float32")
    layer.build(x.shape)
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.weights])
    expected = attention_by_hand(layer, x)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert np.ptp(expected) > 1


def test_layer_comes_back_from_its_config():
    layer = WindowAttention(2, (2, 3, 3), True, name="attn")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    assert (again.window, again.shifted, again.num_heads) == ((2, 3, 3), True, 2)


def test_half_precision():
    rng = np.random.default_rng(0)
    layer, half = WindowAttention(2, (2, 2, 2), True), WindowAttention(2, (2, 2, 2), True, dtype="mixed_float16")
    x = rng.normal(size=(1, 4, 4, 4, 8)).astype("float32")
    for each in (layer, half):
        each.build(x.shape)
    half.set_weights(layer.get_weights())
    answer = half(x)
    assert answer.dtype == "float16"
    np.testing.assert_allclose(answer, layer(x), atol=2e-3)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"window": (0, 7, 7)}, None, r"at least one place .* Received: window=\(0, 7, 7\), num_heads=2"),
        ({"window": (7, 7)}, None, r"Received: window=\(7, 7\)"),
        ({"num_heads": 0}, None, "num_heads=0"),
        ({"num_heads": 3}, (None, 2, 2, 2, 8), "Received: 8 channels, num_heads=3"),
        ({}, (None, None, 2, 2, 8), r"known size, .* Received: \(None, None, 2, 2, 8\)"),
        ({}, (None, 4, 8), r"Received: \(None, 4, 8\)"),
    ],
)
def test_wrong_arguments(options, shape, message):
    with pytest.raises(ValueError, match=message):
        WindowAttention(**{"num_heads": 2, **options}).build(shape)
