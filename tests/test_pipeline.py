import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config  # nothing public turns op determinism off again

from har_tf import datasets, devices
from har_tf.datasets import VideoRecord
from har_tf.datasets.errors import DatasetError
from har_tf.pipeline import DRAWS, RGB, YIQ, Augment, clips, errors_as_raised, full_batch, padded
from har_tf.store.flow import flow_clips
from har_tf.video import write_video

SHAPE = (4, 16, 24, 3)
ALL = Augment(flip=0.5, crop=0.5, shift=0.2, frames=1, brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """11 videos of noise in two classes."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for number in range(11):
        folder = root / ("even", "odd")[number % 2]
        folder.mkdir(exist_ok=True)
        write_video(folder / f"v_{number:02d}.mp4", rng.integers(0, 256, (6, 32, 48, 3), dtype=np.uint8))
    return datasets.load(root)


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    return datasets.prepare(dataset, tmp_path_factory.mktemp("out"), SHAPE[0], SHAPE[1:3], workers=0)


def gathered(batches):
    """All clips and all labels of some batches."""
    videos, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(videos), np.concatenate(labels)


def same(first, second):
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def order_of(prepared, batches):
    """Which clips of `prepared` these are."""
    stored = {clip.tobytes(): position for position, clip in enumerate(prepared.read(range(len(prepared))))}
    return [stored[clip.tobytes()] for clip in gathered(batches)[0]]


def draws(**values):
    return tf.constant([values.get(name, 0.5) for name in DRAWS], tf.float32)


def test_one_pass_in_order_with_a_smaller_last_batch(prepared):
    batches = clips(prepared, 4)
    assert batches.element_spec == (tf.TensorSpec((None, *SHAPE), tf.uint8), tf.TensorSpec((None,), tf.int32))
    assert batches.cardinality() == 3
    assert [len(labels) for _, labels in batches] == [4, 4, 3]
    same(gathered(batches), (prepared.read(range(11)), prepared.labels))
    assert gathered(batches)[1].tolist() == [0] * 6 + [1] * 5


def test_records_give_the_clips_that_preparing_stores(dataset, prepared):
    settings = {"num_frames": SHAPE[0], "size": SHAPE[1:3]}
    arguments = {"training": True, "seed": 5, "augment": ALL, "epochs": [2]}
    same(gathered(clips(dataset, 4, **settings)), gathered(clips(prepared, 4)))
    same(
        gathered(clips(dataset.records, 4, **arguments, **settings)),
        gathered(clips(prepared, 4, **arguments)),
    )


def test_the_order_is_of_the_seed_and_the_pass_alone(prepared):
    first = order_of(prepared, clips(prepared, 11, training=True, seed=1))
    assert sorted(first) == list(range(11))
    assert first != list(range(11))
    assert order_of(prepared, clips(prepared, 3, training=True, seed=1)) == first[:9], "what fills no batch is left out"
    others = [
        order_of(prepared, clips(prepared, 11, training=True, seed=seed, epochs=[epoch]))
        for seed, epoch in ((2, 0), (1, 1), (1, 2), (0, 1))
    ]
    assert len({tuple(order) for order in [first, *others]}) == 5


def test_labels_belong_to_their_clips(prepared):
    batches = clips(prepared, 4, training=True)
    np.testing.assert_array_equal(gathered(batches)[1], prepared.labels[order_of(prepared, batches)])


def test_passes_follow_one_another_and_can_be_resumed(prepared):
    def some(**arguments):
        return clips(prepared, 4, training=True, augment=ALL, **arguments)

    whole = some(epochs=range(3))
    assert whole.cardinality() == 6
    assert [len(labels) for _, labels in whole] == [4, 4] * 3
    same(gathered(some(epochs=range(1, 3))), gathered(whole.skip(2)))
    resumed = some(epochs=range(3), skip=3)
    assert resumed.cardinality() == 3
    same(gathered(resumed), gathered(whole.skip(3)))


def test_batches_and_determinism_change_nothing(prepared):
    expected = gathered(clips(prepared, 4, training=True, augment=ALL))
    same([values[:8] for values in gathered(clips(prepared, 11, training=True, augment=ALL))], expected)
    same(gathered(clips(prepared, 4, training=True, augment=ALL)), expected)
    tf.config.experimental.enable_op_determinism()
    try:
        same(gathered(clips(prepared, 4, training=True, augment=ALL)), expected)
    finally:
        config.disable_op_determinism()


def test_training_batches_are_shared_evenly_or_refused(prepared):
    for count, asked, size in ((1, 16, 11), (2, 16, 10), (3, 8, 6), (8, 16, 8)):
        with devices.mirrored(count).scope():
            assert full_batch(11, asked) == size
            assert clips(prepared, asked, training=True).element_spec[1].shape == (size,)
    with devices.mirrored(8).scope():
        for some, asked in ((7, 16), (11, 4)):
            with pytest.raises(ValueError, match=f"8 devices share.* Received: {some} clips, --batch-size {asked}"):
                full_batch(some, asked)


def test_padded_batches_have_one_size_and_count_every_clip_once(prepared, dataset):
    whole = list(padded(clips(prepared, 4), 4, 11).as_numpy_iterator())
    assert [labels.shape for _, labels, _ in whole] == [(4,)] * 3
    videos, labels, weights = map(np.concatenate, zip(*whole, strict=True))
    same((videos[:11], labels[:11]), gathered(clips(prepared, 4)))
    np.testing.assert_array_equal(videos[11], videos[8])
    np.testing.assert_allclose(weights, [12 / 11] * 11 + [0])
    with devices.mirrored().scope():
        (spread,) = padded(clips(prepared.subset(dataset.records[:3]), 16)).as_numpy_iterator()
    assert [values.shape for values in spread] == [(8, *SHAPE), (8,), (8,)]
    assert spread[2].tolist() == [1] * 3 + [0] * 5


def test_only_the_wanted_clips_are_read(prepared, monkeypatch):
    positions, read = [], type(prepared).read

    def note(self, some):
        positions.extend(some)
        return read(self, some)

    monkeypatch.setattr(type(prepared), "read", note)
    list(clips(prepared, 4, training=True, skip=1))
    assert len(positions) == 4


def test_a_strategy_deals_every_clip_once(prepared):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    dealt = strategy.experimental_distribute_dataset(clips(prepared, 4, training=True))
    order = [labels.numpy() for _, labels in dealt]
    same((np.concatenate(order),) * 2, (gathered(clips(prepared, 4, training=True))[1],) * 2)


def test_a_broken_video_stops_the_pass_and_is_named(dataset, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    records = [*dataset.records, VideoRecord(tmp_path / "broken.mp4", 0)]
    with pytest.raises(tf.errors.OpError, match=r"broken.mp4"):
        list(clips(records, 4))


def test_what_reading_raises_is_raised_as_it_is(prepared, monkeypatch):
    error = DatasetError("a\udcff.tfrecord: damaged\nat b")  # not UTF-8, of which TensorFlow tells nothing

    def read(self, positions):
        raise error

    monkeypatch.setattr(type(prepared), "read", read)
    with pytest.raises(DatasetError) as raised, errors_as_raised():
        list(clips(prepared, 4))
    assert raised.value is error
    with pytest.raises(tf.errors.InvalidArgumentError), errors_as_raised():  # one of TensorFlow's own
        tf.reshape([1, 2], [3])


def test_wrong_arguments(prepared):
    for wrong in ({"batch_size": 0}, {"batch_size": 4, "epochs": []}, {"batch_size": 4, "skip": 4}):
        with pytest.raises(ValueError, match="Received"):
            clips(prepared, **wrong)
    read = {"num_frames": 4, "size": (16, 24), "sampling": "uniform", "short": "wrap", "fit": "crop", "by": "time"}
    for name, value in read.items():
        with pytest.raises(ValueError, match=rf"is for records.*{SHAPE[0]} frames of 16 x 24.*Received: {name}="):
            clips(prepared, 4, **{name: value})
    with pytest.raises(ValueError, match="no clips"):
        clips(prepared.subset([]), 4)
    for wrong in ({"flip": 1.5}, {"crop": 0}, {"hue": 0.6}, {"frames": -1}):
        with pytest.raises(ValueError, match="Received"):
            Augment(**wrong)


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape or SHAPE, dtype=np.uint8)


def test_augmentation_that_is_off_changes_no_byte(prepared):
    same(gathered(clips(prepared, 4, augment=Augment())), gathered(clips(prepared, 4)))


def test_augmentation_is_the_same_for_the_same_seed(prepared):
    def some(**arguments):
        return gathered(clips(prepared, 4, augment=ALL, **arguments))

    same(some(seed=1), some(seed=1))
    assert (some(seed=1)[0] != some(seed=2)[0]).any()
    assert (some(epochs=[0])[0] != some(epochs=[1])[0]).any()


def test_flip_mirrors_exactly(prepared):
    flipped, labels = gathered(clips(prepared, 4, augment=Augment(flip=1.0)))
    plain, _ = gathered(clips(prepared, 4))
    same((flipped, labels), (plain[:, :, :, ::-1], prepared.labels))
    half, _ = gathered(clips(prepared, 4, augment=Augment(flip=0.5), epochs=range(20)))
    mirrored = [(clip == plain[n % 11][:, :, ::-1]).all() for n, clip in enumerate(half)]
    kept = [(clip == plain[n % 11]).all() for n, clip in enumerate(half)]
    assert sum(mirrored) + sum(kept) == 220
    assert 80 < sum(mirrored) < 140


def test_brightness_adds_the_same_everywhere():
    clip = noise()
    brighter = Augment(brightness=0.2)(clip, draws(brightness=1.0)).numpy()
    np.testing.assert_array_equal(brighter, np.minimum(clip.astype(int) + 51, 255))
    darker = Augment(brightness=0.2)(clip, draws(brightness=0.0)).numpy()
    np.testing.assert_array_equal(darker, np.maximum(clip.astype(int) - 51, 0))
    np.testing.assert_array_equal(Augment(brightness=0.2)(clip, draws()).numpy(), clip)


def test_contrast_stretches_about_the_mean_luma():
    clip = np.full(SHAPE, 100, np.uint8)
    clip[:, :, 12:] = 140
    # The mean is 120: 20 below and 20 above become 30 below and 30 above.
    stretched = Augment(contrast=0.5)(clip, draws(contrast=1.0)).numpy()
    assert set(stretched[:, :, :12].ravel()) == {90}
    assert set(stretched[:, :, 12:].ravel()) == {150}


@pytest.mark.parametrize("width", [24, 21])
def test_no_saturation_leaves_the_luma(width):
    clip = noise(2, 16, width, 3)
    grey = Augment(saturation=1.0)(clip, draws(saturation=0.0)).numpy()
    luma = clip @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - luma[..., None]).max() <= 0.51
    assert np.ptp(grey, axis=-1).max() <= 1


@pytest.mark.parametrize("width", [24, 21])
def test_hue_turns_the_chroma(width):
    clip = (noise(2, 16, width, 3) // 4 + 96).astype(np.uint8)
    turned = Augment(hue=0.25)(clip, draws(hue=1.0)).numpy()
    y, i, q = np.moveaxis(clip @ YIQ.T, -1, 0)
    expected = np.stack([y, -q, i], -1) @ RGB.T  # by a quarter: (i, q) -> (-q, i)
    assert np.abs(turned - expected).max() <= 0.51
    half = Augment(hue=0.5)(Augment(hue=0.5)(clip, draws(hue=1.0)), draws(hue=1.0)).numpy()
    assert np.abs(half.astype(int) - clip).max() <= 2


def test_shift_moves_whole_pixels_and_lets_black_in():
    clip = noise()
    moved = Augment(shift=0.25)(clip, draws(down=1.0, right=0.0)).numpy()
    # A quarter of 16 x 24: 4 pixels down and 6 to the left.
    np.testing.assert_array_equal(moved[:, 4:, :-6], clip[:, :-4, 6:])
    assert not moved[:, :4].any() and not moved[:, :, -6:].any()
    np.testing.assert_array_equal(Augment(shift=0.25)(clip, draws()).numpy(), clip)


def test_crop_enlarges_a_part_of_the_frame():
    ramp = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None] * 10, SHAPE)
    corner = Augment(crop=0.25)(ramp, draws(area=1.0, left=0.0, top=0.0)).numpy()
    # Half of the 23 steps of the frame, from its left edge: 0 to 115.
    np.testing.assert_allclose(corner[0, 0, :, 0], np.linspace(0, 115, 24), atol=0.51)
    right = Augment(crop=0.25)(ramp, draws(area=1.0, left=1.0, top=0.0)).numpy()
    np.testing.assert_allclose(right[0, 0, :, 0], np.linspace(115, 230, 24), atol=0.51)
    whole = Augment(crop=0.25)(ramp, draws(area=0.0)).numpy()
    np.testing.assert_array_equal(whole, ramp)


def test_a_crop_stays_inside_whatever_is_drawn():
    bright = np.full((2, *SHAPE[1:]), 200, np.uint8)
    for row in np.random.default_rng(0).random((50, len(DRAWS)), np.float32):
        assert (Augment(crop=0.3)(bright, tf.constant(row)).numpy() == 200).all()


def test_frames_move_in_time_and_the_edges_repeat():
    clip = noise()
    later = Augment(frames=2)(clip, draws(frames=0.99)).numpy()
    np.testing.assert_array_equal(later, clip[[2, 3, 3, 3]])
    earlier = Augment(frames=2)(clip, draws(frames=0.0)).numpy()
    np.testing.assert_array_equal(earlier, clip[[0, 0, 0, 1]])
    np.testing.assert_array_equal(Augment(frames=2)(clip, draws()).numpy(), clip)


def test_all_frames_of_a_clip_change_alike():
    still = np.repeat(noise()[:1], 4, axis=0)
    for row in np.random.default_rng(0).random((10, len(DRAWS)), np.float32):
        changed = ALL(still, tf.constant(row)).numpy()
        assert (changed == changed[:1]).all()
        assert (changed != still).any()


FLOW = (4, 16, 24, 2)


def still(**pixels):
    """Flow of one clip where nothing moves but the pixels that are given as y_x=(right, down)."""
    clip = np.full(FLOW, 128, np.uint8)
    for place, value in pixels.items():
        y, x = map(int, place.strip("p").split("_"))
        clip[:, y, x] = value
    return clip


def test_flow_is_read_in_batches_like_rgb(prepared, tmp_path):
    flow = flow_clips(prepared, tmp_path)
    batches = clips(flow, 4, training=True, augment=ALL, epochs=range(2))
    assert batches.element_spec == (tf.TensorSpec((4, *FLOW), tf.uint8), tf.TensorSpec((4,), tf.int32))
    assert batches.cardinality() == 4
    same(gathered(clips(flow, 4)), (flow.read(range(11)), prepared.labels))
    with pytest.raises(ValueError, match="is for records"):
        clips(flow, 4, num_frames=4)


def test_the_same_draws_change_flow_and_rgb_alike(prepared, tmp_path):
    flow = flow_clips(prepared, tmp_path)
    seen, labels = gathered(clips(flow, 4, training=True, seed=3, augment=Augment(flip=0.5)))
    rgb, same_labels = gathered(clips(prepared, 4, training=True, seed=3, augment=Augment(flip=0.5)))
    np.testing.assert_array_equal(labels, same_labels)
    plain = prepared.read(range(11))
    for moved, clip in zip(seen, rgb, strict=True):
        (position,) = (n for n in range(11) if (clip == plain[n]).all() or (clip == plain[n][:, :, ::-1]).all())
        mirrored = (clip == plain[position][:, :, ::-1]).all()
        original = flow.read([position])[0].astype(int)
        expected = np.stack([256 - original[:, :, ::-1, 0], original[:, :, ::-1, 1]], -1) if mirrored else original
        np.testing.assert_array_equal(moved, expected)


def test_a_flip_of_flow_turns_the_horizontal_motion_round():
    clip = still(p3_0=(200, 90), p3_1=(1, 1), p3_2=(255, 255), p3_3=(0, 0))
    flipped = Augment(flip=1.0)(tf.constant(clip), draws(flip=0.0)).numpy()
    # 128 + 72 becomes 128 - 72; the 0 that no flow has becomes the most there is.
    assert flipped[0, 3, -4:].tolist() == [[255, 0], [1, 255], [255, 1], [56, 90]]
    assert (flipped[:, :3] == 128).all(), "no motion stays none"
    legal = np.maximum(noise(*FLOW), 1)
    twice = Augment(flip=1.0)(Augment(flip=1.0)(tf.constant(legal), draws(flip=0.0)), draws(flip=0.0))
    np.testing.assert_array_equal(twice.numpy(), legal)


def test_where_a_frame_of_flow_is_repeated_nothing_moves():
    clip = noise(*FLOW)
    later = Augment(frames=2)(tf.constant(clip), draws(frames=0.99)).numpy()
    np.testing.assert_array_equal(later[:2], clip[2:])
    assert (later[2:] == 128).all()
    earlier = Augment(frames=2)(tf.constant(clip), draws(frames=0.0)).numpy()
    np.testing.assert_array_equal(earlier[2:], clip[:2])
    assert (earlier[:2] == 128).all()


def test_what_a_shift_of_flow_lets_in_does_not_move():
    clip = np.maximum(noise(*FLOW), 1)
    moved = Augment(shift=0.25)(tf.constant(clip), draws(down=1.0, right=0.0)).numpy()
    np.testing.assert_array_equal(moved[:, 4:, :-6], clip[:, :-4, 6:])
    assert (moved[:, :4] == 128).all() and (moved[:, :, -6:] == 128).all()


def test_a_crop_of_flow_enlarges_the_motion():
    clip = np.full(FLOW, 138, np.uint8)
    clip[..., 1] = 108
    corner = Augment(crop=0.25)(tf.constant(clip), draws(area=1.0, left=0.0, top=0.0)).numpy()
    # Half of the height and the width: twice the motion, 10 to the right and 20 up.
    assert set(corner[..., 0].ravel()) == {148}
    assert set(corner[..., 1].ravel()) == {88}
    wide = Augment(crop=0.25)(tf.constant(clip), draws(area=1.0, aspect=1.0, left=0.0, top=0.0)).numpy()
    # A quarter of the area that is 4/3 times as wide as high: shares of sqrt(1/4 * 4/3) and sqrt(1/4 * 3/4).
    assert set(wide[..., 0].ravel()) == {round(128 + 10 / (1 / 3) ** 0.5)}
    assert set(wide[..., 1].ravel()) == {round(128 - 20 / (3 / 16) ** 0.5)}
    fast = np.full(FLOW, 250, np.uint8)
    assert (Augment(crop=0.25)(tf.constant(fast), draws(area=1.0)).numpy() == 255).all()


def test_flow_has_no_colour():
    clip = noise(*FLOW)
    colours = Augment(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5)
    np.testing.assert_array_equal(colours(tf.constant(clip), draws(brightness=1.0, hue=0.9)).numpy(), clip)
