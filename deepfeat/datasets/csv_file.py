"""A CSV file as a list of images: one header, one image or region a line, read as a stream.

UTF-8 (a byte-order mark is allowed), comma-separated, quoted as RFC 4180 has it. A path is the
image's key, exactly as it is written, and is relative to the CSV's folder or a given root. An
absolute path is taken as it is; one that climbs out of the root is refused unless allowed. Columns
``x0, y0, x1, y1`` make an entry a region; a path may then repeat with different boxes. A blank
label cell says nothing of any class: all its labels are 0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from deepfeat.datasets.dataset import Box, DataSet, Entry, no_labels
from deepfeat.datasets.listing import Listing
from deepfeat.errors import DataError, DataMissing, NoPermission, UsageError, some
from deepfeat.tables import advice

BOX = ("x0", "y0", "x1", "y1")
SPLIT = "split"
LONGEST_LINE = 1 << 20  # characters
ARCHIVES = {
    b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
    b"(\xb5/\xfd": "Zstandard",
}
TAR_AT = 257  # where a tar says that it is one
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    entry: Entry
    cells: Mapping[str, str]


def list_csv(
    path: str | os.PathLike[str],
    *,
    key_column: str = "path",
    root: str | os.PathLike[str] | None = None,
    allow_outside: bool = False,
) -> Listing:
    """List the images that a CSV file names; the files themselves are not looked at.

    Parameters
    ----------
    path : path
    key_column : str
        The column of paths.
    root : path, optional
        What paths are relative to; the CSV's folder by default.
    allow_outside : bool
        Allow relative paths that leave the root.

    Raises
    ------
    DataMissing
        Where there is no such file, or it names no image.
    NoPermission
    DataError
        For a missing column, a line that does not fit the header, a repeated path, or bytes that
        are not UTF-8; the message gives the line.
    UsageError
        For a path that leaves the root.
    """
    with _opened(Path(path)) as rows:
        header = _header(path, rows, (key_column,))
        lines = _lines(path, rows, header, key=key_column, root=root, allow_outside=allow_outside)
        entries = [line.entry for line in lines]
    known = (key_column, "label", SPLIT, *BOX)
    ignored = tuple(name for name in header if name not in known)
    entries.sort(key=lambda entry: entry.key)
    _check_not_empty(path, entries)
    return Listing(tuple(entries), ignored_columns=ignored)


def csv_dataset(
    path: str | os.PathLike[str],
    *,
    key: str = "path",
    labels: str = "label",
    split: str = SPLIT,
    root: str | os.PathLike[str] | None = None,
    separator: str = ";",
) -> DataSet:
    """Read a data set from a CSV file.

    Parameters
    ----------
    path : path
    key, labels, split : str
        Columns. The one of splits may be missing when it has the default name; blank cells of it
        belong to no split.
    root : path, optional
        What paths are relative to; the CSV's folder by default.
    separator : str
        Between several labels of one image.

    Returns
    -------
    DataSet
        Named like the file; classes in byte order. Labels are 1 for those named, -1 for the
        others, and 0 throughout where the cell is blank.

    Raises
    ------
    DataMissing, NoPermission, DataError, UsageError
        As `list_csv`.
    """
    with _opened(Path(path)) as rows:
        wanted = (key, labels) if split == SPLIT else (key, labels, split)
        header = _header(path, rows, wanted)
        lines = list(_lines(path, rows, header, key=key, root=root, allow_outside=False))
    _check_not_empty(path, lines)
    lines.sort(key=lambda line: line.entry.key)  # stable: boxes of a key in the file's order
    named = [_names(line.cells[labels], separator) for line in lines]
    classes = sorted({name for names in named for name in names}, key=os.fsencode)
    index = {name: number for number, name in enumerate(classes)}
    table = no_labels(len(lines), len(classes), f"'{path}', column '{labels}'")
    splits: dict[str, list[int]] = {}
    for row, (line, names) in enumerate(zip(lines, named, strict=True)):
        table[row, [index[name] for name in names]] = 1
        if not names:
            table[row] = 0
        if part := line.cells.get(split, "").strip():
            splits.setdefault(part, []).append(row)
    return DataSet(
        name=Path(path).stem,
        entries=tuple(line.entry for line in lines),
        classes=tuple(classes),
        labels=table,
        splits={name: np.array(rows, np.int64) for name, rows in sorted(splits.items())},
    )


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[list[str]]]:
    """Open a CSV; what is wrong with its bytes or quotes is told with the line it happened in."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device be endless
            raise DataError(f"'{path}' is not a regular file", advice="Write it to a file first.")
        _check_kind(path)
        file = path.open(encoding="utf-8-sig", newline="")
    except PermissionError as error:
        raise NoPermission(f"'{path}' cannot be read", found=str(error.strerror)) from error
    except OSError as error:
        raise DataMissing(f"there is no CSV file '{path}'", found=str(error.strerror)) from error
    with file:
        rows = csv.reader(_lines_of(file), strict=True)
        try:
            yield rows
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"'{path}' is not a CSV file in UTF-8, at or after line {rows.line_num + 1}",
                found=str(error),
                advice="Save it again as CSV UTF-8.",
            ) from error


def _check_kind(path: Path) -> None:
    """Say what a file is that is plainly no CSV file."""
    with path.open("rb") as file:
        start = file.read(TAR_AT + 5)
    name = path.suffix.lower()
    if name in SPREADSHEETS:
        raise DataError(f"'{path}' is a spreadsheet", advice="Save it as CSV UTF-8, and give that.")
    kinds = [kind for signature, kind in ARCHIVES.items() if start.startswith(signature)]
    kinds += ["tar"] if start[TAR_AT:] == b"ustar" else []
    if kinds:
        raise DataError(
            f"'{path}' is a {kinds[0]} archive",
            expected="a folder of images, or a CSV file with their paths",
            advice="Unpack it first, and give the folder.",
        )


def _lines_of(file: TextIO) -> Iterator[str]:
    """Lines, unless one is longer than any list of images has."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line of over {LONGEST_LINE:,} characters")
        yield line


def _header(
    path: str | os.PathLike[str], rows: Iterator[list[str]], wanted: tuple[str, ...]
) -> list[str]:
    header = [name.strip() for name in next(rows, [])]
    if len(set(header)) != len(header):
        raise DataError(f"'{path}': a column is named twice", found=", ".join(header))
    for name in wanted:
        if name not in header:
            raise DataError(
                f"'{path}' has no column '{name}'",
                found=", ".join(header) or "an empty file",
                advice=_column_advice(header, name),
            )
    return header


def _lines(
    path: str | os.PathLike[str],
    rows: Iterator[list[str]],
    header: list[str],
    *,
    key: str,
    root: str | os.PathLike[str] | None,
    allow_outside: bool,
) -> Iterator[_Line]:
    folder = Path(path).parent if root is None else Path(root)
    has_boxes = set(BOX) <= set(header)
    seen: dict[tuple[str, Box | None], int] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        where = f"'{path}', line {getattr(rows, 'line_num', number)}"
        if len(row) != len(header):
            raise DataError(
                f"{where}: the line does not fit the header",
                expected=f"{len(header)} cells",
                found=f"{len(row)}",
                advice="Quote cells that contain commas or line ends.",
            )
        cells = dict(zip(header, row, strict=True))
        box = _box(where, cells) if has_boxes else None
        plain = _checked(where, cells[key], allow_outside)
        first = seen.setdefault((plain, box), number)
        if first != number:
            raise DataError(
                f"{where}: the path was named before",
                found=f"'{cells[key]}', first as image {first - 1}",
                advice="Name each image once.",
            )
        name = cells[key]
        yield _Line(number, Entry(os.fsencode(name), folder / name, box), cells)


def _column_advice(header: list[str], name: str) -> str:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return "Columns are separated by commas."
    first = f"The first line names the columns: put '{name}' there"
    if len(header) == 1 and ("/" in header[0] or "." in header[0]):  # an image already
        return f"{first}, above the paths; or give --key-column."
    return f"{advice(header, name)} {first}." if header else f"{first}."


def _checked(where: str, name: str, allow_outside: bool) -> str:
    """Return a path in its shortest form, after refusing what cannot be one."""
    if not name or "\0" in name:
        raise DataError(f"{where}: no path", found=repr(name))
    plain = os.path.normpath(name)
    if plain.split("/")[0] == ".." and not allow_outside:
        raise UsageError(
            f"{where}: the path leaves the folder that paths are relative to",
            found=f"'{name}'",
            advice="Give --allow-outside, or an absolute path.",
        )
    return plain


def _box(where: str, cells: Mapping[str, str]) -> Box | None:
    texts = [cells[name].strip() for name in BOX]
    if not any(texts):
        return None
    try:
        x0, y0, x1, y1 = (float(text) for text in texts)
    except ValueError as error:
        raise DataError(f"{where}: the box is not four numbers", found=some(texts)) from error
    if not np.isfinite((x0, y0, x1, y1)).all():
        raise DataError(f"{where}: the box is not finite", found=some(texts))
    return x0, y0, x1, y1


def _names(cell: str, separator: str) -> list[str]:
    return [name for part in cell.split(separator) if (name := part.strip())]


def _check_not_empty(path: str | os.PathLike[str], found: Sized) -> None:
    if not len(found):
        raise DataMissing(f"'{path}' names no image", expected="a header and one line an image")
