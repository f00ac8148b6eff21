"""The reference solver: scikit-learn's ``LinearSVC``, one problem after the other.

Slow, and known to everybody. It gives no certificate: a problem counts as solved where liblinear
stopped by its own rule before ``max_iter``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deepfeat.classify.problems import Report, Settings, Solution, check_matrix, check_problems
from deepfeat.errors import DataError


class Liblinear:
    """Solves problems over the rows of X (N, D)."""

    def __init__(self, X: NDArray[np.float32], settings: Settings):
        check_matrix(X)
        self._X = np.ascontiguousarray(X, np.float64)  # what liblinear computes with
        self._settings = settings

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
        """Solve P problems at each C; see ``problems.Solver``.

        Raises
        ------
        DataError
            Where a problem has rows of one label only, which liblinear does not take.
        """
        problems = y.shape[1]
        check_problems(len(self._X), y, weights, Cs)
        for number, C in enumerate(Cs):
            coef = np.empty((problems, self._X.shape[1]))
            intercept = np.zeros(problems)
            met = np.zeros(problems, bool)
            for p in range(problems):
                coef[p], intercept[p], met[p] = self._fit(y[:, p], C * weights[:, p], p)
                if report is not None:
                    report(number * problems + p + 1, len(Cs) * problems)
            decision = self._X @ coef.T + intercept  # (N, D) x (D, P) -> (N, P)
            yield Solution(
                decision.astype(np.float32),
                coef if with_coef else None,
                intercept,
                _objective(decision, coef, intercept, y, C * weights, self._settings),
                np.full(problems, np.nan),
                met,
            )

    def _fit(
        self, y: NDArray[np.int8], c: NDArray[np.float64], problem: int
    ) -> tuple[NDArray[np.float64], float, bool]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        taking_part = c > 0
        if len(np.unique(y[taking_part])) < 2:
            raise DataError(
                f"problem {problem} has rows of one label only",
                expected="at least one positive and one negative row for liblinear",
            )
        settings = self._settings
        machine = LinearSVC(
            C=1.0,
            loss=settings.loss,
            dual="auto",
            tol=settings.tol,
            max_iter=settings.max_iter,
            fit_intercept=settings.fit_intercept,
            intercept_scaling=settings.intercept_scaling,
            random_state=settings.random_state,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is told in ``met``
            machine.fit(self._X[taking_part], y[taking_part], sample_weight=c[taking_part])
        # scikit-learn scales the intercept back; without one it is the number 0.
        intercept = float(np.ravel(machine.intercept_)[0])
        return machine.coef_[0], intercept, bool(machine.n_iter_ < settings.max_iter)


def _objective(
    decision: NDArray[np.float64],
    coef: NDArray[np.float64],
    intercept: NDArray[np.float64],
    y: NDArray[np.int8],
    c: NDArray[np.float64],
    settings: Settings,
) -> NDArray[np.float64]:
    """The objective of problems.py for every column, (P,)."""
    power = 2 if settings.loss == "squared_hinge" else 1
    losses = c * np.maximum(0, 1 - y * decision) ** power
    scaled = intercept / settings.intercept_scaling
    total: NDArray[np.float64] = 0.5 * (coef**2).sum(axis=1) + 0.5 * scaled**2 + losses.sum(axis=0)
    return total
