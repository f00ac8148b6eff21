"""A process of Python's with two pipes of its own, from its start to its end.

Standard input and output are not used: whatever an installation prints when Python starts goes
nowhere, or, from standard error, to a file for its last words.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

PATIENCE_S = 5.0  # for a process that was killed: one that waits for a dead disk cannot end
PIPE_BYTES = 1 << 20  # an image a write; Linux starts with 64 KiB
LAST_WORDS = 4096  # bytes
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Running:
    """A process, where to write to it, the descriptor to read from it, and its standard error."""

    process: subprocess.Popen[bytes]
    tasks: IO[bytes]
    answers: int
    words: IO[bytes]

    def last_words(self) -> str:
        """The last line on standard error."""
        end = self.words.seek(0, os.SEEK_END)
        self.words.seek(max(0, end - LAST_WORDS))
        return "".join(self.words.read().decode(errors="replace").strip().splitlines()[-1:])

    def end(self) -> int:
        """Kill the process, let go of what was its, and return how it ended."""
        code = 0
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(PATIENCE_S)
        for stream in (self.tasks, self.words):
            with contextlib.suppress(OSError):  # what was left to send has nobody to go to
                stream.close()
        os.close(self.answers)
        return code


def launch(program: str) -> Running:
    """Run a Python program; its arguments are two descriptors and the places of modules.

    Its session is its own, which keeps Ctrl-C away from it.

    Raises
    ------
    OSError
        Where the machine has no more processes or descriptors to give.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        task_end, tasks = _pipe()
        theirs.callback(os.close, task_end)
        stream = ours.enter_context(os.fdopen(tasks, "wb"))
        answers, answer_end = _pipe()
        theirs.callback(os.close, answer_end)
        ours.callback(os.close, answers)
        _widen(answers)
        words = ours.enter_context(_scratch())
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(task_end), str(answer_end), *map(str, sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            pass_fds=(task_end, answer_end),
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
        ours.pop_all()  # kept open
        return Running(process, stream, answers, words)


def ended_by(code: int) -> str:
    """`` of SIGKILL`` or `` with exit status 1``."""
    if code == 0 and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        return " (nobody learns how: this program ignores SIGCHLD)"
    if code >= 0:
        return f" with exit status {code}"
    try:
        return f" of {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f" of signal {-code}"


def _pipe() -> tuple[int, int]:
    """A pipe above the standard descriptors, which may be closed here and are none of its own."""
    ends = os.pipe()
    try:
        first, second = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return first, second


def _widen(pipe: int) -> None:
    """Let a pipe hold more, where the system can and may: fewer changes between processes."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a user's pipes together are limited
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _scratch() -> IO[bytes]:
    """A file for last words, not a pipe: nobody would read it while the process lives."""
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no folder for it
        return open(os.devnull, "r+b")  # noqa: PTH123
