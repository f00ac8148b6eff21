"""Many squared-hinge SVMs over the rows of one matrix, solved together and certified.

K = X X^T + s^2 is made once. The problems walk up the values of C together, each starting from its
last solution; problems that leave out the same rows (a fold) walk over a smaller copy of K. Scores
of all rows, those left out among them, are K beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.classify.conjugate import LowRank, low_rank
from deepfeat.classify.gram import (
    LARGEST_COPY,
    blocks_of,
    bytes_needed,
    make_gram,
    pick_device,
)
from deepfeat.classify.newton import advance, start
from deepfeat.classify.parallel import torch_threads
from deepfeat.classify.primal import PrimalSolver
from deepfeat.classify.problems import (
    Report,
    Settings,
    Solution,
    check_matrix,
    check_problems,
)
from deepfeat.classify.targets import Kernel, State
from deepfeat.classify.walk import FEW, POLISHED, ROUGHLY, aim, stops
from deepfeat.errors import UsageError

ENTRIES = 1 << 21  # of a block of problems: 16 MB for each of the arrays that a step needs
MOST_COLUMNS = 4096  # up to which a problem that K cannot solve is solved on w


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
        if settings.loss != "squared_hinge":
            raise UsageError(
                f"this solver has no loss '{settings.loss}'",
                expected="squared_hinge",
                advice="The solver 'liblinear' has the hinge.",
            )
        check_matrix(X)
        self.X = X
        self.settings = settings
        self.steps = 0  # Newton steps a problem, in the walk that took most
        self.device = pick_device(settings.device)
        constant = settings.intercept_scaling**2 if settings.fit_intercept else 0.0
        self._primal: PrimalSolver | None = None
        self.gram = make_gram(X, constant, self.device)
        self.low = LowRank(low_rank(lambda v: v @ self.gram.high, self.gram.high))

    def path(
        self,
        y: NDArray[np.int8],
        weights: NDArray[np.float64],
        Cs: Sequence[float],
        *,
        with_coef: bool = False,
        report: Report | None = None,
    ) -> Iterator[Solution]:
        """Solve P problems at each C, in the order of ``Cs``: see ``problems.Solver``."""
        check_problems(len(self.X), y, weights, Cs)
        groups = [
            Group(self, y, weights, part, rows)
            for which, rows in group_columns(weights > 0)
            for part in np.array_split(which, -(-len(which) * len(self.X) // ENTRIES))
        ]
        wanted = sorted(set(Cs))
        waiting: dict[float, Solution] = {}
        told = done = 0
        for C in stops(wanted, self.gram.square * float(weights.max(initial=0))):
            is_wanted = C in wanted
            tolerance = aim(self.settings.gap) if is_wanted else ROUGHLY
            for group in groups:
                group.advance(C * self.gram.square, tolerance)
            if is_wanted:
                found = self._solution(groups, y.shape[1], with_coef)
                waiting[C] = self._mend(found, y, weights, C)
                if report is not None:
                    done += y.shape[1]
                    report(done, len(wanted) * y.shape[1])
            taken = sum(group.state.counts["steps"] for group in groups)
            self.steps = max(self.steps, -(-taken // max(y.shape[1], 1)), 1)
            while told < len(Cs) and Cs[told] in waiting:
                C_told = Cs[told]
                told += 1
                yield waiting[C_told] if C_told in Cs[told:] else waiting.pop(C_told)

    def _mend(
        self, found: Solution, y: NDArray[np.int8], weights: NDArray[np.float64], C: float
    ) -> Solution:
        """Solve on w what K could not: C so large and classes so mixed that beta drowns f."""
        missed = np.flatnonzero(~found.met)
        rows, columns = self.X.shape
        if not len(missed) or columns > max(MOST_COLUMNS, rows):
            return found
        if self._primal is None:
            self._primal = PrimalSolver(self.X, self.settings)
        other = next(
            self._primal.path(
                y[:, missed], weights[:, missed], [C], with_coef=found.coef is not None
            )
        )
        better = other.gap < found.gap[missed]
        at = missed[better]
        found.decision[:, at] = other.decision[:, better]
        if found.coef is not None and other.coef is not None:
            found.coef[at] = other.coef[better]
        for name in ("intercept", "primal", "gap", "met"):
            getattr(found, name)[at] = getattr(other, name)[better]
        return found

    def _solution(self, groups: list[Group], problems: int, with_coef: bool) -> Solution:
        X, square = self.X, self.gram.square
        decision = np.empty((len(X), problems), np.float32)
        coef = np.empty((problems, X.shape[1])) if with_coef else None
        intercept, primal, gap = (np.empty(problems) for _ in range(3))
        for group in groups:
            at, state = group.which, group.state
            decision[:, at] = group.decision().T.cpu().numpy()
            intercept[at] = (self.gram.constant / square * state.beta.sum(1)).cpu().numpy()
            primal[at] = (state.primal / square).cpu().numpy()
            gap[at] = state.gap.cpu().numpy()
            if coef is not None:
                coef[at] = group.coef() / square
        return Solution(decision, coef, intercept, primal, gap, gap <= self.settings.gap)


class Group:
    """Problems that walk together, over some of the rows."""

    def __init__(
        self,
        solver: GramSolver,
        y: NDArray[np.int8],
        weights: NDArray[np.float64],
        which: NDArray[np.intp],
        rows: NDArray[np.intp] | None,
    ):
        device = solver.device
        cut = slice(None) if rows is None else rows
        c = torch.from_numpy(np.ascontiguousarray(weights[cut][:, which].T)).to(device)
        labels = torch.from_numpy(np.ascontiguousarray(y[cut][:, which].T)).to(device).double()
        labels = torch.where(c > 0, labels, 0.0)
        self.solver = solver
        self.which = which
        self.rows = None if rows is None else torch.from_numpy(rows).to(device)
        self.state: State = start(labels, c)
        self.state.prefers_factor |= solver.gram.rows <= FEW

    def advance(self, C: float, tolerance: float) -> None:
        with torch_threads(1) as threads:
            self._advance(C, tolerance, threads if self.state.y.device.type == "cpu" else 1)

    def _advance(self, C: float, tolerance: float, threads: int) -> None:
        gram = self.solver.gram
        kernel = Kernel(gram, self.rows, gram.fast(self.rows), self.solver.low, threads)
        state = self.state
        advance(kernel, state, C, tolerance)
        if gram.rows > FEW:
            return
        found = state.beta, state.f, state.gap.clone(), state.primal.clone()
        advance(kernel, state, C, POLISHED)
        worse = ~(state.gap < found[2])
        for now, before in zip((state.beta, state.f, state.gap, state.primal), found, strict=True):
            now[worse] = before[worse]

    def decision(self) -> Tensor:
        """f on all rows: (P, N) float64."""
        state, rows = self.state, self.rows
        if rows is None:
            return state.f
        gram = self.solver.gram
        result = state.f.new_empty((len(state.f), gram.rows))
        is_out = torch.ones(gram.rows, dtype=torch.bool, device=rows.device)
        is_out[rows] = False
        out = torch.nonzero(is_out)[:, 0]
        result[:, rows] = state.f
        result[:, out] = gram.product(state.beta, into=out, over=rows)
        return result

    def coef(self) -> NDArray[np.float64]:
        """X^T beta, float64, a block of rows at a time: (P, D)."""
        beta = self.state.beta.cpu().numpy()
        X, rows = self.solver.X, self.rows
        at = np.arange(len(X)) if rows is None else rows.cpu().numpy()
        result = np.zeros((len(beta), X.shape[1]))
        for part in blocks_of(X):
            result += beta[:, part] @ X[at[part]].astype(np.float64)
        return result


def group_columns(
    takes_part: NDArray[np.bool_],
) -> list[tuple[NDArray[np.intp], NDArray[np.intp] | None]]:
    """Problems that leave out nearly the same rows, and the rows each group needs.

    A copy of K must not exceed half of K: groups with more rows than that go over all rows, as one.
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


def make_solver(
    X: NDArray[np.float32], settings: Settings, *, memory_bytes: int = 8 << 30
) -> GramSolver | PrimalSolver:
    """The solver for this many rows: K if it fits, unless X has far more rows than columns."""
    rows, columns = X.shape
    if bytes_needed(rows) > memory_bytes or rows > 8 * columns or columns < min(rows, 256):
        return PrimalSolver(X, settings)
    return GramSolver(X, settings)
