"""Products with X that read it a block at a time, from the disk if it lies there.

The intercept's constant is a last column: (N, D) is (N, d) here, d = D + 1. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.factors import by_factor
from deepfeat.classify.gram import blocks_of
from deepfeat.classify.problems import check_matrix

BLOCK_VALUES = 1 << 20  # of X at a time: 8 MB of float64
RANK = 64
SAMPLE = 2048  # rows from which the leading eigenvectors are estimated


class Streamed:
    """X (N, D) float32 or float64, and ``scale``: the constant of every row.

    ``square`` is the mean squared length of a row, the constant with it.

    Raises
    ------
    DataError
        X has NaN or infinity.
    """

    def __init__(self, X: NDArray[np.floating[Any]], scale: float, device: torch.device):
        self.X, self.scale, self.device = X, scale, device
        self.blocks = blocks_of(X, entries=BLOCK_VALUES, most=max(len(X), 1))
        square = 0.0
        for block in self.blocks:
            check_matrix(X[block], first=block.start)
            square += float(np.square(X[block], dtype=np.float64).sum())
        self.square = square / max(len(X), 1) + scale**2

    def forward(self, W: Tensor) -> Tensor:
        """X w: (P, d) -> (P, N)."""
        f = W.new_empty((len(W), len(self.X)))
        for block, rows in self._read():
            f[:, block] = W @ rows.T
        return f

    def back(self, v: Tensor) -> Tensor:
        """X^T v: (P, N) -> (P, d)."""
        result = v.new_zeros((len(v), self.X.shape[1] + 1))
        for block, rows in self._read():
            result.addmm_(v[:, block], rows)
        return result

    def round(self, W: Tensor, weight: Tensor) -> Tensor:
        """X^T (weight X w) in one reading: (P, d), (P, N) -> (P, d)."""
        result = torch.zeros_like(W)
        for block, rows in self._read():
            result.addmm_((W @ rows.T) * weight[:, block], rows)
        return result

    def solve(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """(I + X^T diag(weight) X)^-1 gradient by a Cholesky factor: (N,), (d,) -> (d,)."""
        H = torch.eye(len(gradient), dtype=torch.float64, device=self.device)
        for block, rows in self._read():
            active = torch.nonzero(weight[block])[:, 0]
            part = rows[active] * weight[block][active].sqrt()[:, None]
            H.addmm_(part.T, part)  # (d, n_A) x (n_A, d)
        factor, failed = torch.linalg.cholesky_ex(H)
        extra = 1e-15 * float(H.diagonal().sum())
        while int(failed) and extra < math.inf:  # indefinite by rounding alone
            H.diagonal().add_(extra)
            factor, failed = torch.linalg.cholesky_ex(H)
            extra *= 10
        return by_factor(factor, gradient[:, None])[:, 0]

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """The largest eigenvectors of X^T X (d, r) and its eigenvalues, from a sample of rows."""
        N, D = self.X.shape
        at: NDArray[np.int64] = np.unique(np.linspace(0, N - 1, min(SAMPLE, N)).astype(np.int64))
        rows = self._with_constant(self.X[at])
        generator = torch.Generator().manual_seed(0)
        rank = min(RANK, *rows.shape)
        guess = torch.randn((D + 1, rank), generator=generator, dtype=torch.float64)
        for _ in range(2):
            guess = torch.linalg.qr(rows.T @ (rows @ guess)).Q  # (d, r)
        _, values, vectors = torch.linalg.svd(rows @ guess, full_matrices=False)
        scaled = values.square() * (N / max(len(at), 1))
        return (guess @ vectors.T).to(self.device), scaled.to(self.device)

    def _read(self) -> Iterator[tuple[slice, Tensor]]:
        for block in self.blocks:
            yield block, self._with_constant(self.X[block]).to(self.device)

    def _with_constant(self, some: NDArray[np.floating[Any]]) -> Tensor:
        rows = torch.empty((len(some), some.shape[1] + 1), dtype=torch.float64)
        rows[:, :-1] = torch.from_numpy(np.array(some))
        rows[:, -1] = self.scale
        return rows
