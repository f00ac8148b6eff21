"""Which threads compute: torch's own in one large product, Python's where operations are short.

Waking a second thread takes longer than most operations of a step, so a step runs on one, its
products with K on all, and what can be done problem by problem in Python threads of one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """That many threads for torch inside; gives the number outside."""
    outside = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield outside
    finally:
        torch.set_num_threads(outside)


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> list[Result]:
    """The results in order.

    torch lets go of Python's lock while it computes. Threads made while its own number is 1 take
    that number over, hence a pool for each call.
    """
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    with torch_threads(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
