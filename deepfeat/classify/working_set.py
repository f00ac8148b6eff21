"""Large C: a problem's optimum among the few rows that can matter to it, in float64.

Only rows with y f < 1 push, and the larger C the fewer there are. So a problem takes K among its
working set, the rows with y f < 1 + MARGIN and those with beta, and walks to the optimum among them
by Newton's method with a Cholesky factor a step. One product then tells f on all rows: it proves
the optimum, or shows the rows that were missing. The working set only grows, so this ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepfeat.classify.certificate import feasible, relative_gap
from deepfeat.classify.line_search import NOWHERE, line_minimum

MARGIN = 0.1  # rows so near to the margin may cross it on the way
MOST_STEPS = 60


def working_set(y: Tensor, c: Tensor, beta: Tensor, f: Tensor) -> Tensor:
    """Rows that can matter: (P, n) bool."""
    return (c > 0) & ((y * f < 1 + MARGIN) | (beta != 0))


def optimum(K: Tensor, y: Tensor, c: Tensor, beta: Tensor, enough: float) -> tuple[Tensor, int]:
    """The best feasible beta found among these rows, starting from another.

    Parameters
    ----------
    K : (m, m) float64
    y, c, beta : (m,) float64
        c > 0.
    enough : float
        The relative gap to reach; if rounding forbids it, the smallest met on the way is taken.

    Returns
    -------
    beta : (m,) float64
    steps : int
    """
    y, c, beta = y[None], c[None], beta[None]
    f = beta @ K
    best, least, steps = beta, torch.inf, 0
    while steps < MOST_STEPS:
        clipped = feasible(y, beta)
        same = bool((clipped == beta).all())
        gap, _ = relative_gap(y, c, clipped, f if same else clipped @ K)
        if float(gap) <= least:
            best, least = clipped, float(gap)
        if least <= enough:
            break
        steps += 1
        rows = torch.nonzero((y * f < 1)[0])[:, 0]
        target = torch.zeros_like(beta)
        if len(rows):
            among = K.index_select(0, rows).index_select(1, rows)
            target[0, rows] = _solve(among, 1 / (2 * c[0, rows]), y[0, rows])
        f_target = target @ K
        way, d_f = target - beta, f_target - f
        t = float(line_minimum(y, c, f, d_f, ((beta * d_f).sum(1), (way * d_f).sum(1)), 1.0))
        if t < NOWHERE:
            break
        beta, f = (target, f_target) if t == 1 else (beta + t * way, f + t * d_f)
    return best[0], steps


def _solve(K: Tensor, ridge: Tensor, y: Tensor) -> Tensor:
    """(K + diag(ridge))^-1 y, (n,); K is overwritten."""
    K.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(K)
    if not int(failed):
        return torch.cholesky_solve(y[:, None], factor)[:, 0]
    extra = 1e-14 * float(K.diagonal().sum())
    while int(failed):  # indefinite by rounding alone: lift it, then take the error out again
        lifted = K.clone()
        lifted.diagonal().add_(extra)
        factor, failed = torch.linalg.cholesky_ex(lifted)
        extra *= 100
    beta = torch.cholesky_solve(y[:, None], factor)
    for _ in range(3):
        beta += torch.cholesky_solve(y[:, None] - K @ beta, factor)
    return beta[:, 0]
