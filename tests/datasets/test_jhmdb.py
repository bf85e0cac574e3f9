import os
import pickle
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from har_tf import datasets
from har_tf.datasets import DatasetError, jhmdb
from har_tf.files.workers import Failed
from har_tf.video import frame_counts, read_clip

FRAMES = 3
# Two of one film, as in the original.
VIDEOS = {
    "golf": [
        "Golf_Tips_golf_f_cm_np1_ri_med_0",
        "Golf_Tips_golf_f_cm_np1_ri_med_1",
        "Swing!_(2)_golf_f_nm_np1_le_goo_0",
    ],
    "wave": ["21_wave_u_nm_np1_fr_goo_5", "Wie_man_winkt!!_wave_u_cm_np1_fr_med_0"],
}
NAMES = [(name, video) for name, videos in VIDEOS.items() for video in videos]


def make_avi(path: Path, frames: int = FRAMES, size=jhmdb.SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())


def mask(frames: int = FRAMES) -> np.ndarray:
    """Frame 0: rows 20 to 59, columns 10 to 39; frame 1: the last pixel; frame 2: nothing."""
    mask = np.zeros((240, 320, frames), np.uint8)
    mask[20:60, 10:40, 0] = 7
    if frames > 1:
        mask[239, 319, 1] = 1
    return mask


def positions(frames: int = FRAMES) -> np.ndarray:
    """Joint j of frame f at x = 101 + 2 j, y = 51 + j + 10 f, counted from 1; the last joint is above the picture."""
    x = np.broadcast_to(101 + 2 * np.arange(15.0)[:, None], (15, frames)).copy()
    y = 51 + np.arange(15.0)[:, None] + 10 * np.arange(frames)
    y[14] = -30
    return np.stack([x, y])


def write_mat(path: Path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content, do_compression=True)


def load(root, **options):
    """In this process, which is quick for a few short videos."""
    return datasets.load("jhmdb", root, **{"workers": 0} | options)


def write_lists(folder: Path, split: int = 1):
    folder.mkdir(parents=True, exist_ok=True)
    for name, videos in VIDEOS.items():
        lines = [f"{video}.avi {2 if number == 0 else 1} " for number, video in enumerate(videos)]
        (folder / f"{name}_test_split{split}.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("jhmdb") / "JHMDB"
    write_lists(root / "splits")
    for name, video in NAMES:
        make_avi(root / "ReCompress_Videos" / name / f"{video}.avi")
        write_mat(
            root / "joint_positions" / name / video / "joint_positions.mat",
            pos_img=positions(), pos_world=positions(), scale=np.ones((1, FRAMES)), viewpoint="N",
        )  # fmt: skip
        write_mat(root / "puppet_mask" / name / video / "puppet_mask.mat", part_mask=mask())
    return root


@pytest.fixture
def root(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "JHMDB")


def first(root: Path, kind: str) -> Path:
    folder, file = {
        "video": ("ReCompress_Videos", ".avi"),
        "joints": ("joint_positions", "/joint_positions.mat"),
        "mask": ("puppet_mask", "/puppet_mask.mat"),
    }[kind]
    return root / folder / "golf" / (VIDEOS["golf"][0] + file)


def test_labels_groups_and_split(original):
    dataset = load(original)
    assert dataset.name == "jhmdb"
    assert dataset.class_names == ("golf", "wave")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert [r.group for r in dataset.records] == ["Golf_Tips", "Golf_Tips", "Swing!_(2)", "21", "Wie_man_winkt!!"]
    train, test = dataset.split("official")
    assert [record.path.stem for record in test.records] == [VIDEOS["golf"][0], VIDEOS["wave"][0]]
    assert len(train) == 3
    assert dataset.overlap_report("official").groups == ("Golf_Tips",)
    assert dataset.notes == (
        "19 of 21 classes are not on disk, first brush_hair",
        "5 frames have no pixel in their puppet mask, and no box, first in golf/Golf_Tips_golf_f_cm_np1_ri_med_0",
    )


def test_joints_count_from_0_and_keep_their_order(original):
    record = load(original).records[0]
    assert record.joints.dtype == np.float32
    assert record.joints.shape == (FRAMES, 15, 2)
    assert record.joints[0, jhmdb.JOINTS.index("neck")].tolist() == [100, 50]
    assert record.joints[2, jhmdb.JOINTS.index("face")].tolist() == [104, 72]
    assert record.joints[1, jhmdb.JOINTS.index("wrist_left")].tolist() == [124, 72]
    assert record.joints[1, 14].tolist() == [128, -31]


def test_boxes_of_masks_are_tight_and_end_exclusive(original):
    record = load(original).records[0]
    assert record.boxes.dtype == np.float32
    np.testing.assert_array_equal(record.boxes, [[10, 20, 40, 60], [319, 239, 320, 240], [np.nan] * 4])


def test_boxes_of_joints_hold_the_joints_in_the_picture(original):
    record = load(original, boxes="joints").records[0]
    # x 100 to 126, y 50 to 63 in frame 0: the ankle above the picture does not count.
    assert record.boxes.tolist() == [[100, 50, 127, 64], [100, 60, 127, 74], [100, 70, 127, 84]]
    record = load(original, boxes="joints", margin=1.0).records[0]
    assert record.boxes.tolist()[0] == [73, 36, 154, 78]


def test_a_wide_margin_ends_at_the_edge_and_no_joint_is_no_box(root):
    moved = positions()
    moved[0, :, 0] += 190  # x of joints 0 to 13: 290 to 316
    moved[1, :, 2] = 400
    write_mat(first(root, "joints"), pos_img=moved)
    dataset = load(root, boxes="joints", margin=0.5)
    np.testing.assert_array_equal(dataset.records[0].boxes[[0, 2]], [[276.5, 43, 320, 71], [np.nan] * 4])
    assert dataset.notes[1].startswith("1 frames have no joint in the picture, and no box, first in golf/")


def test_a_video_without_a_mask_has_the_box_of_its_joints(root):
    first(root, "mask").unlink()
    dataset = load(root)
    assert dataset.records[0].boxes[0].tolist() == [100, 50, 127, 64]
    assert dataset.records[1].boxes[0].tolist() == [10, 20, 40, 60]
    assert dataset.notes[1].startswith("1 videos have no puppet mask, their boxes are those of the joints, first in")
    shutil.rmtree(root / "puppet_mask")
    assert load(root).notes[1].startswith("5 videos have no puppet mask")


def test_without_joints_there_are_the_masks(root):
    shutil.rmtree(root / "joint_positions")
    record = load(root).records[0]
    assert record.joints is None
    assert record.boxes[0].tolist() == [10, 20, 40, 60]
    with pytest.raises(DatasetError, match="no joint_positions. Expected joint_positions/<class>/<video>/"):
        load(root, boxes="joints")
    shutil.rmtree(root / "puppet_mask")
    with pytest.raises(DatasetError, match="no puppet_mask and no joint_positions"):
        load(root)


def test_annotations_are_as_long_as_their_video(root):
    longer, shorter = (root / "ReCompress_Videos" / "golf" / f"{video}.avi" for video in VIDEOS["golf"][:2])
    make_avi(longer, 5)
    make_avi(shorter, 2)
    dataset = load(root)
    assert [record.boxes.shape for record in dataset.records[:3]] == [(5, 4), (2, 4), (3, 4)]
    assert [record.joints.shape for record in dataset.records[:3]] == [(5, 15, 2), (2, 15, 2), (3, 15, 2)]
    assert np.isnan(dataset.records[0].joints[3:]).all()
    assert not np.isnan(dataset.records[0].joints[:3]).any()
    assert dataset.notes[-1] == (
        "2 videos have another number of frames than their annotations, first in golf/Golf_Tips_golf_f_cm_np1_ri_med_0"
    )


def test_masks_shorter_than_the_joints_are_told(root):
    write_mat(first(root, "mask"), part_mask=mask(2))
    dataset = load(root)
    assert dataset.records[0].boxes.shape == (3, 4)
    assert dataset.notes[1].startswith(
        "1 videos have another number of frames than their annotations, first in golf/Golf_Tips"
    )


def test_one_frame_is_a_matrix_in_matlab(root):
    write_mat(first(root, "mask"), part_mask=mask(1)[..., 0])
    write_mat(first(root, "joints"), pos_img=positions(1)[..., 0])
    make_avi(first(root, "video"), 1)
    record = load(root).records[0]
    assert record.boxes.tolist() == [[10, 20, 40, 60]]
    assert record.joints.shape == (1, 15, 2)


def test_odd_videos_are_told(root):
    first(root, "video").write_bytes(b"no video")
    make_avi(root / "ReCompress_Videos" / "wave" / f"{VIDEOS['wave'][0]}.avi", FRAMES, (120, 160))
    dataset = load(root)
    assert dataset.records[0].boxes.shape == (3, 4)
    assert dataset.notes[2:] == (
        "1 videos cannot be read, first in golf/Golf_Tips_golf_f_cm_np1_ri_med_0",
        "1 videos are not 320 x 240, as the annotations are, first in wave/21_wave_u_nm_np1_fr_goo_5",
    )


def test_classes_lists_and_folders_around(root, tmp_path):
    dataset = load(tmp_path, classes=["wave", "golf"])
    assert dataset.class_names == ("wave", "golf")
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1]
    assert dataset.notes == (
        "5 frames have no pixel in their puppet mask, and no box, first in wave/21_wave_u_nm_np1_fr_goo_5",
    )
    elsewhere = (root / "splits").rename(tmp_path / "elsewhere")
    (elsewhere / "cartwheel_test_split1.txt").write_text("a.avi 1\n")  # now they look like those of HMDB51
    with pytest.raises(DatasetError, match="no <class>_test_split1.txt in it or beside it"):
        load(root)
    assert len(load(root, lists=elsewhere).official[1]) == 2
    with pytest.raises(DatasetError, match=r"no <class>_test_split2.txt. Found: lists of split 1"):
        load(root, split=2, lists=elsewhere)


def test_a_part_says_what_is_missing(root):
    (root / "ReCompress_Videos" / "golf" / f"{VIDEOS['golf'][2]}.avi").unlink()
    path = root / "splits" / "wave_test_split1.txt"
    path.write_text(path.read_text().split("\n")[0])
    with pytest.raises(DatasetError, match=r"split 1.: 1 of 2 training entries .*; partial=True does"):
        load(root)
    assert load(root, partial=True).notes[1:3] == (
        "official split 1: 1 of 2 training entries are not on disk, first golf/Swing!_(2)_golf_f_nm_np1_le_goo_0.avi",
        "official split 1: 1 videos are in no list, first Wie_man_winkt!!_wave_u_cm_np1_fr_med_0.avi",
    )


def test_a_copy_of_one_part_is_taken_in_part(root):
    whole = load(root)
    for path in whole.official[0]:
        path.unlink()
    left = load(root, partial=True)
    assert (left.official[0], left.official[1]) == (frozenset(), whole.official[1])
    assert left.test_videos == whole.test_videos == 928 - len(whole.official[0]), "what no list names is not there"


def test_a_clip_in_two_containers_is_refused(root):
    video = first(root, "video")
    shutil.copy(video, video.with_suffix(".mp4"))
    with pytest.raises(DatasetError, match=r"golf_f_cm_np1_ri_med_0.avi: is the same clip as .*_0.mp4"):
        load(root)


def test_frames_are_counted_in_other_processes_or_known_already(root, monkeypatch):
    asked = []
    counts = [frame_counts.FrameCount(2, 240, 320), *[Failed("died")] * 4]
    monkeypatch.setattr(frame_counts, "count_frames", lambda paths, *options: asked.append(options) or counts)
    dataset = load(root, counts={root: "known"}, workers=3)
    assert asked == [({root: "known"}, 3)]
    assert [len(record.boxes) for record in dataset.records] == [2, 3, 3, 3, 3]
    assert dataset.notes[-1] == "4 videos cannot be read, first in golf/Golf_Tips_golf_f_cm_np1_ri_med_1"


def damage(change):
    def act(path: Path):
        data = path.read_bytes()
        path.write_bytes(change(data))

    return act


@pytest.mark.parametrize(
    ("kind", "act", "message"),
    [
        ("mask", lambda p: write_mat(p, other=mask()), r"has no part_mask"),
        ("mask", lambda p: write_mat(p, part_mask=mask()[:100]), r"\(240, 320, frames\) .* Received: uint8 \(100, "),
        ("mask", lambda p: write_mat(p, part_mask="text"), r"expected part_mask of .* Received: <U4"),
        ("mask", damage(lambda data: data[: len(data) // 2]), "not a MATLAB file with part_mask, or a damaged one"),
        ("mask", damage(lambda data: b""), "not a MATLAB file with part_mask, or a damaged one"),
        ("mask", damage(lambda data: b"text" * 100), "not a MATLAB file with part_mask, or a damaged one"),
        ("mask", damage(lambda data: b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + bytes(500)), "save it with -v7"),
        ("mask", damage(lambda data: data[:126] + b"XX" + data[128:]), "not a MATLAB file with part_mask"),
        ("joints", lambda p: p.unlink(), "no such file. Expected a MATLAB file with pos_img"),
        ("joints", lambda p: write_mat(p, pos_world=positions()), "has no pos_img"),
        ("joints", lambda p: write_mat(p, pos_img=positions()[:, :14]), r"\(2, 15, frames\) .*: float64 \(2, 14"),
        ("joints", lambda p: write_mat(p, pos_img=positions().astype(complex)), "Received: complex128"),
        ("joints", lambda p: write_mat(p, pos_img={"a": 1}), "expected pos_img"),
    ],
)  # fmt: skip
def test_damaged_annotations_are_errors(root, kind, act, message):
    path = first(root, kind)
    act(path)
    with pytest.raises(DatasetError, match=message) as caught:
        load(root)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_damaged_bytes_of_a_mat_file_never_do_more_than_fail(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "joint_positions.mat"
    failed = 0
    for number in range(100):
        savemat(path, {"pos_img": positions(), "scale": np.ones(3)}, do_compression=number % 2 == 0)
        data = bytearray(path.read_bytes())
        for place in rng.integers(100, len(data), size=rng.integers(1, 4)):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, 2 * len(data))])
        try:
            jhmdb._joints(path)
        except DatasetError:
            failed += 1
    assert 12 < failed < 100


def test_what_is_not_there(root, tmp_path):
    with pytest.raises(DatasetError, match="^jhmdb: root, the folder where it lies, is needed"):
        load(None)
    with pytest.raises(DatasetError, match="no such folder. Expected JHMDB"):
        load(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"nowhere: no such folder. Expected the folder of <class>_test_split1.txt"):
        load(root, lists=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="unknown class 'gulf'. Closest: golf"):
        load(root, classes=["gulf", "wave"])
    with pytest.raises(DatasetError, match="no folder of class run"):
        load(root, classes=["run", "wave"])
    with pytest.raises(ValueError, match="boxes='masks'"):
        load(root, boxes="masks")
    with pytest.raises(ValueError, match="margin=-1"):
        load(root, margin=-1)
    with pytest.raises(DatasetError, match=r"no JHMDB-GT.pkl in it or beside it"):
        load(root, boxes="pickle")
    for path in (root / "splits").iterdir():
        path.write_text("other.avi 1\nanother.avi 2\n")
    with pytest.raises(DatasetError, match="splits, split 1.: none of the 4 entries is on disk"):
        load(root)
    shutil.rmtree(root / "ReCompress_Videos")
    with pytest.raises(DatasetError, match="no ReCompress_Videos in it"):
        load(root)


def ground_truth(**change) -> dict:
    """As ACT-detector's: two boxes of corners that count, in frames 1 and 2."""
    names = [f"{name}/{video}" for name, video in NAMES]
    tube = np.array([[1, 10, 20, 39, 59], [2, 0, 0, 319, 239]], np.float32)
    return {
        "labels": ["golf", "wave"],
        "gttubes": {name: {["golf", "wave"].index(name.split("/")[0]): [tube]} for name in names},
        "nframes": dict.fromkeys(names, FRAMES),
        "train_videos": [names[1:4]],
        "test_videos": [[names[0], names[4]]],
        "resolution": dict.fromkeys(names, (240, 320)),
        **change,
    }


def test_boxes_and_split_of_the_pickle(root):
    (root / "JHMDB-GT.pkl").write_bytes(pickle.dumps(ground_truth(), 2))
    dataset = load(root, boxes="pickle")
    np.testing.assert_array_equal(dataset.records[4].boxes, [[10, 20, 40, 60], [0, 0, 320, 240], [np.nan] * 4])
    assert dataset.records[4].joints.shape == (3, 15, 2)
    assert [record.path.stem for record in dataset.split("official")[1].records] == [
        VIDEOS["golf"][0],
        VIDEOS["wave"][0],
    ]
    for folder in ("splits", "joint_positions", "puppet_mask"):
        shutil.rmtree(root / folder)
    dataset = load(root, boxes="pickle")
    assert dataset.records[0].joints is None
    assert [record.path.stem for record in dataset.split("official")[1].records] == [
        VIDEOS["golf"][0],
        VIDEOS["wave"][1],
    ]
    with pytest.raises(DatasetError, match=r"JHMDB-GT.pkl: has no split 2; the lists"):
        load(root, split=2, boxes="pickle")


GOLF = f"golf/{VIDEOS['golf'][0]}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gttubes": []}, "expected a dict with labels, gttubes"),
        ({"labels": ["golf", "tennis"]}, "expected the labels of JHMDB. Received: tennis"),
        ({"gttubes": {GOLF: {1: []}}}, "expected tubes of label 0. Received: 1"),
        ({"gttubes": {GOLF: {0: []}}}, "expected a list of one tube"),
        ({"gttubes": {GOLF: {0: [np.zeros((2, 4))]}}}, r"a tube of \(frames, 5\) numbers. Received: float64 \(2, 4\)"),
        ({"gttubes": {GOLF: {0: [np.zeros((2, 5))]}}}, "frames from 1 to"),
        ({"gttubes": {GOLF: {0: [np.full((1, 5), 1e15)]}}}, "frames from 1 to"),
        ({"gttubes": {GOLF: {0: [np.full((1, 5), np.nan)]}}}, "expected finite boxes"),
        ({"gttubes": {GOLF: {0: [np.ones((2, 5))]}}}, "a frame has two boxes"),
    ],
)  # fmt: skip
def test_a_wrong_pickle_is_refused(root, change, message):
    (root / "JHMDB-GT.pkl").write_bytes(pickle.dumps(ground_truth(**change), 2))
    with pytest.raises(DatasetError, match=message) as caught:
        load(root, boxes="pickle")
    assert str(caught.value).startswith(str(root / "JHMDB-GT.pkl"))


def test_a_pickle_that_runs_code_is_refused(root):
    (root / "JHMDB-GT.pkl").write_bytes(b"cos\nsystem\n(S'echo hacked'\ntR.")
    with pytest.raises(DatasetError, match=r"JHMDB-GT.pkl, byte 0: refuses to import os.system"):
        load(root, boxes="pickle")


def test_videos_of_pictures_are_exact(root):
    shutil.rmtree(root / "ReCompress_Videos")
    rng = np.random.default_rng(0)
    pictures = {}
    for name, video in NAMES:
        folder = root / "Rename_Images" / name / video
        folder.mkdir(parents=True)
        pictures[video] = rng.integers(0, 256, (FRAMES, *jhmdb.SIZE, 3), dtype=np.uint8)
        for number, picture in enumerate(pictures[video], start=1):
            Image.fromarray(picture).save(folder / f"{number:05d}.png")
    with pytest.raises(DatasetError, match=r"pictures, but no ReCompress_Videos beside them. .*videos_from_frames"):
        load(root)
    assert jhmdb.videos_from_frames(root) == root / "Lossless_Videos"
    dataset = load(root)
    assert len(dataset) == 5
    for record in dataset.records:
        np.testing.assert_array_equal(read_clip(record.path, None, None), pictures[record.path.stem])
    folder.joinpath("00002.png").unlink()
    (root / "Lossless_Videos" / "wave" / f"{VIDEOS['wave'][1]}.avi").unlink()
    with pytest.raises(DatasetError, match=r"expected 00001.png and on without a gap. Found: 2 pictures"):
        jhmdb.videos_from_frames(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_in_the_root_is_named(tmp_path):
    closed = tmp_path / "JHMDB"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(DatasetError, match="JHMDB: cannot be listed: Permission denied"):
            load(tmp_path)
    finally:
        closed.chmod(0o755)
