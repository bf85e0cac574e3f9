import threading
from contextlib import closing

import pytest

from har_tf.ahead import ahead


def test_the_next_item_is_made_while_one_is_at_work():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    found = []
    with closing(ahead(items())) as numbers:
        for number in numbers:
            assert all(event.wait(10) for event in made[: number + 2])
            found.append(number)
    assert found == [0, 1, 2]


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise ValueError("the second")

    numbers = ahead(items())
    assert next(numbers) == 1
    with pytest.raises(ValueError, match="the second"):
        next(numbers)
