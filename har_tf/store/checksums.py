"""Checksums of what is stored, and JSON files that carry one of themselves.

They are XXH3's 64 bits: it is as fast as memory, so that every clip can be compared each time it is read; `zlib.crc32`
would take the processor as long again as reading does.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import xxhash

from har_tf.files.json_text import parse_json

checksum: Callable[..., int] = xxhash.xxh3_64_intdigest  # of bytes, or of a contiguous array


def checksum_of_file(path: Path) -> int:
    """OSError where it cannot be read."""
    with path.open("rb") as file:
        return int.from_bytes(hashlib.file_digest(file, xxhash.xxh3_64).digest())


def sealed(about: dict) -> bytes:
    """Plain values as a line of JSON, with a checksum of them."""
    content = json.dumps(about, sort_keys=True).encode()
    return json.dumps({**about, "seal": checksum(content)}).encode()


def unsealed(content: bytes) -> dict:
    """What `sealed` was given.

    Raises:
        ValueError: a byte differs.
    """
    about = parse_json(content)
    if isinstance(about, dict):
        about.pop("seal", None)
        if sealed(about) == content:
            return about
    raise ValueError("differs from what was written")
