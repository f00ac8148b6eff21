"""A data set: which images there are, what is true of them, and which part each belongs to.

Entries are in the byte order of their keys, whatever order they were found in, so two lists of the
same images are the same list. Labels are -1, 0 and 1 per class; 0 says that nothing is claimed
(PASCAL VOC's "difficult", or an image that was not labelled for this class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataError, some

MOST_LABELS = 1 << 28  # bytes of memory
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image, or one region of it.

    Parameters
    ----------
    key : bytes
        Its name in a store: the path relative to the source, with "/".
    place : Path
        Where its file is.
    box : tuple of four float, optional
        x0, y0, x1, y1 in pixels of the upright image, half open; None for the whole image.
    """

    key: bytes
    place: Path
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """Entries with labels and splits.

    Parameters
    ----------
    name : str
    entries : tuple of Entry
        In byte order of their keys; keys repeat only where boxes differ.
    classes : tuple of str
        All different.
    labels : (N, L) int8 in {-1, 0, 1}
        Row n for entry n, column l for class l.
    splits : mapping from name to (n,) int64
        Indices of entries, each at most once within a split.
    official : int, optional
        How many images the published set has, where that is known: with fewer entries or images the
        set at hand is partial.
    remarks : tuple of str
        What is unusual about it, one sentence each, for whoever reports a figure.

    Raises
    ------
    DataError
        Where the parts contradict each other.
    """

    name: str
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int8]
    splits: Mapping[str, NDArray[np.int64]]
    official: int | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keys = [entry.key for entry in self.entries]
        if keys != sorted(keys):
            raise DataError(f"data set '{self.name}': entries are not in byte order of their keys")
        _check_regions(self.name, self.entries)
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"data set '{self.name}': a class is named twice")
        if self.labels.shape != (len(keys), len(self.classes)) or self.labels.dtype != np.int8:
            raise DataError(
                f"data set '{self.name}': labels do not fit",
                expected=f"({len(keys)}, {len(self.classes)}) int8",
                found=f"{self.labels.shape} {self.labels.dtype}",
            )
        if not np.isin(self.labels, (-1, 0, 1)).all():
            raise DataError(f"data set '{self.name}': a label is none of -1, 0 and 1")
        for split, rows in self.splits.items():
            if len(np.unique(rows)) != len(rows):
                raise DataError(f"data set '{self.name}': split '{split}' names an entry twice")
            if len(rows) and not (rows.min() >= 0 and rows.max() < len(keys)):
                raise DataError(f"data set '{self.name}': split '{split}' leaves the entries")


def no_labels(images: int, classes: int, what: str) -> NDArray[np.int8]:
    """Return (N, L) labels of -1, if they are not too many to be meant.

    Raises
    ------
    DataError
        Above ``MOST_LABELS``; ``what`` names the classes in the message.
    """
    if images * classes > MOST_LABELS:
        raise DataError(
            f"{what}: {classes:,} classes of {images:,} images are too many",
            expected=f"at most {MOST_LABELS:,} labels, which is images times classes",
            advice="It may hold something other than labels, such as a name for every image.",
        )
    return np.full((images, classes), -1, np.int8)


def single_labels(
    owners: Sequence[int], classes: int, what: str = "the data set"
) -> NDArray[np.int8]:
    """Return (N, L) labels: 1 for the one class that owns each entry, -1 for the others.

    Raises ``DataError`` as ``no_labels``.
    """
    labels = no_labels(len(owners), classes, what)
    labels[np.arange(len(owners)), np.asarray(owners, np.int64)] = 1
    return labels


def _check_regions(name: str, entries: tuple[Entry, ...]) -> None:
    seen: set[tuple[bytes, Box | None]] = set()
    twice = []
    for entry in entries:
        region = (entry.key, entry.box)
        if region in seen:
            twice.append(entry.key.decode(errors="backslashreplace"))
        seen.add(region)
    if twice:
        raise DataError(
            f"data set '{name}': {len(twice)} entries are named twice", found=some(twice)
        )
