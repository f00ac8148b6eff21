"""Walk over the elements of a MATLAB 5 file before anything reads them.

Only headers are looked at; numbers are skipped as they stream by, also through compressed elements,
whose expansion is bounded. What is refused: objects, functions and sparse arrays, sizes that
contradict each other, endless nesting, and files that expand far beyond what weights do.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 20
MOST_EXPANDED = 2 << 30
# Trained numbers hardly compress; a file that grows more than this is no file of weights.
MOST_EXPANSION = 4
FREE_EXPANSION = 64 << 20
# Numbers become float32, whatever they are stored in; those of networks are stored in no less.
FLOAT_BYTES = 4
MOST_WIDENING = 64 << 20
DEEPEST = 12
MOST_MATRICES = 50_000  # each takes SciPy some ten microseconds
MOST_DIMENSIONS = 8
MOST_TEXT = 1 << 16

MATRIX, COMPRESSED = 14, 15
ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
CELL, STRUCT, CHAR = 1, 2, 4
NUMERIC = range(6, 16)
REFUSED = {3: "an object", 5: "a sparse array", 16: "a function", 17: "an object"}
COMPLEX = 0x0800


def walk(path: Path) -> None:
    """Check the whole file.

    Raises
    ------
    ValueError
        With a sentence that says what is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(128)
        if b"MATLAB 7.3" in header or header.startswith(b"\x89HDF"):
            raise ValueError("it is of MATLAB's version 7.3 (HDF5); save it with -v7")
        if len(header) < 128 or header[126:] not in (b"IM", b"MI"):
            raise ValueError("it is no MATLAB 5 file")
        order = "<" if header[126:] == b"IM" else ">"
        walker = _Walker(order, min(MOST_EXPANDED, FREE_EXPANSION + MOST_EXPANSION * size))
        while tag := file.read(8):
            if len(tag) < 8:
                raise ValueError("it ends inside an element")
            kind, length = struct.unpack(order + "II", tag)
            start = file.tell()
            if length > size - start:
                raise ValueError(f"an element claims {length:,} bytes; {size - start:,} are left")
            blocks = _blocks(file, length)
            if kind == COMPRESSED:
                walker.compressed(blocks)
            elif kind == MATRIX:
                walker.matrix(_Stream(blocks), length, 0)
            else:
                raise ValueError(f"an element of type {kind} stands where an array should")
            file.seek(start + length)


def _blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        block = file.read(min(BLOCK, length))
        if not block:
            return
        length -= len(block)
        yield block


class _Stream:
    """Bytes that come in blocks: a few are taken, most are skipped."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks
        self.block = memoryview(b"")
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > MOST_TEXT:
            raise ValueError(f"a header claims {count:,} bytes")
        return b"".join(self._pieces(count))

    def skip(self, count: int) -> None:
        for _ in self._pieces(count):
            pass

    def _pieces(self, count: int) -> Iterator[memoryview]:
        while count > 0:
            if not self.block:
                self.block = memoryview(next(self.blocks, b""))
                if not self.block:
                    raise ValueError("it ends inside an element")
            piece, self.block = self.block[:count], self.block[count:]
            self.position += len(piece)
            count -= len(piece)
            yield piece


class _Walker:
    """Byte order and what may still be spent on one file."""

    def __init__(self, order: str, expandable: int) -> None:
        self.order = order
        self.expandable = expandable
        self.widenable = MOST_WIDENING
        self.matrices = MOST_MATRICES

    def compressed(self, blocks: Iterator[bytes]) -> None:
        stream = _Stream(self._inflated(blocks))
        kind, length, small = self._tag(stream)
        if kind != MATRIX or small:
            raise ValueError(f"a compressed element holds an element of type {kind}")
        self.matrix(stream, length, 0)

    def _inflated(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        inflater = zlib.decompressobj()
        for block in blocks:
            while block:
                try:
                    piece = inflater.decompress(block, BLOCK)
                except zlib.error as error:
                    raise ValueError(f"a compressed element is damaged ({error})") from error
                self.expandable -= len(piece)
                if self.expandable < 0:
                    raise ValueError("its compressed elements expand far beyond the file's size")
                block = inflater.unconsumed_tail
                if piece:
                    yield piece
                elif not block:
                    break

    def matrix(self, stream: _Stream, length: int, depth: int) -> None:
        """One array element of ``length`` bytes, its tag already read."""
        self.matrices -= 1
        if depth > DEEPEST or self.matrices < 0:
            raise ValueError(f"its arrays nest over {DEEPEST} deep, or are over {MOST_MATRICES:,}")
        if length == 0:
            return
        end = stream.position + length
        flags = self._numbers(stream, "I", end)
        sizes = self._numbers(stream, "i", end)
        self._content(stream, end)  # the name
        kind = flags[0] & 0xFF if flags else 0
        if not 0 < len(sizes) <= MOST_DIMENSIONS or min(sizes) < 0:
            raise ValueError(f"an array has the shape {sizes}")
        count = math.prod(sizes)
        if kind == CELL:
            self._children(stream, count, depth, end)
        elif kind == STRUCT:
            width = self._numbers(stream, "i", end)
            names = self._content(stream, end)
            if len(width) != 1 or width[0] < 1 or len(names) % width[0]:
                raise ValueError("a struct's field names do not fit their stated length")
            self._children(stream, count * (len(names) // width[0]), depth, end)
        elif kind == CHAR or kind in NUMERIC:
            for _ in range(2 if flags[0] & COMPLEX else 1):
                self._skip_numbers(stream, count, end, is_text=kind == CHAR)
        else:
            raise ValueError(
                f"it holds {REFUSED.get(kind, f'an array of the unknown class {kind}')}"
            )
        if stream.position != end:
            raise ValueError("an array is longer or shorter than it claims")

    def _children(self, stream: _Stream, count: int, depth: int, end: int) -> None:
        if count > MOST_MATRICES:
            raise ValueError(f"a cell or struct claims {count:,} members")
        for _ in range(count):
            kind, length, small = self._tag(stream)
            if kind != MATRIX or small or length > end - stream.position:
                raise ValueError("a cell's or struct's member is no array, or leaves its bounds")
            self.matrix(stream, length, depth + 1)

    def _skip_numbers(self, stream: _Stream, count: int, end: int, *, is_text: bool) -> None:
        kind, length, small = self._tag(stream)
        item = ITEM_BYTES.get(kind)
        # A text in UTF-8 may take more bytes than it has letters.
        fits = item and (length >= count if is_text else length == count * item)
        if not fits:
            raise ValueError(f"an array of {count:,} numbers holds {length:,} bytes of type {kind}")
        self.widenable -= max(0, count * FLOAT_BYTES - length)
        if self.widenable < 0:
            raise ValueError("its numbers take far more bytes as float32 than they are stored in")
        self._skip_padded(stream, length, small, end)

    def _skip_padded(self, stream: _Stream, length: int, small: bool, end: int) -> None:
        padded = 4 if small else length + -length % 8
        if stream.position + padded > end:
            raise ValueError("an element leaves the array it belongs to")
        stream.skip(padded)

    def _tag(self, stream: _Stream) -> tuple[int, int, bool]:
        """Type, length, and whether up to four bytes of data stand in the tag itself."""
        (first,) = struct.unpack(self.order + "I", stream.take(4))
        if first >> 16:
            return first & 0xFFFF, first >> 16, True
        (length,) = struct.unpack(self.order + "I", stream.take(4))
        return first, length, False

    def _content(self, stream: _Stream, end: int) -> bytes:
        _, length, small = self._tag(stream)
        padded = 4 if small else length + -length % 8
        if length > padded or stream.position + padded > end:
            raise ValueError("an element leaves the array it belongs to")
        return stream.take(padded)[:length]

    def _numbers(self, stream: _Stream, form: str, end: int) -> tuple[int, ...]:
        content = self._content(stream, end)
        if len(content) % 4:
            raise ValueError("an array's header is damaged")
        return struct.unpack(f"{self.order}{len(content) // 4}{form}", content)
