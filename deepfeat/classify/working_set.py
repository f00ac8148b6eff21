"""Large C: a problem's optimum among the few rows that can matter to it, in float64.

Only rows with y f < 1 push, and the larger C the fewer there are. So a problem takes K among its
working set, the rows that push, those with beta and some next to the margin, and walks to the
optimum among them by Newton's method (factors.py solves its systems). One product then tells f on
all rows: it proves the optimum, or shows the rows that were missing. The working set only grows, so
this ends.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from deepfeat.classify.certificate import feasible, relative_gap
from deepfeat.classify.factors import Corner
from deepfeat.classify.line_search import NOWHERE, line_minimum

NEAR = 0.05  # of the rows needed: so many more, the nearest to the margin
LARGEST_SET = 3072  # rows up to which K among them is taken: 76 MB, and as much again to solve
MOST_STEPS = 400  # near the limit of separability a problem takes a hundred
INNER = 0.1  # of the gap that is enough: what a linear system may leave of it


def needed(y: Tensor, c: Tensor, beta: Tensor, f: Tensor) -> Tensor:
    """Rows that push, and those with beta, without which f could collapse: (P, n) bool."""
    return (c > 0) & ((y * f < 1) | (beta != 0))


def with_near(rows: Tensor, y: Tensor, c: Tensor, f: Tensor) -> Tensor:
    """The working set: beside the rows needed (P, n) those next to the margin, which may cross it.

    ``LARGEST_SET`` at most; if fewer are needed at least one more, as far as there are any.
    """
    count = rows.sum(1)
    more = torch.minimum((NEAR * count).long() + 1, LARGEST_SET - count)
    beyond = torch.where((c > 0) & ~rows, y * f, torch.inf)
    margin, near = beyond.topk(min(int(more.max()), y.shape[1]), dim=1, largest=False)
    is_more = torch.arange(near.shape[1], device=near.device) < more[:, None]
    return rows.scatter(1, near, rows.gather(1, near) | is_more & (margin < torch.inf))


def optima(
    corners: list[Corner], y: Tensor, c: Tensor, beta: Tensor, enough: Tensor
) -> tuple[Tensor, int]:
    """The best feasible beta of each problem among its own few rows, starting from another.

    Problems walk side by side, because there are many of them and a step of one is short.

    Parameters
    ----------
    corners : list of Corner
        K among the rows of the first problems, of the next, and so on: those of about the same size
        are in one.
    y, c, beta : (P, m) float64
        Of the rows in the same order; 0, all three, in the places where a problem has no row.
    enough : (P,) float64
        The relative gap to reach; if rounding forbids it, the smallest met on the way is taken.

    Returns
    -------
    beta : (P, m) float64
    steps : int
        Of all problems together.
    """
    found, place = beta.clone(), torch.arange(len(beta), device=beta.device)
    f, steps = _times(corners, beta), 0
    best, least = beta, torch.full_like(enough, torch.inf)
    is_last = torch.zeros_like(place, dtype=torch.bool)
    for step in range(MOST_STEPS + 1):
        clipped = feasible(y, beta)
        changed = (clipped != beta).any(1)[:, None]
        f_clipped = torch.where(changed, _times(corners, clipped), f) if bool(changed.any()) else f
        gap, primal = relative_gap(y, c, clipped, f_clipped)
        better = gap <= least
        best, least = torch.where(better[:, None], clipped, best), torch.where(better, gap, least)
        is_open = (least > enough) & ~is_last & (step < MOST_STEPS)
        if not bool(is_open.all()):
            found[place[~is_open]] = best[~is_open]
            if not bool(is_open.any()):
                break
            for corner, at in _places(corners):
                corner.keep(is_open[at[0]])
            corners = [one for one in corners if len(one)]
            place, y, c, beta, f, best, least, enough, primal = (
                every[is_open] for every in (place, y, c, beta, f, best, least, enough, primal)
            )
        steps += len(place)
        target, f_target = torch.zeros_like(beta), torch.zeros_like(beta)
        for corner, at in _places(corners):
            target[at], f_target[at] = corner.target(
                y[at], c[at], f[at], INNER * (enough * primal)[at[0]]
            )
        way, d_f = target - beta, f_target - f
        norms = ((beta * d_f).sum(1), (way * d_f).sum(1))
        t = line_minimum(y, c, f, d_f, norms, 1.0)
        # Where w cannot move, as at an optimum of w = 0, beta may have to all the same: a last try.
        is_last = t < NOWHERE
        whole = (is_last | (t == 1))[:, None]
        beta = torch.where(whole, target, beta + t[:, None] * way)
        f = torch.where(whole, f_target, f + t[:, None] * d_f)
    return found, steps


def _times(corners: list[Corner], beta: Tensor) -> Tensor:
    """K beta of every problem: (P, m) -> (P, m)."""
    f = torch.zeros_like(beta)
    for corner, at in _places(corners):
        f[at] = corner.times(beta[at])
    return f


def _places(corners: list[Corner]) -> list[tuple[Corner, tuple[slice, slice]]]:
    """Each corner, and where its problems and their rows are among all."""
    ends = list(accumulate(len(one) for one in corners))
    return [
        (one, (slice(end - len(one), end), slice(one.size)))
        for one, end in zip(corners, ends, strict=True)
    ]
