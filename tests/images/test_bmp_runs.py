"""BMPs in run-length coding by hand: rows that are full, and rows that only look so."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from deepfeat.images.decode import decode_bytes
from deepfeat.status import Status

RANDOM = np.random.default_rng(4)
WIDTH, HEIGHT = 23, 10
END_OF_ROW, END = b"\0\0", b"\0\1"
COLOURS = RANDOM.integers(0, 256, (256, 3), np.uint8)
INDICES = {
    8: np.repeat(RANDOM.integers(0, 256, (HEIGHT, 8)), 3, axis=1)[:, :WIDTH],
    4: np.repeat(RANDOM.integers(0, 16, (HEIGHT, 8)), 3, axis=1)[:, :WIDTH],
}


def bmp(runs: bytes, bits: int, *, gap: int = 0) -> bytes:
    palette = b"".join(bytes([*colour[::-1], 0]) for colour in COLOURS[: 1 << bits])
    start = 54 + len(palette) + gap
    head = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start)
    layout = struct.pack("<IiiHHII", 40, WIDTH, HEIGHT, 1, bits, 1 if bits == 8 else 2, len(runs))
    return head + layout + struct.pack("<iiII", 0, 0, 1 << bits, 0) + palette + bytes(gap) + runs


def as_run(value: int, number: int, bits: int) -> bytes:
    return bytes([number, value if bits == 8 else value * 17])


def as_they_are(values: list[int], bits: int) -> bytes:
    """The absolute mode: at least three pixels, filled up to two bytes."""
    packed = values
    if bits == 4:
        padded = [*values, 0][: len(values) + len(values) % 2]
        packed = [16 * padded[at] + padded[at + 1] for at in range(0, len(padded), 2)]
    return bytes([0, len(values), *packed]) + bytes(len(packed) % 2)


def rows_of(bits: int) -> list[bytes]:
    """From the bottom up: each row a run of its first pixels, and the others as they are."""
    rows = []
    for row in INDICES[bits][::-1].tolist():
        rows.append(as_run(row[0], 3, bits) + as_they_are(row[3:], bits))
    return rows


def stream(rows: list[bytes]) -> bytes:
    return b"".join(row + END_OF_ROW for row in rows) + END


@pytest.mark.parametrize("bits", [8, 4])
def test_whole_runs_are_an_image(bits: int) -> None:
    right = COLOURS[INDICES[bits]]
    whole = stream(rows_of(bits))
    for runs in (whole, whole[:-4] + END, whole + b"rest"):
        image = decode_bytes(bmp(runs, bits))
        assert image.status is Status.OK, image.detail
        assert np.array_equal(image.pixels, right)


DAMAGE = {
    "a row's run is too long": lambda r: [r[0], bytes([r[1][0] + 1]) + r[1][1:], *r[2:]],
    "a row's run is too short": lambda r: [r[0], bytes([r[1][0] - 1]) + r[1][1:], *r[2:]],
    "a run more in the last row": lambda r: [*r[:-1], r[-1] + b"\4\4"],
    "a row begins too late": lambda r: [r[0], r[1][2:], *r[2:]],
    "two rows are one": lambda r: [r[0] + r[1], *r[2:]],
    "a row too many": lambda r: [*r, r[0]],
    "a row too few": lambda r: r[:-1],
    "half the rows": lambda r: r[: HEIGHT // 2],
    "the last row ends early": lambda r: [*r[:-1], r[-1][:2]],
    "an empty row": lambda r: [*r[:3], b"", *r[4:]],
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", DAMAGE)
def test_runs_that_do_not_fill_their_rows_are_corrupt(name: str, bits: int) -> None:
    image = decode_bytes(bmp(stream(DAMAGE[name](rows_of(bits))), bits))
    assert image.status is Status.CORRUPT, image.notes


@pytest.mark.parametrize("bits", [8, 4])
def test_runs_that_end_without_saying_so_are_corrupt(bits: int) -> None:
    whole = stream(rows_of(bits))
    for runs in (whole[:-2], whole[:-4], whole[: len(whole) // 2], whole[: len(whole) // 2] + END):
        assert decode_bytes(bmp(runs, bits)).status is Status.CORRUPT


def test_runs_that_leave_out_pixels_are_unsupported() -> None:
    rows = rows_of(8)
    rows[4] = b"\0\2\3\0" + as_they_are(INDICES[8][0, 3:].tolist(), 8)
    image = decode_bytes(bmp(stream(rows), 8))
    assert image.status is Status.UNSUPPORTED
    assert "leave out pixels" in image.detail


def test_runs_at_an_odd_place_are_never_another_image() -> None:
    """What fills up two bytes is counted from the first run, not from the file's start."""
    for bits in (8, 4):
        image = decode_bytes(bmp(stream(rows_of(bits)), bits, gap=1))
        assert image.status is Status.UNSUPPORTED or image.pixels is None


@pytest.mark.parametrize("bits", [8, 4])
def test_runs_in_the_coding_of_another_depth_are_corrupt(bits: int) -> None:
    runs = b"".join(as_run(1, WIDTH, bits) + END_OF_ROW for _ in range(HEIGHT)) + END
    data = bytearray(bmp(runs, bits))
    assert decode_bytes(bytes(data)).status is Status.OK
    data[30] = 3 - data[30]
    assert decode_bytes(bytes(data)).status is Status.CORRUPT


def test_noise_for_runs_is_no_image() -> None:
    """Of noise, no stream fills all rows."""
    for number in range(40):
        runs = RANDOM.integers(0, 256, 100 + 20 * number, np.uint8).tobytes()
        assert decode_bytes(bmp(runs, 8)).pixels is None
