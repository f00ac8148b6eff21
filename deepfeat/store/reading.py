"""A file as HDF5 reads it: through us, so that an I/O error is known from a damaged structure."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from deepfeat.store.blocks import open_regular

MOST_READ = (
    1 << 28
)  # bytes that HDF5 may ask for; a store with as many columns as may be takes 4 MB


class Reading(io.RawIOBase):
    """A file as HDF5 reads it; ``failed`` is what the operating system said, if it refused."""

    def __init__(self, path: Path) -> None:
        self.descriptor = open_regular(path)
        self.end = os.fstat(self.descriptor).st_size
        self.at = 0
        self.left = MOST_READ
        self.failed: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = (0, self.at, self.end)[whence] + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self.left -= len(view)
        if self.left < 0:
            raise ValueError(f"its structure takes more than {MOST_READ} bytes")
        done = 0
        while done < len(view):
            try:
                piece = os.pread(self.descriptor, len(view) - done, self.at + done)
            except OSError as error:
                self.failed = error
                raise
            if not piece:
                raise ValueError("its structure points behind its end")
            view[done : done + len(piece)] = piece
            done += len(piece)
        self.at += done
        return done

    def close(self) -> None:
        if not self.closed:
            os.close(self.descriptor)
        super().close()
