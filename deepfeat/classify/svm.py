"""scikit-learn's face of the solver: ``LinearSVM`` fits, ``LinearSVMCV`` chooses C first.

One against rest: each class, or each column of an indicator matrix, is one problem, and all of them
are solved together. A label that is NaN in an indicator matrix claims nothing and weighs nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from deepfeat.classify.choose import choose, fit, mean_over
from deepfeat.classify.held_out import SCORES, folds, grid, score_columns
from deepfeat.classify.labels import Labels, class_weights, read_labels, value_errors
from deepfeat.classify.problems import Settings, Solver
from deepfeat.classify.progress import end_line, progress
from deepfeat.classify.solver import make_solver
from deepfeat.tables import look_up

ClassWeight = Mapping[Any, float] | str | None


class _Linear(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What the two estimators share: decision values, predictions, and reading X and y."""

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """w.x + b: (N, L) float64, or (N,) of the second class if there are two."""
        check_is_fitted(self, "coef_")
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        values: NDArray[np.float64] = rows @ self.coef_.T + self.intercept_  # (N, D) -> (N, L)
        return values[:, 0] if self._labels.is_binary else values

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class of the largest decision value, or an indicator matrix: (N,) or (N, L)."""
        decision = self.decision_function(X)
        return self._labels.decide(decision)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _read(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[np.float32], Labels, NDArray[np.float64]]:
        """X (N, D) float32, the labels, and weights (N, L) without C."""
        rows = validate_data(self, X, dtype=np.float32)
        labels = read_labels(y, len(rows))
        each = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        if (each < 0).any():
            raise ValueError("a sample weight is negative")
        return rows, labels, class_weights(labels, self.class_weight, each)

    def _settings(self) -> Settings:
        return Settings(
            loss=self.loss,
            fit_intercept=self.fit_intercept,
            intercept_scaling=self.intercept_scaling,
            gap=self.tol,
            device=self.device,
        )

    def _fit_at(
        self,
        solver: Solver,
        labels: Labels,
        weights: NDArray[np.float64],
        C: NDArray[np.float64],
        start: NDArray[np.float32] | None = None,
    ) -> None:
        """Fit each column at its own C."""
        report = progress(self.verbose)
        with value_errors():
            solution = fit(solver, labels.y, weights, C, start=start, report=report)
        assert solution.coef is not None
        self.coef_, self.intercept_ = solution.coef, solution.intercept
        self.gap_ = solution.gap
        if not solution.met.all():
            missed = ", ".join(str(labels.name(int(j))) for j in np.flatnonzero(~solution.met))
            warnings.warn(
                f"gap {solution.gap.max():.1e} instead of {self.tol:.1e} for: {missed}",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._labels = labels.without_rows()
        self.classes_ = labels.names


class LinearSVM(_Linear):
    """Linear SVM, L2-regularised squared hinge, one against rest, certified.

    Each problem minimises ``1/2 |w|^2 + 1/2 (b/s)^2 + sum_i c_i max(0, 1 - y_i (w.x_i + b))^2``
    with c_i = C x class weight x sample weight and s = ``intercept_scaling``.

    Parameters
    ----------
    C : float
    loss : str
        "squared_hinge".
    class_weight : dict, "balanced" or None
        By class; for an indicator matrix by 1 and 0 (or -1). "balanced" counts rows by their
        weights, over all rows given, folds or not.
    tol : float
        Relative duality gap to reach.
    fit_intercept : bool
    intercept_scaling : float
    max_iter : int
        Kept for other linear models' sake; the gap alone says when to stop.
    device : str
        "auto", "cpu", "cuda".
    verbose : int
        Above 0: progress every two seconds, and at the end problems, time and worst gap.

    Attributes
    ----------
    coef_ : (L, D) float64, or (1, D) for two classes
    intercept_, gap_ : (L,) float64
    classes_ : (L,), or the two classes
    n_iter_ : int
        Newton steps of all problems over their number, rounded up.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> LinearSVM().fit(X, [0, 0, 1, 1]).predict([[0.2], [2.8]])
    array([0, 1])
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        loss: str = "squared_hinge",
        class_weight: ClassWeight = None,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        max_iter: int = 1000,
        device: str = "auto",
        verbose: int = 0,
    ):
        self.C = C
        self.loss = loss
        self.class_weight = class_weight
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.max_iter = max_iter
        self.device = device
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> LinearSVM:
        """Fit.

        Parameters
        ----------
        X : (N, D)
            Fitted as float32: columns that are large beside their spread are better centred.
        y : (N,) classes, or (N, L) indicator of 0 (or -1) and 1, NaN where nothing is claimed
        sample_weight : (N,)

        Raises
        ------
        ValueError
            NaN or infinity in X, one class only, a negative weight, C or ``tol`` not positive,
            a loss or ``class_weight`` that does not exist.
        """
        started = time.monotonic()
        with value_errors():
            settings = self._settings()
            rows, labels, weights = self._read(X, y, sample_weight)
            solver = make_solver(rows, settings)
        self._fit_at(solver, labels, weights, np.full(labels.y.shape[1], float(self.C)))
        self.n_iter_ = solver.steps
        if self.verbose:
            seconds = time.monotonic() - started
            print(end_line(labels.y.shape[1], float(self.gap_.max()), seconds))
        return self


class LinearSVMCV(_Linear):
    """``LinearSVM`` with C chosen on held-out rows, all folds and values of C solved together.

    Parameters
    ----------
    Cs : int or sequence of float
        An int gives that many values from 1e-4 to 1e4.
    cv : None, int, splitter, or iterable of (train, test)
        None is 5. A number is scikit-learn's StratifiedKFold without shuffling; of an indicator
        matrix each column divides its own rows, NaN left out. One (train, test) is a hold-out.
    per_class : bool
        Choose for each class by its own score, instead of one C by the mean.
    scoring : str
        "average_precision", "recall" (of a class among the predictions), "accuracy".
    refit : bool
        Fit on all rows at the chosen C; without it there is nothing to predict with.

    The others are those of ``LinearSVM``.

    Attributes
    ----------
    C_ : float, or (L,) float64 if ``per_class``
        Ties go to the smallest.
    scores_ : (n_Cs, n_folds, L) float64
        NaN where a fold holds no row of the class.
    mean_scores_ : (n_Cs, L) float64
    at_edge_ : bool, or (L,) bool
        Whether C is the least or the greatest of several.
    Cs_ : (n_Cs,) float64
    gaps_ : (n_Cs, n_folds, L) float64, worst_gap_ : float
        Of all problems of the choice; NaN where a fold posed none.
    """

    def __init__(
        self,
        Cs: int | Sequence[float] = 10,
        *,
        cv: Any = None,
        per_class: bool = False,
        scoring: str = "average_precision",
        refit: bool = True,
        loss: str = "squared_hinge",
        class_weight: ClassWeight = None,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        device: str = "auto",
        verbose: int = 0,
    ):
        self.Cs = Cs
        self.cv = cv
        self.per_class = per_class
        self.scoring = scoring
        self.refit = refit
        self.loss = loss
        self.class_weight = class_weight
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.device = device
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LinearSVMCV:
        """Choose C, then fit; see ``LinearSVM.fit``."""
        started = time.monotonic()
        with value_errors():
            settings = self._settings()
            look_up(SCORES, self.scoring, "scoring")
            rows, labels, weights = self._read(X, y, sample_weight)
            self.Cs_ = grid(self.Cs)
            held_out = folds(self.cv, rows, labels)
            solver = make_solver(rows, settings)
            choice = choose(
                solver,
                labels.y,
                weights,
                held_out,
                self.Cs_.tolist(),
                partial(score_columns, self.scoring, labels),
                per="class" if self.per_class else "all",
                report=progress(self.verbose),
            )
        if choice.missed:
            some = ", ".join(
                f"C {C:g} in fold {fold} for {labels.name(j)}" for C, fold, j in choice.missed[:5]
            )
            warnings.warn(
                f"{len(choice.missed)} problems missed gap {self.tol:.1e}, the worst at "
                f"{choice.worst_gap:.1e}: {some}",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.scores_, self.gaps_, self.worst_gap_ = choice.curve, choice.gaps, choice.worst_gap
        self.mean_scores_ = mean_over(self.scores_, 1)  # (n_Cs, F, L) -> (n_Cs, L)
        self.C_ = choice.C if self.per_class else float(choice.C[0])
        self.at_edge_ = choice.at_edge if self.per_class else bool(choice.at_edge[0])
        for name in ("coef_", "intercept_", "gap_", "classes_", "_labels"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if self.refit:
            self._fit_at(solver, labels, weights, choice.C, choice.start)
        self.n_iter_ = solver.steps
        if self.verbose:
            problems = choice.problems + self.refit * labels.y.shape[1]
            worst = max(choice.worst_gap, float(self.gap_.max()) if self.refit else 0.0)
            print(end_line(problems, worst, time.monotonic() - started))
        return self
