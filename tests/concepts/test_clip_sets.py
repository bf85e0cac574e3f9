"""Sets of clips: mixed ones, and clips played backwards."""

import numpy as np

from har_tf.concepts.clip_sets import ClipSet, ConceptSets


def test_half_of_a_mixed_random_set_is_static_and_no_track_is_in_it_twice():
    """Sets come sorted by concept: the first halves of both would be the same tracks of the first concepts."""

    def drawn(kind):
        sources = tuple(f"{name}{i}" for name in "abc" for i in range(3))
        return ClipSet(np.full((9, 2, 1, 1, 1), kind, np.uint8), sources)

    (mixed,) = ConceptSets({}, {"static": [drawn(1)], "dynamic": [drawn(2)]}, {}, {}).mixed()
    assert mixed.clips[:, 0, 0, 0, 0].tolist() == [1] * 5 + [2] * 4
    assert sorted(mixed.sources) == [f"{name}{i}" for name in "abc" for i in range(3)]


def test_backwards_is_the_other_order_of_frames():
    clips = ClipSet(np.arange(6, dtype=np.uint8).reshape(1, 6, 1, 1, 1), ("a",))
    assert clips.backwards().clips.ravel().tolist() == [5, 4, 3, 2, 1, 0]
