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
import select
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO, cast

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
        data = shown.encode(self.encoding, "backslashreplace")
        if self._stream is not None and self.error is None:
            try:
                if _is_plain(self._stream):
                    _flush_all(self._stream)  # what others wrote to it comes first
                    _write_all(self._stream.buffer, data)
                else:
                    self._stream.write(data.decode(self.encoding))
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None and self.error is None:
            try:
                _flush_all(self._stream)
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        """What is still in buffers goes nowhere, so that Python's own end does not fail on it."""
        self.error = error
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def _is_plain(stream: TextIO) -> bool:
    """A stream of Python's own over bytes, not one that does something else with its text."""
    return getattr(type(stream), "write", None) is io.TextIOWrapper.write


def _write_all(layer: BinaryIO, data: bytes) -> None:
    """Write until nothing is left; of a write that took a part only Python's text layer is silent,
    where nothing is buffered. A descriptor that does not block is waited for.
    """
    rest = memoryview(data)
    while rest:
        try:
            taken = layer.write(rest)
        except BlockingIOError as error:
            taken = error.characters_written
        if not taken:  # None, of a layer without a buffer
            _wait_for(layer)
        rest = rest[taken or 0 :]


def _flush_all(stream: TextIO) -> None:
    while True:
        try:
            return stream.flush()
        except BlockingIOError:
            _wait_for(stream)


def _wait_for(stream: TextIO | BinaryIO) -> None:
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    poll.poll()


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
