"""Files that a run which was stopped goes on from."""

import numpy as np

from har_tf.evaluate.part import Part


def test_a_part_is_taken_up_whole_and_of_the_same_only(tmp_path):
    part = Part(tmp_path / "a", {"model": "x", "rows": [1, 2]})
    assert part.read() is None
    part.write({"values": np.arange(5)})
    assert part.read()["values"].tolist() == [0, 1, 2, 3, 4]
    other = Part(part.folder, {"model": "y", "rows": [1, 2]})
    other.file.write_bytes(part.file.read_bytes())
    assert other.read() is None, "whatever its file is called"
    content = part.file.read_bytes()
    for damaged in (content[:-30], content[:100], b"", content[:60] + b"\x00\x01" + content[62:]):
        part.file.write_bytes(damaged)
        assert part.read() is None
    assert Part(None, {}).read() is None
