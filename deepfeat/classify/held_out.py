"""For ``LinearSVMCV``: which rows are held out, and how a class is scored on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.model_selection import check_cv

from deepfeat.classify.choose import Fold
from deepfeat.classify.folds import stratified_folds
from deepfeat.classify.labels import Labels
from deepfeat.tables import look_up

FOLDS = 5
NEVER = float(np.finfo(np.float32).min)  # the score of a class that a fold cannot be fitted for


def grid(Cs: int | Iterable[float]) -> NDArray[np.float64]:
    """The values of C asked for, or so many from 1e-4 to 1e4.

    Raises
    ------
    ValueError
        None at all.
    """
    if isinstance(Cs, (int, np.integer)):
        values = np.logspace(-4, 4, max(int(Cs), 0))
    else:
        values = np.asarray(list(Cs), np.float64)
    if not len(values):
        raise ValueError(f"Cs = {Cs!r} has no value of C to try; give a list such as [0.1, 1, 10]")
    return values


def folds(cv: Any, X: NDArray[np.float32], labels: Labels) -> list[Fold]:
    """Which rows are fitted on and which are scored.

    A number, or None for 5, is scikit-learn's StratifiedKFold without shuffling; of an indicator
    matrix each column divides its own rows, those of which nothing is claimed left out.
    """
    columns = labels.y.shape[1]
    if labels.is_indicator and (cv is None or isinstance(cv, (int, np.integer))):
        count = FOLDS if cv is None else int(cv)
        return stratified_folds(labels.y, labels.is_known.astype(np.float64), count, jointly=False)
    target = labels.y if labels.is_indicator else labels.code
    splitter = check_cv(FOLDS if cv is None else cv, target, classifier=True)
    found = []
    for train, test in splitter.split(X, target):
        masks = np.zeros((2, len(target), columns), bool)
        masks[0, train], masks[1, test] = True, True
        found.append(Fold(*masks))
    return found


def score_columns(
    scoring: str, labels: Labels, decision: NDArray[np.float32], is_test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The score of every column on its held-out rows; NaN where that means nothing: (L,)."""
    decision = np.nan_to_num(decision, nan=NEVER)
    score = look_up(SCORES, scoring, "scoring")
    if not labels.is_indicator and not labels.is_binary and score is not _average_precision:
        return _SCORES_OF_CLASSES[scoring](labels, decision, is_test[:, 0])
    columns = labels.y.shape[1]
    use = is_test & labels.is_known
    return np.array(
        [
            score(labels.y[use[:, j], j] > 0, decision[use[:, j], j]) if use[:, j].any() else np.nan
            for j in range(columns)
        ]
    )


def _average_precision(positive: NDArray[np.bool_], decision: NDArray[np.float32]) -> float:
    if not positive.any():
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(average_precision_score(positive, decision))


def _recall(positive: NDArray[np.bool_], decision: NDArray[np.float32]) -> float:
    return float((decision[positive] > 0).mean()) if positive.any() else np.nan


def _accuracy(positive: NDArray[np.bool_], decision: NDArray[np.float32]) -> float:
    return float(((decision > 0) == positive).mean())


def _recall_of_classes(
    labels: Labels, decision: NDArray[np.float32], is_test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    predicted, code = decision[is_test].argmax(axis=1), labels.code[is_test]
    counts = np.bincount(code, minlength=len(labels.names))
    right = np.bincount(code[predicted == code], minlength=len(labels.names))
    return np.where(counts > 0, right / np.maximum(counts, 1), np.nan)


def _accuracy_of_classes(
    labels: Labels, decision: NDArray[np.float32], is_test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """One number, the same for all classes: the share of rows predicted right."""
    right = decision[is_test].argmax(axis=1) == labels.code[is_test]
    return np.full(len(labels.names), right.mean() if len(right) else np.nan)


SCORES: dict[str, Callable[[NDArray[np.bool_], NDArray[np.float32]], float]] = {
    "average_precision": _average_precision,
    "recall": _recall,
    "accuracy": _accuracy,
}
_SCORES_OF_CLASSES = {"recall": _recall_of_classes, "accuracy": _accuracy_of_classes}
