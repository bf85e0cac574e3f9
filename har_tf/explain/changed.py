"""What a model answers to clips that are made of others on the device, in the graph that answers: parts of them hidden.

Explanations by occlusion, and tests of explanations, ask a model thousands of times about one clip with other parts
hidden. Made elsewhere, the changed clips would take longer to bring to the device than small networks to answer.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.explain.answers import Answers
from har_tf.explain.backward import check_batch_size

_VALUES_AT_ONCE = 2**26  # of changed clips: more take memory, and are no faster


def fitting(batch_size: int, clips: np.ndarray) -> int:
    """How many clips, of the size of those in (N, T, H, W, C), are changed at once: at most so many, fewer large ones.

    Raises:
        ValueError: `batch_size` is below 1.
    """
    check_batch_size(batch_size)
    return min(batch_size, max(1, _VALUES_AT_ONCE // math.prod(clips.shape[1:])))


def changed_answers(
    answers: Answers,
    change: Callable[..., tf.Tensor] | None,
    whole: Sequence[np.ndarray],
    rows: Sequence[np.ndarray],
    batch_size: int = 32,
    images: bool = False,
    advance: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and probabilities of clips that a function makes, a clip for each row.

    Args:
        answers: of `answers_of(model, clips)`.
        change: function of tensors, of `whole` and of a batch of `rows`, to clips (B, T, H, W, C). Where the model
            takes whole numbers, floats are rounded and cut to 0..255. XLA compiles it. Always the same function, as
            it is the key of what is compiled. None: the rows are the clips.
        whole: what all rows share, such as one clip and its saliency; brought to each device once.
        rows: arrays (R, ...).
        batch_size: clips that are made at once; all batches have one size.
        images: whether the model takes images (B, H, W, C), clips of one frame.
        advance: called with the number of clips done, see `har_tf.progress`.

    Returns:
        float32 (R, classes), twice: see `Answers.of`.

    Raises:
        ValueError: R is 0, or `batch_size` is below 1.
    """
    check_batch_size(batch_size)
    whole, rows = [np.asarray(array) for array in whole], [np.asarray(array) for array in rows]
    run = _compiled(answers, change, whole, rows, images)
    if answers.strategy is None:
        whole = [tf.constant(array) for array in whole]
    left = len(rows[0])

    def counted(*batch):
        nonlocal left
        found = run(*whole, *batch)
        if advance is not None:
            advance(min(len(batch[0]), left))
        left -= len(batch[0])
        return found

    return devices.in_batches(counted, batch_size, *rows)


def _compiled(answers: Answers, change, whole, rows, images: bool) -> Callable:
    # All sizes but the number of rows are known to the model, as when it is given clips.
    signature = [tf.TensorSpec(array.shape, array.dtype) for array in whole]
    signature += [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in rows]
    key = change, images, len(whole), *signature
    if key not in answers.compiled:
        run = partial(_answered, answers, _as_taken(change, answers.dtype), images)
        answers.compiled[key] = devices.shared(run, signature, answers.strategy, len(whole))
    return answers.compiled[key]


def _answered(answers: Answers, change, images: bool, *values):
    clips = change(*values)
    # Layers such as those of Video Swin have to know the size.
    return answers.of(tf.ensure_shape(clips[:, 0] if images else clips, (None, *answers.shape)))


def _as_taken(change, dtype: str) -> Callable:
    if change is None:
        return tf.identity

    # By XLA, which makes a clip in one pass over its pixels: TensorFlow's own kernels take several, and its `where`
    # alone would take a third of the time of a small network.
    @tf.function(autograph=False, jit_compile=True)
    def changed(*values):
        clips = change(*values)
        if tf.as_dtype(dtype).is_integer and clips.dtype.is_floating:
            clips = tf.clip_by_value(tf.round(clips), 0, 255)
        return tf.cast(clips, dtype)

    return changed
