"""No damaged image passes for a whole one: mutants of every format, judged by other decoders.

The mutants are made by a seeded program. Each that is taken as an image has to be one for the
strict tool of its format too (`strict_decoders`), without a complaint about data, and with the same
pixels. Where the tool is not installed its formats are left out, and the tests of `test_whole.py`,
whose truth is known by construction, are what remains.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracles.strict_decoders import is_there, judge
from PIL import Image as Pillow
from PIL import PngImagePlugin, features

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Status

SMALL, LARGE = 6, 120  # mutants of each format


@dataclass(frozen=True)
class Seedling:
    """A whole image to be damaged.

    ``tolerance`` is how far two right decoders may be apart. Of a seedling with metadata a mutant
    may have the very pixels of the undamaged file, whatever the tool says of it.
    """

    name: str
    extension: str
    data: bytes
    tolerance: int = 0
    has_metadata: bool = False


def scene() -> np.ndarray:
    """Smooth shapes and a flat rectangle: (97, 133, 3) uint8."""
    random = np.random.default_rng(20)
    coarse = Pillow.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8))
    pixels = np.array(coarse.resize((133, 97), Pillow.Resampling.BICUBIC))
    pixels[20:60, 30:90] = 77
    return pixels


def saved(image: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Adam7 by the definition of its passes, rows unfiltered."""
    passes = "0088 4088 0448 2044 0224 1022 0112"  # first column and row, step of columns and rows
    rows = b""
    for left, top, right, down in (map(int, one) for one in passes.split()):
        for row in pixels[top::down, left::right]:
            rows += b"\0" + row.tobytes()
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def seedlings() -> Iterator[Seedling]:
    rgb = Pillow.fromarray(scene())
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    yield Seedling("baseline", "jpg", saved(rgb, "JPEG", quality=90), 3)
    yield Seedling("progressive", "jpg", saved(rgb, "JPEG", progressive=True), 3)
    restarts = saved(rgb, "JPEG", quality=90, restart_marker_blocks=5, subsampling=0)
    yield Seedling("restart markers", "jpg", restarts, 3)
    yield Seedling("grey", "jpg", saved(grey, "JPEG"), 3)
    yield Seedling("inks", "jpg", saved(rgb.convert("CMYK"), "JPEG"), 3)
    yield Seedling("colour", "png", saved(rgb, "PNG"))
    yield Seedling("palette", "png", saved(palette, "PNG"))
    yield Seedling("interlaced", "png", interlaced_png(scene()))
    deep = Pillow.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    yield Seedling("16 bit", "png", saved(deep, "PNG"), 1)
    yield Seedling("true colour", "bmp", saved(rgb, "BMP"))
    yield Seedling("binary", "ppm", saved(rgb, "PPM"))
    yield Seedling("still", "gif", saved(palette, "GIF", interlace=0))
    yield Seedling("interlaced", "gif", saved(palette, "GIF", interlace=1))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma"):
        data = saved(rgb, "TIFF", compression=compression, strip_size=6400)
        yield Seedling(compression, "tif", data)
    for compression in ("group3", "group4"):
        data = saved(grey.point(lambda v: 255 * (v > 120), "1"), "TIFF", compression=compression)
        yield Seedling(compression, "tif", data)
    yield Seedling("JPEG", "tif", saved(rgb, "TIFF", compression="jpeg", strip_size=6400), 3)
    yield Seedling("lossy", "webp", saved(rgb, "WEBP"), 3)
    yield Seedling("lossless", "webp", saved(rgb, "WEBP", lossless=True))
    yield Seedling("tiles", "jp2", saved(rgb, "JPEG2000", tile_size=(48, 48)), 1)
    exif = Pillow.Exif()
    exif[0x010E] = "a description of some length, " * 30
    said = {"exif": exif.tobytes(), "icc_profile": b"a profile of some length, " * 40}
    yield Seedling("with metadata", "jpg", saved(rgb, "JPEG", quality=90, **said), 3, True)
    for name, how in (("lossy", {}), ("lossless", {"lossless": True})):
        data = saved(rgb, "WEBP", **how, **said, xmp=b"<of some length>" * 40)
        yield Seedling(f"{name} with metadata", "webp", data, 3, True)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "a text of some length, " * 40)
    texts.add_text("Comment", "a text of some length, " * 400, zip=True)
    clear = {"transparency": bytes([0, 128, 200]), "pnginfo": texts}
    yield Seedling("clear palette with text", "png", saved(palette, "PNG", **clear), 1, True)
    yield Seedling("clear grey", "png", saved(grey, "PNG", transparency=77, exif=exif), 0, True)
    if features.check("avif"):
        yield Seedling("av1", "avif", saved(rgb, "AVIF"), 8)


def cut(data: bytearray, random: np.random.Generator) -> bytes:
    return bytes(data[: random.integers(20, len(data))])


def cut_with_end(data: bytearray, random: np.random.Generator) -> bytes:
    """As a writer leaves it that was stopped and closed its file properly."""
    end = 12 if data[:4] == b"\x89PNG" else 2
    return cut(data, random) + bytes(data[-end:])


def zeros(data: bytearray, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(data) // 8, len(data)))
    stop = min(len(data), start + int(random.integers(1, len(data) // 3)))
    data[start:stop] = bytes(stop - start)
    return bytes(data)


def flip(data: bytearray, random: np.random.Generator) -> bytes:
    for _ in range(random.integers(1, 4)):
        data[random.integers(len(data))] ^= 1 << random.integers(8)
    return bytes(data)


def lose(data: bytearray, random: np.random.Generator) -> bytes:
    """Leave out some bytes: sectors, rows, scans, chunks."""
    start = int(random.integers(len(data) // 8, len(data)))
    del data[start : start + int(random.integers(1, len(data) // 4))]
    return bytes(data)


def insert(data: bytearray, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(data) // 8, len(data)))
    data[start:start] = random.bytes(int(random.integers(1, 30)))
    return bytes(data)


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], bytes], ...] = (
    cut,
    cut_with_end,
    zeros,
    flip,
    lose,
    insert,
)
SEEDLINGS = {f"{seed.name}.{seed.extension}": seed for seed in seedlings()}


def with_checksums(png: bytes) -> bytes:
    """Mend the checksum of every chunk, so that damage lies in the compressed pixels alone."""
    mended, at = bytearray(png), 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        mended[end : end + 4] = zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended[: len(png)])


def mutant(seed: Seedling, number: int) -> bytes:
    random = np.random.default_rng([number, zlib.crc32(seed.name.encode())])
    data = DAMAGES[number % len(DAMAGES)](bytearray(seed.data), random)
    return with_checksums(data) if seed.extension == "png" and number % 4 < 2 else data


@cache
def undamaged(name: str, extension: str) -> np.ndarray:
    return decode_bytes(SEEDLINGS[f"{name}.{extension}"].data).pixels


def disagreement(seed: Seedling, data: bytes, folder: Path) -> str | None:
    image = decode_bytes(data, name=f"x.{seed.extension}")
    if image.status is not Status.OK:
        return None
    if seed.has_metadata and np.array_equal(image.pixels, undamaged(seed.name, seed.extension)):
        return None
    verdict = judge(data, seed.extension, folder)
    if not verdict.is_clean:
        return verdict.complaint or "the tool failed"
    if verdict.pixels is None:
        return "the tool gave no pixels that can be compared"
    if verdict.pixels.shape != image.pixels.shape:
        return f"shape {verdict.pixels.shape}, here {image.pixels.shape}"
    apart = np.abs(verdict.pixels.astype(int) - image.pixels).max()
    return f"pixels are {apart} apart" if apart > seed.tolerance else None


def check(name: str, numbers: range, folder: Path) -> None:
    seed = SEEDLINGS[name]
    if not is_there(seed.extension):
        pytest.skip(f"the strict decoder of {seed.extension} is not installed")
    whole = replace(seed, has_metadata=False)  # judged by the tool
    assert disagreement(whole, seed.data, folder) is None
    found = {n: disagreement(seed, mutant(seed, n), folder) for n in numbers}
    assert {n: why for n, why in found.items() if why} == {}


@pytest.mark.parametrize("name", SEEDLINGS)
def test_a_mutant_that_passes_is_whole_for_its_strict_decoder(name: str, tmp_path: Path) -> None:
    check(name, range(SMALL), tmp_path)


@pytest.mark.stress
@pytest.mark.parametrize("name", SEEDLINGS)
def test_two_thousand_mutants(name: str, tmp_path: Path) -> None:
    check(name, range(SMALL, LARGE), tmp_path)


@pytest.mark.parametrize("name", SEEDLINGS)
def test_the_undamaged_image_is_taken(name: str) -> None:
    seed = SEEDLINGS[name]
    image = decode_bytes(seed.data, name=name)
    assert image.status is Status.OK, image.detail
    assert image.pixels.shape == (97, 133, 3)
