"""A disk that logs every call, fails one of them, and can lose what was not synced.

``Disk`` stands before the functions of ``os`` through which a store reaches the disk, for paths
below one folder only. Its log can be turned into the states that a power loss may leave.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from typing import Any

REAL = {
    name: getattr(os, name)
    for name in ("open", "write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "close")
}


class Killed(BaseException):
    """The process is gone: from here on no call reaches the disk."""


class Disk:
    """Use in a ``with`` statement; ``fail`` is (n, how): the n-th call, counted from 1.

    how: "KILL<" before the call, "KILL>" after it, "ENOSPC", "EIO", "short".
    """

    def __init__(self, root: Path, fail: tuple[int, str] | None = None):
        self.root = str(root)
        self.fail = fail
        self.calls = 0
        self.log: list[tuple[Any, ...]] = []
        self.descriptors: dict[int, str] = {}
        self.is_dead = False

    def __enter__(self) -> Disk:
        for name in REAL:
            setattr(os, name, getattr(self, name))
        return self

    def __exit__(self, *error: object) -> None:
        for name, real in REAL.items():
            setattr(os, name, real)

    def _is_ours(self, path: Any) -> bool:
        return not isinstance(path, int) and os.fspath(path).startswith(self.root)

    def _call(self, name: str, real: Any, arguments: tuple[Any, ...], note: tuple[Any, ...]) -> Any:
        if self.is_dead:
            raise Killed
        self.calls += 1
        how = self.fail[1] if self.fail and self.fail[0] == self.calls else ""
        if how == "KILL<":
            self.is_dead = True
            raise Killed
        if how in ("ENOSPC", "EIO"):
            raise OSError(getattr(errno, how), how)
        if how == "short" and name == "write":
            arguments = (arguments[0], bytes(arguments[1])[: max(1, len(arguments[1]) // 2)])
        result = real(*arguments)
        if name == "write":
            note = (*note[:-1], bytes(arguments[1])[:result])
        self.log.append((name, *note))
        if how == "KILL>":
            if name == "open":
                REAL["close"](result)
            self.is_dead = True
            raise Killed
        return result

    def open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        if not self._is_ours(path) or not flags & (os.O_CREAT | os.O_DIRECTORY):
            return REAL["open"](path, flags, mode, **rest)
        if flags & os.O_CREAT:
            descriptor = self._call("open", REAL["open"], (path, flags, mode), (str(path),))
        else:
            descriptor = REAL["open"](path, flags, mode)
        self.descriptors[descriptor] = str(path)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.descriptors.pop(descriptor, None)
        REAL["close"](descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        if descriptor not in self.descriptors:
            return REAL["write"](descriptor, data)
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        note = (self.descriptors[descriptor], at, b"")
        return self._call("write", REAL["write"], (descriptor, data), note)

    def fsync(self, descriptor: int) -> None:
        path = self.descriptors[descriptor]
        name = "fsync_folder" if Path(path).is_dir() else "fsync"
        self._call(name, lambda _: None, (descriptor,), (path,))

    def rename(self, old: Any, new: Any) -> None:
        self._call("rename", REAL["rename"], (old, new), (str(old), str(new)))

    def link(self, old: Any, new: Any) -> None:
        self._call("link", REAL["link"], (old, new), (str(old), str(new)))

    def unlink(self, path: Any, **rest: Any) -> None:
        if not self._is_ours(path):
            return REAL["unlink"](path, **rest)
        if not os.path.lexists(path):
            raise FileNotFoundError(errno.ENOENT, "not there", str(path))
        self._call("unlink", REAL["unlink"], (path,), (str(path),))

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self._call("mkdir", REAL["mkdir"], (path, mode), (str(path),))

    def rmdir(self, path: Any, **rest: Any) -> None:
        self._call("rmdir", REAL["rmdir"], (path,), (str(path),))


def after_power_loss(
    log: list[tuple[Any, ...]], random: Random, without: tuple[str, ...] = ()
) -> dict[str, bytes | None]:
    """One state that a disk may be in after these calls: path to bytes, None for a folder.

    Bytes since the last fsync of their file are kept, zero, old or cut off; names since the last
    fsync of their folder are each kept or lost, in no order. ``without`` ignores a kind of fsync.
    """
    contents: list[bytearray] = []  # by inode, as the page cache has it
    synced: list[bytes] = []  # by inode, as the disk surely has it
    live: dict[str, int | None] = {}
    durable: dict[str, int | None] = {}
    pending: list[tuple[str, dict[str, int | None]]] = []  # folder, {path: inode or -1 for removed}

    def change(paths: dict[str, int | None]) -> None:
        pending.append((parent(next(iter(paths))), paths))
        apply(live, paths)

    def apply(names: dict[str, int | None], paths: dict[str, int | None]) -> None:
        for path, inode in paths.items():
            names.pop(path, None)
            if inode != -1:
                names[path] = inode

    for name, *note in log:
        if name == "open":
            if note[0] not in live:
                contents.append(bytearray())
                synced.append(b"")
                change({note[0]: len(contents) - 1})
        elif name == "write":
            inode = live[note[0]]
            assert inode is not None
            contents[inode][note[1] : note[1] + len(note[2])] = note[2]
        elif name == "fsync" and name not in without:
            inode = live[note[0]]
            assert inode is not None
            synced[inode] = bytes(contents[inode])
        elif name == "rename":
            change({note[0]: -1, note[1]: live[note[0]]})
        elif name == "link":
            change({note[1]: live[note[0]]})
        elif name == "mkdir":
            change({note[0]: None})
        elif name in ("unlink", "rmdir"):
            change({note[0]: -1})
        elif name == "fsync_folder" and name not in without:
            for folder, paths in pending:
                if folder == note[0]:
                    apply(durable, paths)
            pending = [one for one in pending if one[0] != note[0]]
    for _, paths in pending:
        if random.random() < 0.5:
            apply(durable, paths)
    state: dict[str, bytes | None] = {}
    for path, inode in durable.items():
        state[path] = None if inode is None else _perhaps(contents[inode], synced[inode], random)
    folders = {path for path, kept in state.items() if kept is None}
    made = {one[1] for one in log if one[0] == "mkdir"}
    return {
        path: kept
        for path, kept in state.items()
        if parent(path) in folders or parent(path) not in made
    }


def parent(path: str) -> str:
    return str(Path(path).parent)


def _perhaps(now: bytearray, surely: bytes, random: Random) -> bytes:
    if bytes(now) == surely:
        return surely
    what = random.choice(["kept", "zero", "old", "cut"])
    if what == "zero":
        return surely + bytes(len(now) - len(surely)) if len(now) > len(surely) else surely
    if what == "cut":
        return bytes(now[: random.randrange(len(now))])
    return bytes(now) if what == "kept" else surely


def lay_down(state: dict[str, bytes | None], old: Path, new: Path) -> None:
    """Make the state real in the folder ``new``; its paths were below ``old``."""
    moved = {str(new) + path[len(str(old)) :]: kept for path, kept in state.items()}
    for path, kept in sorted(moved.items()):
        if kept is None:
            Path(path).mkdir()
    for path, kept in moved.items():
        if kept is not None:
            Path(path).write_bytes(kept)
