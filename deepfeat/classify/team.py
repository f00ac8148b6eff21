"""Problems that leave out the same rows walk over one copy of K, in parts.

A part has so few columns that what a step needs is bounded. Between two values of C it keeps what a
warm start needs: beta, f, and the way they came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.certificate import relative_gap
from deepfeat.classify.conjugate import LowRank
from deepfeat.classify.gram import LARGEST_COPY, Gram, blocks_of
from deepfeat.classify.newton import advance, extrapolate, starting
from deepfeat.classify.parallel import in_parallel, torch_threads
from deepfeat.classify.posed import Posed
from deepfeat.classify.progress import Tell
from deepfeat.classify.targets import Kernel, State
from deepfeat.classify.walk import FEW, POLISHED, keep_better

ENTRIES = 1 << 21  # of all parts that walk at a time: 16 MB for each array that a step needs
BITS = 2.0**-48  # to which K is exact, for each of its entries
WIDE = 40  # columns from which a part does not wait for K to be read


@dataclass(slots=True)
class Part:
    """Columns that walk together, and where they stand: (P, n), (P,) on the device.

    Units are those in which K is about 1. ``way``: the last step in C of beta and f, float32.
    """

    which: NDArray[np.intp]
    beta: Tensor
    f: Tensor
    gap: Tensor
    primal: Tensor
    prefers_factor: Tensor
    way: tuple[Tensor, Tensor] | None = None
    steps: int = 0


class Team:
    """Problems over the same rows.

    Parameters
    ----------
    which : (P,) columns of ``posed``
    rows : (n,), or None for all
    """

    def __init__(
        self,
        gram: Gram,
        low: LowRank,
        posed: Posed,
        which: NDArray[np.intp],
        rows: NDArray[np.intp] | None,
    ):
        self.gram, self.low, self.posed = gram, low, posed
        self.device = gram.high.device
        self.at = np.arange(gram.rows) if rows is None else rows
        self.rows = None if rows is None else torch.from_numpy(rows).to(self.device)
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        # Where each thread can have a part, nothing waits for anything; else they share products.
        few = min(len(which) // WIDE, ENTRIES // (WIDE * max(len(self.at), 1)))
        self.side = max(min(threads, few), 1)
        turns = max(-(-len(which) * len(self.at) // ENTRIES), 1)
        count = min(turns * self.side, len(which))
        self.fast: Tensor | None = None  # K among the rows
        self.parts = [self._begin(some) for some in np.array_split(which, count)]

    def _begin(self, which: NDArray[np.intp]) -> Part:
        shape = (len(which), len(self.at))
        beta = torch.zeros(shape, dtype=torch.float64, device=self.device)
        f, gap = torch.zeros_like(beta), beta.new_full(shape[:1], torch.inf)
        dual = self.posed.start_of(which, self.device, self.at)
        if dual is not None:
            beta = self.gram.square * dual
            f = self.gram.product(beta, into=self.rows, over=self.rows)
        return Part(which, beta, f, gap, gap, torch.full_like(gap, self.gram.rows <= FEW).bool())

    def advance(self, C: float, tolerance: float, tell: Tell, stop: Callable[[], None]) -> None:
        """Bring every problem to its optimum at C, within the tolerance if that can be done."""
        if self.fast is None:
            self.fast = self.gram.fast(self.rows)
        with torch_threads(1) as threads:
            threads = max(threads // self.side, 1) if self.device.type == "cpu" else 1
            kernel = Kernel(self.gram, self.rows, self.fast, self.low, threads)

            def go(part: Part) -> None:
                self._advance(part, kernel, C * self.gram.square, tolerance, tell)

            in_parallel(go, self.parts, self.side, stop)

    def _advance(self, part: Part, kernel: Kernel, C: float, tolerance: float, tell: Tell) -> None:
        y, weights = self.posed.columns(part.which, self.device, self.at)
        state = starting(y, C * weights, part.beta, part.f, part.prefers_factor)
        extrapolate(state, part.way)
        advance(kernel, state, tolerance, tell)
        if self.gram.rows <= FEW:
            _polish(kernel, state)
        part.way = (state.beta - part.beta).float(), (state.f - part.f).float()
        part.beta, part.f, part.gap, part.primal = state.beta, state.f, state.gap, state.primal
        part.steps += state.steps

    def decision(self, part: Part) -> Tensor:
        """f on all rows: (P, N) float64."""
        if self.rows is None:
            return part.f
        result = part.f.new_empty((len(part.f), self.gram.rows))
        is_out = torch.ones(self.gram.rows, dtype=torch.bool, device=self.device)
        is_out[self.rows] = False
        out = torch.nonzero(is_out)[:, 0]
        result[:, self.rows] = part.f
        result[:, out] = self.gram.product(part.beta, into=out, over=self.rows)
        return result

    def coef(self, beta: Tensor, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """X^T beta, float64, a block of rows at a time: (p, n) -> (p, D)."""
        given = beta.cpu().numpy()
        result = np.zeros((len(given), X.shape[1]))
        for block in blocks_of(X[: len(self.at)]):
            result += given[:, block] @ X[self.at[block]].astype(np.float64)
        return result

    def rounding(self, part: Part) -> Tensor:
        """How much of each gap the 48 bits of K may hide at most: (P,) float64."""
        lengths = self.gram.high.diagonal().double().sqrt()
        lengths = lengths if self.rows is None else lengths[self.rows]
        hidden = BITS * (part.beta.abs() @ lengths).square() / part.primal
        return torch.where(part.primal > 0, hidden, 0.0)

    def by_rows(
        self, part: Part, which: Tensor, X: NDArray[np.float32], C: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gap, objective and f (p, N) of some problems from w = X^T beta, without K's rounding."""
        beta = part.beta[which]
        constant = self.gram.constant * beta.sum(1, keepdim=True)
        w = self.coef(beta, X)
        f = np.empty((len(w), len(X)))
        for block in blocks_of(X):
            f[:, block] = w @ X[block].astype(np.float64).T
        found = (torch.from_numpy(f).to(self.device) + constant) / self.gram.square
        y, weights = self.posed.columns(part.which[which.cpu().numpy()], self.device, self.at)
        own = found if self.rows is None else found[:, self.rows]
        gap, primal = relative_gap(y, C * self.gram.square * weights, beta, own)
        return gap, primal, found


def _polish(kernel: Kernel, state: State) -> None:
    """Go on to the last digits, and keep what is better."""
    found = tuple(one.clone() for one in (state.beta, state.f, state.gap, state.primal))
    advance(kernel, state, POLISHED)
    keep_better((state.beta, state.f, state.gap, state.primal), found, gap=2)


def group_columns(
    takes_part: NDArray[np.bool_],
) -> list[tuple[NDArray[np.intp], NDArray[np.intp] | None]]:
    """Problems that leave out nearly the same rows, and the rows each group needs.

    A copy of K must not exceed half of K: problems with more rows than that go over all rows.
    """
    rows, problems = takes_part.shape
    most = LARGEST_COPY * rows
    unions: list[NDArray[np.bool_]] = []
    members: list[list[int]] = []
    whole: list[int] = []
    for column in range(problems):
        mask = takes_part[:, column]
        if mask.sum() > most:
            whole.append(column)
            continue
        for i, union in enumerate(unions):
            together = union | mask
            if together.sum() <= min(most, 1.1 * mask.sum()):
                unions[i] = together
                members[i].append(column)
                break
        else:
            unions.append(mask.copy())
            members.append([column])
    groups: list[tuple[NDArray[np.intp], NDArray[np.intp] | None]] = [
        (np.array(some), np.flatnonzero(union)) for some, union in zip(members, unions, strict=True)
    ]
    if whole:
        groups.append((np.array(whole), None))
    return groups
