"""Rows held out in turn: scikit-learn's unshuffled ``StratifiedKFold``, over rows in list order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepfeat.classify.choose import Fold
from deepfeat.errors import DataError


def stratified_folds(
    y: NDArray[np.int8], weights: NDArray[np.float64], folds: int, *, jointly: bool
) -> list[Fold]:
    """Return ``folds`` folds.

    Parameters
    ----------
    y : (N, L) in {-1, 1}, weights : (N, L) >= 0
        Rows of weight 0 are in no fold of that class.
    jointly : bool
        One division for all classes of a single-label set, stratified by the class; otherwise each
        class divides its own positives and negatives.

    Raises
    ------
    DataError
        Fewer rows than folds.
    """
    rows, classes = y.shape
    fit = np.zeros((folds, rows, classes), bool)
    score = np.zeros((folds, rows, classes), bool)
    strata = [y.argmax(axis=1)] * classes if jointly else list(y.T)
    for number, stratum in enumerate(strata):
        taking_part = np.flatnonzero(weights[:, number] > 0)
        for f, (inside, outside) in enumerate(_divided(stratum[taking_part], folds)):
            fit[f, taking_part[inside], number] = True
            score[f, taking_part[outside], number] = True
    return [Fold(fit[f], score[f]) for f in range(folds)]


def _divided(
    stratum: NDArray[np.int64], folds: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedKFold

    if not len(stratum):  # of this class nothing is claimed
        yield from [(np.empty(0, np.int64), np.empty(0, np.int64))] * folds
        return
    if np.bincount(stratum - stratum.min()).max() < folds:
        raise DataError(
            f"{len(stratum)} training images cannot be divided into {folds} folds",
            expected=f"at least {folds} of one class",
            advice="Give fewer svm.select.folds, or choose C another way.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a fold without positives is named later
        yield from StratifiedKFold(folds).split(np.zeros((len(stratum), 1)), stratum)
