"""The ± over splits: a standard deviation, by a name that says which (protocols.md 8.21)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deepfeat.errors import DataError
from deepfeat.tables import look_up

SPREADS = {"std1": 1, "std0": 0}  # what is taken off the number of splits in the divisor


def spread(figures: ArrayLike, name: str = "std1") -> float:
    """Return the standard deviation of the figures of s splits, in their unit.

    Parameters
    ----------
    figures : (s,) float
    name : "std1" or "std0"
        Divided by s - 1 (of a sample, the default) or by s.

    Returns
    -------
    float
        NaN where the divisor is not positive, as of one split under ``std1``.

    Raises
    ------
    DataError
        A figure that is not finite, or not a list of them.
    UsageError
        An unknown name.
    """
    numbers = np.asarray(figures, dtype=np.float64)
    fewer = look_up(SPREADS, name, "spread")
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise DataError("a spread needs one finite figure a split", found=f"{numbers.tolist()}")
    return float(numbers.std(ddof=fewer)) if numbers.size > fewer else float("nan")
