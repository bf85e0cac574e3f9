import keras
import numpy as np
import pytest
from keras import layers

from har_tf.explain import Explanation, by_method, cam3d, explain_video, gradcam, layerwise, sum_gradcam
from har_tf.explain.upsampling import enlarge
from har_tf.explain.windows import frames_of
from har_tf.video import VideoError, probe, read_frames, write_video


def red_model(frames=4):
    """Class 1 is red, class 0 the lack of it; the map of class 1 is the red in each pixel."""
    clip = keras.Input((frames, 16, 16, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(1, 1, use_bias=False, activation="relu", name="red")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x), name="red_model")
    model.get_layer("red").set_weights([np.array([1.0, -1.0, 0.0]).reshape(1, 1, 1, 3, 1)])
    model.get_layer("predictions").set_weights([np.array([[-40.0, 40.0]]), np.array([2.0, 0.0])])
    return model


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Ten grey frames, of which 6 and 7 have a red patch in the upper left quarter."""
    frames = np.full((10, 16, 16, 3), 60, "uint8")
    frames[6:8, :8, :8] = [250, 10, 10]
    return write_video(tmp_path_factory.mktemp("windows") / "red.mp4", frames, fps=5, crf=1)


def recorded(index):
    """An `explain` whose map of the k-th window it sees is k + 1 everywhere."""
    seen = []

    def explain(clips):
        maps = np.stack([np.full(clips.shape[1:4], len(seen) + k + 1.0, "float32") for k in range(len(clips))])
        seen.extend(clips)
        classes = np.array([index[len(seen) - len(clips) + k] for k in range(len(clips))])
        ones = np.ones(len(clips), "float32")
        return Explanation(maps, maps, classes, ones * len(seen), ones / (1 + classes), "Test", {"normalize": None})

    return explain, seen


def test_windows_of_a_video_at_another_rate(video):
    """Of ten frames, five a second, windows of every second one, and at twice the rate of each twice."""
    explain, seen = recorded([1, 1])
    found = explain_video(red_model(), video, explain, hop=1, by="2.5fps", normalize=None)
    assert found.windows.tolist() == [[0, 2, 4, 6], [2, 4, 6, 8]]
    np.testing.assert_array_equal(seen[1], read_frames(video, [2, 4, 6, 8], (16, 16)))
    assert found.frames.tolist() == [0, 2, 4, 6, 8]
    assert found.seconds.tolist() == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    doubled = explain_video(red_model(), video, recorded([1] * 9)[0], start=5, by="10fps", normalize=None)
    assert doubled.windows[0].tolist() == [5, 6, 6, 7]  # at 1, 1.1, 1.2 and 1.3 s: of two as near the later one
    with pytest.raises(VideoError, match="2 frames"):
        explain_video(red_model(), video, recorded([1])[0], start=6, by="2.5fps")


def test_maps_are_averaged_where_windows_overlap(video):
    explain, seen = recorded([1, 1, 0, 1])
    found = explain_video(red_model(), video, explain, hop=3, normalize=None, batch_size=2)
    assert found.windows.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    np.testing.assert_array_equal(seen[1], read_frames(video, [3, 4, 5, 6], (16, 16)))
    maps = found.explanations[""].maps
    assert maps.shape == (1, 10, 16, 16)
    assert maps[0, :, 0, 0].tolist() == [1, 1, 1, 1.5, 2, 2, 2.5, 3, 3, 3]
    assert found.frames.tolist() == list(range(10))
    assert found.nearest.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.class_index.tolist() == [1, 1, 0]
    joined = found.explanations[""]
    assert (joined.class_index.tolist(), joined.probability.tolist()) == ([1], [0.5])
    assert joined.settings == {"normalize": None, "windows": 3}
    assert found.fps == 5
    scaled = explain_video(red_model(), video, recorded([1] * 4)[0], hop=3).explanations[""]
    np.testing.assert_allclose(scaled.maps, maps / 3)
    assert not np.shares_memory(scaled.maps, scaled.signed)
    assert np.shares_memory(joined.maps, joined.signed), "two arrays only where they differ"


def test_a_real_map_lights_up_where_and_when_the_evidence_is(video):
    model = red_model()
    found = explain_video(model, video, lambda clips: gradcam(model, clips, class_index=1, normalize=None), hop=1)
    maps = found.explanations[""].maps[0]
    assert maps[6:8, 1:7, 1:7].min() > 0.8
    assert maps[[0, 1, 2, 3, 4, 5, 8, 9]].max() < 0.05
    assert maps[6:8, 10:, 10:].max() < 0.05
    # By default 3DCAM of the class that each window shows.
    found = explain_video(model, video, hop=2)
    assert found.windows.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert found.class_index.tolist() == [0, 0, 1, 1]
    assert found.explanations[""].class_index.tolist() == [1], "of two as common the more probable"
    assert found.explanations[""].maps[0, 6:8, 1:7, 1:7].min() > 0.5


METHODS = {"gradcam": "Grad-CAM red", "3dcam": "3DCAM", "sum-gradcam": "Sum Grad-CAM"}


def test_windows_are_as_bright_as_their_evidence_beside_that_of_the_others(tmp_path):
    frames = np.full((16, 16, 16, 3), 60, "uint8")
    frames[2:4, :8, :8] = [90, 60, 60]
    frames[12:14, :8, :8] = [250, 10, 10]
    path = write_video(tmp_path / "faint.mp4", frames, fps=5, crf=1)

    def explained(model, **options):
        return explain_video(
            model, path, lambda clips: by_method(model, clips, list(METHODS), class_index=1, normalize=None), **options
        ).explanations

    found = explained(red_model(), hop=4)
    whole = explained(red_model(16))
    overlapping = explained(red_model(), hop=2, batch_size=1)
    assert list(found) == list(METHODS.values())
    for name in found:
        peaks = found[name].maps[0].max(axis=(1, 2))
        assert peaks[12:14].max() == 1
        assert peaks[2:4] == pytest.approx(30 / 240, abs=0.02)  # of red - green; the file adds a little
        assert peaks[[0, 1, *range(4, 12), 14, 15]].max() < 0.03
        # Every pixel by itself decides here, so that the video as one clip shows the same.
        np.testing.assert_allclose(found[name].maps, whole[name].maps, atol=1e-6)
        np.testing.assert_allclose(overlapping[name].maps, whole[name].maps, atol=1e-6)


def uneven_model():
    """Two taps at other sizes than the clip, of both signs, where other windows have other gradients."""
    keras.utils.set_random_seed(3)
    clip = keras.Input((4, 16, 16, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 127.5, -1)(clip)
    x = layers.Conv3D(4, 3, strides=2, padding="same", activation="tanh", name="a")(x)
    x = layers.Conv3D(4, (1, 3, 3), strides=2, padding="same", activation="tanh", name="b")(x)
    x = layers.Dense(5, activation="tanh")(layers.Flatten()(x))
    return keras.Model(clip, layers.Dense(3, name="predictions")(x))


@pytest.mark.parametrize("method", [cam3d, sum_gradcam])
def test_of_every_tap_the_largest_of_all_windows_is_what_divides(video, method):
    model = uneven_model()
    options = {"taps": ["a", "b"], "class_index": 1, "normalize": None, "join": "average"}
    options["counterfactual"] = method is sum_gradcam  # which alone finds evidence in these windows
    one = explain_video(model, video, lambda clips: method(model, clips, **options), stop=4).explanations[""]
    clips = read_frames(video, [[0, 1, 2, 3], [4, 5, 6, 7]], (16, 16))
    np.testing.assert_allclose(one.signed, method(model, clips[:1], **options).maps, atol=1e-6)
    np.testing.assert_allclose(one.maps, method(model, clips[:1], **{**options, "normalize": "clip"}).maps, atol=1e-6)

    both = explain_video(model, video, lambda clips: method(model, clips, **options), stop=8, hop=4, batch_size=1)
    expected = 0
    for tap in ("a", "b"):
        found = layerwise(model, clips, [tap], class_index=1)
        parts = [found.gradients, found.activations] if method is cam3d else [found.weighted]
        align = "corners" if method is cam3d else "centres"
        product = 1
        for part in parts:
            part = np.maximum(-part[tap], 0) if method is sum_gradcam else part[tap]
            large = enlarge(part, (4, 16, 16), align)
            product = product * np.maximum(large, 0) / large.max()
        expected = expected + product / 2
    np.testing.assert_allclose(both.explanations[""].signed[0], expected.reshape(8, 16, 16), atol=1e-6)
    assert np.abs(expected - method(model, clips, **options).maps).max() > 0.01, "each by its own is another map"
    assert both.explanations[""].factors is None


def test_windows_come_in_batches_and_frames_apart(video):
    sizes = []

    def explain(clips):
        sizes.append(len(clips))
        ones = np.ones(len(clips), "float32")
        one = Explanation(
            ones[:, None, None, None] * np.ones(clips.shape[1:4]), ones, ones.astype(int), ones, ones, "T"
        )
        return {"left": one, "right": one}

    found = explain_video(red_model(), video, explain, hop=1, batch_size=3)
    assert sizes == [3, 3, 1]
    assert list(found.explanations) == ["left", "right"]
    apart = explain_video(red_model(), video, explain, hop=1, stride=3)
    assert apart.windows.tolist() == [[0, 3, 6, 9]]
    assert apart.frames.tolist() == [0, 3, 6, 9]
    halves = explain_video(red_model(), video, explain, stride=2)
    assert halves.windows.tolist() == [[0, 2, 4, 6], [3, 5, 7, 9]], "half a window is 4 frames, the last ends the video"
    part = explain_video(red_model(), video, explain, start=2, stop=7, hop=1)
    assert part.frames.tolist() == [2, 3, 4, 5, 6]


def test_windows_of_a_video_of_uneven_speed_go_by_its_time_stamps(tmp_path, make_video):
    """Nine frames of a second, and one 19 s later: 3 s in the mean, so at 0, 3, ... 27 s frames 0 3 6 8 8 8 9 9 9 9."""
    times = [*range(0, 9000, 1000), 27000]
    path = make_video(tmp_path / "slow.mkv", np.full((10, 16, 16, 3), 60, "uint8"), times=times)
    found = explain_video(red_model(), path, recorded([1] * 4)[0], by="time", normalize=None)
    assert found.windows.tolist() == [[0, 3, 6, 8], [6, 8, 8, 8], [8, 8, 9, 9], [9, 9, 9, 9]]
    assert found.frames.tolist() == [0, 3, 6, 8, 9]
    np.testing.assert_allclose(found.seconds, [0, 3, 6, 8, 27])
    assert found.nearest.tolist() == [0, 0, 1, 1, 3]  # middles at 4.25, 7.5, 17.5 and 27 s
    assert explain_video(red_model(), path, recorded([1] * 4)[0], by="time", stride=3).windows.tolist() == [
        [0, 8, 9, 9]
    ]
    part = explain_video(red_model(), path, recorded([1] * 4)[0], by="time", start=5, normalize=None)
    assert part.windows.tolist() == [[5, 8, 8, 8], [8, 8, 8, 9], [8, 9, 9, 9]]  # at 5, 8, ... 26 s
    by_frame = explain_video(red_model(), path, recorded([1] * 5)[0], normalize=None)
    assert by_frame.windows.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]


def test_short_videos_are_named_or_filled_up(video):
    long = red_model(12)
    with pytest.raises(VideoError, match=r"red\.mp4: 10 frames, a window of the model takes 12; short='repeat_last'"):
        explain_video(long, video)
    with pytest.raises(VideoError, match=r"10 frames, a window of the model takes 13 \(4, 4 apart\)"):
        explain_video(red_model(), video, stride=4)
    with pytest.raises(VideoError, match=r"3 frames from 5 to 8, a window of the model takes 4"):
        explain_video(red_model(), video, start=5, stop=8)
    with pytest.raises(VideoError, match=r"red\.mp4: 10 frames, frames up to 20 asked for"):
        explain_video(red_model(), video, stop=20)
    found = explain_video(long, video, short="repeat_last")
    assert found.windows.tolist() == [[*range(10), 9, 9]]
    assert found.explanations[""].maps.shape == (1, 10, 16, 16)
    assert np.isfinite(found.explanations[""].maps).all()


def test_wrong_arguments(video, tmp_path):
    image = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 1), layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match=r"windows need a model of clips .* Received: input of \(None, 8, 8, 3\)"):
        explain_video(image, video)
    with pytest.raises(ValueError, match="normalize is one of"):
        explain_video(red_model(), video, normalize="video")
    with pytest.raises(ValueError, match="batch_size is a whole number of at least 1. Received: batch_size=0"):
        explain_video(red_model(), video, batch_size=0)
    with pytest.raises(ValueError, match="hop must be a whole number of at least 1"):
        explain_video(red_model(), video, hop=0)
    with pytest.raises(VideoError, match=r"none\.mp4"):
        explain_video(red_model(), tmp_path / "none.mp4")


def test_frames_one_by_one(video):
    frames = list(frames_of(video, np.arange(0, 10, 2), (16, 16), at_once=2))
    np.testing.assert_array_equal(frames, read_frames(video, np.arange(0, 10, 2), (16, 16)))


def test_a_long_video_s_overlay_is_written_frame_by_frame(video, tmp_path):
    from har_tf.explain import save_overlay

    found = explain_video(red_model(), video, hop=2)
    headings = [f"window {number}" for number in found.nearest]
    frames = frames_of(video, found.frames, (16, 16), at_once=3)
    out = save_overlay(tmp_path / "o.mp4", frames, found.explanations, headings=headings, times=found.frames / 5)
    assert probe(out).frames == 10
