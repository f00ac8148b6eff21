"""The exact minimum of the objective along a line: its slope is piecewise linear and rising.

Along w + t v, f + t d_f the slope at t is

    w.v + t v.v - 2 sum_i c_i max(0, 1 - y_i (f_i + t d_f_i)) y_i d_f_i

Each problem has a line of its own; those that still fall at the far end take it.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 30
ENOUGH = 1e-6  # of the slope at 0
NOWHERE = 1e-10  # a step so short is rounding


def line_minimum(
    y: Tensor, c: Tensor, f: Tensor, d_f: Tensor, norms: tuple[Tensor, Tensor], far: float
) -> Tensor:
    """t in [0, far] for each problem: (P,) float64.

    Parameters
    ----------
    y, c, f, d_f : (P, N) float64
    norms : (P,) float64 each
        w.v and v.v; with w = X^T beta these are beta.d_f and d_beta.d_f.
    """
    t = torch.full_like(norms[0], far)
    slope, _ = _slope(t, *_along(y, c, f, d_f, norms))
    over = torch.nonzero(slope > 0)[:, 0]
    if len(over):
        among = norms[0][over], norms[1][over]
        t[over] = _root(far, *_along(y[over], c[over], f[over], d_f[over], among))
    return t


def _along(
    y: Tensor, c: Tensor, f: Tensor, d_f: Tensor, norms: tuple[Tensor, Tensor]
) -> tuple[Tensor, ...]:
    """What the slope at any t is made of."""
    yd = y * d_f
    return *norms, 1 - y * f, yd, 2 * c * yd


def _slope(
    t: Tensor, at_zero: Tensor, rise: Tensor, slack: Tensor, yd: Tensor, weighted: Tensor
) -> tuple[Tensor, Tensor]:
    """The slope at t, and how fast it rises there: (P,) each."""
    left = torch.addcmul(slack, t[:, None], yd, value=-1)
    push = weighted * (left > 0)
    slope = at_zero + t * rise - left.mul_(push).sum(1)
    return slope, rise + push.mul_(yd).sum(1)


def _root(far: float, *along: Tensor) -> Tensor:
    """Where the slope crosses 0: Newton's method, which is there once it is on the right piece."""
    low, high = torch.zeros_like(along[0]), torch.full_like(along[0], far)
    t = best = low
    slope, rise = _slope(t, *along)
    least = slope.abs()
    enough = ENOUGH * least
    for _ in range(STEPS):
        low, high = torch.where(slope <= 0, t, low), torch.where(slope <= 0, high, t)
        t = t - slope / rise
        t = torch.where((t > low) & (t < high), t, 0.5 * (low + high))
        slope, rise = _slope(t, *along)
        best = torch.where(slope.abs() < least, t, best)
        least = torch.minimum(slope.abs(), least)
        if bool((least <= enough).all()):
            break
    return best
