"""Whether the runs of a BMP in run-length coding (RLE8, RLE4) fill its rows.

Pillow cuts off what goes past a row, fills up rows that end early, and ends where the codes do.
"""

from __future__ import annotations

import struct

from deepfeat.images.colour import UnsupportedMode

_PIXELS_PER_BYTE = {1: 1, 2: 2}  # by compression: RLE8, RLE4
_END_OF_ROW, _END_OF_BITMAP, _DELTA = 0, 1, 2
_ENTRY = 4  # bytes of a colour


def fault_in_bmp(data: bytes) -> str | None:
    """Return what is wrong with the runs of a BMP that was decoded, in words, or None.

    Raises
    ------
    UnsupportedMode
        Where runs leave out pixels on purpose (delta), which have no colour; or begin at an odd
        place, where Pillow loses count of what is filled up.
    """
    if len(data) < 50 or data[14] == 12:  # the old header knows no runs
        return None
    per_byte = _PIXELS_PER_BYTE.get(int.from_bytes(data[30:34], "little"))
    if per_byte is None:
        return None
    start, header, width, height = struct.unpack_from("<IIii", data, 10)
    bits, colours = struct.unpack_from("<H16xI", data, 28)
    if bits != 8 // per_byte:
        return f"a BMP of {bits} bit in a coding of {8 // per_byte} bit"
    if start == 14 + header:  # as Pillow: a wrong place, colours come first
        start += _ENTRY * (colours or 1 << bits)
    if start % 2:
        raise UnsupportedMode("BMP whose runs begin at an odd place")
    return _fault_in_runs(memoryview(data)[start:], width, abs(height), per_byte)


def _fault_in_runs(codes: memoryview, width: int, height: int, per_byte: int) -> str | None:
    at, x, y = 0, 0, 0
    while at + 2 <= len(codes):
        number, code = codes[at], codes[at + 1]
        at += 2
        if number or code > _DELTA:
            x += number or code
            if not number:  # that many pixels follow, filled up to two bytes
                at += -(-code // (2 * per_byte)) * 2
            if x > width or y >= height:
                return f"row {y + 1} of {height} of the BMP: its runs go on behind it"
        elif code == _END_OF_ROW:
            if x < width:
                return f"row {y + 1} of {height} of the BMP: its runs end at pixel {x} of {width}"
            x, y = 0, y + 1
        elif code == _DELTA:
            raise UnsupportedMode("BMP whose runs leave out pixels")
        elif y + (x == width) < height:
            return f"the runs of the BMP end in row {y + 1} of {height}"
        else:
            return None
    return "the runs of the BMP have no end"
