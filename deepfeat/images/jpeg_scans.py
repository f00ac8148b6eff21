"""Whether every scan of a JPEG is there and whole, which the decoder of pixels does not say.

libjpeg mends what it can: it fills up data that end early, skips what does not belong, and tells
of it in warnings that Pillow does not pass on. So a copy without metadata is decoded once more, at
an eighth of the size, by a decoder that takes a warning for an error. Metadata are left out because
libjpeg warns of them too, and they cannot cost an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg

from deepfeat.images.colour import UnsupportedMode

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_METADATA = frozenset({0xFE, *range(0xE0, 0xF0)})  # comments and APPn
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC9}), frozenset({0xC2, 0xCA})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_COEFFICIENTS = 64
_NOT_SENT = 255
_NO_PARAMETERS = b"\x00\x3f\x00"  # what a scan of a sequential JPEG has to say of its coefficients


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame header says.

    Parameters
    ----------
    marker : int
        0xC0 baseline, 0xC2 progressive ...
    size : tuple of two int
        (height, width).
    components : bytes
        Their identifiers.
    """

    marker: int
    size: tuple[int, int]
    components: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker, its offset, where its parameters end, and where the next marker begins.

    Between ``end`` and ``next`` are a scan's data, or bytes that belong to nothing.
    """

    marker: int
    start: int
    end: int
    next: int


def fault_in_jpeg(data: bytes) -> str | None:
    """Return what is wrong with the data of a JPEG, in words, or None where all is there.

    Parameters
    ----------
    data : bytes
        From the start-of-image marker; what follows the end of the (first) image does not matter.

    Raises
    ------
    UnsupportedMode
        Where the decoder that takes warnings for errors does not know the subsampling of colours:
        nothing could tell a whole image from a half one.
    MemoryError
    """
    found = list(segments(data))
    frame = frame_of(data, found)
    if frame is None:
        return "the JPEG has no frame header"
    if lacking := _not_sent(data, found, frame):
        return f"the JPEG lacks scans: component {lacking} of {len(frame.components)} is incomplete"
    try:
        simplejpeg.decode_jpeg(
            _without_metadata(data, found, frame),
            "CMYK" if len(frame.components) == 4 else "GRAY",
            min_height=1,
            min_width=1,
            min_factor=8,
        )
    except ValueError as error:
        if "subsampling" in str(error):
            raise UnsupportedMode("JPEG of a subsampling whose data cannot be checked") from error
        if "memory" in str(error):
            raise MemoryError(str(error)) from error
        return f"the JPEG data are damaged or end early: {error}"
    return None


def segments(data: bytes) -> Iterator[Segment]:
    """Walk the segments (ITU-T T.81, B.1.1) as libjpeg does, to the end of the image or file."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        start, marker = found.start(), data[found.start() + 1]
        end = start + 2
        if marker not in _STANDALONE and marker != _END_OF_IMAGE:
            end = min(end + max(2, int.from_bytes(data[end : end + 2], "big")), len(data))
        pattern = _MARKER_IN_SCAN if marker == _START_OF_SCAN else _MARKER
        following = None if marker == _END_OF_IMAGE else pattern.search(data, end)
        at = following.start() if following else end if marker == _END_OF_IMAGE else len(data)
        yield Segment(marker, start, end, at)
        if marker == _END_OF_IMAGE:
            return


def frame_of(data: bytes, found: list[Segment]) -> Frame | None:
    """Read the first frame header (B.2.2), or return None where there is none that is known."""
    for segment in found:
        if segment.marker in _SEQUENTIAL | _PROGRESSIVE:
            payload = data[segment.start + 4 : segment.end]
            height, width = (int.from_bytes(payload[at : at + 2], "big") for at in (1, 3))
            return Frame(segment.marker, (height, width), payload[6::3])
    return None


def _not_sent(data: bytes, found: list[Segment], frame: Frame) -> int | None:
    """Return the number of a component (from 1) that no scan completes, or None.

    The bits that are still missing are kept for every coefficient of every component (G.1.1.1): a
    progressive scan sends some coefficients down to the bit "Al", a sequential one all of all.
    """
    lacking = {component: bytearray([_NOT_SENT] * _COEFFICIENTS) for component in frame.components}
    for segment in found:
        if segment.marker != _START_OF_SCAN or segment.end - segment.start < 10:
            continue
        payload = data[segment.start + 4 : segment.end]
        first, last, low = payload[-3], min(payload[-2], _COEFFICIENTS - 1), payload[-1] & 15
        if frame.marker in _SEQUENTIAL:
            first, last, low = 0, _COEFFICIENTS - 1, 0
        for component in payload[1:-3:2]:
            if component in lacking and first <= last:
                lacking[component][first : last + 1] = bytes([low]) * (last + 1 - first)
    incomplete = (n for n, bits in enumerate(lacking.values(), 1) if any(bits))
    return next(incomplete, None)


def _without_metadata(data: bytes, found: list[Segment], frame: Frame) -> bytes:
    """Copy what the pixels need. Bytes behind metadata up to the next marker go with them.

    A sequential JPEG's scan has parameters that decoders ignore and some cameras fill with
    nonsense; libjpeg would warn of them.
    """
    pieces = [data[:2]]
    for segment in found:
        if segment.marker in _METADATA:
            continue
        if segment.marker == _START_OF_SCAN and frame.marker in _SEQUENTIAL:
            pieces += [data[segment.start : segment.end - 3], _NO_PARAMETERS]
            pieces.append(data[segment.end : segment.next])
        else:
            pieces.append(data[segment.start : segment.next])
    return b"".join(pieces)
