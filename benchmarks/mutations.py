"""Sound videos, and what can go wrong with them on disk: the material of `fuzz_video` and of the tests.

A mutation is told by its kind, its source and its seed, and is the same file every time.
"""

import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

Bytes = Callable[[bytearray, np.random.Generator, bytes], bytes]


def make_sources(folder: Path, frames: int = 40) -> list[Path]:
    """Writes small videos of every kind that data sets hold, as far as there are encoders; returns their paths."""
    odd, even = (47, 63), (48, 64)
    plan = [
        ("h264_gop250.mp4", "libx264", "yuv420p", even, {"g": "250", "bf": "3"}, {}),
        ("h264_gop12_faststart.mp4", "libx264", "yuv420p", even, {"g": "12"}, {"movflags": "+faststart"}),
        ("h264_fragmented.mp4", "libx264", "yuv420p", even, {"g": "10"}, {"movflags": "frag_keyframe+empty_moov"}),
        ("h264_edit_list.mov", "libx264", "yuv420p", even, {"g": "15", "bf": "2"}, {"use_editlist": "1"}),
        ("h264_ten_bit.mp4", "libx264", "yuv420p10le", even, {"g": "20"}, {}),
        ("h264_odd.mp4", "libx264", "yuv444p", odd, {"g": "20"}, {}),
        ("h264.mkv", "libx264", "yuv420p", even, {"g": "12"}, {}),
        ("h264.avi", "libx264", "yuv420p", even, {"g": "12", "bf": "0"}, {}),
        ("h264.ts", "libx264", "yuv420p", even, {"g": "12"}, {}),
        ("h265.mp4", "libx265", "yuv420p", even, {"x265-params": "log-level=error:keyint=15"}, {}),
        ("vp9.webm", "libvpx-vp9", "yuv420p", even, {"deadline": "realtime", "cpu-used": "8", "g": "15"}, {}),
        ("vp8.webm", "libvpx", "yuv420p", even, {"deadline": "realtime", "cpu-used": "8"}, {}),
        ("mpeg4.avi", "mpeg4", "yuv420p", odd, {"g": "12"}, {}),
        ("mpeg4_b.avi", "mpeg4", "yuv420p", even, {"g": "250", "bf": "2"}, {}),
        ("mpeg4.mp4", "mpeg4", "yuv420p", even, {"g": "12", "bf": "2"}, {}),
        ("mpeg2.ts", "mpeg2video", "yuv420p", even, {"g": "12", "bf": "2"}, {}),
        ("mpeg2.mpg", "mpeg2video", "yuv420p", even, {"g": "12"}, {}),
        ("motion_jpeg.avi", "mjpeg", "yuvj420p", odd, {}, {}),
        ("flash.flv", "flv", "yuv420p", even, {"g": "12"}, {}),
        ("wmv2.asf", "wmv2", "yuv420p", even, {"g": "12"}, {}),
        ("lossless.mkv", "ffv1", "yuv420p", odd, {}, {}),
    ]
    paths = []
    for name, codec, pix_fmt, (height, width), options, container in plan:
        try:
            av.codec.Codec(codec, "w")
        except ValueError:
            continue
        paths.append(folder / name)
        with av.open(str(paths[-1]), "w", options=container) as file:
            stream = file.add_stream(codec, rate=25, options=options)
            stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
            for pixels in _scene(frames, height, width):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    return paths


def _scene(frames: int, height: int, width: int) -> np.ndarray:
    """(T, H, W, 3): a bright square that moves over noise, so that no two frames are alike."""
    rng = np.random.default_rng(0)
    clip = np.repeat(rng.integers(0, 120, (1, height, width, 3), np.uint8), frames, axis=0)
    clip += rng.integers(0, 12, clip.shape, np.uint8)
    for number, pixels in enumerate(clip):
        x, y = number % (width - 10), 2 * number % (height - 10)
        pixels[y : y + 10, x : x + 10] = 200 + number
    return clip


def _cut(share: float) -> Bytes:
    return lambda data, rng, other: data[: int(len(data) * share)]


def _flip(count: int, where: str = "all") -> Bytes:
    def flip(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
        first, stop = 0, len(data)
        if where == "head":
            stop = min(512, stop)
        elif where == "index":
            # The index of mp4 and mov, avi, Matroska; elsewhere the end.
            places = [data.find(mark) for mark in (b"moov", b"idx1", b"\x1c\x53\xbb\x6b")]
            first = max([place for place in places if place >= 0], default=stop * 19 // 20)
            stop = min(stop, first + max(1024, stop // 20))
        for place in rng.integers(first, stop, count):
            data[place] ^= int(rng.integers(1, 256))
        return data

    return flip


def _run(value: int, longest: int) -> Bytes:
    def run(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
        first, length = _stretch(data, rng, longest)
        data[first : first + length] = bytes([value]) * length
        return data

    return run


def _stretch(data: bytearray, rng: np.random.Generator, longest: int) -> tuple[int, int]:
    length = int(rng.integers(1, min(longest, len(data) // 2) + 1))
    return int(rng.integers(0, len(data) - length + 1)), length


def _swap(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    first, length = _stretch(data, rng, 4096)
    second = int(rng.integers(0, len(data) - length + 1))
    one, two = bytes(data[first : first + length]), bytes(data[second : second + length])
    data[first : first + length], data[second : second + length] = two, one
    return data


def _drop(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    first, length = _stretch(data, rng, 4096)
    del data[first : first + length]
    return data


def _double(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    first, length = _stretch(data, rng, 4096)
    return data[: first + length] + data[first:]


def _huge_number(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    place = int(rng.integers(0, min(len(data), 4096) - 4))
    number = rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF, 0xFFFF0000])
    data[place : place + 4] = int(number).to_bytes(4, str(rng.choice(["big", "little"])))
    return data


def _head_of_other(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    length = int(rng.choice([64, 512, 4096, len(data) // 2]))
    return other[:length] + data[length:]


def _noise(data: bytearray, rng: np.random.Generator, other: bytes) -> bytes:
    return rng.bytes(len(data))


def _text(text: str) -> Bytes:
    return lambda data, rng, other: (text * (1 + 20_000 // len(text))).encode()


CONTENTS: dict[str, Bytes] = {
    "sound": lambda data, rng, other: data,
    **{f"cut at {tenth}0 %": _cut(tenth / 10) for tenth in range(1, 10)},
    "cut somewhere": lambda data, rng, other: data[: int(rng.integers(1, len(data)))],
    "last byte lost": lambda data, rng, other: data[:-1],
    "first bytes only": lambda data, rng, other: data[: int(rng.integers(1, 600))],
    "1 byte flipped": _flip(1),
    "10 bytes flipped": _flip(10),
    "1000 bytes flipped": _flip(1000),
    "1 byte flipped in the head": _flip(1, "head"),
    "10 bytes flipped in the head": _flip(10, "head"),
    "1 byte flipped in the index": _flip(1, "index"),
    "10 bytes flipped in the index": _flip(10, "index"),
    "huge number in the head": _huge_number,
    "zeros": _run(0, 4096),
    "zero block": _run(0, 65536),
    "0xff": _run(255, 4096),
    "blocks swapped": _swap,
    "block lost": _drop,
    "block doubled": _double,
    "head of another": _head_of_other,
    "random bytes": _noise,
    "text": _text("a line of text, and not a video\n"),
    "Python": _text("def main():\n    return 1\n\n\n"),
    "HTML": _text("<!DOCTYPE html><html><body><p>404 Not Found</p></body></html>\n"),
    "JSON": _text('{"video": "clip.mp4", "frames": [1, 2, 3]}\n'),
    "empty": lambda data, rng, other: b"",
}  # fmt: skip


def _other_suffix(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    path = folder / f"clip{rng.choice(['.mp4', '.avi', '.txt', '.jpg', '.m3u8', '.mp3', '', '.%03d'])}"
    path.write_bytes(source.read_bytes())
    return path


def _odd_name(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    names = [b"a\nb", b"100%d", b"http:x", b"concat:a|b", b"\xff\xfe", b"-i", b" ", b"'\"$(x)", b"a" * 250]
    path = folder / os.fsdecode(names[int(rng.integers(len(names)))])
    path.write_bytes(source.read_bytes())
    return path


def _playlist(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    # Who opens a pipe that nobody writes to waits forever.
    os.mkfifo(folder / "trap.ts")
    texts = [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ntrap.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile trap.ts\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 49170 RTP/AVP 33\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        "<Representation><BaseURL>trap.ts</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
    ]
    path = folder / f"list{rng.choice(['.m3u8', '.mp4', '.avi', '.sdp'])}"
    path.write_text(texts[int(rng.integers(len(texts)))])
    return path


def _picture(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    path = folder / "picture.avi"
    av.VideoFrame.from_ndarray(_scene(1, 48, 64)[0], format="rgb24").save(str(folder / "picture.png"))
    (folder / "picture.png").rename(path)
    return path


def _folder(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    (folder / "clip.avi").mkdir()
    return folder / "clip.avi"


def _fifo(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    os.mkfifo(folder / "clip.avi")
    return folder / "clip.avi"


def _socket(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    # The name of a socket may have 107 bytes at most.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{descriptor}/clip.avi")
    finally:
        os.close(descriptor)
    return folder / "clip.avi"


def _dangling(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    (folder / "clip.avi").symlink_to("nowhere.avi")
    return folder / "clip.avi"


def _loop(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    (folder / "clip.avi").symlink_to("clip.avi")
    return folder / "clip.avi"


def _forbidden(folder: Path, source: Path, rng: np.random.Generator) -> Path:
    path = folder / "clip.avi"
    path.write_bytes(source.read_bytes())
    path.chmod(0)
    return path


FILES: dict[str, Callable[[Path, Path, np.random.Generator], Path]] = {
    "another suffix": _other_suffix,
    "an odd name": _odd_name,
    "a playlist": _playlist,
    "a picture": _picture,
    "a folder": _folder,
    "a fifo": _fifo,
    "a socket": _socket,
    "a dangling link": _dangling,
    "a link loop": _loop,
}
if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may read everything
    FILES["no permission"] = _forbidden
# The file is changed while it is read.
CHANGES = ("growing", "shrinking", "deleted", "overwritten")
KINDS = (*CONTENTS, *FILES, *CHANGES)


@dataclass(frozen=True)
class Mutation:
    """One damaged file.

    Attributes:
        kind: one of `KINDS`.
        source: the sound video.
        other: another one, which lends its head.
        seed: of what is random.
    """

    kind: str
    source: Path
    other: Path
    seed: int

    def write(self, folder: Path) -> Path:
        """Writes the file into a folder, which must be empty; returns its path."""
        key = hashlib.blake2b(f"{self.kind}/{self.source.name}/{self.seed}".encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(key, "big"))
        if self.kind in FILES:
            return FILES[self.kind](folder, self.source, rng)
        path = folder / f"clip{self.source.suffix}"
        data = bytearray(self.source.read_bytes())
        if self.kind in CONTENTS:
            data = CONTENTS[self.kind](data, rng, self.other.read_bytes())
        path.write_bytes(data)
        return path


def draw(sources: list[Path], count: int, seed: int) -> list[Mutation]:
    """So many mutations: all kinds in turn; one that has nothing random about a source is not drawn twice for it."""
    rng = np.random.default_rng(seed)
    once = {"sound", "last byte lost", "text", "Python", "HTML", "JSON", "empty", *FILES} - {
        "another suffix",
        "an odd name",
        "a playlist",
    }
    once |= {kind for kind in CONTENTS if kind.startswith("cut at")}
    chosen: list[Mutation] = []
    seen = set()
    number = 0
    while len(chosen) < count:
        kind = KINDS[number % len(KINDS)]
        source, other = (sources[int(i)] for i in rng.integers(0, len(sources), 2))
        key = kind, source
        if kind not in once or key not in seen:
            chosen.append(Mutation(kind, source, other, number))
            seen.add(key)
        number += 1
    return chosen
