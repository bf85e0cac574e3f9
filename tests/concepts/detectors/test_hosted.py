"""What native code does to the process that opens a damaged file is an error of this one, which names the file."""

import sys

import numpy as np
import pytest
from tasks import NativeDetector

from har_tf.concepts.detectors import hosted
from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.hosted import HostedDetector

DARK, BRIGHT = (np.full((2, 4, 6, 3), value, np.uint8) for value in (0, 255))


def opened(tmp_path, text: str) -> HostedDetector:
    (tmp_path / "net.bin").write_text(text)
    return HostedDetector(NativeDetector, "a network", tmp_path / "net.bin", 0.5)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "cannot be used: the process at work on it died of SIGABRT (a crash, or out of memory)"),
        ("hang in C", "cannot be used: took longer than 4 s"),
        pytest.param(
            "memory",
            "cannot be used: needed more than 500 MB of memory",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only"),
        ),
        ("raise", "cannot be used: ValueError: first line"),
    ],
)
def test_a_file_that_ends_the_process_is_an_error(tmp_path, monkeypatch, capfd, how, reason):
    monkeypatch.setattr(hosted, "SECONDS", 4 if how.startswith("hang") else 60)
    monkeypatch.setattr(hosted, "MEMORY", 500_000_000)
    with pytest.raises(DetectorError) as error:
        opened(tmp_path, f"{how.replace(' ', '_')} open")
    assert str(error.value) == f"{tmp_path / 'net.bin'}: {reason}. Expected a network"
    assert capfd.readouterr().err == ""


def test_the_detector_says_itself_what_it_refuses(tmp_path):
    with pytest.raises(DetectorError, match="^net.bin: no network$"):
        opened(tmp_path, "refuse open")
    with pytest.raises(FileNotFoundError, match="none.bin: no such detector"):
        HostedDetector(NativeDetector, "a network", tmp_path / "none.bin", 0.5)


def test_one_process_serves_all_frames_and_a_frame_that_ends_it_is_named(tmp_path):
    detector = opened(tmp_path, "crash bright")
    assert (detector.names, detector.settings) == (("pid",), {"score": 0.5})
    assert len({*detector(DARK), *detector(DARK)}) == 1
    with pytest.raises(DetectorError, match=r"net.bin: the detector failed on frame 7 of a.mp4: .*died of SIGABRT"):
        detector(BRIGHT, "a.mp4", 7)
    assert len(set(detector(DARK))) == 1  # in a new process
