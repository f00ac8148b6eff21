"""A figure for each class and their mean: a class without a value is NaN and does not vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PerClass:
    """One number a class, as fractions.

    Parameters
    ----------
    values : (L,) float64
        In 0..1, in the order of the classes; NaN where a class has nothing to be judged on
        (protocols.md 2.3, 3.2, 8.28).
    """

    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Unweighted mean over the classes that have a value; NaN if none has."""
        there = self.values[~np.isnan(self.values)]
        return float(there.mean()) if there.size else float("nan")
