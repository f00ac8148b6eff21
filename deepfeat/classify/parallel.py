"""Which threads compute: torch's own in one large product, Python's where operations are short.

Waking a second thread takes longer than most operations of a step, so a step runs on one, its
products with K on all, and what can be done problem by problem in Python threads of one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """Another thread failed or was interrupted: what this one does is of no use."""


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
    function: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    stop: Callable[[], None] = lambda: None,
) -> list[Result]:
    """The results in order; ``stop`` is called after an error, Ctrl-C among them, if others run on.

    torch lets go of Python's lock while it computes. Threads made while its own number is 1 take
    that number over, hence a pool for each call.
    """
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    with torch_threads(1), ThreadPoolExecutor(threads) as pool:
        futures: list[Future[Result]] = []
        try:
            futures += [pool.submit(function, item) for item in items]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            if not any(one.exception() for one in done):
                return [one.result() for one in futures]
        except BaseException:  # Ctrl-C is heard here
            _end(pool, stop)
            raise
        _end(pool, stop)
    errors = [one.exception() for one in futures if not one.cancelled()]
    raise min(filter(None, errors), key=lambda error: isinstance(error, Stopped))


def _end(pool: ThreadPoolExecutor, stop: Callable[[], None]) -> None:
    stop()
    pool.shutdown(cancel_futures=True)
