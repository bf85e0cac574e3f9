"""Sets of clips: mixed ones, and clips played backwards."""

import numpy as np

from har_tf.concepts.clip_sets import ClipReader, ClipSet, ConceptSets
from har_tf.concepts.concept_set import ConceptClip, ConceptSet
from har_tf.video import write_video


def test_half_of_a_mixed_random_set_is_static_and_no_track_is_in_it_twice():
    """Sets come sorted by concept: the first halves of both would be the same tracks of the first concepts."""

    def drawn(kind):
        sources = tuple(f"{name}{i}" for name in "abc" for i in range(3))
        return ClipSet(np.full((9, 2, 1, 1, 1), kind, np.uint8), sources)

    (mixed,) = ConceptSets({}, {"static": [drawn(1)], "dynamic": [drawn(2)]}, {}, {}).mixed()
    assert np.stack(mixed.clips)[:, 0, 0, 0, 0].tolist() == [1] * 5 + [2] * 4
    assert sorted(mixed.sources) == [f"{name}{i}" for name in "abc" for i in range(3)]


def test_backwards_is_the_other_order_of_frames():
    clips = ClipSet(np.arange(6, dtype=np.uint8).reshape(1, 6, 1, 1, 1), ("a",))
    assert clips.backwards().clips.ravel().tolist() == [5, 4, 3, 2, 1, 0]


def test_a_short_concept_clip_stays_or_starts_again_and_knows_its_recording(tmp_path):
    grey = np.repeat([40, 120, 200], 16 * 16 * 3).astype(np.uint8).reshape(3, 16, 16, 3)
    write_video(tmp_path / "a.mp4", grey, qp=0)
    clip = ConceptClip("a.mp4", "ball", "spatiotemporal", "v_g1_c2.avi")
    found = ConceptSet(tmp_path, ("ball",), (clip,))

    def read(**how):
        reader = ClipReader((7, 16, 16, 3), {}, recordings={"v_g1_c2.avi": "g1"}, **how)
        clips = reader.concepts(found, [clip])
        assert (clips.sources, clips.groups) == (("v_g1_c2.avi",), ("g1",)) and clips.backwards().groups == ("g1",)
        return ((clips.clips[0].mean(axis=(1, 2, 3)) - 40) / 80).round().astype(int).tolist()

    assert read() == [0, 1, 2, 2, 2, 2, 2]
    assert read(short_concepts="wrap") == [0, 1, 2, 0, 1, 2, 0]
