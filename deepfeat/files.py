"""The only door to the disk for writing: aside, fsync, rename, fsync of the folder.

What a function here has returned from is on the disk, as far as the disk's own word goes. A kill at
any instant leaves the old file, the new file, or a ``.tmp-`` that nobody reads. Last: where
downloads lie, and whether there may be any.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from deepfeat.errors import CannotCreate

TEMPORARY = ".tmp-"
BLOCK = 1 << 20
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)


def write_aside(
    path: Path,
    pieces: Iterable[bytes | memoryview],
    head: Callable[[], bytes] | None = None,
    mode: int = 0o666,
) -> Path:
    """Write ``pieces`` to a fresh temporary file beside ``path``, fsync it, return its path.

    ``head`` is called after the last piece and its bytes overwrite the start of the file: a
    checksum of what was streamed can so stand before it. ``mode`` is what the file's permissions
    are, less the umask.

    Raises ``OSError`` after removing the temporary file; a failed fsync is never retried on the
    same file, because Linux may report success the second time for pages it has dropped.
    """
    aside = aside_of(path)
    descriptor = os.open(
        aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
    )
    try:
        try:
            for piece in pieces:
                write_all(descriptor, piece)
            if head is not None:
                os.lseek(descriptor, 0, os.SEEK_SET)
                write_all(descriptor, head())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    return aside


def aside_of(path: Path) -> Path:
    """Where ``path`` is written before it has its name."""
    return path.with_name(TEMPORARY + path.name)


def write_all(descriptor: int, piece: bytes | memoryview) -> None:
    """Write all bytes of ``piece``; the kernel may take them in several bites."""
    rest = memoryview(piece).cast("B") if len(piece) else memoryview(b"")
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]


def publish(aside: Path, path: Path) -> None:
    """Give a finished temporary file its name, durably."""
    os.rename(aside, path)  # noqa: PTH104
    fsync_folder(path.parent)


def publish_new(aside: Path, path: Path) -> None:
    """Give a finished temporary file its name, durably, but never in the place of another file.

    Raises ``FileExistsError`` where there is one; both stay as they are.
    """
    try:
        os.link(aside, path)  # unlike a rename, it fails where there is something
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(path):  # the best there is on a file system without hard links
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        publish(aside, path)
        return
    aside.unlink()
    fsync_folder(path.parent)


def replace(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a whole new file in the place of ``path``: old or new, never a mixture."""
    publish(write_aside(path, pieces), path)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, if it is there; for what a failed or finished writer leaves behind."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write where ``folder`` is, or will be.

    A file system that states no size at all (/proc, some mounts of a network) states no free bytes
    either: whether it can be written shows in writing.
    """
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else sys.maxsize


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """``cache``, else $DEEPFEAT_CACHE, else $XDG_CACHE_HOME/deepfeat, else ~/.cache/deepfeat.

    Raises
    ------
    CannotCreate
        Where nothing names one and the user has no home directory.
    """
    folder = known_cache_folder(cache)
    if folder is None:
        raise CannotCreate(
            "there is no folder for downloads: this user has no home directory",
            advice="Name one with --cache or DEEPFEAT_CACHE.",
        )
    return folder


def known_cache_folder(cache: str | os.PathLike[str] | None = None) -> Path | None:
    """The same, or None without one: for a look at what is there, which then is nothing."""
    if chosen := cache or os.environ.get("DEEPFEAT_CACHE"):
        return expanded(chosen)
    system = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not system.is_absolute():
        system = expanded("~/.cache")
    return system / "deepfeat" if system.is_absolute() else None


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` replaced; left as it is where there is no such home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises)


def is_offline() -> bool:
    """Whether DEEPFEAT_OFFLINE forbids downloads."""
    return os.environ.get("DEEPFEAT_OFFLINE", "0") not in ("", "0")
