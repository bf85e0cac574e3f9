import pytest

from har_tf.files.protobuf import fields, varints


def test_fields_of_every_kind_in_their_order():
    message = bytes([1 << 3, 0x96, 1]) + bytes([2 << 3 | 2, 2]) + b"ab" + bytes([3 << 3 | 5]) + b"1234"
    message += bytes([4 << 3 | 1]) + b"12345678"
    assert list(fields(message)) == [(1, 150), (2, b"ab"), (3, b"1234"), (4, b"12345678")]
    assert varints(bytes([1, 0x96, 1, 0])) == [1, 150, 0]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (bytes([2 << 3 | 2, 9]) + b"ab", "a field of 9 bytes, of which 2 are there"),
        (bytes([2 << 3 | 3]), "no protobuf message at byte 1"),
        (bytes([255] * 12), "no protobuf number at byte 0"),
        (bytes([2, 0]), "a field of 0 bytes"),
    ],
)
def test_what_is_no_message_is_said(message, told):
    with pytest.raises(ValueError, match=told):
        list(fields(message))
