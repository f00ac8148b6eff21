"""K = X X^T + s^2, the one matrix that all problems share.

It is kept as two float32 matrices, K = high + low: ``high`` alone serves the fast products, the sum
carries 48 bits and serves whatever must be exact. That is 2 N^2 x 4 bytes, and a float32 copy of
the rows of a fold, at most half of ``high``, makes the bound: 2.5 N^2 x 4 bytes beside X.

X is divided by the root mean square norm of its rows, so that K is about 1 whatever the unit of X;
with weights c times that norm squared the problems stay the same (docs/svm.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat import machine
from deepfeat.classify.parallel import in_parallel
from deepfeat.errors import Unavailable, UsageError

ROWS_AT_A_TIME = 64  # of K in float64: a block that stays in the cache while it is multiplied
ROWS_OF_X = 1024  # at most, in float64: so is their part of K
ENTRIES_OF_X = 1 << 22  # at most: 32 MB, two such blocks while K is made
TAKEN = 250  # rows up to which single entries are gathered, not rows of K
SMALL = 1 << 20  # entries of K up to which one thread takes a product
LARGEST_COPY = 0.7  # of the rows: 0.7^2 is half of N^2


@dataclass(frozen=True, slots=True)
class Gram:
    """K over the rows of X.

    ``high``, ``low`` : (N, N) float32 on the device; ``square`` : the mean squared norm of a row,
    by which K is divided; ``constant``: s^2, or 0 without an intercept.
    """

    high: Tensor
    low: Tensor
    square: float
    constant: float

    @property
    def rows(self) -> int:
        return len(self.high)

    def product(
        self,
        beta: Tensor,
        *,
        into: Tensor | None = None,
        over: Tensor | None = None,
        fast: Tensor | None = None,
    ) -> Tensor:
        """K beta in float64: (P, n) -> (P, m).

        Parameters
        ----------
        beta : (P, n) float64
        into, over : (m,), (n,) int64, or None for all
            Rows of the result, and rows that beta speaks of.
        fast : (m, n) float32
            K among them, if it is at hand: then half of it need not be gathered.
        """
        count = self.rows if into is None else len(into)
        result = beta.new_empty((len(beta), count))

        def fill(parts: list[slice]) -> None:
            block = beta.new_empty((ROWS_AT_A_TIME, beta.shape[1]))
            for part in parts:
                which = part if into is None else into[part]
                rows = block[: part.stop - part.start]
                rows.copy_(_cut(self.high, which, over) if fast is None else fast[part])
                rows.add_(_cut(self.low, which, over))
                result[:, part] = beta @ rows.T

        is_small = count * beta.shape[1] < SMALL or beta.device.type != "cpu"
        _by_rows(fill, count, 1 if is_small else torch.get_num_threads())
        return result

    def corner(self, rows: Tensor) -> Tensor:
        """K among some rows of each of p problems: (p, m) -> (p, m, m) float64."""
        problems, size = rows.shape
        if size <= TAKEN:
            at = rows[:, :, None] * self.rows + rows[:, None, :]
            return self.high.take(at).double().add_(self.low.take(at))
        result = torch.empty((problems, size, size), dtype=torch.float64, device=rows.device)
        for own, K in zip(rows, result, strict=True):
            for start in range(0, size, ROWS_AT_A_TIME):
                part = own[start : start + ROWS_AT_A_TIME]
                block = K[start : start + ROWS_AT_A_TIME]
                block.copy_(_cut(self.high, part, own)).add_(_cut(self.low, part, own))
        return result

    def fast(self, rows: Tensor | None) -> Tensor:
        """K among some rows in float32: a copy, or ``high`` itself for None."""
        if rows is None:
            return self.high
        result = self.high.new_empty((len(rows), len(rows)))

        def gather(parts: list[slice]) -> None:
            for part in parts:
                result[part] = _cut(self.high, rows[part], rows)

        is_small = len(rows) ** 2 < SMALL or result.device.type != "cpu"
        _by_rows(gather, len(rows), 1 if is_small else torch.get_num_threads())
        return result


def _by_rows(fill: Callable[[list[slice]], None], rows: int, threads: int) -> None:
    """Fill rows, ``ROWS_AT_A_TIME`` of them at a time, in so many threads."""
    parts = [
        slice(start, min(start + ROWS_AT_A_TIME, rows)) for start in range(0, rows, ROWS_AT_A_TIME)
    ]
    in_parallel(fill, [parts[i::threads] for i in range(threads)], threads)


def make_gram(X: NDArray[np.float32], constant: float, device: torch.device) -> Gram:
    """K of the rows of X, summed in float64, the lower half only."""
    count = len(X)
    high = torch.empty((count, count), dtype=torch.float32, device=device)
    low = torch.empty_like(high)
    square = mean_square(X) + constant
    square = square if square > 0 else 1.0
    blocks = blocks_of(X)
    for i, below in enumerate(blocks):
        left = torch.from_numpy(X[below].astype(np.float64)).to(device)
        for right in blocks[: i + 1]:
            other = torch.from_numpy(X[right].astype(np.float64)).to(device)
            exact = left @ other.T  # (b, D) x (D, b') -> (b, b')
            exact.add_(constant).div_(square)
            high[below, right] = exact
            low[below, right] = exact.sub_(high[below, right])
            if below != right:
                high[right, below] = high[below, right].T
                low[right, below] = low[below, right].T
    return Gram(high, low, square, constant)


def mean_square(X: NDArray[np.float32]) -> float:
    """Mean squared norm of the rows, a block at a time."""
    total = 0.0
    for part in blocks_of(X):
        total += float(np.square(X[part], dtype=np.float64).sum())
    return total / max(len(X), 1)


def blocks_of(
    X: NDArray[np.floating[Any]], *, entries: int = ENTRIES_OF_X, most: int = ROWS_OF_X
) -> list[slice]:
    """Rows of X, ``most`` at a time, or fewer if they had more than so many ``entries``."""
    rows, columns = X.shape
    each = min(max(entries // max(columns, 1), 1), most)
    return [slice(start, min(start + each, rows)) for start in range(0, rows, each)]


def bytes_needed(rows: int) -> int:
    """Of K with the copy for a fold: 2.5 N^2 x 4."""
    return 10 * rows**2


def _cut(matrix: Tensor, which: slice | Tensor, over: Tensor | None) -> Tensor:
    rows = matrix[which] if isinstance(which, slice) else matrix.index_select(0, which)
    return rows if over is None else rows.index_select(1, over)


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one.

    Raises
    ------
    UsageError
        Another name.
    Unavailable
        CUDA where there is none.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if there else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"no device '{name}'", expected="auto, cpu, cuda, cuda:1 ...")
    if name != "cpu" and not there:
        raise Unavailable(f"there is no device '{name}'", advice="Give 'auto' or 'cpu'.")
    return torch.device(name)


def memory_of(device: torch.device) -> int:
    """Bytes the device has in all."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return machine.memory_bytes()
