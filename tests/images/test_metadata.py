"""Damaged metadata never cost an image whose pixels are whole; damaged pixels stay damage."""

from __future__ import annotations

import hashlib
import struct
import zlib

import damaged_metadata as made
import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images.decode import Image, decode_bytes
from deepfeat.status import Note, Status

RGB = made.pixels(np.random.default_rng(3))
PICTURE = Pillow.fromarray(RGB)
PNG = made.saved(PICTURE, "PNG")
JPEG = made.saved(PICTURE, "JPEG", quality=90)


def check(seed: int) -> None:
    maker = made.MAKERS[seed % len(made.MAKERS)]
    whole, damaged, shows = maker(np.random.default_rng(seed))
    right, image = decode_bytes(whole), decode_bytes(damaged)
    told = f"{maker.__name__}, seed {seed}: {image.status.name}, {image.notes!r}, {image.detail}"
    assert right.status is image.status is Status.OK, told
    assert np.array_equal(image.pixels, right.pixels), told
    assert Note.ORIENTED & image.notes == Note.ORIENTED & right.notes, told
    assert image.sha256 == hashlib.sha256(damaged).digest(), told
    assert image.size_bytes == len(damaged), told
    if shows:
        assert Note.METADATA_IGNORED in image.notes, told


def test_damaged_metadata_cost_no_image() -> None:
    for seed in range(66):
        check(seed)


@pytest.mark.stress
def test_no_damaged_metadata_of_many_cost_an_image() -> None:
    for seed in range(2000):
        check(seed)


def ignored(data: bytes) -> Image:
    image = decode_bytes(data)
    assert (image.status, image.notes & Note.METADATA_IGNORED) == (
        Status.OK,
        Note.METADATA_IGNORED,
    ), image.detail
    return image


@pytest.mark.parametrize("name", sorted(made.PNG_CHUNKS), ids=lambda name: name.decode())
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_wrong_checksum_of_any_ancillary_chunk_is_ignored(name: bytes, behind: bool) -> None:
    bad = made.chunk(name, made.PNG_CHUNKS[name], 1)
    image = ignored(made.png_with(PNG, bad, behind))
    assert np.array_equal(image.pixels, RGB)
    assert name.decode() in image.detail


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_text_of_80_megabytes_is_ignored(behind: bool) -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(80_000_000), 1)
    image = ignored(made.png_with(PNG, made.chunk(b"zTXt", text), behind))
    assert np.array_equal(image.pixels, RGB)


def test_text_cut_behind_the_pixels_is_ignored() -> None:
    data = made.png_with(PNG, made.chunk(b"tEXt", b"Comment\0" + b"text" * 9), True)
    assert np.array_equal(ignored(data[:-30]).pixels, RGB)


def test_text_named_like_a_property_of_the_pixels_is_ignored() -> None:
    for word in (b"transparency", b"interlace", b"bbox", b"default_image"):
        for behind in (False, True):
            bad = made.chunk(b"tEXt", word + b"\x001")
            assert np.array_equal(ignored(made.png_with(PNG, bad, behind)).pixels, RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_whole_orientation_counts_beside_damaged_metadata(kind: str) -> None:
    options = {"PNG": {}, "JPEG": {"quality": 90}, "TIFF": {}, "WEBP": {"lossless": True}}[kind]
    if kind == "TIFF":
        options = {"tiffinfo": {274: 6, 305: "a program"}}
    else:
        options = {**options, "exif": made.exif(6)}
    data = made.saved(PICTURE, kind, **options)
    if kind == "PNG":
        data = made.png_with(data, made.chunk(b"iCCP", b"no profile"), False)
    elif kind == "JPEG":
        at = data.index(b"\xff\xdb")
        data = data[:at] + made.segment(0xED, made.PHOTOSHOP[:-9]) + data[at:]
    elif kind == "WEBP":
        data += b"ICCP\xff\xff\0\0"
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    else:
        place = data.index(struct.pack("<HH", 305, 2))
        data = data[: place + 8] + struct.pack("<I", len(data)) + data[place + 12 :]
    image = ignored(data)
    assert Note.ORIENTED in image.notes
    assert image.pixels.shape == np.rot90(RGB, -1).shape
    assert np.abs(image.pixels.astype(int) - np.rot90(RGB, -1)).mean() < 4


def test_damage_that_only_the_decoder_sees_is_ignored_and_orientation_counts() -> None:
    """Resources may go on in a second segment, so alone neither of the two can be called cut."""
    data = made.saved(PICTURE, "JPEG", quality=90, exif=made.exif(6))
    at = data.index(b"\xff\xdb")
    more = made.segment(0xED, made.PHOTOSHOP)
    more += made.segment(0xED, made.PHOTOSHOP + b"8BIM\x04\x04")
    image = ignored(data[:at] + more + data[at:])
    assert np.array_equal(image.pixels, decode_bytes(data).pixels)
    assert Note.ORIENTED in image.notes


def exif_with(tags: list[tuple[int, int, int, int]]) -> bytes:
    """EXIF with the high byte first: tag, type, number of values, value or place."""
    entries = b"".join(
        struct.pack(">HHIHH" if kind == 3 else ">HHII", tag, kind, count, value, *[0] * (kind == 3))
        for tag, kind, count, value in tags
    )
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + entries + bytes(4)


TURNED = (0x0112, 3, 1, 6)
DAMAGED_EXIF = {
    "cut behind its directory": made.exif(6)[:-30],
    "cut within its last tag": made.exif(6)[:-6],
    "an earlier tag lies outside": exif_with([(0x010E, 2, 600, 5000), TURNED]),
    "an earlier tag of no known type": exif_with([(0x010E, 99, 1, 0), TURNED]),
    "a later tag lies outside": exif_with([TURNED, (0x011A, 5, 1, 1 << 31)]),
    "a camera's own directory lies outside": exif_with([TURNED, (0x8769, 4, 1, 1 << 20)]),
    "more tags stated than there are": exif_with([TURNED]).replace(b"\0\x08\0\1", b"\0\x08\0\x63"),
}


@pytest.mark.parametrize("name", DAMAGED_EXIF)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_orientation_counts_beside_other_damage_of_its_exif(kind: str, name: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = made.saved(PICTURE, kind, exif=DAMAGED_EXIF[name], **options)
    image = decode_bytes(data)
    assert image.status is Status.OK, image.detail
    assert Note.ORIENTED in image.notes
    upright = decode_bytes(made.saved(PICTURE, kind, **options)).pixels
    assert np.array_equal(image.pixels, np.rot90(upright, -1))


def test_damaged_tag_does_not_hide_the_layout_behind_it() -> None:
    """Tag 282 lies outside; 284, which says that channels lie one behind the other, must count."""
    planes = RGB.transpose(2, 0, 1).tobytes()
    height, width = RGB.shape[:2]
    plane = height * width
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 2), (273, 4, 3, 8), (277, 3, 1, 3), (278, 4, 1, height)]
    entries += [(279, 4, 3, 20), (282, 5, 1, 1 << 30), (284, 3, 1, 2)]
    head = 32
    arrays = struct.pack("<6I", *(head + plane * i for i in range(3)), *[plane] * 3)
    place = head + len(planes)
    data = b"II*\0" + struct.pack("<I", place) + arrays + planes
    data += struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    assert np.array_equal(ignored(data).pixels, RGB)


def with_length(data: bytes, marker: bytes, length: int) -> bytes:
    at = data.index(marker) + 2
    return data[:at] + struct.pack(">H", length) + data[at + 2 :]


@pytest.mark.parametrize("less", [1, 5, 20, 38, 40])
def test_segment_that_states_less_than_it_has_is_ignored(less: int) -> None:
    at = JPEG.index(b"\xff\xdb")
    data = JPEG[:at] + made.segment(0xFE, b"a comment of forty letters, no more nor ") + JPEG[at:]
    image = ignored(with_length(data, b"\xff\xfe", 42 - less))
    assert np.array_equal(image.pixels, decode_bytes(JPEG).pixels)


def test_preview_never_passes_for_the_image() -> None:
    """A segment that states less than it has lets a decoder fall into the preview within.

    It may end ahead of the preview's start, within it, right behind it, or anywhere later.
    """
    preview = made.saved(PICTURE.resize((5, 4)), "JPEG")
    data = JPEG[:2] + made.segment(0xE1, b"Exif\0\0MM\0*" + bytes(30) + preview) + JPEG[2:]
    begin = data.index(preview) - 4  # of the length that ends where the preview begins
    for length in [*range(begin, begin + 20), begin + 40]:
        assert decode_bytes(with_length(data, b"\xff\xe1", length)).status is Status.CORRUPT


def garbage_for_exif() -> bytes:
    data = made.saved(PICTURE, "AVIF", exif=made.exif())
    at = data.index(b"MM\0*") if b"MM\0*" in data else data.index(b"II*\0")
    return data[:at] + b"garbage " + data[at + 8 :]


def test_garbage_for_exif_in_avif_is_ignored() -> None:
    pytest.importorskip("PIL._avif")
    right = decode_bytes(made.saved(PICTURE, "AVIF", exif=made.exif()))
    assert np.array_equal(ignored(garbage_for_exif()).pixels, right.pixels)


def inks_with_adobe_of(length: int) -> bytes:
    data = made.saved(PICTURE.convert("CMYK"), "JPEG")
    at = data.index(b"\xff\xee")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + made.segment(0xEE, data[at + 4 : at + 4 + length]) + data[end:]


def colours_with_short_adobe() -> bytes:
    """Without JFIF's marker Adobe's alone tells RGB from YCbCr."""
    data = made.saved(PICTURE, "JPEG", keep_rgb=True)
    at = data.index(b"\xff\xee")
    return data[:at] + made.segment(0xEE, b"Adobe\0d") + data[at + 16 :]


def with_chunk(name: bytes, contents: bytes, crc: int | None = None) -> bytes:
    return made.png_with(PNG, made.chunk(name, contents, crc), False)


def bent(data: bytes, name: bytes, by: int) -> bytes:
    at = data.index(name) + by
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


KEY = bytes(6)
PALETTE = made.saved(PICTURE.quantize(16), "PNG")


@pytest.mark.parametrize(
    "data",
    [
        inks_with_adobe_of(5),
        inks_with_adobe_of(11),
        colours_with_short_adobe(),
        with_chunk(b"tRNS", KEY, 1),
        with_chunk(b"tRNS", KEY[:3]),
        with_chunk(b"tRNS", KEY).replace(b"tRNS", b"tRNs"),
        made.png_with(with_chunk(b"tRNS", KEY), made.chunk(b"tRNS", b"\xff" * 6), False),
        bent(PNG, b"IHDR", 6),
        bent(PALETTE, b"PLTE", 6),
        PALETTE.replace(b"PLTE", b"pLTE"),
        PNG.replace(b"IDAT", b"iDAT"),
        bent(PNG, b"IDAT", 12),
    ],
    ids=[
        "Adobe's name alone, inks",
        "Adobe's marker cut, inks",
        "Adobe's marker cut, RGB",
        "checksum of tRNS",
        "tRNS cut",
        "name of tRNS",
        "two tRNS",
        "IHDR",
        "PLTE",
        "name of PLTE",
        "name of IDAT",
        "IDAT",
    ],
)
def test_damage_to_what_pixels_depend_on_stays_damage(data: bytes) -> None:
    assert decode_bytes(data).status is Status.CORRUPT


def test_adobe_of_whole_length_keeps_its_word() -> None:
    right = decode_bytes(made.saved(PICTURE.convert("CMYK"), "JPEG")).pixels
    assert np.array_equal(decode_bytes(inks_with_adobe_of(12)).pixels, right)


def test_undamaged_metadata_are_left_where_they_are() -> None:
    """Nothing is noted of a file that is whole, whatever it carries."""
    more = b"".join(made.chunk(name, data) for name, data in made.PNG_CHUNKS.items())
    image = decode_bytes(made.png_with(PNG, more, False))
    assert (image.status, image.notes) == (Status.OK, Note.ICC_IGNORED)
