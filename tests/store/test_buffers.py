"""Memory that is used again."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from har_tf.store import buffers

SHAPE = (2, 1024, 1024)


@pytest.fixture(autouse=True)
def nothing_kept():
    buffers._free.clear()


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nothing_looks_at_it():
    first = buffers.empty(SHAPE, "uint8")
    assert (first.shape, first.dtype, place(first) % 64) == (SHAPE, np.uint8, 0)
    at, row = place(first), first[1, 5:]
    row[:] = 7
    del first
    second = buffers.empty(SHAPE, "uint8")
    assert place(second) != at, "a view is still there"
    second[:] = 0
    assert (row == 7).all()
    del row
    gc.collect()
    third = buffers.empty((4, 1024, 256), "float16")
    assert place(third) == at, "of the same size, whatever the shape"


def test_a_tensor_keeps_the_memory_it_shares():
    batches = tf.data.Dataset.range(6).map(
        lambda n: tf.numpy_function(numbered, [n], tf.uint8, stateful=False), num_parallel_calls=2
    )
    tensors = list(batches)
    views = [tensor.numpy()[0] for tensor in tensors]
    del tensors
    for number, view in enumerate(views):
        assert (view == number).all()


def numbered(number):
    array = buffers.empty(SHAPE, "uint8")
    array[:] = number
    return array


def test_small_and_huge_arrays_are_not_kept_and_no_more_than_a_few():
    del (lost := [buffers.empty((10,), "uint8"), buffers.empty((2**26,), "uint8")])[:]
    assert not buffers._free and not lost
    del (lost := [buffers.empty(SHAPE, "uint8") for _ in range(20)])[:]
    assert len(buffers._free) == 8


def test_the_memory_used_last_comes_first():
    kept = [buffers.empty(SHAPE, "uint8") for _ in range(3)]
    places = [place(array) for array in kept]
    while kept:
        del kept[0]
    assert place(buffers.empty(SHAPE, "uint8")) == places[-1]
