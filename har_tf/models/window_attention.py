"""Self-attention within 3D windows, shifted or not, with relative position bias: the layer of Video Swin."""

import math

import keras
import numpy as np
from keras import layers, ops

_MASKED = -100.0  # added to a logit; the published weights were trained with it


@keras.saving.register_keras_serializable("har_tf")
class WindowAttention(layers.Layer):
    """Multi-head self-attention of every place of a grid to the places of its window.

    Source: Liu et al. 2022, "Video Swin Transformer", section 3.2 and equations (1) to (4), with the details of the
    authors' code: a grid that is no larger than the window along an axis is one window there, and is not shifted; the
    rest is padded with zeros at its end, which are attended to like other places; a shifted layer moves its windows by
    half a window, over the end to the start, and what was not beside each other does not attend to each other.

    The layer holds the dense layers `qkv` and `proj`, both with bias, and `relative_position_bias_table`, one row for
    each difference of two places in a window of full size. What comes out has the places of what goes in.

    It is a layer of this project. A process that loads a model with it by `keras.models.load_model` imports
    `har_tf.models` before; `har_tf.models.saving.load_model` needs nothing.

    Args:
        num_heads: heads, of which each has channels / num_heads channels.
        window: (time, height, width) of a window, in places of the grid.
        shifted: whether the windows are moved by half a window.

    Input and output: (B, T, H, W, C), with sizes that the graph knows.

    Raises:
        ValueError: a window without places, channels that the heads do not divide, or sizes that are open.
    """

    keeps_places = True  # see `har_tf.models.layout`

    def __init__(self, num_heads, window=(8, 7, 7), shifted=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.window, self.shifted = num_heads, tuple(window), shifted
        if len(self.window) != 3 or min(self.window) < 1 or num_heads < 1:
            raise ValueError(
                "A window has at least one place along time, height and width, and attention at least one head. "
                f"Received: window={self.window}, num_heads={num_heads}"
            )

    def build(self, input_shape):
        *grid, channels = input_shape[1:]
        if len(grid) != 3 or None in (*grid, channels):
            raise ValueError(f"Windows need a grid of known size, (B, T, H, W, C). Received: {tuple(input_shape)}")
        if channels % self.num_heads:
            raise ValueError(
                f"Heads share the channels alike. Received: {channels} channels, num_heads={self.num_heads}"
            )
        self._size, self._shift = window_and_shift(grid, self.window, self.shifted)
        self._padded = padded(grid, self._size)
        places = math.prod(self._size)
        # For a smaller window the authors' code takes the first rows and columns of the full window's index, although
        # places of the same number lie elsewhere in the two. The published weights answer with that bias.
        self._index = relative_position_index(self.window)[:places, :places]
        self._regions = regions(self._padded, self._size, self._shift) if any(self._shift) else None
        normal = keras.initializers.RandomNormal(stddev=0.02)
        dense = {"kernel_initializer": normal, "dtype": self.dtype_policy}
        self.qkv = layers.Dense(3 * channels, name="qkv", **dense)
        self.proj = layers.Dense(channels, name="proj", **dense)
        for layer in (self.qkv, self.proj):
            layer.build((None, places, channels))
        rows = math.prod(2 * n - 1 for n in self.window)
        self.relative_position_bias_table = self.add_weight(
            shape=(rows, self.num_heads), initializer=normal, name="relative_position_bias_table"
        )
        super().build(input_shape)

    def call(self, x):
        grid, channels, places = tuple(x.shape[1:4]), x.shape[4], math.prod(self._size)
        if self._padded != grid:
            x = ops.pad(x, [(0, 0), *((0, to - n) for n, to in zip(grid, self._padded, strict=True)), (0, 0)])
        if any(self._shift):
            x = ops.roll(x, [-n for n in self._shift], (1, 2, 3))
        x = partition(x, self._size)  # (B · windows, places, C)
        x = ops.reshape(self.qkv(x), (-1, places, 3, self.num_heads, channels // self.num_heads))
        x = ops.transpose(x, (2, 0, 3, 1, 4))  # (3, B · windows, heads, places, C / heads)
        x = self._attend(x[0] * (channels // self.num_heads) ** -0.5, x[1], x[2])
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, places, channels))
        x = merge(self.proj(x), self._size, self._padded)
        if any(self._shift):
            x = ops.roll(x, self._shift, (1, 2, 3))
        return x[:, : grid[0], : grid[1], : grid[2]]

    def _attend(self, query, key, value):
        """softmax(query · key + bias + mask) · value; all (B · windows, heads, places, C / heads)."""
        places = query.shape[2]
        logits = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        logits = ops.cast(logits, self.variable_dtype)  # in half precision a softmax over 392 places is too coarse
        bias = ops.take(ops.transpose(self.relative_position_bias_table), self._index.ravel(), axis=1)
        logits = logits + ops.cast(ops.reshape(bias, (self.num_heads, places, places)), logits.dtype)
        if self._regions is not None:
            apart = ops.not_equal(self._regions[:, None, :, None], self._regions[:, None, None, :])
            logits = ops.reshape(logits, (-1, len(self._regions), self.num_heads, places, places))
            logits = logits + ops.cast(apart, logits.dtype) * _MASKED
            logits = ops.reshape(logits, (-1, self.num_heads, places, places))
        return ops.matmul(ops.cast(ops.softmax(logits), value.dtype), value)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "window": self.window,
            "shifted": self.shifted,
        }


def window_and_shift(grid, window, shifted=True) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The windows that a grid of (time, height, width) is cut into, and how far they are moved.

    Returns:
        (window, shift): where the grid is no larger than the window it is the window, and the shift is 0.
    """
    fits = [n <= w for n, w in zip(grid, window, strict=True)]
    size = tuple(n if fit else w for n, w, fit in zip(grid, window, fits, strict=True))
    return size, tuple(0 if fit or not shifted else w // 2 for w, fit in zip(window, fits, strict=True))


def padded(grid, window) -> tuple[int, int, int]:
    """The smallest grid of whole windows that holds a grid."""
    return tuple(math.ceil(n / w) * w for n, w in zip(grid, window, strict=True))


def partition(x, window):
    """Cuts grids into windows.

    Args:
        x: (B, T, H, W, C), of whole windows.
        window: (t, h, w).

    Returns:
        (B · windows, t · h · w, C): the windows of a clip from early to late, top to bottom, left to right, and so the
        places of a window.
    """
    (t, h, w), (_, height, width, channels) = window, x.shape[1:]
    # What stays together, such as places in width with channels, is one axis: six are quicker moved than eight.
    x = ops.reshape(x, (-1, t, height // h, h, width // w, w * channels))
    return ops.reshape(ops.transpose(x, (0, 2, 4, 1, 3, 5)), (-1, t * h * w, channels))


def merge(windows, window, grid):
    """Undoes `partition`: (B · windows, t · h · w, C) to (B, T, H, W, C) of that grid (T, H, W)."""
    (t, h, w), (time, height, width), channels = window, grid, windows.shape[-1]
    x = ops.reshape(windows, (-1, height // h, width // w, t, h, w * channels))
    return ops.reshape(ops.transpose(x, (0, 3, 1, 4, 2, 5)), (-1, time, height, width, channels))


def relative_position_index(window) -> np.ndarray:
    """The row of the bias table for each pair of places in a window.

    Returns:
        int32 (places, places), in the order of `partition`: for places i and j that lie (dt, dh, dw) = i - j apart the
        row ((dt + t - 1) · (2h - 1) + dh + h - 1) · (2w - 1) + dw + w - 1.
    """
    places = np.indices(window).reshape(3, -1)
    apart = places[:, :, None] - places[:, None, :] + np.reshape(window, (3, 1, 1)) - 1
    return np.ravel_multi_index(apart, [2 * n - 1 for n in window]).astype("int32")


def regions(grid, window, shift) -> np.ndarray:
    """Which places of moved windows lie beside each other in the grid.

    Args:
        grid: (T, H, W), of whole windows.
        window, shift: as `window_and_shift` gives them.

    Returns:
        int32 (windows, places): a number for each place; within a window those of one number belong together.
    """
    # Along each axis the last `moved` places came over the end from the start, and are apart from the others.
    time, height, width = ((np.arange(n) >= n - moved).astype("int32") for n, moved in zip(grid, shift, strict=True))
    number = time[:, None, None] * 4 + height[:, None] * 2 + width
    return np.asarray(partition(number[None, ..., None], window))[..., 0]
