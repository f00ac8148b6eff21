"""The optimum among a few rows, against the formula of the objective minimised by scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from deepfeat.classify.certificate import relative_gap
from deepfeat.classify.working_set import MARGIN, optima, working_set


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
        [torch.from_numpy(X @ X.T) for X in rows],
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
    beta, _ = optima([K], y, c, nothing.clone(), torch.tensor([0.0], dtype=torch.float64))
    found, _ = relative_gap(y, c, beta, beta @ K)
    start, _ = relative_gap(y, c, nothing, nothing)
    assert (y * beta >= 0).all()
    assert float(found) < 1e-3 * float(start)


def test_working_set_holds_what_pushes_nearly_pushes_or_carries_weight() -> None:
    y = torch.tensor([[1.0, 1, -1, 1, 0]], dtype=torch.float64)
    c = torch.tensor([[1.0, 1, 1, 1, 0]], dtype=torch.float64)
    f = torch.tensor([[0.5, 1 + MARGIN / 2, -3, 3, 0]], dtype=torch.float64)
    beta = torch.tensor([[0, 0, 0, 0.1, 0]], dtype=torch.float64)
    assert working_set(y, c, beta, f).tolist() == [[True, True, False, True, False]]
