"""Where an image ends inside its file, so that bytes appended to it are seen and reported.

Decoders stop at the end of the image and say nothing of what follows. A note is all that is made
of it: appended bytes change no pixel.
"""

from __future__ import annotations

import re

from deepfeat.images.walks import png_chunks

_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def end_of(name: str, data: bytes) -> int | None:
    """Return the offset just behind the image, or None where it cannot be told.

    Parameters
    ----------
    name : str
        The format as `signatures.recognise` names it.
    """
    finder = {"JPEG": _end_of_jpeg, "PNG": _end_of_png, "WEBP": _end_of_webp}.get(name)
    return finder(data) if finder else None


def _end_of_jpeg(data: bytes) -> int | None:
    """Walk the segments (ITU-T T.81, B.1.1); inside a scan only a true marker stops the search."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _END_OF_IMAGE:
            return at + 2
        if marker == 0xFF or marker in _STANDALONE:  # fill byte, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            found = _MARKER_IN_SCAN.search(data, at)
            if found is None:
                return None
            at = found.end() - 2
    return None


def _end_of_png(data: bytes) -> int | None:
    """Walk the chunks to the end of IEND."""
    return next((chunk.end for chunk in png_chunks(data) if chunk.name == b"IEND"), None)


def _end_of_webp(data: bytes) -> int | None:
    """Read the length in the RIFF header, which is even."""
    return 8 + int.from_bytes(data[4:8], "little")
