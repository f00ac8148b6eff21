"""From one block a scale to one matrix: the aggregation across scales and its L2 norms.

The order is fixed: blocks ascending by scale, sums in float32 in that order, norms in float64, the
result float32. So a matrix is the same bits whoever computes it from the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deepfeat.tables import look_up

Matrix = NDArray[np.float32]
SMALLEST_NORM = 1e-12


def _mean(blocks: Sequence[Matrix]) -> Matrix:
    total: Matrix = blocks[0].copy()
    for block in blocks[1:]:
        total += block
    total /= np.float32(len(blocks))
    return total


def _max(blocks: Sequence[Matrix]) -> Matrix:
    largest: Matrix = blocks[0].copy()
    for block in blocks[1:]:
        np.maximum(largest, block, out=largest)
    return largest


def _stack(blocks: Sequence[Matrix]) -> Matrix:
    return np.concatenate(blocks, axis=1)  # S x (N, C) -> (N, S*C)


ACROSS: dict[str, Callable[[Sequence[Matrix]], Matrix]] = {
    "mean": _mean,
    "max": _max,
    "stack": _stack,
}
# Name -> (each scale's descriptor has length 1, the result has length 1).
NORMALISE = {
    "none": (False, False),
    "end": (False, True),
    "each": (True, False),
    "each+end": (True, True),
}


def combine(blocks: Sequence[Matrix], across_scales: str, normalise: str) -> Matrix:
    """Aggregate the blocks of several scales.

    Parameters
    ----------
    blocks : S times (N, C) float32, ascending by scale
    across_scales : {"mean", "max", "stack"}
    normalise : {"none", "end", "each", "each+end"}

    Returns
    -------
    (N, C) float32, or (N, S*C) stacked; NaN rows stay NaN

    Raises
    ------
    UsageError
        A name that does not exist.
    """
    aggregate = look_up(ACROSS, across_scales, "aggregation across scales")
    with_each, with_end = look_up(NORMALISE, normalise, "normalisation")
    if with_each:
        blocks = [unit(block) for block in blocks]
    matrix = aggregate(blocks)
    return unit(matrix) if with_end else matrix


def unit(matrix: Matrix) -> Matrix:
    """Divide each row by max(its L2 norm, 1e-12); a row of zeros stays zero. (N, D) -> (N, D)"""
    out = np.empty_like(matrix)
    for start in range(0, len(matrix), 1024):  # bounds the float64 copies
        rows = matrix[start : start + 1024].astype(np.float64)
        norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        out[start : start + 1024] = rows / np.maximum(norms, SMALLEST_NORM)
    return out
