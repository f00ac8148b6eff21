"""The images of a set ranked for one class, sorted once and then counted any number of times.

Only where recall grows can an AP change, so a ranking keeps those points alone: every positive, or
with ``ties="group"`` the last image of every score that some positive has. At a point the curve is
two integers, the positives and the images taken so far (tp and tp + fp); recall and precision are
made from them as late as possible. An image counted twice is two equal images side by side in the
list, which is how a bootstrap resample is measured without sorting again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfeat.errors import DataError
from deepfeat.tables import look_up

Integers = NDArray[np.int64]

Ends = Callable[[NDArray[np.float64]], Integers]

TIES: dict[str, Ends] = {  # scores (m,) descending -> ranks after which the curve is read (8.8)
    "list": lambda ranked: np.arange(ranked.size),
    "group": lambda ranked: np.flatnonzero(ranked != np.append(ranked[1:], np.nan)),
}
DIFFICULT = {"ignore": 0, "negative": -1, "positive": 1}  # what a label 0 is read as (8.14)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """m images in descending order of score, difficult ones left out.

    Parameters
    ----------
    order : (m,) int64
        Rows of the set; rank -> row.
    positives : (N+,) int64
        The rows among them that are positive, in that order.
    points : (p,) int64
        Ranks, counted from 0, after which the curve is read, ascending.
    upto : (p,) int64
        How many of ``positives`` are taken by then.
    """

    order: Integers
    positives: Integers
    points: Integers
    upto: Integers

    def curve(self, counts: Integers | None = None) -> tuple[Integers, Integers]:
        """Return the positives and the images taken at every point where recall grows.

        Parameters
        ----------
        counts : (n,) int64 >= 0, optional
            How often each row of the set is in the list; once each if not given.

        Returns
        -------
        tp, taken : (q,) int64
            Ascending; empty without a positive. tp strictly so, and its last value is N+.
        """
        if counts is None:
            return self.upto, self.points + 1
        tp = np.cumsum(counts[self.positives])[self.upto - 1]  # (N+,) -> (p,)
        taken = np.cumsum(counts[self.order])[self.points]  # (m,) -> (p,)
        grows = np.diff(tp, prepend=0) > 0
        return tp[grows], taken[grows]  # (p,) -> (q,)


def rank(labels: NDArray[np.int8], scores: NDArray[np.float64], ends_of: Ends) -> Ranking:
    """Rank one class: remove difficult images, sort by descending score, ties in list order.

    Parameters
    ----------
    labels : (n,) int8 in {-1, 0, 1}
    scores : (n,) float64
        -inf ranks last and still counts (protocols.md 2.2).
    ends_of : callable
        A row of ``TIES``.
    """
    kept = np.flatnonzero(labels)  # (n,) -> (m,)
    order = kept[np.argsort(-scores[kept], kind="stable")]
    is_positive = labels[order] > 0
    ends = ends_of(scores[order])
    upto = np.cumsum(is_positive, dtype=np.int64)[ends]
    grows = np.diff(upto, prepend=0) > 0
    return Ranking(order, order[is_positive], ends[grows], upto[grows])


def class_rankings(
    labels: ArrayLike, scores: ArrayLike, *, difficult: str, ties: str
) -> list[Ranking]:
    """Check labels and scores (n, L), read the difficult as asked, and rank every class.

    Raises
    ------
    DataError
        Shapes that differ, a label outside {-1, 0, 1}, a score that is NaN or +inf.
    UsageError
        An unknown ``difficult`` or ``ties``.
    """
    checked, numbers = _checked(labels, scores)
    reading = look_up(DIFFICULT, difficult, "treatment of difficult images")
    ends_of = look_up(TIES, ties, "rule for ties")
    read = np.where(checked == 0, np.int8(reading), checked)
    return [rank(y, s, ends_of) for y, s in zip(read.T, numbers.T, strict=True)]


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return both as (n, L) int8 and float64, or refuse them."""
    found, numbers = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if found.ndim != 2 or found.shape != numbers.shape:
        raise DataError(
            "labels and scores do not fit each other",
            expected="one label and one score for each image and class",
            found=f"labels {found.shape}, scores {numbers.shape}",
        )
    is_label = (found == -1) | (found == 0) | (found == 1)
    if found.dtype == np.bool_ or not is_label.all():
        raise DataError(
            "labels are not -1 (absent), 0 (difficult) or 1 (present)",
            found="true and false" if found.dtype == np.bool_ else f"{found[~is_label][0]}",
        )
    is_bad = np.isnan(numbers) | (numbers == np.inf)
    if is_bad.any():
        row, column = (int(place) for place in np.argwhere(is_bad)[0])
        raise DataError(
            f"{int(is_bad.sum())} scores cannot be ranked",
            expected="finite numbers, or -inf for an image that ranks last",
            found=f"{numbers[row, column]} in row {row}, class {column}",
        )
    return found.astype(np.int8), numbers
