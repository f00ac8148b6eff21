"""What neither K nor normal equations can solve: Newton's method on w by orthogonal factors.

With C large, columns of unlike size and labels that contradict each other, X_A^T C X_A squares a
condition that float64 only just bears. So w is taken in the basis of right singular vectors,
X = Z V^T with Z = U S, and where the active rows alone would lead is a least squares problem,

    | sqrt(2 c_A) (Z_A w - y_A) |^2 + |w|^2,

solved by a QR factor of its stacked rows, each column scaled to length 1. One problem at a time:
there are few such.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.certificate import gap_on_w
from deepfeat.classify.line_search import NOWHERE, line_minimum
from deepfeat.classify.problems import Settings, Solution

MOST_STEPS = 200


class Orthogonal:
    """Problems over the rows of X (N, D), solved one by one in an orthonormal basis of the rows."""

    def __init__(self, X: NDArray[np.float32], settings: Settings, device: torch.device):
        self.settings = settings
        self.scale = settings.intercept_scaling if settings.fit_intercept else 0.0
        rows = np.hstack([X.astype(np.float64), np.full((len(X), 1), self.scale)])
        left, size, self.basis = torch.linalg.svd(
            torch.from_numpy(rows).to(device), full_matrices=False
        )
        self.Z = left * size  # (N, r), r = min(N, D + 1)

    def solve(self, y: NDArray[np.int8], c: NDArray[np.float64], enough: float) -> Solution:
        """The best that is met on the way to a gap: y, c (N, P), C in c."""
        shape = y.shape
        decision, dual = np.empty(shape, np.float32), np.empty(shape, np.float32)
        coef = np.empty((shape[1], self.basis.shape[1]))
        primal, gap = np.empty(shape[1]), np.empty(shape[1])
        for p in range(shape[1]):
            own = torch.from_numpy(np.ascontiguousarray(c[:, p])).to(self.Z)
            labels = torch.where(own > 0, torch.from_numpy(y[:, p].astype(np.float64)).to(own), 0.0)
            w, gap[p], primal[p] = self._optimum(labels, own, enough)
            f = self.Z @ w
            decision[:, p] = f.cpu().numpy()
            dual[:, p] = (2 * own * labels * (1 - labels * f).clamp_(min=0)).cpu().numpy()
            coef[p] = (w @ self.basis).cpu().numpy()
        intercept = self.scale * coef[:, -1]
        met = gap <= self.settings.gap
        return Solution(decision, coef[:, :-1], intercept, primal, gap, met, dual)

    def _optimum(self, y: Tensor, c: Tensor, enough: float) -> tuple[Tensor, float, float]:
        w = self.Z.new_zeros(self.Z.shape[1])
        f = self.Z @ w
        best = w, torch.inf, torch.inf
        for _ in range(MOST_STEPS):
            slack = (1 - y * f).clamp_(min=0) * (c > 0)
            pull = (2 * c * y * slack) @ self.Z
            gap, primal = gap_on_w(w[None], pull[None], (c @ slack.square())[None])
            if float(gap) < best[1]:
                best = w, float(gap), float(primal)
            if float(gap) <= enough:
                break
            way = self._target(y, c, slack > 0) - w
            d_f = self.Z @ way
            norms = ((w @ way)[None], (way @ way)[None])
            t = line_minimum(y[None], c[None], f[None], d_f[None], norms, 1.0)
            if float(t) < NOWHERE:
                break
            w = w + t * way
            f = self.Z @ w
        return best

    def _target(self, y: Tensor, c: Tensor, active: Tensor) -> Tensor:
        """Where the active rows alone would lead."""
        rows = torch.nonzero(active)[:, 0]
        root = (2 * c[rows]).sqrt()
        unit = torch.eye(self.Z.shape[1], dtype=self.Z.dtype, device=self.Z.device)
        stacked = torch.cat([root[:, None] * self.Z[rows], unit])
        lengths = stacked.norm(dim=0)
        right = torch.cat([root * y[rows], unit.new_zeros(len(unit))])
        found: Tensor = torch.linalg.lstsq(stacked / lengths, right[:, None]).solution
        return found[:, 0].div_(lengths)
