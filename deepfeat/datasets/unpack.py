"""Unpacking of archives that may be hostile: into a folder that appears whole, or not at all.

Only regular files with wanted extensions are written, at paths below the folder; links and devices
never are, so nothing can be written through one. A path that leaves the folder, or a wanted name
that is no regular file, refuses the whole archive. What may come out is bounded in bytes and in
files by counting what is decompressed, whatever the headers say. Tar, tar.gz and zip are read, each
from start to end, and one archive inside a zip.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from deepfeat import files
from deepfeat.datasets.archives import Archive, disk_error, locked
from deepfeat.datasets.download import MEBIBYTE
from deepfeat.errors import CannotCreate, DataError, NotEnoughSpace

# Images hardly shrink: what grows more than this is no archive of images.
MOST_GROWTH, MOST_EXTRA_BYTES = 4, 64 * MEBIBYTE
MOST_MEMBERS = 500_000
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError),
    RuntimeError,  # zipfile's, for passwords and methods of compression it does not know
)

Member = tuple[str, IO[bytes] | None]  # its path, and its bytes if it is a regular file


def unpack(archives: Sequence[tuple[Path, Archive]], folder: Path) -> None:
    """Unpack archives, one over the other, into a new folder.

    They are unpacked beside it; the folder has its name only when all of it is on the disk. What a
    killed run left beside it is removed first.

    Raises
    ------
    DataError
        For an archive that is damaged, hostile, or holds no wanted file.
    CannotCreate, NotEnoughSpace
        If the folder exists, or the disk cannot take it.
    Unavailable
        If another process is at it.
    """
    aside = files.aside_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent):
            check_target(folder)
            _check_space(folder, sum(path.stat().st_size for path, _ in archives))
            if aside.exists():
                shutil.rmtree(aside)
            try:
                for path, archive in archives:
                    _unpack(path, archive, aside)
                os.sync()  # once for thousands of small files, where an fsync each takes minutes
                files.publish(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, folder) from error


def check_target(folder: Path) -> None:
    """Refuse a folder that exists; to be known before anything is downloaded."""
    if folder.exists() or folder.is_symlink():
        raise CannotCreate(
            f"'{folder}' exists and is not the data set",
            advice="Rename or remove it, or choose another folder with --data.",
        )


def _check_space(folder: Path, size_bytes: int) -> None:
    free = files.free_bytes(folder.parent)
    if free < size_bytes:
        raise NotEnoughSpace(
            f"'{folder.parent}' has no room to unpack into",
            expected=f"{size_bytes / MEBIBYTE:,.0f} MiB free",
            found=f"{free / MEBIBYTE:,.0f} MiB",
            advice="Make room, or choose another folder with --data.",
        )


def _unpack(path: Path, archive: Archive, folder: Path) -> None:
    budget = _Budget(path, MOST_GROWTH * path.stat().st_size + MOST_EXTRA_BYTES)
    written = 0
    try:
        with _members(path, archive, budget) as members:
            for name, content in members:
                budget.count_member()
                parts = _parts(path, name)
                if not parts or not parts[-1].lower().endswith(archive.takes):
                    continue
                if any(part.startswith((".", "__MACOSX")) for part in parts):
                    continue  # "._x.jpg": what a Mac leaves beside "x.jpg"
                if content is None:
                    raise _hostile(path, name, "a link, a device or a folder, and no regular file")
                _write(folder.joinpath(*parts), content)
                written += 1
    except DAMAGED as error:
        raise DataError(f"'{path}' is damaged, or no archive: {error}") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"'{path}' holds one path as a file and as a folder") from error
    if not written:
        raise DataError(f"'{path}' holds no file named {' or '.join(archive.takes)}")


def _parts(path: Path, name: str) -> list[str]:
    """The parts of a member's path, which stays below the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.search(r"\\|^[A-Za-z]:", name):
        raise _hostile(path, name, "a path that leaves the folder")
    return parts


def _hostile(path: Path, name: str, what: str) -> DataError:
    return DataError(
        f"'{path}' is not unpacked: a member is {what}",
        found=repr(name),
        advice="This is not the archive that was published; do not use it.",
    )


def _write(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        while block := content.read(files.BLOCK):
            files.write_all(descriptor, block)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _members(path: Path, archive: Archive, budget: _Budget) -> Iterator[Iterator[Member]]:
    """The members of an archive, or of the one archive inside it."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield _tar_members(file, budget)
        return
    with zipfile.ZipFile(path) as outer:
        if not archive.inner:
            yield _zip_members(outer, budget)
            return
        names = [one for one in outer.namelist() if f"/{one}".endswith(f"/{archive.inner}")]
        if len(names) != 1:
            raise DataError(f"'{path}' holds {len(names)} archives named '{archive.inner}'")
        with outer.open(names[0]) as inner:
            yield _tar_members(io.BufferedReader(inner), budget)  # type: ignore[arg-type]


def _tar_members(file: io.BufferedReader, budget: _Budget) -> Iterator[Member]:
    is_gzip = file.peek(2)[:2] == b"\x1f\x8b"
    plain = gzip.GzipFile(fileobj=file) if is_gzip else file
    counted = _Counted(plain, budget)
    # Read as a stream, so that everything passes the budget.
    with tarfile.open(fileobj=counted, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            yield member.name, tar.extractfile(member) if member.isreg() else None
    while counted.read():  # gzip compares its checksum at the end
        pass


def _zip_members(archive: zipfile.ZipFile, budget: _Budget) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            yield info.filename, None
        else:
            with archive.open(info) as content:
                yield info.filename, _Counted(content, budget)  # type: ignore[misc]


class _Budget:
    """What may still come out of an archive."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path = path
        self.most_bytes = most_bytes
        self.bytes = 0
        self.members = 0

    def count_member(self) -> None:
        self.members += 1
        if self.members > MOST_MEMBERS:
            raise self._exceeded(f"{MOST_MEMBERS:,} members")

    def count_bytes(self, number: int) -> None:
        self.bytes += number
        if self.bytes > self.most_bytes:
            raise self._exceeded(f"{self.most_bytes / MEBIBYTE:,.0f} MiB")

    def _exceeded(self, most: str) -> DataError:
        return DataError(
            f"'{self.path}' is not unpacked: it holds more than {most}, too much for its size",
            advice="This is not the archive that was published; do not use it.",
        )


class _Counted:
    """A file to read from whose bytes are counted."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, budget: _Budget) -> None:
        self._file = file
        self._budget = budget

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(files.BLOCK if size < 0 else size)
        self._budget.count_bytes(len(data))
        return data
