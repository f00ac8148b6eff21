"""One measurement of benchmarks/svm.py, in a process of its own: threads and memory are its own.

    python benchmarks/svm_run.py FOLDER ours|profile|reference|NAME_OF_PEER THREADS GAP [every]

FOLDER holds what ``svm_cases.save`` wrote; the answer lies there as answer.json, since peers print.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from svm_cases import Problem, Task, load, precision
from svm_peers import PEERS, solve_sample

from deepfeat.classify.choose import SOLVERS
from deepfeat.classify.problems import Settings

REFERENCE_GAP = 1e-11
BOUND = 2.5 * 4  # bytes for each entry of K that the solver may use at most

# Own time of functions whose name contains one of these; the first group that fits counts. A
# product written with @ is own time of the function in which it stands.
GROUPS = {
    "K": ("make_gram",),
    "float32 products": ("multiply", "conjugate_gradients", "fast_targets"),
    "exact products": ("fill", "product", "exact_targets"),
    "Cholesky": ("linalg_cholesky",),
    "other work among working sets": (
        *("optima", "with_near", "topk", "target", "_refine", "_fresh", "_bordered", "inverse"),
        *("_solve_exactly", "times", "bmm", "lu_", "triangular", "argsort"),
    ),
    "gathering": ("_among", "index_", "gather", "scatter", "take", "corner", "copy_", "_cut"),
    "line search": ("line_minimum", "_along", "_slope", "_root"),
    "preconditioner": ("low_rank", "squares", "__call__", "precondition", "_orthonormal"),
}


def main(folder: Path, what: str, threads: int, gap: float, every: bool) -> dict[str, Any]:
    torch.set_num_threads(threads)
    if what in PEERS:
        tasks, sample = load(folder, mapped=True)
        return {"solved": solve_sample(tasks, sample, PEERS[what], threads)}
    tasks, sample = load(folder)
    _warm_up(gap)
    if what == "reference":
        return reference(tasks, sample, every)
    if what == "profile":
        return profile(tasks, gap)
    return ours(tasks, sample, gap, every)


def ours(
    tasks: list[Task], sample: list[Problem], gap: float, every: bool = False
) -> dict[str, Any]:
    """Solve everything; keep objective and average precision of the sample, precision of all."""
    wanted = set(sample)
    kept: dict[Problem, tuple[float, float]] = {}
    precisions: list[float] = []
    by_C: dict[float, float] = defaultdict(float)
    worst, missed, for_K, for_refits, steps = 0.0, 0, 0.0, 0.0, 0
    solver: Any = None
    start: Any = None
    before = _resident()
    _forget_peak()
    for number, task in enumerate(tasks):
        lap = time.perf_counter()
        if number == 0 or task.X is not tasks[number - 1].X:  # K once for hold-out and refit
            solver = None  # never two of them
            solver = SOLVERS["gram"](task.X, Settings(gap=gap, device="cpu"))
            for_K += time.perf_counter() - lap
        lap = time.perf_counter()
        refit = refits(tasks, number)  # begins from the hold-out's solution, as ``choose.fit``
        path = solver.path(task.y, task.weights, task.Cs, start=start)
        start = None
        for C, found in zip(task.Cs, path, strict=True):
            spent = time.perf_counter() - lap
            if len(task.Cs) == 1:
                for_refits += spent
            else:
                by_C[C] += spent
            worst = max(worst, float(found.gap.max()))
            missed += int((~found.met).sum())
            for column in range(task.y.shape[1]):
                problem = Problem(number, column, C)
                if every or problem in wanted:
                    ap = precision(task, column, found.decision[:, column])
                    kept[problem] = (float(found.primal[column]), ap)
                    precisions.append(ap)
            start = found.dual if refit == C else start
            lap = time.perf_counter()
        steps = max(steps, getattr(solver, "steps", 0))
    return {
        "seconds": for_K + for_refits + sum(by_C.values()),
        "seconds_for_K": for_K,
        "seconds_for_refits": for_refits,
        "seconds_by_C": {f"{C:g}": by_C[C] for C in sorted(by_C)},
        "newton_steps": steps,
        "worst_gap": worst,
        "missed": missed,
        "peak_bytes": _peak() - before,
        "bound_bytes": BOUND * max(len(task.X) for task in tasks) ** 2,
        "sample": [kept[problem] for problem in sample],
        "precisions": precisions if every else [],
    }


def refits(tasks: list[Task], number: int) -> float | None:
    """The C at which the next task fits the same rows again, if it does."""
    if number + 1 == len(tasks) or tasks[number + 1].X is not tasks[number].X:
        return None
    (C,) = tasks[number + 1].Cs
    return C


def reference(tasks: list[Task], sample: list[Problem], every: bool) -> dict[str, Any]:
    """The sample, or every problem, far more exactly: objectives and average precisions."""
    wanted = set(sample)
    kept: dict[Problem, tuple[float, float]] = {}
    worst = 0.0
    precisions: list[float] = []
    solver: Any = None
    for number, task in enumerate(tasks):
        if number == 0 or task.X is not tasks[number - 1].X:
            solver = None
            solver = SOLVERS["gram"](task.X, Settings(gap=REFERENCE_GAP, device="cpu"))
        columns = [
            column
            for column in range(task.y.shape[1])
            if every or any(Problem(number, column, C) in wanted for C in task.Cs)
        ]
        if not columns:
            continue
        path = solver.path(task.y[:, columns], task.weights[:, columns], task.Cs)
        for C, found in zip(task.Cs, path, strict=True):
            worst = max(worst, float(found.gap.max()))
            for at, column in enumerate(columns):
                problem = Problem(number, column, C)
                if every or problem in wanted:
                    ap = precision(task, column, found.decision[:, at])
                    kept[problem] = (float(found.primal[at]), ap)
                    precisions.append(ap)
    return {
        "worst_gap": worst,
        "sample": [kept[problem] for problem in sample],
        "precisions": precisions if every else [],
    }


def profile(tasks: list[Task], gap: float) -> dict[str, Any]:
    """Shares of own time, by group; the rest is what no group names."""
    watch = cProfile.Profile()
    watch.runcall(ours, tasks, [], gap)
    own: dict[str, float] = defaultdict(float)
    rest: dict[str, float] = defaultdict(float)
    for (_, _, name), row in pstats.Stats(watch).stats.items():  # type: ignore[attr-defined]
        group = group_of(name)
        own[group] += row[2]
        if group == "the rest":
            rest[name] += row[2]
    total = sum(own.values())
    largest = sorted(rest.items(), key=lambda item: -item[1])[:8]
    return {
        "seconds": total,
        "shares": {name: own[name] / total for name in (*GROUPS, "the rest")},
        "largest_of_the_rest": {name: seconds / total for name, seconds in largest},
    }


def group_of(function: str) -> str:
    for group, parts in GROUPS.items():
        if any(part in function for part in parts):
            return group
    return "the rest"


# memory -------------------------------------------------------------------------------------------


def _warm_up(gap: float) -> None:
    """A tiny solve, so that what libraries keep for themselves is there already."""
    random = np.random.default_rng(0)
    X = random.standard_normal((600, 64), np.float32)
    y = np.where(X[:, :2] + random.standard_normal((600, 2)) > 0.5, 1, -1).astype(np.int8)
    for _ in SOLVERS["gram"](X, Settings(gap=gap, device="cpu")).path(y, np.ones(y.shape), [1, 64]):
        pass


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _forget_peak() -> None:
    """The kernel's peak begins anew: what loading took does not count."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most since then. ``ru_maxrss`` would not do: a new program inherits its parent's."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    every = sys.argv[5:] == ["every"]
    answer = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), every)
    (Path(sys.argv[1]) / "answer.json").write_text(json.dumps(answer))
