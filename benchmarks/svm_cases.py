"""The problems of benchmarks/svm.py: synthetic or real rows, tasks over them, and samples of them.

``voc07``: 5,011 x 4,096, 20 classes, 15 values of C, three folds and the whole set: 1,200 problems.
``caltech101``: three splits of 3,060 x 12,288, 102 classes, hold-out of a fifth, refit at one C.
``caltech256``: 15,420 x 12,288, 257 classes, one split.
``caltech101-real``: descriptors of a store, with the splits, the hold-out and the refit of
``deepfeat svm-eval caltech101``; ``caltech101-fused`` those of two stores, as ``caltech101:both``.
Synthetic rows are sparse, positive, of length 1, their leading direction as strong as descriptors
have it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

CS = np.logspace(-7, 7, 15, base=2).tolist()
REFIT = 1.0  # the C at which a synthetic split is fitted again on all its rows
LATENT, HIDDEN, POSITIONS = 64, 512, 6
LESS = 10  # of rows or classes under --small


@dataclass(frozen=True)
class Task:
    """Problems over the rows of one matrix: y and weights (N, P), each at every C of ``Cs``."""

    X: NDArray[np.float32]
    y: NDArray[np.int8]
    weights: NDArray[np.float64]
    Cs: list[float]


@dataclass(frozen=True)
class Problem:
    """A column of a task, at one C."""

    task: int
    column: int
    C: float


def check_checkout() -> None:
    """Leave if ``import deepfeat`` is not of this checkout, whose commit is recorded."""
    import deepfeat

    checkout = Path(__file__).resolve().parents[1]
    if Path(deepfeat.__file__).resolve().parents[1] != checkout:
        sys.exit("deepfeat is imported from elsewhere: set PYTHONPATH to this checkout")


# problems -----------------------------------------------------------------------------------------


def problems_at(tasks: list[Task]) -> dict[float, int]:
    """How many problems there are at each C, in the order of C."""
    counts: Counter[float] = Counter()
    for task in tasks:
        for C in task.Cs:
            counts[C] += task.y.shape[1]
    return dict(sorted(counts.items()))


def draw(tasks: list[Task], size: int, seed: int) -> list[Problem]:
    """The same number of problems at each C, random columns; the largest C first.

    At least one at each C, and no more than there are.
    """
    counts = problems_at(tasks)
    random = np.random.default_rng(seed + 1)
    chosen = []
    for C in sorted(counts, reverse=True):
        every = [
            Problem(number, column, C)
            for number, task in enumerate(tasks)
            if C in task.Cs
            for column in range(task.y.shape[1])
        ]
        share = min(max(size // len(counts), 1), len(every))
        chosen += [every[i] for i in random.choice(len(every), share, replace=False)]
    return chosen


def scaled(
    seconds: list[float], sample: list[Problem], counts: dict[float, int], jobs: int
) -> float:
    """Seconds for all problems: at each C the mean of the sample times the problems there."""
    by_C: dict[float, list[float]] = {}
    for one, problem in zip(seconds, sample, strict=True):
        by_C.setdefault(problem.C, []).append(one)
    return sum(sum(some) / len(some) * counts[C] for C, some in by_C.items()) / jobs


def precision(task: Task, column: int, decision: NDArray[np.floating]) -> float:
    """Average precision on the rows left out; on all rows if none is; NaN without a positive."""
    out = task.weights[:, column] == 0
    use = out if out.any() else ~out
    positive = task.y[use, column] > 0
    return float(average_precision_score(positive, decision[use])) if positive.any() else np.nan


# handing over -------------------------------------------------------------------------------------


def save(tasks: list[Task], sample: list[Problem], folder: Path) -> None:
    """Arrays as .npy, a matrix once however many tasks share it, and the sample."""
    matrices: list[NDArray[np.float32]] = []
    rows = []
    for number, task in enumerate(tasks):
        at = next((i for i, X in enumerate(matrices) if X is task.X), len(matrices))
        if at == len(matrices):
            matrices.append(task.X)
            np.save(folder / f"X{at}.npy", task.X)
        np.save(folder / f"y{number}.npy", task.y)
        np.save(folder / f"weights{number}.npy", task.weights)
        rows.append({"matrix": at, "Cs": task.Cs})
    chosen = [[one.task, one.column, one.C] for one in sample]
    (folder / "tasks.json").write_text(json.dumps({"tasks": rows, "sample": chosen}))


def load(folder: Path, *, mapped: bool = False) -> tuple[list[Task], list[Problem]]:
    """What ``save`` wrote: read into memory, or mapped, so that several processes share it."""
    found = json.loads((folder / "tasks.json").read_text())
    mode = "r" if mapped else None
    count = 1 + max(row["matrix"] for row in found["tasks"])
    matrices = [np.load(folder / f"X{i}.npy", mmap_mode=mode) for i in range(count)]
    tasks = [
        Task(
            matrices[row["matrix"]],
            np.load(folder / f"y{number}.npy"),
            np.load(folder / f"weights{number}.npy"),
            row["Cs"],
        )
        for number, row in enumerate(found["tasks"])
    ]
    return tasks, [Problem(*one) for one in found["sample"]]


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


def several(
    rows: int, columns: int, classes: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Descriptors, and classes that overlap, at rates from 1.9 to 40 per cent."""
    latent = random.standard_normal((rows, LATENT), np.float32)
    X = descriptors(latent, columns, random)
    score = latent @ random.normal(size=(LATENT, classes)) / np.sqrt(LATENT)
    score += 0.35 * random.normal(size=score.shape)
    rates = np.geomspace(0.019, 0.4, classes)
    limits = [np.quantile(score[:, j], 1 - rate) for j, rate in enumerate(rates)]
    return X, np.where(score > np.array(limits), 1, -1).astype(np.int8)


def folds(y: NDArray[np.int8], weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Weights (N, count * L): StratifiedKFold of each class, the rows held out at 0."""
    parts = np.tile(weights, (1, count))
    for j in range(y.shape[1]):
        for fold, (_, out) in enumerate(StratifiedKFold(count).split(y, y[:, j])):
            parts[out, fold * y.shape[1] + j] = 0
    return parts


def voc07(seed: int, less: int) -> list[Task]:
    """20 classes, positives weigh 2; three folds and the whole set."""
    X, y = several(5011 // less, 4096, 20, np.random.default_rng(seed))
    whole = np.where(y > 0, 2.0, 1.0)
    return [Task(X, np.tile(y, (1, 4)), np.hstack([whole, folds(y, whole, 3)]), CS)]


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


def real(recipe_name: str, stores: list[Path], data: Path, less: int) -> list[Task]:
    """``deepfeat svm-eval`` over stores: its splits, rows, hold-out and chosen C."""
    from deepfeat.classify.choose import SOLVERS, choose, has_both
    from deepfeat.evaluation.features import given_features
    from deepfeat.evaluation.fitting import settings_of
    from deepfeat.evaluation.labels import problems_of
    from deepfeat.evaluation.matrix import join, matrix_of
    from deepfeat.evaluation.measure import selection_score
    from deepfeat.evaluation.parts import folds_of, parts_of
    from deepfeat.evaluation.recipe import load_recipe
    from deepfeat.evaluation.run import dataset_of
    from deepfeat.evaluation.working import Working

    recipe = load_recipe(recipe_name)
    dataset = dataset_of(recipe, data, Working())
    parts = parts_of(recipe, dataset)[: 1 if less > 1 else None]
    wanted = np.unique(np.concatenate([np.r_[part.train, part.test] for part in parts]))
    joined = join(given_features(recipe, stores), dataset, wanted)
    descriptors_of_all = matrix_of(joined)
    tasks = []
    for part in parts:
        train = part.train[joined.position[part.train] >= 0]
        X = descriptors_of_all[joined.position[train]]
        y, weights = problems_of(
            dataset.labels[train], recipe.get("svm.difficult", "ignore"), recipe["svm.class_weight"]
        )
        held = folds_of(recipe, part, train, y, weights)
        choice = choose(
            SOLVERS["gram"](X, settings_of(recipe, "cpu")),
            y, weights, held, recipe["svm.C"], selection_score(recipe, y, weights),
        )  # fmt: skip
        fit = np.hstack([weights * fold.fit for fold in held])
        labels = np.tile(y, (1, len(held)))
        for both, some, Cs in (
            (has_both(labels, fit), (labels, fit), list(recipe["svm.C"])),
            (has_both(y, weights), (y, weights), [float(choice.C[0])]),
        ):
            tasks.append(Task(X, some[0][:, both], some[1][:, both], Cs))
    return tasks


SYNTHETIC: dict[str, Callable[[int, int], list[Task]]] = {
    "voc07": voc07,
    "caltech101": lambda seed, less: caltech(102, 30, 3, seed, less),
    "caltech256": lambda seed, less: caltech(257, 60, 1, seed, less),
}
# Name -> recipe, and how many stores it takes.
REAL = {"caltech101-real": ("caltech101", 1), "caltech101-fused": ("caltech101:both", 2)}
CASES = (*SYNTHETIC, *REAL)
