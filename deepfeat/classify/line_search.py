"""The exact minimum of the objective along a line: its slope is piecewise linear and rising.

Along w + t v, f + t d_f the slope at t is

    w.v + t v.v - 2 sum_i c_i max(0, 1 - y_i (f_i + t d_f_i)) y_i d_f_i

Each problem has a line of its own; those that still fall at the far end take it.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 30
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
    constant, linear = norms
    t = torch.full_like(constant, far)
    slope_far = _slope(constant, linear, t, _along(y, c, f, d_f))
    over = torch.nonzero(slope_far > 0)[:, 0]
    if len(over):
        t[over] = _root(
            constant[over], linear[over], far, _along(y[over], c[over], f[over], d_f[over])
        )
    return t


def _along(y: Tensor, c: Tensor, f: Tensor, d_f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    yd = y * d_f
    return 1 - y * f, yd, 2 * c * yd


def _slope(constant: Tensor, linear: Tensor, t: Tensor, along: tuple[Tensor, ...]) -> Tensor:
    slack, yd, weighted = along
    return constant + t * linear - ((slack - t[:, None] * yd).clamp_(min=0).mul_(weighted)).sum(1)


def _root(constant: Tensor, linear: Tensor, far: float, along: tuple[Tensor, ...]) -> Tensor:
    """Where the slope crosses 0: false position, halving whenever it is slow."""
    low, high = torch.zeros_like(constant), torch.full_like(constant, far)
    at_low = _slope(constant, linear, low, along)
    at_high = _slope(constant, linear, high, along)
    scale = at_low.abs()
    for step in range(STEPS):
        share = at_low / (at_low - at_high)
        use = (share > 0.01) & (share < 0.99) & (step % 3 != 2)
        middle = low + torch.where(use, share, 0.5) * (high - low)
        slope = _slope(constant, linear, middle, along)
        is_low = slope <= 0
        low, at_low = torch.where(is_low, middle, low), torch.where(is_low, slope, at_low)
        high, at_high = torch.where(is_low, high, middle), torch.where(is_low, at_high, slope)
        if bool((slope.abs() <= 1e-6 * scale).all()):
            break
    return torch.where(at_low.abs() <= at_high.abs(), low, high)
