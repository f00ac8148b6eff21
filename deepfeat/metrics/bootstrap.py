"""How far a figure might have been off with other test images: the percentile bootstrap.

A replicate draws n of the n test images with replacement; the figure of every replicate is computed
and the interval lies between two of their quantiles. Images are drawn, not labels or scores, so all
classes of a replicate see the same images. The classifiers stay as they are: the interval says
nothing of other training sets.

A replicate is known by its counts, how often each image was drawn, and is listed in the order of
the set. An AP takes the counts as they are on a ranking sorted once (``ranking.py``), and equals
the AP of the list with its images repeated to the last bit.

Replicate r is the r-th call ``integers(0, n, n)`` of ``Generator(PCG64(seed))``: two figures of one
set under one seed see the same replicates, so the differences of theirs are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepfeat.errors import DataError, UsageError
from deepfeat.metrics.ap import ap_of, rankings_for
from deepfeat.metrics.per_class import PerClass


def interval(
    figure: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a figure of n test images.

    Parameters
    ----------
    figure : callable
        ``figure(rows) -> float`` of the images in rows (n,) int64: ascending, with repetitions.
    n, replicates, seed : int
    level : float
        The share of replicates between the two ends, in (0, 1).

    Returns
    -------
    low, high : float
        Over the replicates in which the figure has a value; NaN if it has none.

    Raises
    ------
    DataError
        No images.
    UsageError
        ``replicates`` below 1, ``level`` outside (0, 1).
    """
    rows = np.arange(n)
    drawn = [figure(np.repeat(rows, counts)) for counts in resamples(n, replicates, seed)]
    return percentiles(drawn, level)


def mean_ap_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    ap: str = "voc11",
    difficult: str = "ignore",
    *,
    ties: str = "list",
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of ``mean_ap(...).mean``: what ``interval`` gives, without its sorting.

    Arguments as ``mean_ap`` and ``interval``.
    """
    drawn = ap_replicates(
        labels, scores, ap, difficult, ties=ties, replicates=replicates, seed=seed
    )
    return percentiles([PerClass(values).mean for values in drawn], level)


def ap_replicates(
    labels: ArrayLike,
    scores: ArrayLike,
    ap: str = "voc11",
    difficult: str = "ignore",
    *,
    ties: str = "list",
    replicates: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return every class's AP in every replicate, for intervals of classes and of differences.

    Arguments as ``mean_ap`` and ``interval``.

    Returns
    -------
    (replicates, L) float64
        NaN where a class has no positive left.
    """
    rankings = rankings_for(labels, scores, ap, difficult, ties)
    n = len(np.asarray(labels))
    return np.array([ap_of(rankings, ap, counts) for counts in resamples(n, replicates, seed)])


def resamples(n: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each of n images was drawn, (n,) int64, for each replicate."""
    if n < 1:
        raise DataError("no images to draw from")
    if replicates < 1:
        raise UsageError(
            "a bootstrap needs replicates", expected="1 or more", found=f"{replicates}"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(replicates):
        yield np.bincount(generator.integers(0, n, n), minlength=n)


def percentiles(drawn: ArrayLike, level: float) -> tuple[float, float]:
    """Return the ends between which a share ``level`` of the replicates lies, the middle one.

    Parameters
    ----------
    drawn : (replicates,) float
        NaN for a replicate without a value, which is left out.

    Raises
    ------
    UsageError
        ``level`` outside (0, 1).
    """
    if not 0 < level < 1:
        raise UsageError(
            "a level is a share", expected="more than 0, less than 1", found=f"{level}"
        )
    numbers = np.asarray(drawn, dtype=np.float64)
    there = numbers[~np.isnan(numbers)]
    if there.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(there, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
