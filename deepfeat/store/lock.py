"""One writer at a time: ``flock`` on a file of the store's folder.

The kernel frees the lock when its holder dies; that the file exists means nothing. What is written
into it (pid, host, since, command) serves the message only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deepfeat.errors import CannotCreate, StoreError, StoreLocked

LOCK = ".lock"
SIGNATURE = b'{"pid": '  # what the signature begins with
LOOK_S = 0.2  # between two looks at a lock that is waited for
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def go_on() -> None:
    """Nobody asks to stop."""


def acquire(
    folder: Path,
    *,
    wait: bool = False,
    command: Sequence[str] = (),
    check_stop: Callable[[], None] = go_on,
) -> int:
    """Take the folder's lock and return the descriptor that holds it; ``os.close`` frees it.

    Between two looks at a lock that is waited for ``check_stop`` is called, and may raise: Python
    would begin a ``flock`` that a signal interrupts again.

    Raises
    ------
    StoreLocked
        Another process holds it, or the file system has no locks.
    CannotCreate
        ``.lock`` may not be made, or is something else than a file.
    StoreError
        The disk failed.
    FileNotFoundError
        The folder is gone: the holder that was waited for has sealed it.
    """
    path = folder / LOCK
    while True:
        descriptor = _open(path)
        try:
            _lock(descriptor, wait, check_stop)
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
            if error.errno not in NO_LOCKS:
                raise _failed(path, error) from error
            raise StoreLocked(
                f"'{folder}' cannot be locked: {error.strerror}",
                advice="Work on a local disk; --no-lock goes on without, and nothing then keeps "
                "a second writer out.",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder we waited for removed the file: take the new one


def _lock(descriptor: int, wait: bool, check_stop: Callable[[], None]) -> None:
    """Raises ``BlockingIOError`` where another has it and nobody waits."""
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
        check_stop()
        time.sleep(LOOK_S)


def _open(path: Path) -> int:
    """Open the lock file, or make it; nothing else than a file is waited for or written to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.EIO:
            raise _failed(path, error) from error
        raise CannotCreate(f"'{path}' cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CannotCreate(
            f"'{path}' is not a regular file: it is left as it is",
            advice="Remove it if nobody needs it, or choose another name.",
        )
    return descriptor


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"'{path}' could not be locked: {error.strerror}",
        advice="Make room or check the disk, then run the same command again.",
    )


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
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
