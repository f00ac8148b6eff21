"""What a decoder is given of a file: its bytes without damaged metadata, then with less and less.

Decoders give up at a wrong checksum of a comment. So what is damaged and concerns no pixel is left
out before the decoder sees it. Where it gives up all the same, it gets the file once more without
any metadata but those that may say which side is up, and at last without these, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from deepfeat.images.metadata import WALKS
from deepfeat.images.parts import MOST_PARTS, Part, Role


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's bytes without some parts; ``left_out`` are their names."""

    data: bytes
    left_out: tuple[str, ...]


class PixelsLost(Exception):
    """A part that pixels depend on is damaged; the message names it."""


def readings(format_name: str, data: bytes) -> Iterator[Reading]:
    """Yield what to decode, in the order in which to try; none comes twice.

    Parameters
    ----------
    format_name : str
        The format as `signatures.recognise` names it.

    Raises
    ------
    PixelsLost
    """
    walk = WALKS.get(format_name)
    found = list(islice(walk(data), MOST_PARTS)) if walk else []
    parts = sorted(found, key=lambda part: part.start)
    lost = [part.name for part in parts if part.role is Role.LOST]
    if lost:
        raise PixelsLost(f"{lost[0]} is damaged, and pixels depend on it")
    before = None
    for roles in ({Role.DAMAGED}, {Role.DAMAGED, Role.REST}, {*Role}):
        out = [part for part in parts if part.role in roles]
        if out != before:
            yield Reading(_without(data, out), tuple(dict.fromkeys(part.name for part in out)))
        before = out


def _without(data: bytes, parts: list[Part]) -> bytes:
    if not parts:
        return data
    pieces, at = [], 0
    for part in parts:
        pieces += [data[at : part.start], part.instead]
        at = part.end
    return b"".join([*pieces, data[at:]])
