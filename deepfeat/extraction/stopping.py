"""Ctrl-C and TERM: the first stops the run at the next safe place, the second at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from deepfeat.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOT_OURS = (signal.SIG_IGN, None)  # whoever started us ignores it; somebody's handler in C


class Stopped(Exception):
    """Whoever was asked to stop has stopped; what is unfinished is dropped."""


@dataclass(slots=True)
class Stop:
    """``signal`` is the number of the first signal that came, 0 while there was none."""

    signal: int = 0

    def __call__(self) -> bool:
        return self.signal != 0

    def check(self) -> None:
        """Raises ``Interrupted`` where a signal came: for a wait before anything was begun."""
        if self.signal:
            raise Interrupted(
                "interrupted while it waited for another process: nothing was changed",
                exit_status=128 + self.signal,
            )


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Catch signals as long as the block runs; in another thread than the main one, nothing.

    A signal that is ignored when the block begins stays ignored, as of a job in the background.

    Raises
    ------
    Interrupted
        At a second signal, at once. After the block, if a signal came and nobody in it stopped for
        it: what was being finished is finished, but a caller's loop must not go on.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.signal:
            raise Interrupted("stopped at once", exit_status=128 + number)
        stop.signal = number

    handlers: dict[signal.Signals, Any] = {
        number: handle for number in SIGNALS if signal.getsignal(number) not in NOT_OURS
    }
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # or nobody learns how a worker ended
        handlers[signal.SIGCHLD] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.signal:
        raise Interrupted(
            "interrupted while the last of it was written: it is whole",
            exit_status=128 + stop.signal,
        )
