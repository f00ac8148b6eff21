"""One writer at a time: ``flock`` on a file of the store's folder.

The kernel frees the lock when its holder dies; that the file exists means nothing. What is written
into it (pid, host, since, command) serves the message only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from deepfeat.errors import CannotCreate, StoreLocked

LOCK = ".lock"


def acquire(folder: Path, *, wait: bool = False, command: Sequence[str] = ()) -> int:
    """Take the folder's lock and return the descriptor that holds it; ``os.close`` frees it.

    Raises
    ------
    StoreLocked
        Another process holds it, or the file system has no locks.
    """
    path = folder / LOCK
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise CannotCreate(f"'{path}' cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_still(path, descriptor):
                _sign(descriptor, command)
                return descriptor
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StoreLocked(
                f"'{folder}' is locked by {holder}",
                advice="Wait for it to end, or give --wait.",
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StoreLocked(
                f"'{folder}' cannot be locked: {error.strerror}",
                advice="Work on a local disk; --no-lock goes on without, and nothing then keeps "
                "a second writer out.",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder we waited for removed the file: take the new one


def _is_still(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _sign(descriptor: int, command: Sequence[str]) -> None:
    signature = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join(command),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(signature).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        found = json.loads(os.pread(descriptor, 1 << 16, 0))
        who = f"process {found['pid']} on host {found['host']} since {found['since']}"
        return f"{who} ({found['command']})" if found["command"] else who
    except (ValueError, KeyError, TypeError):
        return "another process"
