"""TIFFs by hand: orders of bits, tags that lost their values, compressions, parts that share."""

from __future__ import annotations

import io
import lzma
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Status

RANDOM = np.random.default_rng(8)
GREY = np.asarray(Pillow.fromarray(RANDOM.integers(0, 256, (9, 12), np.uint8)).resize((133, 97), 3))
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
OFFSETS, COUNTS, TILES, TILE_COUNTS = 273, 279, 324, 325


def saved(kind: str, pixels: np.ndarray = GREY, **options: object) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def strip_of(compression: str, pixels: np.ndarray = GREY) -> bytes:
    data = saved("TIFF", pixels, compression=compression, strip_size=1 << 24)
    with Pillow.open(io.BytesIO(data)) as image:
        (at,), (length,) = image.tag_v2[OFFSETS], image.tag_v2[COUNTS]
    return data[at : at + length]


def packbits(data: bytes) -> bytes:
    parts = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def entry(tag: int, values: list[int], count: int | None = None) -> tuple[int, list[int], int]:
    return tag, values, len(values) if count is None else count


def tiff(packed: bytes, entries: list[tuple[int, list[int], int]]) -> bytes:
    """Packed bytes at offset 8, then the values of tags, then the directory; all of 32 bit."""
    data = b"II*\0" + bytes(4) + packed + bytes(len(packed) % 2)
    directory = struct.pack("<H", len(entries))
    for tag, values, count in sorted(entries, key=lambda each: each[0]):
        place = struct.pack("<I", values[0]) if len(values) == 1 else struct.pack("<I", len(data))
        if len(values) > 1:
            data += struct.pack(f"<{len(values)}I", *values)
        directory += struct.pack("<HHI", tag, 4, count) + place
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory + bytes(4)


def grey(
    packed: bytes,
    compression: int,
    *more: tuple[int, list[int], int],
    without: tuple[int, ...] = (),
) -> bytes:
    """One strip of 133 x 97 greys; ``more`` entries take the place of others of their tag."""
    entries = [entry(256, [133]), entry(257, [97]), entry(258, [8]), entry(259, [compression])]
    entries += [entry(262, [1]), entry(OFFSETS, [8]), entry(277, [1]), entry(278, [97])]
    entries += [entry(COUNTS, [len(packed)])]
    gone = {*without, *(tag for tag, _, _ in more)}
    return tiff(packed, [one for one in entries if one[0] not in gone] + [*more])


def differences(pixels: np.ndarray) -> bytes:
    """Each row as its first value and steps (TIFF's predictor 2)."""
    return np.diff(pixels, axis=1, prepend=np.uint8(0)).tobytes()


# order of bits

PACKED = {  # compression, strip, predictor
    "raw": (1, GREY.tobytes(), 1),
    "deflate": (8, zlib.compress(GREY.tobytes()), 1),
    "old deflate": (32946, zlib.compress(GREY.tobytes()), 1),
    "deflate, predictor": (8, zlib.compress(differences(GREY)), 2),
    "PackBits": (32773, packbits(GREY.tobytes()), 1),
    "LZMA": (34925, lzma.compress(GREY.tobytes()), 1),
    "LZW": (5, strip_of("tiff_lzw"), 1),
}


@pytest.mark.parametrize("order", [1, 2], ids=["highest first", "lowest first"])
@pytest.mark.parametrize("name", PACKED)
def test_strip_in_either_order_of_bits_is_whole(name: str, order: int) -> None:
    compression, strip, predictor = PACKED[name]
    stored = strip.translate(REVERSED) if order == 2 else strip
    data = grey(stored, compression, entry(266, [order]), entry(317, [predictor]))
    image = decode_bytes(data)
    assert image.status is Status.OK, image.detail
    assert np.array_equal(image.pixels, np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize("name", PACKED)
def test_half_a_strip_in_the_other_order_of_bits_is_corrupt(name: str) -> None:
    compression, strip, predictor = PACKED[name]
    half = strip[: len(strip) // 2].translate(REVERSED)
    data = grey(half, compression, entry(266, [2]), entry(317, [predictor]))
    assert decode_bytes(data).status is Status.CORRUPT


def test_raw_planes_in_the_other_order_of_bits_are_unsupported() -> None:
    """Pillow would not turn their bits."""
    turned = GREY.tobytes().translate(REVERSED)
    image = decode_bytes(grey(turned, 1, entry(266, [2]), entry(284, [2])))
    assert image.status is Status.UNSUPPORTED
    packed = zlib.compress(GREY.tobytes()).translate(REVERSED)
    image = decode_bytes(grey(packed, 8, entry(266, [2]), entry(284, [2])))
    assert np.array_equal(image.pixels[..., 0], GREY)


# tags of the layout


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 266, 277, 278, 284, 317, OFFSETS, COUNTS])
@pytest.mark.parametrize("name", ["raw", "deflate", "LZW"])
def test_tag_of_the_layout_that_lost_its_value_is_damage(name: str, tag: int) -> None:
    compression, strip, _ = PACKED[name]
    assert decode_bytes(grey(strip, compression)).status is Status.OK
    assert decode_bytes(grey(strip, compression, entry(tag, [0], 0))).status is Status.CORRUPT


@pytest.mark.parametrize("tag", [256, 257, 259, 262, 277, 278])
@pytest.mark.parametrize("name", ["raw", "deflate", "LZW"])
def test_tag_of_one_value_that_has_more_is_damage(name: str, tag: int) -> None:
    compression, strip, _ = PACKED[name]
    data = grey(strip, compression, entry(tag, [1, 1]))
    assert decode_bytes(data).status is Status.CORRUPT


@pytest.mark.parametrize("name", PACKED)
def test_tiff_that_does_not_say_which_grey_is_black_is_unsupported(name: str) -> None:
    compression, strip, predictor = PACKED[name]
    image = decode_bytes(grey(strip, compression, entry(317, [predictor]), without=(262,)))
    assert image.status is Status.UNSUPPORTED
    assert "colours" in image.detail


def test_strip_in_lzw_whose_bits_are_not_said_is_not_of_one_bit() -> None:
    image = decode_bytes(grey(PACKED["LZW"][1], 5, without=(258,)))
    assert image.status is Status.UNSUPPORTED
    assert "bits" in image.detail


@pytest.mark.parametrize("number", [768, 767, 384, 3])
def test_palette_of_another_length_is_damage(number: int) -> None:
    colours = entry(320, [257 * (at % 256) for at in range(number)])
    data = grey(GREY.tobytes(), 1, entry(262, [3]), colours)
    assert decode_bytes(data).status is (Status.OK if number == 768 else Status.CORRUPT)


@pytest.mark.parametrize("tag, other", [(256, 66), (258, 1), (259, 1), (262, 0), (278, 48)])
@pytest.mark.parametrize("is_first", [True, False])
def test_tag_that_stands_twice_with_other_values_is_damage(
    tag: int, other: int, is_first: bool
) -> None:
    compression, strip, _ = PACKED["LZW"]
    right = {256: 133, 258: 8, 259: 5, 262: 1, 278: 97}[tag]
    pair = [entry(tag, [other]), entry(tag, [right])]
    data = grey(strip, compression, *(pair if is_first else pair[::-1]))
    assert decode_bytes(data).status is Status.CORRUPT
    same = grey(strip, compression, entry(tag, [right]), entry(tag, [right]))
    assert decode_bytes(same).status is Status.OK


@pytest.mark.parametrize("name", [name for name in PACKED if name != "raw"])
def test_packed_strip_whose_compression_is_not_said_is_no_raw_one(name: str) -> None:
    """Noise, which gets longer: as raw bytes there would be enough of them."""
    noise = RANDOM.integers(0, 256, GREY.shape, np.uint8)
    strip = {
        "LZW": lambda: strip_of("tiff_lzw", noise),
        "PackBits": lambda: packbits(noise.tobytes()),
        "LZMA": lambda: lzma.compress(noise.tobytes()),
    }.get(name, lambda: zlib.compress(noise.tobytes()))()
    assert len(strip) > noise.size
    assert decode_bytes(grey(strip, 1, without=(259,))).status is Status.CORRUPT


def test_raw_strip_whose_bits_are_not_said_is_not_of_one_bit() -> None:
    assert decode_bytes(grey(GREY.tobytes(), 1, without=(258,))).status is Status.CORRUPT


def test_raw_strip_without_a_compression_is_whole_where_its_length_is_right() -> None:
    image = decode_bytes(grey(GREY.tobytes(), 1, without=(259,)))
    assert np.array_equal(image.pixels[..., 0], GREY)
    bits = np.packbits(GREY > 127, axis=1).tobytes()
    image = decode_bytes(grey(bits, 1, without=(258, 259)))
    assert np.array_equal(image.pixels[..., 0] == 255, GREY > 127)


@pytest.mark.parametrize("rows", [97, 60])
def test_last_raw_strip_may_be_filled_up(rows: int) -> None:
    strips = 97 // rows + (97 % rows > 0)
    data = GREY.tobytes() + bytes((strips * rows - 97) * 133)
    offsets = [8 + number * rows * 133 for number in range(strips)]
    entries = [entry(OFFSETS, offsets), entry(COUNTS, [rows * 133] * strips), entry(278, [rows])]
    image = decode_bytes(grey(data, 1, *entries, without=(259,)))
    assert np.array_equal(image.pixels[..., 0], GREY)


# compressions

BLACK = GREY > 127


COLOURED = np.stack([GREY, GREY[::-1], GREY], axis=2)
STREAM = saved("JPEG", COLOURED, quality=90, subsampling=0)
SCAN = STREAM.index(b"\xff\xda")


def old_jpeg(stream: bytes, start: int = 8, *, header: int | None = None) -> bytes:
    """Old-style JPEG compression: the strip begins within the stream, or behind its header."""
    entries = [entry(258, [8, 8, 8]), entry(262, [6]), entry(277, [3]), entry(530, [1, 1])]
    entries += [entry(OFFSETS, [start]), entry(COUNTS, [len(stream) - (start - 8)])]
    entries += [entry(513, [8]), entry(514, [header or len(stream)])]
    return grey(stream, 6, *entries)


def of_compression(code: int, part: float) -> bytes | None:
    """A TIFF of Pillow's with so much of its one strip as stated, or None where it writes none."""
    if code == 6:
        kept = int(part * len(STREAM))
        return old_jpeg(STREAM[:kept] + b"\xff\xd9")
    name = TiffImagePlugin.COMPRESSION_INFO[code]
    pixels = BLACK if code in (2, 3, 4) else GREY
    try:
        data = saved("TIFF", pixels, compression=name, strip_size=1 << 24)
    except Exception:  # whatever an encoder raises says that it is not there
        return None
    with Pillow.open(io.BytesIO(data)) as image:
        (at,), (length,), tags = image.tag_v2[OFFSETS], image.tag_v2[COUNTS], image.tag_v2
        bits, photometric = tags.get(258, (1,))[0], tags[262]
    strip = data[at : at + int(part * length)]
    more = [entry(258, [bits]), entry(262, [photometric])]
    if tables := tags.get(347):  # of a type that this writer of entries does not have
        strip = strip[:2] + tables[2:-2] + strip[2:]
    return grey(strip, code, *more)


@pytest.mark.parametrize("code", sorted(TiffImagePlugin.COMPRESSION_INFO))
def test_every_compression_that_pillow_knows_is_checked_or_unsupported(code: int) -> None:
    whole = of_compression(code, 1)
    if whole is None or code in (32771, 32809, 34676, 34677):
        image = decode_bytes(grey(whole or GREY.tobytes(), code))
        assert image.status is Status.UNSUPPORTED
        assert "compression" in image.detail
        return
    assert decode_bytes(whole).status is Status.OK, decode_bytes(whole).detail
    for part in (0.2, 0.5, 0.9):
        assert decode_bytes(of_compression(code, part)).status is Status.CORRUPT


@pytest.mark.parametrize("start", [8, 8 + SCAN], ids=["the stream", "its scan"])
def test_old_jpeg_is_looked_at_as_a_jpeg(start: int) -> None:
    image = decode_bytes(old_jpeg(STREAM, start))
    assert image.status is Status.OK, image.detail
    assert np.abs(image.pixels.astype(int) - COLOURED).mean() < 3
    for part in (0.5, 0.8, 0.95):
        half = STREAM[: int(part * len(STREAM))] + b"\xff\xd9"
        assert decode_bytes(old_jpeg(half, start)).status is Status.CORRUPT


def test_old_jpeg_whose_scan_lies_elsewhere_is_unsupported() -> None:
    image = decode_bytes(old_jpeg(STREAM, 8 + SCAN, header=SCAN))
    assert image.status is Status.UNSUPPORTED, image.detail
    assert "old-style JPEG" in image.detail


# parts that share their bytes


def strips_of(packed: bytes, compression: int, offsets: list[int], count: int, width: int) -> bytes:
    """One row in each strip, all of the same length."""
    entries = [entry(256, [width]), entry(257, [len(offsets)]), entry(OFFSETS, offsets)]
    entries += [entry(COUNTS, [count] * len(offsets)), entry(278, [1])]
    return grey(packed, compression, *entries)


NO_OPERATIONS = b"\x80" * 1_000_000
SAME = [8] * 100
OTHER = list(range(8, 108))
RUN = b"\xf1\x07"  # sixteen pixels of 7


def tiles_of(jpeg: bytes, offsets: list[int], count: int) -> bytes:
    entries = [entry(256, [96]), entry(257, [96]), entry(322, [16]), entry(323, [16])]
    entries += [entry(TILES, offsets), entry(TILE_COUNTS, [count] * 36)]
    return grey(jpeg, 7, *entries, without=(OFFSETS, COUNTS, 278))


COMMENTED = saved("JPEG", np.full((16, 16), 7, np.uint8))
COMMENTED = COMMENTED[:2] + b"\xff\xfe\0\2" * 250_000 + COMMENTED[2:]


def within_seconds(data: bytes, bound: float) -> Status:
    start = time.process_time()
    status = decode_bytes(data).status
    assert time.process_time() - start < bound
    return status


def test_equal_strips_and_tiles_may_share_their_bytes() -> None:
    packed = NO_OPERATIONS + RUN
    data = strips_of(packed, 32773, SAME, len(packed), 16)
    assert within_seconds(data, 2) is Status.OK
    assert (decode_bytes(data).pixels == 7).all()
    data = tiles_of(COMMENTED, [8] * 36, len(COMMENTED))
    assert within_seconds(data, 4) is Status.OK


def test_strips_and_tiles_that_overlap_are_not_walked_again_and_again() -> None:
    packed = NO_OPERATIONS + bytes(100) + RUN * 3
    data = strips_of(packed, 32773, OTHER, len(NO_OPERATIONS), 16)
    assert within_seconds(data, 2) is Status.CORRUPT
    apart = COMMENTED[:2] + b"\xff" * 40 + COMMENTED[2:]
    data = tiles_of(b"\xff\xd8" * 40 + apart, list(range(8, 80, 2)), len(apart) + 4)
    assert within_seconds(data, 4) is Status.CORRUPT


@pytest.mark.parametrize("rows", [16_000_000, 65_000])
def test_fax_of_more_lines_than_are_walked_is_unsupported(rows: int) -> None:
    """Lines of one white pixel, each a bit long, in one strip or in many."""
    strips = -(-16_000_000 // rows)
    size = -(-rows // 8)
    entries = [entry(256, [1]), entry(257, [strips * rows]), entry(258, [1]), entry(262, [0])]
    entries += [entry(OFFSETS, [8 + size * number for number in range(strips)])]
    entries += [entry(COUNTS, [size] * strips), entry(278, [rows])]
    data = grey(b"\xff" * (size * strips), 4, *entries)
    assert within_seconds(data, 2) is Status.UNSUPPORTED


def test_blank_tiles_of_jpeg_share_their_tables_in_little_time() -> None:
    """Tables of a megabyte, for each of many tiles that are small: none has such."""
    jpeg = saved("JPEG", np.full((16, 16), 7, np.uint8))
    tables = b"\xff\xd8" + b"\xff\xfe\0\2" * 250_000 + b"\xff\xd9"
    stored = jpeg * 36 + tables
    offsets = [8 + number * len(jpeg) for number in range(36)]
    data = tiles_of(stored, offsets, len(jpeg))
    assert decode_bytes(data).status is Status.OK
    (at,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, at)
    shared = struct.pack("<HHII", 347, 7, len(tables), 8 + 36 * len(jpeg))
    entries = data[at + 2 : at + 2 + 12 * number] + shared + bytes(4)
    data = data[:at] + struct.pack("<H", number + 1) + entries
    assert within_seconds(data, 4) is Status.CORRUPT
