import numpy as np

from har_tf.files.digests import digest_of


def test_values_types_shapes_and_order_count_and_nothing_else():
    one, two = np.arange(6, dtype="float32"), np.ones(2, "int64")
    others = (
        [one.reshape(2, 3), two],
        [one.astype("float64"), two],
        [two, one],
        [one],
        [2 * one, two],
    )
    digests = {digest_of(arrays) for arrays in ([one, two], *others)}
    assert len(digests) == 6
    assert digest_of([np.arange(12, dtype="float32")[::2] / 2, two]) == digest_of([one, two])
