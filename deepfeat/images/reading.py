"""From a path to bytes that did not change while they were read, or a status.

The file is opened once, looked at through its descriptor, read whole and looked at again, so that
hash and decoder see the same bytes and nothing can be exchanged in between. Opening never waits:
a FIFO named like an image is turned away by its type.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from deepfeat.images.limits import Limits
from deepfeat.status import Status

BLOCK = 1 << 22
ATTEMPTS = 2
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's bytes, or why there are none.

    ``size_bytes`` is -1 where the file could not even be looked at.
    """

    status: Status
    data: bytes
    size_bytes: int
    detail: str


class _Moved(Exception):
    """The file was not the same before and after reading."""


def read_file(
    path: str | bytes | os.PathLike[str],
    limits: Limits,
    *,
    size: int = -1,
) -> Contents:
    """Read a regular file whole.

    Parameters
    ----------
    size : int
        Bytes that a listing found; a file of another size is ``changed``. -1: do not compare. Its
        time is no matter: a copy has another one, and the contents are what is hashed and kept.
    """
    try:
        for _ in range(ATTEMPTS):
            try:
                return _read_once(os.fsencode(path), limits, size)
            except _Moved:
                continue
    except OSError as error:
        status = Status.MISSING if error.errno in _GONE else Status.UNREADABLE
        return Contents(status, b"", -1, error.strerror or str(error))
    except ValueError as error:  # a name with a NUL byte
        return Contents(Status.UNREADABLE, b"", -1, str(error))
    return Contents(Status.CHANGED, b"", -1, "the file changed each time it was read")


def _read_once(path: bytes, limits: Limits, listed: int) -> Contents:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Contents(Status.UNREADABLE, b"", -1, "not a regular file")
        size = before.st_size
        if listed not in (-1, size):
            return Contents(Status.CHANGED, b"", size, f"{size} bytes, {listed} when it was listed")
        if size > limits.max_bytes:
            detail = f"{size} bytes, the limit is {limits.max_bytes}"
            return Contents(Status.TOO_LARGE, b"", size, detail)
        data = _read_whole(descriptor, size)
        after = os.fstat(descriptor)
        if (len(data), after.st_size, after.st_mtime_ns) != (size, size, before.st_mtime_ns):
            raise _Moved
        return Contents(Status.OK if data else Status.EMPTY, data, size, "")
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, size: int) -> bytes:
    """Read ``size`` bytes, or fewer where the file ends before; growth shows in its new size."""
    pieces = []
    left = size
    while left > 0 and (piece := os.read(descriptor, min(left, BLOCK))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
