import gzip
import time

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, kinetics

HEADER = "label,youtube_id,time_start,time_end,split,is_cc"
# Ids begin with -, hold _ and differ in case; the first two clips of training and the first of validation are of one
# video; "zumba" has none on disk.
TRAIN = [
    '"petting animal (not cat)",-3B32lodo2M,59,69,train,0',
    "air drumming,-3B32lodo2M,100,110,train,0",
    "air drumming,A_b_000001_,0,10,train,1",
    "air drumming,a_b_000001_,0,10,train,0",
    "zumba,gone0000000,7,17,train,0",
]
VAL = [
    "air drumming,-3B32lodo2M,250,260,validate,0",
    "zumba,gone0000001,1234567,1234577,validate,0",
    "petting animal (not cat),val_video_0,3,13,validate,0",
]
TEST = ["air drumming,test_video0,3,13,test,0"]
ON_DISK = {
    "train": ["-3B32lodo2M_000059_000069", "-3B32lodo2M_000100_000110", "A_b_000001__000000_000010"],
    "val": ["-3B32lodo2M_000250_000260", "val_video_0_000003_000013"],
}
FOLDERS = {
    "-3B32lodo2M_000059_000069": "petting animal (not cat)",
    "val_video_0_000003_000013": "petting animal (not cat)",
}


def write_lists(
    folder, train=TRAIN, val=VAL, test=TEST, names=("train.csv", "validate.csv", "test.csv"), header=HEADER
):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(names, (train, val, test), strict=True):
        if rows is not None:
            (folder / name).write_text("\n".join([header, *rows, ""]))
    return folder


def crawled(empty_videos, root="k400", parts=("train", "val"), underscores=False):
    """ROOT/<part>/<label>/<clip>.mp4, as the ActivityNet crawler and MMAction2 lay it out."""
    layout = {}
    for part, videos in zip(parts, ON_DISK.values(), strict=True):
        for video in videos:
            label = FOLDERS.get(video, "air drumming")
            layout.setdefault(f"{part}/{label.replace(' ', '_') if underscores else label}", []).append(f"{video}.mp4")
    return empty_videos(root, layout)


def flat(empty_videos, root="k400"):
    """ROOT/<part>/<clip>.mp4, as the CVDF's archives unpack."""
    return empty_videos(root, {part: [f"{video}.mp4" for video in videos] for part, videos in ON_DISK.items()})


def summary(dataset):
    train, test = dataset.official
    return (
        {record.path.stem: (dataset.class_names[record.label], record.group) for record in dataset.records},
        {path.stem for path in train},
        {path.stem for path in test},
    )


EXPECTED = (
    {
        "-3B32lodo2M_000059_000069": ("petting animal (not cat)", "-3B32lodo2M"),
        "-3B32lodo2M_000100_000110": ("air drumming", "-3B32lodo2M"),
        "A_b_000001__000000_000010": ("air drumming", "A_b_000001_"),
        "-3B32lodo2M_000250_000260": ("air drumming", "-3B32lodo2M"),
        "val_video_0_000003_000013": ("petting animal (not cat)", "val_video_0"),
    },
    set(ON_DISK["train"]),
    set(ON_DISK["val"]),
)


def test_the_layout_of_the_crawler(empty_videos):
    root = crawled(empty_videos)
    write_lists(root)
    dataset = datasets.load("kinetics", root)
    assert (dataset.name, dataset.root) == ("kinetics", root)
    assert summary(dataset) == EXPECTED
    # Sorted, with the class of which no video is left: labels mean the same as in a published model.
    assert dataset.class_names == ("air drumming", "petting animal (not cat)", "zumba")
    assert dataset.counts == {"air drumming": 3, "petting animal (not cat)": 2, "zumba": 0}
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.notes == (
        "2 of 5 training clips are not on disk, first a_b_000001__000000_000010 (kinetics.missing lists them)",
        "1 of 3 test clips are not on disk, first gone0000001_1234567_1234577 (kinetics.missing lists them)",
        "1 of 3 classes have no video on disk, first zumba",
    )
    train, test = dataset.split("official")
    assert (len(train), len(test)) == (3, 2)
    assert dataset.overlap_report("official").with_sibling == 1


def test_other_layouts_give_the_same(empty_videos, tmp_path):
    root = crawled(empty_videos, "mmaction", ("videos_train", "videos_val"), underscores=True)
    write_lists(root / "annotations", names=("kinetics_train.csv", "kinetics_val.csv", "kinetics_test.csv"))
    assert summary(datasets.load("kinetics", root)) == EXPECTED
    root = flat(empty_videos, "cvdf/k400")
    write_lists(root / "annotations", names=("train.csv", "val.csv", "test.csv"))
    assert summary(datasets.load("kinetics", root)) == EXPECTED
    assert summary(datasets.load("kinetics", root.parent)) == EXPECTED  # a folder around it
    root = flat(empty_videos, "plain/videos")
    write_lists(root.parent / "annotations")
    assert summary(datasets.load("kinetics", root)) == EXPECTED  # lists beside it
    root = flat(empty_videos, "other/videos")
    assert summary(datasets.load("kinetics", root, lists=tmp_path / "plain" / "annotations")) == EXPECTED
    # Times without zeros before them, another container, a folder of links.
    other = empty_videos("short", {"a": ["A_b_000001__0_10.mkv"], "b": ["-3B32lodo2M_250_260.WEBM"]})
    (other / "linked").symlink_to(tmp_path / "plain" / "videos" / "train")
    (other / "linked" / "A_b_000001__000000_000010.mp4").unlink()
    dataset = datasets.load("kinetics", other, lists=tmp_path / "plain" / "annotations")
    assert sorted(record.path.name for record in dataset.records) == [
        "-3B32lodo2M_000059_000069.mp4",
        "-3B32lodo2M_000100_000110.mp4",
        "-3B32lodo2M_250_260.WEBM",
        "A_b_000001__0_10.mkv",
    ]


def test_columns_in_another_order_and_with_a_byte_order_mark(empty_videos, tmp_path):
    root = flat(empty_videos)
    write_lists(root, train=None, val=None, test=None)
    (root / "train.csv").write_text("\ufeffyoutube_id,split,time_end,time_start,label\r\n-3B32lodo2M,train,69,59,x\r\n")
    (root / "val.csv").write_text("\ufeffyoutube_id,split,time_end,time_start,label\r\nval_video_0,val,13,3,y\r\n\r\n")
    dataset = datasets.load("kinetics", root)
    assert [(record.path.stem[:3], record.label) for record in dataset.records] == [("-3B", 0), ("val", 1)]


def test_the_clips_that_are_missing(empty_videos):
    root = write_lists(flat(empty_videos))
    assert kinetics.missing(root) == {
        "training": (kinetics.Clip("air drumming", "a_b_000001_", 0, 10), kinetics.Clip("zumba", "gone0000000", 7, 17)),
        "test": (kinetics.Clip("zumba", "gone0000001", 1234567, 1234577),),
    }


def test_some_classes_in_the_given_order(empty_videos):
    root = write_lists(crawled(empty_videos))
    dataset = datasets.load("kinetics", root, classes=["petting animal (not cat)", "air drumming"])
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1]
    assert dataset.notes == (
        "1 of 4 training clips are not on disk, first a_b_000001__000000_000010 (kinetics.missing lists them)",
    )
    with pytest.raises(DatasetError, match="unknown class 'air_drumming'. Closest: air drumming"):
        datasets.load("kinetics", root, classes=["air_drumming", "zumba"])


def test_the_test_list_in_place_of_the_validation_list(empty_videos):
    root = flat(empty_videos)
    write_lists(root)
    empty_videos("k400", {"test": ["test_video0_000003_000013.mp4"]})
    dataset = datasets.load("kinetics", root, test="test")
    # The validation list is the validation part, as in a folder of all three.
    assert {name: {path.stem for path in paths} for name, paths in dataset.parts.items()} == {
        "train": set(ON_DISK["train"]), "val": set(ON_DISK["val"]), "test": {"test_video0_000003_000013"},
    }  # fmt: skip
    assert {record.path.stem for record in dataset.hold_out()[1]} == set(ON_DISK["val"])
    assert set(datasets.load("kinetics", root).parts) == {"train", "val"}
    assert set(kinetics.missing(root, test="test")) == {"training", "validation", "test"}
    assert "1 videos on disk are in no list that was read, first test_video0_000003_000013" in (
        datasets.load("kinetics", root).notes
    )
    (root / "test.csv").write_text("youtube_id,time_start,time_end,split\ntest_video0,3,13,test\n")
    assert len(datasets.load("kinetics", root)) == 5
    with pytest.raises(DatasetError, match=r"test.csv: no column label. .* The labels of this list are not public."):
        datasets.load("kinetics", root, test="test")
    with pytest.raises(DatasetError, match="the test part is 'val' or 'test'. Received: test='validate'"):
        datasets.load("kinetics", root, test="validate")


def test_one_part_alone(empty_videos):
    root = write_lists(flat(empty_videos), train=None)
    dataset = datasets.load("kinetics", root)
    assert (len(dataset), len(dataset.official[0]), len(dataset.official[1])) == (2, 0, 2)
    assert dataset.notes[0] == "no list of the training part"
    with pytest.raises(DatasetError, match="leaves no clip for the training part"):
        dataset.split("official")


def test_rows_given_twice_and_clips_with_two_labels(empty_videos):
    train = [*TRAIN, TRAIN[1], "zumba,A_b_000001_,0,10,train,0", VAL[2].replace("validate", "train")]
    root = write_lists(flat(empty_videos), train=train)
    dataset = datasets.load("kinetics", root)
    assert dataset.notes[:3] == (
        "1 training clips are listed more than once: -3B32lodo2M_000100_000110",
        "1 training clips have two labels and are left out: A_b_000001__000000_000010",
        "1 clips of the training list are in the test list too and taken for the test: val_video_0_000003_000013",
    )
    test = [*TEST, VAL[0]]
    noted = datasets.load("kinetics", write_lists(root, train, test=test), test="test").notes
    assert any("1 clips of the validation list are in the test list too and taken for the test" in n for n in noted)
    assert any("1 clips of the training list are in the validation list too and taken for" in note for note in noted)
    videos, train, test = summary(dataset)
    assert len(dataset) == len(videos) == 4
    assert train == {"-3B32lodo2M_000059_000069", "-3B32lodo2M_000100_000110"}
    assert test == EXPECTED[2]


def test_videos_that_are_there_twice(empty_videos):
    root = write_lists(flat(empty_videos))
    again = [f"{ON_DISK['train'][0]}.mp4", f"{ON_DISK['val'][0]}.mp4"]
    empty_videos("k400", {"replacement/replacement_for_corrupted_k400": again})
    dataset = datasets.load("kinetics", root)
    taken = {record.path.stem: record.path.parent.name for record in dataset.records}
    assert taken[ON_DISK["train"][0]] == taken[ON_DISK["val"][0]] == "replacement_for_corrupted_k400"
    assert taken[ON_DISK["train"][1]] == "train"
    assert len(dataset.notes) == 3
    (root / "replacement").rename(root / "zz")
    (root / "zz" / "replacement_for_corrupted_k400").rename(root / "zz" / "copy")
    with pytest.raises(DatasetError) as caught:
        datasets.load("kinetics", root)
    first, second = root / "train" / again[0], root / "zz" / "copy" / again[0]
    assert str(caught.value) == (
        f"{first}: is the same clip as {second} (2 clips are there twice). Expected one file of a clip; move the other "
        f"away"
    )


def test_a_replacement_that_is_there_twice_is_refused_and_a_clip_in_no_list_is_not(empty_videos):
    root = write_lists(flat(empty_videos))
    empty_videos(
        "k400", {"replacement/one": [f"{ON_DISK['train'][0]}.mp4"], "train": ["nolist_id12_000001_000002.avi"]}
    )
    empty_videos("k400", {"again": ["nolist_id12_000001_000002.mp4"]})
    assert len(datasets.load("kinetics", root)) == 5
    empty_videos("k400", {"replacement/two": [f"{ON_DISK['train'][0]}.webm"]})
    with pytest.raises(DatasetError, match=r"replacement/one/\S*.mp4: is the same clip as \S*replacement/two/\S*.webm"):
        datasets.load("kinetics", root)


def test_links_end_and_broken_videos_stay(empty_videos):
    root = write_lists(flat(empty_videos))
    clip = root / "train" / f"{ON_DISK['train'][0]}.mp4"
    (root / "train" / "up").symlink_to("..")
    (root / "more").symlink_to("train")  # its files are no second ones
    assert len(datasets.load("kinetics", root)) == 5
    (root / "more").unlink()
    clip.unlink()
    clip.symlink_to("nowhere")
    assert clip in {record.path for record in datasets.load("kinetics", root).records}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path label\na.mp4 0\n", r"train.csv: no column label, youtube_id, .*Received: path label"),
        ("", "no column .*Expected label,youtube_id,time_start,time_end. Received: an empty file"),
        (f"{HEADER}\nx,id,1,2\nx,id,one,2\n", r"train.csv, line 3: expected a label, .*Received: 'x,id,one,2'"),
        (f"{HEADER}\nx,id,1.5,2\n", "line 2: expected a label"),
        (f"{HEADER}\nx,id,10,10\n", "line 2: expected a label, an id and whole seconds, start before end"),
        (f"{HEADER}\nx,id,-1,10\n", "line 2: expected a label"),
        (f"{HEADER}\nx,id,1\n", "line 2: expected a label"),
        (f"{HEADER}\n,id,1,2\n", "line 2: expected a label"),
        (f"{HEADER}\nx,,1,2\n", "line 2: expected a label"),
        (f'{HEADER}\n"x,id,1,2\n', "line 2: unexpected end of data"),
        (b"\xff\xfe\x00", "train.csv: cannot be read as text: it is UTF-16"),
        (b"a\n\xe9", "train.csv: cannot be read as text: .* at byte 2, in line 2"),
    ],
)
def test_wrong_lists_are_refused(empty_videos, text, message):
    root = write_lists(flat(empty_videos))
    (root / "train.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load("kinetics", root)
    assert "\n" not in str(caught.value)


def test_what_is_not_there(empty_videos, tmp_path):
    root = flat(empty_videos)
    with pytest.raises(DatasetError, match="^kinetics: root, the folder where it lies, is needed"):
        datasets.load("kinetics")
    with pytest.raises(DatasetError, match="no_such: no such folder"):
        datasets.load("kinetics", tmp_path / "no_such")
    with pytest.raises(DatasetError, match=r"k400, or beside it: no train.csv or val.csv; name the .* Found: none"):
        datasets.load("kinetics", root)
    with pytest.raises(DatasetError, match=r"lists: no such folder. Expected the folder of train.csv and val.csv"):
        datasets.load("kinetics", root, lists=tmp_path / "lists")
    write_lists(root, train=None, val=None)
    with pytest.raises(DatasetError, match=r"no train.csv or val.csv; name the .* Found: test.csv"):
        datasets.load("kinetics", root)
    write_lists(root / "k400")
    write_lists(root / "k600")
    with pytest.raises(DatasetError, match=r"several lists of the training part; .*k400/train.csv, .*k600/train.csv"):
        datasets.load("kinetics", root)
    assert len(datasets.load("kinetics", root, lists=root / "k600")) == 5
    with pytest.raises(DatasetError, match="kinetics has one split. Received: split=2"):
        datasets.load("kinetics", root, split=2)


def test_nothing_fits(empty_videos, tmp_path):
    root = empty_videos("k400", {"train/zumba": ["some.mp4", "abcdefghijk_000001_000002.mp4"]})
    write_lists(root)
    found = "Found: 1 such, first abcdefghijk_000001_000002; 1 other videos, first some.mp4$"
    with pytest.raises(DatasetError, match=f"k400: none of the clips in the lists is on disk. .*{found}"):
        datasets.load("kinetics", root)
    root = write_lists(tmp_path / "packed")
    for part in range(2):
        (root / f"part_{part}.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DatasetError, match="Found: 0 such; 2 archives. Unpack them: `tar xf .*part_0.tar.gz -C DIR`"):
        datasets.load("kinetics", root)


def test_a_list_of_kinetics_size_takes_seconds(empty_videos):
    """60,000 rows, a quarter of a list; about 0.3 s where this was written."""
    root = flat(empty_videos)
    rows = (f"class {n % 400:03d},id{n:09d},{n % 300},{n % 300 + 10},train,0" for n in range(60_000))
    write_lists(root, train=[*TRAIN, *rows])
    start = time.perf_counter()
    dataset = datasets.load("kinetics", root)
    assert time.perf_counter() - start < 5
    assert (len(dataset), len(dataset.class_names)) == (5, 403)
    assert dataset.notes[0].startswith("60002 of 60005 training clips are not on disk, first a_b_000001_")
