"""The optimum among a few rows, against the formula of the objective minimised by scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from deepfeat.classify.certificate import relative_gap
from deepfeat.classify.factors import Corner
from deepfeat.classify.working_set import NEAR, needed, optima, with_near


def objective(
    w: np.ndarray, X: np.ndarray, y: np.ndarray, c: np.ndarray
) -> tuple[float, np.ndarray]:
    slack = np.maximum(0, 1 - y * (X @ w))
    return w @ w / 2 + c @ slack**2, w - X.T @ (2 * c * y * slack)


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_optima_are_those_of_a_general_minimiser(C: float) -> None:
    """Three problems of different sizes side by side, the second without an active row."""
    random = np.random.default_rng(5)
    sizes, most = (40, 1, 25), 40
    y, c = np.zeros((3, most)), np.zeros((3, most))
    rows = [np.hstack([random.normal(size=(size, 6)), np.ones((size, 1))]) for size in sizes]
    for p, X in enumerate(rows):
        y[p, : len(X)] = np.where(X[:, 0] + random.normal(size=len(X)) > 0, 1.0, -1.0)
        c[p, : len(X)] = C * random.uniform(0.5, 2, len(X))
    beta, steps = optima(
        [Corner(torch.from_numpy(X @ X.T)[None]) for X in rows],
        torch.from_numpy(y),
        torch.from_numpy(c),
        torch.zeros((3, most), dtype=torch.float64),
        torch.full((3,), 1e-12, dtype=torch.float64),
    )
    for p, X in enumerate(rows):
        labels, weights, own = y[p, : len(X)], c[p, : len(X)], beta[p, : len(X)].numpy()
        options = {"gtol": 1e-9}
        expected = minimize(
            objective, np.zeros(7), (X, labels, weights), method="BFGS", jac=True, options=options
        )
        found, _ = objective(X.T @ own, X, labels, weights)
        assert found == pytest.approx(expected.fun, rel=1e-9)
        assert (labels * own >= 0).all()
        assert not beta[p, len(X) :].any()
    assert 3 <= steps < 90


def test_an_optimum_that_rounding_forbids_gives_the_best_met_on_the_way() -> None:
    random = np.random.default_rng(6)
    X = random.normal(size=(30, 3))
    y = torch.from_numpy(np.where(random.random((1, 30)) > 0.5, 1.0, -1.0))
    c = torch.full((1, 30), 1e7, dtype=torch.float64)
    nothing = torch.zeros((1, 30), dtype=torch.float64)
    K = torch.from_numpy(X @ X.T)
    beta, _ = optima(
        [Corner(K[None])], y, c, nothing.clone(), torch.tensor([0.0], dtype=torch.float64)
    )
    found, _ = relative_gap(y, c, beta, beta @ K)
    start, _ = relative_gap(y, c, nothing, nothing)
    assert (y * beta >= 0).all()
    assert float(found) < 1e-3 * float(start)


def test_working_set_holds_what_pushes_or_carries_weight_and_the_nearest_to_the_margin() -> None:
    random = np.random.default_rng(7)
    y = np.where(random.random((3, 100)) > 0.5, 1.0, -1.0)
    f = y * random.uniform([[0.0], [0.9], [1.5]], 2, (3, 100))  # many that push, some, none
    c = np.where(random.random((3, 100)) < 0.9, 1.0, 0.0)
    beta = np.where(random.random((3, 100)) < 0.1, 0.1 * y, 0.0) * c
    tensors = [torch.from_numpy(one) for one in (y, c, beta, f)]
    must = needed(*tensors)
    found = with_near(must, tensors[0], tensors[1], tensors[3]).numpy()
    for p in range(3):
        expected = (c[p] > 0) & ((y[p] * f[p] < 1) | (beta[p] != 0))
        assert (must[p].numpy() == expected).all()
        others = np.flatnonzero((c[p] > 0) & ~expected)
        near = others[np.argsort((y[p] * f[p])[others])][: int(NEAR * expected.sum()) + 1]
        assert set(np.flatnonzero(found[p])) == set(np.flatnonzero(expected)) | set(near)


def test_working_set_of_all_rows_has_none_to_add() -> None:
    y = torch.ones((1, 4), dtype=torch.float64)
    everything = torch.ones((1, 4), dtype=torch.bool)
    assert with_near(everything, y, y, 0 * y).all()
