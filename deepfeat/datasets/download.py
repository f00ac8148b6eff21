"""One file over HTTP, continued where an earlier run was stopped, never mixed of two versions.

The bytes received lie in a part; beside it notes say which version they are of: address, ETag,
Last-Modified and size. The rest is asked for on the condition that the version is still the same
(``Range`` with ``If-Range``), and the answer is compared again. A server that cannot do that, or
has another version by now, sends the whole, and the part begins anew. So does a part whose version
nobody noted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfeat import files
from deepfeat.errors import NotEnoughSpace

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 30.0
CHUNK = 1 << 17  # up to one is lost where a connection breaks
MOST_BYTES = 16 << 30  # where the server states no size
MEBIBYTE = 1 << 20

Progress = Callable[[int, int], None]


class Stopped(Exception):
    """The download ended before its end; says why."""


@dataclass(frozen=True, slots=True)
class _Version:
    """What tells two versions of a file at an address apart, as far as its server says."""

    url: str
    etag: str
    modified: str
    total: int | None

    @property
    def condition(self) -> dict[str, str]:
        """The header that asks for a rest only of this version; weak tags promise too little."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else self.modified
        return {"If-Range": strong} if strong else {}


def finish(
    url: str, part: Path, *, size_bytes: int | None = None, progress: Progress | None = None
) -> None:
    """Receive what is missing of a part; once this returns it is whole and on the disk.

    One caller at a time for a part.

    Parameters
    ----------
    size_bytes : int, optional
        For ``progress`` where the server states no size.
    progress : callable, optional
        Called with the bytes that are here and those expected (0 if unknown).

    Raises
    ------
    Stopped
        If the server does not give it, or not all of it; what came stays in the part.
    NotEnoughSpace
    OSError
        From the disk.
    """
    import requests

    def tell(done: int, total: int | None) -> None:
        if progress:
            progress(done, total or size_bytes or 0)

    known = _noted(part, url)
    if known and part.stat().st_size == known.total:
        return  # stopped after the last byte
    try:
        _receive(url, part, known, tell)
    # requests' errors are OSErrors: caught here, the disk's are left.
    except requests.exceptions.RequestException as error:
        raise Stopped(_reason(error)) from error


def notes_of(part: Path) -> Path:
    """Where the version of a part is noted."""
    return part.with_name(part.name + ".json")


def _noted(part: Path, url: str) -> _Version | None:
    """The version whose start is in the part, or None where nothing can be continued."""
    try:
        version = _Version(**json.loads(notes_of(part).read_bytes()))
        size = part.stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    can_continue = version.url == url and version.total is not None and 0 < size <= version.total
    return version if can_continue else None


def _receive(
    url: str, part: Path, known: _Version | None, tell: Callable[[int, int | None], None]
) -> None:
    """Ask for the rest of the part if its version is known and still there, else for the whole."""
    import requests

    offset = part.stat().st_size if known else 0
    headers = {"Accept-Encoding": "identity"}
    if known:
        headers |= {"Range": f"bytes={offset}-", **known.condition}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if known and response.status_code == 206 and _continues(response, known, offset):
            return _pour(response, part, known, offset, tell)
        if not known or response.status_code not in (206, 416):
            response.raise_for_status()
            if response.status_code != 200:
                raise Stopped(f"the server answers {response.status_code} {response.reason}")
            return _pour(response, part, _version(response, url), 0, tell)
    return _receive(url, part, None, tell)


def _continues(response: requests.Response, known: _Version, offset: int) -> bool:
    """Whether a partial answer is the rest, and of the version whose start is here."""
    headers = response.headers
    found = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+)", headers.get("Content-Range", ""))
    return (
        found is not None
        and (int(found[1]), int(found[2])) == (offset, known.total)
        and headers.get("ETag", known.etag) == known.etag
        and headers.get("Last-Modified", known.modified) == known.modified
    )


def _version(response: requests.Response, url: str) -> _Version:
    headers = response.headers
    length = headers.get("Content-Length", "")
    is_plain = headers.get("Content-Encoding", "identity") == "identity"
    return _Version(
        url,
        headers.get("ETag", ""),
        headers.get("Last-Modified", ""),
        int(length) if is_plain and length.isdigit() else None,
    )


def _pour(
    response: requests.Response,
    part: Path,
    version: _Version,
    done: int,
    tell: Callable[[int, int | None], None],
) -> None:
    """Write a body behind the first ``done`` bytes of the part; from 0, note the version first."""
    total = version.total
    _check_space(part, (total or 0) - done)
    with part.open("ab" if done else "wb", buffering=0) as file:
        if not done:  # only once nothing of another version is left in the part
            os.fsync(file.fileno())
            files.replace(notes_of(part), [json.dumps(asdict(version)).encode()])
        for piece in response.iter_content(CHUNK):
            done += len(piece)
            if done > (MOST_BYTES if total is None else total):
                raise Stopped(f"the server sends over {done - len(piece):,} bytes")
            files.write_all(file.fileno(), piece)
            tell(done, total)
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise Stopped(f"the connection broke after {done:,} of {total:,} bytes")


def _check_space(part: Path, needed: int) -> None:
    free = files.free_bytes(part.parent)
    if free < needed:
        raise NotEnoughSpace(
            f"'{part.parent}' has no room for the download",
            expected=f"{needed / MEBIBYTE:,.0f} MiB free",
            found=f"{free / MEBIBYTE:,.0f} MiB",
            advice="Make room, or choose another folder with DEEPFEAT_CACHE.",
        )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end"
    if isinstance(error, requests.exceptions.Timeout):
        return f"the server is silent for {TIMEOUT_S:.0f} s"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "the server cannot be reached, or fell silent"
    return f"{error!s:.160}"
