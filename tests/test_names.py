"""Names that are close to one that is not known."""

from har_tf.names import closest


def test_the_closest_names_keep_their_spelling():
    assert closest("resnet51", ["ResNet50", "GoogLeNet"]) == " Closest: ResNet50."
    assert closest("CAFÉ", ["café", "bar"]) == " Closest: café."
    assert closest("tap", ["tap1", "tap2", "tap3", "tap4"]).count("tap") == 3


def test_what_looks_like_none_gets_no_hint():
    assert closest("zzz", ["ResNet50", "GoogLeNet"]) == ""
    assert closest("zzz", []) == ""
