"""Folders of pictures, and what is read of every kind of file."""

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metajax.data import folder, picture
from metajax.data.resize import resized

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def save(path: Path, pixels: Any = None, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((4, 4), np.uint8) if pixels is None else pixels
    picture = Image.fromarray(np.asarray(pixels))
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.fixture
def colours(tmp_path):
    """Three classes of one colour each, in files of different kinds and sizes."""
    for name, colour in COLOURS.items():
        for i, suffix in enumerate(["png", "bmp", "PNG"]):
            pixels = np.broadcast_to(np.array(colour, np.uint8), (4 + i, 7, 3))
            save(tmp_path / name / f"{i}.{suffix}", pixels)
    return tmp_path


def test_classes_come_in_alphabetical_order_with_their_own_pictures(colours):
    (colours / ".hidden").mkdir()
    (colours / "readme.txt").write_text("about")
    (colours / "red" / "labels.csv").write_text("1,2")
    (colours / "red" / "._0.png").write_bytes(b"not a picture")
    found = folder.read(colours, size=4, channels=3)
    assert found.names == ["blue", "green", "red"]
    assert found.ink is None
    for name, own in zip(found.names, found.classes, strict=True):
        assert own.shape == (3, 4, 4, 3)
        assert own.dtype == np.uint8
        assert (own == np.array(COLOURS[name])).all()


def test_a_grey_is_the_luminance_of_the_colours(colours):
    found = folder.read(str(colours), size=2)
    # 0.299 red, 0.587 green, 0.114 blue.
    greys = dict(zip(found.names, (int(own[0, 0, 0, 0]) for own in found.classes), strict=True))
    assert greys == {"red": round(0.299 * 255), "green": round(0.587 * 255), "blue": 29}


@pytest.mark.parametrize("mode, suffix", [("1", "png"), ("L", "jpg"), ("P", "png"), ("P", "gif")])
def test_other_modes_are_read_as_what_they_show(mode, suffix, tmp_path):
    half = np.zeros((8, 8), np.uint8)
    half[:, 4:] = 255  # black on the left, white on the right
    for name in "ab":
        save(tmp_path / name / f"0.{suffix}", half, mode)
    for channels in (1, 3):
        pixels = folder.read(tmp_path, size=8, channels=channels).classes[0][0]
        assert pixels.shape == (8, 8, channels)
        assert np.abs(pixels.astype(int) - half[..., None]).max() <= 3  # jpg is lossy


def test_a_photograph_is_turned_as_its_camera_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, :4] = 255  # bright on the left, which becomes the top
    for name in "ab":
        save(tmp_path / name / "0.png", pixels, exif=exif)
    found = folder.read(tmp_path, size=8).classes[0][0, ..., 0]
    np.testing.assert_array_equal(found, pixels.T)


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[..., 1:3] = 0
    for name in "ab":
        save(tmp_path / name / "0.png", pixels)
    assert (folder.read(tmp_path, size=4, channels=3).classes[0] == [255, 0, 0]).all()
    pixels[0, 0, 3] = 254
    save(tmp_path / "b" / "1.png", pixels)
    with pytest.raises(ValueError, match=r"b/1\.png has transparent pixels, .* flatten it"):
        folder.read(tmp_path)


def test_the_centre_square_is_taken_and_reduced_by_means():
    # A checkerboard of pixels is grey at half the size; the red ends of a wide picture are cut off.
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    wide = np.concatenate([np.full((16, 4), 9, np.uint8), board, np.full((16, 4), 9, np.uint8)], 1)
    np.testing.assert_array_equal(resized(wide[None, ..., None], 16, 1)[0, ..., 0], board)
    small = resized(wide[None, ..., None], 8, 1)[0, 2:-2, 2:-2, 0]
    assert np.abs(small.astype(int) - 127).max() <= 3
    floats = resized((wide / 255).astype(np.float32)[None, ..., None], 8, 1)
    assert floats.dtype == np.float32
    assert np.abs(floats[0, 2:-2, 2:-2] - 0.5).max() < 0.01


def test_resizing_keeps_every_channel_to_itself():
    rng = np.random.default_rng(0)
    pictures = rng.integers(256, size=(2, 9, 9, 3), dtype=np.uint8)
    both = resized(pictures, 5, 3)
    for c in range(3):
        np.testing.assert_array_equal(both[..., c : c + 1], resized(pictures[..., c : c + 1], 5, 1))


def whole(tmp_path, broken=None):
    """Two classes of one picture; `broken` writes one more."""
    for name in "ab":
        save(tmp_path / name / "0.png")
    if broken is not None:
        broken(tmp_path / "b" / "1.png")
    return tmp_path


def png(path, side, bits, colour, content=None):
    """A png of this header, written by hand."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0))]
    chunks += [] if content is None else [chunk(b"IDAT", zlib.compress(content))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b""))


def bomb(path):
    """A png of a few bytes that claims 20,000 x 20,000 pixels."""
    png(path, 20_000, 8, 0)


def colours_of_16_bits(path):
    """4 x 4 pixels of three channels, 12 bits in 16, which Pillow reads as nearly black."""
    row = b"\0" + np.full(12, 4095, ">u2").tobytes()
    png(path, 4, 16, 2, 4 * row)


BROKEN = {
    r"b/1\.png cannot be decoded as a picture; remove or replace it": (
        lambda path: path.write_bytes(b"hello")
    ),
    r"b/1\.png cannot be decoded": lambda path: path.write_bytes(
        save(
            path, np.random.default_rng(0).integers(256, size=(40, 40), dtype=np.uint8)
        ).read_bytes()[:200]
    ),
    r"b/1\.png has more than 64,000,000 pixels; scale it down": bomb,
    r"b/1\.png has more than 8 bits per channel": lambda path: save(
        path, np.zeros((4, 4), np.uint16)
    ),
    r"1\.png has more than 8 bits per channel; save it with 8": colours_of_16_bits,
    r"b/1\.png is a CMYK picture; save it as RGB or grey": lambda path: save(
        path, mode="CMYK", format="jpeg"
    ),
    r"b/1\.png has 2 frames": lambda path: Image.new("L", (4, 4)).save(
        path, format="gif", save_all=True, append_images=[Image.new("L", (4, 4), 255)]
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_file_that_is_no_plain_picture_is_named(message, tmp_path):
    with pytest.raises(ValueError, match=message):
        folder.read(whole(tmp_path, BROKEN[message]))


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*elsewhere"):
        folder.read(tmp_path / "elsewhere")
    picture = save(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"0\.png is a file; give a folder with one folder per"):
        folder.read(picture)
    with pytest.raises(ValueError, match="holds 1 pictures and 0 class folders, but at least 2"):
        folder.read(tmp_path)
    save(tmp_path / "a" / "0.png")
    with pytest.raises(ValueError, match="and 1 class folders"):
        folder.read(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"the class folder .*/b holds no pictures. Remove it"):
        folder.read(tmp_path)
    save(tmp_path / "b" / "inner" / "0.png")
    with pytest.raises(ValueError, match=r"Its 1 folders look like classes: give .*/b itself"):
        folder.read(tmp_path)


def test_settings_without_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="folder: size=0 must be an integer of at least 1"):
        folder.read(whole(tmp_path), size=0)
    with pytest.raises(ValueError, match=r"folder: channels=4 must be 1 \(grey\) or 3"):
        folder.read(tmp_path, channels=4)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    whole(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)  # root, as in many containers, may read all
    with pytest.raises(PermissionError, match="may not be read by this user; change its perm"):
        folder.read(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_strips_of_a_picture_are_what_pillow_makes_of_the_whole(
    mode, orientation, tmp_path, monkeypatch
):
    monkeypatch.setattr(picture, "_STRIP", 20)  # two rows of nine pixels
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    drawn = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation  # a quarter turn
    drawn.save(tmp_path / "a.png", exif=exif)
    upright = drawn.transpose(Image.Transpose.ROTATE_270) if orientation else drawn
    whole = np.asarray(upright.convert("L" if mode in ("1", "L") else "RGB"))
    found = picture.decode(tmp_path / "a.png")
    np.testing.assert_array_equal(found, whole.reshape(*whole.shape[:2], -1))


@pytest.mark.parametrize("row", [0, 6])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_transparent_pixel_is_seen_in_every_strip(mode, row, tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "_STRIP", 20)
    alpha = np.full((7, 9), 255, np.uint8)
    alpha[row, 4] = 254
    drawn = Image.new(mode, (9, 7))
    drawn.putalpha(Image.fromarray(alpha))
    drawn.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has transparent pixels"):
        picture.decode(tmp_path / "a.png")


def test_colours_turn_grey_in_little_memory():
    pictures = np.random.default_rng(0).integers(0, 256, (1, 4000, 4000, 3), np.uint8)
    tracemalloc.start()
    found = resized(pictures, 4000, 1)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    part = slice(1200, 1600)  # of several parts
    expected = np.rint(pictures[:, part] @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(found[:, part, :, 0], expected)
    assert most < 2 * pictures.nbytes  # as float64 the picture alone would take eight times its own
