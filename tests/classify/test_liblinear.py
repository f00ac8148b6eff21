"""The reference solver against scikit-learn called by hand, and the objective it minimises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from deepfeat.classify.liblinear import Liblinear
from deepfeat.classify.problems import Settings
from deepfeat.errors import DataError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 6)).astype(np.float32)
Y = np.where(X @ RANDOM.normal(size=(6, 3)) + RANDOM.normal(size=(30, 3)) > 0, 1, -1)
Y = Y.astype(np.int8)
ONES = np.ones(Y.shape)


def solved(settings=None, weights=ONES, Cs=(1.0,), y=Y):
    return list(Liblinear(X, settings or Settings()).path(y, weights, Cs, with_coef=True))


def by_hand(y, C, rows=slice(None), **options):
    machine = LinearSVC(C=C, random_state=0, max_iter=100_000, **options)
    return machine.fit(X[rows].astype(float), y[rows])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "hinge"},
        {"fit_intercept": False},
        {"intercept_scaling": 7.0},
        {"tol": 0.01},
    ],
    ids=str,
)
def test_every_column_is_scikit_learns_machine_at_every_c(options):
    for C, solution in zip((0.1, 5.0), solved(Settings(**options), Cs=(0.1, 5.0)), strict=True):
        for column in range(3):
            machine = by_hand(Y[:, column], C, **options)
            assert solution.coef[column] == pytest.approx(machine.coef_[0], abs=1e-5)
            expected = float(np.ravel(machine.intercept_)[0])
            assert solution.intercept[column] == pytest.approx(expected, abs=1e-5)
            decision = machine.decision_function(X)
            assert solution.decision[:, column] == pytest.approx(decision, abs=1e-4)


def test_rows_of_weight_zero_are_not_there_but_are_scored():
    weights = ONES.copy()
    weights[:10, 1] = 0
    (solution,) = solved(weights=weights)
    machine = by_hand(Y[:, 1], 1.0, slice(10, None))
    assert solution.coef[1] == pytest.approx(machine.coef_[0], abs=1e-5)
    assert solution.decision[:, 1] == pytest.approx(machine.decision_function(X), abs=1e-4)
    assert solution.decision.shape == (30, 3)


def test_weights_of_rows_are_scikit_learns_class_weights():
    weights = np.where(Y > 0, 2.0, 0.5)
    (solution,) = solved(weights=weights, Cs=(0.3,))
    machine = by_hand(Y[:, 0], 0.3, class_weight={1: 2.0, -1: 0.5})
    assert solution.coef[0] == pytest.approx(machine.coef_[0], abs=1e-5)


def test_the_objective_is_the_one_of_problems_and_is_smallest_there():
    settings = Settings(intercept_scaling=2.0)
    weights = np.where(Y > 0, 2.0, 1.0)
    (solution,) = solved(settings, weights, Cs=(0.7,))

    def objective(w, b, column):
        slack = np.maximum(0, 1 - Y[:, column] * (X @ w + b))
        return w @ w / 2 + (b / 2.0) ** 2 / 2 + 0.7 * (weights[:, column] * slack**2).sum()

    for column in range(3):
        w, b = solution.coef[column].astype(float), solution.intercept[column]
        least = objective(w, b, column)
        assert solution.primal[column] == pytest.approx(least, rel=1e-5)
        for place in range(6):
            aside = w.copy()
            aside[place] += 0.05
            assert objective(aside, b, column) > least
        assert objective(w, b + 0.05, column) > least


def test_a_problem_that_was_stopped_says_so():
    (stopped,) = solved(Settings(loss="hinge", max_iter=1), Cs=(100.0,))
    assert not stopped.met.any()
    assert solved()[0].met.all()


def test_there_is_no_certificate_and_coefficients_only_on_request():
    (solution,) = Liblinear(X, Settings()).path(Y, ONES, [1.0])
    assert solution.coef is None
    assert np.isnan(solution.gap).all()


def test_progress_counts_all_problems_of_all_c():
    told = []
    list(Liblinear(X, Settings()).path(Y, ONES, [1.0, 2.0], report=lambda *one: told.append(one)))
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    ("y", "weights", "Cs", "words"),
    [
        (np.ones((30, 1), np.int8), np.ones((30, 1)), (1.0,), "problem 0 has rows of one label"),
        (Y[:20], ONES, (1.0,), "do not fit the rows"),
        (Y, -ONES, (1.0,), "a weight is negative"),
        (Y, ONES * np.nan, (1.0,), "a weight is negative or not finite"),
        (0 * Y, ONES, (1.0,), "neither -1 nor 1"),
        (Y, ONES, (0.0,), "C must be positive"),
    ],
)
def test_what_no_solver_could_answer_is_refused(y, weights, Cs, words):
    with pytest.raises(DataError, match=words):
        solved(weights=weights, Cs=Cs, y=y)


def test_a_matrix_with_holes_is_refused_by_row():
    holed = X.copy()
    holed[7, 2] = np.nan
    with pytest.raises(DataError, match="a row has NaN or infinity") as caught:
        Liblinear(holed, Settings())
    assert caught.value.found == "the first is row 7"
