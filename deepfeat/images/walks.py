"""The parts that files are made of, in their order: segments, chunks, boxes, entries of a TIFF.

A walk takes any bytes, never raises, looks at no byte twice and keeps nothing: it goes from part to
part by their lengths and ends where no part can be. Offsets are from the file's start; a part's end
may lie behind the file's where the file is cut.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

START_OF_SCAN = 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})


class Chunk(NamedTuple):
    """A named stretch of a file; ``body`` is where its contents begin."""

    name: bytes
    start: int
    body: int
    end: int


class Segment(NamedTuple):
    """A JPEG marker and what belongs to it; ``following`` is where the next marker is.

    Between ``end`` and ``following`` are fill bytes, or bytes that belong to nothing.
    """

    marker: int
    start: int
    end: int
    following: int


class Entry(NamedTuple):
    """A tag of a TIFF's first directory; ``place`` is where its ``size`` bytes of values lie.

    ``values`` are its first eight where they are whole numbers of a size in the file.
    """

    tag: int
    start: int
    end: int
    place: int
    size: int
    values: tuple[int, ...]


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments (ITU-T T.81, B.1.1) to the first scan's header, skipping as decoders do.

    Of that last one ``following`` is its end.
    """
    found = _MARKER.search(data, 2)
    while found:
        start, marker = found.start(), data[found.start() + 1]
        end = start + 2
        if marker not in _WITHOUT_LENGTH:
            end += max(2, int.from_bytes(data[end : end + 2], "big"))
        if marker == START_OF_SCAN:
            yield Segment(marker, start, end, end)
            return
        found = _MARKER.search(data, end)
        yield Segment(marker, start, end, found.start() if found else len(data))


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks (PNG, third edition, 5.3) to the last one, IEND."""
    at = 8
    while at + 12 <= len(data):
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield Chunk(name, at, at + 8, end)
        if name == b"IEND":
            return
        at = end


def riff_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a WebP file; each is padded to an even length."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        yield Chunk(data[at : at + 4], at, at + 8, end)
        at = end


def boxes(data: bytes, start: int, end: int) -> Iterator[Chunk]:
    """Yield the boxes between two offsets (ISO/IEC 14496-12, 4.2; ITU-T T.800, I.4)."""
    end = min(end, len(data))
    while start + 8 <= end:
        length, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        body = start + 8
        if length == 1:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        behind = end if length == 0 else start + length
        if behind < body:
            return
        yield Chunk(name, start, body, behind)
        start = behind


_CODESTREAM = b"\xff\x4f\xff\x51"  # its start, and the segment SIZ that always follows (A.5.1)


def codestream(data: bytes) -> int | None:
    """Return where the codestream of a JPEG 2000 begins, or None where there is none.

    A file may be one, or has one in the box jp2c; another box may hold a preview.
    """
    found = (box.body for box in boxes(data, 0, len(data)) if box.name == b"jp2c")
    start = 0 if data.startswith(_CODESTREAM) else next(found, 0)
    return start if data.startswith(_CODESTREAM, start) else None


_TIFF_TYPES = {  # field type -> (bytes of a value, its format where it is a whole number)
    **dict.fromkeys((1, 7), (1, "B")),
    2: (1, ""),
    3: (2, "H"),
    **dict.fromkeys((4, 13), (4, "I")),
    **dict.fromkeys((5, 10, 12), (8, "")),
    6: (1, "b"),
    8: (2, "h"),
    9: (4, "i"),
    11: (4, ""),
    **dict.fromkeys((16, 18), (8, "Q")),
    17: (8, "q"),
}


def tiff_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of the first directory (TIFF 6.0, section 2; BigTIFF with its long ones).

    An entry of an unknown type has size -1.
    """
    order = ">" if data[:2] == b"MM" else "<"
    is_big = 43 in data[2:4]
    layout = struct.Struct(order + ("HHQ" if is_big else "HHI"))
    offset, number, inline = ("Q", "Q", 8) if is_big else ("I", "H", 4)
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if is_big else 4)
        (left,) = struct.unpack_from(order + number, data, at)
        at += struct.calcsize(order + number)
        for _ in range(left):
            tag, kind, count = layout.unpack_from(data, at)
            place, end = at + layout.size, at + layout.size + inline
            unit, code = _TIFF_TYPES.get(kind, (-1, ""))
            size = unit * count if unit > 0 else -1
            if size > inline:
                (place,) = struct.unpack_from(order + offset, data, place)
            values: tuple[int, ...] = ()
            if code and place + size <= len(data):
                values = struct.unpack_from(f"{order}{min(count, 8)}{code}", data, place)
            yield Entry(tag, at, end, place, size, values)
            at = end
    except (struct.error, OverflowError):  # the file ends within the directory
        return
