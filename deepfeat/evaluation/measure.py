"""Scores of test images as figures, by the recipe's measure and by the others beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfeat.evaluation.recipe import Recipe
from deepfeat.metrics.ap import AP, mean_ap
from deepfeat.metrics.bootstrap import interval, mean_ap_interval
from deepfeat.metrics.per_class import PerClass
from deepfeat.metrics.recall import NO_PREDICTION, accuracy, class_recall, predictions
from deepfeat.metrics.spread import spread

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]
NEVER = float(np.finfo(np.float32).min)  # the score of a class that could not be trained


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Scores of one split's test images.

    Parameters
    ----------
    labels : (m, L) int8 in {-1, 0, 1}
    scores : (m, L) float64
        NaN throughout for a class without a classifier, -inf throughout for an image without a
        descriptor that counts as ranked last.
    """

    labels: Labels
    scores: Scores

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(m,) class of the largest score; ``NO_PREDICTION`` for an image without descriptor."""
        known = np.isfinite(self.scores).any(axis=1)
        filled = np.where(np.isfinite(self.scores), self.scores, NEVER)
        return np.where(known, predictions(filled), NO_PREDICTION)

    @property
    def truth(self) -> NDArray[np.int64]:
        """(m,) the class of each image of a single-label set."""
        return np.asarray(self.labels.argmax(axis=1), np.int64)


def average_precision(outcome: Outcome, ap: str, difficult: str, ties: str) -> PerClass:
    """AP of every class as fractions; NaN for a class without positives or classifier."""
    labels, scores = _rankable(outcome)
    found = mean_ap(labels, scores, ap, difficult, ties=ties)
    return PerClass(np.where(_unscored(outcome), np.nan, found.values))


def figure_of(outcome: Outcome, recipe: Recipe) -> PerClass:
    """The recipe's measure by class; of accuracy, which has no classes, the recalls."""
    if recipe["score.measure"] == "map":
        return average_precision(outcome, *_ap_keys(recipe))
    return class_recall(outcome.truth, outcome.predicted, outcome.labels.shape[1])


def value_of(outcome: Outcome, recipe: Recipe) -> float:
    """The one number, a fraction; NaN if nothing could be judged."""
    if recipe["score.measure"] == "accuracy":
        return accuracy(outcome.truth, outcome.predicted)
    return figure_of(outcome, recipe).mean


def bounds_of(outcome: Outcome, recipe: Recipe) -> tuple[float, float]:
    """The bootstrap interval of ``value_of`` over test images, as fractions."""
    if recipe["score.measure"] == "map":
        labels, scores = _rankable(outcome)
        trained = ~_unscored(outcome)
        ap, difficult, ties = _ap_keys(recipe)
        return mean_ap_interval(labels[:, trained], scores[:, trained], ap, difficult, ties=ties)
    truth, predicted = outcome.truth, outcome.predicted
    classes = outcome.labels.shape[1]

    def again(rows: NDArray[np.int64]) -> float:
        if recipe["score.measure"] == "accuracy":
            return accuracy(truth[rows], predicted[rows])
        return class_recall(truth[rows], predicted[rows], classes).mean

    return interval(again, len(truth))


def spread_of(values: Sequence[float], recipe: Recipe) -> float | None:
    """The recipe's ± over splits; None of one split, or where a split has no figure."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    return spread(values, recipe.get("score.spread", "std1"))


def measures_of(outcome: Outcome, recipe: Recipe) -> dict[str, float]:
    """Every measure that makes sense for the set, as fractions, by name."""
    if recipe["score.measure"] == "map":
        found = {}
        for ap in AP:
            ties = recipe.get("score.ties", "list")
            for difficult in ("ignore", "negative", "positive"):
                name = ap if difficult == "ignore" else f"{ap}.difficult_{difficult}"
                found[name] = average_precision(outcome, ap, difficult, ties).mean
        return found
    recall = class_recall(outcome.truth, outcome.predicted, outcome.labels.shape[1])
    return {"recall": recall.mean, "accuracy": accuracy(outcome.truth, outcome.predicted)}


def definition_of(recipe: Recipe) -> str:
    """What the number is, in words that leave nothing open."""
    measure = recipe["score.measure"]
    if measure != "map":
        words = "mean class recall" if measure == "recall" else "accuracy"
        return f"{words}, the lowest class among equal scores"
    ap, difficult, ties = _ap_keys(recipe)
    order = "ties at once" if ap == "step" or ties == "group" else "ties in list order"
    read = "ignored" if difficult == "ignore" else f"as {difficult}s"
    return f"{ap}, difficult {read}, {order}"


def selection_score(
    recipe: Recipe, y: Labels, weights: NDArray[np.float64]
) -> Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float64]]:
    """What ranks the values of C: (decision (n, L), rows to score (n, L)) -> (L,), with NaN."""
    by = recipe["svm.select.by"]
    classes = y.shape[1]

    def by_ap(decision: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        labels = np.where(mask & (weights > 0), y, 0).astype(np.int8)
        ap = by if by == "step" else recipe.get("score.ap", "step")
        ties = recipe.get("score.ties", "list")
        outcome = Outcome(labels, decision.astype(np.float64))
        return average_precision(outcome, ap, "ignore", ties).values

    def by_prediction(
        decision: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        rows = np.flatnonzero(mask.any(axis=1))
        outcome = Outcome(y[rows], decision[rows].astype(np.float64))
        if by == "recall":
            return class_recall(outcome.truth, outcome.predicted, classes).values
        return np.full(classes, accuracy(outcome.truth, outcome.predicted))

    return by_ap if by in ("ap", "step") else by_prediction


def _ap_keys(recipe: Recipe) -> tuple[str, str, str]:
    return (
        recipe["score.ap"],
        recipe.get("score.difficult", "ignore"),
        recipe.get("score.ties", "list"),
    )


def _unscored(outcome: Outcome) -> NDArray[np.bool_]:
    """(L,) classes without a classifier."""
    return np.asarray(np.isnan(outcome.scores).any(axis=0))


def _rankable(outcome: Outcome) -> tuple[Labels, Scores]:
    """Labels and scores without NaN: a class that has no scores claims nothing."""
    unscored = _unscored(outcome)
    labels = np.where(unscored, 0, outcome.labels).astype(np.int8)
    return labels, np.where(unscored, 0.0, outcome.scores)
