"""A file of a store, laid out in memory and written by ourselves: HDF5 never touches the disk.

After a failed write HDF5 may crash the process at close or exit, so h5py writes into a file-like
object that keeps the few kilobytes of metadata; every dataset is only given its place. The bytes
are then put on the disk in file order: header, metadata, arrays; fsync, read back, rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from deepfeat import files
from deepfeat.errors import CannotCreate, DeepfeatError, StoreError
from deepfeat.store.blocks import digest_of, read_header
from deepfeat.store.layout import HEADER_BYTES, Header
from deepfeat.store.sparse import Sparse
from deepfeat.store.strict import walk

JOINED_BYTES = 1 << 16
ALIGNMENT = 64  # bytes; so that memory maps of any of our types are aligned
IN_THE_WAY = "Move away what has this name, or the name of the file aside ('.tmp-...')"
ALLOWED = "Check the permissions of the folder"
TO_DO = {  # before a run goes on, by what the operating system said
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room"),
    errno.EFBIG: "Use a disk that takes larger files",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "Check the disk or the network"),
    **dict.fromkeys((errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY), IN_THE_WAY),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ALLOWED),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "Put back the folder that was moved or removed"),
}
Attributes = Mapping[str, int | str]
Pieces = Iterable[bytes | memoryview]


@dataclass(frozen=True)
class Layout:
    """HDF5's metadata and the place (start, stop) of each dataset, behind the user block."""

    metadata: Sparse
    places: dict[str, tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes of the whole file, user block included."""
        return HEADER_BYTES + self.metadata.size

    def pieces(self, contents: Callable[[str], Pieces]) -> Iterator[bytes | memoryview]:
        """The bytes behind the user block in file order; ``contents`` gives those of a dataset."""
        at = 0
        for path, (start, stop) in sorted(self.places.items(), key=lambda place: place[1]):
            yield self.metadata.between(at, start)
            at = start
            for piece in contents(path):
                at += memoryview(piece).nbytes
                yield piece
            assert at == stop, f"{path}: {at} bytes given up to {stop}"
        yield self.metadata.between(at, self.metadata.size)


def lay_out(
    attributes: Attributes, datasets: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> Layout:
    """Let HDF5 decide where everything goes, without giving it any data.

    The same arguments give the same bytes: no times are tracked, and every group is made by name,
    because groups made implicitly carry time stamps.

    Parameters
    ----------
    datasets
        Path to shape and dtype; none is empty.
    """
    sparse = Sparse()
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    places = {}
    with h5py.File(
        sparse,
        "w",
        libver=("v108", "v108"),
        locking=False,
        alignment_threshold=ALIGNMENT,
        alignment_interval=ALIGNMENT,
    ) as file:
        for name, value in attributes.items():
            fixed = np.bytes_(value.encode()) if isinstance(value, str) else np.int64(value)
            file.attrs[name] = fixed
        for path, (shape, dtype) in datasets.items():
            *groups, _ = path.split("/")
            for depth in range(1, len(groups) + 1):
                group = "/".join(groups[:depth])
                if group not in file:
                    file.create_group(group, track_times=False)
            space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
            kind = h5t.py_create(dtype)
            if path == "provenance":
                kind.set_cset(h5t.CSET_UTF8)
            dataset = h5d.create(file.id, path.encode(), kind, space, dcpl=creation)
            start = dataset.get_offset()
            places[path] = (start, start + int(np.prod(shape, dtype=object)) * dtype.itemsize)
    end = 0
    for start, stop in sorted(places.values()):
        assert end <= start < stop <= sparse.size, "HDF5 placed datasets over one another"
        end = stop
    for start, stop in sparse.written:
        assert not any(start < b and a < stop for a, b in places.values()), "HDF5 wrote data"
    return Layout(sparse, places)


def put(
    path: Path,
    form: str,
    pieces: Callable[[], Pieces],
    *,
    with_read_back: bool = True,
    check: Callable[[], None],
) -> Header:
    """Write a file of a store under its name, durably; ``pieces`` gives what follows the header.

    ``check`` is called before it is begun and before it gets its name, and raises where it may not.

    After an I/O error the temporary file is abandoned and all is written anew, once: a second
    fsync of the same file may report success for pages that the kernel has dropped.

    Raises
    ------
    StoreError
        The disk is full, or failed twice. What was committed before is untouched.
    CannotCreate
        Another file has come under the name of a sealed one: it stays.
    """
    for attempt in (1, 2):
        try:
            return _put_once(path, form, pieces, with_read_back, check)
        except OSError as error:
            if error.errno != errno.EIO or attempt == 2:
                raise failed(path, error) from error
    raise AssertionError("unreachable")


def failed(path: Path, error: OSError) -> StoreError:
    """The ``StoreError`` (exit status 74) for an ``OSError`` while ``path`` was written."""
    what = TO_DO.get(error.errno or 0, "Make room or check the disk")
    return StoreError(
        f"'{path}' could not be written: {error.strerror or error}",
        advice=f"What was reported as done is safe. {what}, then run the same command again: it "
        "continues.",
    )


@contextlib.contextmanager
def as_store_error(path: Path) -> Iterator[None]:
    """An ``OSError`` while writing becomes a ``StoreError`` that says what is safe."""
    try:
        yield
    except OSError as error:
        raise failed(path, error) from error


def _put_once(
    path: Path,
    form: str,
    pieces: Callable[[], Pieces],
    with_read_back: bool,
    check: Callable[[], None],
) -> Header:
    digest = blake3.blake3()
    length = 0
    headers: list[Header] = []

    def counted() -> Iterator[bytes | memoryview]:
        nonlocal length
        yield bytes(HEADER_BYTES)
        for piece in joined(pieces()):
            digest.update(piece)
            length += memoryview(piece).nbytes
            yield piece

    def head() -> bytes:
        headers.append(Header(form, length, digest.hexdigest()))
        return headers[0].to_bytes()

    check()
    is_sealed = form == "sealed"  # nobody writes it again: read-only, which keeps accidents away
    aside = files.write_aside(path, counted(), head, 0o444 if is_sealed else 0o666)
    try:
        if with_read_back:
            read_back(aside, headers[0])
    except BaseException:
        check()  # else what lies there may be another run's
        files.remove(aside)
        raise
    try:
        check()
    except DeepfeatError:
        if _begins_with(aside, headers[0]):
            files.remove(aside)
        raise
    if not is_sealed:
        files.publish(aside, path)
        return headers[0]
    try:
        files.publish_new(aside, path)
    except FileExistsError as error:
        files.remove(aside)
        if not _is_whole(path, headers[0]):  # else it is there: a second run made it, or a try
            raise CannotCreate(
                f"'{path}' came to be while it was made: it is left as it is",
                advice="Move it away and run the same command again: it continues.",
            ) from error
    return headers[0]


def _begins_with(path: Path, header: Header) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES) == header.to_bytes()
    except OSError:
        return False


def _is_whole(path: Path, header: Header) -> bool:
    try:
        return read_header(path) == header and digest_of(path) == header.blake3
    except (DeepfeatError, OSError):
        return False


def joined(pieces: Pieces) -> Iterator[bytes | memoryview]:
    """The same bytes with small neighbours joined: metadata is many pieces of a few bytes."""
    small: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > JOINED_BYTES:
            yield b"".join(small)
            small, size = [], 0
        if len(piece) > JOINED_BYTES:
            yield piece
        else:
            small.append(piece)
            size += len(piece)
    yield b"".join(small)


def read_back(path: Path, header: Header) -> None:
    """Compare the disk, not the page cache, with what was written. Raises ``OSError`` (EIO)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        written = os.pread(descriptor, HEADER_BYTES, 0)
    finally:
        os.close(descriptor)
    try:
        if written != header.to_bytes() or digest_of(path) != header.blake3:
            raise OSError(errno.EIO, "the disk returned other bytes than were written")
        walk(path)
    except DeepfeatError as error:
        if isinstance(error.__cause__, OSError):  # the disk refused, whatever errno says
            raise OSError(errno.EIO, error.message) from error
        raise


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The array's bytes in C order, without a copy where it is contiguous."""
    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)


def pieces_of(
    attributes: Attributes, arrays: Mapping[str, NDArray[Any]]
) -> Callable[[], Iterator[bytes | memoryview]]:
    """What follows the header of a file that holds ``arrays``, path to array."""
    layout = lay_out(
        attributes, {path: (array.shape, array.dtype) for path, array in arrays.items()}
    )
    return lambda: layout.pieces(lambda path: [bytes_of(arrays[path])])


def hdf5_version() -> str:
    """The HDF5 library that lays the files out: another release may do it differently."""
    return str(h5py.version.hdf5_version)
