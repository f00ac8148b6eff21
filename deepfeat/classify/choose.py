"""The choice of C by held-out rows, one for all classes or one a class, with its whole curve.

Every fold and class is a column of the same problems, so that a solver can share work among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfeat.classify.problems import Report, Settings, Solution, Solver, check_C
from deepfeat.errors import DataError

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
Score = Callable[[NDArray[np.float32], Mask], Values]


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to fit on and rows to score: (N, L) bool each, disjoint in every class."""

    fit: Mask
    score: Mask


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen C and why.

    Parameters
    ----------
    C : (L,) float64
        The same number throughout where one was chosen for all classes.
    curve : (n_Cs, n_folds, L) float64
        The score of each class on each fold; NaN where there was none.
    at_edge : (L,) bool
        Whether the choice is an end of the grid, so that a better one may lie beyond.
    missed : tuple of (C, fold, class)
        Problems that did not reach their tolerance.
    problems : int
    worst_gap : float
        NaN from a solver without a certificate.
    gaps : (n_Cs, n_folds, L) float64
        The relative gap of every problem; NaN where none was posed, or from such a solver.
    start : (N, L) float32 or None
        The dual on the first fold at or near the chosen C, where a fit on all rows may begin.
    """

    C: Values
    curve: Values
    at_edge: Mask
    missed: tuple[tuple[float, int, int], ...]
    problems: int
    worst_gap: float
    gaps: Values
    start: NDArray[np.float32] | None = None


def liblinear(X: NDArray[np.float32], settings: Settings) -> Solver:
    from deepfeat.classify.liblinear import Liblinear

    return Liblinear(X, settings)


def gram(X: NDArray[np.float32], settings: Settings) -> Solver:
    from deepfeat.classify.solver import make_solver

    return make_solver(X, settings)


# Name -> what makes a solver for a matrix.
SOLVERS: dict[str, Callable[[NDArray[np.float32], Settings], Solver]] = {
    "gram": gram,
    "liblinear": liblinear,
}


def choose(
    solver: Solver,
    y: NDArray[np.int8],
    weights: Values,
    folds: Sequence[Fold],
    Cs: Sequence[float],
    score: Score,
    *,
    per: str = "all",
    tie: str = "smallest",
    report: Report | None = None,
) -> Choice:
    """Choose C by the mean score over folds.

    Parameters
    ----------
    y : (N, L) in {-1, 1}, weights : (N, L) >= 0
        Without C; 0 for what takes no part.
    Cs : sequence of float
        In any order.
    score : callable
        Of decision values (N, L) and the rows to score (N, L) gives the (L,) scores, NaN where a
        class has none. NaN is left out of every mean.
    per : {"all", "class"}
        One C for all classes by the mean over them, or one for each.
    tie : {"smallest", "first"}
        Among equal scores the smallest C, or the first of ``Cs``.

    Raises
    ------
    DataError
        Where no class can be scored on any fold.
    """
    classes = y.shape[1]
    # A fold in which a class has rows of one label teaches nothing: its score is NaN.
    fits = np.concatenate([weights * fold.fit for fold in folds], axis=1)  # (N, F*L)
    labels = np.tile(y, (1, len(folds)))
    is_posed = has_both(labels, fits)
    curve = np.full((len(Cs), len(folds), classes), np.nan)
    missed: list[tuple[float, int, int]] = []
    gaps = np.full(curve.shape, np.nan)
    worst = 0.0
    begin = _Begin(is_posed.reshape(len(folds), classes), len(y), per)
    path = solver.path(labels[:, is_posed], fits[:, is_posed], Cs, report=report)
    columns = np.flatnonzero(is_posed)
    for number, (C, solution) in enumerate(zip(Cs, path, strict=True)):
        decision = np.full(labels.shape, np.nan, np.float32)
        decision[:, columns] = solution.decision
        for f, fold in enumerate(folds):
            block = slice(f * classes, (f + 1) * classes)
            curve[number, f] = score(decision[:, block], fold.score)
        curve[number].flat[~is_posed] = np.nan
        missed += [(C, int(p) // classes, int(p) % classes) for p in columns[~solution.met]]
        gaps[number].flat[is_posed] = solution.gap
        worst = float(np.max(solution.gap, initial=worst))  # NaN stays
        begin.see(curve[number], solution.dual)
    if np.isnan(curve).all():
        raise DataError(
            "no class can be scored on the rows held out, so C cannot be chosen",
            advice='Give one C: svm.C = [1.0] with svm.select = {on = "fixed"}.',
        )
    best = _best(curve, Cs, per, tie)
    ends = (min(Cs), max(Cs))
    chosen = np.array([Cs[i] for i in best])
    at_edge = np.isin(chosen, ends) & (len(Cs) > 1)
    return Choice(
        chosen, curve, at_edge, tuple(missed), len(Cs) * len(columns), worst, gaps, begin.dual
    )


def fixed(C: float, classes: int) -> Choice:
    """The choice of one C without any rows held out."""
    empty = np.zeros((1, 0, classes))
    return Choice(np.full(classes, C), empty, np.zeros(classes, bool), (), 0, 0.0, empty)


def fit(
    solver: Solver,
    y: NDArray[np.int8],
    weights: Values,
    C: Values,
    *,
    start: NDArray[np.float32] | None = None,
    report: Report | None = None,
) -> Solution:
    """Fit every class at its own C (L,), all together, with coefficients.

    ``start`` (N, L) is the ``start`` of the choice of C.
    """
    check_C(C)
    path = solver.path(y, weights * C, [1.0], with_coef=True, start=start, report=report)
    return next(path)


class _Begin:
    """The dual of each class at the best C so far, on the first fold that could be fitted."""

    def __init__(self, is_posed: Mask, rows: int, per: str):
        folds, classes = is_posed.shape
        fold = is_posed.argmax(axis=0)
        number = np.cumsum(is_posed).reshape(folds, classes) - 1  # of a fold's class in the path
        self.is_known = is_posed.any(axis=0)
        self.column = number[fold, np.arange(classes)]
        self.rows, self.per = rows, per
        self.score = np.full(classes, -np.inf)
        self.dual: NDArray[np.float32] | None = None

    def see(self, scores: Values, dual: NDArray[np.float32] | None) -> None:
        """Scores (n_folds, L) at one C."""
        if dual is None:
            return
        if self.dual is None:
            self.dual = np.zeros((self.rows, len(self.score)), np.float32)
        value = mean_over(scores, 0)
        if self.per == "all":
            value = np.full_like(value, mean_over(value, 0))
        better = self.is_known & (value > self.score)
        self.dual[:, better] = dual[:, self.column[better]]
        self.score[better] = value[better]


def mean_scores(curve: Values) -> Values:
    """Mean over classes of the mean over folds, without NaN: (n_Cs, n_folds, L) -> (n_Cs,)."""
    return mean_over(mean_over(curve, 1), 1)


def _best(curve: Values, Cs: Sequence[float], per: str, tie: str) -> NDArray[np.int64]:
    """Index of the chosen C of each class, (L,)."""
    by_class = mean_over(curve, 1)  # (n_Cs, n_folds, L) -> (n_Cs, L)
    overall = mean_over(by_class, 1)  # -> (n_Cs,)
    order = np.argsort(Cs, kind="stable") if tie == "smallest" else np.arange(len(Cs))
    joint = order[np.nanargmax(overall[order])]
    best = np.full(by_class.shape[1], joint, np.int64)
    if per == "class":
        for one in np.flatnonzero(~np.isnan(by_class).all(axis=0)):  # others: as all together
            best[one] = order[np.nanargmax(by_class[order, one])]
    return best


def mean_over(values: Values, axis: int) -> Values:
    """The mean along an axis without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=axis)
    count = known.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        mean: Values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def has_both(y: NDArray[np.int8], weights: Values) -> Mask:
    """Whether a column has positive and negative rows that take part, (P,)."""
    takes_part = weights > 0
    return np.asarray(((y > 0) & takes_part).any(axis=0) & ((y < 0) & takes_part).any(axis=0))
