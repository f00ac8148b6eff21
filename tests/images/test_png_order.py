"""Order, number and presence of the chunks that a PNG's pixels are made of, as in its standard."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import damaged_metadata as made
import numpy as np
import pytest
from oracles.strict_decoders import is_there, judge
from PIL import Image as Pillow

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Note, Status

INDICES = np.random.default_rng(8).integers(0, 16, (9, 11), np.uint8)
COLOURS = bytes(range(200, 248))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def header(kind: int = 3, methods: bytes = b"\0\0\0") -> bytes:
    return made.chunk(b"IHDR", struct.pack(">IIBB", 11, 9, 8, kind) + methods)


def rows(samples: np.ndarray = INDICES) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples))


IHDR, PLTE, TRNS = header(), made.chunk(b"PLTE", COLOURS), made.chunk(b"tRNS", b"\0\x80")
IDAT, TEXT, IEND = (
    made.chunk(b"IDAT", rows()),
    made.chunk(b"tEXt", b"a\0b"),
    made.chunk(b"IEND", b""),
)
HALVES = [made.chunk(b"IDAT", part) for part in (rows()[:30], rows()[30:])]
GREY = [header(0), IDAT, IEND]


def key(length: int) -> bytes:
    return made.chunk(b"tRNS", bytes(length))


RIGHT = {
    "palette": [IHDR, PLTE, IDAT, IEND],
    "transparent palette": [IHDR, TEXT, PLTE, TEXT, TRNS, TEXT, IDAT, TEXT, IEND],
    "two pieces": [IHDR, PLTE, *HALVES, IEND],
    "grey": GREY,
    "transparent grey": [header(0), key(2), IDAT, IEND],
    "palette that is only suggested": [
        header(2), PLTE, made.chunk(b"IDAT", rows(np.repeat(INDICES, 3, 1))), IEND,
    ],
    "private chunk that is not needed": [IHDR, PLTE, made.chunk(b"prVt", b"x"), IDAT, IEND],
}  # fmt: skip
WRONG = {
    "palette lost": [IHDR, IDAT, IEND],
    "palette behind the pixels": [IHDR, IDAT, PLTE, IEND],
    "palette twice": [IHDR, PLTE, made.chunk(b"PLTE", bytes(48)), IDAT, IEND],
    "palette again behind the pixels": [IHDR, PLTE, IDAT, PLTE, IEND],
    "palette under another name": [IHDR, made.chunk(b"PLTD", COLOURS), IDAT, IEND],
    "palette under a name that is not needed": [IHDR, made.chunk(b"pLTE", COLOURS), IDAT, IEND],
    "palette of 47 bytes": [IHDR, made.chunk(b"PLTE", COLOURS[:-1]), IDAT, IEND],
    "palette of no colours": [IHDR, made.chunk(b"PLTE", b""), IDAT, IEND],
    "transparency ahead of the palette": [IHDR, TRNS, PLTE, IDAT, IEND],
    "transparency behind the pixels": [IHDR, PLTE, IDAT, TRNS, IEND],
    "transparency longer than any palette": [IHDR, PLTE, key(257), IDAT, IEND],
    "transparency of no length": [IHDR, PLTE, key(0), IDAT, IEND],
    "transparency of a colour for a grey": [header(0), key(6), IDAT, IEND],
    "transparency of half a grey": [header(0), key(1), IDAT, IEND],
    "transparency beside alpha": [
        header(4), key(2), made.chunk(b"IDAT", rows(np.repeat(INDICES, 2, 1))), IEND,
    ],
    "text ahead of the header": [TEXT, *GREY],
    "header twice": [IHDR, PLTE, IHDR, IDAT, IEND],
    "another header behind it": [IHDR, PLTE, header(0), IDAT, IEND],
    "header of 14 bytes": [made.chunk(b"IHDR", header()[8:21] + b"\0"), PLTE, IDAT, IEND],
    "unknown method of compression": [header(3, b"\1\0\0"), PLTE, IDAT, IEND],
    "unknown method of filters": [header(3, b"\0\1\0"), PLTE, IDAT, IEND],
    "unknown interlace": [header(3, b"\0\0\2"), PLTE, IDAT, IEND],
    "unknown chunk that is needed": [IHDR, PLTE, made.chunk(b"NEED", b"x"), IDAT, IEND],
    "unknown chunk that is needed, behind": [IHDR, PLTE, IDAT, made.chunk(b"NEED", b"x"), IEND],
    "text between two pieces": [IHDR, PLTE, HALVES[0], TEXT, HALVES[1], IEND],
    "damaged text between two pieces": [
        IHDR, PLTE, HALVES[0], made.chunk(b"tEXt", b"a\0b", 1), HALVES[1], IEND,
    ],
    "no pixels": [IHDR, PLTE, IEND],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_chunks_in_their_order_are_an_image(name: str, tmp_path: Path) -> None:
    data = SIGNATURE + b"".join(RIGHT[name])
    image = decode_bytes(data)
    assert image.status is Status.OK, image.detail
    assert Note.METADATA_IGNORED not in image.notes
    if is_there("png"):
        assert judge(data, "png", tmp_path).is_clean


@pytest.mark.parametrize("name", WRONG)
def test_chunks_out_of_their_order_are_corrupt(name: str) -> None:
    image = decode_bytes(SIGNATURE + b"".join(WRONG[name]))
    assert (image.status, image.pixels) == (Status.CORRUPT, None), image.notes


@pytest.mark.parametrize(
    "end",
    [made.chunk(b"IEND", b"", 1), made.chunk(b"IEND", b"text"), IEND[:-2], b""],
    ids=["checksum", "length", "cut", "lost"],
)
def test_damaged_end_costs_no_image(end: bytes) -> None:
    image = decode_bytes(SIGNATURE + IHDR + PLTE + IDAT + end)
    assert image.status is Status.OK, image.detail
    assert Note.METADATA_IGNORED in image.notes
    right = np.asarray(Pillow.fromarray(INDICES)) * 3 + 200
    assert np.array_equal(image.pixels[..., 0], right)
