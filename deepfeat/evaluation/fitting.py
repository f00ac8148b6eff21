"""One split: choose C on the training images, fit every class, score the test images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepfeat.classify.choose import SOLVERS, Choice, choose, fit, fixed, has_both
from deepfeat.classify.problems import Report, Settings, Solver
from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import DataError, some
from deepfeat.evaluation.labels import problems_of
from deepfeat.evaluation.measure import Outcome, selection_score
from deepfeat.evaluation.parts import Part, Rows, folds_of
from deepfeat.evaluation.recipe import Recipe
from deepfeat.tables import look_up

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What one split gave.

    Parameters
    ----------
    part : Part
    train, test : (n,), (m,) int64
        The entries that were used; test with those that count as ranked last.
    choice : Choice
    gap : (L,) float64
        Of the final fit; NaN for a class without a classifier, or without a certificate.
    missed : tuple of int
        Classes whose final fit did not reach its tolerance.
    outcome : Outcome
    """

    part: Part
    train: Rows
    test: Rows
    choice: Choice
    gap: NDArray[np.float64]
    missed: tuple[int, ...]
    outcome: Outcome


def settings_of(recipe: Recipe, device: str = "auto") -> Settings:
    """The solver's settings; keys that cannot matter keep their defaults."""
    plain = Settings(device=device)
    names = ("loss", "fit_intercept", "intercept_scaling", "gap", "tol", "max_iter", "random_state")
    return replace(
        plain, **{name: recipe.get(f"svm.{name}", getattr(plain, name)) for name in names}
    )


def fit_part(
    recipe: Recipe,
    dataset: DataSet,
    part: Part,
    X: Matrix,
    position: Rows,
    *,
    device: str = "auto",
    report: Report | None = None,
) -> Fitted:
    """Choose, fit and score.

    Parameters
    ----------
    X : (M, D) float32
        Rows of all usable entries.
    position : (N,) int64
        Row of X for each entry of the data set, -1 for one without.
    report : callable, optional
        Called with problems done and problems in all.

    Raises
    ------
    DataError
        Where no class has both positive and negative training images, or C cannot be chosen.
    """
    train = part.train[position[part.train] >= 0]
    labels = dataset.labels[train]
    y, weights = problems_of(
        labels, recipe.get("svm.difficult", "ignore"), recipe["svm.class_weight"]
    )
    trainable = np.flatnonzero(has_both(y, weights))
    if not len(trainable):
        raise DataError(
            f"split {part.number}: no class can be trained",
            expected="a class with positive and negative training images",
            found=f"{len(train)} training images with descriptors, classes {some(dataset.classes)}",
        )
    solver = look_up(SOLVERS, recipe["svm.solver"], "solver")(
        X[position[train]], settings_of(recipe, device)
    )
    choice = _choose(recipe, part, solver, train, y, weights, report)
    if recipe.get("svm.select.refit", True) is False:
        weights = weights * ~np.isin(train, part.validation)[:, None]
        trainable = np.flatnonzero(has_both(y, weights))
    solution = fit(
        solver,
        y[:, trainable],
        weights[:, trainable],
        choice.C[trainable],
        start=None if choice.start is None else choice.start[:, trainable],
        report=report,
    )
    classes = len(dataset.classes)
    gap = np.full(classes, np.nan)
    gap[trainable] = solution.gap
    assert solution.coef is not None
    test, scores = _scores(
        recipe, part, position, classes, trainable, X,
        solution.coef.astype(np.float32), solution.intercept,
    )  # fmt: skip
    missed = tuple(int(one) for one in trainable[~solution.met])
    return Fitted(part, train, test, choice, gap, missed, Outcome(dataset.labels[test], scores))


def _choose(
    recipe: Recipe,
    part: Part,
    solver: Solver,
    train: Rows,
    y: NDArray[np.int8],
    weights: NDArray[np.float64],
    report: Report | None,
) -> Choice:
    Cs = recipe["svm.C"]
    if recipe["svm.select.on"] == "fixed":
        return fixed(Cs[0], y.shape[1])
    return choose(
        solver,
        y,
        weights,
        folds_of(recipe, part, train, y, weights),
        Cs,
        selection_score(recipe, y, weights),
        per=recipe["svm.select.per"],
        tie=recipe["svm.select.tie"],
        report=report,
    )


def _scores(
    recipe: Recipe,
    part: Part,
    position: Rows,
    classes: int,
    trainable: Rows,
    X: Matrix,
    coef: Matrix,
    intercept: NDArray[np.float64],
) -> tuple[Rows, NDArray[np.float64]]:
    """Test entries that count, and their scores (m, L)."""
    has_row = position[part.test] >= 0
    counts_last = recipe["data.missing"] == "last"
    test = part.test if counts_last else part.test[has_row]
    if not has_row.any():
        raise DataError(f"split {part.number}: no test image has a descriptor")
    scores = np.full((len(part.test), classes), np.nan)
    scores[np.ix_(~has_row, trainable)] = -np.inf
    products = X[position[part.test[has_row]]] @ coef.T  # (m, D) x (D, T) -> (m, T)
    scores[np.ix_(has_row, trainable)] = products + intercept
    return test, scores if counts_last else scores[has_row]
