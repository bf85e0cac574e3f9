import json

import numpy as np
import pytest

from har_tf.store.checksums import checksum, checksum_of_file, sealed, unsealed


def test_the_checksum_is_xxh3(tmp_path):
    """The values of XXH3's own test suite for nothing; of a file and an array it is that of their bytes."""
    assert checksum(b"") == 0x2D06800538D394C2
    content = np.random.default_rng(0).integers(0, 256, (3, 100_000), np.uint8)
    (tmp_path / "file").write_bytes(content.tobytes())
    assert checksum(content) == checksum(content.tobytes()) == checksum_of_file(tmp_path / "file")


def test_what_was_sealed_comes_back_and_every_flipped_bit_is_told():
    about = {"b": [1, 0.1, None], "a": {"ä\udcff": "x"}}
    content = sealed(about)
    assert unsealed(content) == about and list(json.loads(content)) == ["b", "a", "seal"]
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError):
            unsealed(bytes(flipped))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"seal": 1}', "[" * 100_000])
def test_what_was_never_sealed_is_told(text):
    with pytest.raises(ValueError):
        unsealed(text.encode())
