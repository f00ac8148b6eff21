"""Where the entries of a zip lie; only those are read that are stored as they are.

torch writes its files so. Read here, and not by ``zipfile``, because a directory may claim
anything: each number is looked at before something is read or kept by it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

MOST_ENTRIES = 100_000
MOST_BYTES = 32 << 20  # of the directory
LONGEST_COMMENT = 0xFFFF

END, END_64, LOCATOR_64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), "<4sIQI"
LOCATOR = struct.Struct(LOCATOR_64)
ENTRY, LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
ABOVE_16, ABOVE_32 = 0xFFFF, 0xFFFFFFFF  # the number stands elsewhere, with 64 bits
ENCRYPTED, STORED = 1, 0


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry's bytes: where its local header is, how many there are, their CRC-32 (0: none)."""

    name: str
    header: int
    size: int
    crc: int
    is_stored: bool


def entries_of(file: BinaryIO, size: int) -> dict[str, Entry]:
    """Entries by name, of a file of ``size`` bytes.

    Raises
    ------
    ValueError
        In words that follow "is refused: ".
    """
    count, length, start = _end(file, size)
    if count > MOST_ENTRIES or length > MOST_BYTES:
        raise ValueError(f"it lists {count:,} entries, over {MOST_ENTRIES:,}")
    file.seek(start)
    directory = file.read(length)
    found: dict[str, Entry] = {}
    position = 0
    for _ in range(count):
        entry, position = _entry(directory, position)
        if entry.name in found:
            raise ValueError("it lists an entry twice")
        found[entry.name] = entry
    if sum(entry.size for entry in found.values()) > size:
        raise ValueError("its entries claim more bytes than the file has")
    return found


def place_of(file: BinaryIO, entry: Entry, size: int) -> int:
    """Where an entry's first byte is; behind its local header.

    Raises
    ------
    ValueError
        If it is compressed, or does not lie in the file of ``size`` bytes.
    """
    if not entry.is_stored:
        raise ValueError(
            f"entry '{entry.name:.60}' is compressed or encrypted, as torch never does"
        )
    file.seek(entry.header)
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size or head[:4] != b"PK\x03\x04":
        raise ValueError("an entry does not begin where its directory says")
    *_, name_length, extra_length = LOCAL.unpack(head)
    start = entry.header + LOCAL.size + int(name_length) + int(extra_length)
    if start + entry.size > size:
        raise ValueError("an entry claims more bytes than the file has")
    return start


def _end(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Number of entries, length and start of the directory."""
    tail_start = max(0, size - LONGEST_COMMENT - END.size)
    file.seek(tail_start)
    tail = file.read(LONGEST_COMMENT + END.size)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + END.size > len(tail):
        raise ValueError("it is cut off: the directory at the end of the zip is missing")
    _, _, _, _, count, length, start, _ = END.unpack_from(tail, place)
    if count == ABOVE_16 or ABOVE_32 in (length, start):
        file.seek(max(0, tail_start + place - LOCATOR.size))
        mark, _, end, _ = LOCATOR.unpack(file.read(LOCATOR.size))
        if mark == b"PK\x06\x07" and end + END_64.size <= size:
            file.seek(end)
            mark, *_, count, length, start = END_64.unpack(file.read(END_64.size))
        if mark != b"PK\x06\x06":
            raise ValueError("its directory is damaged")
    if start + length > size:
        raise ValueError("its directory claims more bytes than the file has")
    return count, length, start


def _entry(directory: bytes, position: int) -> tuple[Entry, int]:
    """The entry described at ``position``, and where the next one's description begins."""
    end = position + ENTRY.size
    if end > len(directory) or directory[position : position + 4] != b"PK\x01\x02":
        raise ValueError("its directory is damaged")
    fields = ENTRY.unpack_from(directory, position)
    flags, method, crc, packed, size = (fields[i] for i in (3, 4, 7, 8, 9))
    name_length, extra_length, comment_length, header = (fields[i] for i in (10, 11, 12, 16))
    name = directory[end : end + name_length].decode("utf-8", "replace")
    extra = directory[end + name_length : end + name_length + extra_length]
    # Fields of 64 bits follow in this order, for those numbers alone that had no room.
    wide = iter(_wide_numbers(extra))
    size, packed, header = (next(wide, -1) if n == ABOVE_32 else n for n in (size, packed, header))
    if min(size, packed, header) < 0:
        raise ValueError("its directory is damaged")
    is_stored = method == STORED and not flags & ENCRYPTED and size == packed
    entry = Entry(name, header, packed, crc, is_stored)
    return entry, end + name_length + extra_length + comment_length


def _wide_numbers(extra: bytes) -> list[int]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        content = extra[position + 4 : position + 4 + length]
        if kind == 1:
            count = min(len(content) // 8, 3)
            return list(struct.unpack_from(f"<{count}Q", content))
        position += 4 + length
    return []
