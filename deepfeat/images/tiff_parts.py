"""Whether the strips or tiles of a TIFF are all there and whole.

Pillow reads uncompressed strips on past their stated length, and forgets what was wrong with any
but the last; libtiff, which decodes the compressed ones, compares no checksums and mends JPEG data
in silence.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import TiffImagePlugin

from deepfeat.images.fax_rows import GROUP_3, GROUP_4, HUFFMAN, fault_in_fax
from deepfeat.images.inflating import inflate
from deepfeat.images.jpeg_scans import END_OF_IMAGE, fault_in_jpeg, frame_of, segments

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 277, 278, 279
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 284, 322, 323, 324, 325
_JPEG_TABLES, _SUBSAMPLING, _FILL_ORDER, _GROUP_3_OPTIONS = 347, 530, 266, 292
_YCBCR, _SEPARATE, _NO_COMPRESSION, _JPEG = 6, 2, 1, 7
_OUT_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A strip or tile.

    Parameters
    ----------
    data : memoryview
        Its bytes, as many as are stated.
    width, height : int
        A strip ends with the image, a tile is always full.
    needed : int
        Bytes that it takes uncompressed.
    most : int
        Bytes of a full strip: some writers fill up the last one.
    """

    data: memoryview
    width: int
    height: int
    needed: int
    most: int


@dataclass(frozen=True, slots=True)
class Grid:
    """How a page is divided: size of a part, how many there are, bits of a pixel in each plane."""

    width: int
    height: int
    across: int
    down: int
    planes: tuple[int, ...]


def fault_in_tiff(data: bytes, image: Pillow.Image) -> str | None:
    """Return what is wrong with the strips or tiles of a TIFF's first page, in words, or None.

    Parameters
    ----------
    image : PIL.TiffImagePlugin.TiffImageFile
        As Pillow loaded it.
    """
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    compression = tags.get(_COMPRESSION, 1)
    try:
        places, grid = _places(data, tags), _grid(tags)
    except (KeyError, TypeError, ZeroDivisionError):  # tags of types that Pillow does not read
        return "the TIFF's directory does not say where its pixels are"
    expected = grid.across * grid.down * len(grid.planes)
    # libtiff takes the first of too many, Pillow writes later ones over the first
    if len(places) < expected or (compression == _NO_COMPRESSION and len(places) > expected):
        return f"the TIFF has {len(places)} strips or tiles and should have {expected}"
    view = memoryview(data)
    for number, (start, count) in enumerate(places[:expected]):
        piece = view[start : start + count]
        fault: str | None
        if not piece:
            fault = "it is not there"
        elif len(piece) < count and compression != _NO_COMPRESSION:  # that may be filled up
            fault = "it goes on behind the end of the file"
        else:
            fault = _FAULTS.get(compression, _none)(_part(piece, number, grid, tags), tags)
        if fault:
            return f"strip or tile {number + 1} of {expected} of the TIFF: {fault}"
    return None


def _places(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> list[tuple[int, int]]:
    """Offset and length of each part, as stated; without lengths a part may reach to the end."""
    in_strips = _STRIP_OFFSETS in tags
    offsets = tags[_STRIP_OFFSETS if in_strips else _TILE_OFFSETS]
    rest = (len(data) - at for at in offsets)
    counts = tags.get(_STRIP_COUNTS if in_strips else _TILE_COUNTS, rest)
    return [(at, count) if at else (0, 0) for at, count in zip(offsets, counts, strict=False)]


def _grid(tags: TiffImagePlugin.ImageFileDirectory_v2) -> Grid:
    width, height = tags[_WIDTH], tags[_HEIGHT]
    samples = tags.get(_SAMPLES, 1)
    bits = tuple(tags.get(_BITS, (1,)))
    bits = bits * samples if len(bits) == 1 else bits[:samples]
    planes = bits if tags.get(_PLANAR, 1) == _SEPARATE else (sum(bits),)
    if _STRIP_OFFSETS in tags:
        high = max(1, min(tags.get(_ROWS_PER_STRIP, height), height))
        return Grid(width, high, 1, -(-height // high), planes)
    wide, high = tags[_TILE_WIDTH], tags[_TILE_HEIGHT]
    return Grid(wide, high, -(-width // wide), -(-height // high), planes)


def _part(
    piece: memoryview, number: int, grid: Grid, tags: TiffImagePlugin.ImageFileDirectory_v2
) -> Part:
    plane, place = divmod(number, grid.across * grid.down)
    rows = grid.height
    if _STRIP_OFFSETS in tags:
        rows = min(rows, tags[_HEIGHT] - place * grid.height)
    needed, most = (
        _bytes_of(grid.width, height, grid.planes[plane], tags) for height in (rows, grid.height)
    )
    return Part(piece, grid.width, rows, needed, most)


def _bytes_of(width: int, rows: int, bits: int, tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    """Bytes of an uncompressed part; colours that are subsampled come in groups of pixels."""
    is_compressed = tags.get(_COMPRESSION, 1) != _NO_COMPRESSION
    if tags.get(_PHOTOMETRIC) == _YCBCR and is_compressed and bits == 24:
        across, down = (int(value) for value in tags.get(_SUBSAMPLING, (2, 2)))
        return -(-width // across) * -(-rows // down) * (across * down + 2)
    return rows * ((width * bits + 7) // 8)


def _none(part: Part, tags: object) -> str | None:
    """What libtiff finds wrong is raised while the image is loaded."""
    return None


def _fault_in_raw(part: Part, tags: object) -> str | None:
    there = len(part.data)
    return None if there >= part.needed else f"{there} bytes of {part.needed}"


def _fault_in_deflate(part: Part, tags: object) -> str | None:
    """A stream that lacks its end only, with the checksum in it, has cost no pixel."""
    stream = inflate([part.data], part.most)
    if stream.fault:
        return f"it does not inflate: {stream.fault}"
    if part.needed <= stream.length <= part.most:
        return None
    return f"it inflates to {stream.length} bytes, {part.needed} are needed"


def _fault_in_lzma(part: Part, tags: object) -> str | None:
    stream = lzma.LZMADecompressor()
    length, waiting = 0, bytes(part.data)
    try:
        while length <= part.most and not stream.eof and (waiting or not stream.needs_input):
            length, waiting = length + len(stream.decompress(waiting, _OUT_BLOCK)), b""
    except (lzma.LZMAError, EOFError) as error:
        return f"it does not unpack: {error}"
    if part.needed <= length <= part.most:
        return None
    return f"it unpacks to {length} bytes, {part.needed} are needed"


def _fault_in_packbits(part: Part, tags: object) -> str | None:
    """Walk the runs (TIFF 6.0, section 9); the last one has to end with the part."""
    data, at, length = part.data, 0, 0
    while length < part.needed and at < len(data):
        code = data[at]
        if code < 128:
            at += 2 + code
            length += 1 + code
        else:
            at += 1 if code == 128 else 2
            length += 0 if code == 128 else 257 - code
    if at > len(data) or length != part.needed:
        return f"its runs make {length} bytes, {part.needed} are needed"
    return None


def _fault_in_jpeg(part: Part, tags: TiffImagePlugin.ImageFileDirectory_v2) -> str | None:
    """Parts may share tables, which stand in a tag as a JPEG without an image."""
    data = bytes(part.data)
    if tables := tags.get(_JPEG_TABLES, b""):
        end = next((start for marker, start, *_ in segments(tables) if marker == END_OF_IMAGE), 0)
        if not end:
            return "the tables of its JPEG do not end"
        data = tables[:end] + data[2:]
    frame = frame_of(data)
    is_smaller = frame is not None and (frame.size[0] < part.height or frame.size[1] < part.width)
    if is_smaller and tags.get(_PLANAR, 1) != _SEPARATE:  # planes may be subsampled
        return f"its JPEG is smaller than {part.width} x {part.height}"
    return fault_in_jpeg(data)


def _fault_in_fax(part: Part, tags: TiffImagePlugin.ImageFileDirectory_v2) -> str | None:
    return fault_in_fax(
        bytes(part.data),
        (part.height, part.width),
        tags[_COMPRESSION],
        tags.get(_GROUP_3_OPTIONS, 0),
        reversed_bits=tags.get(_FILL_ORDER, 1) == 2,
    )


_FAULTS: dict[
    int, Callable[[Part, TiffImagePlugin.ImageFileDirectory_v2], str | None]
] = {  # by compression
    _NO_COMPRESSION: _fault_in_raw,
    _JPEG: _fault_in_jpeg,
    **dict.fromkeys((HUFFMAN, GROUP_3, GROUP_4), _fault_in_fax),
    8: _fault_in_deflate,
    32946: _fault_in_deflate,
    32773: _fault_in_packbits,
    34925: _fault_in_lzma,
}
