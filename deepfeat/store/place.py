"""Where a store stands, and whether it kept still while it was looked at.

A run that ends puts one file in the place of a directory, and a store may be made anew under its
name: whoever looks at that moment finds neither whole. So what seems damaged is believed only where
nothing has moved meanwhile; else it is looked at again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfeat.errors import DataMissing, NoPermission, StoreLocked
from deepfeat.store.again import is_gone
from deepfeat.store.folder import has_only_begun, is_promised

LOOKS = 5
Stamps = dict[str, tuple[int, int, int]]  # name -> inode, bytes, time of modification in ns


@dataclass(frozen=True)
class Look:
    """A look at a store: where it stands, and the stamps of its files before."""

    place: Path
    before: Stamps

    def has_moved(self, names: Sequence[str] | None = None) -> bool:
        """Whether one of the files ``names``, or any, is another one now, or gone, or come.

        A file that was and is missing says nothing: then any file counts.
        """
        after = _stamps(self.place)
        if _sealed_beside(self.place) != self.place or not os.path.lexists(self.place):
            return True
        if names is None or not all(name in self.before and name in after for name in names):
            return self.before != after
        return any(self.before[name] != after[name] for name in names)


def looks(path: Path) -> Iterator[Look]:
    """Some looks at the store at ``path``: take what the first that keeps still shows.

    Where ``<name>.h5`` is not there yet but ``<name>.h5.work`` is, that directory is the store.

    Raises
    ------
    DataMissing
        Neither is there.
    StoreLocked
        None of the looks was the last: it moves all the time.
    """
    place = _place_of(path)
    for _ in range(LOOKS):
        yield Look(place, _stamps(place))
        place = _sealed_beside(path)
        place = _place_of(path) if place == path else place
    raise in_motion(path)


def in_motion(path: Path) -> StoreLocked:
    """The error of a reader who never found the store at rest."""
    return StoreLocked(
        f"'{path}' changed while it was read: another process writes it",
        advice="Wait for it to end, then try again.",
    )


def _place_of(path: Path) -> Path:
    work = path.with_name(path.name + ".work")
    place = work if is_gone(path) and work.is_dir() else path
    if is_gone(place):
        raise DataMissing(f"there is no store '{path}'", advice="Check the path.")
    try:
        if not place.is_dir() or not has_only_begun(place):
            return place
    except PermissionError as error:
        raise NoPermission(f"'{place}' may not be read", advice="Check its permissions.") from error
    except (FileNotFoundError, NotADirectoryError):
        return place  # it moves: the look will see that
    if _sealed_beside(place) != place:
        return _sealed_beside(place)
    raise DataMissing(
        f"there is no store '{path}' yet: a run has only begun it",
        advice="Wait for the run to go on, or start the same command again.",
    )


def _sealed_beside(place: Path) -> Path:
    """What is left of a directory beside its sealed file need not be whole."""
    sealed = place.with_name(place.name.removesuffix(".work"))
    return sealed if sealed.is_file() else place


def _stamps(place: Path) -> Stamps:
    found: Stamps = {}
    try:
        paths = [p for p in place.iterdir() if is_promised(p.name)] if place.is_dir() else [place]
        for path in paths:
            stat = path.stat()
            found[path.name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    except OSError:  # then it moves, or cannot be looked at: what does will say so
        found[""] = (0, 0, 0)
    return found
