"""Where an image ends inside its file, so that bytes appended to it are seen and reported.

Decoders stop at the end of the image and say nothing of what follows. A note is all that is made
of it: appended bytes change no pixel.
"""

from __future__ import annotations

from deepfeat.images.jpeg_scans import END_OF_IMAGE, segments
from deepfeat.images.walks import png_chunks


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
    """Find the marker of the image's end."""
    return next((end for marker, _, end, _ in segments(data) if marker == END_OF_IMAGE), None)


def _end_of_png(data: bytes) -> int | None:
    """Walk the chunks to the end of IEND."""
    return next((chunk.end for chunk in png_chunks(data) if chunk.name == b"IEND"), None)


def _end_of_webp(data: bytes) -> int | None:
    """Read the length in the RIFF header, which is even."""
    return 8 + int.from_bytes(data[4:8], "little")
