"""The certificate against P - D taken as such, in more digits than the package has."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfeat.classify.certificate import feasible, relative_gap


def problem(seed: int, rows: int = 12) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, 5))
    K = X @ X.T + 1
    c = random.uniform(0.1, 3, rows) * (random.random(rows) < 0.8)
    y = np.where(random.random(rows) < 0.5, 1.0, -1.0) * (c > 0)
    alpha = random.exponential(size=rows) * (c > 0)
    return K, y, c, alpha


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_sum_is_primal_minus_dual(seed: int) -> None:
    K, y, c, alpha = (a.astype(np.longdouble) for a in problem(seed))
    beta = y * alpha
    f = K @ beta
    use = c > 0
    slack = np.maximum(0, 1 - y * f)[use]
    primal = beta @ f / 2 + c[use] @ slack**2
    dual = alpha.sum() - beta @ f / 2 - (alpha[use] ** 2 / (4 * c[use])).sum()
    tensors = [torch.from_numpy(np.asarray(a, np.float64))[None] for a in (y, c, beta, f)]
    gap, objective = relative_gap(*tensors)
    assert abs(float(objective) - primal) <= 1e-12 * abs(primal)
    if use.any():
        assert abs(float(gap) * primal - (primal - dual)) <= 1e-10 * (primal - dual)


def test_no_weights_is_solved_and_no_number_is_not() -> None:
    zero, one = torch.zeros((1, 3), dtype=torch.float64), torch.ones((1, 3), dtype=torch.float64)
    gap, primal = relative_gap(zero, zero, zero, zero)
    assert (float(gap), float(primal)) == (0, 0)
    assert float(relative_gap(one, one, one, one * torch.nan)[0]) == np.inf


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_feasible_has_the_signs_of_the_labels_and_keeps_their_sums(seed: int) -> None:
    random = np.random.default_rng(seed)
    y = torch.from_numpy(np.where(random.random((3, 20)) < 0.3, 1.0, -1.0))
    beta = y * torch.from_numpy(random.normal(1, 0.6, (3, 20)))
    result = feasible(y, beta)
    assert bool((y * result >= 0).all())
    for label in (-1, 1):
        kept, wanted = (result * (y == label)).sum(1), (beta * (y == label)).sum(1)
        near = (label * wanted) > 0.5 * (result * y * (y == label)).sum(1)
        assert torch.allclose(kept[near], wanted[near])
