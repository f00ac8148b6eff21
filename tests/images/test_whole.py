"""Half an image is no image: damage whose truth is known by construction, format by format."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow
from striped_tiff import PACKERS, packed_strips, tiff_of

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Note, Status

RANDOM = np.random.default_rng(5)
COARSE = Pillow.fromarray(RANDOM.integers(0, 256, (13, 19, 3), np.uint8))
IMAGE = COARSE.resize((100, 64), Pillow.Resampling.BICUBIC)
PIXELS = np.asarray(IMAGE)


def saved(kind: str, image: Pillow.Image = IMAGE, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refused(data: bytes, words: str) -> None:
    image = decode_bytes(data)
    assert image.status is Status.CORRUPT, image.notes
    assert image.pixels is None
    assert words in image.detail


# JPEG

JPEGS = {
    "baseline": saved("JPEG", quality=90),
    "full colour": saved("JPEG", quality=90, subsampling=0),
    "progressive": saved("JPEG", quality=90, progressive=True),
    "restart markers": saved("JPEG", quality=90, restart_marker_rows=1),
    "grey": saved("JPEG", IMAGE.convert("L"), quality=90),
    "inks": saved("JPEG", IMAGE.convert("CMYK"), quality=90),
}
STEREO = saved("MPO", quality=90, save_all=True, append_images=[IMAGE.rotate(180)])


def scans(data: bytes) -> list[int]:
    """Where the scans of a JPEG of ours begin: no metadata of it hold these two bytes."""
    return [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]


@pytest.mark.parametrize("name", JPEGS)
def test_whole_jpeg_is_an_image(name: str) -> None:
    assert decode_bytes(JPEGS[name]).status is Status.OK


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_cut_and_given_an_end_is_corrupt(name: str, part: float) -> None:
    start = scans(JPEGS[name])[0] + 20
    kept = start + int(part * (len(JPEGS[name]) - start))
    refused(JPEGS[name][:kept] + b"\xff\xd9", "JPEG")


@pytest.mark.parametrize("name", ["baseline", "progressive", "restart markers", "inks"])
def test_jpeg_with_zeros_in_the_middle_is_corrupt(name: str) -> None:
    data = bytearray(JPEGS[name])
    middle = (scans(JPEGS[name])[0] + len(data)) // 2
    data[middle : middle + 600] = bytes(600)
    refused(bytes(data), "JPEG")


@pytest.mark.parametrize("lost", range(10))
def test_progressive_jpeg_that_lost_a_scan_is_corrupt(lost: int) -> None:
    """Decoders say nothing of a scan that was never sent: the rest is a coarser image."""
    data = JPEGS["progressive"]
    starts = [*scans(data), len(data) - 2]
    assert len(starts) == 11
    tables = data[starts[lost] : starts[lost + 1]].find(b"\xff\xc4")  # the next scan's
    end = starts[lost] + tables if tables > 0 else starts[lost + 1]
    refused(data[: starts[lost]] + data[end:], "JPEG")


def test_jpeg_of_separate_scans_that_lost_a_colour_is_corrupt() -> None:
    """Three scans of one grey image, declared to be one each of three components."""
    grey = JPEGS["grey"]
    frame, scan = grey.index(b"\xff\xc0"), scans(grey)[0]
    size = grey[frame + 5 : frame + 9]
    three = b"\xff\xc0\0\x11\x08" + size + b"\x03" + b"".join(b"%c\x11\0" % n for n in (1, 2, 3))
    length = int.from_bytes(grey[frame + 2 : frame + 4], "big")
    head = grey[:frame] + three + grey[frame + 2 + length : scan]
    of = [b"\xff\xda\0\x08\x01%c\0\0\x3f\0" % n + grey[scan + 10 : -2] for n in (1, 2, 3)]
    assert decode_bytes(head + b"".join(of) + b"\xff\xd9").status is Status.OK
    refused(head + of[0] + of[1] + b"\xff\xd9", "component 3 of 3 is incomplete")


@pytest.mark.parametrize("name", ["baseline", "progressive", "grey"])
def test_jpeg_with_bytes_that_belong_to_no_scan_is_corrupt(name: str) -> None:
    refused(JPEGS[name][:-2] + b"bytes of nobody" + JPEGS[name][-2:], "extraneous")


def test_jpeg_that_lost_a_restart_interval_is_corrupt() -> None:
    data = JPEGS["restart markers"]
    refused(data[: data.index(b"\xff\xd1")] + data[data.index(b"\xff\xd2") :], "JPEG")


@pytest.mark.parametrize("name", ["baseline", "full colour", "grey", "inks", "restart markers"])
def test_jpeg_with_a_code_that_is_in_no_table_is_corrupt(name: str) -> None:
    """No table has a code of ones throughout; libjpeg-turbo takes it for a zero where in haste."""
    data = JPEGS[name]
    start = scans(data)[0] + 14
    for at in range(start, len(data) - 12, 101):
        damaged = data[:at] + b"\xff\0" * 4 + data[at + 8 :]
        assert decode_bytes(damaged).status is Status.CORRUPT, at - start


@pytest.mark.parametrize("side", [2040, 2048, 2064])  # 65,025, 65,536 and 66,564 blocks
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_large_jpeg_without_restart_markers_is_an_image(mode: str, side: int) -> None:
    """No more than 65,535 units can be between two markers."""
    data = saved("JPEG", IMAGE.convert(mode).resize((side, side)), subsampling=0)
    assert decode_bytes(data).status is Status.OK


COMMENT, APPLICATION = b"\xff\xfe\0\x04hi", b"\xff\xed\0\x04hi"


@pytest.mark.parametrize("more", [COMMENT, APPLICATION, COMMENT * 2], ids=["COM", "APP13", "two"])
@pytest.mark.parametrize("marker", [b"\xff\xd0", b"\xff\xd1", b"\xff\xd2"])
def test_jpeg_with_metadata_among_the_data_of_a_scan_is_corrupt(marker: bytes, more: bytes) -> None:
    """libjpeg looks for the restart marker behind them and fills up what it takes for lost."""
    data = JPEGS["restart markers"]
    at = data.index(marker, scans(data)[0])
    refused(data[:at] + more + data[at:], "JPEG")
    refused(data[: at + 30] + more + data[at + 30 :], "JPEG")


@pytest.mark.parametrize("number", [1, 2, 5])
def test_progressive_jpeg_with_metadata_between_its_scans_is_whole(number: int) -> None:
    data = JPEGS["progressive"]
    behind = scans(data)[number - 1] + 4
    at = min(
        data.index(marker, behind)
        for marker in (b"\xff\xda", b"\xff\xc4")
        if marker in data[behind:]
    )
    image = decode_bytes(data[:at] + COMMENT + APPLICATION + data[at:])
    assert image.status is Status.OK, image.detail
    assert np.array_equal(image.pixels, decode_bytes(data).pixels)


@pytest.mark.parametrize("rows", [48, 80])
def test_jpeg_of_another_height_than_its_header_says_is_corrupt(rows: int) -> None:
    data = bytearray(JPEGS["full colour"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = struct.pack(">H", rows)
    refused(bytes(data), "JPEG")


def test_first_image_of_an_mpo_is_looked_at_and_no_other() -> None:
    end = STEREO.index(b"\xff\xd9", scans(STEREO)[0])
    assert decode_bytes(STEREO[:-300] + bytes(300)).status is Status.OK
    refused(STEREO[: end - 300] + b"\xff\xd9" + STEREO[end + 2 :], "JPEG")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"JFIF\0\x01", b"JFIF\0\x09"),  # an unknown revision
        (b"\xff\xe0\0\x10JFIF", b"\xff\xe0\0\x0eJFIF"),  # a length that is two bytes short
        (b"\0\x3f\0", b"\0\0\0"),  # parameters that a sequential JPEG's scan does not use
    ],
    ids=["revision", "length", "parameters"],
)
def test_what_libjpeg_says_of_metadata_costs_no_image_and_hides_no_damage(
    old: bytes, new: bytes
) -> None:
    odd = JPEGS["baseline"].replace(old, new, 1)
    assert odd != JPEGS["baseline"]
    if len(new) < 7:  # Pillow itself does not open what follows a short length
        assert decode_bytes(odd).status is Status.OK
    assert decode_bytes(odd[: len(odd) * 2 // 3] + b"\xff\xd9").status is Status.CORRUPT


def test_jpeg_that_nothing_can_check_is_unsupported() -> None:
    """4:1:0: eight blocks of brightness to one of each colour."""
    grey = JPEGS["grey"]
    frame, scan = grey.index(b"\xff\xc0"), scans(grey)[0]
    three = b"\xff\xc0\0\x11\x08\0\x10\0\x20\x03\x01\x42\0\x02\x11\0\x03\x11\0"
    length = int.from_bytes(grey[frame + 2 : frame + 4], "big")
    head = grey[:frame] + three + grey[frame + 2 + length : scan]
    data = head + b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0" + grey[scan + 10 :]
    image = decode_bytes(data)
    assert image.status is Status.UNSUPPORTED
    assert "subsampling" in image.detail


# PNG


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(packed: bytes, *, interlaced: int = 0, behind: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", 100, 64, 8, 2, 0, 0, interlaced)
    pixels = chunk(b"IDAT", packed[:999]) + chunk(b"IDAT", packed[999:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + behind + chunk(b"IEND", b"")


ROWS = [b"\0" + row.tobytes() for row in PIXELS]
PASSES = [  # Adam7
    [b"\0" + row.tobytes() for row in PIXELS[top::down, left::right]]
    for left, top, right, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
]
PACKED = zlib.compress(b"".join(ROWS))


def packed_passes(number: int) -> bytes:
    return zlib.compress(b"".join(row for one in PASSES[:number] for row in one))


@pytest.mark.parametrize("rows", [1, 32, 63])
def test_png_that_lacks_rows_is_corrupt(rows: int) -> None:
    refused(png(zlib.compress(b"".join(ROWS[:rows]))), f"{rows * 301} bytes of 19264")


@pytest.mark.parametrize("number", range(1, 7))
def test_interlaced_png_that_lacks_passes_is_corrupt(number: int) -> None:
    assert decode_bytes(png(packed_passes(7), interlaced=1)).status is Status.OK
    refused(png(packed_passes(number), interlaced=1), "end early")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(PACKED[:-1] + bytes([PACKED[-1] ^ 1])), "broken data"),
        (png(PACKED[:-4]), "without their checksum"),
        (png(PACKED + b"rest"), "more data"),
        (png(zlib.compress(b"".join(ROWS) + bytes(301))), "more data"),
        (
            png(PACKED, behind=chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"x")),
            "place or length of IDAT",
        ),
    ],
    ids=["checksum", "no checksum", "bytes behind", "row too many", "two pieces"],
)
def test_png_whose_stream_is_not_right_is_corrupt(data: bytes, words: str) -> None:
    refused(data, words)


def test_png_with_an_unknown_filter_is_no_image() -> None:
    assert decode_bytes(png(zlib.compress(b"\x07" + b"".join(ROWS)[1:]))).pixels is None


@pytest.mark.parametrize("name", [b"IDAT", b"PLTE", b"tRNS"])
def test_png_with_a_wrong_checksum_where_pixels_come_from_is_corrupt(name: bytes) -> None:
    palette = IMAGE.quantize(16)
    data = bytearray(saved("PNG", palette, transparency=3))
    assert decode_bytes(bytes(data)).status is Status.OK
    at = data.index(name)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    assert decode_bytes(bytes(data)).status is Status.CORRUPT


def test_whole_animated_png_is_an_image() -> None:
    data = saved("PNG", save_all=True, append_images=[IMAGE.rotate(180)])
    assert decode_bytes(data).notes == Note.FIRST_OF_SEVERAL_FRAMES


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_pixel_of_a_colour_that_is_not_there_is_corrupt(kind: str) -> None:
    indices = Pillow.fromarray((np.indices((9, 9)).sum(0) % 8).astype(np.uint8), "P")
    indices.putpalette(bytes(range(24)))
    data = bytearray(saved(kind, indices))
    assert decode_bytes(bytes(data)).status is Status.OK
    if kind == "GIF":
        assert data[10] & 7 == 2
        data[10] -= 1  # a table of four colours, the others left out
        del data[13 + 12 : 13 + 24]
    else:
        at = data.index(b"PLTE")
        data[at - 4 : at + 8 + 24] = chunk(b"PLTE", bytes(12))
    refused(bytes(data), "colour 7")


# TIFF


def halved(strips: list[bytes], number: int = 1) -> list[bytes]:
    return [s[: len(s) // 2] if n == number else s for n, s in enumerate(strips)]


def zeroed(strips: list[bytes], number: int = 1) -> list[bytes]:
    half = [len(s) // 2 for s in strips]
    return [
        s[: half[n]] + bytes(len(s) - half[n]) if n == number else s for n, s in enumerate(strips)
    ]


STRIPS = {name: packed_strips(PIXELS, name) for name in PACKERS}


@pytest.mark.parametrize("name", PACKERS)
def test_whole_tiff_is_an_image(name: str) -> None:
    image = decode_bytes(tiff_of(STRIPS[name], PIXELS, name))
    assert image.status is Status.OK, image.detail
    assert name == "JPEG" or np.array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("name", PACKERS)
def test_tiff_with_half_a_strip_is_corrupt(name: str, number: int) -> None:
    data = tiff_of(halved(STRIPS[name], number), PIXELS, name)
    assert decode_bytes(data).status is Status.CORRUPT


@pytest.mark.parametrize("name", [name for name in PACKERS if name != "raw"])
def test_tiff_with_zeros_in_a_strip_is_corrupt(name: str) -> None:
    data = tiff_of(zeroed(STRIPS[name]), PIXELS, name)
    assert decode_bytes(data).status is Status.CORRUPT


def test_tiff_whose_strip_is_said_to_be_short_is_corrupt() -> None:
    """The bytes are there, and belong to the next strip: Pillow would read on."""
    counts = [4800, 2400, 4800, 4800]
    refused(tiff_of(STRIPS["raw"], PIXELS, "raw", counts=counts), "2 of 4")


@pytest.mark.parametrize("number", [0, 1, 3])
def test_tiff_whose_strip_is_nowhere_is_corrupt(number: int) -> None:
    data = tiff_of(STRIPS["raw"], PIXELS, "raw", lost=(number,))
    refused(data, f"strip or tile {number + 1} of 4 of the TIFF: it is not there")


@pytest.mark.parametrize("name", [name for name in PACKERS if name != "raw"])
def test_tiff_whose_strip_goes_on_behind_the_file_is_corrupt(name: str) -> None:
    counts = [len(strip) for strip in STRIPS[name][:3]] + [9999]
    assert decode_bytes(tiff_of(STRIPS[name], PIXELS, name, counts=counts)).pixels is None


@pytest.mark.parametrize("name", ["raw", "deflate"])
def test_tiff_that_has_fewer_strips_than_rows_is_corrupt(name: str) -> None:
    data = tiff_of(STRIPS[name][:3], PIXELS, name)
    assert decode_bytes(data).status is Status.CORRUPT


def test_raw_tiff_that_has_more_strips_than_rows_is_corrupt() -> None:
    """Pillow would begin anew at the first row."""
    refused(tiff_of(STRIPS["raw"] * 2, PIXELS, "raw"), "8 strips or tiles and should have 4")


@pytest.mark.parametrize("place", [5, -1], ids=["in the middle", "the checksum itself"])
def test_tiff_whose_deflated_strip_has_a_wrong_checksum_is_corrupt(place: int) -> None:
    damaged = bytearray(STRIPS["deflate"][2])
    damaged[place] ^= 1
    strips = [*STRIPS["deflate"][:2], bytes(damaged), STRIPS["deflate"][3]]
    assert decode_bytes(tiff_of(strips, PIXELS, "deflate")).status is Status.CORRUPT


def test_last_strip_that_was_filled_up_is_whole() -> None:
    strips = packed_strips(PIXELS, "deflate", rows=20)
    strips[3] = zlib.compress(PIXELS[60:].tobytes() + bytes(16 * 300))
    image = decode_bytes(tiff_of(strips, PIXELS, "deflate", rows=20))
    assert np.array_equal(image.pixels, PIXELS)


def test_tiff_whose_jpeg_strip_is_cut_and_given_an_end_is_corrupt() -> None:
    strips = [s[:-2] + b"\xff\xd9" for s in halved(STRIPS["JPEG"])]
    refused(tiff_of(strips, PIXELS, "JPEG"), "strip or tile 2 of 4")


def test_tiff_whose_jpeg_tables_do_not_end_is_corrupt() -> None:
    data = saved("TIFF", compression="jpeg", strip_size=4800)
    assert decode_bytes(data).status is Status.OK
    with Pillow.open(io.BytesIO(data)) as image:
        tables = image.tag_v2[347]
    refused(data.replace(tables, tables[:-2] + bytes(2)), "the tables of its JPEG do not end")


def test_tiff_whose_list_of_strips_cannot_be_read_is_corrupt() -> None:
    data = tiff_of(STRIPS["deflate"], PIXELS, "deflate")
    entry = struct.pack("<HHI", 273, 4, 4)
    refused(data.replace(entry, struct.pack("<HHI", 273, 4, 1 << 30)), "")


def test_tiff_whose_packed_run_goes_on_behind_its_strip_is_corrupt() -> None:
    last = STRIPS["PackBits"][1]
    strips = [*STRIPS["PackBits"]]
    strips[1] = last[:-65] + bytes([127]) + last[-64:] + bytes(64)  # 64 bytes more than asked for
    refused(tiff_of(strips, PIXELS, "PackBits"), "its runs make")


# fax

FAXES = ("tiff_ccitt", "group3", "group4")
COVERED = {  # share of black pixels
    "noise": RANDOM.random((40, 77)) < 0.5,
    "specks": RANDOM.random((40, 77)) < 0.03,
    "shapes": np.asarray(COARSE.convert("L").resize((300, 40))) < 128,
    "long runs": np.arange(40)[:, None] + np.arange(6000) < 5000,
    "nothing": np.zeros((9, 65), bool),
}


def fax(black: np.ndarray, compression: str) -> bytes:
    return saved("TIFF", Pillow.fromarray(~black), compression=compression)


@pytest.mark.parametrize("compression", FAXES)
@pytest.mark.parametrize("name", COVERED)
def test_whole_fax_is_an_image(name: str, compression: str) -> None:
    image = decode_bytes(fax(COVERED[name], compression))
    assert image.status is Status.OK, image.detail
    assert np.array_equal(image.pixels[..., 0] == 0, COVERED[name])


@pytest.mark.parametrize("damage", ["cut", "zeros", "flip"])
@pytest.mark.parametrize("name", ["noise", "shapes"])
@pytest.mark.parametrize("compression", FAXES)
def test_damaged_fax_is_corrupt(compression: str, name: str, damage: str) -> None:
    """libtiff mends each of these lines, Pillow says nothing."""
    data = bytearray(fax(COVERED[name], compression))
    with Pillow.open(io.BytesIO(data)) as image:
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    middle, end = start + length // 2, start + length
    if damage == "flip":
        data[middle : middle + 3] = bytes(255 - byte for byte in data[middle : middle + 3])
    elif damage == "zeros":
        data[middle:end] = bytes(end - middle)
    else:
        listed = data.rindex(struct.pack("<I", length), 0, start if start > 8 else len(data))
        data[listed : listed + 4] = struct.pack("<I", length // 2)
    assert decode_bytes(bytes(data)).status is Status.CORRUPT


# JPEG 2000, GIF


def tiles(data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data[at : at + 4] == b"\xff\x90\0\x0a"]


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_jpeg2000_that_lost_a_tile_is_corrupt(lost: int) -> None:
    data = saved("JPEG2000", tile_size=(48, 48), no_jp2=True)
    starts = [*tiles(data), len(data) - 2]
    assert len(starts) == 7
    refused(data[: starts[lost]] + data[starts[lost + 1] :], "5 of its 6 tiles")


@pytest.mark.parametrize("lost", [1, 4])
def test_jpeg2000_that_ends_properly_before_its_last_tiles_is_corrupt(lost: int) -> None:
    data = saved("JPEG2000", tile_size=(48, 48))
    refused(data[: tiles(data)[-lost]] + b"\xff\xd9", f"{6 - lost} of its 6 tiles")


@pytest.mark.parametrize("name", [b"uuid", b"xml ", b"asoc"])
@pytest.mark.parametrize("lost", [1, 5])
def test_preview_in_a_box_does_not_hide_that_a_jpeg2000_lost_a_tile(lost: int, name: bytes) -> None:
    data = saved("JPEG2000", tile_size=(48, 48))
    preview = bytes(16) + saved("JPEG2000", IMAGE.resize((20, 20)), no_jp2=True)
    starts = [*tiles(data), len(data) - 2]
    at = data.index(b"jp2c") - 4
    box = struct.pack(">I", len(preview) + 8) + name + preview
    whole = decode_bytes(data[:at] + box + data[at:])
    assert np.array_equal(whole.pixels, decode_bytes(data).pixels)
    few = data[: starts[lost]] + data[starts[lost + 1] :]
    length = int.from_bytes(few[at : at + 4], "big")
    less = length and struct.pack(">I", length - (len(data) - len(few))) or bytes(4)
    refused(few[:at] + box + less + few[at + 4 :], "5 of its 6 tiles")


@pytest.mark.parametrize("rows", [1, 40, 63])
@pytest.mark.parametrize("interlace", [0, 1])
def test_gif_that_lacks_rows_is_corrupt(rows: int, interlace: int) -> None:
    few = IMAGE.quantize(64).crop((0, 0, 100, rows))
    data = saved("GIF", few, interlace=interlace)
    frame = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 100, rows))
    taller = struct.pack("<H", 64)
    data = data[:8] + taller + data[10 : frame + 7] + taller + data[frame + 9 :]
    assert decode_bytes(data).status is Status.CORRUPT


# limits


HOSTILE = {
    "a run of FF in a scan": lambda j, at: j[: at + 20] + b"\xff" * 300_000 + b"\0" + j[at + 20 :],
    "comments": lambda j, at: j[:2] + b"\xff\xfe\0\x02" * 75_000 + j[2:],
    "scans": lambda j, at: j[:at] + j[at : at + 14] * 20_000 + j[at:],
    "zeros": lambda j, at: j[:2] + bytes(300_000) + j[2:],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_jpeg_keeps_the_walk_busy(name: str) -> None:
    """Twice as long may take twice as long: each ends within its process's ten seconds."""
    data = HOSTILE[name](JPEGS["baseline"], scans(JPEGS["baseline"])[0])
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (10, 10))\n"
        "from deepfeat.images.jpeg_scans import fault_in_jpeg\n"
        "fault_in_jpeg(sys.stdin.buffer.read())"
    )
    subprocess.run([sys.executable, "-c", script], input=data, check=True, timeout=60)


def test_png_that_inflates_without_end_takes_little_memory() -> None:
    """Rows of a gigabyte in a file of a megabyte, of which the header asks for 19 kB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    script = (
        "import resource, sys\n"
        "from deepfeat.images.png_rows import fault_in_png\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(fault_in_png(data))\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=png(packed), check=True, capture_output=True
    )
    assert b"more data" in done.stdout
