"""A TIFF of strips by hand, so that a test knows and can change every number in it."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow

RGB, YCBCR = 2, 6
Pack = Callable[[np.ndarray], bytes]


def _packbits(rows: np.ndarray) -> bytes:
    """Runs of at most 128 bytes, none repeated."""
    data = rows.tobytes()
    parts = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def _by_pillow(compression: str) -> Pack:
    def pack(rows: np.ndarray) -> bytes:
        file = io.BytesIO()
        Pillow.fromarray(rows).save(file, "TIFF", compression=compression, strip_size=1 << 20)
        with Pillow.open(file) as image:
            (at,), (length,) = image.tag_v2[273], image.tag_v2[279]
        return file.getvalue()[at : at + length]

    return pack


def _jpeg(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(rows).save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


PACKERS: dict[str, tuple[int, int, Pack]] = {  # name -> compression, photometric, how to pack rows
    "raw": (1, RGB, lambda rows: rows.tobytes()),
    "LZW": (5, RGB, _by_pillow("tiff_lzw")),
    "deflate": (8, RGB, lambda rows: zlib.compress(rows.tobytes())),
    "PackBits": (32773, RGB, _packbits),
    "LZMA": (34925, RGB, lambda rows: lzma.compress(rows.tobytes())),
    "JPEG": (7, YCBCR, _jpeg),
}


def packed_strips(pixels: np.ndarray, name: str, rows: int = 16) -> list[bytes]:
    """The image's strips of ``rows`` rows each, packed."""
    pack = PACKERS[name][2]
    return [pack(pixels[top : top + rows]) for top in range(0, len(pixels), rows)]


def tiff_of(
    strips: list[bytes],
    pixels: np.ndarray,
    name: str,
    *,
    rows: int = 16,
    counts: list[int] | None = None,
    lost: tuple[int, ...] = (),
) -> bytes:
    """Put strips together: ``counts`` are stated lengths, ``lost`` strips have offset 0."""
    compression, photometric, _ = PACKERS[name]
    offsets, place = [], 8
    for number, strip in enumerate(strips):
        offsets.append(0 if number in lost else place)
        place += len(strip)
    height, width = pixels.shape[:2]
    tags: dict[int, list[int]] = {256: [width], 257: [height], 258: [8, 8, 8], 259: [compression]}
    tags |= {262: [photometric], 273: offsets, 277: [3], 278: [rows]}
    tags |= {279: counts or [len(strip) for strip in strips]}
    if photometric == YCBCR:
        tags[530] = [1, 1]
    behind = place + 2 + 12 * len(tags) + 4
    entries, values = struct.pack("<H", len(tags)), b""
    for tag, numbers in sorted(tags.items()):
        code, size = ("H", 2) if tag in (258, 259, 262, 277, 530) else ("I", 4)
        packed = struct.pack(f"<{len(numbers)}{code}", *numbers)
        where = packed.ljust(4, b"\0")
        if len(packed) > 4:
            where, values = struct.pack("<I", behind + len(values)), values + packed
        entries += struct.pack("<HHI", tag, 3 if size == 2 else 4, len(numbers)) + where
    head = b"II*\0" + struct.pack("<I", place)
    return head + b"".join(strips) + entries + bytes(4) + values
