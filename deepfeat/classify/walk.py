"""The walk up the values of C: where it starts, how exact it is at each, and who waits for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from deepfeat.classify.problems import Solution

AIM, LEAST_AIM, AT_LEAST = 1e-5, 1e-12, 0.2  # of the gap asked for; see ``aim``
ROUGHLY = 1e-2  # the gap at values of C that nobody asked for
FIRST = 0.03  # C times the mean diagonal of K from which a cold start is cheap
STRIDE = 4.0  # from there upwards
FEW = 512  # rows up to which every problem is solved to the last digits: it costs little
POLISHED = 1e-16


def aim(gap: float) -> float:
    """The gap to stop at: far below the one asked for, while that costs little.

    Average precision moves with the root of the gap, and a pair of rows exchanged at the top of a
    rare class's ranking moves it by more than a gap of 1e-4 lets one expect. At 1e-9 none of 15,888
    moved by 5e-4, and the time is a third more than at 2e-5.
    """
    return min(AT_LEAST * gap, max(AIM * gap, LEAST_AIM))


def stops(wanted: Sequence[float], scale: float) -> list[float]:
    """The values of C to walk over: those wanted, and some below the first if it is large."""
    if not wanted or scale <= 0:
        return list(wanted)
    before = []
    C = FIRST / scale
    while wanted[0] / 2 > C:
        before.append(C)
        C *= STRIDE
    return before + list(wanted)


def in_order(Cs: Sequence[float], walk: Iterable[tuple[float, Solution]]) -> Iterator[Solution]:
    """Solutions in the order of ``Cs``, however the walk went: each is kept until asked for."""
    waiting: dict[float, Solution] = {}
    told = 0
    for C, solution in walk:
        waiting[C] = solution
        while told < len(Cs) and Cs[told] in waiting:
            value = Cs[told]
            told += 1
            yield waiting[value] if value in Cs[told:] else waiting.pop(value)


def keep_better(now: tuple[Tensor, ...], before: tuple[Tensor, ...], *, gap: int) -> None:
    """Of each problem what has the smaller gap, in place of ``now``; ``gap`` is its place."""
    worse = ~(now[gap] < before[gap])
    for one, other in zip(now, before, strict=True):
        one[worse] = other[worse]
