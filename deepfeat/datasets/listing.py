"""Which files of a folder are images to be: in byte order, with a count of all that were left out.

Only names and types are looked at; no file is opened. Regular files with an extension of the list
are taken. A link to a file counts as a file and is followed when the file is read; so a dangling or
circular one is listed, and ends as a hole with a status rather than unseen. A link to a folder is
named, and followed only on request, each real folder once, real folders before links, so that loops
end and a file has one key. Names that begin with a dot (``.cache``, and the ``._a.jpg`` that a Mac
leaves beside ``a.jpg``) are never taken, and counted; nor are those of `SYSTEM_NAMES`, anywhere
below the folder: they hold thumbnails and deleted files that look like images. A folder of such a
name that is named itself is listed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deepfeat.datasets.dataset import Entry
from deepfeat.errors import DataMissing, NoPermission

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".mpo"),
)

# What systems put among a user's files, in lower case: none can be meant as images or as a class.
SYSTEM_NAMES = {
    b"@eadir": "Synology: thumbnails and indexes of each folder",
    b"#recycle": "Synology: deleted files",
    b"#snapshot": "Synology: earlier states",
    b"@__thumb": "QNAP: thumbnails",
    b"@recycle": "QNAP: deleted files",
    b"@recently-snapshot": "QNAP: earlier states",
    b"~snapshot": "NetApp: earlier states",
    b"__macosx": "a ZIP made on a Mac: attributes of each file, under the file's name",
    b"network trash folder": "a Mac on a file server: deleted files",
    b"temporary items": "a Mac on a file server",
    b"$recycle.bin": "Windows: deleted files",
    b"system volume information": "Windows: restore points and indexes",
    b"thumbs.db": "Windows: thumbnails in one file",
    b"ehthumbs.db": "Windows: thumbnails of films in one file",
    b"desktop.ini": "Windows: how a folder looks",
    b"found.000": "Windows: pieces of files that a check of the disk found",
    b"lost+found": "Unix: pieces of files that a check of the disk found",
    b"lost.dir": "Android: pieces of files that a check of the card found",
}


def is_left_out(name: bytes) -> bool:
    """Whether a file or folder of this name is never taken."""
    return name.startswith(b".") or name.lower() in SYSTEM_NAMES


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds.

    Parameters
    ----------
    entries : tuple of Entry
        In byte order of their keys.
    skipped : mapping from extension to count
        Regular files that were not taken; lower case with the dot, "" for none.
    hidden : int
        Files and folders whose names begin with a dot.
    special : int
        FIFOs, sockets and devices.
    unreadable : tuple of str
        Folders that could not be listed.
    links : tuple of str
        Links to folders that were not followed.
    ignored_columns : tuple of str
        Of a CSV: columns without a meaning here.
    system : mapping from name to count
        Files and folders of `SYSTEM_NAMES`, by name.
    """

    entries: tuple[Entry, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    hidden: int = 0
    special: int = 0
    unreadable: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    system: Mapping[str, int] = field(default_factory=dict)


def list_folder(
    root: str | os.PathLike[str],
    *,
    extensions: Collection[str] | None = None,
    all_files: bool = False,
    follow_links: bool = False,
) -> Listing:
    """List the images below a folder.

    Parameters
    ----------
    root : path
    extensions : collection of str, optional
        Taken instead of `EXTENSIONS`; case and a missing dot do not matter.
    all_files : bool
        Take regular files of every extension; what is no image is found out by reading.
    follow_links : bool
        Enter links to folders.

    Raises
    ------
    DataMissing
        Where there is no such folder, or nothing in it is taken; the message counts what is there.
    NoPermission
        Where the folder itself cannot be listed.
    """
    walk = _Walk(os.fsencode(root), None if all_files else _normalised(extensions), follow_links)
    walk.run()
    entries = tuple(sorted(walk.entries, key=lambda entry: entry.key))
    listing = Listing(
        entries,
        dict(sorted(walk.skipped.items())),
        walk.hidden,
        walk.special,
        tuple(sorted(walk.unreadable)),
        tuple(sorted(walk.links)),
        system=dict(sorted(walk.system.items())),
    )
    if not entries:
        raise DataMissing(
            f"no images in '{_shown(walk.root)}'",
            expected="all files" if all_files else f"files named {' '.join(sorted(walk.taken))}",
            found=_described(listing),
            advice="" if all_files else "Give --extensions, or --all-files to go by contents.",
        )
    return listing


class _Walk:
    """One walk over a tree: names stay bytes, because a name need not be text."""

    def __init__(self, root: bytes, extensions: frozenset[str] | None, follow_links: bool):
        self.root = root
        self.taken = extensions or frozenset()
        self.takes_all = extensions is None
        self.follow_links = follow_links
        self.entries: list[Entry] = []
        self.skipped: Counter[str] = Counter()
        self.hidden = 0
        self.system: Counter[str] = Counter()
        self.special = 0
        self.unreadable: list[str] = []
        self.links: list[str] = []
        self._linked: list[bytes] = []
        self._seen: set[tuple[int, int]] = set()

    def run(self) -> None:
        try:
            is_folder = os.path.isdir(self.root)  # noqa: PTH112  (bytes)
            if not is_folder:
                os.stat(self.root)  # noqa: PTH116  (bytes)
                raise DataMissing(
                    f"'{_shown(self.root)}' is not a folder", advice="Give a folder or a CSV file."
                )
            self._enter(b"")
        except PermissionError as error:
            raise NoPermission(
                f"the folder '{_shown(self.root)}' cannot be listed", found=str(error.strerror)
            ) from error
        except OSError as error:
            raise DataMissing(
                f"there is no folder '{_shown(self.root)}'", found=str(error.strerror)
            ) from error
        while self._linked:  # the lowest name first: which of two links wins is no accident
            lowest = min(self._linked)
            self._linked.remove(lowest)
            self._enter(lowest)

    def _enter(self, top: bytes) -> None:
        """List a folder and all real folders below it; ``top`` is relative, "" for the root."""
        pending = [top]
        while pending:
            folder = pending.pop()
            where = os.path.join(self.root, folder) if folder else self.root  # noqa: PTH118
            try:
                found = os.stat(where)  # noqa: PTH116
                if (found.st_dev, found.st_ino) in self._seen:
                    self.links.append(_shown(folder))  # a link to what was listed already
                    continue
                with os.scandir(where) as names:
                    children = sorted(names, key=lambda child: child.name)
            except OSError:
                if not folder:
                    raise
                self.unreadable.append(_shown(folder))
                continue
            self._seen.add((found.st_dev, found.st_ino))
            pending.extend(self._sort_out(folder, children))

    def _sort_out(self, folder: bytes, children: list[os.DirEntry[bytes]]) -> Iterator[bytes]:
        """Take the files of one folder; yield the real folders in it."""
        for child in children:
            key = folder + b"/" + child.name if folder else child.name
            if child.name.lower() in SYSTEM_NAMES:
                self.system[_shown(child.name)] += 1
            elif is_left_out(child.name):
                self.hidden += 1
            elif child.is_dir(follow_symlinks=False):
                yield key
            elif child.is_symlink() and _is(child.is_dir):
                if self.follow_links:
                    self._linked.append(key)
                else:
                    self.links.append(_shown(key))
            elif child.is_symlink() or child.is_file(follow_symlinks=False):
                self._take(key, child)
            else:
                self.special += 1

    def _take(self, key: bytes, child: os.DirEntry[bytes]) -> None:
        _, dot, last = child.name.rpartition(b".")
        extension = (dot + last if dot else b"").decode("ascii", "backslashreplace").lower()
        if self.takes_all or extension in self.taken:
            self.entries.append(Entry(key, Path(os.fsdecode(child.path))))
        else:
            self.skipped[extension] += 1


def _is(question: Callable[[], bool]) -> bool:
    """Ask a directory entry about its target; a loop or a lack of permission is a no."""
    try:
        return question()
    except OSError:
        return False


def _normalised(extensions: Collection[str] | None) -> frozenset[str]:
    chosen = EXTENSIONS if extensions is None else extensions
    return frozenset("." + extension.lower().lstrip(".") for extension in chosen)


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _described(listing: Listing) -> str:
    counts = [f"{n} x {extension or '(none)'}" for extension, n in listing.skipped.items()]
    counts += [f"{listing.hidden} hidden"] if listing.hidden else []
    counts += [f"{n} x '{name}'" for name, n in listing.system.items()]
    counts += [f"{listing.special} that are no files"] if listing.special else []
    counts += [f"{len(listing.unreadable)} unreadable folders"] if listing.unreadable else []
    counts += [f"{len(listing.links)} links to folders"] if listing.links else []
    return ", ".join(counts) or "nothing"
