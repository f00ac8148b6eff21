"""The optimum among a few rows, against the formula of the objective minimised by scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from deepfeat.classify.working_set import MARGIN, optimum, working_set


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_optimum_is_that_of_a_general_minimiser(C: float) -> None:
    random = np.random.default_rng(5)
    X = np.hstack([random.normal(size=(40, 6)), np.ones((40, 1))])
    y = np.where(X[:, 0] + random.normal(size=40) > 0, 1.0, -1.0)
    c = C * random.uniform(0.5, 2, 40)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        slack = np.maximum(0, 1 - y * (X @ w))
        return w @ w / 2 + c @ slack**2, w - X.T @ (2 * c * y * slack)

    expected = minimize(objective, np.zeros(7), jac=True, method="BFGS", options={"gtol": 1e-9})
    K, labels, weights = (torch.from_numpy(a) for a in (X @ X.T, y, c))
    beta, steps = optimum(K, labels, weights, torch.zeros(40, dtype=torch.float64), 1e-12)
    found, _ = objective(X.T @ beta.numpy())
    assert found == pytest.approx(expected.fun, rel=1e-9)
    assert (y * beta.numpy() >= 0).all()
    assert 0 < steps < 30


def test_working_set_holds_what_pushes_nearly_pushes_or_carries_weight() -> None:
    y = torch.tensor([[1.0, 1, 1, 1, 0]], dtype=torch.float64)
    c = torch.tensor([[1.0, 1, 1, 1, 0]], dtype=torch.float64)
    f = torch.tensor([[0.5, 1 + MARGIN / 2, 3, 3, 0]], dtype=torch.float64)
    beta = torch.tensor([[0, 0, 0, 0.1, 0]], dtype=torch.float64)
    assert working_set(y, c, beta, f).tolist() == [[True, True, False, True, False]]
