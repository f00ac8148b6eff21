"""Many linear systems (I + H_p K H_p) z_p = r_p at once, by conjugate gradients.

One product of K with all the unfinished problems is one iteration. The squared residual is twice
the duality gap of the problem, so the gap itself says when to stop (docs/svm.md).

The preconditioner takes K for low-rank, K ~ B B^T with B (N, r) from a random subspace; then

    (I + V V^T)^-1 = I - V (I + V^T V)^-1 V^T,    V = H B

and V^T V for every problem comes from one product of h^2 with the table of products of B's columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepfeat.classify.factors import by_factor

Multiply = Callable[[Tensor], Tensor]  # (P, n) -> (P, n): times K

RANK = 64
READING = 13.0  # products that reading K once is worth: narrow batches wait for the memory
FINISHED = 1 / 8  # of the problems: the batch is packed anew


def low_rank(multiply: Multiply, like: Tensor, rank: int = RANK) -> Tensor:
    """B (n, r) with B B^T close to K: a random subspace and one power step.

    ``like`` : (n, n), gives size, dtype and device.
    """
    generator = torch.Generator().manual_seed(0)
    rank = min(rank, len(like))
    start = torch.randn((rank, len(like)), generator=generator, dtype=torch.float64)
    basis = _orthonormal(multiply(start.to(like)))
    basis = _orthonormal(multiply(basis))
    image = multiply(basis)  # (r, n)
    values, vectors = torch.linalg.eigh(image.double() @ basis.double().T)
    values = values.clamp(min=0).sqrt()
    scaled: Tensor = basis.double().T @ vectors * values
    return scaled.to(like)  # (n, r)


def _orthonormal(rows: Tensor) -> Tensor:
    basis: Tensor = torch.linalg.qr(rows.double().T).Q
    return basis.T.to(rows)


class LowRank:
    """K ~ B B^T over all rows, with the table from which every V^T V is one product.

    ``B`` (N, r), ``table`` (N, r(r + 1)/2): the products of B's columns.
    """

    def __init__(self, B: Tensor):
        self.B = B
        self.row, self.column = torch.tril_indices(B.shape[1], B.shape[1], device=B.device)
        self.table = B.new_empty((len(B), len(self.row)))
        for start in range(0, len(B), 256):
            block = B[start : start + 256]
            self.table[start : start + 256] = block[:, self.row] * block[:, self.column]

    def squares(self, h: Tensor, rows: Tensor | None) -> Tensor:
        """I + B^T H^2 B for each problem: (P, n) -> (P, r, r)."""
        everywhere = h.square()
        if rows is not None:  # rows left out weigh nothing: cheaper than a copy of the table
            everywhere = h.new_zeros((len(h), len(self.B))).index_copy_(1, rows, everywhere)
        half = (everywhere.to(self.table) @ self.table).to(h)  # (P, N) x (N, r(r+1)/2)
        rank = self.B.shape[1]
        inner = h.new_empty((len(h), rank, rank))
        inner[:, self.row, self.column] = half
        inner[:, self.column, self.row] = half
        inner.diagonal(dim1=1, dim2=2).add_(1)
        return inner


class Preconditioner:
    """Applies (I + H B B^T H)^-1 to one vector of each problem, h (P, n)."""

    def __init__(self, low: LowRank, h: Tensor, rows: Tensor | None):
        factor, failed = torch.linalg.cholesky_ex(low.squares(h, rows))
        factor[failed > 0] = torch.eye(low.B.shape[1]).to(factor) * 1e18  # none there
        self.B = (low.B if rows is None else low.B[rows]).to(h)
        self.h, self.factor = h, factor

    def keep(self, which: Tensor) -> None:
        """Forget the other problems."""
        self.h, self.factor = self.h[which], self.factor[which]

    def __call__(self, r: Tensor) -> Tensor:
        part = (self.h * r) @ self.B  # (P, n) -> (P, r)
        part = by_factor(self.factor, part[:, :, None])[:, :, 0]
        return r - self.h * (part @ self.B.T)


def conjugate_gradients(
    multiply: Multiply,
    h: Tensor,
    r: Tensor,
    enough: Tensor,
    most: Tensor,
    precondition: Preconditioner | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve (I + H K H) z = r, from 0.

    Parameters
    ----------
    h, r : (P, n)
    enough : (P,)
        |r|^2 at which a problem is done.
    most : (P,)
        What its products may cost: of a batch of p problems, 1 + READING / p each.

    Returns
    -------
    step, image : (P, n)
        h z, and K times it on all n rows.
    cost : (P,) float64
        Of its products, in the unit of ``most``.
    """
    step, image = torch.zeros_like(r), torch.zeros_like(r)
    cost = torch.zeros(len(r), dtype=torch.float64, device=r.device)
    live = torch.arange(len(r), device=r.device)
    z, Kz = torch.zeros_like(r), torch.zeros_like(r)
    r = r.clone()
    s = r if precondition is None else precondition(r)
    p, rs = s.clone(), (r * s).sum(1)
    price = 0.0
    is_open = (r.square().sum(1) > enough) & (most > 0) & (rs > 0)
    while True:
        if float((~is_open).sum()) >= FINISHED * len(live):
            done = ~is_open
            step[live[done]], image[live[done]] = h[done] * z[done], Kz[done]
            if not bool(is_open.any()):
                return step, image, cost
            keep = torch.nonzero(is_open)[:, 0]
            live, h, z, Kz, r, p = (a[keep] for a in (live, h, z, Kz, r, p))
            rs, enough, most = (a[keep] for a in (rs, enough, most))
            is_open = is_open[keep]
            if precondition is not None:
                precondition.keep(keep)
        q = h * p
        Kq = multiply(q)
        price += 1 + READING / len(live)
        cost[live[is_open]] = price
        curvature = (p * p).sum(1) + (q * Kq).sum(1)
        a = torch.where(is_open & (curvature > 0), rs / curvature, 0.0)[:, None]
        z.addcmul_(a, p)
        Kz.addcmul_(a, Kq)
        r.addcmul_(a, p + h * Kq, value=-1)
        s = r if precondition is None else precondition(r)
        before, rs = rs, (r * s).sum(1)
        p = s + (rs / before.clamp(min=1e-38))[:, None] * p
        is_open = is_open & (r.square().sum(1) > enough) & (most > price)
        is_open &= (curvature > 0) & (rs > 0) & rs.isfinite()
