"""Bytes lost among the pixels: no second reading without metadata may make an image of the rest."""

from __future__ import annotations

import struct

import damaged_metadata as made
import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Note, Status

RANDOM = np.random.default_rng(11)
COARSE = Pillow.fromarray(RANDOM.integers(0, 256, (18, 24, 3), np.uint8))
IMAGE = COARSE.resize((133, 97), Pillow.Resampling.BICUBIC)
PIXELS = np.asarray(IMAGE)
LONG = b"words of some length, " * 60


def exif_of(length: int) -> bytes:
    tags = Pillow.Exif()
    tags[0x0112], tags[0x010E] = 1, "x" * length
    return tags.tobytes()


def chunks(webp: bytes) -> list[bytes]:
    """The chunks of a whole WebP, with their names, lengths and padding."""
    found, at = [], 12
    while at < len(webp):
        length = int.from_bytes(webp[at + 4 : at + 8], "little")
        found.append(webp[at : at + 8 + length + length % 2])
        at += len(found[-1])
    return found


def webp_of(parts: list[bytes]) -> bytes:
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def metadata_first(webp: bytes) -> bytes:
    first, *rest = chunks(webp)
    return webp_of([first, *sorted(rest, key=lambda part: part[:4] not in (b"EXIF", b"XMP "))])


PICTURES = {
    "lossy": {},
    "lossless": {"lossless": True},
    "animated": {"save_all": True, "append_images": [IMAGE.rotate(180)], "lossless": True},
}
METADATA = {
    "EXIF": {"exif": exif_of(600)},
    "XMP": {"xmp": LONG},
    "ICC": {"icc_profile": LONG},
    "all": {"exif": exif_of(3000), "xmp": LONG * 3, "icc_profile": LONG},
    "chunks in XMP": {"xmp": b"EXIF\xff\xff\0\0XMP \x10\0\0\0" * 90},
}
WEBPS = {
    (picture, metadata): made.saved(IMAGE, "WEBP", **PICTURES[picture], **METADATA[metadata])
    for picture in PICTURES
    for metadata in METADATA
}
WEBPS |= {(*name, "first"): metadata_first(data) for name, data in WEBPS.items()}


def without(data: bytes, start: int, length: int) -> bytes:
    return data[:start] + data[start + length :]


def passes_for_another(data: bytes, right: np.ndarray) -> bool:
    image = decode_bytes(data)
    return image.status is Status.OK and not np.array_equal(image.pixels, right)


@pytest.mark.parametrize("name", WEBPS, ids="-".join)
def test_webp_that_lost_bytes_among_its_pixels_is_no_other_image(name: tuple[str, ...]) -> None:
    data = WEBPS[name]
    right = decode_bytes(data)
    assert right.status is Status.OK, right.detail
    begin = next(data.index(part) for part in (b"VP8 ", b"VP8L") if part in data)
    end = begin + 8 + int.from_bytes(data[begin + 4 : begin + 8], "little")
    random = np.random.default_rng(len(data))
    for _ in range(8):
        start = int(random.integers(begin + 8, end - 1))
        length = int(min(2 ** random.uniform(0, 12), end - start))
        assert not passes_for_another(without(data, start, length), right.pixels), (start, length)


@pytest.mark.parametrize("name", ["EXIF", "XMP", "all"])
@pytest.mark.parametrize("picture", PICTURES)
def test_webp_cut_within_the_metadata_behind_its_pixels_is_whole(picture: str, name: str) -> None:
    data = WEBPS[picture, name]
    image = decode_bytes(data[:-100])
    assert (image.status, image.notes & Note.METADATA_IGNORED) == (
        Status.OK,
        Note.METADATA_IGNORED,
    ), image.detail
    assert np.array_equal(image.pixels, decode_bytes(data).pixels)


def test_webp_cut_within_a_chunk_of_another_name_is_corrupt() -> None:
    *kept, last = chunks(WEBPS["lossless", "EXIF"])
    assert last.startswith(b"EXIF")
    data = webp_of([*kept, b"ABCD" + last[4:]])
    assert decode_bytes(data).status is Status.OK
    assert decode_bytes(data[:-100]).status is Status.CORRUPT


def test_webp_whose_first_frame_lost_its_name_is_corrupt() -> None:
    """Decoders pass over unknown chunks, and would show the second frame."""
    data = WEBPS["animated", "EXIF"]
    at = data.index(b"ANMF")
    assert decode_bytes(data[:at] + b"ANMG" + data[at + 4 :]).status is Status.CORRUPT


# GIF


def gif(**options: object) -> bytes:
    second = IMAGE.rotate(180).quantize(32)
    return made.saved(
        IMAGE.quantize(32), "GIF", save_all=True, append_images=[second], loop=0, **options
    )


def test_gif_that_lost_bytes_ahead_of_its_image_is_no_other_image() -> None:
    data = gif(comment=LONG)
    right = decode_bytes(data)
    assert right.status is Status.OK
    image = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 133, 97))
    for start in range(11, image):
        for length in (1, 7, 60, image - start):
            assert not passes_for_another(without(data, start, length), right.pixels), start


@pytest.mark.parametrize("keeps_table", [True, False], ids=["the table stays", "without the table"])
def test_gif_without_colours_is_corrupt(keeps_table: bool) -> None:
    data = gif()
    colours = 3 << (data[10] & 7) + 1
    rest = data[13:] if keeps_table else data[13 + colours :]
    data = data[:10] + bytes([data[10] & 0x7F]) + data[11:13] + rest
    assert decode_bytes(data).status is Status.CORRUPT


def test_gif_whose_image_has_colours_of_its_own_needs_no_others() -> None:
    data = made.saved(IMAGE.quantize(32), "GIF", interlace=0)
    colours = 3 << (data[10] & 7) + 1
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 133, 97))
    table = data[13 : 13 + colours]
    own = data[:10] + bytes([data[10] & 0x7F]) + data[11:13] + data[13 + colours : at + 9]
    own += bytes([0x80 | (data[10] & 7)]) + table + data[at + 10 :]
    assert np.array_equal(decode_bytes(own).pixels, decode_bytes(data).pixels)


# AVIF, TIFF


def test_avif_that_lost_bytes_among_its_pixels_is_no_other_image() -> None:
    """EXIF is moved behind the pixels, as some writers have it."""
    pytest.importorskip("PIL._avif")
    data = made.saved(IMAGE, "AVIF", exif=exif_of(600))
    at = data.index(b"iloc") + 4 + 14  # the places of two items: the pixels, and EXIF ahead of them
    (colour, length), (exif, size) = (struct.unpack_from(">II", data, at + by) for by in (0, 14))
    assert exif + size == colour
    places = bytearray(data[:exif])
    struct.pack_into(">I", places, at, exif)
    struct.pack_into(">I", places, at + 14, exif + length)
    moved = bytes(places) + data[colour:] + data[exif:colour]
    right = decode_bytes(data)
    assert np.array_equal(decode_bytes(moved).pixels, right.pixels)
    random = np.random.default_rng(4)
    for _ in range(20):
        start = int(random.integers(exif, exif + length))
        lost = int(random.integers(1, min(630, exif + length - start + 1)))
        assert not passes_for_another(without(moved, start, lost), right.pixels), start


TEXT = b"a description behind the pixels, as some writers have it" * 9


def tiff_with_text_behind(pixels: np.ndarray) -> bytes:
    """A directory, then the pixels, then what a tag says."""
    height, width = pixels.shape
    at = 8 + 2 + 10 * 12 + 4
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 1), (270, 2, len(TEXT), at + pixels.size), (273, 4, 1, at)]
    entries += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, pixels.size)]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)
    return head + pixels.tobytes() + TEXT


def test_tiff_that_lost_bytes_among_its_pixels_is_no_other_image() -> None:
    """The text behind them is short of as many, and the last row ends in its words."""
    data = tiff_with_text_behind(PIXELS[..., 0])
    right = decode_bytes(data)
    assert right.status is Status.OK
    assert np.array_equal(right.pixels[..., 0], PIXELS[..., 0])
    for length in (1, 4, 100, len(TEXT) - 1):
        assert not passes_for_another(without(data, 3000, length), right.pixels), length
