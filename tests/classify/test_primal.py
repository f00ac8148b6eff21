"""The solver without K: the same optimum, and memory that does not grow with the rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like
from oracles.svm_gap import bound, objective
from store import make_store

from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver
from deepfeat.classify.walk import aim
from deepfeat.errors import DataError
from deepfeat.store.writer import Listed, ShardRows

LIMITED = """
import resource, sys
import numpy as np
import torch
import deepfeat
from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
path, limit, answer = sys.argv[1:]
torch.set_num_threads(1)
given = np.load(answer)
X = deepfeat.open_store(path)["fc7", 256]
PrimalSolver(X[:64], Settings(device="cpu"))  # buffers of the libraries
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()  # data
resource.setrlimit(resource.RLIMIT_DATA, (used + int(limit),) * 2)
solver = PrimalSolver(X, Settings(device="cpu", gap=1e-3))
path = solver.path(given["y"], given["weights"], given["Cs"].tolist(), with_coef=True)
found = list(path)
np.savez(answer, coef=[one.coef for one in found], intercept=[one.intercept for one in found],
         gap=[one.gap for one in found], met=[one.met for one in found])
"""


def test_both_solvers_agree() -> None:
    X, y = feature_like(700, 60, 4, seed=0)
    weights = np.where(np.arange(700)[:, None] % 4 == 0, 0.0, np.ones(y.shape))
    asked, Cs = Settings(device=DEVICE, gap=1e-9), [1e-3, 1, 1e3, 0.1]
    paths = [
        solver(X, asked).path(y, weights, Cs, with_coef=True)
        for solver in (GramSolver, PrimalSolver)
    ]
    for a, b in zip(*paths, strict=True):
        assert b.met.all()
        np.testing.assert_allclose(a.primal, b.primal, rtol=1e-8)
        np.testing.assert_allclose(a.decision, b.decision, atol=1e-3)


@pytest.mark.parametrize("columns", [3, 400])
def test_the_whole_range_is_certified(columns: int) -> None:
    X, y = feature_like(600, columns, 3, seed=1)
    Cs = [1e-7, 1e-3, 1, 100, 1e5]
    for found in PrimalSolver(X, Settings(device=DEVICE)).path(y, np.ones(y.shape), Cs):
        assert found.met.all(), found.gap


def test_rows_that_are_not_finite_are_refused() -> None:
    X, _ = feature_like(50, 5, 1, seed=0)
    X[7, 2] = np.nan
    with pytest.raises(DataError, match="row 7"):
        PrimalSolver(X, Settings(device=DEVICE))
    X, _ = feature_like(5000, 300, 1, seed=0)
    X[4000, 2] = np.inf  # of the second block that is read
    with pytest.raises(DataError, match="row 4000"):
        PrimalSolver(X, Settings(device=DEVICE))


ROWS, COLUMNS, SHARD = 48_000, 1_000, 6_000


def store_of(X: np.ndarray, path: Path) -> Path:
    """A finished store with these descriptors."""
    names = [Listed(b"%06d.jpg" % i, 1, 1) for i in range(len(X))]
    with make_store.opened(
        path,
        "sealed",
        make_store.identity(scales=("256",)),
        listed=names,
        dimensions={"fc7": COLUMNS, "pool5": 1},
        shard_images=SHARD,
    ) as writer:
        for number in writer.pending:
            block = X[number * SHARD : (number + 1) * SHARD]
            writer.commit(
                number,
                ShardRows(
                    size=np.ones(SHARD, "i8"),
                    sha256=np.zeros((SHARD, 32), "u1"),
                    shape=np.ones((SHARD, 2), "i4"),
                    status=np.zeros(SHARD, "u1"),
                    notes=np.zeros(SHARD, "u4"),
                    descriptors={("fc7", "256"): block, ("pool5", "256"): block[:, :1]},
                    details=[""] * SHARD,
                ),
            )
        writer.finish()
    return path


def test_a_store_larger_than_the_memory_allowed(tmp_path: Path) -> None:
    """192 MB on the disk, 165 MB of data for the process beyond what it starts with.

    Several classes, a fold, and values of C from which products and factors solve.
    """
    X, y = feature_like(ROWS, COLUMNS, 2, seed=0)
    weights = np.where(np.arange(ROWS)[:, None] % 3 == 0, 0.0, np.ones(y.shape))
    path = store_of(X, tmp_path / "x.h5")
    answer = tmp_path / "given.npz"

    def run(limit: int) -> str:
        np.savez(answer, y=y, weights=weights, Cs=[1e-3, 0.1])
        command = [sys.executable, "-c", LIMITED, str(path), str(limit), str(answer)]
        return subprocess.run(command, capture_output=True, text=True).stderr

    assert X.nbytes > 165 << 20
    said = run(165 << 20)
    found = np.load(answer)
    assert "met" in found, said[-500:]
    assert found["met"].all()
    for i, C in enumerate([1e-3, 0.1]):
        for j in range(2):
            w, b = found["coef"][i, j], found["intercept"][i, j]
            c = C * weights[:, j]
            primal = objective(X, y[:, j], c, w, b)
            assert primal - bound(X, y[:, j], c, w, b) <= 1e-3 * primal
    assert "Error" in run(8 << 20)  # the limit is one


@pytest.mark.parametrize("C", [1e3, 1e5])
@pytest.mark.parametrize("unit", [1, 100])
def test_a_cold_start_at_large_C_is_certified(C: float, unit: float) -> None:
    X, y = feature_like(700, 200, 3, seed=5)
    solver = PrimalSolver(unit * X, Settings(device=DEVICE))
    (found,) = solver.path(y, np.ones(y.shape), [C])
    assert found.met.all(), found.gap


def test_products_go_on_to_what_is_aimed_at() -> None:
    """Far below the gap asked for, in few steps: systems solved too roughly would end above it."""
    X, y = feature_like(3000, 60, 4, seed=0)
    Cs = [1e-4, 1e-2, 1, 100, 1e4]
    solver = PrimalSolver(X, Settings(device=DEVICE))
    gaps = [found.gap.max() for found in solver.path(y, np.ones(y.shape), Cs)]
    assert max(gaps) <= aim(1e-4)
    assert solver.steps <= 8 * len(Cs)
