"""Average precision three times over, slowly: from the definitions, and the devkit's way.

From the definitions: a curve is a list of (recall, precision) in exact fractions, one point a rank
or one a distinct score, made by counting from the start for every point.

The devkit's way (VOCevalcls.m and VOCap.m of VOC 2007 and VOC 2012, from their description): the
difficult images stay in the ranking, count neither as true nor as false positives, and leave 0/0
behind, which MATLAB's max skips.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Curve = list[tuple[Fraction, Fraction]]


def curve_by_rank(labels: Sequence[int], scores: Sequence[float]) -> Curve:
    """One point after every image; equal scores in the order of the list."""
    images = [(score, label) for label, score in zip(labels, scores, strict=True) if label != 0]
    ranked = [label for _, label in sorted(images, key=lambda image: image[0], reverse=True)]
    return [_point(ranked[:taken], ranked) for taken in range(1, len(ranked) + 1)]


def curve_by_score(labels: Sequence[int], scores: Sequence[float]) -> Curve:
    """One point for every distinct score, with all images of at least this score taken."""
    images = [(score, label) for label, score in zip(labels, scores, strict=True) if label != 0]
    everyone = [label for _, label in images]
    thresholds = sorted({score for score, _ in images}, reverse=True)
    return [
        _point([label for score, label in images if score >= threshold], everyone)
        for threshold in thresholds
    ]


def _point(taken: list[int], everyone: list[int]) -> tuple[Fraction, Fraction]:
    positives = taken.count(1)
    return Fraction(positives, everyone.count(1)), Fraction(positives, len(taken))


def eleven_points(curve: Curve) -> float:
    total = Fraction(0)
    for tenths in range(11):
        total += max((p for r, p in curve if r >= Fraction(tenths, 10)), default=Fraction(0))
    return float(total / 11)


def interpolated_area(curve: Curve) -> float:
    area, before = Fraction(0), Fraction(0)
    for place, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[place:])
        before = recall
    return float(area)


def steps(curve: Curve) -> float:
    area, before = Fraction(0), Fraction(0)
    for recall, precision in curve:
        area += (recall - before) * precision
        before = recall
    return float(area)


def _devkit_curve(labels: Sequence[int], scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    gt, out = np.asarray(labels), np.asarray(scores, dtype=float)
    gt = gt[np.lexsort((np.arange(len(gt)), -out))]
    tp, fp = np.cumsum(gt > 0), np.cumsum(gt < 0)
    with np.errstate(invalid="ignore"):
        return tp / np.sum(gt > 0), tp / (fp + tp)


def devkit_2007(labels: Sequence[int], scores: Sequence[float]) -> float:
    """VOC 2007's loop over eleven thresholds, each reached also but for rounding."""
    rec, prec = _devkit_curve(labels, scores)
    ap = 0.0
    for t in np.arange(11) / 10:
        reached = prec[rec >= t - 1e-9]
        reached = reached[~np.isnan(reached)]
        ap += (reached.max() if len(reached) else 0.0) / 11
    return ap


def devkit_2012(labels: Sequence[int], scores: Sequence[float]) -> float:
    """VOC 2012's area: sentinels, monotone precision, rectangles where recall moves."""
    rec, prec = _devkit_curve(labels, scores)
    mrec = [0.0, *rec, 1.0]
    mpre = [0.0, *prec, 0.0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = float(np.fmax(mpre[i], mpre[i + 1]))
    return sum(
        (mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1]
    )
