"""The minimum along a line, against the objective's own formula and scipy's root finder."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from deepfeat.classify.line_search import line_minimum


def slope(t: float, w: np.ndarray, v: np.ndarray, X: np.ndarray, y: np.ndarray, c: np.ndarray):
    slack = np.maximum(0, 1 - y * (X @ (w + t * v)))
    return (w + t * v) @ v - 2 * (c * slack * y) @ (X @ v)


@pytest.mark.parametrize("C", [1e-6, 1e-2, 1.0, 1e4])
def test_line_minimum_is_where_the_slope_is_zero_or_the_far_end(C: float) -> None:
    random = np.random.default_rng(3)
    X = random.normal(size=(200, 20))
    lines = [(random.normal(size=20), random.normal(size=20)) for _ in range(30)]
    y = np.where(random.random((30, 200)) < 0.3, 1.0, -1.0)
    c = C * random.uniform(0, 2, (30, 200)) * (random.random((30, 200)) < 0.8)
    for p, (w, v) in enumerate(lines):  # downhill, as every caller's are
        lines[p] = w, v if slope(0, w, v, X, y[p], c[p]) < 0 else -v
    f, d_f = (np.array([X @ line[i] for line in lines]) for i in (0, 1))
    norms = tuple(torch.tensor([line[i] @ line[1] for line in lines]) for i in (0, 1))
    found = line_minimum(*(torch.from_numpy(a) for a in (y, c, f, d_f)), norms, 2.0).numpy()
    far = 0
    for (w, v), labels, weights, t in zip(lines, y, c, found, strict=True):
        if slope(2.0, w, v, X, labels, weights) <= 0:
            assert t == 2.0
            far += 1
        else:
            expected = brentq(slope, 0, 2, (w, v, X, labels, weights), xtol=1e-14)
            assert t == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert far < 30


def test_line_that_leads_nowhere_is_not_taken() -> None:
    """Uphill from the start, and one without any slope."""
    y, c, f = (torch.ones((2, 1), dtype=torch.float64) for _ in range(3))
    norms = torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double()
    found = line_minimum(y, c, f + 1, torch.zeros_like(f), norms, 1.0)
    assert found.tolist() == [0.0, 1.0]
