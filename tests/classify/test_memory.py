"""K, its two halves and a fold's copy, and the blocks beside them: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURED = """
import sys
import numpy as np
import torch
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver
rows, columns, problems, noise, top = (float(word) for word in sys.argv[1:])
torch.set_num_threads(2)
random = np.random.default_rng(0)
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
def data(rows, problems):
    X = random.normal(size=(rows, int(columns))).astype(np.float32) / columns**0.5
    score = columns**0.5 * X[:, :1] + noise * random.normal(size=(rows, problems))
    weights = np.ones(score.shape)
    weights[: rows // 3] = 0
    return X, np.where(score > 1, 1, -1).astype(np.int8), weights
def solve(X, y, weights):
    path = GramSolver(X, Settings(device="cpu")).path(y, weights, [top / 100, top / 10, top])
    assert all(found.met.all() for found in path)
solve(*data(600, 2))
given = data(int(rows), int(problems))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = status("VmRSS")
solve(*given)
print(status("VmHWM") - before)
"""
MIB = 1 << 20


def peak(*words: float) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_K_and_the_copy_of_a_fold_are_all_that_grows_with_the_square() -> None:
    """Few problems, small C: hardly a block is needed."""
    rows = 5000
    table = 8320 * rows  # the preconditioner's
    used = peak(rows, 300, 2, 1.0, 0.1)
    assert rows**2 * 4 < used <= 2.5 * rows**2 * 4 + table + 110 * MIB  # less than another K


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("problems", "columns", "noise", "top"),
    [
        (1000, 300, 1.0, 0.1),  # more than walk at a time
        (60, 1500, 5.0, 100.0),  # labels at random: nearly every row is active, sets are largest
    ],
)
def test_blocks_are_bounded(problems: int, columns: int, noise: float, top: float) -> None:
    rows = 4000
    state = 40 * rows * problems
    used = peak(rows, columns, problems, noise, top)
    assert used <= 2.5 * rows**2 * 4 + 8320 * rows + state + 500 * MIB
