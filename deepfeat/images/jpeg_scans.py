"""Whether every scan of a JPEG is there and whole, which the decoder of pixels does not say.

libjpeg mends what it can: it fills up data that end early, skips what does not belong, and tells
of it in warnings that Pillow does not pass on. So a copy without metadata is decoded once more, at
an eighth of the size, by a decoder that takes a warning for an error. Metadata are left out because
libjpeg warns of them too, and they cannot cost an image; from the first scan on nothing is, for
there they may stand where data belong.
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
END_OF_IMAGE, _START_OF_SCAN, _RESTART_INTERVAL = 0xD9, 0xDA, 0xDD
_LONGEST_INTERVAL = 65535  # minimum coded units
_COEFFICIENTS = 64
_NOT_SENT = 255
_SHORTEST_SCAN_HEADER = 10
_ALL_COEFFICIENTS = b"\x00\x3f\x00"  # from the first to the last, down to the last bit


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame header says.

    Parameters
    ----------
    is_sequential : bool
        Not progressive.
    size : tuple of two int
        (height, width).
    components : bytes
        Their identifiers.
    sampling : tuple of two int
        Most blocks of a component in a minimum coded unit, down and across.
    """

    is_sequential: bool
    size: tuple[int, int]
    components: bytes
    sampling: tuple[int, int]


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
    frame, copy, lacking, has_scan = None, bytearray(data[:2]), {}, False
    restarts = 0
    for marker, start, end, following in segments(data):
        has_scan |= marker == _START_OF_SCAN
        if marker in _METADATA and not has_scan:
            continue  # and with it the bytes that follow it and belong to nothing
        if frame is None and (frame := _frame(marker, data[start + 4 : end])):
            lacking = {one: bytearray([_NOT_SENT] * _COEFFICIENTS) for one in frame.components}
        if marker == _START_OF_SCAN and frame and end - start >= _SHORTEST_SCAN_HEADER:
            header = data[start + 4 : end]
            if frame.is_sequential:  # its last parameters mean nothing; some cameras' are wrong
                header = header[:-3] + _ALL_COEFFICIENTS
                copy += _restarts_never(frame, header[0]) if not restarts else b""
            _take_scan(header, lacking)
            copy += data[start : start + 4] + header + data[end:following]
        else:
            if marker == _RESTART_INTERVAL:
                restarts = int.from_bytes(data[start + 4 : start + 6], "big")
            copy += data[start:following]
    if frame is None:
        return "the JPEG has no frame header"
    for number, bits in enumerate(lacking.values(), 1):
        if any(bits):
            return f"the JPEG lacks scans: component {number} of {len(lacking)} is incomplete"
    return _complaint(copy, "CMYK" if len(frame.components) == 4 else "GRAY")


def segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Walk the segments (ITU-T T.81, B.1.1) as libjpeg does, to the end of the image or file.

    Yields each marker with its offset, the end of its parameters, and the offset of the next
    marker: between the last two are a scan's data, or bytes that belong to nothing.
    """
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        start, marker = found.start(), data[found.start() + 1]
        end = start + 2
        if marker == END_OF_IMAGE:
            yield marker, start, end, end
            return
        if marker not in _STANDALONE:
            end = min(end + max(2, int.from_bytes(data[end : end + 2], "big")), len(data))
        pattern = _MARKER_IN_SCAN if marker == _START_OF_SCAN else _MARKER
        following = pattern.search(data, end)
        at = following.start() if following else len(data)
        yield marker, start, end, at


def frame_of(data: bytes) -> Frame | None:
    """Read the frame header (B.2.2), or return None where there is none that is known."""
    frames = (_frame(marker, data[start + 4 : end]) for marker, start, end, _ in segments(data))
    return next((frame for frame in frames if frame), None)


def _frame(marker: int, parameters: bytes) -> Frame | None:
    if marker not in _SEQUENTIAL | _PROGRESSIVE:
        return None
    height, width = (int.from_bytes(parameters[at : at + 2], "big") for at in (1, 3))
    factors = parameters[7::3] or b"\x11"
    sampling = (max(max(one & 15, 1) for one in factors), max(max(one >> 4, 1) for one in factors))
    return Frame(marker in _SEQUENTIAL, (height, width), parameters[6::3], sampling)


def _restarts_never(frame: Frame, components: int) -> bytes:
    """A restart interval as long as can be, or none where the scan is longer than that.

    libjpeg-turbo passes over a code that is in no table, unless it looks for restarts.
    """
    down, across = frame.sampling if components > 1 else (1, 1)
    height, width = frame.size
    units = -(-height // (8 * down)) * -(-width // (8 * across))
    interval = _LONGEST_INTERVAL if units <= _LONGEST_INTERVAL else 0
    return b"\xff\xdd\0\x04" + interval.to_bytes(2, "big")


def _take_scan(header: bytes, lacking: dict[int, bytearray]) -> None:
    """Note that a scan sends some coefficients of some components down to a bit (G.1.1.1).

    ``lacking`` has, for each component, the bits that are still missing of each coefficient.
    """
    first, last, low = header[-3], min(header[-2], _COEFFICIENTS - 1), header[-1] & 15
    for component in header[1:-3:2]:
        if component in lacking and first <= last:
            lacking[component][first : last + 1] = bytes([low]) * (last + 1 - first)


def _complaint(jpeg: bytearray, colours: str) -> str | None:
    try:
        simplejpeg.decode_jpeg(jpeg, colours, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        if "subsampling" in str(error):
            raise UnsupportedMode("JPEG of a subsampling whose data cannot be checked") from error
        if "memory" in str(error):
            raise MemoryError(str(error)) from error
        return f"the JPEG data are damaged or end early: {error}"
    return None
