"""Figures of single-label sets: mean class recall, which Caltech's papers report, and accuracy.

The recall of a class is the share of its images that were given to it. Their unweighted mean counts
every class alike, however few images it has; accuracy counts every image alike (protocols.md 3.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfeat.errors import DataError
from deepfeat.metrics.per_class import PerClass

NO_PREDICTION = -1  # of an image without a descriptor, say: never right


def predictions(scores: ArrayLike) -> NDArray[np.int64]:
    """Return the class with the highest score, the lowest index among equals (protocols.md 8.8).

    Parameters
    ----------
    scores : (n, L) float

    Returns
    -------
    (n,) int64

    Raises
    ------
    DataError
        No class, or a score that is not finite.
    """
    numbers = np.asarray(scores)
    if numbers.ndim != 2 or numbers.shape[1] == 0:
        raise DataError("no class to choose", expected="(n, L) scores", found=f"{numbers.shape}")
    is_bad = ~np.isfinite(numbers).all(axis=1)
    if is_bad.any():
        raise DataError(
            f"{int(is_bad.sum())} of {len(numbers)} rows of scores are not finite",
            found=f"the first is row {int(np.flatnonzero(is_bad)[0])}",
        )
    best: NDArray[np.int64] = numbers.argmax(axis=1).astype(np.int64)  # (n, L) -> (n,)
    return best


def class_recall(truth: ArrayLike, predicted: ArrayLike, classes: int) -> PerClass:
    """Return, for every class, (its images predicted as it) / (its images).

    Parameters
    ----------
    truth : (n,) int in 0..classes-1
    predicted : (n,) int in 0..classes-1, or ``NO_PREDICTION``
    classes : int
        L; a class without an image in ``truth`` has NaN.

    Raises
    ------
    DataError
        Shapes that differ, numbers that are not classes.
    """
    true, guess = _checked(truth, predicted)
    for name, numbers, lowest in (("truth", true, 0), ("prediction", guess, NO_PREDICTION)):
        is_bad = (numbers < lowest) | (numbers >= classes)
        if is_bad.any():
            raise DataError(
                f"a {name} is no class",
                expected=f"{lowest} to {classes - 1}",
                found=f"{numbers[is_bad][0]}",
            )
    images = np.bincount(true, minlength=classes)  # (n,) -> (L,)
    right = np.bincount(true[true == guess], minlength=classes)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is meant
        return PerClass(right / images)


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of images predicted right; NaN without images. Arguments as above."""
    true, guess = _checked(truth, predicted)
    return float((true == guess).mean()) if true.size else float("nan")


def _checked(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both as (n,) int64, or refuse them."""
    true, guess = np.asarray(truth), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guess.shape:
        raise DataError(
            "truth and predictions do not fit each other",
            expected="one class each for every image",
            found=f"{true.shape} and {guess.shape}",
        )
    if true.size and not (true.dtype.kind in "iu" and guess.dtype.kind in "iu"):
        raise DataError(
            "classes are given by their indices",
            expected="integers",
            found=f"{true.dtype} and {guess.dtype}",
        )
    return true.astype(np.int64), guess.astype(np.int64)
