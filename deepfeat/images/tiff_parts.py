"""Whether the strips or tiles of a TIFF are all there and whole.

libtiff raises where LZW, Zstandard or WebP end early or cannot be read, and Pillow passes that on.
Of the others too little is said: Pillow reads uncompressed strips on past their stated length, and
libtiff compares no checksums, takes runs that are too long, mends lines of a fax and data of a JPEG
in silence. Those are looked at here.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from itertools import islice

from PIL import Image as Pillow
from PIL import TiffImagePlugin

from deepfeat.images.colour import UnsupportedMode
from deepfeat.images.fax_rows import GROUP_3, GROUP_4, HUFFMAN, MOST_LINES, fault_in_fax
from deepfeat.images.inflating import inflate
from deepfeat.images.jpeg_scans import END_OF_IMAGE, fault_in_jpeg, frame_of, segments
from deepfeat.images.tiff_layout import (
    BITS,
    COMPRESSION,
    FILL_ORDER,
    GROUP_3_OPTIONS,
    HEIGHT,
    JPEG_LENGTH,
    JPEG_STREAM,
    JPEG_TABLES,
    NO_COMPRESSION,
    PHOTOMETRIC,
    PLANAR,
    SEPARATE,
    WIDTH,
    Part,
    Tags,
    fault_in_layout,
    parts_of,
)

_JPEG, _OLD_JPEG = 7, 6
_START_OF_SCAN = 0xDA
_FAX = (HUFFMAN, GROUP_3, GROUP_4)
_RAISING = frozenset({5, 50000, 50001})  # LZW, Zstandard, WebP
_MOST_TABLES, _MOST_BYTES_OF_TABLES = 32, 1 << 14  # four of each kind are all that can be used
_MOST_WORK = 2  # bytes looked at, per byte of the file
_OUT_BLOCK = 1 << 20
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fault_in_tiff(data: bytes, image: Pillow.Image) -> str | None:
    """Return what is wrong with the strips or tiles of a TIFF's first page, in words, or None.

    Parameters
    ----------
    image : PIL.TiffImagePlugin.TiffImageFile
        As Pillow loaded it.

    Raises
    ------
    UnsupportedMode
        For data of which nothing could tell whether they are whole.
    """
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    if fault := fault_in_layout(data, tags):
        return fault
    if PHOTOMETRIC not in tags:
        raise UnsupportedMode("TIFF that does not say what its numbers mean as colours")
    try:
        parts, stated, needed = parts_of(data, tags)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return "the TIFF's directory does not say where its pixels are"
    # libtiff takes the first of too many, Pillow writes later ones over the first
    compression = tags.get(COMPRESSION, NO_COMPRESSION)
    if stated < needed or (compression == NO_COMPRESSION and stated > needed):
        return f"the TIFF has {stated} strips or tiles and should have {needed}"
    if compression == _OLD_JPEG:
        return _fault_in_old_jpeg(data, parts, tags)
    numbers: dict[Part, int] = {}
    for number, part in enumerate(parts, 1):
        numbers.setdefault(part, number)  # equal tiles may share their bytes
    if compression in _FAX and (lines := sum(part.height for part in numbers)) > MOST_LINES:
        raise UnsupportedMode(f"fax of {lines} lines, the limit is {MOST_LINES}")
    left = _MOST_WORK * len(data)
    for part, number in numbers.items():
        left -= min(part.count, len(data)) if compression in _READ_THROUGH else 0
        fault = "its bytes are others' too" if left < 0 else _fault_in_part(data, part, tags)
        if fault:
            return f"strip or tile {number} of {needed} of the TIFF: {fault}"
    return None


def _fault_in_part(data: bytes, part: Part, tags: Tags) -> str | None:
    compression = tags.get(COMPRESSION, NO_COMPRESSION)
    piece = memoryview(data)[part.start : part.start + part.count]
    if not piece:
        return "it is not there"
    if compression == NO_COMPRESSION:
        return _fault_in_raw(piece, part, tags)
    if len(piece) < part.count:
        return "it goes on behind the end of the file"
    if compression in _RAISING:
        if BITS not in tags:  # too much data is not told
            raise UnsupportedMode("TIFF that does not say how many bits a sample has")
        return None
    if compression not in _READ_THROUGH:
        raise UnsupportedMode(f"TIFF with compression {compression}, whose data cannot be checked")
    if tags.get(FILL_ORDER, 1) == 2 and compression != _JPEG:  # the first bit is the lowest
        piece = memoryview(bytes(piece).translate(_REVERSED))
    return _READ_THROUGH[compression](piece, part, tags)


def _fault_in_raw(piece: memoryview, part: Part, tags: Tags) -> str | None:
    """Where a tag is left to its default, the length has to agree that it was meant."""
    if len(piece) < part.needed:  # the file's end may lack what fills up a strip
        return f"{len(piece)} bytes of {part.needed}"
    is_said = COMPRESSION in tags and BITS in tags
    if is_said or len(piece) in (part.needed, part.most):
        return None
    return f"{len(piece)} bytes, {part.needed} are right, and the directory has lost tags"


def _fault_in_deflate(piece: memoryview, part: Part, tags: Tags) -> str | None:
    """A stream that lacks its end only, with the checksum in it, has cost no pixel."""
    stream = inflate([piece], part.most)
    if stream.fault:
        return f"it does not inflate: {stream.fault}"
    if part.needed <= stream.length <= part.most:
        return None
    return f"it inflates to {stream.length} bytes, {part.needed} are needed"


def _fault_in_lzma(piece: memoryview, part: Part, tags: Tags) -> str | None:
    stream = lzma.LZMADecompressor()
    length, waiting = 0, bytes(piece)
    try:
        while length <= part.most and not stream.eof and (waiting or not stream.needs_input):
            length, waiting = length + len(stream.decompress(waiting, _OUT_BLOCK)), b""
    except (lzma.LZMAError, EOFError) as error:
        return f"it does not unpack: {error}"
    if part.needed <= length <= part.most:
        return None
    return f"it unpacks to {length} bytes, {part.needed} are needed"


def _fault_in_packbits(piece: memoryview, part: Part, tags: Tags) -> str | None:
    """Walk the runs (TIFF 6.0, section 9); the last one has to end with the part."""
    at, length, end = 0, 0, len(piece)
    while length < part.needed and at < end:
        code = piece[at]
        if code < 128:
            at += 2 + code
            length += 1 + code
        else:
            at += 1 if code == 128 else 2
            length += 0 if code == 128 else 257 - code
    if at > end or length != part.needed:
        return f"its runs make {length} bytes, {part.needed} are needed"
    return None


def _fault_in_jpeg(piece: memoryview, part: Part, tags: Tags) -> str | None:
    """Parts may share tables, which stand in a tag as a JPEG without an image."""
    jpeg = bytes(piece)
    if tables := tags.get(JPEG_TABLES, b"")[:_MOST_BYTES_OF_TABLES]:
        found = islice(segments(tables), _MOST_TABLES)
        end = next((start for marker, start, *_ in found if marker == END_OF_IMAGE), 0)
        if not end:
            return "the tables of its JPEG do not end"
        jpeg = tables[:end] + jpeg[2:]
    frame = frame_of(jpeg)
    is_smaller = frame is not None and (frame.size[0] < part.height or frame.size[1] < part.width)
    if is_smaller and tags.get(PLANAR, 1) != SEPARATE:  # planes may be subsampled
        return f"its JPEG is smaller than {part.width} x {part.height}"
    return fault_in_jpeg(jpeg)


def _fault_in_old_jpeg(data: bytes, parts: list[Part], tags: Tags) -> str | None:
    """Only where a whole JPEG stands in the file, with the strips in it, is it known what is read.

    Without a tag that says where, a single strip may be one.
    """
    start, length = tags.get(JPEG_STREAM, 0), tags.get(JPEG_LENGTH, 0)
    if not start and len(parts) == 1:
        start, length = parts[0].start, parts[0].count
    jpeg = data[start : start + length]
    markers = {marker for marker, *_ in segments(jpeg)}
    frame = frame_of(jpeg)
    is_around = all(start <= part.start < start + length for part in parts)
    if not (jpeg[:2] == b"\xff\xd8" and frame and _START_OF_SCAN in markers and is_around):
        raise UnsupportedMode("TIFF with old-style JPEG compression, in pieces")
    if frame.size != (tags[HEIGHT], tags[WIDTH]):
        return f"its JPEG is of {frame.size[1]} x {frame.size[0]} pixels"
    return fault_in_jpeg(jpeg)


def _fault_in_fax(piece: memoryview, part: Part, tags: Tags) -> str | None:
    size = (part.height, part.width)
    return fault_in_fax(bytes(piece), size, tags[COMPRESSION], tags.get(GROUP_3_OPTIONS, 0))


_READ_THROUGH: dict[int, Callable[[memoryview, Part, Tags], str | None]] = {  # by compression
    _JPEG: _fault_in_jpeg,
    **dict.fromkeys(_FAX, _fault_in_fax),
    8: _fault_in_deflate,
    32946: _fault_in_deflate,
    32773: _fault_in_packbits,
    34925: _fault_in_lzma,
}
