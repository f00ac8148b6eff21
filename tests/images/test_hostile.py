"""Bytes made to keep a reader busy: everything before a decoder is linear in them, and bounded."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images.decode import decode_bytes
from deepfeat.images.endings import end_of
from deepfeat.images.readings import PixelsLost, readings
from deepfeat.images.signatures import HEAD_BYTES, SIGNATURES, Kind, recognise
from deepfeat.images.variants import unsupported_variant
from deepfeat.status import Note, Status

PICTURE = Pillow.fromarray(
    np.arange(16 * 12 * 3, dtype=np.uint16).astype(np.uint8).reshape(12, 16, 3)
)
AT_ONCE = 0.05  # seconds


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture = PICTURE.quantize(16) if kind == "GIF" else PICTURE
    picture.save(file, kind, **options)
    return file.getvalue()


def is_within(bound: float, function, *arguments: object) -> bool:
    """Whether one of three calls takes less processor time: other programs run beside this one."""
    for _ in range(3):
        start = time.process_time()
        function(*arguments)
        if time.process_time() - start < bound:
            return True
    return False


PIECES = [b"<!---->", b"<!--", b"-->", b"<!DOCTYPE svg", b"<!DOCTYPE svg>", b"<?xml", b"<?xml?>"]
PIECES += [b" ", b"\n", b">", b"-", b"<", b"<svg", b"<svgx", b"<html", b"<head", b"\xef\xbb\xbf"]
PIECES += [b"<!-- a -->", b"x", b"P1", b"P6\n#", b"avif", b"mif1", b"\0\0\0\x18ftypmif1", b"\xff"]


def test_head_of_one_piece_again_and_again_is_recognised_at_once() -> None:
    for piece in PIECES:
        for first in (b"", b"<?xml", b"<!DOCTYPE svg", b"P3", b"\0\0\0\x18ftypmif1"):
            head = (first + piece * HEAD_BYTES)[: HEAD_BYTES + 88]
            assert is_within(AT_ONCE, recognise, head), head[:40]


def test_head_of_any_pieces_is_recognised_at_once() -> None:
    random = np.random.default_rng(5)
    for _ in range(1500):
        few = random.choice(len(PIECES), random.integers(1, 5))
        head = b"".join(PIECES[i] for i in random.choice(few, HEAD_BYTES))[:600]
        assert is_within(AT_ONCE, recognise, head), head[:40]


@pytest.mark.stress
def test_head_of_many_pieces_is_recognised_at_once() -> None:
    random = np.random.default_rng(6)
    for _ in range(60_000):
        few = random.choice(len(PIECES), random.integers(1, 7))
        head = b"".join(PIECES[i] for i in random.choice(few, HEAD_BYTES))[:600]
        assert is_within(AT_ONCE, recognise, head), head[:40]


def test_no_pattern_needs_more_for_longer_heads() -> None:
    """Each alone, far beyond the bytes that it is ever given: what grows by squares shows here."""
    for piece in PIECES:
        for row in SIGNATURES:
            assert is_within(1, row.pattern.match, piece * 20_000), (row.name, piece)


@pytest.mark.parametrize(
    "head",
    [
        b"<svg>",
        b" \n<svg width='1'/>",
        b"<!-- made - by -- hand --><svg/>",
        b"<!--a--> <!----> <svg>",
        b"<?xml version='1.0'?>\n<!-- a --><svg>",
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "a">\n<svg>',
        b"<!DOCTYPE svg [<!ENTITY a 'b'>]><!-- a --><svg>",
        b"<!-- a --><!DOCTYPE svg><svg>",
    ],
)
def test_drawing_is_recognised(head: bytes) -> None:
    assert recognise(head + b"..</svg>") == ("SVG", Kind.NOT_AN_IMAGE)


@pytest.mark.parametrize(
    "head, name",
    [
        (b"<!-- <svg> -->", "text"),
        (b"<!-- <svg>", "text"),
        (b"<svgs>", "text"),
        (b"x <svg>", "text"),
        (b"<?xml version='1.0'?><html/>", "XML"),
        (b"<html><svg/></html>", "HTML"),
    ],
)
def test_what_is_no_drawing_is_not_called_one(head: bytes, name: str) -> None:
    assert recognise(head) == (name, Kind.NOT_AN_IMAGE)


SIZE = 1 << 15
JPEG, PNG, GIF, TIFF, WEBP = (saved(kind) for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(unit: bytes) -> bytes:
    return JPEG[:2] + unit * (SIZE // len(unit)) + JPEG[2:]


def jpeg_in_scan(unit: bytes) -> bytes:
    return JPEG[:-2] + unit * (SIZE // len(unit)) + JPEG[-2:]


def png(unit: bytes) -> bytes:
    return PNG[:33] + unit * (SIZE // len(unit)) + PNG[33:]


def gif(before: bytes, behind: bytes) -> bytes:
    at = 13 + (3 << (GIF[10] & 7) + 1)
    return GIF[:at] + before + GIF[at:-1] + behind + b";"


def tiff(more: list[tuple[int, int, int, int]], onwards: int = 0) -> bytes:
    (at,) = struct.unpack_from("<I", TIFF, 4)
    (count,) = struct.unpack_from("<H", TIFF, at)
    entries = TIFF[at + 2 : at + 2 + 12 * count]
    entries += b"".join(struct.pack("<HHII", *entry) for entry in more)
    head = TIFF[:4] + struct.pack("<I", len(TIFF)) + TIFF[8:]
    return head + struct.pack("<H", count + len(more)) + entries + struct.pack("<I", onwards)


def riff(unit: bytes) -> bytes:
    data = WEBP + unit * (SIZE // len(unit))
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def mpf(count: int) -> bytes:
    entries = struct.pack(">HHII", 0xB001, 4, 1, count)
    entries += struct.pack(">HHII", 0xB002, 7, 60_000, 8)
    return segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\2" + entries + bytes(60_100))


FRAME = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
BOMB = zlib.compress(bytes(10_000_000))
HOSTILE = {
    "JPEG, empty comments": jpeg(b"\xff\xfe\0\2"),
    "JPEG, empty APP13": jpeg(b"\xff\xed\0\2"),
    "JPEG, comments shorter than their length": jpeg(b"\xff\xfe\0\0"),
    "JPEG, fill bytes": jpeg(b"\xff"),
    "JPEG, parts of a profile": jpeg(segment(0xE2, b"ICC_PROFILE\0\1\1x")),
    "JPEG, resources": jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\1\1" * 5000)),
    "JPEG, a count of images": jpeg(mpf(0xFFFFFFFF)),
    "JPEG, FF in the scan": JPEG[:-2] + b"\xff" * (1 << 17) + b"\0" + JPEG[-2:],
    "JPEG, restarts": jpeg_in_scan(b"\xff\xd0\xff\xd1"),
    "JPEG, scans": jpeg_in_scan(JPEG[JPEG.index(b"\xff\xda") :][:14] + b"\0"),
    "PNG, empty chunks": png(chunk(b"prVt", b"")),
    "PNG, empty IDAT": png(chunk(b"IDAT", b"")),
    "PNG, texts": png(chunk(b"tEXt", b"a\0b")),
    "PNG, packed texts that inflate": png(chunk(b"zTXt", b"a\0\0" + BOMB)),
    "PNG, profiles that inflate": png(chunk(b"iCCP", b"a\0\0" + BOMB)),
    "PNG, international texts that inflate": png(chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB)),
    "GIF, comments": gif(b"!\xfe\1a\0" * (SIZE // 5), b""),
    "GIF, blocks of a byte": gif(b"!\xff" + b"\1a" * (SIZE // 2) + b"\0", b""),
    "GIF, frames": gif(b"", FRAME * 500_000),
    "GIF, comments behind the image": gif(b"", b"!\xfe\1a\0" * (SIZE // 5)),
    "TIFF, a directory that follows itself": tiff([], len(TIFF)),
    "TIFF, 10,000 tags": tiff([(40_000, 2, 5, 8)] * 10_000),
    "TIFF, tags that share their bytes": tiff([(n, 7, 2000, 8) for n in range(40_000, 45_000)]),
    "TIFF, a count of values": tiff([(40_000, 5, 0xFFFFFFFF, 8)]),
    "TIFF, EXIF that is the file's own directory": tiff([(34_665, 4, 1, len(TIFF))]),
    "WEBP, empty chunks": riff(b"abcd\0\0\0\0"),
    "WEBP, empty EXIF": riff(b"EXIF\0\0\0\0"),
}


def looked_through(data: bytes) -> None:
    """What happens to the bytes besides decoding them."""
    name, kind = recognise(data)
    assert kind is Kind.DECODED
    try:
        for _ in readings(name, data):
            pass
    except PixelsLost:
        pass
    end_of(name, data)
    unsupported_variant(name, data)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_looked_through_in_little_time_and_memory(name: str) -> None:
    data = HOSTILE[name]
    assert is_within(1, looked_through, data)
    tracemalloc.start()
    try:
        looked_through(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + (8 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_an_image_or_a_hole_in_little_time(name: str) -> None:
    start = time.process_time()
    image = decode_bytes(HOSTILE[name])
    assert time.process_time() - start < 3
    assert image.status in (Status.OK, Status.CORRUPT)
    assert (image.pixels is None) == (image.status is not Status.OK)


def test_animation_of_half_a_million_frames_is_noted_at_once() -> None:
    data = HOSTILE["GIF, frames"]
    assert is_within(0.5, decode_bytes, data)
    assert Note.FIRST_OF_SEVERAL_FRAMES in decode_bytes(data).notes


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_small_file_of_many_pixels_is_too_large(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", BOMB)
    assert decode_bytes(data + chunk(b"IEND", b"")).status is Status.TOO_LARGE
