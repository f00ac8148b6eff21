"""Images decoded and resized in other processes, in order, within bounds of memory and time.

A decoder is foreign code fed with foreign bytes: it may crash, hang or ask for all memory. So it
runs in worker processes (`worker.py`) that know no torch and start in a fraction of a second. Each
worker holds one image at a time; the queue stays here. Hence a worker that dies costs its own image
and nothing else. Results come in the order of the tasks, and no more than ``ahead`` of them exist.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import Unavailable, UsageError
from deepfeat.extraction.prepare import Decoded, Settings, Task, prepare, prepare_file
from deepfeat.extraction.worker import (
    LENGTHS,
    Header,
    decoded_of,
    settings_header,
    write_message,
)
from deepfeat.status import Note, Status

__all__ = ["Decoded", "Decoders", "Settings", "Task", "prepare", "prepare_file"]

START_S = 60.0
PIPE_BYTES = 1 << 20  # an image a write; Linux starts with 64 KiB
NO_HASH = bytes(32)
# The worker searches modules where this process does; the folder it is started in never counts.
_START = (
    "import sys; sys.path[:] = sys.argv[1:]; from deepfeat.extraction.worker import main; main()"
)
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Decoders:
    """A pool of worker processes, open as long as its ``with`` block.

    Parameters
    ----------
    settings : Settings
    workers : int
        Processes, at least 1.
    ahead : int
        Most results that are waiting or being made, at least 1; more than ``workers`` keeps all
        of them busy.
    """

    def __init__(self, settings: Settings, workers: int, ahead: int):
        if workers < 1 or ahead < 1:
            raise UsageError(
                "decoding needs at least one worker and one result",
                found=f"workers {workers}, ahead {ahead}",
            )
        self._ahead = ahead
        self._owner = os.getpid()
        self._workers = [_Worker(settings) for _ in range(workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
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
        for worker in self._workers:
            worker.stop()  # a thread that waits for one sees the end of its output
        self._threads.shutdown(wait=True)
        for worker in self._workers:
            worker.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.pid for worker in self._workers if worker.pid]

    def map(self, tasks: Iterable[Task]) -> Iterator[Decoded]:
        """Give one `Decoded` for each task, in their order; tasks are taken as they are needed.

        Raises
        ------
        Unavailable
            Where a worker process cannot be started at all.
        """
        waiting: deque[Future[Decoded]] = deque()
        try:
            for task in tasks:
                waiting.append(self._threads.submit(self.decode, task))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def decode(self, task: Task) -> Decoded:
        """Prepare one image in a worker that has nothing to do; safe between threads."""
        worker = self._idle.get()
        try:
            return worker.decode(task)
        finally:
            self._idle.put(worker)


class _Ended(Exception):
    """The worker went away, or exceeded its time, in the middle of a message."""


class _Worker:
    """One worker process at a time, started anew after each death."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._is_stopped = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process without waiting for it; its own session keeps Ctrl-C away from it."""
        self._is_ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
        _widen(self._process.stdout)
        if self._is_stopped:  # stopped by another thread while the process was being made
            self._process.kill()
        with contextlib.suppress(_Ended):  # died at once: the first task finds out why
            self._send(settings_header(self._settings), b"")

    def decode(self, task: Task) -> Decoded:
        """Prepare one image; a worker that dies or takes too long is a status."""
        if self._process and self._process.poll() is not None:
            self._kill()  # it died while it had nothing to do, which costs no image
        if self._process is None:
            self.start()
        if not self._is_ready:
            self._await_ready()
        started = time.monotonic()
        deadline = started + self._settings.timeout_s
        try:
            self._send({"size": task.size, "mtime_ns": task.mtime_ns}, os.fsencode(task.path))
            header, body = self._receive(deadline)
        except _Ended as ended:
            code = self._kill()
            seconds = time.monotonic() - started
            detail = str(ended) or f"the decoder died{_by_signal(code)}"
            return Decoded(
                Status.DECODER_FAILED, Note.NONE, detail, -1, NO_HASH, (0, 0), {}, seconds
            )
        return decoded_of(header, body)

    def stop(self) -> None:
        """Kill the process. Safe while another thread is waiting for it, which then returns."""
        self._is_stopped = True
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """Kill the process and let go of its pipes."""
        if self._process:
            self._kill()

    def _await_ready(self) -> None:
        try:
            self._receive(time.monotonic() + START_S)
        except _Ended as ended:
            process = self._process
            words = b""
            if process and not str(ended):
                words = process.stderr.read() if process.stderr else b""
            code = self._kill()
            last = words.decode(errors="replace").strip().splitlines()[-1:] or [str(ended)]
            raise Unavailable(
                "a decoding worker did not start",
                found=last[0] or f"it ended{_by_signal(code)}",
                advice=f"Try: {sys.executable} -m deepfeat.extraction.worker </dev/null",
            ) from None
        self._is_ready = True

    def _send(self, header: Header, body: bytes) -> None:
        assert self._process and self._process.stdin
        try:
            write_message(self._process.stdin, header, body)
        except (OSError, ValueError):  # the pipe is broken, or closed
            raise _Ended from None

    def _receive(self, deadline: float) -> tuple[Header, NDArray[np.uint8]]:
        header_length, body_length = LENGTHS.unpack(self._read(LENGTHS.size, deadline).tobytes())
        header = json.loads(self._read(header_length, deadline).tobytes())
        return header, self._read(body_length, deadline)

    def _read(self, length: int, deadline: float) -> NDArray[np.uint8]:
        """Read exactly ``length`` bytes into new memory before the deadline."""
        assert self._process and self._process.stdout
        descriptor = self._process.stdout.fileno()
        buffer = np.empty(length, np.uint8)
        rest = buffer.data
        poll = select.poll()  # unlike select, it takes descriptors above 1023
        poll.register(descriptor, select.POLLIN)
        while len(rest):
            if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
                raise _Ended(f"the decoder exceeded {self._settings.timeout_s:g} s")
            count = os.readv(descriptor, [rest])
            if not count:
                raise _Ended
            rest = rest[count:]
        return buffer

    def _kill(self) -> int:
        """End the process and return how it ended."""
        assert self._process
        self._process.kill()
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with contextlib.suppress(OSError):  # what was left to send has nobody to go to
                    stream.close()
        self._process = None
        return code


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more, where the system can and may: fewer changes between processes."""
    if pipe and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a user's pipes together are limited
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _by_signal(code: int) -> str:
    return f" of {signal.Signals(-code).name}" if code < 0 else f" with exit status {code}"
