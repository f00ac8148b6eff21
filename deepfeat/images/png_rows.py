"""Whether a PNG's compressed rows are all there, which Pillow's decoder does not say.

Pillow stops where the stream ends, or where the last row is full, and compares no checksum of the
pixels' chunks. Here the chunks are walked, and the stream is inflated once more and counted. That
they stand in their order is seen before (`png_metadata`).
"""

from __future__ import annotations

import zlib

from deepfeat.images.inflating import inflate
from deepfeat.images.walks import png_chunks

_CHECKED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})  # what pixels are made of
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type (PNG, third edition, 11.2.1)
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (  # passes (8.2): first column, first row, step of columns, step of rows
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def fault_in_png(data: bytes) -> str | None:
    """Return what is wrong with the chunks that make a PNG's pixels, in words, or None.

    Parameters
    ----------
    data : bytes
        Of an animated PNG the default image is looked at.
    """
    view = memoryview(data)
    header = b""
    pieces: list[memoryview] = []
    for name, start, body, end in png_chunks(data):
        checksum = zlib.crc32(view[start + 4 : end - 4]).to_bytes(4, "big")  # of name and contents
        if name in _CHECKED and checksum != bytes(view[end - 4 : end]):
            return f"the checksum of the PNG's chunk {name.decode()} is wrong, or not there"
        if name == b"IHDR":
            header = header or data[body : end - 4]
        elif name == b"IDAT":
            pieces.append(view[body : end - 4])
    needed = _bytes_of_rows(header)
    stream = inflate(pieces, needed)
    if stream.fault:
        return f"the PNG's pixels do not inflate: {stream.fault}"
    if stream.length < needed:
        return f"the PNG's pixels end early: {stream.length} bytes of {needed}"
    if stream.length > needed or stream.is_followed:
        return f"the PNG has more data than its {needed} bytes of pixels"
    return None if stream.ended else "the PNG's pixels end without their checksum"


def _bytes_of_rows(header: bytes) -> int:
    """Count what the rows take, with the filter byte of each (PNG, 7.2)."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    total = 0
    for left, top, right, down in _ADAM7 if header[12] else _WHOLE:
        columns, rows = -((left - width) // right), -((top - height) // down)
        if columns > 0:
            total += max(0, rows) * (1 + (columns * bits + 7) // 8)
    return total
