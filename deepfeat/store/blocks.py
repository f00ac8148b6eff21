"""A file of a store as bytes: its header, and its datasets as an offset, a shape and a type.

Once the strict walk has passed, HDF5 is no longer needed: datasets are contiguous, so a row is a
``pread``. No memory maps: a file that is cut under a map kills the process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import (
    DataMissing,
    DeepfeatError,
    NoPermission,
    StoreDamaged,
    StoreError,
    StoreLocked,
)
from deepfeat.store.layout import HEADER_BYTES, SIGNATURE, Header, parse_header

BLOCK_BYTES = 1 << 20
OPENED_FOR_WRITING = (
    "The disk changed it, or another program opened it for writing: h5py.File(..., 'a') is enough, "
    "even if nothing is written. Put a copy in its place, or make it anew; read it with mode 'r'."
)


@dataclass(frozen=True)
class Block:
    """A dataset as bytes of a file: where, how many, of which type."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


@dataclass(frozen=True)
class Walked:
    """A file of a store whose structure has been checked; no byte of its datasets was read.

    Header and time of modification are how it is known again: the path may come to be another
    file's, and places of one file mean nothing in another.
    """

    path: Path
    header: Header
    mtime_ns: int
    attributes: dict[str, int | str]
    blocks: dict[str, Block]

    def array(self, name: str) -> NDArray[Any]:
        """Read a whole dataset."""
        shape = self.blocks[name].shape
        return self.rows(name, np.arange(shape[0] if shape else 1)).reshape(shape)

    def rows(self, name: str, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Read rows of a dataset in any order, (k,) -> (k, ...).

        Raises ``StoreLocked`` unless the file is, before and after, the one that was checked.
        """
        block = self.blocks[name]
        out = np.empty((len(wanted), *block.shape[1:]), block.dtype)
        flat: Any = out.reshape(-1).view(np.uint8)
        width = block.nbytes // (block.shape[0] if block.shape else 1)
        begins = np.flatnonzero(np.diff(wanted, prepend=wanted[:1] - 2) != 1)  # runs of neighbours
        ends = np.append(begins[1:], len(wanted))
        offsets = block.offset + wanted[begins] * width
        runs = np.stack([begins * width, ends * width, offsets], axis=1).tolist()
        with self._opened() as descriptor:
            for start, stop, offset in runs:
                _fill(descriptor, memoryview(flat)[start:stop], offset, self.path)
        return out

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = open_regular(self.path)
        except (DataMissing, StoreDamaged) as error:
            raise changed(self.path) from error
        try:
            self._check(descriptor)
            yield descriptor
            self._check(descriptor)
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int) -> None:
        header = bytearray(HEADER_BYTES)
        _fill(descriptor, memoryview(header), 0, self.path)
        now = os.fstat(descriptor)
        is_same = now.st_size == HEADER_BYTES + self.header.length
        if not is_same or now.st_mtime_ns != self.mtime_ns or header != self.header.to_bytes():
            raise changed(self.path)


def changed(path: Path) -> StoreLocked:
    """The error of a reader under whom a file was replaced, cut, or written to."""
    return StoreLocked(
        f"the store changed while it was read: '{path}' is not what it was when it was opened",
        advice="Open it again.",
    )


def open_regular(path: Path, *, follow: bool = True) -> int:
    """Open a regular file for reading; never wait for a pipe or a device, nor ``follow`` a link.

    Raises ``DataMissing``, ``NoPermission``, or ``StoreDamaged`` where it is no regular file.
    """
    try:
        link = 0 if follow else os.O_NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataMissing(f"'{path}' does not exist") from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):
            raise StoreDamaged(f"'{path}' is not a regular file") from error
        raise unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreDamaged(f"'{path}' is not a regular file")
    return descriptor


def unreadable(path: Path, error: OSError) -> DeepfeatError:
    """What to raise for an ``OSError`` while ``path`` was read: it says nothing about its bytes."""
    if isinstance(error, PermissionError):
        return NoPermission(f"'{path}' may not be read", advice="Check its permissions.")
    return StoreError(
        f"'{path}' could not be read: {error.strerror or error}",
        advice="It may be whole: check the disk or the network, then try again.",
    )


def read_header(path: Path) -> Header:
    """Read and check the user block: magic, own checksum, stated length, signature behind it."""
    return seen(path)[0]


def seen(path: Path) -> tuple[Header, int]:
    """The checked user block, and when the file was last modified, in ns."""
    descriptor = open_regular(path)
    try:
        now = os.fstat(descriptor)
        start = os.pread(descriptor, HEADER_BYTES + len(SIGNATURE), 0)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
    header = parse_header(start[:HEADER_BYTES], str(path))
    expected = HEADER_BYTES + header.length
    if now.st_size != expected:
        raise StoreDamaged(
            f"'{path}' has the wrong length",
            expected=f"{expected} bytes by its header",
            found=f"{now.st_size} bytes",
            advice=OPENED_FOR_WRITING
            if now.st_size > expected
            else "It was cut: put a whole copy in its place, or make it anew.",
        )
    if start[HEADER_BYTES:] != SIGNATURE:
        raise StoreDamaged(f"'{path}' holds no HDF5 right behind its header")
    return header, now.st_mtime_ns


def digest_of(path: Path) -> str:
    """Hex blake3 of everything behind the user block, read in blocks."""
    digest = blake3.blake3()
    descriptor = open_regular(path)
    try:
        at = HEADER_BYTES
        while block := os.pread(descriptor, BLOCK_BYTES, at):
            digest.update(block)
            at += len(block)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _fill(descriptor: int, rest: memoryview, offset: int, path: Path) -> None:
    """Read exactly as many bytes at ``offset`` as ``rest`` takes."""
    while len(rest):
        try:
            count = os.preadv(descriptor, [rest], offset)
        except OSError as error:
            raise unreadable(path, error) from error
        if count == 0:
            raise changed(path)
        rest, offset = rest[count:], offset + count
