import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from har_tf import datasets
from har_tf.datasets import DatasetError, ilsvrc

TENCH, CRANE_BIRD, CRANE = "n01440764", "n02012849", "n03126707"
MAPPING = f"{TENCH} tench, Tinca tinca\n{CRANE_BIRD} crane\n{CRANE} crane\n"
WIDTH, HEIGHT = 60, 40
# Name, class, boxes as written: xmin, ymin, xmax, ymax of the first and the last pixel inside.
VAL = [
    ("ILSVRC2012_val_00000001", CRANE, [(10, 5, 29, 34)]),
    ("ILSVRC2012_val_00000002", TENCH, [(0, 0, 59, 39), (7, 8, 7, 8)]),
    ("ILSVRC2012_val_00000003", CRANE_BIRD, [(1, 2, 3, 4)]),
]
EXPECTED = [  # in the order of the classes, end-exclusive
    ("ILSVRC2012_val_00000002", 0, [[0, 0, 60, 40], [7, 8, 8, 9]]),
    ("ILSVRC2012_val_00000003", 1, [[1, 2, 4, 5]]),
    ("ILSVRC2012_val_00000001", 2, [[10, 5, 30, 35]]),
]


def xml(wnid, boxes, size=(WIDTH, HEIGHT)):
    objects = "".join(
        f"<object><name>{wnid}</name><pose>Unspecified</pose><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>\n"
        for box in boxes
    )
    return (
        f"<annotation>\n<folder>val</folder><filename>%s</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size><segmented>0</segmented>\n{objects}</annotation>\n"
    )


def picture(path, size=(WIDTH, HEIGHT), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path, format="JPEG", **options)


def write(root, csv=True, mapping=True, images="ILSVRC/Data/CLS-LOC/val", annotations="ILSVRC/Annotations/CLS-LOC/val"):
    (root / annotations).mkdir(parents=True)
    for name, wnid, boxes in VAL:
        picture(root / images.format(wnid) / f"{name}.JPEG")
        (root / annotations / f"{name}.xml").write_text(xml(wnid, boxes))
    if csv:
        rows = [f"{n},{' '.join(f'{w} {a} {b} {c} {d}' for a, b, c, d in boxes)} " for n, w, boxes in reversed(VAL)]
        (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    if mapping:
        (root / "LOC_synset_mapping.txt").write_text(MAPPING)
    return root


def change(root, number, text):
    path = root / "ILSVRC/Annotations/CLS-LOC/val" / f"{VAL[number][0]}.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def summary(dataset):
    return [(r.path.stem, r.label, r.boxes_at(0).tolist()) for r in dataset.records]


def test_the_layout_of_kaggle(tmp_path):
    dataset = datasets.load("ilsvrc", write(tmp_path))
    assert dataset.name == "ilsvrc_val"
    assert dataset.class_names == (f"{TENCH} tench", f"{CRANE_BIRD} crane", f"{CRANE} crane")
    assert summary(dataset) == EXPECTED
    assert [[tube.label for tube in record.tubes] for record in dataset.records] == [[0, 0], [1], [2]]
    assert dataset.official is None
    assert dataset.notes == (
        "3 pictures of val, 3 annotated. Published: 50,000, 50,000",
        "3 classes. Published: 1,000",
    )
    clip = dataset.records[0].read(2, (20, 30))
    assert clip.shape == (2, 20, 30, 3)
    assert np.abs(clip.astype(int) - [90, 120, 30]).max() <= 3


@pytest.mark.parametrize(
    ("images", "annotations", "lists"),
    [
        ("ILSVRC2012_img_val", "val", None),
        ("val/{}", "bbox/val", "bbox"),
        ("val/{}", "bbox/val", "bbox/val"),
        ("val", "val", None),
        (".", "xml", "xml"),
        ("{}", "xml", "xml"),
        ("Data/CLS-LOC/val", "Annotations/CLS-LOC/val", None),
    ],
)
def test_the_layouts_of_the_tar_files(tmp_path, images, annotations, lists):
    root = write(tmp_path, csv=False, mapping=False, images=images, annotations=annotations)
    dataset = datasets.load("ilsvrc", root, lists=None if lists is None else root / lists)
    assert dataset.class_names == (TENCH, CRANE_BIRD, CRANE)
    assert summary(dataset) == EXPECTED


def test_lists_beside_the_folder_that_is_called_ilsvrc(tmp_path):
    dataset = datasets.load("ilsvrc", write(tmp_path) / "ILSVRC")
    assert dataset.class_names[0] == f"{TENCH} tench"
    assert summary(dataset) == EXPECTED


def test_the_counts_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(ilsvrc, "PUBLISHED", {"val": (3, 3)})
    monkeypatch.setattr(ilsvrc, "CLASSES", 3)
    assert datasets.load("ilsvrc", write(tmp_path)).notes == ()


def test_training_pictures_of_which_some_have_boxes(tmp_path):
    for name in (f"{TENCH}_10026", f"{TENCH}_18", f"{CRANE}_147"):
        picture(tmp_path / "train" / name.split("_")[0] / f"{name}.JPEG")
    boxes = tmp_path / "boxes" / TENCH
    boxes.mkdir(parents=True)
    # A class in words instead of its id, as many dogs have it.
    (boxes / f"{TENCH}_18.xml").write_text(xml("Scottish_deerhound", [(1, 2, 3, 4)]))
    dataset = datasets.load("ilsvrc", tmp_path, part="train", lists=tmp_path / "boxes")
    assert dataset.name == "ilsvrc_train"
    assert summary(dataset) == [
        (f"{TENCH}_10026", 0, []),
        (f"{TENCH}_18", 0, [[1, 2, 4, 5]]),
        (f"{CRANE}_147", 1, []),
    ]
    assert dataset.notes[0] == "3 pictures of train, 1 annotated. Published: 1,281,167, 544,546"


def test_labels_are_those_of_imagenet_also_in_a_part_of_it(tmp_path):
    root = write(tmp_path)
    for suffix in ("Data/CLS-LOC/val/{}.JPEG", "Annotations/CLS-LOC/val/{}.xml"):
        (root / "ILSVRC" / suffix.format(VAL[1][0])).unlink()
    with pytest.raises(DatasetError, match="1 pictures of LOC_val_solution.csv are not there: .*_00000002; partial=T"):
        datasets.load("ilsvrc", root)
    dataset = datasets.load("ilsvrc", root, partial=True)
    assert dataset.labels.tolist() == [1, 2]
    assert dataset.notes[0] == "1 pictures of LOC_val_solution.csv are not there: ILSVRC2012_val_00000002"
    # Of the classes asked for nothing is missing.
    assert len(datasets.load("ilsvrc", root, classes=[CRANE, CRANE_BIRD])) == 2


def test_classes_by_id_name_and_words(tmp_path):
    root = write(tmp_path)
    dataset = datasets.load("ilsvrc", root, classes=[f"{CRANE} crane", "Tinca tinca"])
    assert dataset.class_names == (f"{CRANE} crane", f"{TENCH} tench")
    assert [row[:2] for row in summary(dataset)] == [(VAL[0][0], 0), (VAL[1][0], 1)]
    with pytest.raises(DatasetError, match=f"'crane' names 2 classes: {CRANE_BIRD} crane, {CRANE} crane"):
        datasets.load("ilsvrc", root, classes=["crane", "tench"])
    with pytest.raises(DatasetError, match="unknown class 'tensh'. Closest: tench"):
        datasets.load("ilsvrc", root, classes=["tensh", CRANE])
    with pytest.raises(DatasetError, match=f"classes given twice: {TENCH}"):
        datasets.load("ilsvrc", root, classes=["tench", TENCH])
    with pytest.raises(DatasetError, match="at least two classes"):
        datasets.load("ilsvrc", root, classes=["tench"])
    plain = write(tmp_path / "plain", csv=False, mapping=False)
    assert datasets.load("ilsvrc", plain, classes=[CRANE, TENCH]).class_names == (CRANE, TENCH)
    (root / "LOC_synset_mapping.txt").write_text(MAPPING + "n02086240 Shih-Tzu\n")
    with pytest.raises(DatasetError, match="no picture of n02086240 Shih-Tzu"):
        datasets.load("ilsvrc", root, classes=["Shih-Tzu", "tench"])


def test_boxes_are_scaled_from_the_size_that_was_annotated(tmp_path):
    root = write(tmp_path)
    change(root, 0, xml(CRANE, [(10, 5, 29, 34)], size=(120, 40)))  # twice as wide as the picture
    dataset = datasets.load("ilsvrc", root)
    assert summary(dataset)[2][2] == [[5, 5, 15, 35]]
    assert dataset.notes[2] == (
        "1 annotations are about another size than their picture has, and were scaled to it, first "
        "ILSVRC2012_val_00000001"
    )


def test_boxes_out_of_the_picture(tmp_path):
    root = write(tmp_path)
    change(root, 0, xml(CRANE, [(-5, 30, 70, 55), (60, 0, 80, 20), (20, 9, 10, 19), (30, 10, 60, 40)]))
    dataset = datasets.load("ilsvrc", root)
    # The second lies outside, the third is inside out; a single pixel too many, as in the last, is how some count.
    assert summary(dataset)[2][2] == [[0, 30, 60, 40], [30, 10, 60, 40]]
    assert dataset.notes[2:] == (
        "1 annotations have boxes that reach out of the picture, which were clipped, first ILSVRC2012_val_00000001",
        "1 annotations have boxes that lie outside the picture or are inside out, which were left out, first "
        "ILSVRC2012_val_00000001",
    )


def test_boxes_turn_with_the_picture(tmp_path):
    root = write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: 40 wide, 60 high
    for name, _, _ in VAL:
        picture(root / "ILSVRC/Data/CLS-LOC/val" / f"{name}.JPEG", exif=exif)
    # This one was annotated on the turned picture.
    change(root, 2, xml(CRANE_BIRD, [(1, 2, 3, 4)], size=(HEIGHT, WIDTH)))
    dataset = datasets.load("ilsvrc", root)
    # (10, 5, 30, 35) of 60 x 40: x from the height, 40 - 35 and 40 - 5; y from x, 10 and 30.
    assert summary(dataset)[2][2] == [[5, 10, 35, 30]]
    assert summary(dataset)[1][2] == [[1, 2, 4, 5]]
    assert dataset.records[2].read(1, None).shape == (1, 60, 40, 3)
    assert dataset.notes[2].startswith("2 pictures are turned by their EXIF orientation, and their boxes with them")


def test_a_picture_that_cannot_be_read_is_told_and_stays(tmp_path):
    root = write(tmp_path)
    (root / "ILSVRC/Data/CLS-LOC/val" / f"{VAL[0][0]}.JPEG").write_bytes(b"broken")
    dataset = datasets.load("ilsvrc", root)
    assert summary(dataset) == EXPECTED
    assert dataset.notes[2].startswith("1 pictures cannot be read; their boxes are about the size that the XML states")


def test_an_object_of_another_class(tmp_path):
    root = write(tmp_path)
    both = xml(CRANE, [(10, 5, 29, 34)]).replace("</annotation>", "") + xml(TENCH, [(1, 1, 2, 2)]).partition("\n")[2]
    change(root, 0, both.replace("<folder>val</folder>", ""))
    assert summary(datasets.load("ilsvrc", root)) == EXPECTED
    change(root, 0, xml(TENCH, [(1, 1, 2, 2)]))
    with pytest.raises(DatasetError, match=f"00000001.xml: expected objects of {CRANE}. Received: {TENCH}; partial"):
        datasets.load("ilsvrc", root)
    (root / "LOC_val_solution.csv").unlink()
    assert summary(datasets.load("ilsvrc", root))[0][:2] == (VAL[0][0], 0)
    change(root, 0, both)
    with pytest.raises(DatasetError, match=f"expected objects of one class. Received: {TENCH}, {CRANE}"):
        datasets.load("ilsvrc", root)
    dataset = datasets.load("ilsvrc", root, partial=True)
    assert len(dataset) == 2
    assert "1 pictures have no class: ILSVRC2012_val_00000001" in dataset.notes


BOMB = """<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><filename>&b;</filename></annotation>"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "declares a document type or entities"),
        (BOMB.replace("1.0", '1.0" encoding="UTF-16').encode("utf-16"), "declares a document type or entities"),
        ("<!ENTITY a 'x'>", "declares a document type or entities"),
        ("<annotation>" + " " * 2**20, "larger than 1048576 bytes"),
        ("<annotation><object>", "not XML: no element found"),
        ("", "not XML: no element found"),
        (b"<annotation>\xff\xfe</annotation>", "not XML: not well-formed"),
        ("<?xml version='1.0' encoding='nonsense'?><annotation/>", "not XML: unknown encoding"),
        ("<a>" * 100_000, "not XML"),
        ("<annotation>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>", "expected a number in <size><width>"),
        ("<html></html>", "expected an <annotation>. Received: <html>"),
        ("<annotation></annotation>", "expected a number in <size><width>. Received: ''"),
        (xml(CRANE, [(1, 2, 3, "x")]), "expected a number in <bndbox><ymax>. Received: 'x'"),
        (xml(CRANE, [(1, 2, 3, "nan")]), "expected a number in <bndbox><ymax>. Received: 'nan'"),
        (xml(CRANE, [(1, 2, 3, 4)], size=(0, 5)), "expected a size of at least 1 x 1. Received: 0 x 5"),
    ],
)
def test_annotations_that_are_refused(tmp_path, text, message):
    root = write(tmp_path)
    path = change(root, 0, text)
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load("ilsvrc", root)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("; partial=True does without its boxes")
    dataset = datasets.load("ilsvrc", root, partial=True)
    assert summary(dataset) == [*EXPECTED[:2], (VAL[0][0], 2, [])]
    assert any(note.startswith(f"1 annotations cannot be used, first {path}") for note in dataset.notes)


def test_what_is_missing_is_named(tmp_path):
    root = write(tmp_path)
    place = root / "ILSVRC/Annotations/CLS-LOC/val"
    (place / f"{VAL[0][0]}.xml").rename(place / "ILSVRC2012_val_00000009.xml")
    with pytest.raises(DatasetError, match="1 annotations have no picture: ILSVRC2012_val_00000009; partial=True"):
        datasets.load("ilsvrc", root)
    (place / "ILSVRC2012_val_00000009.xml").unlink()
    with pytest.raises(DatasetError, match="1 pictures have no annotation: ILSVRC2012_val_00000001; partial=True"):
        datasets.load("ilsvrc", root)
    dataset = datasets.load("ilsvrc", root, partial=True)
    assert summary(dataset) == [*EXPECTED[:2], (VAL[0][0], 2, [])]
    assert dataset.notes[0] == "1 pictures have no annotation: ILSVRC2012_val_00000001"
    (root / "LOC_synset_mapping.txt").write_text(MAPPING.partition("\n")[2])
    with pytest.raises(DatasetError, match=f"LOC_synset_mapping.txt: lacks 1 classes that have pictures: {TENCH}"):
        datasets.load("ilsvrc", root, partial=True)


def test_a_class_that_is_said_in_two_ways(tmp_path):
    root = write(tmp_path, images="val/{}", annotations="xml/val")
    solution = root / "LOC_val_solution.csv"
    solution.write_text(solution.read_text().replace(CRANE_BIRD, CRANE))
    with pytest.raises(DatasetError, match="00000003.JPEG: folder, name and LOC_val_solution.csv give different"):
        datasets.load("ilsvrc", root, lists=root / "xml")


def test_a_picture_that_is_there_twice(tmp_path):
    root = write(tmp_path)
    picture(root / "ILSVRC/Data/CLS-LOC/val" / TENCH / f"{VAL[0][0]}.jpg")
    with pytest.raises(DatasetError, match="is there twice, see"):
        datasets.load("ilsvrc", root)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("LOC_val_solution.csv", "a,b,c\n", "line 1: expected '<picture>,<wnid>"),
        ("LOC_val_solution.csv", f"a,{TENCH} 1 2 3\n", "line 1: expected '<picture>,<wnid>"),
        ("LOC_val_solution.csv", f"a,{TENCH} 1 2 3 4 {CRANE} 1 2 3 4\n", "of one class"),
        ("LOC_val_solution.csv", f"a,{TENCH} 1 2 3 4\na,{TENCH} 1 2 3 4\n", "line 2: .*each picture once"),
        ("LOC_val_solution.csv", "a,tench 1 2 3 4\n", "line 1: expected"),
        ("LOC_synset_mapping.txt", f"{TENCH}\n", "line 1: expected '<wnid> <words>', each once"),
        ("LOC_synset_mapping.txt", f"{TENCH} a\n{TENCH} b\n", "line 2: expected '<wnid> <words>', each once"),
        ("LOC_synset_mapping.txt", "tench\n", "line 1: expected"),
    ],
)
def test_wrong_lists(tmp_path, name, text, message):
    root = write(tmp_path)
    (root / name).write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load("ilsvrc", root)
    assert name in str(caught.value)


def test_wrong_arguments_and_empty_folders(tmp_path):
    with pytest.raises(DatasetError, match="^ilsvrc: root, the folder where it lies, is needed"):
        datasets.load("ilsvrc")
    with pytest.raises(DatasetError, match="no such folder"):
        datasets.load("ilsvrc", tmp_path / "none")
    with pytest.raises(DatasetError, match="no picture of val. Expected ILSVRC/Data/CLS-LOC/val"):
        datasets.load("ilsvrc", tmp_path)
    with pytest.raises(DatasetError, match="part must be one of val, train. Received: 'test'"):
        datasets.load("ilsvrc", tmp_path, part="test")
    with pytest.raises(DatasetError, match="its parts are part='val' and 'train'. Received: split=2"):
        datasets.load("ilsvrc", tmp_path, split=2)
    picture(tmp_path / "val" / "a.JPEG")
    with pytest.raises(DatasetError, match="no annotation of val. Expected ILSVRC/Annotations/CLS-LOC/val"):
        datasets.load("ilsvrc", tmp_path)


def test_archives_are_no_folder(tmp_path):
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        archive.add(write(tmp_path / "in"), "ILSVRC")
    with pytest.raises(DatasetError, match=r"ILSVRC2012_img_val.tar: is an archive. .* Unpack it"):
        datasets.load("ilsvrc", tmp_path / "ILSVRC2012_img_val.tar")
    with pytest.raises(DatasetError, match=r"ILSVRC2012_img_val.tar: is an archive. Expected the folder of the ann"):
        datasets.load("ilsvrc", tmp_path / "in", lists=tmp_path / "ILSVRC2012_img_val.tar")


def test_lists_saved_as_utf_16_are_named(tmp_path):
    root = write(tmp_path)
    (root / "LOC_synset_mapping.txt").write_text(MAPPING, encoding="utf-16")
    with pytest.raises(DatasetError, match=r"LOC_synset_mapping.txt: cannot be read as text: it is UTF-16"):
        datasets.load("ilsvrc", root)


def test_only_class_folders_count_beside_the_pictures(tmp_path):
    """A folder of another part, or a thumbnail's, would give a picture twice."""
    root = write(tmp_path)
    place = root / "ILSVRC/Data/CLS-LOC/val"
    (place / "thumbnails").mkdir()
    (place / "thumbnails" / f"{VAL[0][0]}.JPEG").touch()
    (place / TENCH / "deeper").mkdir(parents=True)
    (place / TENCH / "deeper" / f"{VAL[0][0]}.JPEG").touch()
    assert summary(datasets.load("ilsvrc", root)) == EXPECTED


def test_closed_folders_of_classes_are_errors_and_others_are_not(tmp_path):
    closed = PermissionError(13, "Permission denied", str(tmp_path / TENCH))
    with pytest.raises(DatasetError, match=f"{TENCH}: cannot be listed: Permission denied"):
        ilsvrc._refuse(tmp_path, closed)
    ilsvrc._refuse(tmp_path, PermissionError(13, "Permission denied", str(tmp_path / "lost+found")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path):
    root = write(tmp_path)
    place = root / "ILSVRC/Data/CLS-LOC/val"
    place.chmod(0)
    try:
        with pytest.raises(DatasetError, match="cannot be listed: Permission denied"):
            datasets.load("ilsvrc", root)
    finally:
        place.chmod(0o755)
