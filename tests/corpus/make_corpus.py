"""Bad, odd and good image files made by program, with what must become of each.

`CASES` is a table: a name, the bytes, the status, the notes and, where they can be known, the
pixels. Pixels come from NumPy formulas and from containers written here by hand, not from the
conversions of the library that decodes. ``python make_corpus.py FOLDER`` writes the files.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, features

H, W = 48, 64
EXACT, LOSSY = 0.0, 6.0  # largest mean absolute difference, in grey levels


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    status: str = "OK"
    notes: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    tolerance: float = EXACT


def smooth() -> np.ndarray:
    """An image whose four corners and three channels all differ: (48, 64, 3) uint8."""
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], 2).clip(0, 255).astype(np.uint8)


RGB = smooth()
GREY = RGB[..., 0]


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, 2)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Alpha composition in floating point; a half would be rounded up, but 255 allows none."""
    a = alpha[..., None] / 255.0
    return np.floor(rgb * a + 255.0 * (1 - a) + 0.5).astype(np.uint8)


def inks_to_rgb(cmyk: np.ndarray) -> np.ndarray:
    inks = cmyk.astype(float)
    return np.floor((255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255 + 0.5).astype(np.uint8)


def saved(array: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    size = (array.shape[1], array.shape[0])
    image = Image.frombytes(mode, size, array.tobytes()) if mode else Image.fromarray(array)
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, before: bytes = b""
) -> bytes:
    """A PNG by hand; ``rows`` start with their filter byte; ``before`` are chunks ahead of IDAT."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows, 6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def png_rows(values: np.ndarray) -> bytes:
    """Filter bytes and big-endian samples."""
    big = values.astype(values.dtype.newbyteorder(">")).reshape(values.shape[0], -1)
    return b"".join(b"\0" + row.tobytes() for row in big)


def tiff(pixels: np.ndarray, bits: int, photometric: int, extra: dict[int, int] | None = None):
    """An uncompressed little-endian TIFF of one strip by hand."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags = {254: 0, 256: pixels.shape[1], 257: pixels.shape[0], 258: bits, 259: 1}
    tags |= {262: photometric, 273: 8, 277: samples, 278: pixels.shape[0], 279: len(data)}
    tags |= extra or {}
    place = 8 + len(data)
    after = place + 2 + 12 * len(tags) + 4
    tail = b""
    entries = struct.pack("<H", len(tags))
    for tag, value in sorted(tags.items()):
        if tag == 258 and samples > 1:
            entries += struct.pack("<HHII", tag, 3, samples, after)
            tail = struct.pack(f"<{samples}H", *[bits] * samples)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", place) + data + entries + bytes(4) + tail


def exif(orientation: int) -> bytes:
    """EXIF with one tag: a big-endian TIFF header and one entry of type SHORT."""
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


def png_with_orientation(orientation: int, pixels: np.ndarray = RGB) -> bytes:
    height, width = pixels.shape[:2]
    return png(width, height, 8, 2, png_rows(pixels), chunk(b"eXIf", exif(orientation)))


UPRIGHT = {  # stored -> upright, by rotations and reflections
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.fliplr(np.rot90(a, -1)),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.fliplr(np.rot90(a, 1)),
    8: lambda a: np.rot90(a, 1),
}


def jpegs() -> Iterator[Case]:
    j = saved(RGB, "JPEG", quality=95, subsampling=0)
    half = len(j) // 2
    yield Case("good.jpg", j, pixels=RGB, tolerance=LOSSY)
    yield Case("cut at half.jpg", j[:half], "CORRUPT")
    yield Case("without its last 2 bytes.jpg", j[:-2], "CORRUPT")
    yield Case("without its last 20 bytes.jpg", j[:-20], "CORRUPT")
    yield Case("header only.jpg", j[:25], "CORRUPT")
    yield Case("second half zeros.jpg", j[:half] + bytes(len(j) - half), "CORRUPT")
    yield Case("bytes behind the end.jpg", j + b"x" * 999, "OK", ("TRAILING_BYTES",), RGB, LOSSY)
    restarts = saved(RGB, "JPEG", quality=95, subsampling=0, restart_marker_blocks=1)
    yield Case("restart markers.jpg", restarts + b"x", "OK", ("TRAILING_BYTES",), RGB, LOSSY)
    flipped = j[:half] + bytes([j[half] ^ 255]) + j[half + 1 :]
    yield Case("one byte wrong in the scan.jpg", flipped, "CORRUPT")  # the scan ends early
    grey = saved(GREY, "JPEG", quality=95)
    yield Case("grey.jpg", grey, pixels=three(GREY), tolerance=LOSSY)
    yield Case("progressive.jpg", saved(RGB, "JPEG", quality=95, progressive=True))
    thin = saved(np.full((5000, 1, 3), 77, np.uint8), "JPEG")
    yield Case("1 x 5000.jpg", thin, pixels=np.full((5000, 1, 3), 77, np.uint8), tolerance=1)
    broken = j[:2] + b"\xff\xe1" + struct.pack(">H", 22) + b"Exif\0\0MM\0*\xff\xff\xff\xff"
    yield Case("broken exif.jpg", broken + bytes(6) + j[2:], "OK", ("METADATA_IGNORED",))
    for profile in (b"garbage" * 20, bytes(128)):
        data = saved(RGB, "JPEG", icc_profile=profile)
        yield Case(f"profile of {len(profile)} bytes.jpg", data, "OK", ("ICC_IGNORED",))
    mpo = io.BytesIO()
    Image.fromarray(RGB).save(
        mpo, "MPO", quality=95, save_all=True, append_images=[Image.fromarray(255 - RGB)]
    )
    yield Case("stereo.jpg", mpo.getvalue(), "OK", ("FIRST_OF_SEVERAL_FRAMES",), RGB, LOSSY)
    turned = saved(RGB, "JPEG", quality=95, exif=b"Exif\0\0" + exif(6))
    yield Case("turned.jpg", turned, "OK", ("ORIENTED",), np.rot90(RGB, -1), LOSSY)


def inks() -> Iterator[Case]:
    y, x = np.mgrid[0:H, 0:W]
    cmyk = np.stack([60 + x, 200 - y, 90 + y, 20 + x // 2], 2).astype(np.uint8)
    j = saved(cmyk, "JPEG", "CMYK", quality=100)
    note = ("CMYK_CONVERTED",)
    yield Case("inks, Adobe.jpg", j, "OK", note, inks_to_rgb(cmyk), 2)
    at = j.index(b"\xff\xee")
    length = struct.unpack(">H", j[at + 2 : at + 4])[0]
    plain = j[:at] + j[at + 2 + length :]
    yield Case("inks, no marker.jpg", plain, "OK", note, inks_to_rgb(255 - cmyk), 2)
    stored = 255.0 - cmyk  # what Adobe's marker says is stored, now declared YCCK
    luma, blue, red = stored[..., 0], stored[..., 1] - 128, stored[..., 2] - 128
    rgb = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    # libjpeg gives 255 - rgb as inks, inverted once more by the marker; black passes through
    paint = np.stack([*(np.clip(part, 0, 255) for part in rgb), 255 - stored[..., 3]], 2)
    ycck = j[: at + 2 + length - 1] + b"\2" + j[at + 2 + length :]
    yield Case("inks as YCCK.jpg", ycck, "OK", note, inks_to_rgb(paint), 2)
    data = saved(cmyk, "TIFF", "CMYK")
    yield Case("inks.tif", data, "OK", note, inks_to_rgb(cmyk))


def pngs() -> Iterator[Case]:
    p = saved(RGB, "PNG")
    yield Case("good.png", p, pixels=RGB)
    yield Case("cut.png", p[: len(p) // 2], "CORRUPT")
    at = p.index(b"IDAT") + 20
    yield Case("wrong checksum.png", p[:at] + bytes([p[at] ^ 1]) + p[at + 1 :], "CORRUPT")
    yield Case("no end chunk.png", p[:-12], "OK", ("METADATA_IGNORED",), RGB)
    yield Case("bytes behind the end.png", p + b"rest", "OK", ("TRAILING_BYTES",), RGB)
    yield Case("png named.jpg", p, "OK", ("EXTENSION_DIFFERS",), RGB)
    yield Case("png without extension", p, pixels=RGB)
    yield Case("declares 10 gigapixels.png", png(100_000, 100_000, 8, 0, b"\0"), "TOO_LARGE")
    bits = b"\0" * (13_400 * (1 + 1675))
    yield Case("a bomb of 22 kB.png", png(13_400, 13_400, 1, 0, bits), "TOO_LARGE")
    text = b"k\0\0" + zlib.compress(b"A" * 8_000_000, 1)
    bomb = png(W, H, 8, 2, png_rows(RGB), chunk(b"zTXt", text))
    yield Case("text that inflates.png", bomb, "OK", ("METADATA_IGNORED",), RGB)
    yield Case("no width.png", png(0, 4, 8, 0, bytes(4)), "TOO_SMALL")
    yield Case("one pixel.png", saved(RGB[:1, :1], "PNG"), pixels=RGB[:1, :1])
    yield Case("grey.png", saved(GREY, "PNG"), pixels=three(GREY))
    black = (GREY > 99).astype(np.uint8)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in black)
    yield Case("one bit.png", png(W, H, 1, 0, rows), pixels=three(255 * black))
    clear = chunk(b"tRNS", b"\0\0")
    white = np.full((H, W, 3), 255, np.uint8)
    yield Case(
        "one bit, black clear.png", png(W, H, 1, 0, rows, clear), "OK", ("ALPHA_COMPOSED",), white
    )
    alpha = RGB[..., 1]
    la = png_rows(np.stack([GREY, alpha], 2))
    composed = over_white(three(GREY), alpha)
    yield Case("grey, alpha.png", png(W, H, 8, 4, la), "OK", ("ALPHA_COMPOSED",), composed)
    rgba = png_rows(np.dstack([RGB, alpha]))
    composed = over_white(RGB, alpha)
    yield Case("alpha.png", png(W, H, 8, 6, rgba), "OK", ("ALPHA_COMPOSED",), composed)
    key = chunk(b"tRNS", struct.pack(">3H", *(int(v) for v in RGB[3, 5])))
    hidden = np.where((RGB[3, 5] == RGB).all(2, keepdims=True), np.uint8(255), RGB)
    yield Case(
        "clear colour.png", png(W, H, 8, 2, png_rows(RGB), key), "OK", ("ALPHA_COMPOSED",), hidden
    )
    frames = saved(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    yield Case("moving.png", frames, "OK", ("FIRST_OF_SEVERAL_FRAMES",), RGB)
    for value in range(1, 9):
        note = ("ORIENTED",) if value > 1 else ()
        name = f"orientation {value}.png"
        yield Case(name, png_with_orientation(value), "OK", note, UPRIGHT[value](RGB))
    for value in (0, 9, 4711):
        name = f"orientation {value}.png"
        yield Case(name, png_with_orientation(value), "OK", ("METADATA_IGNORED",), RGB)


def palettes() -> Iterator[Case]:
    index = (np.indices((H, W)).sum(0) % 4).astype(np.uint8)
    colours = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 99], [7, 8, 9]], np.uint8)
    plte = chunk(b"PLTE", colours.tobytes())
    rows = png_rows(index)
    both = ("ALPHA_COMPOSED", "PALETTE_EXPANDED")
    yield Case("palette.png", png(W, H, 8, 3, rows, plte), "OK", both[1:], colours[index])
    some = np.array([0, 128, 255, 255], np.uint8)
    half = over_white(colours[index], some[index])
    data = png(W, H, 8, 3, rows, plte + chunk(b"tRNS", some.tobytes()))
    yield Case("palette, alpha.png", data, "OK", both, half)
    one = np.array([255, 0, 255, 255], np.uint8)
    data = png(W, H, 8, 3, rows, plte + chunk(b"tRNS", one.tobytes()))
    yield Case("palette, one clear.png", data, "OK", both, over_white(colours[index], one[index]))
    image = Image.frombytes("P", (W, H), index.tobytes())
    image.putpalette(colours.tobytes())
    gif = io.BytesIO()
    image.save(gif, "GIF", save_all=True, append_images=[image.transpose(0)])
    notes = ("PALETTE_EXPANDED", "FIRST_OF_SEVERAL_FRAMES")
    yield Case("moving.gif", gif.getvalue(), "OK", notes, colours[index])
    yield Case("cut.gif", gif.getvalue()[:120], "CORRUPT")


def deep() -> Iterator[Case]:
    ramp = np.linspace(0, 65535, H * W).astype(np.uint16).reshape(H, W)
    grey = np.floor(ramp * (255 / 65535) + 0.5).astype(np.uint8)
    note = ("REDUCED_TO_8_BIT",)
    yield Case("grey of 16 bit.png", png(W, H, 16, 0, png_rows(ramp)), "OK", note, three(grey))
    dark = (ramp >> 8).astype(np.uint16)
    low = np.floor(dark * (255 / 65535) + 0.5).astype(np.uint8)
    yield Case("dark 16 bit.png", png(W, H, 16, 0, png_rows(dark)), "OK", note, three(low))
    key = chunk(b"tRNS", struct.pack(">H", int(ramp[7, 7])))
    clear = np.where((ramp == ramp[7, 7])[..., None], np.uint8(255), three(grey))
    data = png(W, H, 16, 0, png_rows(ramp), key)
    yield Case("16 bit, clear grey.png", data, "OK", (*note, "ALPHA_COMPOSED"), clear)
    colour = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], 2)
    data = png(W, H, 16, 2, png_rows(colour))
    high = (colour >> 8).astype(np.uint8)  # the decoder hands out high bytes
    yield Case("colour of 16 bit.png", data, "OK", note, high)
    key = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    data = png(W, H, 16, 2, png_rows(colour), key)
    yield Case("colour of 16 bit, clear.png", data, "UNSUPPORTED")
    pgm = b"P5 %d %d 65535\n" % (W, H) + ramp.astype(">u2").tobytes()
    yield Case("16 bit.pgm", pgm, "OK", note, three(grey))
    yield Case("16 bit.tif", tiff(ramp, 16, 1), "OK", note, three(grey))
    inverse = np.floor((65535 - ramp.astype(float)) * (255 / 65535) + 0.5).astype(np.uint8)
    yield Case("16 bit, white is zero.tif", tiff(ramp, 16, 0), "OK", note, three(inverse))
    few = np.array([[0, 1, 2047, 2048, 4094, 4095]], np.uint16)
    pgm = b"P5 6 1 4095\n" + few.astype(">u2").tobytes()
    bright = np.floor(few * (255 / 4095) + 0.5).astype(np.uint8)
    yield Case("12 bit.pgm", pgm, "OK", note, three(bright))
    yield Case("12 bit.tif", tiff(ramp >> 4, 12, 1), "UNSUPPORTED")
    yield Case("colour of 16 bit.tif", tiff(colour, 16, 2), "OK", note, high)
    j = saved(RGB, "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c")
    yield Case("12 bit.jpg", j, "UNSUPPORTED")
    yield Case("float.tif", saved(GREY.astype(np.float32), "TIFF"), "UNSUPPORTED")
    yield Case("32 bit.tif", saved(GREY.astype(np.int32), "TIFF"), "UNSUPPORTED")


def others() -> Iterator[Case]:
    yield Case("good.bmp", saved(RGB, "BMP"), pixels=RGB)
    yield Case("cut.bmp", saved(RGB, "BMP")[:5000], "CORRUPT")
    flipped = bytearray(saved(RGB, "BMP"))
    flipped[22:26] = struct.pack("<i", -H)  # a negative height: rows from top to bottom
    yield Case("top down.bmp", bytes(flipped), pixels=RGB[::-1])
    yield Case("white is zero.tif", tiff(GREY, 8, 0), pixels=three(255 - GREY))
    turned = saved(RGB, "WEBP", lossless=True, exif=exif(8))
    yield Case("turned.webp", turned, "OK", ("ORIENTED",), np.rot90(RGB, 1))
    yield Case("good.ppm", b"P6 %d %d 255\n" % (W, H) + RGB.tobytes(), pixels=RGB)
    yield Case(
        "text.ppm", b"P3\n2 1\n255\n1 2 3\n4 5 6\n", pixels=np.array([[[1, 2, 3], [4, 5, 6]]])
    )
    yield Case("cut.ppm", b"P6 %d %d 255\n" % (W, H) + RGB.tobytes()[:-9], "CORRUPT")
    yield Case("good.tif", tiff(RGB, 8, 2), pixels=RGB)
    yield Case("packed.tif", saved(RGB, "TIFF", compression="tiff_lzw"), pixels=RGB)
    packed = saved(RGB, "TIFF", compression="tiff_lzw")
    yield Case("packed, damaged.tif", packed[:200] + b"\xff" * 300 + packed[500:], "CORRUPT")
    yield Case("lab.tif", saved(RGB, "TIFF", "LAB"), "UNSUPPORTED")
    yield Case("reduced copy first.tif", tiff(RGB, 8, 2, {254: 1}), "UNSUPPORTED")
    yield Case("raw.dng", tiff(RGB, 8, 2, {50706: 1}), "UNSUPPORTED")
    pages = saved(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    yield Case("pages.tif", pages, "OK", ("FIRST_OF_SEVERAL_FRAMES",), RGB)
    for value in range(2, 9):
        data = tiff(RGB, 8, 2, {274: value})
        yield Case(f"orientation {value}.tif", data, "OK", ("ORIENTED",), UPRIGHT[value](RGB))
    webp = saved(RGB, "WEBP", lossless=True)
    yield Case("good.webp", webp, pixels=RGB)
    yield Case("cut.webp", webp[: len(webp) // 2], "CORRUPT")
    yield Case("bytes behind the end.webp", webp + b"rest", "OK", ("TRAILING_BYTES",), RGB)
    rgba = np.dstack([RGB, RGB[..., 1]])
    clear = saved(rgba, "WEBP", "RGBA", lossless=True, exact=True)
    composed = over_white(RGB, RGB[..., 1])
    yield Case("alpha.webp", clear, "OK", ("ALPHA_COMPOSED",), composed)
    yield Case("good.jp2", saved(RGB, "JPEG2000"), pixels=RGB)
    if features.check("avif"):
        yield Case("good.avif", saved(RGB, "AVIF", quality=95), pixels=RGB, tolerance=LOSSY)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    yield Case("phone.heic", heic, "UNSUPPORTED")
    yield Case("heic named.jpg", heic, "UNSUPPORTED")
    yield Case("icon.ico", saved(RGB, "ICO"), "UNSUPPORTED")
    yield Case("good.tga", saved(RGB, "TGA"), "UNSUPPORTED")


def no_images() -> Iterator[Case]:
    yield Case("empty.jpg", b"", "EMPTY")
    for name, data in {
        "text.jpg": b"hello\n" * 50,
        "page.jpg": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "drawing.svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "drawing.jpg": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
        "document.pdf": b"%PDF-1.4\n%%EOF",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        "archive.jpg": b"PK\x03\x04" + bytes(60),
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "noise.jpg": np.random.default_rng(0).bytes(3000),
        "nothing but zeros.png": bytes(500),
        "two bytes.jpg": b"\xff\xd8",
        "film.jpg": b"\0\0\0\x18ftypisom\0\0\0\0isomavc1",
    }.items():
        yield Case(name, data, "NOT_AN_IMAGE")


@cache
def cases() -> tuple[Case, ...]:
    """All cases, made once."""
    makers = (jpegs, inks, pngs, palettes, deep, others, no_images)
    return tuple(case for maker in makers for case in maker())


def write(folder: Path) -> None:
    for case in cases():
        (folder / case.name).write_bytes(case.data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
