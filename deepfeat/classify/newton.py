"""Newton's method for many problems at once, walking up the values of C.

With the active rows A = {i : c_i > 0, y_i f_i < 1} held fixed, the optimum solves

    (K_AA + diag(1 / 2c_A)) beta_A = y_A,    beta = 0 elsewhere

A step solves that system, then minimises the objective exactly along the line to the solution: the
way towards it always descends, so no set of active rows can cycle. At small C conjugate gradients
in float32 take such a step for all problems together; at large C, where few rows are active, each
problem goes to the optimum of its working set alone, in float64 (working_set.py), which is the
cheaper the larger C is, and the only sound way for the largest.
A problem is finished when its certificate, taken in float64 at a feasible beta, says so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from deepfeat.classify.certificate import feasible, relative_gap
from deepfeat.classify.factors import Corner
from deepfeat.classify.line_search import NOWHERE, line_minimum
from deepfeat.classify.parallel import in_parallel, torch_threads
from deepfeat.classify.progress import Tell
from deepfeat.classify.targets import (
    MOST_COST,
    Kernel,
    State,
    exact_targets,
    fast_targets,
    refresh,
)
from deepfeat.classify.working_set import LARGEST_SET, needed, optima, with_near

MOST_STEPS = 80
STRICTER = 0.05  # after a certificate that failed
LEAST_PRICE = 4.0  # of a factor, in products, however few its rows
ROUGH = 4  # failures of float32, f made exact after each, before products are float64
GIVE_UP = 3  # exact steps that lead nowhere: rounding is all that is left
CHOLESKY_PRICE = 1.2  # products of 2 N^2 that a factor of n^3 / 3 is worth, all its work in it
SMALL_SET = 200  # rows, on average, below which threads would wait for each other in Python
SIDE_BY_SIDE = 1 << 22  # entries of K among working sets: 32 MB
ALIKE = 0.7  # of the largest: what is no smaller shares its tensor
ALONE = 300  # rows from which a problem has a tensor of its own
AMONG = 0.3  # of the tolerance: what the working set may leave of it


def starting(y: Tensor, c: Tensor, beta: Tensor, f: Tensor, prefers_factor: Tensor) -> State:
    """Problems at beta, f = K beta; all (P, n), or (P,) bool."""
    infinite = torch.full((len(y),), torch.inf, dtype=torch.float64, device=y.device)
    exact = torch.ones_like(prefers_factor)
    working = torch.zeros_like(y, dtype=torch.bool)
    return State(y, c, beta, f, infinite, infinite.clone(), exact, prefers_factor, working)


def advance(kernel: Kernel, state: State, tolerance: float, tell: Tell = lambda done: None) -> None:
    """Bring every problem to the optimum, within the tolerance if it can be done.

    ``state.gap`` and ``state.primal`` are of ``state.beta``, which is feasible. ``tell`` hears
    after each step how many problems have been finished by it.
    """
    state.gap.fill_(torch.inf)
    state.working.fill_(False)
    strictness = torch.ones_like(state.gap)
    left = torch.arange(len(state.y), device=state.y.device)
    rough, stuck = torch.zeros_like(left), torch.zeros_like(left)  # how often float32 failed, all
    for _ in range(MOST_STEPS):
        before = len(left)
        left = left[~_certify(kernel, state, left, tolerance, strictness)]
        hopeless = stuck[left] >= GIVE_UP
        _certify(kernel, state, left[hopeless], torch.inf, strictness)
        left = left[~hopeless]
        tell(before - len(left))
        if not len(left):
            return
        rough += strictness < STRICTER  # from the second failed certificate on
        _step(kernel, state, left, tolerance * strictness, rough, stuck)
    _certify(kernel, state, left, torch.inf, strictness)
    tell(len(left))


def extrapolate(state: State, way: tuple[Tensor, Tensor] | None) -> None:
    """Go on from another value of C: along beta itself, then as beta and f have gone so far."""
    ways = [(state.beta, state.f)]
    if way is not None:
        ways.append((way[0].double(), way[1].double()))
    for d_beta, d_f in ways:
        norms = ((state.beta * d_f).sum(1), (d_beta * d_f).sum(1))
        t = line_minimum(state.y, state.c, state.f, d_f, norms, 4.0)[:, None]
        state.beta, state.f = state.beta + t * d_beta, state.f + t * d_f
    state.is_exact.fill_(way is None)  # float32 has no more digits


def _certify(
    kernel: Kernel,
    state: State,
    which: Tensor,
    tolerance: float,
    strictness: Tensor,
) -> Tensor:
    """Whether problems are within the tolerance: (p,) bool. Those take their feasible beta.

    The gap is first estimated with f as it stands; only promising problems pay a product.
    """
    y, c = state.y[which], state.c[which]
    beta = feasible(y, state.beta[which])
    gap, primal = relative_gap(y, c, beta, state.f[which])
    is_met = gap <= tolerance
    is_own = state.is_exact[which] & (beta == state.beta[which]).all(1)
    check = torch.nonzero(is_met & ~is_own)[:, 0]
    if len(check):
        f = kernel.product(beta[check])
        gap[check], exact_primal = relative_gap(y[check], c[check], beta[check], f)
        is_met[check] = gap[check] <= tolerance
        failed = ~is_met[check]
        strictness[which[check[failed]]] *= STRICTER
        # Where f was rough, go on from the exact pair. Where it was not, that must be the better
        # one: else clipping undoes the step, the step is repeated, and so on for ever.
        at = which[check]
        slack = (1 - y[check] * state.f[at]).clamp_(min=0)
        own = 0.5 * (state.beta[at] * state.f[at]).sum(1) + (c[check] * slack.square_()).sum(1)
        allowed = torch.where(state.is_exact[at], own, own * (1 + 1e-3))
        keep = is_met[check] | (exact_primal <= allowed)
        at = at[keep]
        state.beta[at], state.f[at], state.is_exact[at] = beta[check[keep]], f[keep], True
        primal[check] = exact_primal
    done = which[is_met]
    state.gap[done], state.primal[done] = gap[is_met], primal[is_met]
    return is_met


def _step(
    kernel: Kernel,
    state: State,
    which: Tensor,
    tolerance: Tensor,
    rough: Tensor,
    stuck: Tensor,
) -> None:
    """Bring some problems nearer: each by the method that is sound and cheap for it."""
    y, c = state.y[which], state.c[which]
    f = state.f[which]
    among = state.working[which] | needed(y, c, state.beta[which], f)
    size = ((c > 0) & (y * f < 1)).sum(1)  # of the factor
    rows = y.shape[1]
    fits = among.sum(1) < LARGEST_SET
    price = CHOLESKY_PRICE * size.double() ** 3 / (3 * rows**2) + LEAST_PRICE
    price = torch.where(fits, price, MOST_COST)
    by_factor = fits & ((rough[which] > 0) | state.prefers_factor[which])
    exactly = ~fits & (rough[which] >= ROUGH)
    at = torch.nonzero(by_factor)[:, 0]
    if len(at):
        _solve_among(kernel, state, which[at], among[at], tolerance, stuck)
    for chosen, solve, is_exact in (
        (~by_factor & ~exactly, fast_targets, False),
        (exactly, exact_targets, True),
    ):
        at = torch.nonzero(chosen)[:, 0]
        if not len(at):
            continue
        here = which[at]
        state.steps += len(at)
        refresh(kernel, state, here[rough[here] > 0])
        f = state.f[here]
        active = (c[at] > 0) & (y[at] * f < 1)
        beta, f_beta, too_dear = solve(kernel, state, here, active, tolerance[here], price[at])
        way = (beta - state.beta[here], f_beta - f)
        norms = ((state.beta[here] * way[1]).sum(1), (way[0] * way[1]).sum(1))
        t = line_minimum(y[at], c[at], f, way[1], norms, 1.0)
        if is_exact:  # where w cannot move, beta may have to all the same
            gap, _ = relative_gap(y[at], c[at], feasible(y[at], state.beta[here]), f)
            gap_there, _ = relative_gap(y[at], c[at], feasible(y[at], beta), f_beta)
            t[(t < NOWHERE) & (gap_there < gap)] = 1
        whole = (t == 1)[:, None]
        state.beta[here] = torch.where(whole, beta, state.beta[here] + t[:, None] * way[0])
        state.f[here] = torch.where(whole, f_beta, f + t[:, None] * way[1])
        stuck[here] += is_exact & (t < NOWHERE)
        rough[here] += t < 1e-3
        state.prefers_factor[here] |= too_dear


def _solve_among(
    kernel: Kernel,
    state: State,
    which: Tensor,
    among: Tensor,
    tolerance: Tensor,
    stuck: Tensor,
) -> None:
    """Take some problems to the optimum of their working sets, f on all rows with it.

    ``among`` : their working sets so far, and the rows that were missing.
    """
    is_same = (among == state.working[which]).all(1)
    stuck[which] += is_same
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


def _threads(sizes: Tensor, available: int) -> tuple[int, int]:
    """How many batches go at a time, and torch's threads in each.

    Small sets would wait for each other in Python; of large ones few may be open at a time.
    """
    if float(sizes.double().mean()) < SMALL_SET:
        return 1, 1
    side = min(available, 2 * LARGEST_SET**2 // int(sizes.max()) ** 2)
    return (side, 1) if side > 1 else (1, available)


def _batches(sizes: Tensor, threads: int) -> list[Tensor]:
    """Which problems go side by side, the largest first: enough to keep every thread at work.

    K of all batches that are open at a time has no more entries than ``SIDE_BY_SIDE``, or two
    problems of the largest size.
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
