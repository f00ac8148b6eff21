"""A file in memory for HDF5 to write its metadata into, without room for the data between."""

from __future__ import annotations

import io
from typing import Any

PAGE = 4096


class Sparse(io.RawIOBase):
    """A file in memory that keeps only the pages written to; the rest reads as zeros."""

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.written: list[tuple[int, int]] = []
        self.at = 0
        self.size = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def truncate(self, size: int | None = None) -> int:
        self.size = self.at if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        self.written.append((self.at, self.at + len(rest)))
        while len(rest):
            page, start = divmod(self.at, PAGE)
            part = rest[: PAGE - start]
            self.pages.setdefault(page, bytearray(PAGE))[start : start + len(part)] = part
            self.at += len(part)
            rest = rest[len(part) :]
        self.size = max(self.size, self.at)
        return len(memoryview(data).cast("B"))

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.between(self.at, self.at + len(view))
        self.at += len(view)
        return len(view)

    def between(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``; zeros where nothing was written."""
        out = bytearray(stop - start)
        for page in range(start // PAGE, -(-stop // PAGE)):
            if page in self.pages:
                low, high = max(start, page * PAGE), min(stop, (page + 1) * PAGE)
                out[low - start : high - start] = self.pages[page][low - page * PAGE :][
                    : high - low
                ]
        return bytes(out)
