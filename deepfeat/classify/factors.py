"""The linear systems of Newton's steps among few rows, by Cholesky factors.

Problems of about the same size are solved side by side, as one tensor: a factor of a hundred rows
takes less time than to ask for it. A large problem has a tensor of its own, and keeps its factor:
from one step to the next few rows become active or cease to be, and their border is the cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

SHRINKS = 0.25  # to which part of itself a refinement brings what is left, or it is the last
FEW = 0.2  # of the rows of a factor: so many may change before it is made anew
KEPT = 300  # rows from which a factor is worth keeping
ROWS_AT_A_TIME = 256  # gathered

Inverse = Callable[[Tensor], Tensor]  # (p, m) float64, 0 off the active rows, to the same


class Corner:
    """K among the rows of p problems, and where the active rows alone would lead.

    Parameters
    ----------
    K : (p, m, m) float64
        In the places where a problem has no row K may be of any row.
    """

    def __init__(self, K: Tensor):
        self.K = K
        self._kept: tuple[Tensor, Tensor] | None = None  # rows (n,), factor (n, n)
        self._is_rough_enough = True  # whether factors in float32 have served so far

    def __len__(self) -> int:
        return len(self.K)

    @property
    def size(self) -> int:
        return self.K.shape[1]

    def keep(self, which: Tensor) -> None:
        """Forget the other problems: (p,) bool."""
        if not bool(which.all()):
            self.K = self.K[which]

    def times(self, beta: Tensor) -> Tensor:
        """K beta of each problem: (p, m) -> (p, m)."""
        return torch.bmm(beta[:, None], self.K)[:, 0]

    def target(self, y: Tensor, c: Tensor, f: Tensor, enough: Tensor) -> tuple[Tensor, Tensor]:
        """The solution of (K_AA + diag(1 / 2c_A)) beta_A = y_A, 0 on other rows, and K times it.

        A factor in float32 costs half of one in float64. Its error is taken out by residuals in
        float64, until what they leave of the gap is ``enough``; where they do not shrink, because C
        is too large, the factor is float64.

        Parameters
        ----------
        y, c, f : (p, m) float64
            y and c are 0 where there is no row.
        enough : (p,) float64

        Returns
        -------
        beta, f : (p, m) float64
        """
        active = (c > 0) & (y * f < 1)
        y, ridge = y * active, torch.where(active, 1 / (2 * c), 1.0)
        beta, f = torch.zeros_like(y), torch.zeros_like(y)
        is_met = torch.zeros_like(enough, dtype=torch.bool)
        for make in (self._bordered, self._fresh) if self._is_rough_enough else ():
            inverse = make(active, ridge)
            if inverse is None:
                continue
            beta, f, is_met = self._refine(inverse, y, ridge, active, enough)
            if bool(is_met.all()):
                return beta, f
            del inverse  # and the factor with it: memory is needed for the next
        self._kept = None
        self._is_rough_enough = bool(is_met.any())
        for p in torch.nonzero(~is_met)[:, 0].tolist():
            rows = torch.nonzero(active[p])[:, 0]
            among = self.K[p].index_select(0, rows).index_select(1, rows)
            beta[p] = 0
            beta[p, rows] = _solve_exactly(among, ridge[p, rows], y[p, rows])
        return beta, torch.where(is_met[:, None], f, self.times(beta))

    def _refine(
        self, inverse: Inverse, y: Tensor, ridge: Tensor, active: Tensor, enough: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta, f, left = torch.zeros_like(y), torch.zeros_like(y), y
        gap = torch.full_like(enough, torch.inf)
        is_met = torch.zeros_like(enough, dtype=torch.bool)
        is_open = ~is_met
        while bool(is_open.any()):
            beta = torch.where(is_open[:, None], beta + inverse(left), beta)
            f = self.times(beta)
            left = (y - f - ridge * beta) * active
            before, gap = gap, (left.square() / (2 * ridge)).sum(1)
            is_met = gap <= enough
            is_open = is_open & ~is_met & (gap < SHRINKS * before)
        return beta, f, is_met

    def _fresh(self, active: Tensor, ridge: Tensor) -> Inverse:
        """By a factor of the active rows: NaN where there is none in float32."""
        self._kept = None
        order = active.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        rows = order[:, : int(active.sum(1).max())]  # (p, n): the active ones, then others
        among = self._among(rows)
        is_row = active.gather(1, rows)
        if not bool(is_row.all()):
            among *= is_row[:, :, None] & is_row[:, None]
        among.diagonal(dim1=1, dim2=2).add_(ridge.gather(1, rows))
        factor, failed = torch.linalg.cholesky_ex(among)
        factor[failed > 0] = torch.nan
        is_kept = len(self) == 1 and rows.shape[1] > KEPT and not int(failed)
        self._kept = (rows[0], factor[0]) if is_kept else None

        def inverse(left: Tensor) -> Tensor:
            found = by_factor(factor, left.gather(1, rows)[:, :, None].float())
            return torch.zeros_like(left).scatter_(1, rows, found[:, :, 0].double())

        return inverse

    def _among(self, rows: Tensor) -> Tensor:
        """K among some rows of each problem: (p, n) -> (p, n, n) float32."""
        (problems, count), size = rows.shape, self.size
        result = torch.empty((problems, count, count), device=rows.device)
        flat = rows + size * torch.arange(problems, device=rows.device)[:, None]
        for start in range(0, count, ROWS_AT_A_TIME):
            part = slice(start, start + ROWS_AT_A_TIME)
            some = self.K.view(-1, size).index_select(0, flat[:, part].reshape(-1))
            some = some.view(problems, -1, size)
            result[:, part] = some.gather(2, rows[:, None].expand(-1, some.shape[1], -1))
        return result

    def _bordered(self, active: Tensor, ridge: Tensor) -> Inverse | None:
        """By the factor kept, if few rows have come or gone since.

        With rows gone G and come S it is the system of the old rows and S, bordered by beta_G = 0.
        """
        if self._kept is None:
            return None
        rows, factor = self._kept
        is_old = torch.zeros_like(active[0]).index_fill_(0, rows, True)
        come = torch.nonzero(active[0] & ~is_old)[:, 0]
        gone = torch.nonzero(~active[0][rows])[:, 0]  # places among the old
        count = len(come) + len(gone)
        if count > FEW * len(rows):
            return None
        K = self.K[0]
        border = factor.new_zeros((len(rows), count))
        border[:, : len(come)] = K.index_select(0, come).index_select(1, rows).T
        border[gone, torch.arange(len(come), count, device=gone.device)] = 1
        border = torch.linalg.solve_triangular(factor, border, upper=False)
        inner = -(border.T @ border).double()
        inner[: len(come), : len(come)] += K.index_select(0, come).index_select(1, come)
        inner.diagonal()[: len(come)].add_(ridge[0, come])
        inner_factor, pivots, _ = torch.linalg.lu_factor_ex(inner)

        def inverse(left: Tensor) -> Tensor:
            old = torch.linalg.solve_triangular(factor, left[0, rows, None].float(), upper=False)
            right = -(border.T @ old).double()
            right[: len(come), 0] += left[0, come]
            part = torch.linalg.lu_solve(inner_factor, pivots, right)
            old = torch.linalg.solve_triangular(factor.T, old - border @ part.float(), upper=True)
            found = torch.zeros_like(left)
            found[0, rows] = old[:, 0].double()
            found[0, come] = part[: len(come), 0]
            return found * active

        return inverse


def by_factor(factor: Tensor, right: Tensor) -> Tensor:
    """(L L^T)^-1 right: (..., n, n), (..., n, k) -> (..., n, k).

    ``torch.cholesky_solve`` copies the factor first, which takes longer than to use it.
    """
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    result: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return result


def _solve_exactly(K: Tensor, ridge: Tensor, y: Tensor) -> Tensor:
    """(K + diag(ridge))^-1 y, (n,); K is overwritten."""
    K.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(K)
    if not int(failed):
        return by_factor(factor, y[:, None])[:, 0]
    extra = 1e-14 * float(K.diagonal().sum())
    # Indefinite by rounding alone: lift it, then take the error out again.
    while int(failed) and extra < math.inf:
        lifted = K.clone()
        lifted.diagonal().add_(extra)
        factor, failed = torch.linalg.cholesky_ex(lifted)
        extra *= 100
    beta = by_factor(factor, y[:, None])
    for _ in range(3):
        beta += by_factor(factor, y[:, None] - K @ beta)
    return beta[:, 0]
