"""Orientation against the standard's own words: where the first row and first column belong."""

from __future__ import annotations

import numpy as np
import pytest

from deepfeat.images.orient import as_stored, orient

# EXIF 2.32, tag 0x0112: value -> (side of the 0th row, side of the 0th column)
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
STORED = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def line(image: np.ndarray, side: str) -> set[tuple[int, ...]]:
    """The pixels along one side of an image."""
    place = {"top": image[0], "bottom": image[-1], "left": image[:, 0], "right": image[:, -1]}
    return {tuple(pixel) for pixel in place[side]}


@pytest.mark.parametrize("value", SIDES)
def test_row_0_is_where_the_standard_says(value: int) -> None:
    assert line(orient(STORED, value), SIDES[value][0]) == line(STORED, "top")


@pytest.mark.parametrize("value", SIDES)
def test_column_0_is_where_the_standard_says(value: int) -> None:
    assert line(orient(STORED, value), SIDES[value][1]) == line(STORED, "left")


@pytest.mark.parametrize("value", SIDES)
def test_orientation_can_be_undone(value: int) -> None:
    assert np.array_equal(as_stored(orient(STORED, value), value), STORED)
