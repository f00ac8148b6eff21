"""What can become of an image: one row a case, never renumbered (``items/status`` of a store).

An advice is about the image alone: a finished store keeps its holes, so ``ANEW`` follows it
wherever a store is spoken of. ``NOTES`` are the bits of ``items/notes``: what was done to the
pixels of an image that is fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class Status(IntEnum):
    OK = 0
    MISSING = 1
    UNREADABLE = 2
    NOT_AN_IMAGE = 3
    CORRUPT = 4
    TOO_LARGE = 5
    TOO_SMALL = 6
    UNSUPPORTED = 7
    EMPTY = 8
    CHANGED = 9
    DECODER_FAILED = 10
    NOT_FINITE = 11
    OUT_OF_MEMORY = 12
    BAD_REGION = 13


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    meaning: str
    advice: str
    retried: bool


CASES: dict[Status, Case] = {
    Status.OK: Case("ok", "descriptors are there and finite", "", False),
    Status.MISSING: Case(
        "missing", "listed, but not there when its turn came", "put the file back", True
    ),
    Status.UNREADABLE: Case(
        "unreadable",
        "no permission, an I/O error, a link loop or not a regular file",
        "check permissions, links and the disk",
        True,
    ),
    Status.NOT_AN_IMAGE: Case(
        "not-an-image",
        "no known signature: text, HTML, SVG, PDF, archive or random bytes",
        "remove it, or convert it to PNG",
        False,
    ),
    Status.CORRUPT: Case(
        "corrupt",
        "a known format that does not decode whole",
        "fetch or export the file again",
        True,
    ),
    Status.TOO_LARGE: Case(
        "too-large",
        "more bytes or pixels than the limits",
        "crop it; or raise --max-pixels or --max-bytes; or, if it is thin, smaller --scales",
        False,
    ),
    Status.TOO_SMALL: Case(
        "too-small",
        "an empty side, or too small for one position of the map",
        "leave out --no-upscale and the scale 'native', or choose larger --scales",
        False,
    ),
    Status.UNSUPPORTED: Case(
        "unsupported",
        "an image of a format or mode that is not decoded here",
        "convert it to PNG or JPEG",
        False,
    ),
    Status.EMPTY: Case("empty", "zero bytes", "download the file again", False),
    Status.CHANGED: Case(
        "changed", "changed between listing and reading", "wait until nothing writes it", True
    ),
    Status.DECODER_FAILED: Case(
        "decoder-failed",
        "the decoder crashed or exceeded its time",
        "convert it to PNG, or raise --decode-timeout",
        True,
    ),
    Status.NOT_FINITE: Case(
        "not-finite",
        "the network or the storage type gave NaN or Inf",
        "check the weights, or store float32",
        False,
    ),
    Status.OUT_OF_MEMORY: Case(
        "out-of-memory",
        "did not fit in memory even alone",
        "crop it, choose smaller --scales, or run where more memory is",
        True,
    ),
    Status.BAD_REGION: Case(
        "bad-region", "a box outside the image, or empty", "mend the box", False
    ),
}


class Note(IntFlag):
    NONE = 0
    ORIENTED = 1 << 0
    ALPHA_COMPOSED = 1 << 1
    CMYK_CONVERTED = 1 << 2
    REDUCED_TO_8_BIT = 1 << 3
    PALETTE_EXPANDED = 1 << 4
    FIRST_OF_SEVERAL_FRAMES = 1 << 5
    ICC_IGNORED = 1 << 6
    EXTENSION_DIFFERS = 1 << 7
    ENLARGED = 1 << 8
    SAME_CONTENTS = 1 << 9
    TRAILING_BYTES = 1 << 10
    METADATA_IGNORED = 1 << 11


ANEW = "then remove the store and give the command again"


def name_of(status: int) -> str:
    """The status as it is printed: ``corrupt``."""
    return CASES[Status(status)].name
