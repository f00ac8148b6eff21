"""Whether anything of a source can be read: where nothing can, nothing is written down about it.

One image that is missing is a hole. All of them missing is a mistake in a list, or a disk that is
not there: a store of holes alone would be finished, and nothing would mend it.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

from deepfeat.errors import DataMissing, NoPermission, printable
from deepfeat.extraction.stopping import Stopped

Place = str | bytes | os.PathLike[str]

# What names in a list are wrong by, and the name as it would be right.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "Paths are separated by '/', not by '\\'": lambda name: name.replace("\\", "/"),
    "There are blanks around a name": lambda name: "/".join(
        part.strip() for part in name.split("/")
    ),
    "A path is no address": lambda name: unquote(name.replace("file://", "").replace("file:/", "")),
}
# The same, where the other name is often as good: worth a word only if that file is there.
FORMS: dict[str, Callable[[str], str]] = {
    "Letters with accents are written in another way": lambda name: unicodedata.normalize(
        "NFD", name
    ),
    "Letters with accents are written in one piece": lambda name: unicodedata.normalize(
        "NFC", name
    ),
    "Blanks are written as %20 and the like": unquote,
    "Capital letters differ": lambda name: _in_its_folder(name),
}


def fault_of(place: Place) -> OSError | None:
    """Why a file cannot be read, or None. Opening never waits; one byte is read and dropped."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return OSError(errno.EINVAL, "not a regular file")
            os.pread(descriptor, 1, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error
    except ValueError as error:  # a name with a NUL byte
        return OSError(errno.EINVAL, str(error))
    return None


def find_readable(
    places: Iterable[Place], should_stop: Callable[[], bool] = lambda: False
) -> Place | None:
    """The first file that can be read, or None. Raises ``Stopped`` when asked to."""
    for place in places:
        if fault_of(place) is None:
            return place
        if should_stop():
            raise Stopped
    return None


def nothing_readable(name: str, count: int, first: Place, then: str) -> DataMissing | NoPermission:
    """The error for a source of images none of which can be read; ``then`` is what to do next."""
    fault = fault_of(first)
    reason = fault.strerror if fault else "it can be read now"
    is_forbidden = fault is not None and fault.errno in (errno.EACCES, errno.EPERM)
    path = os.fsdecode(first)
    advice = hint(path) or "Look whether the disk is there; paths of a CSV start from its folder."
    return (NoPermission if is_forbidden else DataMissing)(
        f"not one of the {count} images of '{printable(name)}' can be read",
        found=f"'{printable(path)}': {reason}",
        advice=" ".join(filter(None, (advice, then))),
    )


def hint(path: str) -> str:
    """What may be wrong with the name of a file that is not there; "" where nothing is seen."""
    if os.path.lexists(path):
        return ""
    for words, mend in {**SPELLINGS, **FORMS}.items():
        if (mended := mend(path)) != path and os.path.exists(mended):  # noqa: PTH110
            return f"{words}: there is '{printable(mended)}'."
    for words, mend in SPELLINGS.items():
        if (mended := mend(path)) != path:
            return f"{words}: '{printable(mended)}' may be meant."
    return ""


def _in_its_folder(name: str) -> str:
    """A name of the same folder that differs in capital letters alone, else the name."""
    path = Path(name)
    try:
        beside = sorted(os.listdir(path.parent))  # noqa: PTH208
    except (OSError, ValueError):
        return name
    alike = [one for one in beside if one.casefold() == path.name.casefold()]
    return str(path.with_name(alike[0])) if alike else name
