"""How much a zlib stream inflates to, without keeping it: memory stays at a block or two."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

IN_BLOCK, OUT_BLOCK = 1 << 16, 1 << 20


@dataclass(frozen=True, slots=True)
class Stream:
    """What came of inflating.

    Parameters
    ----------
    length : int
        Bytes that came out.
    ended : bool
        The stream came to its own end, and its checksum is right.
    is_followed : bool
        There are bytes behind that end.
    fault : str
        zlib's words where it could not go on; empty otherwise.
    """

    length: int
    ended: bool
    is_followed: bool
    fault: str


def inflate(pieces: Iterable[memoryview], most: int) -> Stream:
    """Inflate a stream that lies in pieces, and stop when more than ``most`` bytes came out."""
    stream = zlib.decompressobj()
    length = 0
    try:
        for block in _blocks(pieces):
            if stream.eof:
                return Stream(length, True, True, "")
            waiting: bytes | memoryview = block
            while True:
                out = stream.decompress(waiting, OUT_BLOCK)
                length += len(out)
                if length > most:
                    return Stream(length, False, False, "")
                waiting = stream.unconsumed_tail
                if stream.eof or (not waiting and len(out) < OUT_BLOCK):
                    break
    except zlib.error as error:
        return Stream(length, False, False, str(error))
    return Stream(length, stream.eof, bool(stream.unused_data), "")


def _blocks(pieces: Iterable[memoryview]) -> Iterable[memoryview]:
    """Small blocks: what a call of zlib leaves unread is copied."""
    for piece in pieces:
        for at in range(0, len(piece), IN_BLOCK):
            yield piece[at : at + IN_BLOCK]
