"""What a linear SVM solver is asked for and what it gives: many binary problems over the same rows.

A problem is a column: labels y (N,) in {-1, 1} and weights c (N,) >= 0. Each minimises

    1/2 |w|^2 + 1/2 (b/s)^2 + sum_i c_i max(0, 1 - y_i (w.x_i + b))^p    p = 2, or 1 for the hinge

which is liblinear's objective, s its ``intercept_scaling`` (Fan et al. 2008, section 2).
One matrix of weights says everything that varies: c_i is C times the weight of the class and of the
row, and 0 for a row outside the fold, or one of which nothing is claimed; its label is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataError, UsageError

LOSSES = ("squared_hinge", "hinge")
ROWS_AT_A_TIME = 1024  # of X, when it is looked through
Report = Callable[[int, int], None]  # problems done, problems in all


@dataclass(frozen=True, slots=True)
class Settings:
    """How problems are posed and how exactly they are solved.

    ``gap`` is the relative duality gap to reach; ``tol``, ``max_iter`` and ``random_state`` are
    liblinear's own and mean nothing to another solver.

    Raises
    ------
    UsageError
        A gap or an intercept's scaling that is not positive and finite.
    """

    loss: str = "squared_hinge"
    fit_intercept: bool = True
    intercept_scaling: float = 1.0
    gap: float = 1e-4
    tol: float = 1e-4
    max_iter: int = 100_000
    random_state: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        named = {"the gap to reach": self.gap, "intercept_scaling": self.intercept_scaling}
        for name, value in named.items():
            if not 0 < value < np.inf:
                raise UsageError(f"{name} is {value}", expected="a positive number")


@dataclass(frozen=True, slots=True)
class Solution:
    """P problems, solved at one value of C.

    Parameters
    ----------
    decision : (N, P) float32
        w.x_i + b for every row given, also those of weight 0: scores of a held-out fold.
    coef : (P, D) float64, or None if not asked for
    intercept : (P,) float64
    primal : (P,) float64
        The objective.
    gap : (P,) float64
        Relative duality gap; NaN from a solver that gives no certificate.
    met : (P,) bool
        Whether the problem reached its tolerance.
    dual : (N, P) float32, or None from a solver that has none
        y alpha: where similar problems may start.
    """

    decision: NDArray[np.float32]
    coef: NDArray[np.float64] | None
    intercept: NDArray[np.float64]
    primal: NDArray[np.float64]
    gap: NDArray[np.float64]
    met: NDArray[np.bool_]
    dual: NDArray[np.float32] | None = None


class Solver(Protocol):
    """Made once for a matrix X (N, D); solves problems over its rows."""

    def path(
        self,
        y: NDArray[np.int8],
        weights: NDArray[np.float64],
        Cs: Sequence[float],
        *,
        with_coef: bool = False,
        start: NDArray[np.float32] | None = None,
        report: Report | None = None,
    ) -> Iterator[Solution]:
        """Solve P problems at each C, in the order of ``Cs``: c = C * weights.

        Parameters
        ----------
        y : (N, P) in {-1, 1}; anything where the weight is 0
        weights : (N, P) >= 0
        start : (N, P), optional
            The ``dual`` of similar problems, which saves the way from w = 0; it cannot change the
            result beyond the gap.
        """
        ...


def check_problems(
    rows: int,
    y: NDArray[np.int8],
    weights: NDArray[np.float64],
    Cs: Sequence[float],
    start: NDArray[np.float32] | None = None,
) -> None:
    """Refuse what no solver could answer.

    Raises
    ------
    DataError
        Shapes that do not fit, weights or C that are negative or not finite, labels other than
        -1 and 1 on rows that take part, a start that is not finite.
    """
    if y.shape != weights.shape or y.ndim != 2 or len(y) != rows:
        raise DataError(
            "labels and weights do not fit the rows",
            expected=f"({rows}, P) both",
            found=f"{y.shape} and {weights.shape}",
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise DataError("a weight is negative or not finite")
    if not np.isin(y[weights > 0], (-1, 1)).all():
        raise DataError("a label is neither -1 nor 1")
    if start is not None and (start.shape != y.shape or not np.isfinite(start).all()):
        raise DataError("the start is no dual of these problems", expected=f"{y.shape}, finite")
    check_C(Cs)


def check_C(Cs: Iterable[float]) -> None:
    """Refuse what is no C.

    Raises
    ------
    DataError
        One that is not positive, or not finite.
    """
    Cs = list(Cs)
    if not all(np.isfinite(C) and C > 0 for C in Cs):
        raise DataError("C must be positive and finite", found=", ".join(map(str, Cs)))


def check_loss(settings: Settings) -> None:
    """Refuse what only liblinear can do.

    Raises
    ------
    UsageError
        A loss other than the squared hinge.
    """
    if settings.loss != "squared_hinge":
        raise UsageError(
            f"this solver has no loss '{settings.loss}'",
            expected="squared_hinge",
            advice="The solver 'liblinear' has the hinge.",
        )


def check_matrix(X: NDArray[np.floating[Any]], first: int = 0) -> None:
    """Refuse NaN and infinity, which would spread through every product.

    ``first`` is the number of the first row, where X is a part of a matrix.

    Raises
    ------
    DataError
        With the first row that has one.
    """
    for start in range(0, len(X), ROWS_AT_A_TIME):
        is_bad = ~np.isfinite(X[start : start + ROWS_AT_A_TIME]).all(axis=1)
        if is_bad.any():
            raise DataError(
                "a row has NaN or infinity",
                found=f"the first is row {first + start + int(np.flatnonzero(is_bad)[0])}",
                advice="Holes have no descriptors: leave them out before fitting.",
            )
