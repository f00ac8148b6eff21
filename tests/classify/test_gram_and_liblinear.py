"""Against liblinear: objectives of 200 random problems, and average precision."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.svm_gap import objective
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver


def by_liblinear(X: np.ndarray, y: np.ndarray, c: np.ndarray, scale: float = 1) -> LinearSVC:
    """A fit of one problem; c (N,) weights with C in them; fails where it does not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svc = LinearSVC(
            dual=len(X) < X.shape[1], tol=1e-8, max_iter=100_000, intercept_scaling=scale
        )
        use = c > 0
        return svc.fit(np.asarray(X[use], np.float64), y[use], sample_weight=c[use])


@pytest.mark.parametrize("solver", [GramSolver, PrimalSolver])
@pytest.mark.parametrize("seed", range(20))
def test_objectives_of_200_random_problems(solver: type, seed: int) -> None:
    """Ten each: sizes, weights, values of C and rows left out are drawn by the seed."""
    random = np.random.default_rng(seed)
    rows, columns = random.integers(20, 160), random.integers(2, 60)
    X = random.normal(size=(rows, columns)).astype(np.float32)
    direction = random.normal(size=(columns, 10))
    score = X @ direction + random.normal(size=(rows, 10)) * np.sqrt(columns)
    y = np.where(score > random.normal(), 1, -1).astype(np.int8)
    y[0], y[1] = 1, -1  # liblinear wants both
    weights = random.exponential(size=y.shape) * (random.random(y.shape) < 0.9)
    weights[:2] = 1
    C, scale = float(10 ** random.uniform(-3, 1.5)), float(random.uniform(0.3, 3))
    asked = Settings(device=DEVICE, intercept_scaling=scale)
    found = next(iter(solver(X, asked).path(y, weights, [C], with_coef=True)))
    assert found.met.all()
    for j in range(10):
        c = C * weights[:, j]
        theirs = by_liblinear(X, y[:, j], c, scale)
        best = objective(X, y[:, j], c, theirs.coef_[0], theirs.intercept_[0], scale)
        own = objective(X, y[:, j], c, found.coef[j], found.intercept[j], scale)
        assert own == pytest.approx(best, rel=1e-4)
        assert found.primal[j] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("seed", range(9, 19))
def test_average_precision_is_that_of_liblinear(seed: int) -> None:
    """Within 5e-4 at the default gap, four decimals at 1e-6: of every class, rare ones too."""
    X, y = feature_like(3500, 200, 5, seed)
    train = np.arange(3500) < 500
    weights = np.where(y > 0, 2.0, 1.0) * train[:, None]
    for C in (0.05, 1.0):
        theirs = [by_liblinear(X, y[:, j], C * weights[:, j]) for j in range(5)]
        expected = [
            average_precision_score(y[~train, j], svc.decision_function(X[~train]))
            for j, svc in enumerate(theirs)
        ]
        for gap, most in ((1e-4, 5e-4), (1e-6, 5e-5)):
            solver = GramSolver(X, Settings(device=DEVICE, gap=gap))
            found = next(iter(solver.path(y, weights, [C])))
            own = [
                average_precision_score(y[~train, j], found.decision[~train, j]) for j in range(5)
            ]
            distance = np.abs(np.array(own) - expected)
            assert (distance <= most).all(), distance


@pytest.mark.parametrize("solver", [GramSolver, PrimalSolver])
@pytest.mark.parametrize("seed", range(3))
def test_objectives_where_the_stopping_rule_decides(solver: type, seed: int) -> None:
    """More rows than those that are solved to the last digits whatever gap is asked for."""
    random = np.random.default_rng([7, seed])
    X, y = feature_like(int(random.integers(520, 800)), 100, 4, seed)
    weights = random.exponential(size=y.shape) * (random.random(y.shape) < 0.9)
    C = float(10 ** random.uniform(-2, 1))
    found = next(iter(solver(X, Settings(device=DEVICE)).path(y, weights, [C])))
    for j in range(4):
        c = C * weights[:, j]
        theirs = by_liblinear(X, y[:, j], c)
        best = objective(X, y[:, j], c, theirs.coef_[0], theirs.intercept_[0])
        assert found.primal[j] == pytest.approx(best, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 30),
    columns=st.integers(1, 8),
    C=st.floats(1e-3, 10),
    seed=st.integers(0, 2**32 - 1),
    repeated=st.booleans(),
    solver=st.sampled_from([GramSolver, PrimalSolver]),
)
def test_small_problems_are_liblinears(
    rows: int, columns: int, C: float, seed: int, repeated: bool, solver: type
) -> None:
    random = np.random.default_rng(seed)
    X = random.integers(-3, 4, size=(rows, columns)).astype(np.float32)
    if repeated:
        X[rows // 2 :] = X[: rows - rows // 2]
    y = random.choice([-1, 1], size=(rows, 1)).astype(np.int8)
    y[0], y[1] = 1, -1
    weights = random.choice([0.0, 0.5, 1.0, 3.0], size=y.shape)
    weights[:2] = 1
    found = next(iter(solver(X, Settings(device=DEVICE)).path(y, weights, [C])))
    theirs = by_liblinear(X, y[:, 0], C * weights[:, 0])
    best = objective(X, y[:, 0], C * weights[:, 0], theirs.coef_[0], theirs.intercept_[0])
    assert found.met.all()
    assert found.primal[0] == pytest.approx(best, rel=1e-4)
