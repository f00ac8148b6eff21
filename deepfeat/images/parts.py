"""A part of a file that is no pixels, and what depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MOST_PARTS = 1 << 14  # of one file; a decoder gets more than these as they are


class Role(Enum):
    """What depends on a part, and whether it is whole."""

    REST = "nothing"
    UPRIGHT = "it may say which side is up"
    DAMAGED = "nothing, and it is damaged"
    LOST = "pixels, and it is damaged"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the file, what depends on it, and the bytes that stand for its absence."""

    name: str
    start: int
    end: int
    role: Role
    instead: bytes = b""
