"""Large C: a problem's optimum among the few rows that can matter to it, in float64.

Only rows with y f < 1 push, and the larger C the fewer there are. So a problem takes K among its
working set, the rows with y f < 1 + MARGIN and those with beta, and walks to the optimum among them
by Newton's method. A step has one Cholesky factor, in float32 if that is enough for K, beta and f
in float64 to come right by residuals. One product then tells f on all rows: it proves the optimum,
or shows the rows that were missing. The working set only grows, so this ends.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepfeat.classify.certificate import feasible, relative_gap
from deepfeat.classify.line_search import NOWHERE, line_minimum

MARGIN = 0.1  # rows so near to the margin may cross it on the way
MOST_STEPS = 400  # near the limit of separability a problem takes a hundred
SHRINKS = 0.25  # to which part of itself a refinement brings what is left, or it is the last
INNER = 0.1  # of the gap that is enough: what a linear system may leave of it


def working_set(y: Tensor, c: Tensor, beta: Tensor, f: Tensor) -> Tensor:
    """Rows that can matter: (P, n) bool. Those with beta too: without them f could collapse."""
    return (c > 0) & ((y * f < 1 + MARGIN) | (beta != 0))


def optima(
    K: list[Tensor], y: Tensor, c: Tensor, beta: Tensor, enough: Tensor
) -> tuple[Tensor, int]:
    """The best feasible beta of each problem among its own few rows, starting from another.

    Problems walk side by side, because there are many of them and a step of one is short.

    Parameters
    ----------
    K : P matrices (m_p, m_p) float64
    y, c, beta : (P, m) float64
        c > 0 in the first m_p places; 0, all three, in those beyond.
    enough : (P,) float64
        The relative gap to reach; if rounding forbids it, the smallest met on the way is taken.

    Returns
    -------
    beta : (P, m) float64
    steps : int
        Of all problems together.
    """
    everyone = torch.arange(len(beta), device=beta.device)
    rough = [one.float() for one in K]
    f = _times(K, beta, everyone)
    best, least = beta.clone(), torch.full_like(enough, torch.inf)
    live, steps = everyone, 0
    is_last = torch.zeros_like(everyone, dtype=torch.bool)
    for _ in range(MOST_STEPS):
        clipped, f_clipped = feasible(y[live], beta[live]), f[live]
        changed = torch.nonzero((clipped != beta[live]).any(1))[:, 0]
        f_clipped[changed] = _times(K, clipped[changed], live[changed])
        gap, primal = relative_gap(y[live], c[live], clipped, f_clipped)
        better = gap <= least[live]
        best[live[better]], least[live[better]] = clipped[better], gap[better]
        is_open = (least[live] > enough[live]) & ~is_last[live]
        live, primal = live[is_open], primal[is_open]
        if not len(live):
            break
        steps += len(live)
        target, f_target = torch.zeros_like(beta[live]), torch.zeros_like(beta[live])
        active = (c[live] > 0) & (y[live] * f[live] < 1)
        for at, problem in enumerate(live.tolist()):
            rows, size = torch.nonzero(active[at])[:, 0], len(K[problem])
            target[at, rows], f_target[at, :size] = _solve(
                K[problem],
                rough[problem],
                rows,
                1 / (2 * c[problem, rows]),
                y[problem, rows],
                INNER * float(enough[problem] * primal[at]),
            )
        way, d_f = target - beta[live], f_target - f[live]
        norms = ((beta[live] * d_f).sum(1), (way * d_f).sum(1))
        t = line_minimum(y[live], c[live], f[live], d_f, norms, 1.0)[:, None]
        # Where w cannot move, as at an optimum of w = 0, beta may have to all the same: a last try.
        is_last[live] = t[:, 0] < NOWHERE
        t[t < NOWHERE] = 1
        beta[live] = torch.where(t == 1, target, beta[live] + t * way)
        f[live] = torch.where(t == 1, f_target, f[live] + t * d_f)
    return best, steps


def _times(K: list[Tensor], beta: Tensor, which: Tensor) -> Tensor:
    """K beta of some problems, each with its own K: (p, m) -> (p, m)."""
    f = torch.zeros_like(beta)
    for at, problem in enumerate(which.tolist()):
        rows = len(K[problem])
        f[at, :rows] = K[problem] @ beta[at, :rows]
    return f


def _solve(
    K: Tensor, rough: Tensor, rows: Tensor, ridge: Tensor, y: Tensor, enough: float
) -> tuple[Tensor, Tensor]:
    """beta on the active rows, (K_AA + diag(ridge))^-1 y, and f = K beta on all: (n,) and (m,).

    A factor in float32 costs half of one in float64. Its error is taken out by residuals in
    float64, until what they leave of the gap is ``enough``; where they do not shrink, because C is
    too large, the factor is float64.
    """
    among = rough.index_select(0, rows).index_select(1, rows)
    among.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(among)
    f, beta, left = K.new_zeros(len(K)), torch.zeros_like(y), y
    gap = math.inf
    while not int(failed):
        beta += torch.cholesky_solve(left[:, None].float(), factor)[:, 0]
        f = f.zero_().index_copy_(0, rows, beta) @ K
        left = y - f[rows] - ridge * beta
        before, gap = gap, float((left.square() / (2 * ridge)).sum())
        if gap <= enough:
            return beta, f
        if not gap < SHRINKS * before:
            break
    beta = _solve_exactly(K.index_select(0, rows).index_select(1, rows), ridge, y)
    return beta, torch.zeros_like(f).index_copy_(0, rows, beta) @ K


def _solve_exactly(K: Tensor, ridge: Tensor, y: Tensor) -> Tensor:
    """(K + diag(ridge))^-1 y, (n,); K is overwritten."""
    K.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(K)
    if not int(failed):
        return torch.cholesky_solve(y[:, None], factor)[:, 0]
    extra = 1e-14 * float(K.diagonal().sum())
    # Indefinite by rounding alone: lift it, then take the error out again.
    while int(failed) and extra < math.inf:
        lifted = K.clone()
        lifted.diagonal().add_(extra)
        factor, failed = torch.linalg.cholesky_ex(lifted)
        extra *= 100
    beta = torch.cholesky_solve(y[:, None], factor)
    for _ in range(3):
        beta += torch.cholesky_solve(y[:, None] - K @ beta, factor)
    return beta[:, 0]
