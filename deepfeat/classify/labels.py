"""Labels as users give them, and as the solver takes them: one column of -1 and 1 a problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from deepfeat.errors import DeepfeatError, UsageError, some


@contextmanager
def value_errors() -> Iterator[None]:
    """scikit-learn's users catch ValueError."""
    try:
        yield
    except DeepfeatError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Labels:
    """``y`` (N, L) int8 in {-1, 1}; ``is_known`` (N, L) bool, false where nothing is claimed;

    ``names``: the classes, or 0 ... L - 1 for an indicator matrix. Two classes are one column.
    ``code`` (N,): the place of each row's class in ``names``; empty for an indicator matrix.
    """

    y: NDArray[np.int8]
    is_known: NDArray[np.bool_]
    names: NDArray[Any]
    code: NDArray[np.intp]
    is_indicator: bool
    negative: int = 0  # what an indicator matrix has where a class is not: 0 or -1

    @property
    def is_binary(self) -> bool:
        return not self.is_indicator and len(self.names) == 2

    def name(self, problem: int) -> Any:
        """The class whose rows are the positive ones."""
        return self.names[1 if self.is_binary else problem]

    def decide(self, decision: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Predictions from decision values; ties go to the first class."""
        if self.is_indicator:
            return np.where(decision > 0, 1, self.negative)
        at = (decision > 0).astype(np.intp) if self.is_binary else decision.argmax(axis=1)
        return np.asarray(self.names[at])

    def without_rows(self) -> Labels:
        """What predictions need, and no more."""
        none = np.zeros((0, self.y.shape[1]))
        return replace(
            self, y=none.astype(np.int8), is_known=none.astype(bool), code=np.zeros(0, np.intp)
        )


def read_labels(y: ArrayLike, rows: int) -> Labels:
    """Classes (N,) or an indicator matrix (N, L), as columns.

    Raises
    ------
    ValueError
        One class only; an indicator of anything but -1, 0, 1 and NaN; -1 and 0 together.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] > 1:
        return _indicator(y, rows)
    classes = column_or_1d(y, warn=True)
    check_consistent_length(classes, np.empty(rows))
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("Input y contains NaN or infinity")
    check_classification_targets(classes)
    names, code = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"y has one class only, {names[0]!r}: nothing to tell apart")
    columns = [1] if len(names) == 2 else range(len(names))
    positive = code[:, None] == np.array(columns)  # (N,) -> (N, L)
    y_columns = np.where(positive, 1, -1).astype(np.int8)
    return Labels(y_columns, np.ones(positive.shape, bool), names, code, False)


def _indicator(y: ArrayLike, rows: int) -> Labels:
    matrix = check_array(y, ensure_all_finite="allow-nan", dtype=np.float64, input_name="y")
    check_consistent_length(matrix, np.empty(rows))
    is_known = ~np.isnan(matrix)
    found = set(np.unique(matrix[is_known]).tolist())
    if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
        raise ValueError(
            "an indicator matrix has 1 and 0 (or -1), and NaN where nothing is claimed; "
            f"found {sorted(found)[:5]}"
        )
    columns = np.where(matrix == 1, 1, -1).astype(np.int8)
    names = np.arange(matrix.shape[1])
    negative = -1 if -1.0 in found else 0
    return Labels(columns, is_known, names, np.zeros(0, np.intp), True, negative)


def class_weights(
    labels: Labels, given: Mapping[Any, float] | str | None, each: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weight of every row in every problem, (N, L): 0 where nothing is claimed.

    ``each`` (N,) are the weights of the rows themselves. "balanced" is the weight of all rows over
    (number of classes x weight of the class's rows), as scikit-learn has it. Among three classes or
    more a class's weight is that of its own rows in its own problem, and the rest count as they are
    there: liblinear's rule.
    """
    weights = labels.is_known * each[:, None]
    if given is None:
        return weights
    if given != "balanced" and not isinstance(given, Mapping):
        raise UsageError(f"unknown class_weight {given!r}", expected="'balanced' or a dict")
    if labels.is_indicator:
        return weights * _by_column(labels.y > 0, weights, given)
    if isinstance(given, str):
        counts = np.asarray(np.bincount(labels.code, each), np.float64)
        of_class = _balanced(counts, counts.sum(), len(counts))
    else:
        known = labels.names.tolist()
        unknown = [name for name in given if name not in known]
        if unknown:
            raise UsageError(
                f"class_weight has {unknown[0]!r}, which is no class",
                expected=some([str(name) for name in known]),
            )
        of_class = np.array([given.get(name, 1.0) for name in known])
    weighted = weights * of_class[labels.code][:, None]
    return weighted if labels.is_binary else np.where(labels.y > 0, weighted, weights)


def _by_column(
    positive: NDArray[np.bool_], weights: NDArray[np.float64], given: Mapping[Any, float] | str
) -> NDArray[np.float64]:
    if not isinstance(given, str):
        rest = given.get(0, given.get(-1, 1.0))
        return np.asarray(np.where(positive, given.get(1, 1.0), rest), np.float64)
    total, of_positive = weights.sum(axis=0), (weights * positive).sum(axis=0)
    return np.where(
        positive, _balanced(of_positive, total, 2), _balanced(total - of_positive, total, 2)
    )


def _balanced(
    weight: NDArray[np.float64], total: np.float64 | NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    """What a class must weigh to count as much as any other; 0 for one without rows."""
    return np.where(weight > 0, total / (classes * np.where(weight > 0, weight, 1)), 0)
