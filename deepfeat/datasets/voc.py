"""PASCAL VOC classification from the official lists: images, and what is claimed of each.

    VOC2007/JPEGImages/000005.jpg
    VOC2007/ImageSets/Main/trainval.txt             000005
    VOC2007/ImageSets/Main/chair_trainval.txt       000005  1

A label is 1 where at least one object of the class is not difficult, 0 where there are only
difficult ones, -1 where there is none [devkit 10.1.2]. The lists are read, never the annotations,
and an image is an entry whether or not its file is there: who needs it finds it missing. What
contradicts itself is refused with file and line; counts that differ from the published ones are a
remark, because a copy with fewer images is of use too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet, Entry
from deepfeat.errors import DataError, DataMissing, NoPermission, some
from deepfeat.tables import look_up

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
SETS = ("train", "val", "trainval", "test")
LISTS = "ImageSets/Main"
LABELS = {b"1": 1, b"0": 0, b"-1": -1}


@dataclass(frozen=True, slots=True)
class _Year:
    trainval: int  # images
    test: int
    positives: tuple[int, ...]  # images of trainval with label 1, in the order of CLASSES
    identifier: re.Pattern[bytes]
    unlabelled: frozenset[str] = frozenset()  # sets whose labels were never published


# 2007: counted in the lists; 2012: table 1 of its development kit. protocols.md 2.1
YEARS = {
    "2007": _Year(
        5011,
        4952,
        (
            *(238, 243, 330, 181, 244, 186, 713, 337, 445, 141),
            *(200, 421, 287, 245, 2008, 245, 96, 229, 261, 256),
        ),
        re.compile(rb"[0-9]{6}"),  # 000005
    ),
    "2012": _Year(
        11540,
        10991,
        (
            *(670, 552, 765, 508, 706, 421, 1161, 1080, 1119, 303),
            *(538, 1286, 482, 526, 4087, 527, 325, 507, 544, 575),
        ),
        re.compile(rb"[0-9]{4}_[0-9]{6}"),  # 2008_000001
        frozenset({"test"}),
    ),
}


def voc_dataset(
    root: str | os.PathLike[str], year: str | int = "2007", *, sets: Sequence[str] | None = None
) -> DataSet:
    """Read VOC 2007 or 2012 from its folder.

    Parameters
    ----------
    root : path
        The folder that holds JPEGImages and ImageSets.
    year : {"2007", "2012"}
    sets : sequence of {"train", "val", "trainval", "test"}, optional
        Image sets to read; by default those that have a list.

    Returns
    -------
    DataSet
        Named ``voc2007`` or ``voc2012``. Keys are file names, ``000005.jpg``; labels (N, 20) in
        {-1, 0, 1}, all 0 where a set has no labels (the test of 2012); each split in the order of
        its list.

    Raises
    ------
    DataMissing
        Where there are no lists, or not those of a wanted set.
    DataError
        For an unknown set, a missing class file, a line that is not as it should be, an image with
        two different labels, or sets that contradict each other.
    NoPermission
    """
    facts = look_up(YEARS, str(year), "year of VOC")
    lists = Path(root) / LISTS
    wanted = _wanted(Path(root), lists, sets)
    listed = {name: _identifiers(lists / f"{name}.txt", str(year)) for name in wanted}
    _check_sets(lists, listed)
    keys = sorted({one + b".jpg" for names in listed.values() for one in names})
    if not keys:
        raise DataMissing(f"the lists in '{lists}' name no image", found=some(list(listed)))
    row_of = {key: row for row, key in enumerate(keys)}
    rows = {
        name: np.array([row_of[one + b".jpg"] for one in names], np.int64)
        for name, names in listed.items()
    }
    labels = _labels(lists, listed, rows, len(keys), facts)  # (N, 20)
    images = Path(root) / "JPEGImages"
    return DataSet(
        name=f"voc{year}",
        entries=tuple(Entry(key, images / os.fsdecode(key)) for key in keys),
        classes=CLASSES,
        labels=labels,
        splits=rows,
        official=_official(facts, wanted),
        remarks=_remarks(str(year), facts, rows, labels),
    )


def _wanted(root: Path, lists: Path, sets: Sequence[str] | None) -> list[str]:
    """Names of the sets to read, in the order of SETS."""
    if not lists.is_dir():
        raise DataMissing(
            f"'{root}' has no lists of VOC",
            expected=f"the folder '{lists}'",
            advice="Give the folder that holds JPEGImages and ImageSets.",
        )
    there = [name for name in SETS if (lists / f"{name}.txt").exists()]
    for name in sets or ():
        look_up(dict.fromkeys(SETS), name, "image set of VOC", error=DataError)
        if name not in there:
            raise DataMissing(
                f"image set '{name}' has no list",
                expected=f"'{lists / name}.txt'",
                found=some(there) or "no list at all",
            )
    if not there:
        raise DataMissing(
            f"'{lists}' holds no list of images", expected=some([f"{name}.txt" for name in SETS])
        )
    return there if sets is None else [name for name in SETS if name in sets]


def is_voc(root: Path, year: str) -> bool:
    """Whether a folder has a list that begins with an image of that year."""
    paths = [path for name in SETS if (path := root / LISTS / f"{name}.txt").is_file()]
    firsts = [fields[0] for path in paths for _, fields in _lines(path)[:1]]
    return any(YEARS[year].identifier.fullmatch(first) for first in firsts)


def _identifiers(path: Path, year: str) -> list[bytes]:
    """The images of a set, in the list's order."""
    first_line: dict[bytes, int] = {}
    for number, fields in _lines(path):
        if len(fields) != 1 or not YEARS[year].identifier.fullmatch(fields[0]):
            raise DataError(
                f"'{path}', line {number}: not one identifier of an image of VOC {year}",
                found=_shown(b" ".join(fields)),
            )
        if fields[0] in first_line:
            raise DataError(
                f"'{path}', line {number}: the image was named before",
                found=f"{_shown(fields[0])}, first in line {first_line[fields[0]]}",
            )
        first_line[fields[0]] = number
    return list(first_line)


def _check_sets(lists: Path, listed: Mapping[str, list[bytes]]) -> None:
    """Train and val make up trainval and share nothing; test shares nothing with any."""
    sets = {name: frozenset(names) for name, names in listed.items()}
    for one, other in (("train", "val"), *((name, "test") for name in SETS[:3])):
        if one in sets and other in sets and (both := sets[one] & sets[other]):
            raise DataError(
                f"'{lists}': {len(both):,} images are in {one} and in {other}",
                found=some(sorted(map(_shown, both))),
            )
    if {"train", "val", "trainval"} <= set(sets):
        differ = (sets["train"] | sets["val"]) ^ sets["trainval"]
        if differ:
            raise DataError(
                f"'{lists}': trainval is not train and val together",
                found=f"{len(differ):,} images in one only: {some(sorted(map(_shown, differ)))}",
            )


def _labels(
    lists: Path,
    listed: Mapping[str, list[bytes]],
    rows: Mapping[str, NDArray[np.int64]],
    count: int,
    facts: _Year,
) -> NDArray[np.int8]:
    """(N, 20): what the class files of all sets say; they say the same of an image."""
    labels = np.zeros((count, len(CLASSES)), np.int8)
    is_known = np.zeros(count, bool)
    for name, names in listed.items():
        paths = [lists / f"{a_class}_{name}.txt" for a_class in CLASSES]
        missing = [path.name for path in paths if not path.exists()]
        if name in facts.unlabelled and len(missing) == len(paths):
            continue
        if missing:
            raise DataError(
                f"'{lists}': {len(missing)} class files of the set '{name}' are missing",
                expected=f"{len(CLASSES)} files like '{paths[0].name}'",
                found=f"without {some(missing)}",
            )
        place = rows[name]
        for column, path in enumerate(paths):
            told = _class_file(path, names)  # (n,)
            differs = is_known[place] & (labels[place, column] != told)
            if differs.any():
                first = int(np.flatnonzero(differs)[0])
                raise DataError(
                    f"'{path}', line {_line_of(path, first)}: another set says otherwise",
                    expected=f"{_shown(names[first])} {labels[place[first], column]}",
                    found=f"{_shown(names[first])} {told[first]}",
                )
            labels[place, column] = told
        is_known[place] = True
    return labels


def _class_file(path: Path, names: list[bytes]) -> NDArray[np.int8]:
    """(n,) labels of one class, for the images of a set in its list's order."""
    lines = _lines(path)
    labels = np.zeros(len(names), np.int8)
    for row, ((number, fields), name) in enumerate(zip(lines, names, strict=False)):
        if len(fields) != 2 or fields[1] not in LABELS:
            raise DataError(
                f"'{path}', line {number}: not an identifier and a label",
                expected=f"{_shown(name)} and 1, 0 or -1",
                found=_shown(b" ".join(fields)),
            )
        if fields[0] != name:
            raise DataError(
                f"'{path}', line {number}: another image than in the set's list",
                expected=_shown(name),
                found=_shown(fields[0]),
            )
        labels[row] = LABELS[fields[1]]
    if len(lines) != len(names):
        raise DataError(
            f"'{path}': another number of images than in the set's list",
            expected=f"{len(names):,} lines",
            found=f"{len(lines):,}",
        )
    return labels


def _lines(path: Path) -> list[tuple[int, list[bytes]]]:
    """Line number from 1, and fields between white space, of each line that is not blank."""
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise NoPermission(f"'{path}' cannot be read", found=str(error.strerror)) from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read", found=str(error.strerror)) from error
    split = ((number, line.split()) for number, line in enumerate(content.splitlines(), start=1))
    return [(number, fields) for number, fields in split if fields]


def _line_of(path: Path, row: int) -> int:
    return _lines(path)[row][0]


def _official(facts: _Year, wanted: list[str]) -> int:
    """Images of the published sets of which any part was read."""
    trains = any(name != "test" for name in wanted)
    return facts.trainval * trains + facts.test * ("test" in wanted)


def _remarks(
    year: str, facts: _Year, rows: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int8]
) -> tuple[str, ...]:
    if "trainval" not in rows:
        return ()
    found = (labels[rows["trainval"]] == 1).sum(axis=0)
    differ = [
        f"{name} {n:,} for {published:,}"
        for name, n, published in zip(CLASSES, found, facts.positives, strict=True)
        if n != published
    ]
    more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
    said = f"VOC {year}: positive images of trainval differ from the published numbers: "
    return (said + ", ".join(differ[:3]) + more,) if differ else ()


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
