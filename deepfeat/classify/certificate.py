"""How far a problem is from its optimum, proven: the relative duality gap, without cancellation.

With f = K beta, beta = y alpha, xi = max(0, 1 - y f) the gap is a sum of terms that are never
negative (docs/svm.md derives it):

    P - D = sum_i [ (2 c_i xi_i - alpha_i)^2 / (4 c_i) + alpha_i max(0, y_i f_i - 1) ]

P and D themselves are large and nearly equal at the optimum; their difference, taken as such, would
be rounding. Everything here is float64, and problems are rows: (P, N).
"""

from __future__ import annotations

import torch
from torch import Tensor


def relative_gap(y: Tensor, c: Tensor, beta: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """The gap of each problem over its objective, and the objective.

    Parameters
    ----------
    y, c : (P, N) float64
        Labels (0 where c = 0) and weights.
    beta : (P, N) float64
        Feasible: y beta >= 0, and 0 where c = 0.
    f : (P, N) float64
        K beta.

    Returns
    -------
    gap, primal : (P,) float64
        A problem without weights has objective 0 and gap 0; a gap that is no number is infinite.
    """
    alpha, margin = y * beta, y * f
    slack = (1 - margin).clamp_(min=0) * (c > 0)
    shortfall = (2 * c * slack - alpha).square_().div_((4 * c).clamp_(min=_TINY))
    beyond = alpha * (margin - 1).clamp_(min=0)
    distance = (shortfall + beyond).sum(1)  # (P, N) -> (P,)
    primal = 0.5 * (beta * f).sum(1).clamp_(min=0) + (c * slack.square_()).sum(1)
    gap = torch.where(distance == 0, 0.0, distance / primal)
    return torch.where(gap.isfinite(), gap, torch.inf), primal


def gap_on_w(W: Tensor, pull: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """The same of w: at the best multiple t of alpha = 2 c slack, (P,) each.

    W, pull : (P, d), pull = X^T (y alpha); loss : (P,), the sum of c slack^2.
    """
    primal = 0.5 * W.square().sum(1) + loss
    scale = pull.square().sum(1) + 2 * loss
    t = torch.where(scale > 0, ((W * pull).sum(1) + 2 * loss) / scale, 1.0).clamp(min=0)
    distance = 0.5 * (W - t[:, None] * pull).square().sum(1) + (1 - t).square() * loss
    gap = torch.where(distance == 0, 0.0, distance / primal)
    return torch.where(gap.isfinite(), gap, torch.inf), primal


def feasible(y: Tensor, beta: Tensor) -> Tensor:
    """The nearest beta with y beta >= 0 that keeps the sum over each label.

    The sum matters: K's largest eigenvector is close to constant, and clipping alone would disturb
    f by that eigenvalue, thousands of times as much as the entry clipped.
    """
    alpha = (y * beta).clamp_(min=0)
    result = torch.zeros_like(beta)
    for label in (-1, 1):
        part = alpha * (y == label)
        wanted = (y * beta * (y == label)).sum(1)  # (P,)
        found = part.sum(1)
        factor = torch.where(wanted > 0.5 * found, wanted / found.clamp(min=_TINY), 1.0)
        result += label * factor[:, None] * part
    return result


_TINY = 1e-300  # keeps 0 / 0 at 0
