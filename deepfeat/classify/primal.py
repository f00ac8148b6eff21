"""Squared-hinge SVMs over more rows than K could have: Newton's method on w, streaming X.

X may lie on disk (a memory map): it is read in blocks, and one reading is a product for all
problems of a part; a factor takes a reading for each problem. With
xi = max(0, 1 - y f) and alpha = 2 c xi the gradient of the objective is w - w', w' = X^T (y alpha),
and w' t is the best dual point of its kind, so that the gap comes with the gradient:

    P - D = 1/2 |w - t w'|^2 + (1 - t)^2 sum_i c_i xi_i^2

A step solves (I + X_A^T 2c X_A) v = -(w - w'): by conjugate gradients, a reading each, or, once
that is the dearer, by a Cholesky factor of the matrix itself. All in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.certificate import gap_on_w
from deepfeat.classify.gram import pick_device
from deepfeat.classify.line_search import NOWHERE, line_minimum
from deepfeat.classify.posed import Posed
from deepfeat.classify.problems import Report, Settings, Solution, check_loss, check_problems
from deepfeat.classify.progress import Tally, Tell
from deepfeat.classify.streamed import Streamed
from deepfeat.classify.walk import FEW, POLISHED, ROUGHLY, aim, in_order, keep_better, stops

ENTRIES = 1 << 23  # of a part: 64 MB for each of the arrays that a step needs
MOST_STEPS = 400  # near the limit of separability a problem takes a hundred
INNER, FORCING = 0.1, 0.05  # of the gap asked for, and of the gradient's length
LEAST_PRODUCTS = 5
GIVE_UP = 3  # steps that lead nowhere: rounding is all that is left


@dataclass(slots=True)
class _Part:
    """Columns that walk together, and where they stand: W (P, d), f (P, N)."""

    which: NDArray[np.intp]
    W: Tensor
    f: Tensor
    gap: Tensor
    primal: Tensor
    prefers_factor: Tensor
    steps: int = 0


class PrimalSolver:
    """Solves problems over the rows of X without K; see ``problems.Solver``.

    Parameters
    ----------
    X : (N, D) float32 or float64
        May be a memory map: read in blocks, in order.
    settings : Settings
    """

    def __init__(self, X: NDArray[np.floating[Any]], settings: Settings):
        check_loss(settings)
        self.X = X
        self.settings = settings
        self.device = pick_device(settings.device)
        self.scale = settings.intercept_scaling if settings.fit_intercept else 0.0
        self.steps = 0  # Newton steps a problem, in the walk that took most
        self.rows = Streamed(X, self.scale, self.device)
        self.basis, self.values = self.rows.low_rank()

    def path(
        self,
        y: NDArray[np.int8],
        weights: NDArray[np.float64],
        Cs: Sequence[float],
        *,
        with_coef: bool = False,
        start: NDArray[np.float32] | None = None,
        report: Report | None = None,
    ) -> Iterator[Solution]:
        """Solve P problems at each C, in the order of ``Cs``: see ``problems.Solver``."""
        check_problems(len(self.X), y, weights, Cs, start)
        posed = Posed(y, weights, start)
        return in_order(Cs, self._walk(posed, sorted(set(Cs)), with_coef, report))

    def _walk(
        self, posed: Posed, Cs: Sequence[float], with_coef: bool, report: Report | None
    ) -> Iterator[tuple[float, Solution]]:
        """The values of C upwards, each with its solution."""
        rows, problems = posed.y.shape
        count = min(-(-rows * problems // ENTRIES), problems)
        parts = [
            self._part(posed, some) for some in np.array_split(np.arange(problems), max(count, 1))
        ]
        tally = Tally(len(Cs) * problems, report)
        for C in stops(Cs, self.rows.square * posed.heaviest) if posed.is_cold else Cs:
            is_wanted = C in Cs
            tolerance = aim(self.settings.gap) if is_wanted else ROUGHLY
            tell = tally.add if is_wanted else tally.step
            for part in parts:
                y, weights = posed.columns(part.which, self.device)
                self._advance(part, y, C * weights, tolerance, tell)
                if is_wanted and rows <= FEW:
                    self._polish(part, y, C * weights)
            steps = sum(part.steps for part in parts)
            self.steps = max(self.steps, -(-steps // max(problems, 1)), 1)
            if is_wanted:
                yield C, self._solution(parts, posed, C, with_coef)

    def _part(self, posed: Posed, which: NDArray[np.intp]) -> _Part:
        P, N = len(which), len(self.X)
        is_few = torch.full((P,), N <= FEW, dtype=torch.bool, device=self.device)
        W = torch.zeros((P, self.X.shape[1] + 1), dtype=torch.float64, device=self.device)
        f, gap = W.new_zeros((P, N)), W.new_full((P,), torch.inf)
        dual = posed.start_of(which, self.device)
        if dual is not None:
            W = self.rows.back(dual)
            f = self.rows.forward(W)
        return _Part(which, W, f, gap, gap, is_few)

    def _polish(self, part: _Part, y: Tensor, c: Tensor) -> None:
        """Go on to the last digits, and keep what is better."""
        found = part.W, part.f, part.gap, part.primal
        part.W, part.f = part.W.clone(), part.f.clone()
        self._advance(part, y, c, POLISHED)
        keep_better((part.W, part.f, part.gap, part.primal), found, gap=2)

    def _solution(self, parts: list[_Part], posed: Posed, C: float, with_coef: bool) -> Solution:
        shape = posed.y.shape
        decision, dual = np.empty(shape, np.float32), np.empty(shape, np.float32)
        coef = np.empty((shape[1], self.X.shape[1])) if with_coef else None
        intercept, primal, gap = (np.empty(shape[1]) for _ in range(3))
        for part in parts:
            at = part.which
            y, weights = posed.columns(at, self.device)
            alpha = 2 * C * weights * (1 - y * part.f).clamp_(min=0)
            dual[:, at] = (y * alpha).T.cpu().numpy()
            decision[:, at] = part.f.T.cpu().numpy()
            intercept[at] = (self.scale * part.W[:, -1]).cpu().numpy()
            primal[at], gap[at] = part.primal.cpu().numpy(), part.gap.cpu().numpy()
            if coef is not None:
                coef[at] = part.W[:, :-1].cpu().numpy()
        return Solution(decision, coef, intercept, primal, gap, gap <= self.settings.gap, dual)

    def _advance(
        self, part: _Part, y: Tensor, c: Tensor, tolerance: float, tell: Tell = lambda done: None
    ) -> None:
        left = torch.arange(len(y), device=self.device)
        part.gap, part.primal = torch.full_like(part.gap, torch.inf), part.primal.clone()
        wants_factor = part.prefers_factor.clone()
        stuck = torch.zeros_like(left)
        for step in range(MOST_STEPS + 1):
            W, f = part.W[left], part.f[left]
            slack = (1 - y[left] * f).clamp(min=0) * (c[left] > 0)
            pull = self.rows.back(2 * c[left] * y[left] * slack)  # w': (p, d)
            part.gap[left], part.primal[left] = gap_on_w(W, pull, (c[left] * slack.square()).sum(1))
            is_open = ~(part.gap[left] <= tolerance) & (stuck[left] < GIVE_UP)
            is_open &= step < MOST_STEPS
            tell(int((~is_open).sum()))
            left = left[is_open]
            if not len(left):
                break
            part.steps += len(left)
            slack, gradient = slack[is_open], (W - pull)[is_open]
            way, too_dear = self._direction(
                gradient,
                2 * c[left] * (slack > 0),
                tolerance * part.primal[left],
                wants_factor[left],
            )
            d_f = self.rows.forward(way)
            W, f = W[is_open], f[is_open]
            t = _along(y[left], c[left], (W, f), (way, d_f))
            stuck[left] += t < NOWHERE
            wants_factor[left] |= too_dear | (t < 1e-3)
            part.prefers_factor[left] |= too_dear
            part.W[left], part.f[left] = W + t[:, None] * way, f + t[:, None] * d_f

    def _direction(
        self, gradient: Tensor, weight: Tensor, left: Tensor, wants_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-H^-1 gradient with H = I + X^T diag(weight) X: (p, d), and where factors are cheaper.

        ``left`` (p,) is the gap at which a problem is done.
        """
        way = torch.empty_like(gradient)
        D, N = gradient.shape[1], weight.shape[1]
        by_factor = torch.nonzero(wants_factor)[:, 0]
        for one in by_factor.tolist():
            way[one] = -self.rows.solve(weight[one], gradient[one])
        rest = torch.nonzero(~wants_factor)[:, 0]
        too_dear = torch.zeros_like(wants_factor)
        if len(rest):
            size = (weight[rest] > 0).sum(1).double()
            most = LEAST_PRODUCTS + (size * D * D + D**3 / 3) / (4 * N * D)
            enough = 2 * INNER * left[rest]
            length = gradient[rest].square().sum(1)
            enough = torch.maximum(enough, FORCING**2 * length)
            way[rest], spent = self._by_products(gradient[rest], weight[rest], enough, most)
            too_dear[rest] = spent >= most
        return way, too_dear

    def _by_products(
        self, gradient: Tensor, weight: Tensor, enough: Tensor, most: Tensor
    ) -> tuple[Tensor, Tensor]:
        v, r = torch.zeros_like(gradient), -gradient
        mean = weight.sum(1, keepdim=True) / weight.shape[1]
        shrink = mean * self.values / (1 + mean * self.values)  # (p, r)

        def precondition(r: Tensor) -> Tensor:
            return r - ((r @ self.basis) * shrink) @ self.basis.T

        s = precondition(r)
        p, rs = s, (r * s).sum(1)
        spent = torch.zeros_like(most)
        is_open = (r.square().sum(1) > enough) & (rs > 0)
        while bool(is_open.any()):
            Hp = p + self.rows.round(p, weight)
            a = torch.where(is_open, rs / (p * Hp).sum(1), 0.0)[:, None]
            v, r = v + a * p, r - a * Hp
            spent += is_open
            s = precondition(r)
            before, rs = rs, (r * s).sum(1)
            p = s + torch.where(before > 0, rs / before, 0.0)[:, None] * p
            is_open = is_open & (r.square().sum(1) > enough) & (spent < most) & (rs > 0)
        return v, spent


def _along(
    y: Tensor, c: Tensor, start: tuple[Tensor, Tensor], way: tuple[Tensor, Tensor]
) -> Tensor:
    """The step: 1, or less where that overshoots. W.way and way.way stand for beta's products."""
    (W, f), (d_W, d_f) = start, way
    return line_minimum(y, c, f, d_f, ((W * d_W).sum(1), d_W.square().sum(1)), 1.0)
