"""tf.data: clips in a reproducible order, augmented in graph, in batches.

The order and the random numbers of a pass are a function of (seed, pass) alone, drawn for every clip before
any is read; neither the batch size nor the number of threads changes them. Clips are read at random places
(`PreparedDataset` is made for it), so the shuffle is global and needs no buffer, and a run continues by not
reading what it has seen.
"""

from __future__ import annotations

import re
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.datasets import ActionDataset, VideoRecord
from har_tf.files.workers import available_cores

AHEAD = 2  # batches ready and waiting; with the ones under way this bounds the memory
# How records are read where nothing else is said.
READ = {
    "num_frames": 10, "size": (128, 192), "sampling": "uniform", "short": "repeat_last", "fit": "stretch", "by": "frame"
}  # fmt: skip
DRAWS = ("flip", "area", "aspect", "top", "left", "down", "right", "frames")
DRAWS += ("brightness", "contrast", "saturation", "hue")

# NTSC's luma and chroma. Saturation and hue scale and turn the chroma (I, Q), and leave the luma Y as it is.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
RGB = np.linalg.inv(YIQ)
FLOW = 2  # channels of flow: pixels to the right and pixels down
STILL = 128  # what flow in eight bits has for no motion, see `har_tf.video.flow.encode`
PIXELS = 8  # multiplied at once by one matrix of 24 x 24: several times faster than pixel by pixel


@dataclass(frozen=True)
class Augment:
    """Random changes to training clips, the same for all frames of a clip; everything is off by default.

    Clips of flow change as the flow of the changed video would: mirrored, its horizontal part changes its sign; a crop
    that is stretched stretches the motion, each part by its own factor; where a frame is repeated, or something black
    comes in, nothing moves. Flow has no colour, so brightness, contrast, saturation and hue leave it as it is.

    Args:
        flip: probability of mirroring left and right. Leave it off where the side is part of the label.
        crop: smallest share of the frame's area that a random crop keeps, stretched to the whole frame again,
            with an aspect up to 4/3 wider or narrower; 1 is off.
        shift: largest move of the frame, as a share of its height and width, in whole pixels; black comes in.
        frames: largest move in time, in frames of the clip; the first or last frame is repeated.
        brightness: largest change of all values, as a share of 255.
        contrast: largest change of the factor on the distance to the clip's mean luma.
        saturation: largest change of the factor on the chroma.
        hue: largest turn of the chroma, as a share of a full turn.

    Raises:
        ValueError: a value is out of its range.
    """

    flip: float = 0.0
    crop: float = 1.0
    shift: float = 0.0
    frames: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = {"crop": (0.01, 1), "hue": (0, 0.5), "frames": (0, np.inf)}.get(field.name, (0, 1))
            if not low <= value <= high:
                raise ValueError(f"{field.name} must lie in [{low}, {high}]. Received: {field.name}={value}")

    def __call__(self, clip: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Changes one clip.

        Args:
            clip: (T, H, W, 3) uint8 RGB, or (T, H, W, 2) uint8 flow.
            draws: (12,) numbers in [0, 1), one for each of `DRAWS`; the clip's randomness.

        Returns:
            uint8 of the same shape.
        """
        draw = dict(zip(DRAWS, tf.unstack(draws), strict=True))
        is_flow = clip.shape[-1] == FLOW
        if self.frames:
            clip = self._move_in_time(clip, draw, is_flow)
        if self.flip:
            clip = tf.cond(draw["flip"] < self.flip, lambda: _mirrored(clip, is_flow), lambda: clip)
        values = clip
        if self.crop < 1 or self.shift:
            values = self._move_in_space(values, draw, is_flow)
        if not is_flow and (self.brightness or self.contrast or self.saturation or self.hue):
            values = self._change_colour(tf.cast(values, tf.float32), draw)
        if values is clip:
            return clip
        return tf.cast(tf.clip_by_value(values, 0, 255) + 0.5, tf.uint8)

    def _move_in_time(self, clip, draw, is_flow):
        last = tf.shape(clip)[0] - 1
        offset = tf.cast(tf.floor(draw["frames"] * (2 * self.frames + 1)), tf.int32) - self.frames
        wanted = tf.range(last + 1) + offset
        there = tf.clip_by_value(wanted, 0, last)
        moved = tf.gather(clip, there)
        if is_flow:
            moved = tf.where((wanted == there)[:, None, None, None], moved, tf.constant(STILL, tf.uint8))
        return moved

    def _move_in_space(self, clip, draw, is_flow):
        frames, height, width = (tf.shape(clip)[axis] for axis in range(3))
        down, right = tf.cast(height - 1, tf.float32), tf.cast(width - 1, tf.float32)
        area = 1 - draw["area"] * (1 - self.crop)
        aspect = (4 / 3) ** (2 * draw["aspect"] - 1) if self.crop < 1 else 1.0
        # (top, left, bottom, right) as shares of the way from the first to the last pixel
        tall, wide = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
        top, left = draw["top"] * (1 - tall), draw["left"] * (1 - wide)
        if self.shift:
            top -= tf.round((2 * draw["down"] - 1) * self.shift * tf.cast(height, tf.float32)) / down
            left -= tf.round((2 * draw["right"] - 1) * self.shift * tf.cast(width, tf.float32)) / right
        box = tf.stack([top, left, top + tall, left + wide])
        boxes = tf.tile(box[None], [frames, 1])
        outside = STILL if is_flow else 0
        values = tf.image.crop_and_resize(clip, boxes, tf.range(frames), (height, width), extrapolation_value=outside)
        # The motion grows with the picture; 1 and 255 are as far as flow goes.
        return tf.clip_by_value((values - STILL) / [wide, tall] + STILL, 1, 255) if is_flow else values

    def _change_colour(self, values, draw):
        def around(centre, name):
            strength = getattr(self, name)
            return centre + (2 * draw[name] - 1) * strength

        contrast, saturation = around(1.0, "contrast"), around(1.0, "saturation")
        bias = 255 * around(0.0, "brightness")
        if self.contrast:
            # Every fourth row and column tell the mean well enough.
            luma = tf.tensordot(tf.reduce_mean(values[:, ::4, ::4], (0, 1, 2)), YIQ[0], 1)
            bias += (1 - contrast) * luma
        if not (self.saturation or self.hue):
            return values * contrast + bias
        turn = 2 * np.pi * around(0.0, "hue")
        i, q = saturation * tf.cos(turn), saturation * tf.sin(turn)
        chroma = tf.reshape(tf.stack([1.0, 0, 0, 0, i, -q, 0, q, i]), (3, 3))
        matrix = contrast * tf.transpose(RGB @ chroma @ YIQ)
        shape = tf.shape(values)
        if values.shape[1] is not None and values.shape[2] is not None and values.shape[2] % PIXELS == 0:
            blocks = tf.linalg.LinearOperatorKronecker(
                [tf.linalg.LinearOperatorIdentity(PIXELS), tf.linalg.LinearOperatorFullMatrix(matrix)]
            ).to_dense()
            return tf.reshape(tf.matmul(tf.reshape(values, (-1, 3 * PIXELS)), blocks) + bias, shape)
        return tf.reshape(tf.matmul(tf.reshape(values, (-1, 3)), matrix) + bias, shape)


def _mirrored(clip, is_flow):
    """Of flow also with the horizontal motion reversed: 128 + m is 128 - m, and the 0 `encode` never writes is 255."""
    clip = tf.reverse(clip, [2])
    if not is_flow:
        return clip
    right, down = tf.unstack(tf.cast(clip, tf.int32), axis=-1)
    return tf.cast(tf.stack([tf.minimum(2 * STILL - right, 255), down], -1), tf.uint8)


@runtime_checkable
class Clips(Protocol):
    """Clips of one size that are read at any places: `PreparedDataset`, `FlowClips`, or what has the same.

    Attributes:
        num_frames: frames of a clip, T.
        size: (height, width) of a clip.
        channels: 3 of RGB, 2 of flow.
        labels: (clips,) int32.
    """

    num_frames: int
    size: tuple[int, int]
    channels: int
    labels: np.ndarray

    def __len__(self) -> int: ...

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """The clips at these positions, uint8 (B, T, H, W, channels)."""


@dataclass(frozen=True, eq=False)
class Videos:
    """`Clips` that are decoded whenever they are asked for.

    Unlike `check` and `prepare`, it decodes in this process, within the limits of `har_tf.files.limits`: a file that
    crashes the decoder ends the run. Videos that nobody has checked go through one of those two first.
    """

    channels: ClassVar[int] = 3
    records: tuple[VideoRecord, ...]
    num_frames: int
    size: tuple[int, int]
    sampling: str
    short: str
    fit: str
    by: str

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> np.ndarray:
        return np.array([record.label for record in self.records], np.int32)

    def read(self, positions: np.ndarray) -> np.ndarray:
        def one(position):
            record = self.records[position]
            how = {"fit": self.fit, "by": self.by, "threads": 1}
            return record.read(self.num_frames, self.size, self.sampling, self.short, **how)

        return np.stack(list(_decoders().map(one, np.asarray(positions).tolist())))


@cache
def _decoders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores())


def clips(
    data: Clips | ActionDataset | Iterable[VideoRecord],
    batch_size: int,
    training: bool = False,
    seed: int = 0,
    augment: Augment | None = None,
    epochs: Sequence[int] | None = None,
    skip: int = 0,
    num_frames: int | None = None,
    size: tuple[int, int] | None = None,
    sampling: str | None = None,
    short: str | None = None,
    fit: str | None = None,
    by: str | None = None,
    reading: Literal["host", "graph"] | None = None,
) -> tf.data.Dataset:
    """Batches of clips and labels.

    Args:
        data: prepared clips, their flow, or records, which are decoded again in every pass, in this process: a file
            that crashes the decoder ends the run, which `prepare` and `check` survive.
        batch_size: clips a batch, B. Training batches are all of the size of `full_batch`, and what does not fill one
            is left out, other clips in every pass; else the last batch of a pass may be smaller, see `padded`.
        training: shuffle, anew in every pass. Off: the order of `data`.
        seed: what the order and the augmentation are drawn from, together with the number of the pass.
        augment: random changes to the clips; None: the clips as they are.
        epochs: numbers of the passes to go through, such as `range(3, 20)`; None: the one pass 0.
        skip: batches at the start that were seen before; they are not read.
        num_frames: frames of a clip, T; None: 10. This and what follows is for records; prepared clips have theirs.
        size: (height, width) of a clip; None: (128, 192).
        sampling: as in `read_clip`; None: "uniform".
        short: as in `read_clip`; None: "repeat_last".
        fit: as in `read_clip`; None: "stretch".
        by: as in `read_clip`; None: "frame".
        reading: who reads prepared clips: "host", this process, which is the fastest, or "graph", TensorFlow's
            operations alone; None: the graph on a TPU. The clips are the same, and so are the errors within
            `errors_as_raised`. For the graph all clips are read once and compared before the first batch.

    Returns:
        A finite `tf.data.Dataset` of known cardinality of (uint8 (B, T, H, W, 3) RGB, int32 (B,) labels); of flow
        the clips are uint8 (B, T, H, W, 2).

    Raises:
        ValueError: no clips, an argument is out of its range, one for records is given for prepared clips, or the graph
            is to read others than prepared clips of RGB.
        DatasetError: the graph is to read a clip that is not what was written; the host raises it when it reads it.

    Example:
        >>> batches = clips(prepared, 8, training=True, augment=Augment(flip=0.5), epochs=range(20))
    """
    size = None if size is None else tuple(size)
    asked = {"num_frames": num_frames, "size": size, "sampling": sampling, "short": short, "fit": fit, "by": by}
    given = {name: value for name, value in asked.items() if value is not None}
    if isinstance(data, Clips):
        if given:
            raise ValueError(
                f"{', '.join(given)} is for records; these clips were prepared as {data.num_frames} frames of "
                f"{data.size[0]} x {data.size[1]}. Received: {', '.join(f'{name}={v!r}' for name, v in given.items())}"
            )
        source = data
    else:
        records = tuple(data.records if isinstance(data, ActionDataset) else data)
        source = Videos(records, **{**READ, **given})
    if not len(source):
        raise ValueError("there are no clips. Received: an empty data set")
    in_graph = reads_in_graph(reading, hasattr(type(source), "in_graph"))
    labels = tf.constant(source.labels, tf.int32)
    shape = source.num_frames, *source.size, source.channels

    def finished(batch: tf.Tensor, order: tf.Tensor, draws: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        if draws is not None:
            batch = tf.map_fn(lambda pair: augment(*pair), (batch, draws), fn_output_signature=tf.uint8)
        return tf.ensure_shape(batch, (*order.shape, *shape)), tf.gather(labels, order)

    def read(order: tf.Tensor, *draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return finished(read_at(source.read, order, tf.uint8, shape), order, *draws)

    def read_loaded(records: tf.Tensor, order: tf.Tensor, *draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch, sound = source.in_graph.clips(records, order)
        return finished(_checked(batch, sound, order, source), order, *draws)

    how = (read_loaded, source.in_graph.records) if in_graph else (read, None)
    draws = 0 if augment is None else len(DRAWS)
    return passes(len(source), how[0], batch_size, training, seed, epochs, skip, draws, load=how[1])


def passes(
    clips: int,
    read: Callable,
    batch_size: int,
    training: bool,
    seed: int,
    epochs: Sequence[int] | None,
    skip: int,
    draws: int = 0,
    load: Callable | None = None,
) -> tf.data.Dataset:
    """Batches of whatever is stored of clips, in the order that `seed` and the number of the pass give.

    Args:
        clips: how many there are, at least one.
        read: makes a batch, in graph, of (B,) positions and, where there are draws, (B, draws) numbers in [0, 1).
        batch_size, training, seed, epochs, skip: as in `har_tf.pipeline.clips`.
        draws: random numbers that every clip gets in every pass.
        load: makes of (B,) positions a dataset of one element, which `read` is given before the positions.

    Raises:
        ValueError: an argument is out of its range.
    """
    epochs = [0] if epochs is None else list(epochs)
    if training and batch_size >= 1:
        batch_size = full_batch(clips, batch_size)
    batches = len(epochs) * (clips // batch_size if training else -(-clips // max(batch_size, 1)))
    if batch_size < 1 or not epochs or not 0 <= skip <= batches:
        raise ValueError(
            f"expected batch_size >= 1, at least one pass, and skip from 0 to {batches}, all batches. "
            f"Received: batch_size={batch_size}, epochs={epochs}, skip={skip}"
        )

    def one_pass(epoch: tf.Tensor) -> tf.data.Dataset:
        here = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.range(clips, dtype=tf.int64)
        if training:
            order = tf.random.experimental.stateless_shuffle(order, seed=here)
        if not draws:
            return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=training)
        # By position in the pass, so that a clip's changes do not hang on the batch it falls into.
        fresh = tf.random.experimental.stateless_fold_in(here, 1)
        numbers = tf.random.stateless_uniform((clips, draws), fresh)
        return tf.data.Dataset.from_tensor_slices((order, numbers)).batch(batch_size, drop_remainder=training)

    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(epochs, tf.int64)).flat_map(one_pass).skip(skip)
    threads = {"num_parallel_calls": min(available_cores(), 8), "deterministic": True}
    if load is not None:

        def loaded(order: tf.Tensor, *rest: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.zip((load(order), *map(tf.data.Dataset.from_tensors, (order, *rest))))

        dataset = dataset.interleave(loaded, cycle_length=threads["num_parallel_calls"], **threads)
    dataset = dataset.map(read, **threads)
    options = tf.data.Options()
    # Batches are computed, not read from files, so files cannot be dealt out to workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches - skip))
    return dataset.prefetch(AHEAD).with_options(options)


def reads_in_graph(reading: Literal["host", "graph"] | None, can: bool = True) -> bool:
    """Whether clips, which operations of a graph may be able to read, are read by these; see `clips`.

    Raises:
        ValueError: they are to be and cannot, or `reading` is another.
    """
    if reading not in (None, "host", "graph"):
        raise ValueError(f"Clips are read by the 'host' or by the 'graph'. Received: {reading=}")
    on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
    in_graph = reading == "graph" or (reading is None and on_tpu)
    if in_graph and not can:
        raise ValueError(
            "a TPU is given prepared clips of RGB: prepare the videos first, `python -m har_tf prepare`. "
            f"Received: clips that Python makes whenever they are read, {reading=}"
        )
    return in_graph


def full_batch(clips: int, batch_size: int) -> int:
    """The largest training batch, of at most `batch_size` clips, of which every device in use has as large a share.

    Raises:
        ValueError: there are more devices than clips, or than a batch has.
    """
    replicas = devices.replicas()
    size = min(clips, batch_size) // replicas * replicas
    if size < 1:
        raise ValueError(
            f"{replicas} devices share each batch, so at least {replicas} training clips and --batch-size {replicas} "
            f"are needed. Received: {clips} clips, --batch-size {batch_size}"
        )
    return size


def padded(batches: tf.data.Dataset, batch_size: int | None = None, clips: int | None = None) -> tf.data.Dataset:
    """Batches of one size, a multiple of the devices in use: smaller ones are filled up with clips of weight zero.

    Args:
        batches: of (inputs, labels), in any structure, with the clips on the first axis.
        batch_size: clips in the first, largest batch; None: it is looked at.
        clips: how many there are in all. All weights but zeros are then such that means over batches, as Keras takes
            them, are the mean over clips; None: they are one.

    Returns:
        Batches of (inputs, labels, float32 (B,) weights), of which the clips that fill up repeat others.
    """
    batch_size = batch_size or _rows(next(iter(batches)))
    replicas = devices.replicas()
    size = -(-batch_size // replicas) * replicas
    weight = 1.0 if clips is None else size * -(-clips // batch_size) / clips

    def filled(*batch):
        count = _rows(batch)
        rows = tf.range(size) % count

        def full(x):
            x = tf.convert_to_tensor(x)
            return tf.ensure_shape(tf.gather(x, rows), (size, *x.shape[1:]))

        weights = tf.where(tf.range(size) < count, tf.constant(weight, tf.float32), 0.0)
        return *tf.nest.map_structure(full, batch), weights

    return batches.map(filled)


def weighted(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Training batches (inputs, labels) with weights, of a size that the devices in use can share, see `padded`."""
    size = tf.nest.flatten(batches.element_spec)[0].shape[0]
    if size is None or size % devices.replicas():
        return padded(batches, size)
    return batches.map(lambda *batch: (*batch, tf.ones(size)))


def _rows(batch):
    return tf.shape(tf.nest.flatten(batch)[0])[0]


def read_at(read: Callable, order: tf.Tensor, dtype: tf.DType, shape: tuple) -> tf.Tensor:
    """`read(order)`, a function of arrays that gives (B, *shape), within the graph of `passes`."""

    def kept(positions: np.ndarray) -> np.ndarray:
        try:
            return read(positions)
        except Exception as error:
            _raised.append(error)
            # All that TensorFlow tells of an exception is its text; one that is not UTF-8 would be lost, and as a cause
            # it would crash TensorFlow before 2.20.
            raise RuntimeError(f"{ascii(str(error))[1:-1]} ({id(error):x})") from None

    # Reading has no side effects; marked as stateful it would run alone under op determinism.
    return tf.ensure_shape(tf.numpy_function(kept, [order], dtype, stateful=False), (*order.shape, *shape))


def _checked(batch: tf.Tensor, sound: tf.Tensor, order: tf.Tensor, source: Clips) -> tf.Tensor:
    """The batch, if all clips that a graph has read of a source are sound (B,)."""
    _sources[f"{id(source):x}"] = source
    told = [f"not what was written ({id(source):x}) at", tf.boolean_mask(order, ~sound)]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(sound), told)]):
        return tf.identity(batch)


_raised: deque[Exception] = deque(maxlen=8)
_sources: weakref.WeakValueDictionary[str, Clips] = weakref.WeakValueDictionary()  # that a graph reads


@contextmanager
def errors_as_raised() -> Iterator[None]:
    """Batches that cannot be read raise here what they raise outside of TensorFlow, such as a DatasetError."""
    try:
        yield
    except tf.errors.OpError as error:
        original = next((each for each in _raised if f"({id(each):x})" in str(error)), error)
        _raised.clear()  # they hold on to clips
        place = re.search(r"not what was written \((\w+)\) at\] \[(\d+)", str(error))
        if original is error and place is not None and place[1] in _sources:
            _sources[place[1]].raise_damage(int(place[2]))
        raise original from original.__cause__
