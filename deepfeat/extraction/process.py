"""One worker process at a time, seen from the run: asked, waited for, and started anew.

Three things decide what becomes of an image, and none of them is a clock on the wall. Its worker
may use ``timeout_s`` of processor time and ends itself beyond it: that is the image's doing, and
final. A worker that dies may have been killed by somebody else, and one that neither answers nor
computes may have been stopped, or wait for a disk: such an image is tried again in a fresh process,
`TRIES` times in all. Waiting is counted in looks that found nothing, `SLICE_S` each, so that a run
that slept for an hour, its workers with it or not, has waited for one look more.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from concurrent.futures import CancelledError

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import Unavailable
from deepfeat.extraction.launch import Running, ended_by, launch
from deepfeat.extraction.prepare import Decoded, Settings, Task
from deepfeat.extraction.worker import (
    LENGTHS,
    LONGEST_HEADER,
    Header,
    address_space,
    decoded_of,
    settings_header,
    write_message,
)
from deepfeat.machine import processor_ticks
from deepfeat.status import Note, Status

TRIES = 3  # of an image whose worker was lost
START_TRIES = 5
START_S = 60.0
START_PAUSE_S = 0.1  # doubled from try to try: a machine without processes to give may have some
SLICE_S = 0.25
SHORTEST_SILENCE_S = 2.0  # on a busy machine a worker may not have its turn for a moment
NO_HASH = bytes(32)
NONSENSE = "the decoder's answer made no sense"


class _Lost(Exception):
    """The worker died, fell silent or answered nonsense; ``code`` is how it ended."""

    def __init__(self, detail: str = "", code: int = 0):
        super().__init__(detail)
        self.code = code


class Worker:
    """A worker process, started when it is needed and anew after each death.

    Parameters
    ----------
    settings : Settings
    program : str
        As for `launch`.
    """

    def __init__(self, settings: Settings, program: str):
        self._settings = settings
        self._program = program
        self._running: Running | None = None
        self._number = 0  # of the last task; its answer bears it too
        self._is_ready = False
        self._is_stopped = False

    @property
    def pid(self) -> int:
        running = self._running
        return running.process.pid if running else 0

    def start(self) -> None:
        """Start the process without waiting for it; the first task finds out what failed."""
        with contextlib.suppress(_Lost):
            self._start()

    def decode(self, task: Task) -> Decoded:
        """Prepare one image; losing the worker at every try is a status.

        Raises
        ------
        Unavailable
            Where the process cannot be started.
        CancelledError
            After `stop`.
        """
        started = time.monotonic()
        detail = ""
        for _ in range(TRIES):
            self._make_ready()
            try:
                return self._ask(task)
            except _Lost as lost:
                detail = str(lost)
                if lost.code == -signal.SIGPROF:
                    limit = self._settings.timeout_s
                    detail = f"the decoder exceeded {limit:g} s of processor time"
                    break
        seconds = time.monotonic() - started
        return Decoded(Status.DECODER_FAILED, Note.NONE, detail, -1, NO_HASH, (0, 0), {}, seconds)

    def stop(self) -> None:
        """Kill the process. Safe while another thread is waiting for it, which then returns."""
        self._is_stopped = True
        if running := self._running:
            running.process.kill()

    def close(self) -> int:
        """Kill the process, let go of its pipes, and return how it ended; 0 without one."""
        running, self._running = self._running, None
        self._is_ready = False
        return running.end() if running else 0

    def _start(self) -> Running:
        try:
            self._running = running = launch(self._program)
        except OSError as error:
            raise _Lost(error.strerror or str(error)) from None
        if self._is_stopped:  # stopped by another thread while the process was being made
            running.process.kill()
        _send(running, settings_header(self._settings), b"")
        return running

    def _make_ready(self) -> None:
        """See to a process that answers, whatever became of the last one while it was idle."""
        if self._running and self._running.process.poll() is not None:
            self.close()
        reason = ""
        for attempt in range(START_TRIES):
            if self._is_stopped:
                raise CancelledError
            try:
                running = self._running or self._start()
                if not self._is_ready:
                    self._receive(running, 0, START_S)
                    self._is_ready = True
                return
            except _Lost as lost:
                words = self._running.last_words() if self._running else ""
                code = self.close()
                reason = words or str(lost) or f"it ended{ended_by(code)}"
            except BaseException:
                self.close()
                raise
            time.sleep(START_PAUSE_S * 2**attempt)
        raise Unavailable(
            "a decoding worker cannot be started",
            found=reason,
            advice=f"To see how one starts: {sys.executable} -m deepfeat.extraction.worker",
        )

    def _ask(self, task: Task) -> Decoded:
        """One try. After anything but an answer the process is gone, and nothing stale with it."""
        assert self._running
        self._number += 1
        header: Header = {"number": self._number, "size": task.size}
        silence_s = max(self._settings.timeout_s, SHORTEST_SILENCE_S)
        try:
            _send(self._running, header, os.fsencode(task.path))
            answered, body = self._receive(self._running, self._number, silence_s)
            try:
                return decoded_of(answered, body, self._settings)
            except Exception:  # whatever foreign bytes may have made of the process
                raise _Lost(NONSENSE) from None
        except _Lost as lost:
            code = self.close()
            if self._is_stopped:
                raise CancelledError from None
            raise _Lost(str(lost) or f"the decoder died{ended_by(code)}", code) from None
        except BaseException:
            self.close()
            raise

    def _receive(
        self, running: Running, number: int, silence_s: float
    ) -> tuple[Header, NDArray[np.uint8]]:
        """The answer to a message, 0 being the settings; its lengths are believed within limits."""
        is_start = number == 0
        lengths = _read(running, LENGTHS.size, silence_s, is_start=is_start).tobytes()
        header_length, body_length = LENGTHS.unpack(lengths)
        if header_length > LONGEST_HEADER or body_length > address_space(self._settings.limits):
            raise _Lost(NONSENSE)
        text = _read(running, header_length, silence_s, is_start=is_start).tobytes()
        try:
            header: Header = json.loads(text)
            is_ours = header["number"] == number
        except (ValueError, LookupError, TypeError, RecursionError):
            is_ours = False
        if not is_ours:
            raise _Lost(NONSENSE)
        return header, _read(running, body_length, silence_s, is_start=is_start)


def _send(running: Running, header: Header, body: bytes) -> None:
    try:
        write_message(running.tasks, header, body)
    except (OSError, ValueError):  # the pipe is broken, or closed
        raise _Lost from None


def _read(running: Running, length: int, silence_s: float, *, is_start: bool) -> NDArray[np.uint8]:
    """Read exactly ``length`` bytes into new memory, as long as something goes on.

    A process that starts has to answer; one that has an image may also compute.
    """
    buffer = np.empty(length, np.uint8)
    rest = buffer.data
    poll = select.poll()  # unlike select, it takes descriptors above 1023
    poll.register(running.answers, select.POLLIN)
    silent_s, ticks = 0.0, 0
    while len(rest):
        if poll.poll(1000 * SLICE_S):
            count = os.readv(running.answers, [rest])
            if not count:
                raise _Lost
            rest = rest[count:]
            silent_s = 0.0
            continue
        if running.process.poll() is not None:  # and a child of its own holds the pipe open
            raise _Lost
        silent_s += SLICE_S
        now = 0 if is_start else processor_ticks(running.process.pid)
        if now != ticks:
            silent_s, ticks = 0.0, now
        if silent_s >= silence_s:
            raise _Lost(f"the decoder neither answered nor computed for {silence_s:g} s")
    return buffer
