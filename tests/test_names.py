"""Names that are close to one that is not known."""

import pytest

from har_tf.names import closest, index_of


def test_the_closest_names_keep_their_spelling():
    assert closest("resnet51", ["ResNet50", "GoogLeNet"]) == " Closest: ResNet50."
    assert closest("CAFÉ", ["café", "bar"]) == " Closest: café."
    assert closest("tap", ["tap1", "tap2", "tap3", "tap4"]).count("tap") == 3


def test_what_looks_like_none_gets_no_hint():
    assert closest("zzz", ["ResNet50", "GoogLeNet"]) == ""
    assert closest("zzz", []) == ""


def test_a_class_is_found_in_any_case_or_the_classes_are_listed():
    assert index_of("dining", ["playing tennis", "Dining"], "the model") == 1
    with pytest.raises(ValueError, match="the model has no class 'dinning'. Closest: dining. Its 1 classes: dining"):
        index_of("dinning", ["dining"], "the model")
    with pytest.raises(ValueError, match="Its 30 classes: 0, .*, 19 [.]{3}$"):
        index_of("x", list(map(str, range(30))), "the model")
