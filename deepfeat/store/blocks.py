"""A file of a store as bytes: its header, and its datasets as an offset, a shape and a type.

Once the strict walk has passed, HDF5 is no longer needed: datasets are contiguous, so a row is a
``pread`` and a dataset a memory map.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import DataMissing, DeepfeatError, NoPermission, StoreDamaged, StoreError
from deepfeat.store.layout import HEADER_BYTES, SIGNATURE, Header, parse_header

BLOCK_BYTES = 1 << 20


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
    """A file of a store whose structure has been checked; no byte of its datasets was read."""

    path: Path
    header: Header
    attributes: dict[str, int | str]
    blocks: dict[str, Block]

    def array(self, name: str) -> NDArray[Any]:
        """Read a whole dataset."""
        block = self.blocks[name]
        return self.rows(name, 0, block.shape[0] if block.shape else 1).reshape(block.shape)

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read rows ``start`` to ``stop`` of a dataset, (stop - start, ...)."""
        block = self.blocks[name]
        out = np.empty((stop - start, *block.shape[1:]), block.dtype)
        width = block.nbytes // (block.shape[0] if block.shape else 1)
        descriptor = open_regular(self.path)
        try:
            _fill(descriptor, out, block.offset + start * width, self.path)
        finally:
            os.close(descriptor)
        return out

    def mapped(self, name: str) -> NDArray[Any]:
        """The dataset as a read-only memory map."""
        block = self.blocks[name]
        return np.memmap(self.path, block.dtype, "r", block.offset, block.shape)


def open_regular(path: Path, *, follow: bool = True) -> int:
    """Open a regular file for reading; never wait for a pipe or a device, nor ``follow`` a link.

    Raises ``DataMissing``, ``NoPermission``, or ``StoreDamaged`` where it is no regular file.
    """
    try:
        link = 0 if follow else os.O_NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link)
    except FileNotFoundError as error:
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
    descriptor = open_regular(path)
    try:
        start = os.pread(descriptor, HEADER_BYTES + len(SIGNATURE), 0)
        size = os.fstat(descriptor).st_size
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
    header = parse_header(start[:HEADER_BYTES], str(path))
    if size != HEADER_BYTES + header.length:
        raise StoreDamaged(
            f"'{path}' has the wrong length",
            expected=f"{HEADER_BYTES + header.length} bytes by its header",
            found=f"{size} bytes",
        )
    if start[HEADER_BYTES:] != SIGNATURE:
        raise StoreDamaged(f"'{path}' holds no HDF5 right behind its header")
    return header


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


def _fill(descriptor: int, out: NDArray[Any], offset: int, path: Path) -> None:
    """Read exactly ``out``'s bytes at ``offset``."""
    flat: Any = out.reshape(-1).view(np.uint8)
    rest = memoryview(flat)
    while len(rest):
        try:
            count = os.preadv(descriptor, [rest], offset)
        except OSError as error:
            raise unreadable(path, error) from error
        if count == 0:
            raise StoreDamaged(f"'{path}' became shorter while it was read")
        rest, offset = rest[count:], offset + count
