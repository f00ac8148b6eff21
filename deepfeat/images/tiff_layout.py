"""Where the strips or tiles of a TIFF's first page lie, how large each is, and if that is said.

A tag that says how pixels lie and has lost its value, or is there twice, would be replaced by a
default in silence, and the page read as another one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from PIL import TiffImagePlugin

from deepfeat.images.walks import tiff_entries

Tags = TiffImagePlugin.ImageFileDirectory_v2

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR = 273, 277, 278, 279, 284
GROUP_3_OPTIONS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 292, 322, 323, 324, 325
JPEG_TABLES, JPEG_STREAM, JPEG_LENGTH, SUBSAMPLING = 347, 513, 514, 530
YCBCR, SEPARATE, NO_COMPRESSION = 6, 2, 1
_PREDICTOR, _COLOURS, _INKS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 317, 320, 332, 338, 339
_OF_ONE_VALUE = frozenset(
    {
        *(WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR),
        *(TILE_WIDTH, TILE_HEIGHT, GROUP_3_OPTIONS, JPEG_STREAM, JPEG_LENGTH, _PREDICTOR, _INKS),
    }
)
_OF_MORE_VALUES = frozenset(
    {
        *(BITS, STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, JPEG_TABLES, SUBSAMPLING),
        *(_COLOURS, _EXTRA_SAMPLES, _SAMPLE_FORMAT),
    }
)
_PALETTE = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A strip or tile.

    Parameters
    ----------
    start, count : int
        Where its bytes are said to lie, and how many; 0, 0 where it is said to lie nowhere.
    width, height : int
        A strip ends with the image, a tile is always full.
    needed : int
        Bytes that it takes uncompressed.
    most : int
        Bytes of a full strip: some writers fill up the last one.
    """

    start: int
    count: int
    width: int
    height: int
    needed: int
    most: int


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a page is divided: size of a part, how many there are, bits of a pixel in each plane."""

    width: int
    height: int
    across: int
    down: int
    planes: tuple[int, ...]


def fault_in_layout(data: bytes, tags: Tags) -> str | None:
    """Return which tag of the layout has not the values that it should have, in words, or None."""
    seen: dict[int, bytes] = {}
    for tag, start, end, _, _, values in tiff_entries(data):
        if tag not in _OF_ONE_VALUE | _OF_MORE_VALUES:
            continue
        if not values or min(values) < 0 or (tag in _OF_ONE_VALUE and len(values) > 1):
            return f"tag {tag} of the TIFF's directory has no value that could be right"
        if seen.setdefault(tag, data[start:end]) != data[start:end]:
            return f"tag {tag} stands in the TIFF's directory twice, with other values"
    if tags.get(PHOTOMETRIC) == _PALETTE:
        colours, expected = len(tags.get(_COLOURS, ())), 3 << tags.get(BITS, (1,))[0]
        if colours != expected:
            return f"the TIFF's palette has {colours} numbers and should have {expected}"
    return None


def parts_of(data: bytes, tags: Tags) -> tuple[list[Part], int, int]:
    """List the parts, as many as are stated and needed; and say how many are stated, and needed.

    Raises
    ------
    KeyError, TypeError, ValueError, ZeroDivisionError
        Where tags are missing or of types that Pillow does not read.
    """
    grid = _grid(tags)
    places = _places(data, tags)
    needed = grid.across * grid.down * len(grid.planes)
    parts = [_part(place, number, grid, tags) for number, place in enumerate(places[:needed])]
    return parts, len(places), needed


def _places(data: bytes, tags: Tags) -> list[tuple[int, int]]:
    """Offset and length of each part, as stated; without lengths it reaches to the next one."""
    in_strips = STRIP_OFFSETS in tags
    offsets = tags[STRIP_OFFSETS if in_strips else TILE_OFFSETS]
    counts = tags.get(STRIP_COUNTS if in_strips else TILE_COUNTS)
    if counts is None:
        borders = [*sorted(offsets), len(data)]
        counts = [borders[min(bisect_right(borders, at), len(offsets))] - at for at in offsets]
    return [(at, count) if at else (0, 0) for at, count in zip(offsets, counts, strict=False)]


def _grid(tags: Tags) -> _Grid:
    width, height = tags[WIDTH], tags[HEIGHT]
    samples = tags.get(SAMPLES, 1)
    bits = tuple(tags.get(BITS, (1,)))
    bits = bits * samples if len(bits) == 1 else bits[:samples]
    planes = bits if tags.get(PLANAR, 1) == SEPARATE else (sum(bits),)
    if STRIP_OFFSETS in tags:
        high = max(1, min(tags.get(ROWS_PER_STRIP, height), height))
        return _Grid(width, high, 1, -(-height // high), planes)
    wide, high = tags[TILE_WIDTH], tags[TILE_HEIGHT]
    return _Grid(wide, high, -(-width // wide), -(-height // high), planes)


def _part(stated: tuple[int, int], number: int, grid: _Grid, tags: Tags) -> Part:
    plane, place = divmod(number, grid.across * grid.down)
    rows = grid.height
    if STRIP_OFFSETS in tags:
        rows = min(rows, tags[HEIGHT] - place * grid.height)
    needed, most = (
        _bytes_of(grid.width, height, grid.planes[plane], tags) for height in (rows, grid.height)
    )
    return Part(*stated, grid.width, rows, needed, most)


def _bytes_of(width: int, rows: int, bits: int, tags: Tags) -> int:
    """Bytes of an uncompressed part; colours that are subsampled come in groups of pixels."""
    is_compressed = tags.get(COMPRESSION, 1) != NO_COMPRESSION
    if tags.get(PHOTOMETRIC) == YCBCR and is_compressed and bits == 24:
        across, down = (int(value) for value in tags.get(SUBSAMPLING, (2, 2)))
        return -(-width // across) * -(-rows // down) * (across * down + 2)
    return rows * ((width * bits + 7) // 8)
