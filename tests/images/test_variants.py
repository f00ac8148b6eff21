"""Whole images in variants that are not decoded: named by their contents, never called damaged."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Status

RGB = (np.indices((24, 32)).sum(0)[..., None] * [3, 2, 1] % 256).astype(np.uint8)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(RGB).save(file, kind, **options)
    return file.getvalue()


JPEG = saved("JPEG", quality=90)
FRAME = JPEG.index(b"\xff\xc0")


def jpeg_with(place: int, value: bytes) -> bytes:
    """The JPEG with bytes of its frame header replaced, counted from the marker."""
    return JPEG[: FRAME + place] + value + JPEG[FRAME + place + len(value) :]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_ls() -> bytes:
    """A JPEG-LS of one component by hand: frame, scan, some bytes (ITU-T T.87, annex C)."""
    frame = struct.pack(">BHHBBBB", 8, 24, 32, 1, 1, 0x11, 0)
    scan = bytes([1, 1, 0, 0, 0, 0])
    data = bytes(range(1, 120))
    return b"\xff\xd8" + segment(0xF7, frame) + segment(0xDA, scan) + data + b"\xff\xd9"


JPEGS = {
    "lossless": jpeg_with(1, b"\xc3"),
    "hierarchical": jpeg_with(1, b"\xc5"),
    "hierarchical, progressive": jpeg_with(1, b"\xc6"),
    "hierarchical ": jpeg_with(1, b"\xde"),
    "lossless JPEG with arithmetic coding": jpeg_with(1, b"\xcb"),
    "JPEG-LS": jpeg_ls(),
    "12 bit": jpeg_with(1, b"\xc1\0\x11\x0c"),
    "2 components": jpeg_with(9, b"\2"),
    "5 components": jpeg_with(9, b"\5"),
    "height": jpeg_with(5, b"\0\0"),
}


@pytest.mark.parametrize("name", JPEGS)
def test_variant_of_jpeg_is_named(name: str) -> None:
    image = decode_bytes(JPEGS[name])
    assert image.status is Status.UNSUPPORTED, image.detail
    assert name.split(",")[0].strip() in image.detail


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_png_for_ios_is_named() -> None:
    """Its first chunk is CgBI, its pixels are deflated without zlib's header, blue first."""
    rows = b"".join(b"\0" + row.tobytes() for row in RGB[..., ::-1])
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(rows) + packer.flush()
    header = struct.pack(">IIBBBBB", 32, 24, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", b"\x50\0\x20\2") + chunk(b"IHDR", header)
    image = decode_bytes(data + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    assert image.status is Status.UNSUPPORTED
    assert "CgBI" in image.detail


def tiff(pixels: bytes, order: str = "<", **tags: int | tuple[int, ...]) -> bytes:
    """A TIFF of 32 x 24 pixels by hand; ``tags`` are t259=33003 and the like."""
    wanted: dict[int, int | tuple[int, ...]] = {256: 32, 257: 24, 258: 8, 259: 1, 262: 1}
    wanted |= {273: 8, 277: 1, 278: 24, 279: len(pixels)}
    wanted |= {int(name[1:]): value for name, value in tags.items()}
    place = 8 + len(pixels)
    after = place + 2 + 12 * len(wanted) + 4
    entries, tail = b"", b""
    for tag, value in sorted(wanted.items()):
        if isinstance(value, tuple):
            entries += struct.pack(order + "HHII", tag, 3, len(value), after + len(tail))
            tail += struct.pack(f"{order}{len(value)}H", *value)
        else:
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(order + "I", place) + pixels
    return head + struct.pack(order + "H", len(wanted)) + entries + bytes(4) + tail


COMPRESSIONS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34661: "JBIG",
    34715: "JBIG2",
    9: "JBIG",
    22610: "JPEG XR",
    50002: "JPEG XL",
    32766: "NeXT",
    32908: "Pixar",
    34713: "camera raw",
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", COMPRESSIONS)
def test_compression_of_a_tiff_is_named(code: int, order: str) -> None:
    image = decode_bytes(tiff(bytes(range(200)), order, t259=code))
    assert image.status is Status.UNSUPPORTED
    assert f"{COMPRESSIONS[code]} compression" in image.detail


@pytest.mark.parametrize("name", ["lzma", "zstd", "webp"])
def test_compression_that_may_be_there_decodes_or_is_named(name: str) -> None:
    code = {"lzma": 34925, "zstd": 50000, "webp": 50001}[name]
    try:
        data = saved("TIFF", compression=name)
    except Exception:  # this libtiff was built without it
        image = decode_bytes(tiff(bytes(range(200)), t259=code))
        assert image.status is Status.UNSUPPORTED
        assert "compression" in image.detail
    else:
        assert decode_bytes(data).status is Status.OK
        cut = data[:12] + bytes(40) + data[52:]
        assert decode_bytes(cut).status is not Status.UNSUPPORTED


SAMPLES = {
    "signed": {"t339": 2},
    "signed, 16 bit": {"t339": 2, "t258": 16},
    "signed, 32 bit": {"t339": 2, "t258": 32},
    "floating-point": {"t339": 3, "t258": 32},
    "floating-point, 16 bit": {"t339": 3, "t258": 16},
    "floating-point, 64 bit": {"t339": 3, "t258": 64},
    "floating-point, RGB": {"t339": (3, 3, 3), "t258": (32, 32, 32), "t277": 3, "t262": 2},
    "complex": {"t339": 6, "t258": 64},
    "12 bit": {"t258": 12},
    "12 bit, RGB": {"t258": (12, 12, 12), "t277": 3, "t262": 2},
    "10 bit": {"t258": 10},
    "14 bit": {"t258": 14},
    "24 bit": {"t258": 24},
    "32 bit": {"t258": 32},
    "5, 6 bit": {"t258": (5, 6, 5), "t277": 3, "t262": 2},
    "LAB": {"t262": 8, "t258": (8, 8, 8), "t277": 3},
    "camera raw": {"t262": 32803, "t258": 16},
    "camera raw ": {"t50706": 1},
    "reduced copy": {"t254": 1},
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", SAMPLES)
def test_samples_and_colours_of_a_tiff_are_named(name: str, order: str) -> None:
    image = decode_bytes(tiff(bytes(32 * 24 * 12), order, **SAMPLES[name]))
    assert image.status is Status.UNSUPPORTED
    assert (name if name == "5, 6 bit" else name.split(",")[0].strip()) in image.detail


def test_signed_samples_are_not_called_32_bit() -> None:
    detail = decode_bytes(tiff(bytes(32 * 24 * 2), t339=2, t258=16)).detail
    assert "32" not in detail


def test_lossless_jpeg_in_a_tiff_is_named() -> None:
    data = tiff(JPEGS["lossless"], t259=7, t262=2, t277=3, t258=(8, 8, 8))
    image = decode_bytes(data)
    assert image.status is Status.UNSUPPORTED
    assert "lossless JPEG" in image.detail


def test_bigtiff_is_decoded_or_named() -> None:
    assert decode_bytes(saved("TIFF", big_tiff=True)).status is Status.OK
    other = b"MM\0+" + struct.pack(">HHQ", 8, 0, 16) + struct.pack(">Q", 0) + bytes(8)
    image = decode_bytes(other)
    assert image.status is Status.UNSUPPORTED
    assert "BigTIFF" in image.detail


@pytest.mark.parametrize("code, name", [(4, "JPEG"), (5, "PNG"), (11, "CMYK")])
def test_bmp_that_holds_another_format_is_named(code: int, name: str) -> None:
    data = saved("BMP")
    image = decode_bytes(data[:30] + struct.pack("<I", code) + data[34:])
    assert image.status is Status.UNSUPPORTED
    assert name in image.detail


@pytest.mark.parametrize("count", [5, 16])
def test_jpeg_2000_of_other_components_is_named(count: int) -> None:
    """A codestream's main header by hand (ITU-T T.800, A.5.1), then its end."""
    sizes = struct.pack(">HIIIIIIIIH", 0, 32, 24, 0, 0, 32, 24, 0, 0, count)
    size = b"\xff\x51" + struct.pack(">H", 2 + len(sizes) + 3 * count) + sizes + b"\7\1\1" * count
    image = decode_bytes(b"\xff\x4f" + size + b"\xff\xd9")
    assert image.status is Status.UNSUPPORTED
    assert f"{count} components" in image.detail


@pytest.mark.parametrize("start", [b"\x8aMNG", b"\x8bJNG"])
def test_siblings_of_png_are_unsupported(start: bytes) -> None:
    assert decode_bytes(start + b"\r\n\x1a\n" + bytes(50)).status is Status.UNSUPPORTED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "JPEG2000"])
def test_cut_image_of_a_decoded_variant_is_corrupt(kind: str) -> None:
    data = saved(kind)
    assert decode_bytes(data[: len(data) * 2 // 3]).status is Status.CORRUPT
