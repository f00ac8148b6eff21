"""What the estimators say while they work, if asked to."""

from __future__ import annotations

import time

from deepfeat.classify.problems import Report

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
