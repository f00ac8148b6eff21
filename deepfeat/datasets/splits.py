"""Seeded splits: the same seed and the same images give the same split, on every machine, for ever.

Two procedures, both drawn from ``numpy.random.RandomState``, whose stream NumPy has frozen
(``Generator``'s may change). ``random_splits`` draws train and test from a set that has neither
(protocols.md 8.15); ``holdout`` takes a validation part from rows that are given. A class's part
for validation is floor(fraction * n + 1/2) of its n images, the fraction taken as the decimal
number that is written: 0.29 of 50 is 14.5, hence 15.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import DataError, UsageError, some

Rows = NDArray[np.int64]
LARGEST_SEED = 2**32 - 1  # of RandomState


@dataclass(frozen=True, slots=True)
class Split:
    """One division of a data set; all arrays are rows of its entries.

    Parameters
    ----------
    number : int
        From 0.
    seed : int
        That of its RandomState.
    train : (L * k,) int64
        Class by class, each in the order drawn.
    validation : (L * v,) int64
        The last v of each class's k in ``train``: a part of it.
    test : (n,) int64
        Class by class, each in the order drawn; shares nothing with ``train``.
    """

    number: int
    seed: int
    train: Rows
    validation: Rows
    test: Rows

    @property
    def fit(self) -> Rows:
        """(L * (k - v),) int64: ``train`` without ``validation``, in its order."""
        return self.train[~np.isin(self.train, self.validation)]


def random_splits(
    dataset: DataSet,
    *,
    count: int = 3,
    seed: int = 0,
    train: int | float,
    test: int | Literal["rest"],
    fraction: float = 0.2,
) -> list[Split]:
    """Draw splits of a data set whose images have one class each.

    Split s has a ``RandomState(seed + s)`` of its own. For each class, in the data set's order, it
    permutes the class's n images, in the order of the entries: ``p = state.permutation(n)``. Train
    is p[:k], test p[k:k + test] or, for "rest", p[k:]; validation the last
    floor(fraction * k + 1/2) of its k images in train.

    Parameters
    ----------
    count, seed : int
    train : int, or float below 1
        Images a class, k; below 1 a part of each class's n: floor(train * n + 1/2), at least 1.
    test : int or "rest"
        At most so many a class, or all that are left.
    fraction : float
        In [0, 1); 0 for no validation.

    Raises
    ------
    DataError
        Where an image has not exactly one class, or a class has fewer images than ``train``.
    UsageError
        For numbers that make no split.
    """
    _check_numbers(count, seed, train, test)
    members = _members(dataset)
    _check_counts(dataset, members, int(train) if train >= 1 else 1)
    sizes = [_size(train, len(rows)) for rows in members]  # k of each class
    held = [_part(fraction, k) for k in sizes]
    if any(v >= k for v, k in zip(held, sizes, strict=True)):
        raise UsageError(
            f"a fraction of {fraction} for validation leaves no image a class to train on",
            found=f"{min(sizes)} training images in the smallest class",
        )
    splits = []
    for number in range(count):
        state = np.random.RandomState(seed + number)
        drawn = [rows[state.permutation(len(rows))] for rows in members]
        most = len(dataset.entries) if test == "rest" else test
        splits.append(
            Split(
                number,
                seed + number,
                train=_joined(rows[:k] for rows, k in zip(drawn, sizes, strict=True)),
                validation=_joined(
                    rows[k - v : k] for rows, k, v in zip(drawn, sizes, held, strict=True)
                ),
                test=_joined(rows[k : k + most] for rows, k in zip(drawn, sizes, strict=True)),
            )
        )
    return splits


def holdout(
    rows: NDArray[np.integer], labels: NDArray[np.int8], *, fraction: float = 0.2, seed: int = 0
) -> tuple[Rows, Rows]:
    """Divide given training rows into those to fit on and those to validate on.

    One ``RandomState(seed)``. Where each of the rows has exactly one label 1 and no 0: for each
    class, in the order of columns, ``p = state.permutation(n)`` of its n rows in the order given,
    and the last floor(fraction * n + 1/2) of p are for validation; a class without rows draws
    nothing. Otherwise (several labels, none, or difficult ones) the same over all rows at once.

    Parameters
    ----------
    rows : (n,) int
        Rows of ``labels``, each once; their order matters.
    labels : (N, L) int8 in {-1, 0, 1}
        Of the whole data set.
    fraction : float
        In [0, 1).
    seed : int

    Returns
    -------
    fit, validation : (n - v,) and (v,) int64
        Both in the order of ``rows``; together they are all of them.

    Raises
    ------
    UsageError
        For a fraction or a seed out of range.
    """
    _check_seed(seed)
    given: Rows = np.asarray(rows, np.int64)
    _part(fraction, len(given))
    state = np.random.RandomState(seed)
    chosen = labels[given]  # (N, L) -> (n, L)
    if _is_single(chosen):
        groups = [np.flatnonzero(chosen[:, column] == 1) for column in range(chosen.shape[1])]
    else:
        groups = [np.arange(len(given))]
    is_validation = np.zeros(len(given), bool)
    for group in groups:
        if len(group):
            drawn = group[state.permutation(len(group))]
            is_validation[drawn[len(drawn) - _part(fraction, len(drawn)) :]] = True
    return given[~is_validation], given[is_validation]


def _joined(parts: Iterable[Rows]) -> Rows:
    return np.concatenate(list(parts))


def _size(train: int | float, images: int) -> int:
    """Training images of a class of so many."""
    return int(train) if train >= 1 else max(1, _part(train, images))


def _part(fraction: float, count: int) -> int:
    """floor(fraction * count + 1/2), exactly, of the decimal number that is written."""
    if not 0 <= fraction < 1:
        raise UsageError(
            "a fraction for validation is from 0 up to, not including, 1", found=str(fraction)
        )
    return math.floor(Fraction(str(float(fraction))) * count + Fraction(1, 2))


def _is_single(labels: NDArray[np.int8]) -> bool:
    """Whether each row of (n, L) labels has one 1 and otherwise -1."""
    return bool(((labels == 1).sum(axis=1) == 1).all() and (labels != 0).all())


def _members(dataset: DataSet) -> list[Rows]:
    """Rows of each class, in the order of the entries."""
    is_single = ((dataset.labels == 1).sum(axis=1) == 1) & (dataset.labels != 0).all(axis=1)
    if not is_single.all():
        others = [dataset.entries[row].key for row in np.flatnonzero(~is_single)]
        raise DataError(
            f"data set '{dataset.name}': {len(others):,} images have not exactly one class",
            found=some([key.decode(errors="backslashreplace") for key in others]),
            advice="Draw seeded splits from sets with one class an image only.",
        )
    return [np.flatnonzero(column == 1).astype(np.int64) for column in dataset.labels.T]


def _check_counts(dataset: DataSet, members: list[Rows], train: int) -> None:
    short = [
        f"{name} ({len(rows)})"
        for name, rows in zip(dataset.classes, members, strict=True)
        if len(rows) < train
    ]
    if short:
        fewest = min(map(len, members))
        raise DataError(
            f"data set '{dataset.name}': {len(short)} classes have fewer images than the split"
            " trains on",
            expected=f"at least {train} a class, and some for the test",
            found=some(short),
            advice="Put the missing images there, or train on fewer:"
            f" split.train = {max(fewest - 1, 1)} would do."
            if fewest > 1
            else "Put the missing images there, or leave these classes out.",
        )


def _check_numbers(count: int, seed: int, train: int | float, test: int | str) -> None:
    for name, number in (("count", count), ("train", train), ("test", test)):
        if name == "train" and isinstance(number, float) and 0 < number < 1:
            continue
        if name == "test" and number == "rest":
            continue
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            other = {"test": ' or "rest"', "train": " or a part below 1"}.get(name, "")
            raise UsageError(f"split.{name} is a whole number from 1{other}", found=repr(number))
    _check_seed(seed)
    _check_seed(seed + count - 1)


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"a seed is from 0 to {LARGEST_SEED}", found=str(seed))
