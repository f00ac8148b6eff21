"""Transparent greys, colours and palette entries of PNG, and a BMP's fourth byte, by hand."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images.decode import decode_bytes, from_pil
from deepfeat.status import Note, Status

RANDOM = np.random.default_rng(20)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: np.ndarray, depth: int, colour: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of (H, W) or (H, W, C) samples; ``more`` are chunks ahead of the pixels."""
    height, width = samples.shape[:2]
    flat = samples.reshape(height, -1)
    if depth < 8:
        bits = (flat[..., None] >> np.arange(depth)[::-1]) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    else:
        rows = flat.astype(f">u{depth // 8}").view(np.uint8).reshape(height, -1)
    packed = zlib.compress(np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes())
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize("beyond", [False, True], ids=["in range", "high bits set"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_is_the_background(depth: int, beyond: bool) -> None:
    """Only the low bits of the key count (PNG, third edition, 11.3.1.1)."""
    most = (1 << depth) - 1
    samples = RANDOM.integers(0, most + 1, (7, 13))
    for key in {0, 1, most // 3, most, int(samples[2, 5])}:
        stated = key + (most + 1 if beyond and depth < 16 else 0)
        image = decode_bytes(png(samples, depth, 0, (b"tRNS", struct.pack(">H", stated))))
        grey = np.floor(samples * 255 / most + 0.5)
        right = np.where(samples == key, 255, grey)
        assert np.array_equal(image.pixels, np.repeat(right[..., None], 3, 2)), key
        assert Note.ALPHA_COMPOSED in image.notes


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_image_opened_by_pillow_has_the_transparent_grey_of_its_file(depth: int) -> None:
    samples = RANDOM.integers(0, 1 << depth, (7, 13))
    data = png(samples, depth, 0, (b"tRNS", struct.pack(">H", int(samples[2, 5]))))
    opened = from_pil(Pillow.open(io.BytesIO(data)))
    assert np.array_equal(opened.pixels, decode_bytes(data).pixels)
    assert (opened.pixels[2, 5] == 255).all()


def test_transparent_grey_takes_the_background_given() -> None:
    samples = np.array([[0, 1, 2, 3]])
    data = png(samples, 2, 0, (b"tRNS", b"\0\1"))
    image = decode_bytes(data, background=(10, 20, 30))
    assert image.pixels.tolist() == [[[0] * 3, [10, 20, 30], [170] * 3, [255] * 3]]


@pytest.mark.parametrize("high", [0, 0x0100, 0xFF00])
def test_transparent_colour_of_8_bit_is_the_background(high: int) -> None:
    samples = RANDOM.integers(0, 3, (6, 9, 3))
    key = samples[1, 2]
    data = png(samples, 8, 2, (b"tRNS", struct.pack(">3H", *(int(v) + high for v in key))))
    right = np.where((samples == key).all(2, keepdims=True), 255, samples)
    assert np.array_equal(decode_bytes(data).pixels, right)


def test_transparent_colour_of_16_bit_is_unsupported() -> None:
    samples = RANDOM.integers(0, 65536, (6, 9, 3))
    data = png(samples, 16, 2, (b"tRNS", bytes(6)))
    assert decode_bytes(data).status is Status.UNSUPPORTED


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "alphas",
    [[0], [255, 0], [0, 10], [7, 200, 10], [255, 128, 0, 77, 10, 13], [255], [0] * 200],
    ids=str,
)
def test_alpha_of_a_palette_may_be_shorter_or_longer(depth: int, alphas: list[int]) -> None:
    entries = min(1 << depth, 16)
    samples = RANDOM.integers(0, entries, (5, 11))
    colours = RANDOM.integers(0, 256, (entries, 3))
    plte = (b"PLTE", colours.astype(np.uint8).tobytes())
    alpha = np.full(256, 255)
    alpha[: len(alphas)] = alphas
    image = decode_bytes(png(samples, depth, 3, plte, (b"tRNS", bytes(alphas))))
    a = alpha[samples][..., None] / 255
    right = np.floor(colours[samples] * a + 255 * (1 - a) + 0.5)
    assert np.array_equal(image.pixels, right)


def bmp(rgba: np.ndarray, header: int, masks: tuple[int, int, int, int]) -> bytes:
    """A 32-bit BMP with masks, rows from top to bottom, bytes in the order B, G, R, A."""
    height, width = rgba.shape[:2]
    information = struct.pack("<IiiHHIIiiII", header, width, -height, 1, 32, 3, 0, 0, 0, 0, 0)
    information += struct.pack("<4I", *masks)
    information += bytes(header - len(information))
    pixels = rgba[..., [2, 1, 0, 3]].astype(np.uint8).tobytes()
    begin = 14 + len(information)
    return struct.pack("<2sIHHI", b"BM", begin + len(pixels), 0, 0, begin) + information + pixels


USUAL = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
RGBA = RANDOM.integers(0, 256, (5, 7, 4))


@pytest.mark.parametrize("masks", [USUAL, (0, 0, 0, 0)], ids=["masks", "masks of 0"])
@pytest.mark.parametrize("header", [56, 108, 124], ids=["V3", "V4", "V5"])
def test_alpha_of_a_bmp_that_is_0_throughout_is_none(header: int, masks) -> None:
    clear = RGBA * [1, 1, 1, 0]
    data = bmp(clear, header, masks)
    for image in (decode_bytes(data), from_pil(Pillow.open(io.BytesIO(data)))):
        assert np.array_equal(image.pixels, clear[..., :3])
        assert Note.ALPHA_COMPOSED not in image.notes


@pytest.mark.parametrize("header", [56, 108, 124], ids=["V3", "V4", "V5"])
def test_alpha_of_a_bmp_counts_where_one_pixel_has_some(header: int) -> None:
    rgba = RGBA * [1, 1, 1, 0]
    rgba[2, 3, 3] = 255
    right = np.full((5, 7, 3), 255)
    right[2, 3] = rgba[2, 3, :3]
    image = decode_bytes(bmp(rgba, header, USUAL))
    assert np.array_equal(image.pixels, right)
    assert Note.ALPHA_COMPOSED in image.notes


def test_png_that_is_clear_throughout_is_the_background() -> None:
    """In a PNG alpha is never a byte left empty: nothing is to be seen, and a viewer shows that."""
    image = decode_bytes(png(RGBA * [1, 1, 1, 0], 8, 6))
    assert (image.status, image.notes) == (Status.OK, Note.ALPHA_COMPOSED)
    assert (image.pixels == 255).all()
