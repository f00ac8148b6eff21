"""The linear systems of Newton's steps, against NumPy's solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfeat.classify import factors
from deepfeat.classify.factors import FEW, KEPT, Corner


def kernel(random: np.random.Generator, problems: int, size: int) -> np.ndarray:
    X = random.normal(size=(problems, size, 40)) / np.sqrt(40)
    return X @ X.transpose(0, 2, 1) + 1


def labels(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.where(random.random(shape) < 0.3, 1.0, -1.0)


def expected(K: np.ndarray, y: np.ndarray, c: np.ndarray, f: np.ndarray) -> np.ndarray:
    beta = np.zeros_like(y)
    for p in range(len(y)):
        rows = np.flatnonzero((c[p] > 0) & (y[p] * f[p] < 1))
        system = K[p][np.ix_(rows, rows)] + np.diag(1 / (2 * c[p, rows]))
        beta[p, rows] = np.linalg.solve(system, y[p, rows])
    return beta


def target(
    corner: Corner, y: np.ndarray, c: np.ndarray, f: np.ndarray, enough: float = 1e-12
) -> tuple[np.ndarray, np.ndarray]:
    tensors = (torch.from_numpy(one) for one in (y, c, f, np.full(len(y), enough)))
    beta, image = corner.target(*tensors)
    return beta.numpy(), image.numpy()


@pytest.mark.parametrize(("problems", "size"), [(1, 1), (1, 70), (6, 50), (2, KEPT + 60)])
@pytest.mark.parametrize("C", [1e-6, 1.0, 1e5])  # at 1e5 a factor in float32 is not enough
def test_targets_solve_the_system_of_the_active_rows(problems: int, size: int, C: float) -> None:
    """Of each problem its own; one of them has no active row."""
    random = np.random.default_rng(problems * size)
    K, shape = kernel(random, problems, size), (problems, size)
    y, f = labels(random, shape), random.normal(size=shape)
    c = C * random.uniform(0.5, 2, shape) * (random.random(shape) < 0.9)
    f[-1] = 2 * y[-1] if problems > 1 else f[-1]
    beta, image = target(Corner(torch.from_numpy(K)), y, c, f)
    wanted = expected(K, y, c, f)
    scale = max(np.abs(wanted).max(), 1e-300)
    assert np.abs(beta - wanted).max() <= 1e-6 * scale
    assert not beta[wanted == 0].any()
    for p in range(problems):
        assert image[p] == pytest.approx(K[p] @ beta[p], rel=1e-9, abs=1e-9 * scale)


def test_places_without_a_row_may_hold_anything() -> None:
    random = np.random.default_rng(1)
    K, y, c = kernel(random, 2, 30), labels(random, (2, 30)), np.ones((2, 30))
    y[1, 20:] = c[1, 20:] = 0
    beta, _ = target(Corner(torch.from_numpy(K)), y, c, np.zeros((2, 30)))
    assert not beta[1, 20:].any()
    alone, _ = target(
        Corner(torch.from_numpy(K[1:, :20, :20])), y[1:, :20], c[1:, :20], 0 * y[1:, :20]
    )
    assert beta[1, :20] == pytest.approx(alone[0], rel=1e-6)


def test_a_factor_is_kept_while_few_rows_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come, go, and come again; what is solved is the same as with a factor made anew."""
    made: list[int] = []
    fresh = Corner._fresh

    def counted(self: Corner, active: torch.Tensor, ridge: torch.Tensor) -> factors.Inverse:
        made.append(int(active.sum()))
        return fresh(self, active, ridge)

    monkeypatch.setattr(Corner, "_fresh", counted)
    random = np.random.default_rng(2)
    size = 2 * KEPT
    K, y, c = kernel(random, 1, size), labels(random, (1, size)), random.uniform(1, 2, (1, size))
    corner = Corner(torch.from_numpy(K))
    active = random.random((1, size)) < 0.75
    for change in (0, 20, 0, 60, 1):
        flipped = random.permutation(size)[:change]
        active[0, flipped] ^= True
        f = np.where(active, 0.0, 2 * y)
        beta, image = target(corner, y, c, f)
        assert beta == pytest.approx(expected(K, y, c, f), rel=1e-6, abs=1e-9)
        assert image[0] == pytest.approx(K[0] @ beta[0], rel=1e-9, abs=1e-9)
    assert len(made) == 1
    active = random.random((1, size)) < 0.75  # a third of the rows are others
    f = np.where(active, 0.0, 2 * y)
    beta, _ = target(corner, y, c, f)
    assert beta == pytest.approx(expected(K, y, c, f), rel=1e-6, abs=1e-9)
    assert len(made) == 2
    assert FEW * made[0] > 20 + 60 + 1


def test_problems_that_are_kept_are_solved_as_before() -> None:
    random = np.random.default_rng(3)
    K, y, c = kernel(random, 4, 25), labels(random, (4, 25)), np.ones((4, 25))
    corner = Corner(torch.from_numpy(K))
    corner.keep(torch.tensor([True, False, True, True]))
    some = [0, 2, 3]
    beta, _ = target(corner, y[some], c[some], 0 * y[some])
    assert len(corner) == 3
    assert beta == pytest.approx(expected(K[some], y[some], c[some], 0 * y[some]), rel=1e-6)
