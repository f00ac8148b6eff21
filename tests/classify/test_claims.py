"""Gaps as they are told, against the definition: from X, y, c and the solution alone."""

from __future__ import annotations

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like
from oracles.svm_gap import bound, objective, with_constant

from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings, Solution
from deepfeat.classify.solver import GramSolver

Solver = type[GramSolver] | type[PrimalSolver]


def dual_objective(X: np.ndarray, c: np.ndarray, beta: np.ndarray) -> float:
    """sum alpha - 1/2 |X^T beta|^2 - sum alpha^2 / (4 c), beta = y alpha: float64."""
    use = c > 0
    beta, alpha = beta[use].astype(np.float64), np.abs(beta[use].astype(np.float64))
    w = with_constant(X, 1)[use].T @ beta
    return float(alpha.sum() - w @ w / 2 - (alpha**2 / (4 * c[use])).sum())


@pytest.mark.parametrize("gap", [0.3, 0.03, 1e-3])
@pytest.mark.parametrize("C", [0.01, 0.3, 10.0])
@pytest.mark.parametrize(("solver", "module"), [(GramSolver, "solver"), (PrimalSolver, "primal")])
def test_a_gap_that_is_large_enough_to_see_is_the_true_one(
    solver: Solver, module: str, C: float, gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped early, so that it is no matter of rounding."""
    monkeypatch.setattr(f"deepfeat.classify.{module}.aim", lambda asked: asked)
    X, y = feature_like(900, 200, 4, seed=0)
    weights = np.where(np.arange(900)[:, None] % 4 == 0, 0.0, np.ones(y.shape))
    path = solver(X, Settings(device=DEVICE, gap=gap)).path(y, weights, [C], with_coef=True)
    (found,) = path
    assert found.coef is not None
    assert found.dual is not None
    seen = 0
    for j in range(4):
        c = C * weights[:, j]
        primal = objective(X, y[:, j], c, found.coef[j], found.intercept[j])
        assert primal == pytest.approx(found.primal[j], rel=1e-6)
        if solver is GramSolver:  # its certificate is of the dual; the other scales the dual first
            least = dual_objective(X, c, found.dual[:, j])
        else:
            least = bound(X, y[:, j], c, found.coef[j], found.intercept[j])
        assert (primal - least) / primal == pytest.approx(found.gap[j], rel=1e-2, abs=1e-7)
        seen += found.gap[j] > 1e-6
    assert seen or gap < 0.3, "nothing was stopped early"


HARD = {
    "labels at random": (600, 300, [1.0, 1e3]),
    "more rows": (1200, 600, [1.0, 1e3]),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("solver", [GramSolver, PrimalSolver])
def test_near_the_limit_of_separability(
    name: str, solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many rows as columns, labels of no meaning: Newton's walk is at its longest."""
    rows, columns, Cs = HARD[name]
    monkeypatch.setattr(GramSolver, "_mend", _keep)  # each on its own
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, columns)).astype(np.float32)
    y = random.choice(np.array([-1, 1], np.int8), (rows, 4))
    for found in solver(X, Settings(device=DEVICE)).path(y, np.ones(y.shape), Cs):
        assert found.met.all(), found.gap


def _keep(self: GramSolver, found: Solution, *rest: object) -> Solution:
    return found


@pytest.mark.parametrize("entries", [1 << 23, 0])  # by orthogonal factors, or in a basis of rows
def test_a_cold_start_at_the_largest_C_with_too_many_columns_for_w(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfeat.classify.solver.FEW_ENTRIES", entries)
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(5000, 300)))[0].T
    X = (random.normal(size=(600, 300)) @ basis).astype(np.float32)
    y = random.choice(np.array([-1, 1], np.int8), (600, 4))
    path = GramSolver(X, Settings(device=DEVICE)).path(y, np.ones(y.shape), [1e5], with_coef=True)
    (found,) = path
    assert found.coef is not None
    assert found.met.all(), found.gap
    for j in range(4):
        told = objective(X, y[:, j], np.full(600, 1e5), found.coef[j], found.intercept[j])
        assert told == pytest.approx(found.primal[j], rel=1e-6)


@pytest.mark.parametrize(("rows", "fold"), [(150, True), (600, True), (600, False)])
def test_what_rounding_of_the_gram_matrix_hides_is_found_from_the_rows(
    rows: int, fold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three columns of unlike size, labels at random, large C: beta is so large that f cancels."""
    random = np.random.default_rng(4)
    X = (random.normal(size=(rows, 3)) * [1, 30, 1000]).astype(np.float32)
    y = np.where(random.random((rows, 2)) < 0.3, 1, -1).astype(np.int8)
    weights = np.ones(y.shape)
    if fold:
        weights[::3] = 0
    C = 3e3

    def off(*, check: bool) -> float:
        """How far the objectives told are from those of w."""
        (found,) = GramSolver(X, Settings(device=DEVICE)).path(y, weights, [C], with_coef=True)
        assert found.coef is not None
        result = 0.0
        for j in range(2):
            given = X, y[:, j], C * weights[:, j], found.coef[j], found.intercept[j]
            primal = objective(*given)
            result = max(result, abs(found.primal[j] / primal - 1))
            if check:
                assert found.met[j]
                f = X.astype(np.float64) @ found.coef[j] + found.intercept[j]
                assert np.abs(found.decision[:, j] - f).max() <= 1e-5 * np.abs(f).max()
        return result

    assert off(check=True) <= 1e-12
    monkeypatch.setattr("deepfeat.classify.solver.DOUBT", np.inf)
    assert off(check=False) > 1e-11, "nothing was hidden"
