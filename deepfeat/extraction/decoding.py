"""Images decoded and resized in other processes, in order, within bounds of memory and time.

A decoder is foreign code fed with foreign bytes: it may crash, hang or ask for all memory. So it
runs in worker processes (`process.py`, `worker.py`) that know no torch and start in a fraction of a
second. Each worker holds one image at a time; the queue stays here. Hence a worker that dies costs
its own image one try and nothing else. Results come in the order of the tasks, and no more than
``ahead`` of them exist.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from types import TracebackType

from deepfeat.errors import UsageError
from deepfeat.extraction.backlog import Backlog
from deepfeat.extraction.launch import PATIENCE_S
from deepfeat.extraction.prepare import Decoded, Settings, Task, prepare, prepare_file
from deepfeat.extraction.process import Worker
from deepfeat.extraction.stopping import Stopped

__all__ = ["Decoded", "Decoders", "Settings", "Task", "prepare", "prepare_file"]

AHEAD_BYTES = 1 << 28  # of pixels in results that nobody has taken yet
LOOK_S = 0.2  # between two looks whether to stop
# The worker searches modules where this process does; the folder it is started in never counts.
_START = (
    "import sys; ends = map(int, sys.argv[1:3]); sys.path[:] = sys.argv[3:]; "
    "from deepfeat.extraction.worker import main; main(*ends)"
)


class Decoders:
    """A pool of worker processes, open as long as its ``with`` block.

    It belongs to the process that made it: after a fork the child needs one of its own.

    Parameters
    ----------
    settings : Settings
    workers : int
        Processes, at least 1.
    ahead : int
        Most results that are waiting or being made, at least 1; more than ``workers`` keeps all
        of them busy. No image is begun while those that wait hold `AHEAD_BYTES`.
    """

    def __init__(self, settings: Settings, workers: int, ahead: int):
        if workers < 1 or ahead < 1:
            raise UsageError(
                "decoding needs at least one worker and one result",
                found=f"workers {workers}, ahead {ahead}",
            )
        self._ahead = ahead
        self._owner = os.getpid()
        self._workers = [Worker(settings, _START) for _ in range(workers)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._backlogs: list[Backlog] = []
        self._threads = ThreadPoolExecutor(workers, "decoding")  # one waits for each worker

    def __enter__(self) -> Decoders:
        for worker in self._workers:
            worker.start()  # all at once: they import while the caller goes on
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if os.getpid() != self._owner:
            return  # a copy made by fork: the workers are the other's
        self._threads.shutdown(wait=False, cancel_futures=True)  # nothing new is begun
        for backlog in self._backlogs:
            backlog.close()
        for worker in self._workers:
            worker.stop()  # a thread that waits for one sees the end of its output
        self._threads.shutdown(wait=True)
        stopped = []
        with contextlib.suppress(Empty):  # whoever holds one gives it back at once
            stopped = [self._idle.get(timeout=2 * PATIENCE_S) for _ in self._workers]
        for worker in stopped:
            worker.close()
            self._idle.put(worker)  # for a thread that still waits for one: it is told

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.pid for worker in self._workers if worker.pid]

    def map(
        self, tasks: Iterable[Task], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Decoded]:
        """Give one `Decoded` for each task, in their order; tasks are taken as they are needed.

        Raises
        ------
        Unavailable
            Where a worker process cannot be started at all.
        Stopped
            When ``should_stop`` says so while an image is waited for.
        """
        backlog = Backlog(AHEAD_BYTES)
        self._backlogs.append(backlog)
        waiting: deque[Future[Decoded]] = deque()

        def make(position: int, task: Task) -> Decoded:
            backlog.await_room(position)
            decoded = self.decode(task)
            backlog.add(_bytes_of(decoded))
            return decoded

        def take() -> Decoded:
            future = waiting.popleft()
            while not wait([future], LOOK_S).done:
                if should_stop():
                    raise Stopped
            decoded = future.result()
            backlog.take(_bytes_of(decoded))
            return decoded

        try:
            for position, task in enumerate(tasks):
                waiting.append(self._threads.submit(make, position, task))
                if len(waiting) >= self._ahead:
                    yield take()
            while waiting:
                yield take()
        finally:
            for future in waiting:
                future.cancel()
            backlog.close()
            self._backlogs.remove(backlog)

    def decode(self, task: Task) -> Decoded:
        """Prepare one image; safe to call from many threads at once, which wait for a worker.

        Raises
        ------
        Unavailable
            Where a worker process cannot be started at all.
        CancelledError
            Where the pool is closed, also while the image was in the making.
        UsageError
            In a process that was forked from the pool's.
        """
        if os.getpid() != self._owner:
            raise UsageError(
                "decoders belong to the process that made them",
                found=f"process {os.getpid()}, made in {self._owner}",
                advice="Make others after the fork.",
            )
        worker = self._idle.get()
        try:
            return worker.decode(task)
        finally:
            self._idle.put(worker)


def _bytes_of(decoded: Decoded) -> int:
    return sum(view.nbytes for view in decoded.views.values())
