"""Clips played backwards: shares worked out by hand, and classes that are each other's reverse."""

import numpy as np
import pytest

from har_tf.concepts.clip_sets import ClipSet, ConceptSets
from har_tf.concepts.reversal import Played, directions, reverses
from har_tf.explain import Explanation


def maps_of(maps, probability=0.5):
    count = len(maps)
    filled = [np.zeros(count, int), np.zeros(count), np.full(count, probability)]
    return Explanation(maps, maps, *filled, "Grad-CAM")


def played(reverse):
    maps = np.random.default_rng(0).random((4, 3, 5, 6)).astype("float32")
    clips = ClipSet(np.zeros((4, 3, 5, 6, 3), np.uint8), tuple("abcd"))
    ahead, turned = maps_of(maps, np.array([0.9, 0.6, 0.8, 0.7])), maps_of(maps[:, ::-1])
    forwards, backwards = np.array([1, 0, 0, 0]), np.array([0, 1, 1, 0])
    return Played(clips, 0, reverse, forwards, backwards, ahead, turned, turned)


def test_answers_to_an_action_with_a_reverse():
    assert played(1).answers() == {
        "clips": 4, "forwards_right": 0.75, "backwards_same_class": 0.5, "backwards_reverse_class": 0.5,
        "of_right": 3, "of_right_as_expected": pytest.approx(2 / 3), "answer_changed": 0.75,
    }  # fmt: skip
    # What has no reverse should be answered alike.
    still = played(0).answers()
    assert still["backwards_reverse_class"] is None and still["of_right_as_expected"] == pytest.approx(1 / 3)


def test_maps_that_only_mirror_have_not_noticed_anything():
    found = played(1).maps()
    assert found["mirrored, same class"] == {"mean": pytest.approx(1), "clips": 4}
    assert found["mirrored, reverse class"]["mean"] == pytest.approx(1)
    assert abs(found["another clip"]["mean"]) < 0.4 and found["not mirrored, same class"]["mean"] < 0.9
    assert played(0).maps()["mirrored, reverse class"] is None


def test_the_surest_right_clip_is_shown():
    # The first clip is surer, and answered wrong.
    assert played(1).best() == 2


def test_pairs_are_spelled_as_the_data_spell_them_and_unknown_ones_left_out():
    found = reverses([("Throw", "catch"), ("sit", "stand")], ["throw", "Catch", "sit"])
    assert found == {"throw": "Catch", "Catch": "throw"}


def test_without_dynamic_concepts_there_are_no_directions():
    assert directions(None, ConceptSets({"static": {}}, {}, {"dynamic": "none"}, {}), {}, ()) is None
