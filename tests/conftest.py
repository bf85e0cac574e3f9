"""What every test shares: the folder of real data, where there is one, small videos, and quiet logs.

The frames of the small videos carry their number, so that a test can say which frames it got. `miniature` is a UCF101
of 30 videos of one colour each.
"""

import gc
import os
import signal
import threading
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from har_tf.video import write_video

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# What XLA compiles here runs once or twice.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

CLASSES = ("Archery", "Biking", "Surfing")
GROUPS = 5
CLIPS = 2
SIZE = (32, 48)


def pytest_configure(config):
    """Eight logical CPU devices, before anything uses TensorFlow, so that MirroredStrategy has something to mirror.

    Models of tests are too small to be shared among threads, which would mostly wait for each other.
    """
    from har_tf import quiet

    tf = quiet.import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)
    gc.set_threshold(20_000, 20, 20)
    config.option.loadscopereorder = False  # xdist would begin with the files of most tests


def pytest_collection_modifyitems(items):
    """Files that take long go first, so that no process is left with one at the end."""
    folder, long = Path(__file__).parent, ("experiments", "notebooks", "test_replicated", "test_training")
    items.sort(key=lambda item: not item.path.relative_to(folder).as_posix().startswith(long))


@pytest.fixture(scope="module", autouse=True)
def collected():
    """What a file leaves behind is not gone through again and again, which took a tenth of the time."""
    yield
    gc.collect()
    gc.freeze()


if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background; commands keep to it, and tests send them Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos, weights and split lists that some machines have beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real videos and weights beside the repository")
    return folder


@pytest.fixture
def little_room():
    """Within it files may not be longer than 2 kB, which ends writing them as a full disk does."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            yield
        finally:  # before pytest writes: its own output may be a longer file
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """The first experiment on 60 small embedded clips for two epochs: everything it does, in seconds."""
    from experiments.ucf10_cnn_gru import PRESETS
    from har_tf.experiment import changed

    return changed(
        PRESETS["figures"], clips=60, size=(32, 48), epochs=2, filters=(4, 8, 8), pool_sizes=(2, 2, 2),
        validation=0.25, overlays=1, trusted=2, workers=0, out=tmp_path_factory.mktemp("runs"), run="tiny",
        protocol="group,random",
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe) -> Path:
    """The run folder of `tiny_recipe`."""
    from experiments import ucf10_cnn_gru

    ucf10_cnn_gru.main(tiny_recipe)
    return tiny_recipe.output.out / "ucf10_cnn_gru" / "tiny"


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory) -> Path:
    """A folder with files of two small networks, with activations of a size that float16 holds."""
    import keras

    folder = tmp_path_factory.mktemp("weights")
    frames = np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)).astype("float32")
    for name, options in (("MobileNet", {"alpha": 0.25}), ("MobileNetV2", {})):
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3), **options)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        model(frames, training=True)
        model.save_weights(folder / f"{name.lower()}_notop.weights.h5")
    return folder


@pytest.fixture(scope="session")
def numbered():
    """numbered(count, height, width) -> (T, H, W, 3): frame n shows the bits of n as black and white bars."""

    def draw(count: int, height: int = 48, width: int = 64) -> np.ndarray:
        bar = np.minimum(np.arange(width) * 8 // width, 7)
        bits = (np.arange(count)[:, None] >> bar) & 1
        levels = np.where(bits, 220, 30).astype(np.uint8)
        return np.broadcast_to(levels[:, None, :, None], (count, height, width, 3)).copy()

    return draw


@pytest.fixture(scope="session")
def numbers():
    """numbers(clip) -> list of the numbers that the frames of a clip of `numbered` show."""

    def read(clip: np.ndarray) -> list[int]:
        width = clip.shape[2]
        centres = [(2 * bar + 1) * width // 16 for bar in range(8)]
        bits = clip[:, :, centres].mean(axis=(1, 3)) > 125
        return (bits << np.arange(8)).sum(axis=1).tolist()

    return read


@pytest.fixture(scope="session")
def make_video():
    """make_video(path, frames, ...) -> path: writes with PyAV alone, with whatever oddity is asked for."""

    def write(
        path: Path,
        frames: np.ndarray,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        container: dict[str, str] | None = None,
        times: list[int] | None = None,
        pixel_shape: Fraction | None = None,
        matrix: list[int] | None = None,
    ) -> Path:
        with av.open(str(path), "w", options=container or {}) as file:
            stream = file.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pix_fmt
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if pixel_shape is not None:
                stream.codec_context.sample_aspect_ratio = pixel_shape
            if matrix is not None:
                stream.set_display_matrix(matrix)
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                if codec == "libx264" and pix_fmt == "gray":
                    # swscale makes full-range grey, but H.264 means limited range where it says nothing.
                    luma = frame.reformat(format="yuv420p").to_ndarray()[: frame.height]
                    frame = av.VideoFrame.from_ndarray(luma, format="gray")
                frame = frame.reformat(format=pix_fmt)
                if times is not None:
                    frame.pts, frame.time_base = times[number], Fraction(1, 1000)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        return path

    return write


def grey(label: int, group: int, clip: int) -> int:
    """Value of every pixel of a video, so that a clip tells which video it is."""
    return 16 + 70 * label + 12 * group + 5 * clip


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """UCF-101/<Class>/v_<Class>_gNN_cMM.mp4: 3 classes of 5 groups of 2 clips."""
    root = tmp_path_factory.mktemp("ucf") / "UCF-101"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for group in range(GROUPS):
            for clip in range(CLIPS):
                frames = np.full((6, *SIZE, 3), grey(label, group, clip), np.uint8)
                write_video(root / name / f"v_{name}_g{group + 1:02d}_c{clip + 1:02d}.mp4", frames)
    return root


@pytest.fixture
def empty_videos(tmp_path):
    """Makes class folders of files that are called like videos; enough for what only lists them."""

    def make(root: str, names: dict[str, list[str]]) -> Path:
        for folder, files in names.items():
            (tmp_path / root / folder).mkdir(parents=True, exist_ok=True)
            for file in files:
                (tmp_path / root / folder / file).touch()
        return tmp_path / root

    return make


@pytest.fixture(scope="session")
def greys():
    """Grey levels of the videos of `miniature`, in the order of their paths."""
    return [grey(label, g, c) for label in range(len(CLASSES)) for g in range(GROUPS) for c in range(CLIPS)]
