"""Squared-hinge SVMs over more rows than K could have: Newton's method on w, streaming X.

X may lie on disk (a memory map): it is read in blocks, and one reading is a product for all
problems; a factor takes a reading for each problem. With
xi = max(0, 1 - y f) and alpha = 2 c xi the gradient of the objective is w - w', w' = X^T (y alpha),
and w' t is the best dual point of its kind, so that the gap comes with the gradient:

    P - D = 1/2 |w - t w'|^2 + (1 - t)^2 sum_i c_i xi_i^2

A step solves (I + X_A^T 2c X_A) v = -(w - w'): by conjugate gradients, a reading each, or, once
that is the dearer, by a Cholesky factor of the matrix itself. All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.gram import pick_device
from deepfeat.classify.line_search import NOWHERE, line_minimum
from deepfeat.classify.problems import Settings, Solution, check_matrix, check_problems
from deepfeat.classify.walk import FEW, POLISHED, ROUGHLY, aim, stops
from deepfeat.errors import UsageError

BLOCK_VALUES = 1 << 20  # of X at a time: 8 MB of float64
MOST_STEPS = 80
INNER, FORCING = 0.1, 0.05  # of the gap asked for, and of the gradient's length
LEAST_PRODUCTS = 5
RANK = 64
GIVE_UP = 3  # steps that lead nowhere: rounding is all that is left
SAMPLE = 2048  # rows from which the preconditioner is made


@dataclass(slots=True)
class _Walk:
    """P problems at one value of C: W (P, d); c, y, f (P, N); A: y f < 1 where c > 0."""

    W: Tensor
    f: Tensor
    gap: Tensor
    primal: Tensor
    prefers_factor: Tensor


class PrimalSolver:
    """Solves problems over the rows of X without K; see ``problems.Solver``.

    Parameters
    ----------
    X : (N, D) float32
        May be a memory map: read in blocks, in order.
    settings : Settings
    """

    def __init__(self, X: NDArray[np.float32], settings: Settings):
        if settings.loss != "squared_hinge":
            raise UsageError(
                f"this solver has no loss '{settings.loss}'",
                expected="squared_hinge",
                advice="The solver 'liblinear' has the hinge.",
            )
        self.X = X
        self.settings = settings
        self.device = pick_device(settings.device)
        self.scale = settings.intercept_scaling if settings.fit_intercept else 0.0
        self.steps = 0
        square = 0.0
        for block in self._slices():
            check_matrix(X[block])
            square += float(np.square(X[block], dtype=np.float64).sum())
        self.square = square / max(len(X), 1) + self.scale**2  # of a row, on average
        self.basis, self.values = self._low_rank()

    def path(
        self,
        y: NDArray[np.int8],
        weights: NDArray[np.float64],
        Cs: Sequence[float],
        *,
        with_coef: bool = False,
        report: Callable[[int, int], None] | None = None,
    ) -> Iterator[Solution]:
        """Solve P problems at each C, in the order of ``Cs``: see ``problems.Solver``."""
        check_problems(len(self.X), y, weights, Cs)
        c = torch.from_numpy(np.ascontiguousarray(weights.T)).to(self.device)  # (P, N)
        labels = torch.from_numpy(np.ascontiguousarray(y.T)).to(self.device).double()
        labels = torch.where(c > 0, labels, 0.0)
        P, N = c.shape
        infinite = c.new_full((P,), torch.inf)
        few = torch.full((P,), N <= FEW, dtype=torch.bool, device=self.device)
        walk = _Walk(
            c.new_zeros((P, self.X.shape[1] + 1)), c.new_zeros((P, N)), infinite, infinite, few
        )
        wanted = sorted(set(Cs))
        waiting: dict[float, Solution] = {}
        told = done = 0
        for C in stops(wanted, self.square * float(weights.max(initial=0))):
            if C not in wanted:
                self._advance(walk, labels, C * c, ROUGHLY)
                continue
            self._advance(walk, labels, C * c, aim(self.settings.gap))
            if N <= FEW:
                found = walk.W, walk.f, walk.gap, walk.primal
                walk.W, walk.f = walk.W.clone(), walk.f.clone()
                self._advance(walk, labels, C * c, POLISHED)
                worse = ~(walk.gap < found[2])
                for now, before in zip((walk.W, walk.f, walk.gap, walk.primal), found, strict=True):
                    now[worse] = before[worse]
            waiting[C] = self._solution(walk, with_coef)
            if report is not None:
                done += P
                report(done, len(wanted) * P)
            while told < len(Cs) and Cs[told] in waiting:
                value = Cs[told]
                told += 1
                yield waiting[value] if value in Cs[told:] else waiting.pop(value)

    def _solution(self, walk: _Walk, with_coef: bool) -> Solution:
        coef = walk.W[:, :-1].cpu().numpy().copy() if with_coef else None
        intercept = (self.scale * walk.W[:, -1]).cpu().numpy()
        gap = walk.gap.cpu().numpy().copy()
        decision = walk.f.T.float().cpu().numpy()
        primal = walk.primal.cpu().numpy().copy()
        return Solution(decision, coef, intercept, primal, gap, gap <= self.settings.gap)

    def _advance(self, walk: _Walk, y: Tensor, c: Tensor, tolerance: float) -> None:
        left = torch.arange(len(y), device=self.device)
        walk.gap, walk.primal = torch.full_like(walk.gap, torch.inf), walk.primal.clone()
        wants_factor = walk.prefers_factor.clone()
        total, stuck = 0, torch.zeros_like(left)
        for step in range(MOST_STEPS + 1):
            W, f = walk.W[left], walk.f[left]
            slack = (1 - y[left] * f).clamp(min=0) * (c[left] > 0)
            pull = self._back(2 * c[left] * y[left] * slack)  # w': (p, d)
            walk.gap[left], walk.primal[left] = _gap(W, pull, (c[left] * slack.square()).sum(1))
            is_open = ~(walk.gap[left] <= tolerance) & (stuck[left] < GIVE_UP)
            left = left[is_open]
            if not len(left) or step == MOST_STEPS:
                break
            total += len(left)
            slack, gradient = slack[is_open], (W - pull)[is_open]
            way, too_dear = self._direction(
                gradient, 2 * c[left] * (slack > 0), walk.primal[left], wants_factor[left]
            )
            d_f = self._forward(way)
            W, f = W[is_open], f[is_open]
            t = _along(y[left], c[left], (W, f), (way, d_f))
            stuck[left] += t < NOWHERE
            wants_factor[left] |= too_dear | (t < 1e-3)
            walk.prefers_factor[left] |= too_dear
            walk.W[left], walk.f[left] = W + t[:, None] * way, f + t[:, None] * d_f
        self.steps = max(self.steps, -(-total // max(len(y), 1)), 1)

    def _direction(
        self, gradient: Tensor, weight: Tensor, primal: Tensor, wants_factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-H^-1 gradient with H = I + X^T diag(weight) X: (p, d), and where factors are cheaper."""
        way = torch.empty_like(gradient)
        D, N = gradient.shape[1], weight.shape[1]
        by_factor = torch.nonzero(wants_factor)[:, 0]
        for one in by_factor.tolist():
            way[one] = -self._by_factor(gradient[one], weight[one])
        rest = torch.nonzero(~wants_factor)[:, 0]
        too_dear = torch.zeros_like(wants_factor)
        if len(rest):
            size = (weight[rest] > 0).sum(1).double()
            most = LEAST_PRODUCTS + (size * D * D + D**3 / 3) / (4 * N * D)
            enough = 2 * INNER * self.settings.gap * primal[rest]
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
            Hp = p + self._round(p, weight)
            a = torch.where(is_open, rs / (p * Hp).sum(1), 0.0)[:, None]
            v, r = v + a * p, r - a * Hp
            spent += is_open
            s = precondition(r)
            before, rs = rs, (r * s).sum(1)
            p = s + torch.where(before > 0, rs / before, 0.0)[:, None] * p
            is_open = is_open & (r.square().sum(1) > enough) & (spent < most) & (rs > 0)
        return v, spent

    def _by_factor(self, gradient: Tensor, weight: Tensor) -> Tensor:
        H = torch.eye(len(gradient), dtype=torch.float64, device=self.device)
        for block, rows in self._blocks():
            active = torch.nonzero(weight[block])[:, 0]
            part = rows[active] * weight[block][active].sqrt()[:, None]
            H.addmm_(part.T, part)  # (d, n_A) x (n_A, d)
        factor, failed = torch.linalg.cholesky_ex(H)
        extra = 1e-15 * float(H.diagonal().sum())
        while int(failed):  # indefinite by rounding alone
            H.diagonal().add_(extra)
            factor, failed = torch.linalg.cholesky_ex(H)
            extra *= 10
        return torch.cholesky_solve(gradient[:, None], factor)[:, 0]

    def _forward(self, W: Tensor) -> Tensor:
        """X w: (P, d) -> (P, N)."""
        f = W.new_empty((len(W), len(self.X)))
        for block, rows in self._blocks():
            f[:, block] = W @ rows.T
        return f

    def _back(self, v: Tensor) -> Tensor:
        """X^T v: (P, N) -> (P, d)."""
        result = v.new_zeros((len(v), self.X.shape[1] + 1))
        for block, rows in self._blocks():
            result.addmm_(v[:, block], rows)
        return result

    def _round(self, W: Tensor, weight: Tensor) -> Tensor:
        """X^T (weight X w) in one reading: (P, d) -> (P, d)."""
        result = torch.zeros_like(W)
        for block, rows in self._blocks():
            result.addmm_((W @ rows.T) * weight[:, block], rows)
        return result

    def _slices(self) -> Iterator[slice]:
        step = max(1, BLOCK_VALUES // (self.X.shape[1] + 1))
        for start in range(0, len(self.X), step):
            yield slice(start, min(start + step, len(self.X)))

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of X with the intercept's constant as the last column: (b, d) float64."""
        for block in self._slices():
            rows = torch.empty((block.stop - block.start, self.X.shape[1] + 1)).double()
            rows[:, :-1] = torch.from_numpy(np.array(self.X[block], np.float32))
            rows[:, -1] = self.scale
            yield block, rows.to(self.device)

    def _low_rank(self) -> tuple[Tensor, Tensor]:
        """The largest eigenvectors of X^T X (d, r) and its eigenvalues, from a sample of rows."""
        N, D = len(self.X), self.X.shape[1]
        at: NDArray[np.int64] = np.unique(np.linspace(0, N - 1, min(SAMPLE, N)).astype(np.int64))
        rows = torch.empty((len(at), D + 1), dtype=torch.float64)
        rows[:, :-1] = torch.from_numpy(np.array(self.X[at], np.float32))
        rows[:, -1] = self.scale
        generator = torch.Generator().manual_seed(0)
        rank = min(RANK, *rows.shape)
        guess = torch.randn((D + 1, rank), generator=generator, dtype=torch.float64)
        for _ in range(2):
            guess = torch.linalg.qr(rows.T @ (rows @ guess)).Q  # (d, r)
        _, values, vectors = torch.linalg.svd(rows @ guess, full_matrices=False)
        scaled = values.square() * (N / max(len(at), 1))
        return (guess @ vectors.T).to(self.device), scaled.to(self.device)


def _gap(W: Tensor, pull: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """The relative gap at the best multiple t of alpha, and the objective: (p,) each."""
    primal = 0.5 * W.square().sum(1) + loss
    scale = pull.square().sum(1) + 2 * loss
    t = torch.where(scale > 0, ((W * pull).sum(1) + 2 * loss) / scale, 1.0).clamp(min=0)
    distance = 0.5 * (W - t[:, None] * pull).square().sum(1) + (1 - t).square() * loss
    gap = torch.where(distance == 0, 0.0, distance / primal)
    return torch.where(gap.isfinite(), gap, torch.inf), primal


def _along(
    y: Tensor, c: Tensor, start: tuple[Tensor, Tensor], way: tuple[Tensor, Tensor]
) -> Tensor:
    """The step: 1, or less where that overshoots. W.way and way.way stand for beta's products."""
    (W, f), (d_W, d_f) = start, way
    return line_minimum(y, c, f, d_f, ((W * d_W).sum(1), d_W.square().sum(1)), 1.0)
