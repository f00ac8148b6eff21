"""From labels -1, 0, 1 to what an SVM takes: y in {-1, 1} and a weight for each row and class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepfeat.metrics.ranking import DIFFICULT


def problems_of(
    labels: NDArray[np.int8], difficult: str, class_weight: str | Mapping[str, float]
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Labels of training rows as binary problems.

    Parameters
    ----------
    labels : (n, L) int8 in {-1, 0, 1}
    difficult : {"ignore", "negative", "positive"}
        What 0 means; ignored rows have weight 0 for that class alone.
    class_weight : {"pos": number, "neg": number}, or "balanced"
        Balanced: n / (2 n+) and n / (2 n-) of the rows that take part.

    Returns
    -------
    y : (n, L) int8 in {-1, 1}
    weights : (n, L) float64 >= 0, without C
    """
    read = np.where(labels == 0, DIFFICULT[difficult], labels).astype(np.int8)
    positive, negative = read > 0, read < 0
    if class_weight == "balanced":
        counts = positive.sum(axis=0), negative.sum(axis=0)  # (L,) each
        half = (counts[0] + counts[1]) / 2
        above, below = (half / np.maximum(count, 1) for count in counts)
    else:
        assert isinstance(class_weight, Mapping)
        above, below = (np.full(labels.shape[1], class_weight[name]) for name in ("pos", "neg"))
    weights = positive * above + negative * below
    y = np.where(positive, 1, -1).astype(np.int8)
    return y, weights
