"""What a classifier relies on: classifiers that read one thing, with numbers worked out by hand, and the figures."""

import json

import keras
import numpy as np
import pytest

from har_tf.datasets.stick_figures.drawing import Figures, draw
from har_tf.evaluate.person import masks_of
from har_tf.evaluate.reliance import PERSON, PLACE, TIME, Needs, Plan, study
from har_tf.models import cnn_gru

ORDER = Plan(("one frame", "shuffled", "reversed"), corruptions=())


def told(right):
    """float32 (n, 2): sure of class 1 where `right` is above 0, of class 0 where it is below."""
    second = 1 / (1 + np.exp(-np.asarray(right, float)))
    return np.stack([1 - second, second], axis=1).astype(np.float32)


def brightness(clips):
    return clips.mean(axis=(2, 3, 4))  # (n, T)


def reads_order(clips):
    """Class 1 is what gets brighter."""
    light = brightness(clips)
    return told(light[:, -1] - light[:, 0] + 1e-3)


def reads_light(clips):
    """Class 1 is what is bright."""
    return told(brightness(clips).mean(axis=1) - 128)


def ramps(count):
    """Clips that get darker (class 0), and clips that get brighter and are brighter (1), in turn; their labels."""
    labels = np.arange(count) % 2
    rising = np.arange(40, 40 + 8 * 10, 10)
    light = np.where(labels[:, None] == 1, rising + 100, rising[::-1])
    return np.broadcast_to(light[:, :, None, None, None], (count, 8, 8, 8, 3)).astype(np.uint8), labels


def by_twos(count):
    return [f"g{i // 2}" for i in range(count)]


def test_what_reads_the_order_needs_it():
    clips, labels = ramps(80)
    found = study(reads_order, clips, labels, by_twos(80), plan=ORDER)
    assert found.accuracy.mean == 1
    backwards = found.effects["reversed"]
    assert (backwards.accuracy.mean, backwards.lost.mean, backwards.changed.mean) == (0, -1, 1)
    assert (backwards.left, backwards.left_interval) == (0, (0, 0))
    # One frame repeated neither rises nor falls: always class 1, right in half of the clips.
    assert (found.effects["one frame"].accuracy.mean, found.effects["one frame"].left) == (0.5, 0.5)
    # Of orders drawn at random half end brighter than they began.
    assert found.effects["shuffled"].accuracy.mean == pytest.approx(0.5, abs=0.1)
    assert found.answers["shuffled"].classes.shape == (3, 80)
    verdicts = found.verdicts
    assert (verdicts.order, verdicts.order_blind, verdicts.direction, verdicts.motion) == ("yes", False, "yes", "yes")
    assert verdicts.background == verdicts.robust == verdicts.sides == Needs.NOT_MEASURED
    assert verdicts.worst == ()


def test_what_is_blind_to_order_is_called_so():
    clips, labels = ramps(12)  # few, but no probability moves
    found = study(reads_light, clips, labels, plan=ORDER)
    verdicts = found.verdicts
    assert found.accuracy.mean == 1
    assert (verdicts.order, verdicts.order_blind, verdicts.direction, verdicts.motion) == ("no", True, "no", "no")
    assert found.effects["shuffled"].moved < 1e-3


def test_what_looks_at_the_order_without_need():
    def glances(clips):
        light = brightness(clips)
        return told((light.mean(axis=1) - 128) / 10 + (light[:, -1] - light[:, 0]) / 200)

    two = ["a", "b"] * 40
    for count, groups, needs in (
        (12, None, Needs.NOT_SHOWN),  # do not rule a loss of 5 in 100 out
        (80, None, Needs.NO),
        (80, two, Needs.NOT_SHOWN),  # nor do two recordings, of however many clips
        (80, by_twos(80), Needs.NOT_SHOWN),
        (160, by_twos(160), Needs.NO),
    ):
        verdicts = study(glances, *ramps(count), groups, plan=ORDER).verdicts
        assert (verdicts.order, verdicts.order_blind, verdicts.direction) == (needs, False, needs)


def test_what_needs_several_frames_is_not_said_to_need_motion_unless_it_needs_their_order():
    def looks_for_light(clips):  # class 1 is what is very bright once, which the middle frame never is
        light = brightness(clips)
        return told((light.max(axis=1) - 200) / 10 + (light[:, -1] - light[:, 0]) / 1000)

    verdicts = study(looks_for_light, *ramps(24), plan=ORDER).verdicts
    assert (verdicts.several_frames, verdicts.order, verdicts.order_blind) == ("yes", "not shown", False)
    assert verdicts.motion == Needs.NOT_SHOWN


def test_who_guesses_has_nothing_to_lose():
    def guesses(clips):  # by what says nothing of the label and does not hang on the order
        return told(brightness(clips).mean(axis=1) - 128 + brightness(clips)[:, 0] / 1000)

    clips, labels = ramps(80)
    found = study(guesses, clips, labels[np.random.default_rng(0).permutation(80)], plan=Plan(("reversed",), ()))
    assert found.effects["reversed"].lost.mean == 0
    assert found.verdicts.direction == Needs.NOT_SHOWN


def test_clips_in_which_nothing_happens_tell_nothing_of_order():
    clips, labels = ramps(80)
    found = study(reads_light, np.repeat(clips[:, :1], 8, axis=1), labels, plan=ORDER)
    assert found.effects["reversed"].same == 80
    assert (found.verdicts.order, found.verdicts.order_blind, found.verdicts.motion) == (
        Needs.NOT_MEASURED,
        None,
        "not measured",
    )


def scenes(count):
    """Clips (T = 4) of a person of 4 x 4 pixels; whether the background and the person are bright, and boxes.

    All four cases come in turn, so that neither tells the other.
    """
    rng = np.random.default_rng(0)
    bright = np.arange(count)[:, None] // [1, 2] % 2
    light = np.where(bright, [156, 235], [100, 20]).astype(np.uint8)
    clips = np.empty((count, 4, 16, 16, 3), np.uint8)
    clips[:] = light[:, 0, None, None, None, None]
    boxes = []
    for clip, of_person, (y, x) in zip(clips, light[:, 1], rng.integers(0, 12, (count, 2)), strict=True):
        clip[:, y : y + 4, x : x + 4] = of_person
        boxes.append({1: np.array([[x, y, x + 4, y + 4]])})
    return clips, bright, boxes


def test_what_reads_the_background_is_caught_and_what_reads_the_person_is_not():
    clips, bright, boxes = scenes(80)
    plan = Plan(PERSON, corruptions=())

    def reads_background(clips):
        return told(np.median(clips, axis=(1, 2, 3, 4)) - 128)

    found = study(reads_background, clips, bright[:, 0], by_twos(80), boxes, plan)
    background = found.background
    # Right without the person; wrong on the background of the other class.
    assert (found.accuracy.mean, background.accuracy.mean, background.left, background.chance) == (1, 1, 1, 0.5)
    assert (background.other.mean, background.own.mean, background.reads) == (0, 1, Needs.YES)
    assert (background.clips, background.hole, background.overlap) == (80, 16 / 256, 0)
    assert found.effects["person elsewhere"].accuracy.mean == 0
    assert found.verdicts.background == Needs.YES

    def reads_person(clips):
        """The pixel that stands out most; where none does, the background, which says nothing of it."""
        first = clips[:, 0, :, :, 0].reshape(len(clips), -1).astype(int)
        place = np.abs(first - 128).argmax(axis=1)
        return told(first[np.arange(len(clips)), place] - 128)

    found = study(reads_person, clips, bright[:, 1], by_twos(80), boxes, plan)
    background = found.background
    assert (found.accuracy.mean, background.accuracy.mean, background.hole_elsewhere.mean) == (1, 0.5, 1)
    assert (background.person_lost.mean, background.person_lost.verdict) == (-0.5, "worse")
    assert background.reads != Needs.YES
    assert found.effects["person elsewhere"].accuracy.mean == 1


def test_a_hole_that_leaves_no_background_tells_nothing_of_it():
    clips, bright, boxes = scenes(12)
    boxes[4] = {0: np.array([[0, 0, 16, 13]])}  # 13 of 16 rows; up to 12 leave a quarter
    boxes[7] = {0: np.array([[0, 0, 16, 12]])}
    plan = Plan(("background", "other background", "person on stripes"), ())
    found = study(reads_light, clips, bright[:, 0], boxes=boxes, plan=plan)
    assert 4 not in found.answers["background"].rows
    assert 7 in found.answers["background"].rows
    assert 4 in found.answers["person on stripes"].rows
    assert (found.background.clips, found.background.covered, found.background.own.clips) == (11, 1, 11)


def test_masks_in_place_of_boxes_and_clips_that_have_neither():
    clips, bright, boxes = scenes(12)
    labels = bright[:, 0]
    boxes[3], boxes[5] = {}, None
    masks = np.stack([np.zeros((4, 16, 16), bool) if not box else masks_of(box, (4, 16, 16)) for box in boxes])
    plan = Plan(("background", "person on stripes"), corruptions=())
    by_boxes = study(reads_light, clips, labels, boxes=boxes, plan=plan)
    by_masks = study(reads_light, clips, labels, masks=lambda rows: masks[rows], plan=plan)
    rows = [i for i in range(12) if i not in (3, 5)]
    for name in plan.changes:
        for found in (by_boxes, by_masks):
            assert found.answers[name].rows.tolist() == rows
        np.testing.assert_array_equal(by_boxes.answers[name].probability, by_masks.answers[name].probability)
    nobody = study(reads_light, clips, labels, boxes=[{}] * 12, plan=Plan(PERSON, corruptions=()))
    assert nobody.background is None
    assert nobody.verdicts.background == Needs.NOT_MEASURED


def test_batches_of_one_size_in_which_a_clip_comes_do_not_matter():
    clips, bright, boxes = scenes(11)
    labels = bright[:, 0]
    plan = Plan(TIME + PLACE + PERSON, ("noise", "frame-rate jitter"), (2, 4), draws=2)
    sizes, read = set(), []

    def answer(batch):
        sizes.add(len(batch))
        return told(batch[:, 0].mean(axis=(1, 2, 3)) - batch[:, 2:, 5:].mean(axis=(1, 2, 3, 4)))

    def some(rows):
        read.append(len(rows))
        return clips[rows]

    whole = study(answer, clips, labels, boxes=boxes, plan=plan, batch_size=11)
    parts = study(answer, some, labels, boxes=boxes, plan=plan, batch_size=4)
    assert sizes == {11, 4}
    assert max(read) == 4
    corrupted = {f"{name} {strength}" for name in plan.corruptions for strength in (2, 4)}
    assert whole.answers.keys() == parts.answers.keys() == {*plan.changes} | corrupted
    for name, found in whole.answers.items():
        np.testing.assert_array_equal(found.probability, parts.answers[name].probability)
        np.testing.assert_array_equal(found.rows, parts.answers[name].rows)


def test_other_speeds_come_of_the_video_where_there_is_one():
    clips, labels = ramps(6)
    asked = []

    def at_speed(row, speed):
        asked.append((row, speed))
        return None if row == 2 else np.zeros_like(clips[row])

    found = study(reads_light, clips, labels, plan=Plan(("half speed", "double speed"), ()), at_speed=at_speed)
    assert sorted(asked) == [(row, speed) for row in range(6) for speed in (0.5, 2)]
    assert found.from_video.tolist() == [True, True, False, True, True, True]
    assert found.effects["half speed"].accuracy.mean == 0.5  # black is class 0
    assert found.as_dict()["from_video"] == 5


def test_robustness_is_the_mean_over_strengths():
    labels = np.arange(80) % 2
    clips = np.where(labels == 1, 100, 20).astype(np.uint8)[:, None, None, None, None]
    clips = np.broadcast_to(clips, (80, 2, 4, 4, 3))
    found = study(
        lambda batch: told(brightness(batch).mean(axis=1) - 50), clips, labels, plan=Plan((), ("rotation", "dark"))
    )
    # 100 at 1 to 5 stops less is 73, 53, 39, 28, 21: from the third on taken for class 0, which is half of the clips.
    dark = found.robustness["dark"]
    assert dark.by_strength == (1, 1, 0.5, 0.5, 0.5)
    assert (dark.accuracy.mean, dark.left, dark.needs) == (0.7, 0.7, Needs.YES)
    assert dark.lost.mean == pytest.approx(-0.3)
    assert found.robustness["rotation"].needs == Needs.NO
    assert found.robustness["all"].accuracy.mean == pytest.approx(0.85)
    assert (found.verdicts.robust, found.verdicts.worst) == (Needs.NO, ("dark",))


def test_answers_are_kept_and_can_be_cut_otherwise():
    clips, labels = ramps(8)
    found = study(reads_order, clips, labels, by_twos(8), plan=Plan(("reversed", "one frame"), ()))
    rising = found.only(np.flatnonzero(labels == 1))
    assert (rising.accuracy.mean, rising.accuracy.clips, rising.chance) == (1, 4, 0.5)
    assert rising.effects["one frame"].accuracy.mean == 1
    assert rising.effects["reversed"].accuracy.mean == 0
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["answers"]["untouched"]["classes"] == [labels.tolist()]
    assert plain["answers"]["reversed"]["classes"] == [(1 - labels).tolist()]
    assert plain["effects"]["reversed"]["lost"]["verdict"] == "not shown"  # four recordings are too few to show it
    assert plain["verdicts"]["order"] == "not measured"
    assert plain["plan"]["changes"] == ["reversed", "one frame"]


def test_what_is_right_with_the_person_moving_and_wrong_with_one_frame():
    clips, labels = ramps(12)
    boxes = [{0: np.array([[0, 0, 8, 8]])}] * 12  # the person is all there is
    names = ("person on stripes", "person on stripes, one frame")
    found = study(reads_order, clips, labels, boxes=boxes, plan=Plan(names, ()))
    # Moving all are right; one frame of them is always called class 1.
    assert found.effects[names[0]].same == 12
    assert found.contrasted["person on stripes"].mean == 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"labels": [0.5] * 6}, "whole number"),
        ({"labels": [0, 1]}, "as many as labels, 2"),
        ({"labels": [0, 1, 2] * 2}, "0 to 1"),
        ({"groups": ["a"]}, "groups"),
        ({"boxes": [{}]}, "boxes"),
        ({"clips": np.zeros((6, 4, 4, 3), np.uint8)}, "uint8"),
        ({"answer": lambda clips: np.full((len(clips), 2), np.nan)}, "not finite"),
        ({"answer": lambda clips: np.zeros(len(clips))}, "classes"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_does_not_fit_together(wrong, words):
    clips, labels = ramps(6)
    with pytest.raises(ValueError, match=words):
        study(**{"answer": reads_light, "clips": clips, "labels": labels, "plan": ORDER} | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"changes": ("upside down",)},
        {"corruptions": ("snow",)},
        {"strengths": (0,)},
        {"strengths": ()},
        {"corruptions": ("dark", "dark")},
        {"fill": "red"},
        {"draws": 0},
    ],
)
def test_plans_that_cannot_be_made(wrong):
    with pytest.raises(ValueError, match="Received"):
        Plan(**wrong)


def test_passes_are_counted():
    assert Plan().passes == 1 + 15 + 2 + 75
    assert Plan(("reversed",), ("noise",), (1, 2)).passes == 4


# The embedded figures, whose truth is known.

SIZE, FRAMES, PEOPLE = (32, 48), 5, 60
TRAINED = 80  # clips, of 40 people


@pytest.fixture(scope="module")
def figures():
    """Clips of things picked up (class 0) and of the same put down (1), their labels, recordings and boxes."""
    settings = Figures(size=SIZE, frames=2 * FRAMES - 1, shake=0.0, noise=0.0, clutter=0.0)
    clips, boxes = [], []
    for person in range(PEOPLE):
        drawing = draw("pick_up", person, settings)
        for drawn in (drawing, drawing.reversed()):
            clips.append(drawn.frames[::2])
            found = np.stack([drawn.boxes, drawn.object_boxes], axis=1)[::2]
            boxes.append(dict(enumerate(found)))
    return np.stack(clips), np.tile([0, 1], PEOPLE), [f"g{i // 2}" for i in range(2 * PEOPLE)], boxes


def trained(clips, labels, epochs, **options):
    keras.utils.set_random_seed(0)
    model = cnn_gru(
        clips.shape[1:], 2, filters=(8, 16), pool_sizes=(2, 2), dropout=0.0, conv3d_filters=16, gru_units=(16, 16),
        dense_units=16, normalize_sequence=True, **options,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(clips, labels, batch_size=16, epochs=epochs, verbose=0)
    return model.predict_on_batch


@pytest.fixture(scope="module")
def cnn_gru_answer(figures):
    clips, labels, *_ = figures
    return trained(clips[:TRAINED], labels[:TRAINED], 8)


def after(training, plan, answer, clips, labels, groups, boxes):
    return study(answer, clips[training:], labels[training:], groups[training:], boxes[training:], plan)


def test_on_figures_a_cnn_gru_needs_the_order(figures, cnn_gru_answer):
    found = after(TRAINED, Plan(("shuffled", "reversed", "one frame"), ()), cnn_gru_answer, *figures)
    verdicts = found.verdicts
    assert found.accuracy.mean > 0.75
    assert (verdicts.order, verdicts.order_blind, verdicts.direction, verdicts.motion) == ("yes", False, "yes", "yes")


def test_on_figures_a_background_that_tells_the_class_is_caught_where_it_is_read(figures, cnn_gru_answer):
    clips, labels, groups, boxes = figures
    behind = ~np.stack([masks_of(of_clip, clips.shape[1:4]) for of_clip in boxes])
    tinted = clips.astype(int)
    tinted[behind] += np.array([[60, 0, -60], [-60, 0, 60]])[labels[np.nonzero(behind)[0]]]  # red, blue
    tinted = np.clip(tinted, 0, 255).astype(np.uint8)
    plan = Plan(("shuffled", "reversed", "background", "hole elsewhere", "other background"), ())
    # Trained on it a network that cannot tell one from the other by what is done has learnt the tint.
    blind = trained(tinted[:TRAINED], labels[:TRAINED], 6, temporal="average")
    found = after(TRAINED, plan, blind, tinted, labels, groups, boxes)
    assert found.accuracy.mean > 0.9
    assert (found.verdicts.order, found.verdicts.order_blind) == (Needs.NO, True)
    assert found.background.reads == Needs.YES
    assert found.background.left > 0.9
    for shown in (tinted, clips):  # one that learnt what is done has not, even where there is a tint
        found = after(TRAINED, plan, cnn_gru_answer, shown, labels, groups, boxes)
        assert found.background.reads != Needs.YES
