"""Every way deepfeat can refuse, with the exit status a shell sees.

    DeepfeatError            70
      UsageError             64  a bad option, value or combination
        RecipeError          64  an unknown or contradictory key of a recipe
        NetworkError         64  an unknown network or layer, or one that cannot do what was asked
          WeightsError       65  weights that are damaged, foreign or do not fit
            WeightsUnavailable 69  weights that are neither here nor to be had
      StoreError             74  reading or writing a store failed
        StoreMismatch        65  the store was made with other arguments, or elsewhere
        StoreLocked          75  another process is writing
        StoreDamaged         65  checksum, structure or header is wrong
      CannotCreate           73  the target exists and is something else, or is not writable
        NotEnoughSpace       73  the result would not fit on the disk
      NoPermission           77  the source or the store is not readable
      DataError              65  a CSV, archive or label file that contradicts itself
        DataMissing          66  a source that does not exist or holds no images
      TooManyFailures        65  more holes than ``--max-failures`` allows
      Unavailable            69  an optional dependency or a device is missing

    KeyboardInterrupt
      Interrupted           130  SIGINT (130) or SIGTERM (143)

A class's ``exit_status`` is the command's. ``Interrupted`` says as much as the others, but it is no
``Exception``: a loop that logs what fails and goes on has to end at Ctrl-C. An image that cannot be
used is no error: it is a row with a status (``status.py``).
"""

from __future__ import annotations

from collections.abc import Sequence


class Told(BaseException):
    """What every error here says.

    Parameters
    ----------
    message : str
        One sentence: what happened, to which file or value.
    expected, found, advice : str
        What was expected, what was found, and what to do next; empty where the message says it.
        ``found`` may be several lines.
    """

    exit_status = 70

    def __init__(
        self,
        message: str,
        *,
        expected: str = "",
        found: str | Sequence[str] = "",
        advice: str = "",
    ):
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.found = found if isinstance(found, str) else _indented(found)
        self.advice = advice
        self._lines = () if isinstance(found, str) else tuple(found)

    def __str__(self) -> str:
        """One part a line. What is foreign in a part neither begins a line nor moves the cursor."""
        found = _indented([printable(line) for line in self._lines]) or printable(self.found)
        parts = [printable(self.message)]
        if self.expected:
            parts.append(f"expected: {printable(self.expected)}")
        if self.found:
            parts.append(f"found: {found}")
        if self.advice:
            parts.append(printable(self.advice))
        return "\n  ".join(parts)


class DeepfeatError(Told, Exception):
    """Base of every error raised on purpose."""


class UsageError(DeepfeatError):
    exit_status = 64


class RecipeError(UsageError):
    pass


class NetworkError(UsageError):
    pass


class WeightsError(NetworkError):
    exit_status = 65


class WeightsUnavailable(WeightsError):
    exit_status = 69


class StoreError(DeepfeatError):
    exit_status = 74


class StoreMismatch(StoreError):
    exit_status = 65


class StoreLocked(StoreError):
    exit_status = 75


class StoreDamaged(StoreError):
    exit_status = 65


class CannotCreate(DeepfeatError):
    exit_status = 73


class NotEnoughSpace(CannotCreate):
    pass


class NoPermission(DeepfeatError):
    exit_status = 77


class DataError(DeepfeatError):
    exit_status = 65


class DataMissing(DataError):
    exit_status = 66


class TooManyFailures(DeepfeatError):
    exit_status = 65


class Unavailable(DeepfeatError):
    exit_status = 69


class Interrupted(Told, KeyboardInterrupt):
    """A run stopped by a signal; 130 for SIGINT, 143 for SIGTERM, on the instance."""

    def __init__(self, message: str, *, exit_status: int = 130, advice: str = ""):
        super().__init__(message, advice=advice)
        self.exit_status = exit_status


def printable(text: str) -> str:
    """Text for a terminal: nothing in it may move the cursor or change what is seen."""
    known = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in known)


def _indented(lines: Sequence[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)


def some(names: list[str] | tuple[str, ...], most: int = 10) -> str:
    """``'a', 'b' and 31 more``: at most ``most`` names in quotes, and how many are left."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
