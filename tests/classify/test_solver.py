"""The solver on what broke its earlier forms, and on what data sets contain (docs/svm.md)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like
from oracles.svm_gap import bound, objective

from deepfeat.classify.problems import Settings, Solution
from deepfeat.classify.solver import GramSolver, make_solver
from deepfeat.classify.team import group_columns
from deepfeat.errors import DataError, UsageError

WHOLE_RANGE = [1e-7, 1e-4, 0.01, 0.125, 1, 8, 128, 1e3, 1e5]


def solve(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, Cs: list[float], **settings: object
) -> list[Solution]:
    solver = GramSolver(X.astype(np.float32), Settings(device=DEVICE, **settings))
    return list(solver.path(y, weights, Cs, with_coef=True))


def check(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, C: float, found: Solution, gap: float = 1e-4
) -> None:
    """Certified; objective, decision values and gap are those of the weights returned."""
    assert found.met.all(), (C, found.gap)
    assert (found.gap <= gap).all()
    for j in range(y.shape[1]):
        c = C * weights[:, j]
        labels = np.where(c > 0, y[:, j], 0)
        own = objective(X, labels, c, found.coef[j], found.intercept[j])
        assert own == pytest.approx(found.primal[j], rel=1e-4, abs=1e-12)
        decision = X.astype(np.float64) @ found.coef[j] + found.intercept[j]
        scale = np.abs(X) @ np.abs(found.coef[j]) + abs(found.intercept[j])
        assert (np.abs(decision - found.decision[:, j]) <= 1e-4 * scale + 1e-6).all()


@pytest.mark.parametrize("rows", [200, 900])
def test_every_problem_of_the_whole_range_is_certified(rows: int) -> None:
    X, y = feature_like(rows, 300, 5, seed=0)
    weights = np.where(y > 0, 2.0, 1.0)
    for C, found in zip(WHOLE_RANGE, solve(X, y, weights, WHOLE_RANGE), strict=True):
        check(X, y, weights, C, found)


def test_a_bound_from_other_code_agrees_with_the_gap() -> None:
    X, y = feature_like(700, 200, 4, seed=1)
    weights = np.ones(y.shape)
    for C, found in zip([0.1, 10], solve(X, y, weights, [0.1, 10], gap=1e-9), strict=True):
        for j in range(4):
            c = C * weights[:, j]
            own = objective(X, y[:, j], c, found.coef[j], found.intercept[j])
            assert own - bound(X, y[:, j], c, found.coef[j], found.intercept[j]) <= 1e-4 * own


def test_the_gap_bounds_the_distance_to_the_optimum() -> None:
    X, y = feature_like(800, 200, 5, seed=2)
    weights = np.ones(y.shape)
    Cs = [0.01, 0.3, 5]
    rough, fine = solve(X, y, weights, Cs, gap=1e-2), solve(X, y, weights, Cs, gap=1e-8)
    for a, b in zip(rough, fine, strict=True):
        assert (a.primal >= b.primal * (1 - 1e-7)).all()
        assert (a.primal - b.primal <= a.gap * a.primal + 1e-8 * b.primal).all()


def test_the_order_of_C_and_repeats_are_the_callers() -> None:
    X, y = feature_like(300, 60, 3, seed=3)
    weights = np.ones(y.shape)
    one = solve(X, y, weights, [10, 0.1, 10, 1], gap=1e-8)
    other = solve(X, y, weights, [0.1, 1, 10], gap=1e-8)
    for found, expected in zip(one, (other[2], other[0], other[2], other[1]), strict=True):
        np.testing.assert_allclose(found.primal, expected.primal, rtol=1e-7)


def test_a_fold_scores_the_rows_it_leaves_out() -> None:
    X, y = feature_like(900, 100, 3, seed=4)
    weights = np.where(np.arange(900)[:, None] % 3 == 0, 0.0, np.ones(y.shape))
    labels = np.where(weights > 0, y, 77).astype(np.int8)  # never looked at
    kept = weights[:, 0] > 0
    for C, a, b in zip(
        [0.1, 10],
        solve(X, labels, weights, [0.1, 10], gap=1e-10),
        solve(X[kept], y[kept], weights[kept], [0.1, 10], gap=1e-10),
        strict=True,
    ):
        check(X, y, weights, C, a)
        np.testing.assert_allclose(a.coef, b.coef, atol=1e-4 * np.abs(b.coef).max())


def test_folds_and_whole_sets_walk_in_groups_of_their_own() -> None:
    mask = np.ones((90, 6), bool)
    mask[:30, 0] = mask[1:31, 1] = mask[30:60, 2] = mask[:5, 4] = False
    mask[:, 5] = False
    groups = group_columns(mask)
    assert sorted(np.concatenate([which for which, _ in groups]).tolist()) == list(range(6))
    for which, rows in groups:
        if rows is not None:
            assert len(rows) <= 63
            assert not np.delete(mask[:, which], rows, axis=0).any()
    assert [which.tolist() for which, rows in groups if rows is None] == [[3, 4]]


def duplicates(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(X, 3, axis=0), np.repeat(y, 3, axis=0)


def contradicting_duplicates(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([X, X[:40]]), np.concatenate([y, -y[:40]])


def constant_features(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.hstack([X, np.zeros((len(X), 2)), np.full((len(X), 1), 7.0)]), y


def badly_scaled(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X * np.logspace(-3, 2, X.shape[1]), y


def large_unit(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X * 300, y


def small_unit(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X * 1e-4, y


def one_label(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X, np.ones_like(y) * np.array([1, -1, 1], np.int8)


def single_positive(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    result = -np.ones_like(y)
    result[5] = 1
    return X, result


def zeros(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros_like(X), y


def one_row(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X[:1], y[:1]


def few_columns(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X[:, :2] * 100, y


PITFALLS = [
    duplicates,
    contradicting_duplicates,
    constant_features,
    badly_scaled,
    large_unit,
    small_unit,
    one_label,
    single_positive,
    zeros,
    one_row,
    few_columns,
]


@pytest.mark.parametrize("rows", [120, 600])
@pytest.mark.parametrize("pitfall", PITFALLS, ids=lambda p: p.__name__)
def test_pitfall(pitfall: object, rows: int) -> None:
    X, y = pitfall(*feature_like(rows, 80, 3, seed=5))
    weights = np.ones(y.shape)
    Cs = [1e-7, 0.01, 1, 1e3, 1e5]
    for C, found in zip(Cs, solve(X, y, weights, Cs), strict=True):
        check(np.asarray(X, np.float32), y, weights, C, found)


def test_columns_without_weights_are_zero_and_solved() -> None:
    X, y = feature_like(100, 20, 3, seed=6)
    weights = np.ones(y.shape) * [1, 0, 1]
    for found in solve(X, y, weights, [1e-7, 1, 1e5]):
        assert (found.gap[1], found.primal[1], found.intercept[1]) == (0, 0, 0)
        assert not found.coef[1].any()
        assert not found.decision[:, 1].any()
        assert found.met.all()


def test_no_positive_in_a_fold() -> None:
    X, y = feature_like(600, 40, 2, seed=7)
    weights = np.ones(y.shape)
    weights[y[:, 0] > 0, 0] = 0
    for C, found in zip([0.1, 100], solve(X, y, weights, [0.1, 100]), strict=True):
        check(X, y, weights, C, found)


def test_without_an_intercept_there_is_none() -> None:
    X, y = feature_like(600, 80, 3, seed=8)
    for found in solve(X, y, np.ones(y.shape), [0.1, 10], fit_intercept=False):
        assert found.met.all()
        assert not found.intercept.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(bad: float) -> None:
    X, _ = feature_like(20, 5, 1, seed=0)
    X[7, 2] = bad
    with pytest.raises(DataError, match="row 7"):
        GramSolver(X, Settings(device=DEVICE))


def test_the_hinge_is_refused_and_liblinear_named() -> None:
    X, _ = feature_like(20, 5, 1, seed=0)
    with pytest.raises(UsageError, match="liblinear"):
        GramSolver(X, Settings(loss="hinge"))


@pytest.mark.parametrize("change", ["shape", "negative", "nan", "label", "C"])
def test_problems_nobody_could_solve_are_refused(change: str) -> None:
    X, y = feature_like(20, 5, 2, seed=0)
    weights, C = np.ones(y.shape), 1.0
    if change == "shape":
        weights = weights[:-1]
    elif change == "label":
        y[3, 1] = 0
    elif change == "C":
        C = 0.0
    else:
        weights[2, 0] = {"negative": -1, "nan": np.nan}[change]
    with pytest.raises(DataError):
        list(GramSolver(X, Settings(device=DEVICE)).path(y, weights, [C]))


def test_a_problem_that_misses_is_not_said_to_be_met() -> None:
    X, y = feature_like(600, 80, 3, seed=5)
    found = solve(X, y, np.ones(y.shape), [1.0], gap=1e-40)[0]
    assert not found.met.all()
    assert np.isfinite(found.gap).all()


def test_many_rows_or_few_columns_go_without_K() -> None:
    X, _ = feature_like(500, 300, 1, seed=0)
    name = [
        type(make_solver(X, Settings(device=DEVICE), memory_bytes=m)).__name__ for m in (1, 1e9)
    ]
    assert name == ["PrimalSolver", "GramSolver"]
    assert type(make_solver(X[:, :20], Settings(device=DEVICE))).__name__ == "PrimalSolver"


def test_products_alone_solve_small_C_in_few_steps() -> None:
    """A wrong linear system would be mended by the exact paths: slow, and unseen elsewhere."""
    X, y = feature_like(900, 300, 5, seed=0)
    solver = GramSolver(X, Settings(device=DEVICE))
    Cs = [0.01, 0.02, 0.04, 0.08]
    assert all(found.met.all() for found in solver.path(y, np.ones(y.shape), Cs))
    assert solver.steps <= 3 * len(Cs)


@pytest.mark.parametrize("rows", [300, 700])
def test_an_optimum_of_w_0_is_certified_where_columns_are_many(rows: int) -> None:
    """No rows' labels can be told apart: w = 0, and beta is not 0."""
    y = np.where(np.arange(rows)[:, None] % 2 == 0, [1, -1], [-1, 1]).astype(np.int8)
    weights = np.ones(y.shape)
    random = np.random.default_rng(0)
    twins = np.repeat(random.normal(size=(rows // 2, 5000)), 2, axis=0)
    for X in (np.zeros((rows, 5000)), twins / 70):
        for C, found in zip([0.1, 10], solve(X, y, weights, [0.1, 10]), strict=True):
            assert found.met.all(), found.gap
            np.testing.assert_allclose(found.primal, C * rows, rtol=1e-4)


def test_rows_may_be_reversed_or_read_only() -> None:
    X, y = feature_like(520, 300, 2, seed=0)
    X.setflags(write=False)
    weights = np.ones(y.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (plain,) = solve(X, y, weights, [1.0])
        solver = GramSolver(X[::-1], Settings(device=DEVICE))
        (back,) = solver.path(y[::-1], weights, [1.0])
    np.testing.assert_allclose(back.primal, plain.primal, rtol=1e-7)
