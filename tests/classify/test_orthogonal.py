"""What only an orthogonal factor solves, against NumPy; and that it solves the rest too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from device import DEVICE
from feature_like import feature_like
from oracles.svm_gap import objective

from deepfeat.classify.orthogonal import Orthogonal
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver


def least(X: np.ndarray, y: np.ndarray, c: np.ndarray) -> float:
    """The optimum by NumPy: Newton's method with halved steps on the rows turned by an SVD."""
    rows = np.hstack([X.astype(np.float64), np.ones((len(X), 1))])
    left, size, _ = np.linalg.svd(rows, full_matrices=False)
    Z = left * size

    def value(w: np.ndarray) -> float:
        return float(w @ w / 2 + c @ np.maximum(0, 1 - y * (Z @ w)) ** 2)

    w = np.zeros(Z.shape[1])
    for _ in range(200):
        active = y * (Z @ w) < 1
        root = np.sqrt(2 * c[active])
        stacked = np.vstack([root[:, None] * Z[active], np.eye(len(w))])
        lengths = np.linalg.norm(stacked, axis=0)
        right = np.append(root * y[active], np.zeros(len(w)))
        way = np.linalg.lstsq(stacked / lengths, right, rcond=None)[0] / lengths - w
        t = 1.0
        while t > 1e-12 and value(w + t * way) >= value(w):
            t /= 2
        if t <= 1e-12:
            break
        w = w + t * way
    return value(w)


@pytest.mark.parametrize(("offset", "C"), [(10.0, 1e5), (0.0, 1e3)])
def test_columns_over_three_decades_of_low_rank_and_labels_at_random(
    offset: float, C: float
) -> None:
    rows = 60
    random = np.random.default_rng(rows)
    X = random.normal(size=(rows, 10)) @ random.normal(size=(10, 100))
    X = (25 * X * np.logspace(0, 3, 100) + offset).astype(np.float32)
    y = np.where(random.random((rows, 1)) < 0.5, 1, -1).astype(np.int8)
    solver = GramSolver(X, Settings(device=DEVICE))
    (found,) = solver.path(y, np.ones(y.shape), [C], with_coef=True)
    assert found.coef is not None
    assert found.met.all(), found.gap
    c = np.full(rows, C)
    best = least(X, y[:, 0].astype(float), c)
    assert found.primal[0] == pytest.approx(best, rel=1e-5)
    told = objective(X, y[:, 0], c, found.coef[0], found.intercept[0])
    assert told == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("intercept_scaling", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("rows", "columns"), [(300, 40), (60, 200)])
def test_it_agrees_with_the_other_solver_where_both_can(
    rows: int, columns: int, intercept_scaling: float
) -> None:
    X, y = feature_like(rows, columns, 3, seed=1)
    weights = np.where(np.arange(rows)[:, None] % 4 == 0, 0.0, np.full(y.shape, 0.5))
    settings = Settings(
        device=DEVICE,
        fit_intercept=intercept_scaling > 0,
        intercept_scaling=intercept_scaling or 1.0,
    )
    (expected,) = GramSolver(X, settings).path(y, weights, [2.0], with_coef=True)
    found = Orthogonal(X, settings, torch.device(DEVICE)).solve(y, 2.0 * weights, 1e-14)
    assert found.met.all()
    assert (found.gap <= 1e-12).all()
    for name in ("coef", "intercept", "primal", "decision", "dual"):
        wanted = getattr(expected, name)
        scale = float(np.abs(wanted).max())
        assert getattr(found, name) == pytest.approx(wanted, rel=1e-5, abs=1e-5 * scale + 1e-12), (
            name
        )
