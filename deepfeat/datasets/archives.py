"""Archives of published data sets: fetched once, continued where they stopped, checked, kept.

An archive grows in ``FILE.part`` (``download.py``) and gets its name only when its md5 is the
published one. Without a published checksum a file is accepted by a person once, and by its recorded
sha256 from then on. Nothing that is there is deleted; what came and is wrong is set aside under a
name that nothing reads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepfeat import files
from deepfeat.datasets.download import MEBIBYTE, Progress, Stopped, finish, notes_of
from deepfeat.errors import CannotCreate, DataError, NotEnoughSpace, Unavailable
from deepfeat.files import is_offline

OXFORD = "https://thor.robots.ox.ac.uk/pascal/VOC"
CALTECH = "https://data.caltech.edu/records"


@dataclass(frozen=True, slots=True)
class Archive:
    """One file to download.

    Parameters
    ----------
    file, url : str
    md5 : str, optional
        Hex; None where none is published.
    size_bytes : int, optional
        For messages and the free space; second hand, hence no check.
    takes : tuple of str
        Extensions of the files that are unpacked, in lower case.
    inner : str
        End of the name of the one archive inside that is unpacked instead; "" for none.
    """

    file: str
    url: str
    md5: str | None
    size_bytes: int | None
    takes: tuple[str, ...]
    inner: str = ""


VOC_FILES = (".jpg", ".txt", ".xml")
# Addresses and md5 as torchvision 0.29 has them; protocols.md 7.5.
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "caltech101": (
        Archive(
            "caltech-101.zip",
            f"{CALTECH}/mzrjq-6wc02/files/caltech-101.zip",
            "3138e1922a9193bfa496528edbbc45d0",
            137_414_764,
            (".jpg",),
            inner="101_ObjectCategories.tar.gz",
        ),
    ),
    "caltech256": (
        Archive(
            "256_ObjectCategories.tar",
            f"{CALTECH}/nyy15-4j048/files/256_ObjectCategories.tar",
            "67b4f42ca05d46448c6bb8ecd2220f6d",
            1_183_006_720,
            (".jpg",),
        ),
    ),
    "voc2007": (
        Archive(
            "VOCtrainval_06-Nov-2007.tar",
            f"{OXFORD}/voc2007/VOCtrainval_06-Nov-2007.tar",
            "c52e279531787c972589f7e41ab4ae64",
            460_032_000,
            VOC_FILES,
        ),
        Archive(
            "VOCtest_06-Nov-2007.tar",
            f"{OXFORD}/voc2007/VOCtest_06-Nov-2007.tar",
            "b6e924de25625d8de591ea690078ad9f",
            451_020_800,
            VOC_FILES,
        ),
    ),
    # Its test archive is had from the evaluation server with an account only.
    "voc2012": (
        Archive(
            "VOCtrainval_11-May-2012.tar",
            f"{OXFORD}/voc2012/VOCtrainval_11-May-2012.tar",
            "6cd6e144f989b92b3379bac3b3de84fd",
            1_999_639_040,
            VOC_FILES,
        ),
    ),
}


def described(archive: Archive) -> str:
    """``x.tar (439 MiB, md5 c52e...) from https://...``: what a message says of it."""
    facts = [f"{archive.size_bytes / MEBIBYTE:,.0f} MiB"] if archive.size_bytes else []
    facts.append(f"md5 {archive.md5}" if archive.md5 else "no published checksum")
    return f"{archive.file} ({', '.join(facts)}) from {archive.url}"


def fetch_archive(
    archive: Archive,
    folder: str | os.PathLike[str],
    *,
    accept_hash: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The archive in ``folder``, checked; downloaded, or what is missing of it, if it is not there.

    Parameters
    ----------
    accept_hash : bool
        Accept a file without a published checksum; its sha256 is recorded in ``FILE.sha256`` and
        is what the file is checked against from then on.
    progress : callable, optional
        Called with the bytes that are here and those expected (0 if unknown).

    Raises
    ------
    Unavailable
        If the file is not there and cannot be had, or what came is another file.
    DataError
        If the file that is there is not the one published or accepted, or nobody has accepted it.
    CannotCreate, NotEnoughSpace
        If the folder cannot take it.
    """
    path = Path(folder) / archive.file
    if path.exists():
        _check(archive, path, accept_hash)
        return path
    if is_offline():
        raise _unavailable(archive, path.parent, "DEEPFEAT_OFFLINE forbids the download")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            if not path.exists():  # or another process has had it in the meantime
                _download(archive, path, progress)
    except OSError as error:
        raise disk_error(error, path) from error
    _check(archive, path, accept_hash)
    return path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other downloads and unpackings out of a folder; a killed process lets go by itself."""
    with (folder / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"another process is downloading or unpacking in '{folder}'",
                advice="Wait until it has ended, and run this again.",
            ) from error
        yield


def disk_error(error: OSError, path: Path) -> CannotCreate:
    """What a failed write means to the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NotEnoughSpace(f"the disk of '{path.parent}' is full")
    return CannotCreate(
        f"'{path}' cannot be written: {error.strerror}",
        advice="Choose another folder with --data or DEEPFEAT_CACHE.",
    )


def _download(archive: Archive, path: Path, progress: Progress | None) -> None:
    """Bring ``FILE.part`` to its end, check it, and give it its name."""
    part = path.with_name(path.name + ".part")
    try:
        finish(archive.url, part, size_bytes=archive.size_bytes, progress=progress)
    except Stopped as error:
        size = part.stat().st_size if part.exists() else 0
        kept = f" The {size:,} bytes that came are kept; the next run continues." if size else ""
        raise _unavailable(archive, path.parent, str(error), kept) from error
    if archive.md5 and (md5 := _md5_of(part)) != archive.md5:
        wrong = path.with_name(f"{path.name}.wrong-{md5[:8]}")
        files.publish(part, wrong)
        files.remove(notes_of(part))
        why = f"what came has the md5 {md5} over {wrong.stat().st_size:,} bytes: another file"
        raise _unavailable(archive, path.parent, why, f" It is kept as '{wrong.name}'.")
    files.publish(part, path)
    files.remove(notes_of(part))


def _check(archive: Archive, path: Path, accept_hash: bool) -> None:
    """Compare a file with the published md5, or with the sha256 that was accepted."""
    if archive.md5:
        md5 = _md5_of(path)
        if md5 != archive.md5:
            raise _other_file(path, f"the md5 {archive.md5}", md5)
        return
    record = path.with_name(path.name + ".sha256")
    sha256 = files.sha256_of(path)
    if record.exists():
        accepted = record.read_text().strip()
        if sha256 != accepted:
            raise _other_file(path, f"the sha256 {accepted}, accepted before", sha256)
    elif accept_hash:
        try:
            files.replace(record, [f"{sha256}\n".encode()])
        except OSError as error:
            raise disk_error(error, record) from error
    else:
        raise DataError(
            f"'{path}' has no published checksum",
            found=f"sha256 {sha256} over {path.stat().st_size:,} bytes",
            advice="Compare it with that of someone you trust; --accept-hash accepts this file,"
            " and no other from then on.",
        )


def _other_file(path: Path, expected: str, found: str) -> DataError:
    return DataError(
        f"'{path}' is not the archive that was published",
        expected=expected,
        found=f"{found} over {path.stat().st_size:,} bytes",
        advice="Remove or rename the file; --download fetches it again.",
    )


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(files.BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _unavailable(archive: Archive, folder: Path, why: str, kept: str = "") -> Unavailable:
    return Unavailable(
        f"{archive.file} is not in '{folder}' and cannot be had: {why}.{kept}",
        expected=described(archive),
        advice=f"On a machine with a connection download {archive.url} and put it into '{folder}'.",
    )
