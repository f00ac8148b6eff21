"""Whether every tile of a JPEG 2000 is there: OpenJPEG leaves the place of a lost one black."""

from __future__ import annotations

import struct

from deepfeat.images.walks import codestream

_START_OF_TILE_PART, _END_OF_CODESTREAM = 0xFF90, 0xFFD9


def fault_in_jpeg2000(data: bytes) -> str | None:
    """Return what is wrong with the tiles of a JPEG 2000 that was decoded, in words, or None.

    Tile-parts are walked by their stated lengths (ITU-T T.800, A.4.2), not looked into: what is
    wrong inside of them OpenJPEG says itself.
    """
    start = codestream(data)
    if start is None or len(data) < start + 40:
        return "the JPEG 2000 has no header of its size"
    right, bottom, _, _, wide, high, left, top = struct.unpack_from(">8I", data, start + 8)
    if not wide or not high:
        return "the JPEG 2000 has tiles of no size"
    expected = -((left - right) // wide) * -((top - bottom) // high)
    parts: dict[int, int] = {}  # tile -> tile-parts found
    stated: dict[int, int] = {}  # tile -> tile-parts that it says it has
    for tile, number in _tile_parts(data, start + 2):
        parts[tile] = parts.get(tile, 0) + 1
        if number:
            stated[tile] = number
    if len(parts) < expected:
        return f"the JPEG 2000 has {len(parts)} of its {expected} tiles"
    for tile, number in stated.items():
        if parts[tile] < number:
            return f"tile {tile + 1} of the JPEG 2000 has {parts[tile]} of its {number} parts"
    return None


def _tile_parts(data: bytes, at: int) -> list[tuple[int, int]]:
    """List the tile and the stated number of its tile-parts (0: not stated) of each tile-part."""
    found = []
    while at + 12 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker != _START_OF_TILE_PART:
            if marker < 0xFF01 or marker == _END_OF_CODESTREAM:
                break
            at += 2 + length
            continue
        tile, size, _, number = struct.unpack_from(">HIBB", data, at + 4)
        found.append((tile, number))
        if size < 14:  # 0: up to the end
            break
        at += size
    return found
