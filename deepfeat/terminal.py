"""The only door to the terminal: nothing in a text moves the cursor, and no failure stops the work.

Output that fails (a reader that has seen enough, a full disk, a closed descriptor) must change
neither what is done nor how it ends. So a stream here never raises: it remembers what went wrong,
drops the rest, and who asked for the answer is told at the end. What is shown may come from foreign
files, so a line is shown as one line, without control characters.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from deepfeat.errors import printable


class Output(io.TextIOBase):
    """A text stream that never fails, and escapes all control characters but line ends.

    Parameters
    ----------
    stream : text stream or None
        None, where the caller closed it: what is written goes nowhere.
    raw : bool
        Let control characters through: for a bar, which draws with them.

    Attributes
    ----------
    error : exception or None
        Why the stream ended, if it did.
    """

    def __init__(self, stream: TextIO | None, *, raw: bool = False):
        self._stream = stream
        self._raw = raw
        self.error: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # known only with the stream
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        shown = text if self._raw else "\n".join(map(printable, text.split("\n")))
        known = shown.encode(self.encoding, "backslashreplace").decode(self.encoding)
        if self._stream is not None and self.error is None:
            try:
                self._stream.write(known)
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None and self.error is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        """What is still in buffers goes nowhere, so that Python's own end does not fail on it."""
        self.error = error
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def say(*lines: str) -> None:
    """Write lines to standard error; each stays one line, whatever is in it."""
    _write(sys.stderr, lines)


def answer(*lines: str) -> None:
    """Write lines to standard output; each stays one line, whatever is in it."""
    _write(sys.stdout, lines)


def _write(stream: TextIO | None, lines: tuple[str, ...]) -> None:
    if stream is not None:
        stream.write("".join(f"{printable(line)}\n" for line in lines))
        stream.flush()


def canvas() -> TextIO:
    """Standard error itself, for a bar: below what escapes, and what another bar put there."""
    stream: Any = sys.stderr
    while isinstance(stream, Output) or hasattr(stream, "rich_proxied_file"):
        stream = stream._stream if isinstance(stream, Output) else stream.rich_proxied_file
    return cast(TextIO, Output(stream, raw=True))


@contextlib.contextmanager
def guarded() -> Iterator[tuple[Output, Output]]:
    """Standard output and error as `Output`, for all that is written as long as the block runs."""
    out, err = Output(sys.stdout), Output(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield out, err
        finally:
            out.flush()
            err.flush()


def occupy_standard_descriptors() -> None:
    """Where a caller closed descriptor 1 or 2, no file of ours may get its number.

    What a library then prints would be written into that file.
    """
    with contextlib.suppress(OSError):  # none is free, so none is left to be taken
        while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(nowhere, True)
        os.close(nowhere)
