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
    """A folder by its name and by descriptors: its own, and that of its lock."""

    folder: Path
    directory: int
    lock: int | None  # None: without a lock

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
            Another folder, or another lock, has its name.
        StoreError
            It is gone, or the disk failed.
        """
        try:
            if not self.is_still():
                raise _replaced(self.folder)
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

    def check_manifest(self, manifest: Manifest) -> None:
        """``check``, and ``manifest`` is what stands there: no other run has committed to it."""
        self.check()
        text = manifest.to_bytes()
        try:
            is_ours = read_small(self.folder / MANIFEST, len(text)) == text
        except (DataMissing, StoreDamaged):
            is_ours = False
        if not is_ours:
            raise _replaced(self.folder)

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


def _replaced(folder: Path) -> StoreLocked:
    return StoreLocked(
        f"the folder '{folder}', or what is in it, was replaced or removed while this run wrote "
        "it: nothing more is written",
        advice="Look for a second run that writes it, then start the command again.",
    )
