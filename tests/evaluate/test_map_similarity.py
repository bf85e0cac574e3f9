"""Similarity of maps against hand-worked numbers and scikit-image, and what it says of methods that are known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from har_tf.evaluate import map_similarity
from har_tf.evaluate.controls import centred_gaussian
from har_tf.evaluate.map_similarity import RANK, SIGNED_RANK, SSIM, TOP, Originals, Outcome, compare_maps, ssim

CUBE = np.arange(1.0, 9).reshape(1, 2, 2, 2)  # a clip of 2 x 2 x 2 whose pixels have the ranks 1 to 8


def two(maps):
    """The clip and its mirror image, as there must be another clip."""
    return np.concatenate([maps, maps[:, ::-1, ::-1, ::-1]])


def values(first, second, **options):
    found, empty = Originals(two(first), **options).values(two(second))
    return {name: each[0] for name, each in found.items()} | {"empty": bool(empty[0])}


def rough(seed, count=8, shape=(3, 24, 32)):
    """Maps of blobs at chance places."""
    noise = np.random.default_rng(seed).random((count, *shape))
    return gaussian_filter(noise, (0, 0, 3, 3)).astype("float32") - 0.45


def test_ranks_and_overlap_by_hand():
    # Pairs 1-2, 3-4, 5-6, 7-8 swapped: squared differences of ranks sum to 8; 1 - 6 * 8 / (8 * 63) = 19 / 21.
    swapped = CUBE.ravel()[[1, 0, 3, 2, 5, 4, 7, 6]].reshape(CUBE.shape)
    found = values(CUBE, swapped, top=1 / 8)
    assert found[RANK] == pytest.approx(19 / 21)
    assert found[TOP] == 0, "the largest pixel is another"
    assert values(CUBE, swapped, top=3 / 8)[TOP] == pytest.approx(2 / 3)  # 6, 7, 8 and 5, 7, 8
    assert values(CUBE, CUBE[:, ::-1, ::-1, ::-1])[RANK] == pytest.approx(-1)


def test_spearman_is_that_of_quantus():
    maps = np.random.default_rng(0).random((3, 16, 16)) ** 3
    maps[1, 5, 2] = 2
    found = Originals(maps[:2, None]).values((maps[:2] + maps[1:])[:, None])[0][RANK]
    assert found == pytest.approx([0.761826218814374, 0.6902301728084228]), "correlation_spearman of Quantus 0.6.0"


def test_fewer_pixels_count_where_fewer_are_positive():
    one, two_of = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))
    one[0, 0, 0, 0] = two_of[0, 0, 0, 0] = two_of[0, 1, 1, 1] = 1
    assert values(one, two_of, top=0.5)[TOP] == 0.5
    assert values(np.ones_like(one), one, top=0.5)[TOP] == 1 / 8, "a uniform map has what chance has"


def test_the_same_maps_are_alike_even_without_ranks():
    for maps in (CUBE, np.ones((1, 2, 2, 2))):
        found = values(maps, 3 * maps)
        assert [found[name] for name in (SSIM, RANK, TOP)] == pytest.approx([1, 1, 1])


def test_empty_maps():
    nothing = np.zeros_like(CUBE)
    assert values(CUBE, nothing) == {SSIM: 0, RANK: 0, TOP: 0, "empty": True}
    found = values(nothing, CUBE)
    assert np.isnan([found[SSIM], found[RANK], found[TOP]]).all() and not found["empty"]
    maps = np.concatenate([CUBE, nothing, CUBE, CUBE])
    originals = Originals(maps)
    summary = originals.summary(*originals.values(np.concatenate([CUBE, CUBE, nothing, CUBE])))
    assert summary.empty == pytest.approx(1 / 3)
    assert (summary.means[RANK].clips, summary.means[RANK].left_out) == (3, 1)
    assert summary.means[RANK].mean == pytest.approx(2 / 3)


def test_signs_are_compared_beside_sizes():
    signed = CUBE * [1, -1]
    found = values(signed, -signed)
    assert found[SIGNED_RANK] == pytest.approx(-1) and found[RANK] == pytest.approx(1)
    assert values(signed, CUBE)[SIGNED_RANK] == pytest.approx(spearmanr(signed.ravel(), CUBE.ravel())[0]), (
        "also where the other has no negative value"
    )
    coarse = np.random.default_rng(0).normal(size=(2, 1, 2, 3))
    explanation = SimpleNamespace(maps=two(CUBE), signed=coarse)  # as `Explanation`, whose signs are the tap's size
    other = SimpleNamespace(maps=two(CUBE), signed=coarse**3)
    assert Originals(explanation).values(other)[0][SIGNED_RANK] == pytest.approx([1, 1])


@pytest.mark.parametrize("shape", [(2, 24, 32), (1, 11, 11)])
def test_ssim_is_that_of_scikit_image(shape):
    first, second = np.random.default_rng(0).random((2, 1, *shape)).astype("float32")
    how = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "full": True}
    frames = zip(first[0], second[0], strict=True)
    expected = np.mean([structural_similarity(*pair, **how)[1].mean() for pair in frames])
    assert ssim(first, second)[0] == pytest.approx(expected, abs=1e-5)


def test_ssim_of_flat_frames_by_hand():
    # Without variance (2 x y + c) / (x^2 + y^2 + c) is left, c = 0.0001; also of frames smaller than the window.
    flat = np.ones((1, 1, 2, 2), "float32")
    assert ssim(flat, flat / 2)[0] == pytest.approx(1.0001 / 1.2501, abs=2e-4)


def test_ranks_of_some_pixels_stand_for_all(monkeypatch):
    first, second = rough(0), rough(0) + rough(1)
    monkeypatch.setattr(map_similarity, "_RANKED", 1000)
    found = Originals(first).values(second)[0][RANK]
    expected = [spearmanr(np.abs(a).ravel(), np.abs(b).ravel())[0] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected, atol=0.06)


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (lambda maps: maps, Outcome.UNCHANGED),
        (lambda maps: maps + 0.1 * rough(5), Outcome.UNCHANGED),
        (lambda maps: maps + 2.5 * rough(5), Outcome.PARTLY),
        (lambda maps: rough(7), Outcome.CHANGES),
        (np.zeros_like, Outcome.CHANGES),
    ],
)
def test_what_known_maps_are_called(second, outcome):
    maps = rough(0)
    (found,) = compare_maps({"a": maps}, {"a": second(maps)}).values()
    assert found.outcome is outcome
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["outcome"] == outcome.value and len(plain["similarity"]["clips"]["ssim"]) == 8


def test_maps_that_are_the_same_for_every_clip_do_not_change():
    maps = centred_gaussian((8, 2, 12, 12))
    assert compare_maps({"a": maps}, {"a": maps})["a"].outcome is Outcome.UNCHANGED


def test_maps_that_hardly_hang_on_the_clip_leave_no_room():
    centre = centred_gaussian((8, 3, 24, 32))
    maps, other = centre + 0.02 * np.abs(rough(0)), centre + 0.2 * np.abs(rough(7))
    found = compare_maps({"a": maps}, {"a": other})["a"]
    assert found.another.means[RANK].mean > 0.95 and found.similarity.means[RANK].mean > 0.8
    assert found.outcome is Outcome.ALL_ALIKE, "not CHANGES, although it is less alike than another clip's map"
    room = map_similarity.MapComparison(found.similarity, found.another, found.outcomes | {TOP: Outcome.CHANGES}, True)
    assert room.outcome is Outcome.CHANGES, "sparse maps are alike by SSIM alone"


def test_few_recordings_show_nothing():
    found = compare_maps({"a": rough(0)}, {"a": rough(7)}, groups=list("aabbccdd"))["a"]
    assert found.outcome is Outcome.NOT_SHOWN
    assert found.similarity.means[RANK].groups == 4
    assert found.as_dict()["another_clip"]["other_recording"]
    centre = centred_gaussian((8, 2, 12, 12))
    for maps in (rough(0), centre):
        for groups in ("aabbccdd", "aabbccde"):
            same = compare_maps({"a": maps}, {"a": maps}, groups=list(groups))["a"]
            assert same.outcome is Outcome.NOT_SHOWN
        same = compare_maps({"a": maps}, {"a": maps}, groups=list("aabbcdef"))["a"]
        assert same.outcome is Outcome.UNCHANGED


def test_maps_that_are_nearer_to_the_same_map_in_some_clips_alone_are_not_called_unchanged():
    maps, other = rough(0), rough(7)
    other[:5] = maps[:5]
    found = compare_maps({"a": maps}, {"a": other})["a"]
    middle = (1 + found.another.means[RANK].mean) / 2
    assert found.similarity.means[RANK].mean > middle and found.outcomes[RANK] is Outcome.NOT_SHOWN


def test_it_is_said_where_another_clip_is_of_the_same_recording():
    found = compare_maps({"a": rough(0)}, {"a": rough(0)}, groups=["a"] * 8)["a"]
    assert found.outcome is Outcome.NOT_SHOWN
    assert not found.other_recording and not found.as_dict()["another_clip"]["other_recording"]


def test_one_measure_under_which_maps_stay_names_the_method():
    found = compare_maps({"a": rough(0)}, {"a": rough(7)})["a"]
    named = map_similarity.MapComparison(
        found.similarity, found.another, found.outcomes | {TOP: Outcome.UNCHANGED}, True
    )
    assert found.outcome is Outcome.CHANGES and named.outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (two(CUBE), two(CUBE)[:, :1], {}, "one shape"),
        (two(CUBE)[0], two(CUBE)[0], {}, r"shape \(2, 2, 2\)"),
        (two(CUBE) * np.nan, two(CUBE), {}, "16 not finite"),
        (CUBE, CUBE, {}, "takes two clips"),
        (two(CUBE), two(CUBE), {"top": 0}, "top=0"),
    ],
)
def test_what_is_refused(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        compare_maps({"a": first}, {"a": second}, **options)


def test_both_networks_have_the_same_methods():
    with pytest.raises(ValueError, match=r"\['a'\] and \['b'\]"):
        compare_maps({"a": two(CUBE)}, {"b": two(CUBE)})
