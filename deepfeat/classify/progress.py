"""How many problems are done: counted in several threads, and said if asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deepfeat.classify.parallel import Stopped
from deepfeat.classify.problems import Report

Tell = Callable[[int], None]  # how many problems have just been finished

INTERVAL = 2.0  # seconds


def progress(verbose: int, interval: float = INTERVAL) -> Report | None:
    """Prints how many problems are done, every two seconds at most; None if not asked to."""
    if not verbose:
        return None
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last >= interval:
            last = time.monotonic()
            print(f"{done:,} of {total:,} problems", flush=True)

    return report


def end_line(problems: int, worst_gap: float, seconds: float) -> str:
    """What was done, in one line."""
    return f"{problems:,} problems in {seconds:.1f} s, worst gap {worst_gap:.1e}"


class Tally:
    """Problems done, of all; ``add`` is called between any two steps, from any thread."""

    def __init__(self, total: int, report: Report | None):
        self._total, self._report = total, report
        self._done, self._is_stopped = 0, False
        self._lock = threading.Lock()

    def add(self, done: int) -> None:
        if self._is_stopped:
            raise Stopped
        if done and self._report is not None:
            with self._lock:
                self._done += done
                try:
                    self._report(self._done, self._total)
                except BaseException:
                    self.stop()
                    raise

    def step(self, done: int) -> None:
        """A step of a walk whose problems do not count."""
        self.add(0)

    def stop(self) -> None:
        self._is_stopped = True
