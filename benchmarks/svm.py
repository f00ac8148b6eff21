"""Many linear SVMs: deepfeat, scikit-learn's LinearSVC, and cyanure, side by side.

    python benchmarks/svm.py voc07 [--threads 1] [--sample 24] [--seed 0]

The cases are those of docs/svm.md: ``voc07`` (5,011 x 4,096, 20 classes, 15 values of C, three
folds and the whole set: 1,200 problems), ``caltech101`` (three splits of 3,060 x 12,288, 102
classes, hold-out of a fifth and refit at one C) and ``caltech256`` (15,420 x 12,288, 257 classes,
one split). Rows are synthetic: sparse, positive, of length 1, their leading direction as strong as
descriptors have it. deepfeat solves every problem, K, scores of held-out rows and certificates
included. The others solve a random sample of the problems, and their time is scaled by the counts:
``sampled`` says of how many. A peer's process stays on as many threads as it has jobs.

Writes benchmarks/results/svm-<case>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import torch
from machine import provenance
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from deepfeat.classify.problems import Settings
from deepfeat.classify.solver import GramSolver

RESULTS = Path(__file__).parent / "results"
CS = np.logspace(-7, 7, 15, base=2).tolist()
REFIT = 1.0  # the C at which a split of Caltech is fitted again on all its rows
LATENT, HIDDEN, POSITIONS = 64, 512, 6


@dataclass(frozen=True)
class Task:
    """Problems over the rows of one matrix: y and weights (N, P), each at every C of ``Cs``."""

    X: NDArray[np.float32]
    y: NDArray[np.int8]
    weights: NDArray[np.float64]
    Cs: list[float]


@dataclass(frozen=True)
class Problem:
    """One of a peer's problems: column of a task, at one C."""

    task: int
    column: int
    C: float


@dataclass
class Solved:
    seconds: float
    processor_seconds: float
    objective: float
    average_precision: float
    converged: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sample", type=int, default=24, help="problems each peer solves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--small", action="store_true", help="a tenth of the rows: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tasks = CASES[given.case](given.seed, 10 if given.small else 1)
    count = sum(task.y.shape[1] * len(task.Cs) for task in tasks)
    sample = draw(tasks, min(given.sample, count), given.seed)
    print(f"{given.case}: {count} problems, {len(sample)} of them for the others", flush=True)
    ours, kept = by_deepfeat(tasks, given.gap, set(sample))
    print(json.dumps(ours), flush=True)
    command = f"python benchmarks/svm.py {given.case} --threads {given.threads}"
    command += f" --sample {given.sample} --seed {given.seed}" + " --small" * given.small
    result = provenance(command) | {
        "case": given.case,
        "rows": [list(task.X.shape) for task in tasks],
        "problems": count,
        "threads": given.threads,
        "gap": given.gap,
        "load_average": list(os.getloadavg()),
        "deepfeat": ours,
        "peers": {},
    }
    for name, (jobs, fit) in PEERS.items():
        if fit is None:
            print(f"{name}: not installed, skipped")
            continue
        found = by_peer(tasks, sample, jobs, fit)
        result["peers"][name] = compared(found, sample, kept, count, jobs, ours["seconds"])
        print(name, json.dumps(result["peers"][name]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"svm-{given.case}{'-small' if given.small else ''}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(target)


def by_deepfeat(
    tasks: list[Task], gap: float, wanted: set[Problem]
) -> tuple[dict[str, object], dict[Problem, tuple[float, float]]]:
    """Solve everything; of the sample keep objective and average precision."""
    kept: dict[Problem, tuple[float, float]] = {}
    worst, missed, curve = 0.0, 0, dict.fromkeys(map(str, CS), 0.0)
    started, processor = time.perf_counter(), time.process_time()
    matrix_seconds = 0.0
    for number, task in enumerate(tasks):
        before = time.perf_counter()
        if number == 0 or task.X is not tasks[number - 1].X:  # K once for hold-out and refit
            solver = GramSolver(task.X, Settings(gap=gap, device="cpu"))
        matrix_seconds += time.perf_counter() - before
        lap = time.perf_counter()
        path = solver.path(task.y, task.weights, task.Cs)
        for C, found in zip(task.Cs, path, strict=True):
            worst = max(worst, float(found.gap.max()))
            missed += int((~found.met).sum())
            curve[str(C)] += time.perf_counter() - lap
            for column in range(task.y.shape[1]):
                problem = Problem(number, column, C)
                if problem in wanted:
                    ap = precision(task, column, found.decision[:, column])
                    kept[problem] = (float(found.primal[column]), ap)
            lap = time.perf_counter()
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
        "seconds_for_K": matrix_seconds,
        "seconds_by_C": curve,
        "worst_gap": worst,
        "missed": missed,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }, kept


def by_peer(tasks: list[Task], sample: list[Problem], jobs: int, fit: Fit) -> list[Solved]:
    """The sample, by as many processes as jobs."""
    run = joblib.Parallel(n_jobs=jobs, prefer="processes", max_nbytes="1M")
    return run(joblib.delayed(one)(tasks[problem.task], problem, fit) for problem in sample)


def one(task: Task, problem: Problem, fit: Fit) -> Solved:
    """Time one problem; reading off its quality is not timed."""
    c = problem.C * task.weights[:, problem.column]
    y = task.y[:, problem.column]
    use = c > 0
    X = np.ascontiguousarray(task.X[use])
    start, processor = time.perf_counter(), time.process_time()
    coef, intercept, converged = fit(X, y[use], c[use], problem.C)
    decision = task.X @ coef.astype(np.float32) + np.float32(intercept)
    seconds, spent = time.perf_counter() - start, time.process_time() - processor
    slack = np.maximum(0, 1 - y * (task.X.astype(np.float64) @ coef + intercept))
    objective = (coef @ coef + intercept**2) / 2 + c @ slack**2
    ap = precision(task, problem.column, decision)
    return Solved(seconds, spent, float(objective), ap, converged)


def compared(
    found: list[Solved],
    sample: list[Problem],
    kept: dict[Problem, tuple[float, float]],
    count: int,
    jobs: int,
    ours: float,
) -> dict[str, object]:
    """A peer's row: time scaled to all problems, and how far from ours its answers are."""
    scaled = sum(one.seconds for one in found) / len(found) * count / jobs
    objectives = [(a.objective, kept[p][0]) for a, p in zip(found, sample, strict=True)]
    relative = [theirs / own - 1 for theirs, own in objectives]
    aps = [abs(a.average_precision - kept[p][1]) for a, p in zip(found, sample, strict=True)]
    sure = [d for d, a in zip(aps, found, strict=True) if a.converged and np.isfinite(d)]
    return {
        "jobs": jobs,
        "sampled": len(found),
        "seconds_scaled": scaled,
        "processor_seconds_scaled": sum(a.processor_seconds for a in found) / len(found) * count,
        "ratio": scaled / ours,
        "converged": sum(a.converged for a in found),
        "objective_over_ours_least": min(relative),
        "objective_over_ours_most": max(relative),
        "ap_difference_most_where_converged": max(sure, default=None),
    }


def precision(task: Task, column: int, decision: NDArray[np.float32]) -> float:
    """Average precision on the rows left out; on all rows if none is."""
    out = task.weights[:, column] == 0
    use = out if out.any() else ~out
    positive = task.y[use, column] > 0
    return float(average_precision_score(positive, decision[use])) if positive.any() else np.nan


def draw(tasks: list[Task], size: int, seed: int) -> list[Problem]:
    """Problems at random, each equally likely."""
    every = [
        Problem(number, column, C)
        for number, task in enumerate(tasks)
        for C in task.Cs
        for column in range(task.y.shape[1])
    ]
    chosen = np.random.default_rng(seed + 1).choice(len(every), size, replace=False)
    return [every[i] for i in chosen]


# data ---------------------------------------------------------------------------------------------


def descriptors(
    latent: NDArray[np.float32], columns: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Latent factors through two random layers of rectified units, averaged over six positions."""
    first = random.normal(size=(latent.shape[1], HIDDEN)).astype(np.float32)
    second = random.normal(size=(HIDDEN, columns)).astype(np.float32) / np.sqrt(HIDDEN)
    first /= np.sqrt(latent.shape[1])
    X = np.zeros((len(latent), columns), np.float32)
    for _ in range(POSITIONS):
        noise = 0.7 * random.standard_normal(latent.shape, np.float32)
        hidden = np.maximum((latent + noise) @ first, 0)
        X += np.maximum(hidden @ second + 0.1 * random.standard_normal(X.shape, np.float32), 0)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def voc07(seed: int, less: int) -> list[Task]:
    """20 classes at rates from 1.9 to 40 per cent; folds are StratifiedKFold's of each class."""
    random = np.random.default_rng(seed)
    rows = 5011 // less
    latent = random.standard_normal((rows, LATENT), np.float32)
    X = descriptors(latent, 4096, random)
    score = latent @ random.normal(size=(LATENT, 20)) / np.sqrt(LATENT)
    score += 0.35 * random.normal(size=score.shape)
    limits = [np.quantile(score[:, j], 1 - r) for j, r in enumerate(np.geomspace(0.019, 0.4, 20))]
    y = np.where(score > np.array(limits), 1, -1).astype(np.int8)
    whole = np.where(y > 0, 2.0, 1.0)
    parts = [whole]
    for fold in range(3):
        weights = whole.copy()
        for j in range(20):
            weights[list(StratifiedKFold(3).split(X, y[:, j]))[fold][1], j] = 0
        parts.append(weights)
    return [Task(X, np.tile(y, (1, 4)), np.hstack(parts), CS)]


def caltech(classes: int, each: int, splits: int, seed: int, less: int) -> list[Task]:
    """One against rest; the last fifth of a class is held out, then all rows at one C."""
    tasks = []
    for split in range(splits):
        random = np.random.default_rng([seed, split])
        few = max(classes // less, 3)
        label = np.repeat(np.arange(few), each)
        centres = random.standard_normal((few, LATENT), np.float32)
        latent = centres[label] + random.standard_normal((len(label), LATENT), np.float32)
        X = descriptors(latent, 12288, random)
        y = np.where(label[:, None] == np.arange(few), 1, -1).astype(np.int8)
        held_out = np.tile(np.arange(each), few) >= each - each // 5
        train = np.where(held_out[:, None], 0.0, np.ones(y.shape))
        tasks += [Task(X, y, train, CS), Task(X, y, np.ones(y.shape), [REFIT])]
    return tasks


Cases = dict[str, Callable[[int, int], list[Task]]]
CASES: Cases = {
    "voc07": voc07,
    "caltech101": lambda seed, less: caltech(102, 30, 3, seed, less),
    "caltech256": lambda seed, less: caltech(257, 60, 1, seed, less),
}


# peers --------------------------------------------------------------------------------------------

Fit = Callable[
    [NDArray[np.float32], NDArray[np.int8], NDArray[np.float64], float],
    tuple[NDArray[np.float64], float, bool],
]


def by_sklearn(
    X: NDArray[np.float32], y: NDArray[np.int8], c: NDArray[np.float64], C: float
) -> tuple[NDArray[np.float64], float, bool]:
    """Weights of the classes are given as sample weights: the same numbers for liblinear."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        svc = LinearSVC(C=C, dual=True, tol=1e-4, max_iter=2000)
        svc.fit(X, y, sample_weight=c / C)
    failed = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return svc.coef_[0], float(svc.intercept_[0]), not failed


def cyanure_fit() -> Fit | None:
    """Its squared hinge has no weights of rows and no penalty on the intercept: time only."""
    try:
        from cyanure.estimators import Classifier
    except ImportError:
        return None

    def fit(
        X: NDArray[np.float32], y: NDArray[np.int8], c: NDArray[np.float64], C: float
    ) -> tuple[NDArray[np.float64], float, bool]:
        # mean of squared hinges / 2 + lambda / 2 |w|^2: lambda = 1 / (2 C N) up to the scale
        svm = Classifier(
            loss="sqhinge",
            penalty="l2",
            lambda_1=1 / (2 * C * len(y)),
            fit_intercept=True,
            tol=1e-4,
            max_iter=2000,
            verbose=False,
        )
        svm.fit(X, y)
        coef = np.asarray(svm.coef_, np.float64).ravel()
        return coef, float(np.ravel(svm.intercept_)[0]), True

    return fit


PEERS: dict[str, tuple[int, Fit | None]] = {
    "scikit-learn, 1 job": (1, by_sklearn),
    "scikit-learn, 2 jobs": (2, by_sklearn),
    "cyanure, 1 job": (1, cyanure_fit()),
}


if __name__ == "__main__":
    main()
