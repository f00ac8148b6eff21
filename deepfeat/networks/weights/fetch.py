"""Weights that are had by download: into the cache, checked against the hash in their name.

A file is written beside its place, checked, and only then given its name; what lies in the cache
under a name is checked again at every use. Nothing that is there is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from deepfeat import files
from deepfeat.errors import CannotCreate, NotEnoughSpace, WeightsError, WeightsUnavailable
from deepfeat.files import cache_folder, is_offline
from deepfeat.networks.weights.named import MEBIBYTE, Download

TIMEOUT_S = 30.0
CHUNK = 1 << 20
MOST_BYTES = 4 << 30  # where no size is stated

Progress = Callable[[int, int], None]


def fetch(
    download: Download,
    what: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> tuple[Path, str]:
    """The file in the cache, downloaded if it is not there, and its sha256 (hex).

    Parameters
    ----------
    what : str
        Whose file it is, for messages: "weights 'oxford' for vgg16".
    progress : callable, optional
        Called with the bytes that are here and the bytes expected (0 if that is unknown).

    Raises
    ------
    WeightsUnavailable
        If the file is not there and cannot be had, or what came is another file.
    WeightsError
        If the file in the cache is not the one its name says.
    CannotCreate, NotEnoughSpace
        If the cache folder cannot take it.
    """
    folder = cache_folder(cache) / "weights"
    path = folder / download.file
    if os.path.exists(path):  # noqa: PTH110  (a folder that may not be looked into has no file)
        sha256 = files.sha256_of(path)
        if not sha256.startswith(download.sha256_prefix):
            raise WeightsError(
                f"'{path}' is not the file of {what}",
                expected=f"a sha256 that starts with {download.sha256_prefix}",
                found=f"{sha256} over {path.stat().st_size:,} bytes",
                advice="Remove or rename the file; the next run downloads it again.",
            )
        return path, sha256
    if is_offline():
        raise _unavailable(download, what, folder, "DEEPFEAT_OFFLINE forbids the download")
    return path, _download(download, what, path, progress)


def _download(download: Download, what: str, path: Path, progress: Progress | None) -> str:
    folder = path.parent
    expected = download.size_bytes
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = files.free_bytes(folder)
        if expected and free < expected:
            raise NotEnoughSpace(
                f"'{folder}' has no room for {what}",
                expected=f"{expected / MEBIBYTE:,.0f} MiB free",
                found=f"{free / MEBIBYTE:,.0f} MiB",
                advice="Make room, or choose another folder with --cache or DEEPFEAT_CACHE.",
            )
        # The process in the name keeps two downloads of one file apart; the last one to finish wins
        # with the same bytes.
        part = folder / f"{download.file}.{os.getpid()}.part"
        try:
            sha256 = _receive(download, what, part, progress)
            files.publish(part, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotEnoughSpace(f"the disk of '{folder}' is full") from error
        raise CannotCreate(
            f"'{path}' cannot be written: {error.strerror}",
            advice="Choose another folder with --cache or DEEPFEAT_CACHE.",
        ) from error
    return sha256


def _receive(download: Download, what: str, part: Path, progress: Progress | None) -> str:
    """Download into ``part``, durably; the sha256 of what came, which is as promised."""
    import pooch
    import requests

    get = pooch.HTTPDownloader(chunk_size=CHUNK, timeout=TIMEOUT_S)
    with part.open("wb") as file:
        sink = _Sink(file.write, download.size_bytes, progress)
        try:
            get(download.url, sink, None)
        # requests' errors are OSErrors: caught here, the disk's are left.
        except (requests.exceptions.RequestException, _TooLong) as error:
            raise _unavailable(download, what, part.parent, _reason(error)) from error
        file.flush()
        os.fsync(file.fileno())
    sha256 = sink.digest.hexdigest()
    if not sha256.startswith(download.sha256_prefix):
        why = f"what came has the sha256 {sha256} over {sink.received:,} bytes: another file"
        raise _unavailable(download, what, part.parent, why)
    return sha256


class _TooLong(Exception):
    pass


class _Sink:
    """Where a download is poured: counts, hashes and stops what is too long."""

    def __init__(
        self, write: Callable[[bytes], int], expected: int | None, progress: Progress | None
    ) -> None:
        self.digest = hashlib.sha256()
        self.received = 0
        self._write = write
        self._expected = expected
        self._progress = progress
        # Stated sizes are rounded, and a header comes on top.
        self._most = MOST_BYTES if expected is None else expected + expected // 50 + MEBIBYTE

    def write(self, piece: bytes) -> None:
        self.received += len(piece)
        if self.received > self._most:
            raise _TooLong(f"the server sends over {self._most:,} bytes")
        self.digest.update(piece)
        self._write(piece)
        if self._progress:
            self._progress(self.received, self._expected or 0)

    def flush(self) -> None:
        """pooch asks for it after each piece; once at the end is enough."""


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.Timeout):
        return f"the server is silent for {TIMEOUT_S:.0f} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "the server cannot be reached"
    return f"{error!s:.160}"


def _unavailable(download: Download, what: str, folder: Path, why: str) -> WeightsUnavailable:
    size = f" ({download.size_bytes / MEBIBYTE:,.0f} MiB)" if download.size_bytes else ""
    return WeightsUnavailable(
        f"{what} are not in '{folder}' and cannot be had: {why}",
        expected=f"{download.file}{size}, sha256 {download.sha256_prefix}...",
        advice=f"On a machine with a connection download {download.url} and put it into "
        f"'{folder}' (--cache or DEEPFEAT_CACHE names another folder), or give --weights FILE with "
        "--preprocessing.",
    )
