"""Decoders that stay ready between calls: in memory, too, no file is decoded in this process."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Generator, Iterable

from deepfeat.extraction.decoding import Decoded, Decoders, Settings, Task
from deepfeat.extraction.device import available_cores
from deepfeat.extraction.run import RESULTS_PER_WORKER

PathLike = str | bytes | os.PathLike[str]

MOST_WORKERS = 4  # a call in memory is for a handful of images


class Standby:
    """Decoding processes of one owner, started at its first file and ended with it.

    Safe between threads. In a process made by fork it starts processes of its own.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._decoders: Decoders | None = None

    def map(self, paths: Iterable[PathLike]) -> Generator[Decoded]:
        """Give one `Decoded` for each path, in their order, some paths ahead of its caller.

        Raises
        ------
        Unavailable
            Where a worker process cannot be started at all.
        """
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            if self._decoders is None:
                self._decoders = self._started()
        yield from self._decoders.map(Task(_absolute(os.fsdecode(path))) for path in paths)

    def _started(self) -> Decoders:
        workers = min(MOST_WORKERS, available_cores())
        stack = contextlib.ExitStack()
        decoders = stack.enter_context(
            Decoders(self.settings, workers, RESULTS_PER_WORKER * workers)
        )
        weakref.finalize(self, stack.close)
        return decoders


def _absolute(path: str) -> str:
    """The workers stay in the folder they were started in; the caller may have left it since.

    Where the caller's folder was removed nothing is in it: the name becomes one of no file.
    """
    if os.path.isabs(path):  # noqa: PTH117
        return path
    try:
        return os.path.join(os.getcwd(), path)  # noqa: PTH118
    except FileNotFoundError:
        return f"{os.devnull}/{path}"
