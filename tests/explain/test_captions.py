import numpy as np

from har_tf.explain import captions


def test_a_long_text_is_made_smaller_and_then_cut_but_never_over_the_edge():
    for text in ("a", "walk, p = 50.0%, Grad-CAM", "w" * 300, "", "\udc8cname\n"):
        strip = captions.line(text, 200, 14)
        assert strip.shape == (captions.height_of(14), 200, 3)
        assert (strip[:, :5] == 255).all() and (strip[:, -5:] == 255).all()
        assert (strip.min() < 120) == bool(text)


def test_the_tail_of_a_long_text_is_kept():
    short, long = (captions.line(text, 200, 14, tail=", p = 50%") for text in ("w" * 40, "w" * 80))
    np.testing.assert_array_equal(short, long)
    assert (captions.line("w" * 40, 200, 14, tail=", p = 60%") != long).any()
    assert captions.line("", 40, 14, tail="w" * 99).shape[1] == 40


def test_lines_break_between_words():
    assert len(captions.lines("a b", 200, 12)) == 1
    broken = captions.lines("several words " * 8, 200, 12)
    assert len(broken) > 3 and all((strip[:, -4:] == 255).all() for strip in broken)


def test_the_legend_shows_the_colours_and_fits():
    colours = np.stack([np.arange(256), np.zeros(256), np.zeros(256)], axis=-1).astype("uint8")[:, None]
    wide = captions.legend(colours, "1: strongest 0.5 % of this clip", 400, 12)
    narrow = captions.legend(colours, "1: strongest 0.5 % of this clip", 220, 12)
    assert narrow.shape[1] < wide.shape[1] <= 400
    middle = wide[len(wide) // 2]
    reds = middle[(middle[:, 1:] == 0).all(axis=1), 0]
    assert reds.min() == 0 and reds.max() == 255 and (np.diff(reds.astype(int)) >= 0).all()
    strip = captions.line("0.40 s", 500, 12, right=wide)
    assert strip.shape[1] == 500
