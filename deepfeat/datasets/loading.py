"""A published data set by its name: found where it lies, or fetched on request.

A set is looked for in the given root; without one in each folder of $DEEPFEAT_DATA, and then in
``data`` of the cache. A root may be the set's own folder, or one above it: ``SETS`` lists the usual
places. Nothing is downloaded unless asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfeat.datasets.archives import ARCHIVES, described, fetch_archive
from deepfeat.datasets.caltech import PUBLISHED, caltech_dataset
from deepfeat.datasets.dataset import DataSet
from deepfeat.datasets.unpack import check_target, unpack
from deepfeat.datasets.voc import LISTS, is_voc, voc_dataset
from deepfeat.errors import DataMissing, NoPermission, UsageError, some
from deepfeat.files import cache_folder, expanded, known_cache_folder
from deepfeat.tables import advice, look_up

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """How one set is found and read.

    Parameters
    ----------
    read : callable
        From its own folder and options to the data set.
    is_here : callable
        Whether a folder is the set's own.
    looks_like : str
        The same in words.
    places : tuple of str
        Where its own folder lies below a root.
    options : tuple of str
        Names of options of ``read``.
    """

    read: Callable[[Path, Mapping[str, bool]], DataSet]
    is_here: Callable[[Path], bool]
    looks_like: str
    places: tuple[str, ...]
    options: tuple[str, ...] = ()


def _voc(year: str) -> Source:
    own = f"VOC{year}"
    return Source(
        lambda root, _: voc_dataset(root, year),
        lambda root: is_voc(root, year),
        f"{LISTS}/trainval.txt with images of {year}",
        (
            *("", own, f"VOCdevkit/{own}", f"voc{year}/{own}", f"voc{year}/VOCdevkit/{own}"),
            *(f"voc{year}", f"TrainVal/VOCdevkit/{own}"),
        ),
    )


def _caltech(name: str, digits: str) -> Source:
    own = f"{digits}_ObjectCategories"
    published = PUBLISHED[name]
    return Source(
        lambda root, options: caltech_dataset(
            root, name, background=options.get("background", True)
        ),
        lambda root: any(
            published.identify(path.name) in published.classes and path.is_dir()
            for path in root.iterdir()
        ),
        f"the classes' folders, as {published.background}",
        (
            *("", own, f"{name}/{own}", f"caltech-{digits}/{own}", f"Caltech{digits}/{own}"),
            *(f"Caltech-{digits}/{own}", f"caltech_{digits}/{own}", name),
        ),
        ("background",),
    )


SETS: dict[str, Source] = {
    "caltech101": _caltech("caltech101", "101"),
    "caltech256": _caltech("caltech256", "256"),
    "voc2007": _voc("2007"),
    "voc2012": _voc("2012"),
}


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    accept_hash: bool = False,
    progress: Progress | None = None,
    cache: str | os.PathLike[str] | None = None,
    **options: bool,
) -> DataSet:
    """Load a published data set.

    Parameters
    ----------
    name : {"caltech101", "caltech256", "voc2007", "voc2012"}
    root : path, optional
        Its folder or one above it; by default the folders of $DEEPFEAT_DATA, then the cache's.
    download : bool
        Fetch and unpack what is not found: into the root, or the cache's folder of data.
    accept_hash : bool
        Accept an archive without a published checksum.
    progress : callable, optional
        Called with the bytes of an archive that are here and those expected (0 if unknown).
    cache : path, optional
        Instead of the environment's; archives are kept in its ``archives``.
    **options
        Of the set: ``background`` (bool) for the Caltech sets.

    Raises
    ------
    DataMissing
        Where it is not found; the message says where it was looked for, and how to have it.
    DataError
        Where its files contradict themselves.
    UsageError
        For an unknown name or option.
    Unavailable, CannotCreate, NotEnoughSpace
        If a download fails.
    """
    source = look_up(SETS, name, "data set")
    _check_options(name, source, options)
    place = find_root(name, root, cache=cache)
    if place is None and download:
        target = data_folder(cache) if root is None else expanded(root)
        check_target(target / name)
        folder = cache_folder(cache) / "archives"
        archives = [
            (fetch_archive(one, folder, accept_hash=accept_hash, progress=progress), one)
            for one in ARCHIVES[name]
        ]
        unpack(archives, target / name)
        place = find_root(name, root, cache=cache)
    if place is None:
        raise _missing(name, _roots(root, cache))
    return source.read(place, options)


def find_root(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
) -> Path | None:
    """The set's own folder, or None where it is in none of the places; nothing is read.

    Raises
    ------
    UsageError
        For an unknown name.
    NoPermission
        Where a folder cannot be listed.
    """
    source = look_up(SETS, name, "data set")
    for above in _roots(root, cache):
        for place in source.places:
            folder = above / place
            try:
                if folder.is_dir() and source.is_here(folder):
                    return folder
            except PermissionError as error:
                raise NoPermission(
                    f"the folder '{folder}' cannot be listed", found=str(error.strerror)
                ) from error
    return None


def data_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Where downloads are unpacked without a root: ``data`` in the cache."""
    return cache_folder(cache) / "data"


def _roots(root: str | os.PathLike[str] | None, cache: str | os.PathLike[str] | None) -> list[Path]:
    if root is not None:
        return [expanded(root)]
    listed = os.environ.get("DEEPFEAT_DATA", "").split(os.pathsep)
    folder = known_cache_folder(cache)
    own = [folder / "data"] if folder is not None and (cache or _may_be_seen(folder)) else []
    return [*(expanded(one) for one in listed if one), *own]


def _may_be_seen(folder: Path) -> bool:
    """The default cache lies in somebody else's home for a user who has none."""
    try:
        (folder / "data").stat()
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def _check_options(name: str, source: Source, options: Mapping[str, bool]) -> None:
    for option, value in options.items():
        if option not in source.options:
            known = advice(source.options, option) if source.options else "It has none."
            raise UsageError(f"data set '{name}' has no option '{option}'", advice=known)
        if not isinstance(value, bool):
            raise UsageError(
                f"option '{option}' of data set '{name}' is true or false", found=repr(value)
            )


def _missing(name: str, roots: list[Path]) -> DataMissing:
    source = SETS[name]
    archives = " and ".join(described(archive) for archive in ARCHIVES[name])
    either = " or ".join(f"'{folder}'" for folder in roots) or "any folder: none is named"
    below = some([place for place in source.places if place])
    return DataMissing(
        f"data set '{name}' is not in {either}",
        expected=f"{source.looks_like} there, or in one of {below} below",
        found="; ".join(_holdings(folder) for folder in roots),
        advice=f"--download fetches {archives}; or give the folder that has it with --data or"
        " DEEPFEAT_DATA.",
    )


def _holdings(folder: Path) -> str:
    """What a folder holds, in a few words."""
    try:
        names = sorted(folder.iterdir())
    except FileNotFoundError:
        return f"no folder '{folder}'"
    except NotADirectoryError:
        return f"'{folder}' is a file"
    except OSError as error:
        return f"'{folder}' cannot be listed ({error.strerror})"
    if not names:
        return f"'{folder}' is empty"
    folders = [path.name for path in names if path.is_dir()]
    files = len(names) - len(folders)
    parts = [f"{len(folders)} folders ({some(folders, 5)})"] if folders else []
    parts += [f"{files} files"] if files else []
    return f"'{folder}' holds {' and '.join(parts)}"
