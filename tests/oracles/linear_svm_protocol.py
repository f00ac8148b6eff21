"""The published protocols once more, in plain loops over scikit-learn's ``LinearSVC``.

For each class a machine on the rows that take part; for each C the score on the rows held out; the
best C, the smallest among equals; a last fit on all rows; the figure on the test rows. Difficult
rows are left out by leaving them out, class weights are scikit-learn's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC


@dataclass
class Answer:
    """Chosen C by class, curve[C] = mean score, value by class, scores (m, L), the figure."""

    C: list[float]
    curve: dict[float, float]
    per_class: list[float]
    scores: np.ndarray
    figure: float = field(init=False)

    def __post_init__(self) -> None:
        known = [value for value in self.per_class if value == value]
        self.figure = 100 * sum(known) / len(known)


def decision(X, y, rows, C, at, class_weight: Mapping[int, float] | None = None) -> np.ndarray:
    """Decision values at rows ``at`` of a machine trained on ``rows``; y is -1 or 1."""
    machine = LinearSVC(C=C, class_weight=class_weight, max_iter=100_000, random_state=0)
    machine.fit(X[rows], y[rows])
    return machine.decision_function(X[at])


def eleven_points(labels, scores) -> float:
    """VOC 2007's AP; difficult rows (0) are left out, equal scores stay in list order."""
    ranked = [
        label
        for _, _, label in sorted(
            (-score, place, label)
            for place, (label, score) in enumerate(zip(labels, scores, strict=True))
            if label != 0
        )
    ]
    positives = sum(label == 1 for label in ranked)
    if not positives:
        return float("nan")
    points = []
    found = 0
    for rank, label in enumerate(ranked, start=1):
        found += label == 1
        points.append((found, found / rank))
    best = [
        max((p for tp, p in points if 10 * tp >= tenths * positives), default=0.0)
        for tenths in range(11)
    ]
    return sum(best) / 11


def step(labels, scores) -> float:
    """scikit-learn's AP; difficult rows (0) are left out."""
    kept = np.asarray(labels) != 0
    if not (np.asarray(labels)[kept] > 0).any():
        return float("nan")
    return float(average_precision_score(np.asarray(labels)[kept] > 0, np.asarray(scores)[kept]))


def recalls(owners, scores) -> list[float]:
    """Share of each class's rows that score highest for their class."""
    predicted = np.argmax(scores, axis=1)
    owners = np.asarray(owners)
    return [
        float((predicted[owners == one] == one).mean()) if (owners == one).any() else float("nan")
        for one in range(scores.shape[1])
    ]


def hold_out_with_recall(X, owners, train, held, test, Cs: Sequence[float], refit=True) -> Answer:
    """Caltech: one C by mean class recall on ``held``, a part of ``train``."""
    owners = np.asarray(owners)
    classes = range(int(owners.max()) + 1)
    fit = [row for row in train if row not in set(held)]
    curve = {}
    for C in Cs:
        scores = np.column_stack(
            [decision(X, np.where(owners == one, 1, -1), fit, C, held) for one in classes]
        )
        curve[C] = float(np.nanmean(recalls(owners[held], scores)))
    best = _smallest_best(curve)
    last = train if refit else fit
    scores = np.column_stack(
        [decision(X, np.where(owners == one, 1, -1), last, best, test) for one in classes]
    )
    return Answer([best] * len(classes), curve, recalls(owners[test], scores), scores)


def val_with_ap(X, labels, train, val, test, Cs: Sequence[float], ap: Callable) -> Answer:
    """VOC 2007: one C by mAP on ``val``, difficult rows nowhere, the last fit on train and val."""
    classes = range(labels.shape[1])

    def taking_part(rows, one):
        return [row for row in rows if labels[row, one] != 0]

    curve = {}
    for C in Cs:
        values = [
            ap(labels[val, one], decision(X, labels[:, one], taking_part(train, one), C, val))
            for one in classes
        ]
        curve[C] = float(np.nanmean(values))
    best = _smallest_best(curve)
    both = sorted([*train, *val])
    columns = [decision(X, labels[:, one], taking_part(both, one), best, test) for one in classes]
    values = [ap(labels[test, one], columns[one]) for one in classes]
    return Answer([best] * len(classes), curve, values, np.column_stack(columns))


def folds_per_class(
    X, labels, train, test, Cs: Sequence[float], folds: int, weight: Mapping[int, float]
) -> Answer:
    """The self-supervised literature's: a C for each class by step AP over unshuffled folds.

    Difficult training rows are negatives, difficult test rows are left out; among equal C the first
    of the list.
    """
    train = np.asarray(train)
    chosen, values, columns = [], [], []
    by_C: dict[float, list[float]] = {C: [] for C in Cs}
    for one in range(labels.shape[1]):
        y = np.where(labels[:, one] == 1, 1, -1)
        best, most = None, -1.0
        for C in Cs:
            scores = []
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for fit, held in StratifiedKFold(folds).split(train[:, None], y[train]):
                    at = train[held]
                    scores.append(step(y[at], decision(X, y, train[fit], C, at, weight)))
            mean = float(np.mean(scores))
            by_C[C].append(mean)
            if mean > most:
                best, most = C, mean
        assert best is not None
        chosen.append(best)
        columns.append(decision(X, y, train, best, test, weight))
        values.append(step(labels[test, one], columns[-1]))
    curve = {C: float(np.mean(found)) for C, found in by_C.items()}
    return Answer(chosen, curve, values, np.column_stack(columns))


def _smallest_best(curve: Mapping[float, float]) -> float:
    return min(C for C, score in curve.items() if score == max(curve.values()))
