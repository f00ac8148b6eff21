"""What a run reads from: a folder, a CSV file or a data set, as one list of keys and places."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepfeat.datasets.csv_file import list_csv
from deepfeat.datasets.dataset import DataSet, Entry
from deepfeat.datasets.listing import EXTENSIONS, Listing, list_folder
from deepfeat.errors import DataError, DataMissing, NoPermission, UsageError
from deepfeat.extraction.decoding import Task
from deepfeat.extraction.request import Selection
from deepfeat.store.plan import Listed

UNKNOWN = -1
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """Places by key in byte order, what was left out, and the rule by which images were listed."""

    name: str
    root: Path
    places: Mapping[bytes, Path]
    rule: Mapping[str, object]
    listing: Listing = field(default_factory=lambda: Listing(()))

    def task(self, listed: Listed) -> Task:
        """Where to read an image of the plan, and its size when it was listed."""
        place = self.places.get(listed.key) or self.root / os.fsdecode(listed.key)
        return Task(place, listed.size)

    def listed(self) -> list[Listed]:
        """Size and time of every file as it is now; -1 where it cannot be asked."""
        return [_look_at(key, place) for key, place in self.places.items()]


def open_source(source: str | os.PathLike[str] | DataSet, selection: Selection) -> Source:
    """List a source.

    Raises
    ------
    DataMissing, NoPermission, DataError, UsageError
        Where there is nothing to read, or the CSV contradicts itself.
    """
    if isinstance(source, DataSet):
        places = _places(source.name, source.entries)
        return Source(source.name, Path(), places, {"kind": "data set", "name": source.name})
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"a source cannot be a {type(source).__name__}",
            expected="a folder, a CSV file or a data set",
            advice="For a list of images in memory there is Extractor.encode.",
        )
    path = Path(source)
    if address := ADDRESS.match(os.fspath(source)):
        raise UsageError(
            f"'{source}' is an address, and addresses are not read",
            expected="a folder of images, or a CSV file with their paths",
            advice="Give the path alone."
            if address[1].lower() == "file"
            else "Download the images into a folder first.",
        )
    if _is_folder(path):
        rule = _rule_of_folder(selection)
        listing = _list_folder(path, selection)
        name, root = path.resolve().name or "root", path
    elif path.suffix.lower() in EXTENSIONS and path.is_file():
        raise UsageError(
            f"'{path}' is one image",
            expected="a folder of images, or a CSV file with their paths",
            advice="Give its folder; for a single image there is Extractor.encode in Python.",
        )
    elif path.exists():
        rule = {"kind": "csv", "column": selection.key_column}
        outside = selection.allow_outside
        listing = list_csv(path, key_column=selection.key_column, allow_outside=outside)
        name, root = path.stem, path.parent
    else:
        raise DataMissing(
            f"there is no '{path}'",
            expected="a folder of images, or a CSV file with their paths",
            advice="Check the path.",
        )
    places = _places(str(path), listing.entries)
    return Source(name, root, places, rule, listing)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError as error:
        raise NoPermission(f"'{path}' may not be read", advice="Check its permissions.") from error
    except OSError as error:  # a name that is too long
        raise DataMissing(f"there is no '{path}'", found=str(error.strerror)) from error


def _places(name: str, entries: Sequence[Entry]) -> dict[bytes, Path]:
    places: dict[bytes, Path] = {}
    for entry in entries:
        if entry.box is not None:
            raise UsageError(
                f"'{name}' has regions of images",
                expected="whole images: regions cannot be described yet",
                advice="Leave out the columns x0, y0, x1, y1.",
            )
        key = store_key(entry)
        if key in places:
            raise DataError(
                f"two entries would have the key '{key.decode(errors='backslashreplace')}'",
                found=f"'{places[key]}' and '{entry.place}'",
                advice="Name one of them by a path relative to the CSV file.",
            )
        places[key] = entry.place
    return dict(sorted(places.items()))


def store_key(entry: Entry) -> bytes:
    """The key as a store takes it: a name that no reader could mistake for a place outside.

    An absolute path, or one that leaves its CSV's folder, is named by its path from the root of the
    file system, without the leading "/".
    """
    key = entry.key
    if key.startswith(b"/") or b".." in key.split(b"/"):
        return os.fsencode(os.path.abspath(entry.place)).lstrip(b"/")  # noqa: PTH100
    return key


def _list_folder(path: Path, selection: Selection) -> Listing:
    return list_folder(
        path,
        extensions=selection.extensions,
        all_files=selection.all_files,
        follow_links=selection.follow_links,
    )


def _rule_of_folder(selection: Selection) -> dict[str, object]:
    extensions = sorted(selection.extensions or EXTENSIONS)
    return {
        "kind": "folder",
        "extensions": "all" if selection.all_files else extensions,
        "follow_links": selection.follow_links,
    }


def _look_at(key: bytes, place: Path) -> Listed:
    try:
        found = place.stat()
    except OSError:  # what is wrong with it shows when its turn comes
        return Listed(key, UNKNOWN, UNKNOWN)
    return Listed(key, found.st_size, found.st_mtime_ns)
