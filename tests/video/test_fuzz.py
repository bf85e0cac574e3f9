"""Damaged files: a right clip or VideoError, never a crash, a hang, unlimited memory or a wrong clip."""

import os
from collections import Counter

import pytest
from tasks import crashes, hangs, one_frame_late, raises, refuses, takes_memory

from benchmarks.fuzz_video import BAD, GOOD, fuzz, make_cases
from benchmarks.mutations import KINDS, Mutation, make_sources
from har_tf.video import VideoError, read_clip


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("sources"))


def told(results) -> list[str]:
    return [f"{case.number} {case.mutation.kind} {case.mutation.source.name}: {o}: {w}" for case, o, w, _ in results]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, sources):
    return list(fuzz(make_cases(sources, 400, 0, tmp_path_factory.mktemp("cases")), workers=2))


def test_damaged_files(damaged):
    assert told(result for result in damaged if result[1] in BAD and result[1] != "silently wrong") == []
    counts = Counter(outcome for _, outcome, _, _ in damaged)
    # Most mutations damage, but some leave every frame as it was.
    assert counts["VideoError"] > 120 and counts["right clip"] > 40
    assert {case.mutation.kind for case, *_ in damaged} == set(KINDS)


def test_no_damaged_file_gives_a_wrong_clip(damaged):
    assert told(result for result in damaged if result[1] == "silently wrong") == []


def test_real_files(tmp_path, shared):
    real = sorted((shared / "data" / "clips").iterdir())
    real = [path for path in real if path.stat().st_size < 100_000]
    results = list(fuzz(make_cases(real, 30, 0, tmp_path), workers=2))
    assert told(result for result in results if result[1] in BAD) == []


def test_mutations_are_the_same_every_time(tmp_path, sources):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    files = [
        Mutation("10 bytes flipped", sources[0], sources[1], seed).write(tmp_path / name).read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert files[0] == files[1] != files[2]


def test_files_without_permission(tmp_path, sources):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    path = Mutation("no permission", sources[0], sources[1], 0).write(tmp_path)
    with pytest.raises(VideoError, match="cannot be opened .Permission denied"):
        read_clip(path)


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        (read_clip, "right clip"),
        (one_frame_late, "silently wrong"),
        (crashes, "crash"),
        (hangs, "hang"),
        (takes_memory, "memory"),
        (raises, "other exception"),
        (refuses, "refused"),
    ],
)
def test_a_bad_reader_is_found_out(tmp_path, sources, reader, expected):
    (case,) = make_cases(sources, 1, 0, tmp_path, reader)
    assert case.mutation.kind == "sound"
    ((_, outcome, _, _),) = fuzz([case], workers=1, seconds=3)
    assert outcome == expected and outcome in GOOD + BAD


def test_lists_are_not_followed(tmp_path, sources):
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = Mutation("a playlist", sources[0], sources[1], seed).write(folder)
        # To open the pipe that the list names would take forever.
        with pytest.raises(VideoError, match="not a video"):
            read_clip(path)
