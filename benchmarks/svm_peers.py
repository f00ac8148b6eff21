"""The peers of benchmarks/svm.py: scikit-learn's LinearSVC and cyanure, on the same objective.

A peer gets the rows of one problem, prepared as it wants them before the clock starts.
``converged`` is its own statement.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from svm_cases import Problem, Task, precision

TOLERANCE = 1e-4
MOST_ITERATIONS = 2000
BLOCK = 1024

Rows = NDArray[np.floating]
Labels = NDArray[np.int8]
Weights = NDArray[np.float64]
Prepare = Callable[[Rows, Labels, Weights], tuple[Rows, Labels, Weights]]
Fit = Callable[[Rows, Labels, Weights, float], tuple[NDArray[np.float64], float, bool]]


@dataclass(frozen=True)
class Peer:
    """``prepare`` is not timed, ``fit`` is: coefficients, intercept, whether it converged."""

    package: str
    prepare: Prepare
    fit: Fit

    @property
    def is_here(self) -> bool:
        return find_spec(self.package) is not None


@dataclass(frozen=True)
class Solved:
    seconds: float
    objective: float
    average_precision: float
    converged: bool


def solve_sample(
    tasks: list[Task], sample: list[Problem], peer: Peer, jobs: int
) -> list[dict[str, object]]:
    """The sample, by as many processes as jobs."""
    run = joblib.Parallel(n_jobs=jobs, prefer="processes", max_nbytes="1M")
    found = run(joblib.delayed(_one)(tasks[problem.task], problem, peer) for problem in sample)
    return [asdict(one) for one in found]


def _one(task: Task, problem: Problem, peer: Peer) -> Solved:
    """Time one problem with the scores of the rows held out; reading off quality is not timed."""
    weights, y = task.weights[:, problem.column], task.y[:, problem.column]
    use = weights > 0
    X, labels, weight = peer.prepare(task.X[use], y[use], weights[use])
    out = task.X[~use]
    start = time.perf_counter()
    coef, intercept, converged = peer.fit(X, labels, weight, problem.C)
    out @ coef.astype(np.float32) + np.float32(intercept)
    seconds = time.perf_counter() - start
    del X, out
    f = _decision(task.X, coef, intercept)
    slack = np.maximum(0, 1 - y * f)
    objective = (coef @ coef + intercept**2) / 2 + problem.C * (weights @ slack**2)
    ap = precision(task, problem.column, f.astype(np.float32))
    return Solved(seconds, float(objective), ap, converged)


def _decision(X: Rows, coef: NDArray[np.float64], intercept: float) -> NDArray[np.float64]:
    """In float64, a block of rows at a time: (N,)."""
    parts = [
        X[at : at + BLOCK].astype(np.float64) @ coef + intercept for at in range(0, len(X), BLOCK)
    ]
    return np.concatenate(parts)


# scikit-learn -------------------------------------------------------------------------------------


def _as_they_are(X: Rows, y: Labels, weights: Weights) -> tuple[Rows, Labels, Weights]:
    return np.ascontiguousarray(X), y, weights


def _by_sklearn(
    X: Rows, y: Labels, weights: Weights, C: float
) -> tuple[NDArray[np.float64], float, bool]:
    """Weights of the classes are given as sample weights: the same numbers for liblinear."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        svc = LinearSVC(C=C, dual=True, tol=TOLERANCE, max_iter=MOST_ITERATIONS, random_state=0)
        svc.fit(X, y, sample_weight=weights)
    failed = any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return svc.coef_[0], float(svc.intercept_[0]), not failed


# cyanure ------------------------------------------------------------------------------------------


def repeated(X: Rows, y: Labels, weights: Weights) -> tuple[Rows, Labels, Weights]:
    """Rows as often as they weigh, and a constant column: the same objective without weights.

    cyanure has no weights of rows, and its own intercept is not in the penalty. In float64: in
    float32 it warns of instability, and at large C stops short of its tolerance.
    """
    times = np.rint(weights).astype(np.int64)
    if not np.array_equal(times, weights):
        raise ValueError("weights that are not whole numbers cannot be made by repeating rows")
    full = np.empty((times.sum(), X.shape[1] + 1))
    full[:, :-1] = np.repeat(X, times, axis=0)
    full[:, -1] = 1
    return full, np.repeat(y, times), np.ones(len(full))


def scale_of_penalty(C: float, rows: int) -> float:
    """lambda of cyanure's mean(max(0, 1 - y f)^2) / 2 + lambda |w|^2 / 2: ours over 2 C rows."""
    return 1 / (2 * C * rows)


def _by_cyanure(
    X: Rows, y: Labels, weights: Weights, C: float
) -> tuple[NDArray[np.float64], float, bool]:
    """It stops at a relative duality gap, which it states; rows were repeated by ``repeated``."""
    from cyanure.estimators import Classifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the stated gap says it too
        svm = Classifier(
            loss="sqhinge",
            penalty="l2",
            lambda_1=scale_of_penalty(C, len(X)),
            fit_intercept=False,
            tol=TOLERANCE,
            max_iter=MOST_ITERATIONS,
            n_threads=1,
            verbose=False,
        )
        svm.fit(X, y)
    last = int(np.flatnonzero(svm.optimization_info_[0, 0])[-1])
    stated = float(svm.optimization_info_[0, 3, last])  # rows: pass, primal, dual, relative gap
    coef = np.asarray(svm.coef_, np.float64).ravel()
    return coef[:-1], float(coef[-1]), stated <= TOLERANCE


PEERS = {
    "scikit-learn": Peer("sklearn", _as_they_are, _by_sklearn),
    "cyanure": Peer("cyanure", repeated, _by_cyanure),
}
