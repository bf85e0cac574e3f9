"""Perceptual hashes of frames, and the search for clips that show the same.

A frame becomes 128 bits: the signs of its 128 lowest spatial frequencies (the DCT of its 32 x 32 grey picture, without
the mean; the construction of pHash, Zauner 2010). They hardly change when a video is encoded anew, scaled or made
brighter. A mirrored frame has the opposite sign at every odd horizontal frequency and the same sign elsewhere, so its
hash follows from that of the frame.

A frame is taken every quarter of a second, at fixed times, so a copy whose beginning or end was cut off, or that has
another frame rate, has much the same frames at another offset. Two clips are compared at every offset at which at least
half of the shorter one overlaps; their distance is the median share of differing bits over the overlapping frames, at
the best offset. Frames without content (black, or one colour) have noise for a hash and take no part.

To compare few of all pairs, every clip has a descriptor, the mean of its hashes as +1 and -1: only pairs of similar
descriptors are compared frame by frame. A video of more than eleven seconds has several, for stretches of eleven and of
four seconds that overlap by half.

What is not found, or not always: copies that are cropped, have large overlays, another speed, are rotated or played
backwards, or of which only a small part is left; and of fast moving scenes some copies that begin between two of the
original's times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

import cv2
import numpy as np
from scipy.fft import dctn

from har_tf.video import read_frames
from har_tf.video.reader import frame_times
from har_tf.video.sampling import is_even

STEP = 0.25  # seconds between two hashes
MAX_SECONDS = 600  # of a video that are hashed
SIDE = 32  # pixels of the grey picture
BITS = 128
# Of 33,587 pairs of unrelated clips of UCF101 the nearest is 0.28 apart (benchmarks/audit.py), the median 0.45. A large
# collection has many more pairs, so this stays well below.
THRESHOLD = 0.2
FLAT = 4.0  # a frame whose frequencies have a lower root mean square, in grey levels, has no content
SIMILAR = 0.6  # cosine of two descriptors; copies have 0.78 or more
WINDOWS = (44, 16)  # hashes in the stretches of a longer video that have descriptors: 11 s and 4 s
_CLIPS_AT_ONCE = 1024  # descriptors compared with ...
_OTHERS_AT_ONCE = 4096  # ... so many in one product, of 16 MB

# The lowest frequencies (vertical, horizontal) without (0, 0), the mean.
_FREQUENCIES = np.array(
    sorted(((u, v) for u in range(SIDE) for v in range(SIDE) if u + v), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
)[:BITS]
_ODD = _FREQUENCIES[:, 1] % 2 == 1
_MIRROR = np.packbits(_ODD)
_DIGITS = BITS // 4


@dataclass(frozen=True)
class Match:
    """Two clips that show the same.

    Args:
        first: index of the one clip.
        second: index of the other.
        distance: median share of differing bits, 0 for equal frames; unrelated frames have 0.5.
        offset: seconds of the first clip at which the second begins; negative where it begins earlier.
        mirrored: whether one shows the other's mirror image.
    """

    first: int
    second: int
    distance: float
    offset: float
    mirrored: bool


def hashes_of(path: str | PathLike, frames: int, fps: float) -> str:
    """Reads a video and hashes a frame every `STEP` seconds, of the first `MAX_SECONDS`.

    Args:
        path: the video.
        frames: how many it has.
        fps: its mean frames per second; 0: not known, taken as 25.

    Returns:
        32 hexadecimal digits a frame, as it stands in a manifest.

    Raises:
        VideoError: it cannot be read.
    """
    fps = fps or 25.0
    times = STEP * np.arange(min(int(frames / fps / STEP) + 1, int(MAX_SECONDS / STEP)))
    seconds = frame_times(path, frames, threads=1)
    if is_even(seconds):
        wanted = np.round(times * fps).astype(int)
    else:
        wanted = np.searchsorted(seconds, times + 1e-6, side="right") - 1  # what is shown at these times
    wanted = wanted[wanted < frames]
    pictures = read_frames(path, wanted, (SIDE, SIDE), threads=1)
    grey = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures])
    return frame_hashes(grey).tobytes().hex()


def frame_hashes(grey: np.ndarray) -> np.ndarray:
    """(T, 16) uint8, 128 bits a frame, from (T, 32, 32) grey frames; zeros for frames without content."""
    spectrum = dctn(grey.astype(np.float32), axes=(1, 2), norm="ortho")[:, _FREQUENCIES[:, 0], _FREQUENCIES[:, 1]]
    flat = np.sqrt(np.square(spectrum).sum(1)) / SIDE < FLAT
    return np.where(flat[:, None], 0, np.packbits(spectrum > 0, axis=1)).astype(np.uint8)


def near_identical(
    first: Sequence[str], second: Sequence[str] | None = None, threshold: float = THRESHOLD
) -> list[Match]:
    """Finds the pairs of clips that show the same, nearest first.

    Args:
        first: the hashes of clips, see `hashes_of`; empty where there are none.
        second: those of other clips: pairs have one clip of each; None: pairs within `first`.
        threshold: the largest distance.

    Raises:
        ValueError: a text is not of hashes.
    """
    one = [_parse(text) for text in first]
    two = one if second is None else [_parse(text) for text in second]
    matches = []
    for i, j in _candidates(one, None if second is None else two):
        plain, mirrored = _align(one[i], two[j]), _align(one[i], two[j] ^ _MIRROR, two[j].any(1))
        distance, offset = min(plain, mirrored)
        if distance <= threshold:
            matches.append(Match(i, j, distance, offset * STEP, mirrored < plain))
    return sorted(matches, key=lambda match: (match.distance, match.first, match.second))


def _parse(text: str) -> np.ndarray:
    if len(text) % _DIGITS:
        raise ValueError(f"{_DIGITS} hexadecimal digits a frame were expected. Received: {len(text)} digits")
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, BITS // 8)


def _candidates(first: list[np.ndarray], second: list[np.ndarray] | None) -> Iterator[tuple[int, int]]:
    """The pairs whose descriptors are similar, as they are or mirrored."""
    one, owners = _descriptors(first)
    two, others = (one, owners) if second is None else _descriptors(second)
    if not len(one) or not len(two):
        return
    found: set[tuple[int, int]] = set()
    for begin in range(0, len(two), _OTHERS_AT_ONCE):
        plain, here = two[begin : begin + _OTHERS_AT_ONCE], others[begin : begin + _OTHERS_AT_ONCE]
        for these in (plain, plain * np.where(_ODD, -1, 1).astype(np.float32)):
            for start in range(0, len(one), _CLIPS_AT_ONCE):
                if second is None and owners[start] >= here[-1]:
                    break  # the pairs from here on come in the other order
                rows, columns = np.nonzero(one[start : start + _CLIPS_AT_ONCE] @ these.T >= SIMILAR)
                pairs = np.stack([owners[start + rows], here[columns]], axis=1)
                if second is None:
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                found.update(map(tuple, np.unique(pairs, axis=0).tolist()))
    yield from sorted(found)


def _descriptors(clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 128) float32 of length 1, and (N,) the clips that they belong to."""
    vectors, owners = [], []
    for owner, hashes in enumerate(clips):
        signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
        content = hashes.any(1)
        for stretch in _stretches(len(hashes)):
            if content[stretch].any():
                mean = signs[stretch][content[stretch]].mean(0)
                vectors.append(mean / max(np.linalg.norm(mean), 1e-6))
                owners.append(owner)
    return np.array(vectors, np.float32).reshape(-1, BITS), np.array(owners, int)


def _stretches(frames: int) -> list[slice]:
    if frames <= max(WINDOWS):
        return [slice(0, frames)]
    return [
        slice(start, start + window)
        for window in WINDOWS
        for start in (*range(0, frames - window, window // 2), frames - window)
    ]


def _align(a: np.ndarray, b: np.ndarray, content: np.ndarray | None = None) -> tuple[float, int]:
    """(distance, number of hashes that `b` begins after `a`) where they fit best; 1 where they cannot be compared.

    `content` says which frames of `b` have any; None: those whose hash is not zero.
    """
    content_a, content_b = a.any(1), b.any(1) if content is None else content
    shorter = min(content_a.sum(), content_b.sum())
    needed = -(-shorter // 2)
    if not needed:
        return 1.0, 0
    bits = _count_ones(_words(a)[:, None] ^ _words(b)[None])  # (frames of a, of b)
    valid = content_a[:, None] & content_b[None]
    best = 1.0, 0
    for offset in range(needed - len(b), len(a) - needed + 1):
        line = np.diagonal(bits, -offset)[np.diagonal(valid, -offset)]
        if len(line) >= needed:
            # Of an even number the larger of the two in the middle.
            distance = float(np.partition(line, len(line) // 2)[len(line) // 2]) / BITS
            if distance < best[0]:
                best = distance, offset
    return best


def _words(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(hashes).view(np.uint64)


def _count_ones(words: np.ndarray) -> np.ndarray:
    ones = np.bitwise_count(words) if hasattr(np, "bitwise_count") else np.unpackbits(words.view(np.uint8), axis=-1)
    return ones.sum(-1, dtype=np.int32)
