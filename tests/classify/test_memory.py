"""K, its two halves and a fold's copy: measured in a process of their own."""

from __future__ import annotations

import subprocess
import sys

MEASURED = """
import resource, threading, time
import numpy as np
from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver
def used():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
random = np.random.default_rng(0)
def data(rows):
    X = random.normal(size=(rows, 300)).astype(np.float32) / 17
    y = np.where(17 * X[:, :2] + random.normal(size=(rows, 2)) > 1, 1, -1).astype(np.int8)
    weights = np.ones(y.shape)
    weights[: rows // 3, 0] = 0
    return X, y, weights
def solve(X, y, weights):
    list(GramSolver(X, Settings(device="cpu")).path(y, weights, [1e-2, 1e-1]))
solve(*data(600))
X, y, weights = data(5000)
before, peak, over = used(), 0, False
def watch():
    global peak
    while not over:
        peak = max(peak, used())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
solve(X, y, weights)
over = True
thread.join()
print(peak - before)
"""


def test_memory_is_within_its_bound() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True
    )
    rows = 5000
    blocks = 145 << 20  # K_AA of 2,048 rows, its factor and copy 100 MB; the table 8.3 kB a row
    assert rows**2 * 4 < int(done.stdout) <= 2.5 * rows**2 * 4 + blocks
