"""Fields of a protobuf message, read without its schema."""

from collections.abc import Iterator
from typing import Any


def fields(message) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a protobuf message: a number, or the bytes of a longer value.

    Raises:
        ValueError: it is damaged, or itself a number.
    """
    if isinstance(message, int):
        raise ValueError(f"a number where a message should be: {message}")
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no protobuf message at byte {position}")
        if number == 0 or length > len(message) - position:
            raise ValueError(f"a field of {length} bytes, of which {len(message) - position} are there")
        yield number, message[position : position + length]
        position += length


def _varint(message, position: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(message[position : position + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, position + i + 1
    raise ValueError(f"no protobuf number at byte {position}")


def varints(message) -> list[int]:
    """The numbers of a packed field."""
    numbers, position = [], 0
    while position < len(message):
        number, position = _varint(message, position)
        numbers.append(number)
    return numbers
