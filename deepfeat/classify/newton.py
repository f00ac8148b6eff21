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

import torch
from torch import Tensor

from deepfeat.classify.certificate import feasible, relative_gap
from deepfeat.classify.line_search import NOWHERE, line_minimum
from deepfeat.classify.progress import Tell
from deepfeat.classify.side_by_side import solve_among
from deepfeat.classify.targets import (
    MOST_COST,
    Kernel,
    State,
    exact_targets,
    fast_targets,
    refresh,
)
from deepfeat.classify.working_set import LARGEST_SET, needed

MOST_STEPS = 80
STRICTER = 0.05  # after a certificate that failed
LEAST_PRICE = 4.0  # of a factor, in products, however few its rows
ROUGH = 4  # failures of float32, f made exact after each, before products are float64
GIVE_UP = 3  # exact steps that lead nowhere: rounding is all that is left
CHOLESKY_PRICE = 1.2  # products of 2 N^2 that a factor of n^3 / 3 is worth, all its work in it


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
    fits = among.sum(1) <= LARGEST_SET
    price = CHOLESKY_PRICE * size.double() ** 3 / (3 * rows**2) + LEAST_PRICE
    price = torch.where(fits, price, MOST_COST)
    by_factor = fits & ((rough[which] > 0) | state.prefers_factor[which])
    exactly = ~fits & (rough[which] >= ROUGH)
    at = torch.nonzero(by_factor)[:, 0]
    if len(at):
        stuck[which[at]] += solve_among(kernel, state, which[at], among[at], tolerance)
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
