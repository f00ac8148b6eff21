"""The folder that a run writes: is it still the one it began with?

A folder can be removed or moved while a run sleeps, and another run may begin one under its name.
Paths would then lead into the other's. So a run holds the folder and its lock open, and before it
gives a file its name, or takes one away, it asks whether the names still lead to what it holds.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from deepfeat.errors import DataMissing, StoreDamaged, StoreError, StoreLocked
from deepfeat.store.blocks import unreadable
from deepfeat.store.lock import LOCK
from deepfeat.store.manifest import MANIFEST, Manifest
from deepfeat.store.small import read_small

NONE = -1  # no descriptor has this number


@dataclass
class Held:
    """A folder by its name and by descriptors: its own, and that of its lock; its manifest."""

    folder: Path
    directory: int
    lock: int | None  # None: without a lock
    text: bytes | None = None  # of the manifest as it was read or written last
    stamp: tuple[int, int, int] | None = None

    def is_still(self) -> bool:
        """Whether folder and lock are those that are held. Raises ``OSError`` where one is gone."""
        is_same = os.path.samestat(os.stat(self.folder), os.fstat(self.directory))  # noqa: PTH116
        if not is_same or self.lock is None:
            return is_same
        return os.path.samestat(os.lstat(self.folder / LOCK), os.fstat(self.lock))  # noqa: PTH116

    def check(self) -> None:
        """Nothing more may be written unless the folder is still the one that was begun with.

        Raises
        ------
        StoreLocked
            Another folder or lock has its name, or another run committed to it.
        StoreError
            It is gone, or the disk failed.
        """
        try:
            is_ours = self.is_still() and self._is_manifest_ours()
        except (FileNotFoundError, NotADirectoryError) as error:
            if os.path.lexists(self.folder):
                raise _replaced(self.folder) from error
            raise StoreError(
                f"the folder '{self.folder}' was removed or moved while this run wrote it: nothing "
                "more is written",
                advice="Start the command again; what was committed went with the folder.",
            ) from error
        except OSError as error:
            raise unreadable(self.folder, error) from error
        if not is_ours:
            raise _replaced(self.folder)

    def _is_manifest_ours(self) -> bool:
        if self.text is None or _stamp(self.folder) == self.stamp:
            return True
        try:  # file systems of a network round times later
            return read_small(self.folder / MANIFEST, len(self.text)) == self.text
        except (DataMissing, StoreDamaged):
            return False

    def know(self, manifest: Manifest | None) -> None:
        """From here on ``manifest`` has to stand in the folder; with None, whatever does."""
        self.text = None if manifest is None else manifest.to_bytes()
        self.stamp = None if manifest is None else _stamp(self.folder)

    def save(self, manifest: Manifest) -> None:
        """Commit: replace the manifest of the folder, unless it is another's."""
        self.check()
        manifest.save(self.folder)
        self.know(manifest)

    def release(self) -> None:
        """Let go of both; the lock is then free."""
        for descriptor in (self.lock, self.directory):
            if descriptor is not None and descriptor != NONE:
                os.close(descriptor)
        self.lock, self.directory = None, NONE


def hold(folder: Path, lock: int | None) -> Held:
    """Hold a folder whose lock was taken. After an error the lock is free.

    Raises ``FileNotFoundError`` where the folder, or its lock, is another by now.
    """
    held = Held(folder, NONE, lock)
    try:
        held.directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not held.is_still():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    except FileNotFoundError:
        held.release()
        raise
    except OSError as error:
        held.release()
        raise unreadable(folder, error) from error
    return held


def _stamp(folder: Path) -> tuple[int, int, int]:
    """Inode, bytes and time of modification of the manifest."""
    found = os.lstat(folder / MANIFEST)  # noqa: PTH116
    return found.st_ino, found.st_size, found.st_mtime_ns


def _replaced(folder: Path) -> StoreLocked:
    return StoreLocked(
        f"the folder '{folder}', or what is in it, was replaced or removed while this run wrote "
        "it: nothing more is written",
        advice="Look for a second run that writes it, then start the command again.",
    )
