"""The solver without K: the same optimum, and memory that does not grow with the rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like

from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver
from deepfeat.errors import DataError

LIMITED = """
import resource, sys
import numpy as np
from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import Settings
X = np.load(sys.argv[1], mmap_mode="r")
random = np.random.default_rng(0)
w = random.normal(size=X.shape[1])
score = np.concatenate([X[i : i + 4096] @ w for i in range(0, len(X), 4096)])
y = np.where(score > np.quantile(score, 0.8), 1, -1).astype(np.int8)[:, None]
PrimalSolver(X[:64], Settings(device="cpu"))  # threads and buffers
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()  # data
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]),) * 2)
solver = PrimalSolver(X, Settings(device="cpu", gap=1e-2))
for found in solver.path(y, np.ones(y.shape), [1e-3], with_coef=True):
    print(bool(found.met.all()))
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


def test_a_matrix_larger_than_the_memory_allowed(tmp_path: Path) -> None:
    """180 MB on the disk, 130 MB of data for the process beyond what it starts with."""
    random = np.random.default_rng(0)
    path = tmp_path / "x.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (90_000, 500))
    for start in range(0, len(X), 6000):
        X[start : start + 6000] = random.normal(size=(6000, 500)) / 22
    X.flush()

    def run(limit: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LIMITED, str(path), str(limit)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run(130 << 20)
    assert done.stdout.split() == ["True"], done.stderr[-500:]
    assert run(8 << 20).returncode != 0  # the limit is one


@pytest.mark.parametrize("C", [1e3, 1e5])
@pytest.mark.parametrize("unit", [1, 100])
def test_a_cold_start_at_large_C_is_certified(C: float, unit: float) -> None:
    X, y = feature_like(700, 200, 3, seed=5)
    solver = PrimalSolver(unit * X, Settings(device=DEVICE))
    (found,) = solver.path(y, np.ones(y.shape), [C])
    assert found.met.all(), found.gap
