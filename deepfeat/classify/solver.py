"""Many squared-hinge SVMs over the rows of one matrix, solved together and certified.

K = X X^T + s^2 is made once. The problems walk up the values of C together, each starting from its
last solution; problems that leave out the same rows (a fold) walk over a smaller copy of K. Scores
of all rows, those left out among them, are K beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from deepfeat.classify.conjugate import LowRank, low_rank
from deepfeat.classify.gram import bytes_needed, make_gram, memory_of, pick_device
from deepfeat.classify.orthogonal import Orthogonal
from deepfeat.classify.posed import Posed
from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import (
    Report,
    Settings,
    Solution,
    check_loss,
    check_matrix,
    check_problems,
)
from deepfeat.classify.progress import Tally
from deepfeat.classify.team import Team, group_columns
from deepfeat.classify.walk import ROUGHLY, aim, in_order, stops

MOST_BYTES = 8 << 30  # for K: with more rows than that reading X is the quicker
DOUBT = 1e-3  # of the gap asked for: what K's rounding may hide without being looked at
FEW_ENTRIES = 1 << 23  # of X, up to which there is an orthogonal factor: 64 MB, four times
MOST_COLUMNS = 4096  # or rows, up to which a problem that K cannot solve is solved on w


class GramSolver:
    """Solves problems over the rows of X; made once for a matrix.

    Parameters
    ----------
    X : (N, D) float32
    settings : Settings

    Raises
    ------
    DataError
        X has NaN or infinity.
    UsageError
        A loss other than the squared hinge.
    """

    def __init__(self, X: NDArray[np.float32], settings: Settings):
        check_loss(settings)
        check_matrix(X)
        self.X = X
        self.settings = settings
        self.steps = 0  # Newton steps a problem, in the walk that took most
        self.device = pick_device(settings.device)
        constant = settings.intercept_scaling**2 if settings.fit_intercept else 0.0
        self.gram = make_gram(X, constant, self.device)
        self.low = LowRank(low_rank(lambda v: v @ self.gram.high, self.gram.high))

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
        problems = posed.y.shape[1]
        teams = [
            Team(self.gram, self.low, posed, which, rows)
            for which, rows in group_columns(posed.weights > 0)
        ]
        tally = Tally(len(Cs) * problems, report)
        for C in stops(Cs, self.gram.square * posed.heaviest) if posed.is_cold else Cs:
            is_wanted = C in Cs
            tolerance = aim(self.settings.gap) if is_wanted else ROUGHLY
            for team in teams:
                team.advance(C, tolerance, tally.add if is_wanted else tally.step, tally.stop)
                if len(teams) > 1:
                    team.fast = None  # never two copies of K at a time
            steps = sum(part.steps for team in teams for part in team.parts)
            self.steps = max(self.steps, -(-steps // max(problems, 1)), 1)
            if is_wanted:
                found = self._solution(teams, posed.y.shape, C, with_coef)
                yield C, self._mend(found, posed.y, posed.weights, C)

    def _mend(
        self, found: Solution, y: NDArray[np.int8], weights: NDArray[np.float64], C: float
    ) -> Solution:
        """Solve on w what K could not: C so large and classes so mixed that beta drowns f."""
        missed = np.flatnonzero(~found.met)
        if not len(missed) or min(self.X.shape) > MOST_COLUMNS:
            return found
        y, weights, basis = y[:, missed], weights[:, missed], None
        if self.X.size <= FEW_ENTRIES:
            other = self._orthogonal.solve(y, C * weights, aim(self.settings.gap))
        else:
            primal, basis = self._primal
            other = next(primal.path(y, weights, [C], with_coef=found.coef is not None))
        better = other.gap < found.gap[missed]
        at = missed[better]
        found.decision[:, at] = other.decision[:, better]
        if found.dual is not None and other.dual is not None:
            found.dual[:, at] = other.dual[:, better]
        if found.coef is not None and other.coef is not None:
            coef = other.coef[better]
            found.coef[at] = coef if basis is None else coef @ basis.T
        for name in ("intercept", "primal", "gap", "met"):
            getattr(found, name)[at] = getattr(other, name)[better]
        return found

    @cached_property
    def _orthogonal(self) -> Orthogonal:
        return Orthogonal(self.X, self.settings, self.device)

    @cached_property
    def _primal(self) -> tuple[PrimalSolver, NDArray[np.float64] | None]:
        """A solver on w; where columns are many, in an orthonormal basis (D, N) of the rows."""
        rows, columns = self.X.shape
        if columns <= max(rows, MOST_COLUMNS):
            return PrimalSolver(self.X, self.settings), None
        basis, inside = np.linalg.qr(self.X.T.astype(np.float64))
        return PrimalSolver(inside.T, self.settings), basis

    def _solution(
        self, teams: list[Team], shape: tuple[int, ...], C: float, with_coef: bool
    ) -> Solution:
        square, constant = self.gram.square, self.gram.constant
        decision, dual = np.empty(shape, np.float32), np.zeros(shape, np.float32)
        coef = np.empty((shape[1], self.X.shape[1])) if with_coef else None
        intercept, primal, gap = (np.empty(shape[1]) for _ in range(3))
        for team in teams:
            for part in team.parts:
                at = part.which
                f = team.decision(part)
                doubt = torch.nonzero(team.rounding(part) > DOUBT * self.settings.gap)[:, 0]
                if len(doubt):
                    f = f.clone()  # the walk goes on from its own
                    sure = team.by_rows(part, doubt, self.X, C)
                    part.gap[doubt], part.primal[doubt], f[doubt] = sure
                decision[:, at] = f.T.cpu().numpy()
                dual[np.ix_(team.at, at)] = (part.beta / square).T.cpu().numpy()
                intercept[at] = (constant / square * part.beta.sum(1)).cpu().numpy()
                primal[at] = (part.primal / square).cpu().numpy()
                gap[at] = part.gap.cpu().numpy()
                if coef is not None:
                    coef[at] = team.coef(part.beta, self.X) / square
        return Solution(decision, coef, intercept, primal, gap, gap <= self.settings.gap, dual)


def make_solver(
    X: NDArray[np.float32], settings: Settings, *, memory_bytes: int | None = None
) -> GramSolver | PrimalSolver:
    """The solver for this many rows: K if it fits, unless X has far more rows than columns.

    K may have ``memory_bytes``; if not given, half of the device's memory, and never more than lets
    29,000 rows in.
    """
    rows, columns = X.shape
    if rows > 8 * columns or columns < min(rows, 256):
        return PrimalSolver(X, settings)
    if memory_bytes is None:
        memory_bytes = min(MOST_BYTES, memory_of(pick_device(settings.device)) // 2)
    if bytes_needed(rows) > memory_bytes:
        return PrimalSolver(X, settings)
    return GramSolver(X, settings)
