"""The walk up the values of C: its parts, its start, its progress, and its end by Ctrl-C."""

from __future__ import annotations

import signal
from functools import partial

import numpy as np
import pytest
import torch
from device import DEVICE
from feature_like import feature_like

from deepfeat.classify.choose import Fold, choose
from deepfeat.classify.parallel import torch_threads
from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver
from deepfeat.errors import DataError


@pytest.mark.parametrize("kind", [GramSolver, PrimalSolver])
@pytest.mark.parametrize("Cs", [[0.1, 1, 10], [10, 1, 0.1]])
def test_progress_counts_every_problem_once(kind: type[GramSolver], Cs: list[float]) -> None:
    """Problem by problem, also within one value of C, and not those on the way to the first."""
    X, y = feature_like(600, 10, 6, seed=0)
    told: list[tuple[int, int]] = []
    list(
        kind(X, Settings(device=DEVICE)).path(y, np.ones(y.shape), Cs, report=partial(_note, told))
    )
    assert [total for _, total in told] == [18] * len(told)
    done = [one for one, _ in told]
    assert done == sorted(set(done))
    assert done[-1] == 18
    assert len(done) > len(Cs)


def _note(told: list[tuple[int, int]], done: int, total: int) -> None:
    told.append((done, total))


@pytest.mark.parametrize("wide", [1, 1000])
def test_an_interruption_ends_every_thread(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others have in hand is not finished first: parts of their own or not."""
    monkeypatch.setattr("deepfeat.classify.team.WIDE", wide)
    X, y = feature_like(900, 300, 8, seed=0)
    solver = GramSolver(X, Settings(device=DEVICE))
    told: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        told.append((done, total))
        raise KeyboardInterrupt

    with torch_threads(2), pytest.raises(KeyboardInterrupt):
        list(solver.path(y, np.ones(y.shape), [0.1, 1, 10], report=report))
    assert len(told) == 1
    assert torch.get_num_threads() >= 1
    assert all(found.met.all() for found in solver.path(y, np.ones(y.shape), [1]))


def test_ctrl_c_is_heard_while_parts_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfeat.classify.team.WIDE", 1)
    X, y = feature_like(900, 300, 8, seed=0)
    told: list[int] = []

    def report(done: int, total: int) -> None:
        if not told:
            signal.raise_signal(signal.SIGINT)
        told.append(done)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with torch_threads(2), pytest.raises(KeyboardInterrupt):
            list(
                GramSolver(X, Settings(device=DEVICE)).path(
                    y, np.ones(y.shape), [0.1, 1, 10], report=report
                )
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert told[-1] < 24


@pytest.mark.parametrize("kind", [GramSolver, PrimalSolver])
def test_a_start_changes_the_way_and_not_the_end(kind: type[GramSolver]) -> None:
    """From the hold-out's dual, from that of another C, and from nonsense of the wrong sign."""
    X, y = feature_like(900, 200, 4, seed=0)
    weights = np.ones(y.shape)
    held_out = np.where(np.arange(900)[:, None] % 5 == 0, 0.0, weights)
    settings = Settings(device=DEVICE, gap=1e-9)
    cold = kind(X, settings)
    (expected,) = cold.path(y, weights, [30])
    (near,) = kind(X, settings).path(y, held_out, [30])
    (far,) = kind(X, settings).path(y, weights, [0.01])
    nonsense = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    for start, is_shorter in ((near.dual, True), (far.dual, False), (nonsense, False)):
        warm = kind(X, settings)
        (found,) = warm.path(y, weights, [30], start=start)
        assert found.met.all()
        np.testing.assert_allclose(found.primal, expected.primal, rtol=2e-9)
        assert warm.steps < cold.steps or not is_shorter


@pytest.mark.parametrize("kind", [GramSolver, PrimalSolver])
@pytest.mark.parametrize(
    "bad", [np.full((60, 2), np.nan, np.float32), np.zeros((60, 1), np.float32)]
)
def test_a_start_that_is_none_is_refused(kind: type[GramSolver], bad: np.ndarray) -> None:
    X, y = feature_like(60, 10, 2, seed=0)
    with pytest.raises(DataError, match="start"):
        kind(X, Settings(device=DEVICE)).path(
            y, np.ones(y.shape), [1], start=bad.astype(np.float32)
        )


@pytest.mark.parametrize("per", ["all", "class"])
def test_a_refit_starts_from_the_first_fold_at_the_chosen_C(per: str) -> None:
    X, y = feature_like(700, 300, 4, seed=0)
    y[:350, 2] = -1  # of which the second fold's training rows have no positive
    y[:5, 2] = 1
    weights = np.ones(y.shape)
    second = np.arange(700)[:, None] >= 350
    folds = [
        Fold(np.broadcast_to(a, y.shape), np.broadcast_to(~a, y.shape)) for a in (second, ~second)
    ]
    Cs = [0.01, 0.1, 1.0]
    solver = GramSolver(X, Settings(device=DEVICE, gap=1e-9))

    def score(decision: np.ndarray, mask: np.ndarray) -> np.ndarray:
        use = mask[:, 0]
        return np.array([(decision[use, j] * y[use, j] > 0).mean() for j in range(4)])

    choice = choose(solver, y, weights, folds, Cs, score, per=per)
    assert choice.start is not None
    for j in range(4):
        (alone,) = solver.path(y[:, [j]], weights[:, [j]] * folds[0].fit[:, [j]], [choice.C[j]])
        scale = np.abs(alone.dual).max()
        np.testing.assert_allclose(choice.start[:, j], alone.dual[:, 0], atol=1e-3 * scale)


@pytest.mark.parametrize("kind", [GramSolver, PrimalSolver])
def test_the_dual_gives_the_weights(kind: type[GramSolver]) -> None:
    X, y = feature_like(700, 100, 3, seed=0)
    settings = Settings(device=DEVICE, gap=1e-9)
    weights = np.where(np.arange(700)[:, None] % 5 == 0, 0.0, np.ones(y.shape))
    (found,) = kind(30 * X, settings).path(y, weights, [0.1], with_coef=True)
    assert (y * found.dual >= 0).all()
    assert not found.dual[weights == 0].any()
    np.testing.assert_allclose(found.coef, found.dual.T @ (30.0 * X), atol=1e-4)


@pytest.mark.parametrize("kind", [GramSolver, PrimalSolver])
def test_parts_change_nothing(kind: type[GramSolver], monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = feature_like(600, 80, 7, seed=3)
    weights = np.where(np.arange(600)[:, None] % 3 == 0, 0.0, np.ones(y.shape))
    weights[:, 3:] = 1
    settings = Settings(device=DEVICE, gap=1e-10)
    whole = list(kind(X, settings).path(y, weights, [0.1, 10], with_coef=True))
    monkeypatch.setattr("deepfeat.classify.team.ENTRIES", 2 * 600)
    monkeypatch.setattr("deepfeat.classify.primal.ENTRIES", 2 * 600)
    monkeypatch.setattr("deepfeat.classify.team.WIDE", 1)
    with torch_threads(2):
        parts = list(kind(X, settings).path(y, weights, [0.1, 10], with_coef=True))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.primal, b.primal, rtol=1e-9)
        np.testing.assert_allclose(a.coef, b.coef, atol=1e-4 * np.abs(a.coef).max())
