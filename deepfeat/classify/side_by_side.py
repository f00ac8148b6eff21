"""Many working sets at a time: which share a tensor, which a thread, and how many are open.

A small set takes less time to solve than to ask for, so sets of about the same size are solved as
one tensor. Large ones go problem by problem, in a thread each, as memory allows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from deepfeat.classify.factors import Corner
from deepfeat.classify.parallel import in_parallel, torch_threads
from deepfeat.classify.targets import Kernel, State
from deepfeat.classify.working_set import optima, with_near

SMALL_SET = 200  # rows, on average, below which threads would wait for each other in Python
SIDE_BY_SIDE = 1 << 22  # entries of K among working sets: 32 MB
MOST_OPEN = 15 << 20  # of large ones: 120 MB, and twice that where float32 fails
ALIKE = 0.7  # of the largest: what is no smaller shares its tensor
ALONE = 300  # rows from which a problem has a tensor of its own
AMONG = 0.3  # of the tolerance: what the working set may leave of it


def solve_among(
    kernel: Kernel, state: State, which: Tensor, among: Tensor, tolerance: Tensor
) -> Tensor:
    """Take some problems to the optimum of their working sets, f on all rows with it.

    Parameters
    ----------
    which : (p,)
    among : (p, n) bool
        Their working sets so far, and the rows that were missing.
    tolerance : (p,) float64

    Returns
    -------
    is_same : (p,) bool
        Where nothing was missing, so that this leads nowhere.
    """
    is_same = (among == state.working[which]).all(1)
    wider = with_near(among, state.y[which], state.c[which], state.f[which])
    among = state.working[which] = torch.where(is_same[:, None], among, wider)
    beta = torch.zeros_like(state.beta[which])

    def go(part: Tensor) -> int:
        rows = [torch.nonzero(one)[:, 0] for one in among[part]]
        index = pad_sequence(rows, batch_first=True)
        is_row = pad_sequence([torch.ones_like(one) for one in rows], batch_first=True)
        here = which[part]
        found, steps = optima(
            [
                Corner(kernel.corner(index[same, : len(rows[same.start])]))
                for same in alike(sizes[part])
            ],
            state.y[here].gather(1, index) * is_row,
            state.c[here].gather(1, index) * is_row,
            state.beta[here].gather(1, index) * is_row,
            AMONG * tolerance[part],
        )
        beta[part] = beta[part].scatter_add(1, index, found)
        return steps

    sizes = among.sum(1)
    side, each = _threads(sizes, kernel.threads)
    with torch_threads(each):
        state.steps += sum(in_parallel(go, _batches(sizes, side), side))
    state.beta[which], state.f[which] = beta, kernel.product(beta)
    state.is_exact[which] = True
    return is_same


def _threads(sizes: Tensor, available: int) -> tuple[int, int]:
    """How many batches go at a time, and torch's threads in each.

    Small sets would wait for each other in Python; of large ones few may be open at a time.
    """
    if float(sizes.double().mean()) < SMALL_SET:
        return 1, 1
    side = min(available, MOST_OPEN // int(sizes.max()) ** 2)
    return (side, 1) if side > 1 else (1, available)


def _batches(sizes: Tensor, threads: int) -> list[Tensor]:
    """Which problems go side by side, the largest first: enough to keep every thread at work.

    K of all batches that are open at a time has no more entries than ``SIDE_BY_SIDE``, or is of one
    problem in each thread, and ``_threads`` says how many there may be.
    """
    order = sizes.argsort(descending=True, stable=True)
    entries = [
        int(sizes[order[same.start]]) ** 2
        for same in alike(sizes[order])
        for _ in range(same.start, same.stop)
    ]
    most = min(SIDE_BY_SIDE, sum(entries)) / threads
    batches: list[list[int]] = [[]]
    used = 0
    for problem, more in zip(order.tolist(), entries, strict=True):
        if used + more > most and batches[-1]:
            batches.append([])
            used = 0
        batches[-1].append(problem)
        used += more
    return [torch.tensor(batch, device=sizes.device) for batch in batches]


def alike(sizes: Tensor) -> list[slice]:
    """Runs of problems of about the same size; they come the largest first."""
    runs: list[slice] = []
    largest = math.inf
    for problem, size in enumerate(sizes.tolist()):
        if size < ALIKE * largest or size > ALONE:
            runs.append(slice(problem, problem))
            largest = size
        runs[-1] = slice(runs[-1].start, problem + 1)
    return runs
