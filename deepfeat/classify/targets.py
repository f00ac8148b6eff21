"""Two solvers of one Newton step, and what they work on: where would the active rows alone lead?

Each gives, for some problems, the solution beta of the system of the active rows, f = K beta on all
rows, and whether it took more products than a Cholesky factor would have cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepfeat.classify.conjugate import LowRank, Preconditioner, conjugate_gradients
from deepfeat.classify.gram import Gram
from deepfeat.classify.parallel import torch_threads

# What the linear system may leave of the gap, as part of the tolerance, from the first step on.
# Stopping at a hundredth of the first |r|^2 instead made every step a line search: 5 times as slow.
INNER = 0.25
MOST_COST = 10_000.0  # of products, see conjugate.py


@dataclass(slots=True)
class Kernel:
    """K over the rows of some problems, fast and exact.

    ``rows``: which of all rows, or None; ``fast`` (n, n) float32; ``low``: its preconditioner;
    ``threads``: for products.
    """

    gram: Gram
    rows: Tensor | None
    fast: Tensor
    low: LowRank
    threads: int = 1

    def multiply(self, vectors: Tensor) -> Tensor:
        """(P, n) float32 -> (P, n)."""
        with torch_threads(self.threads):
            return vectors @ self.fast

    def product(self, beta: Tensor) -> Tensor:
        """(P, n) float64 -> (P, n)."""
        with torch_threads(self.threads):
            return self.gram.product(beta, into=self.rows, over=self.rows, fast=self.fast)

    def corner(self, which: Tensor) -> Tensor:
        """K among some rows of each of p problems: (p, m) -> (p, m, m) float64."""
        return self.gram.corner(which if self.rows is None else self.rows[which])


@dataclass(slots=True)
class State:
    """P problems on the way; all (P, n) or (P,) on the device.

    y is 0 where c is. ``f`` is K beta in float64 wherever ``is_exact``. ``prefers_factor``:
    conjugate gradients were the dearer last time. ``working``: the working set (P, n) bool.
    """

    y: Tensor
    c: Tensor
    beta: Tensor
    f: Tensor
    gap: Tensor
    primal: Tensor
    is_exact: Tensor
    prefers_factor: Tensor
    working: Tensor
    steps: int = 0  # Newton's, of all problems


def fast_targets(
    kernel: Kernel,
    state: State,
    which: Tensor,
    active: Tensor,
    tolerance: Tensor,
    most: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Conjugate gradients in float32, from beta on the active rows."""
    system = _system(state, which, active)
    state.is_exact[which] = False
    h, r, beta, f = system.h.float(), system.r.float(), system.beta, system.f
    if len(system.leaving):
        change = kernel.multiply(system.left_behind.float()).double()
        f[system.leaving] -= change
        r = system.residual().float()
    enough = 2 * INNER * tolerance * system.primal
    enough = enough.float()
    precondition = Preconditioner(kernel.low, h, kernel.rows)
    step, image, cost = conjugate_gradients(kernel.multiply, h, r, enough, most, precondition)
    return beta + step.double(), f + image.double(), (cost >= most) & (most < MOST_COST)


def exact_targets(
    kernel: Kernel,
    state: State,
    which: Tensor,
    active: Tensor,
    tolerance: Tensor,
    most: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in float64 (f is exact), for a straggler with too many active rows for a factor."""
    system = _system(state, which, active)
    if len(system.leaving):
        system.f[system.leaving] -= kernel.product(system.left_behind)
    enough = 2 * INNER * tolerance * system.primal
    most = torch.full_like(most, 2 * MOST_COST)
    precondition = Preconditioner(kernel.low, system.h, kernel.rows)
    step, image, _ = conjugate_gradients(
        kernel.product, system.h, system.residual(), enough, most, precondition
    )
    return system.beta + step, system.f + image, torch.zeros_like(most, dtype=torch.bool)


def refresh(kernel: Kernel, state: State, which: Tensor) -> None:
    """Make f exact again where float32 has been at it."""
    stale = which[~state.is_exact[which]]
    if len(stale):
        state.f[stale] = kernel.product(state.beta[stale])
        state.is_exact[stale] = True


@dataclass(slots=True)
class _System:
    """(I + H K H) z = h y with z = beta / h as it stands, on the active rows.

    ``leaving``: problems with beta on other rows, ``left_behind`` that beta; f still contains it.
    """

    y: Tensor
    h: Tensor
    beta: Tensor
    f: Tensor
    r: Tensor
    primal: Tensor
    leaving: Tensor
    left_behind: Tensor

    def residual(self) -> Tensor:
        inverse = torch.where(self.h > 0, 1 / self.h, 0.0)
        return self.h * (self.y - self.f) - self.beta * inverse


def _system(state: State, which: Tensor, active: Tensor) -> _System:
    y, c, f = state.y[which], state.c[which], state.f[which]
    h = (2 * c).sqrt() * active
    beta = state.beta[which]
    slack = (1 - y * f).clamp(min=0)
    primal = 0.5 * (beta * f).sum(1).clamp(min=0) + (c * slack.square()).sum(1)
    behind = beta * ~active
    leaving = torch.nonzero((behind != 0).any(1))[:, 0]
    system = _System(y, h, beta * active, f, f, primal, leaving, behind[leaving])
    system.r = system.residual()
    return system
