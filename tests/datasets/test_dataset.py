"""A data set refuses parts that contradict each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepfeat.datasets.dataset import DataSet, Entry, single_labels
from deepfeat.errors import DataError


def entries(*keys: str) -> tuple[Entry, ...]:
    return tuple(Entry(key.encode(), Path(key)) for key in keys)


GOOD = {
    "name": "pets",
    "entries": entries("a", "b"),
    "classes": ("x", "y"),
    "labels": np.array([[1, -1], [0, 1]], np.int8),
    "splits": {"train": np.array([1, 0])},
}


def test_parts_that_agree_are_a_data_set() -> None:
    assert DataSet(**GOOD).classes == ("x", "y")


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"entries": entries("b", "a")}, "byte order"),
        ({"entries": entries("a", "a")}, "named twice"),
        ({"classes": ("x", "x")}, "named twice"),
        ({"labels": np.zeros((2, 3), np.int8)}, "do not fit"),
        ({"labels": np.zeros((2, 2), np.int64)}, "do not fit"),
        ({"labels": np.full((2, 2), 2, np.int8)}, "none of -1, 0 and 1"),
        ({"splits": {"s": np.array([0, 0])}}, "twice"),
        ({"splits": {"s": np.array([2])}}, "leaves"),
        ({"splits": {"s": np.array([-1])}}, "leaves"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(part, says: str) -> None:
    with pytest.raises(DataError, match=says):
        DataSet(**{**GOOD, **part})


def test_key_may_repeat_with_another_box() -> None:
    regions = tuple(Entry(b"a", Path("a"), (0, 0, size, size)) for size in (1.0, 2.0))
    assert len(DataSet(**{**GOOD, "entries": regions}).entries) == 2


def test_single_label_is_one_among_minus_ones() -> None:
    assert single_labels([2, 0], 3).tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_labels_that_cannot_be_meant_are_refused():
    with pytest.raises(DataError, match="a folder of mine: 30,000 classes of 10,000 images"):
        single_labels([0] * 10_000, 30_000, "a folder of mine")
    assert single_labels([1] * 1000, 1000).sum() == -998_000
