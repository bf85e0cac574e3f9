"""Memory for batches that is used again: the kernel clears fresh memory, which takes longer than reading into it."""

import math
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

ALIGNED = 64  # bytes; TensorFlow takes such arrays as they are, and copies others
SIZES = range(2**20, 2**26)  # bytes of the arrays whose memory is kept
_free: deque[memoryview] = deque(maxlen=8)


def empty(shape: Sequence[int], dtype: str) -> np.ndarray:
    """As `np.empty`; the memory serves again when neither the array nor a view of it is left."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size not in SIZES:
        return np.empty(shape, dtype)
    memory = _taken(size + ALIGNED) or np.empty(size + ALIGNED, np.uint8).data
    start = -np.frombuffer(memory, np.uint8).ctypes.data % ALIGNED
    # NumPy lets views hold on to this array, because what is below it is no array.
    whole = np.frombuffer(memory[start : start + size], dtype)
    weakref.finalize(whole, _free.append, memory).atexit = False
    return whole.reshape(shape)


def _taken(size: int) -> memoryview | None:
    for _ in range(len(_free)):
        try:
            memory = _free.pop()  # the one used last: it is still in the processor's cache
        except IndexError:  # another thread took it
            break
        if memory.nbytes == size:
            return memory
        _free.appendleft(memory)
    return None
