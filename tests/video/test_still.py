import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from har_tf.files import limits
from har_tf.video import VideoError, read_still
from har_tf.video.still import _FORMATS, probe_still

# 2 x 3 pixels, each another colour.
COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [255, 255, 255]]], np.uint8)


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def read(path, **arguments):
    return read_still(path, **{"num_frames": 1, "size": None, **arguments})[0]


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)
    for sampling in ("uniform", "strided", "dense"):
        clip = read_still(path, num_frames=3, size=None, sampling=sampling, short="wrap")
        assert clip.dtype == np.uint8
        assert np.array_equal(clip, np.stack([COLOURS] * 3))
    assert read_still(path, num_frames=None, size=None).shape == (1, 2, 3, 3)
    assert read_still(path).shape == (10, 128, 192, 3)


def test_shrinking_averages_over_areas(tmp_path):
    column = np.arange(0, 240, 10, dtype=np.uint8).reshape(6, 4)
    path = save(tmp_path / "a.png", np.repeat(column[..., None], 3, axis=2))
    # 6 x 4 to 2 x 2: means of 3 x 2 pixels; 6 x 4 to 4 x 4: each new row covers one and a half old ones.
    assert read(path, size=(2, 2))[..., 0].tolist() == [[45, 65], [165, 185]]
    rows = [[(2 * 0 + 40) / 3], [(40 + 2 * 80) / 3], [(2 * 120 + 160) / 3], [(160 + 2 * 200) / 3]]
    expected = np.array(rows) + np.array([0, 10, 20, 30])
    assert np.abs(read(path, size=(4, 4))[..., 1] - expected).max() <= 0.5


def test_one_side_may_shrink_while_the_other_grows(tmp_path):
    path = save(tmp_path / "a.png", np.repeat(np.uint8([[0, 100], [20, 120], [40, 140], [60, 160]])[..., None], 3, 2))
    found = read(path, size=(2, 4))[..., 0]
    # Rows are averaged by twos; columns are 4 points on the line through the two centres, held at the ends.
    assert found.tolist() == [[10, 35, 85, 110], [50, 75, 125, 150]]


@pytest.mark.parametrize(
    ("orientation", "corner"),
    # Where the red pixel, stored top left, is shown: rows from the top, columns from the left.
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_turned_as_exif_says_and_boxes_with_it(tmp_path, orientation, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", COLOURS, exif=exif)
    shown = read(path)
    info = probe_still(path)
    assert shown.shape == (info.height, info.width, 3) == ((2, 3, 3) if orientation < 5 else (3, 2, 3))
    assert info.stored == (3, 2)
    assert shown[corner].tolist() == [255, 0, 0]
    for y in range(2):
        for x in range(3):
            (x1, y1, x2, y2), *_ = info.turn(np.array([[x, y, x + 1, y + 1]]))
            assert shown[y1:y2, x1:x2].reshape(-1, 3).tolist() == [COLOURS[y, x].tolist()]


def test_exif_that_cannot_be_read_is_none(tmp_path):
    path = save(tmp_path / "a.jpg", COLOURS, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01garbage")
    assert read(path).shape == (2, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = 77
    assert probe_still(save(tmp_path / "b.png", COLOURS, exif=exif)).orientation == 1


def test_every_mode_becomes_rgb(tmp_path):
    grey = np.array([[0, 128, 255]], np.uint8)
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read(save(tmp_path / "grey.png", grey)), as_rgb)
    assert np.array_equal(read(save(tmp_path / "bit.png", grey > 127)), np.where(as_rgb > 127, 255, 0))
    deep = np.array([[0, 0x80FF, 0xFFFF]], np.uint16)
    assert np.array_equal(read(save(tmp_path / "deep.png", deep)), as_rgb)
    assert np.array_equal(read(save(tmp_path / "a.bmp", COLOURS)), COLOURS)
    assert np.array_equal(read(save(tmp_path / "a.webp", COLOURS, lossless=True)), COLOURS)


def test_palette(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 250, 240, 230])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").tolist() == [[[1, 2, 3], [250, 240, 230]]]
    image.save(tmp_path / "b.png", transparency=1)
    assert read(tmp_path / "b.png").tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_transparency_lies_on_white(tmp_path):
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    # 51 / 255 = 0.2: 0.2 * (200, 100, 0) + 0.8 * 255.
    assert read(save(tmp_path / "a.png", rgba)).tolist() == [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]
    la = np.array([[[100, 255], [100, 0]]], np.uint8)
    assert read(save(tmp_path / "b.png", la)).tolist() == [[[100] * 3, [255] * 3]]


def test_cmyk_jpeg_and_a_png_that_is_called_jpeg(tmp_path):
    block = np.full((16, 16, 3), [200, 60, 20], np.uint8)
    shown = read(save(tmp_path / "a.JPEG", block, "CMYK", quality=95))
    assert np.abs(shown.astype(int) - block).max() <= 4
    assert np.array_equal(read(save(tmp_path / "b.JPEG", COLOURS, format="PNG")), COLOURS)


def test_what_is_cut_off_is_never_shown(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("a.jpg", "a.png", "a.bmp", "a.webp"):
        whole = save(tmp_path / name, noise).read_bytes()
        for tenth in range(10):
            part = tmp_path / f"cut_{tenth}_{name}"
            part.write_bytes(whole[: len(whole) * tenth // 10])
            with pytest.raises(VideoError, match="empty file|not a picture|corrupt picture"):
                read(part)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_flipped_byte_raises_video_error_or_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    generator = np.random.default_rng(1)
    for name in ("a.jpg", "a.png", "a.bmp", "a.webp"):
        whole = save(tmp_path / name, noise).read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[generator.integers(min(len(whole), 400))] ^= int(generator.integers(1, 256))
            (tmp_path / "bad.jpg").write_bytes(damaged)
            try:
                read(tmp_path / "bad.jpg")
            except VideoError as error:
                assert "\n" not in str(error)


def test_no_picture(tmp_path):
    text = tmp_path / "a.jpg"
    text.write_text("not a picture")
    gif = save(tmp_path / "b.png", COLOURS, format="GIF")
    for path in (text, gif):
        with pytest.raises(VideoError, match=f"not a picture, expected one of {', '.join(_FORMATS)}"):
            read(path)
    with pytest.raises(VideoError, match="no such file"):
        read(tmp_path / "c.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(VideoError, match="empty file"):
        read(tmp_path / "empty.jpg")
    with pytest.raises(VideoError, match="a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(VideoError, match="not a regular file"):
        probe_still(tmp_path / "pipe.jpg")


def test_animations_are_refused(tmp_path):
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    for name in ("a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(VideoError, match="an animation of 2 frames, expected a still picture"):
            read(tmp_path / name)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch, side):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )
    for open_it in (read, probe_still):
        with pytest.raises(VideoError, match=rf"at most 89,478,485 pixels expected.*{limits.PIXELS}"):
            open_it(path)
    monkeypatch.setenv(limits.PIXELS, "inf")
    assert (probe_still(path).width, probe_still(path).height) == (side, side)


def test_pictures_have_the_limit_of_videos(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", COLOURS)
    monkeypatch.setenv(limits.PIXELS, "5")  # of 2 x 3
    with pytest.raises(VideoError, match=r"a.png: a picture of 3 x 2 pixels, at most 5 pixels expected"):
        read_still(path)


def test_too_few_frames_and_wrong_arguments(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)
    with pytest.raises(VideoError, match="a picture is 1 frame, 10 needed"):
        read_still(path, short="error")
    assert read_still(path, num_frames=1, short="error").shape == (1, 128, 192, 3)
    for wrong in (
        {"size": (0, 3)},
        {"size": 5.0, "num_frames": 1},
        {"num_frames": 0},
        {"sampling": "x"},
        {"short": "x"},
    ):
        with pytest.raises((ValueError, TypeError)):
            read_still(path, **wrong)


def test_a_picture_is_cropped_as_a_frame_is(tmp_path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 20:60] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_still(tmp_path / "a.png", 1, (20, 20), fit="crop") == 200).all()
    assert read_still(tmp_path / "a.png", 1, (20, 20)).min() == 0
