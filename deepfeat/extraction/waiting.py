"""Views that wait for others of their size: in memory up to a bound, beyond it in a file.

The file has no name, is gone with the process, and is written and read rather than mapped, so that
its pages are the system's and not the run's. Where it cannot be written the views stay in memory.
"""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from deepfeat.errors import StoreError

WAITING_BYTES = 1 << 27
Pixels = NDArray[np.uint8]  # (h, w, 3)
View = tuple[int, Pixels]  # with its row in the shard
Batch = list[View]
Size = tuple[str, int, int]  # scale, height, width


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file a view lies, and its checksum."""

    start: int
    checksum: int


class Waiting:
    """Views by size, each in the order they came. Leaving its ``with`` block drops what is left.

    Parameters
    ----------
    folder : Path
        On the disk where the file is made.
    most : int
        Bytes in memory.
    """

    def __init__(self, folder: Path, most: int = WAITING_BYTES):
        self._folder = folder
        self._most = most
        self._held = 0
        self._file: IO[bytes] | None = None
        self._views: dict[Size, deque[tuple[int, Pixels | _Place]]] = {}

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()

    def sizes(self) -> list[Size]:
        """The sizes of which some view waits, in their order."""
        return sorted(self._views)

    def count(self, size: Size) -> int:
        """How many views of a size wait."""
        return len(self._views.get(size, ()))

    def add(self, size: Size, row: int, pixels: Pixels) -> None:
        """Let a view wait; its memory is not referred to any more."""
        place = self._written(pixels) if self._held + pixels.nbytes > self._most else None
        if place is None:
            self._held += pixels.nbytes
        kept = pixels.copy() if place is None else place
        self._views.setdefault(size, deque()).append((row, kept))

    def take(self, size: Size) -> Iterator[View]:
        """Give the views of a size, which wait no more: each is read when it is asked for, and not
        held any longer.

        Raises
        ------
        StoreError
            The disk does not give back what was written.
        """
        return self._given(size, self._views.pop(size, deque()))

    def _given(self, size: Size, kept: deque[tuple[int, Pixels | _Place]]) -> Iterator[View]:
        while kept:
            row, view = kept.popleft()
            if isinstance(view, _Place):
                yield row, self._read(view, size)
            else:
                self._held -= view.nbytes
                yield row, view

    def _written(self, pixels: Pixels) -> _Place | None:
        """Write a view behind the others; None where the disk is full or fails."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(  # noqa: SIM115
                    dir=self._folder, prefix=".tmp-", buffering=0
                )
            start = self._file.seek(0, 2)
            data = pixels.data.cast("B")
            while len(data):
                data = data[self._file.write(data) :]
        except OSError:
            return None
        return _Place(start, zlib.crc32(pixels.data))

    def _read(self, place: _Place, size: Size) -> Pixels:
        assert self._file
        pixels = np.empty((*size[1:], 3), np.uint8)
        data = pixels.data.cast("B")
        reason = "other bytes than were written"
        try:
            self._file.seek(place.start)
            while len(data) and (count := self._file.readinto(data)):  # type: ignore[attr-defined]
                data = data[count:]
        except OSError as error:
            reason = str(error.strerror)
        if len(data) or zlib.crc32(pixels.data) != place.checksum:
            raise StoreError(
                f"pixels that waited in a temporary file of '{self._folder}' cannot be read again",
                found=reason,
                advice="Look after the disk, then run the same command again.",
            )
        return pixels
