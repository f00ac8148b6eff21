"""The three average precisions of one class, and their mean over classes (protocols.md 2.3).

With tp_k positives among the first n_k images of the ranking and N+ in all, recall is tp_k / N+ and
precision p_k = tp_k / n_k. Then

    voc11   1/11 sum over t = 0..10 of the largest p_k with 10 tp_k >= t N+
    voc10   1/N+ sum over the positives of the largest precision at or after their rank
    step    sum over the distinct scores of (growth of recall) times precision

``AP`` is their table. Recalls are compared in integers: in floats a recall of exactly 3/10 fails
"at least 0.3" (8.18). voc10 is added over the steps of its curve, not over the positives, so that
an image counted twice and the same image listed twice give one number to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfeat.metrics.per_class import PerClass
from deepfeat.metrics.ranking import TIES, Integers, Ranking, class_rankings
from deepfeat.tables import look_up


@dataclass(frozen=True, slots=True)
class Definition:
    """A row of ``AP``.

    Parameters
    ----------
    area : callable
        ``area(tp, taken) -> float`` from the curve of a ranking (``Ranking.curve``), not empty.
    ties : str
        The rule that is part of the definition, whatever the caller's; empty where it is his.
    """

    area: Callable[[Integers, Integers], float]
    ties: str


def voc11(labels: ArrayLike, scores: ArrayLike, *, ties: str = "list") -> float:
    """Return the eleven-point AP of one class: VOC 2007 to 2009.

    Parameters
    ----------
    labels : (n,) int in {-1, 0, 1}
        0, "difficult", is left out before ranking.
    scores : (n,) float
        -inf for an image that ranks last.
    ties : "list" or "group"
        Images of one score in the order of the list, or all at once (protocols.md 8.8).

    Returns
    -------
    float
        In 0..1; NaN without a positive.

    Raises
    ------
    DataError
        Shapes that differ, a label outside {-1, 0, 1}, a score that is NaN or +inf.
    UsageError
        Unknown ``ties``.
    """
    return _one_class("voc11", labels, scores, ties)


def voc10(labels: ArrayLike, scores: ArrayLike, *, ties: str = "list") -> float:
    """Return the area under the interpolated curve: VOC 2010 to 2012. Arguments as ``voc11``."""
    return _one_class("voc10", labels, scores, ties)


def step(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return scikit-learn's AP: no interpolation, ties always at once. Arguments as ``voc11``."""
    return _one_class("step", labels, scores, "group")


def mean_ap(
    labels: ArrayLike,
    scores: ArrayLike,
    ap: str = "voc11",
    difficult: str = "ignore",
    *,
    ties: str = "list",
) -> PerClass:
    """Return the AP of every class; its ``mean`` is the mAP.

    Parameters
    ----------
    labels : (n, L) int in {-1, 0, 1}
    scores : (n, L) float
    ap : a name of ``AP``
    difficult : "ignore", "negative" or "positive"
        What a label 0 is (protocols.md 8.14).
    ties : "list" or "group"
        ``step`` groups always.

    Raises
    ------
    DataError, UsageError
        As ``voc11``, and for an unknown ``ap`` or ``difficult``.
    """
    rankings = rankings_for(labels, scores, ap, difficult, ties)
    return PerClass(ap_of(rankings, ap))


def rankings_for(
    labels: ArrayLike, scores: ArrayLike, ap: str, difficult: str, ties: str
) -> list[Ranking]:
    """Return the L rankings on which ``ap`` is measured. Arguments as ``mean_ap``."""
    look_up(TIES, ties, "rule for ties")  # a wrong one is refused also where it does not matter
    rule = look_up(AP, ap, "AP").ties or ties
    return class_rankings(labels, scores, difficult=difficult, ties=rule)


def ap_of(rankings: list[Ranking], ap: str, counts: Integers | None = None) -> NDArray[np.float64]:
    """Return the AP of every ranking, each image counted ``counts`` (n,) times: (L,) float64."""
    area = look_up(AP, ap, "AP").area
    curves = [ranking.curve(counts) for ranking in rankings]
    return np.array([area(tp, taken) if tp.size else np.nan for tp, taken in curves], np.float64)


def _one_class(ap: str, labels: ArrayLike, scores: ArrayLike, ties: str) -> float:
    columns = np.asarray(labels)[..., None], np.asarray(scores)[..., None]  # (n,) -> (n, 1)
    return float(mean_ap(*columns, ap, ties=ties).values[0])


def _envelope(tp: Integers, taken: Integers) -> NDArray[np.float64]:
    """The largest precision from each point on, (q,): never rises."""
    return np.maximum.accumulate((tp / taken)[::-1])[::-1]


def _eleven_points(tp: Integers, taken: Integers) -> float:
    first = np.searchsorted(10 * tp, np.arange(11) * tp[-1])  # first 10 tp >= t N+: (11,)
    return float(_envelope(tp, taken)[first].sum() / 11)


def _interpolated_area(tp: Integers, taken: Integers) -> float:
    height = _envelope(tp, taken)
    ends = np.flatnonzero(height != np.append(height[1:], np.nan))  # (q,) -> (steps,)
    return float((np.diff(tp[ends], prepend=0) * height[ends]).sum() / tp[-1])


def _steps(tp: Integers, taken: Integers) -> float:
    return float((np.diff(tp, prepend=0) * (tp / taken)).sum() / tp[-1])


AP = {
    "voc11": Definition(_eleven_points, ties=""),
    "voc10": Definition(_interpolated_area, ties=""),
    "step": Definition(_steps, ties="group"),
}
