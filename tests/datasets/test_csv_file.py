"""CSV files as they come: with marks, quotes, several labels, boxes, and mistakes."""

from __future__ import annotations

import csv
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepfeat.datasets.csv_file import csv_dataset, list_csv
from deepfeat.errors import DataError, DataMissing, NoPermission, UsageError


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "images.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_paths_are_listed_in_byte_order(written) -> None:
    listing = list_csv(written("path\nb.jpg\na/c.jpg\nB.jpg\n"))
    assert [entry.key for entry in listing.entries] == [b"B.jpg", b"a/c.jpg", b"b.jpg"]


def test_places_are_relative_to_the_folder_of_the_csv(written, tmp_path: Path) -> None:
    (entry,) = list_csv(written("path\na/b.jpg\n")).entries
    assert entry.place == tmp_path / "a" / "b.jpg"


def test_places_are_relative_to_a_given_root(written) -> None:
    (entry,) = list_csv(written("path\nb.jpg\n"), root="/data").entries
    assert entry.place == Path("/data/b.jpg")


def test_absolute_path_is_taken_as_it_is(written) -> None:
    (entry,) = list_csv(written("path\n/data/b.jpg\n")).entries
    assert (entry.key, entry.place) == (b"/data/b.jpg", Path("/data/b.jpg"))


@pytest.mark.parametrize("name", ["../b.jpg", "a/../../b.jpg", "..", "./../b.jpg"])
def test_path_that_leaves_the_root_is_refused(written, name: str) -> None:
    with pytest.raises(UsageError, match="line 2"):
        list_csv(written(f"path\n{name}\n"))


@pytest.mark.parametrize("name", ["..b.jpg", "a/../b.jpg", "...", "a..b/c.jpg"])
def test_path_with_dots_that_stays_inside_is_taken(written, name: str) -> None:
    assert len(list_csv(written(f"path\n{name}\n")).entries) == 1


def test_path_that_leaves_the_root_is_taken_on_request(written) -> None:
    listing = list_csv(written("path\n../b.jpg\n"), allow_outside=True)
    assert listing.entries[0].key == b"../b.jpg"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sets(
        st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=9),
        min_size=1,
    )
)
def test_any_name_survives_quoting(tmp_path: Path, names) -> None:
    names = [f"{name}.jpg" for name in names]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in names)])
    listing = list_csv(tmp_path / "a.csv")
    assert [entry.key for entry in listing.entries] == sorted(name.encode() for name in names)


def test_byte_order_mark_is_no_part_of_the_header(written) -> None:
    assert len(list_csv(written(b"\xef\xbb\xbfpath\r\na.jpg\r\n")).entries) == 1


def test_unknown_columns_are_named(written) -> None:
    listing = list_csv(written("size,path,label,note\n1,a.jpg,x,y\n"))
    assert listing.ignored_columns == ("size", "note")


def test_key_column_can_be_chosen(written) -> None:
    listing = list_csv(written("file,path\na.jpg,b.jpg\n"), key_column="file")
    assert listing.entries[0].key == b"a.jpg"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,label\na.jpg,x\n", "no column 'path'.*file, label"),
        ("", "an empty file"),
        ("path\na.jpg\nb.jpg\na.jpg\n", "line 4.*named before"),
        ("path\na.jpg\n./a.jpg\n", "line 3.*named before"),
        ("path,label\na.jpg\n", "line 2.*does not fit"),
        ("path,label\na.jpg,x,y\n", "line 2.*does not fit"),
        ("path,label\n,x\n", "line 2.*no path"),
        ("path,path\na.jpg,b.jpg\n", "named twice"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,x,4\n", "line 2.*four numbers"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,,4\n", "line 2.*four numbers"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,inf,4\n", "line 2.*not finite"),
        ('path\n"a.jpg\n', "not a CSV file"),
        (b"path\n\xff.jpg\n", "UTF-8"),
    ],
)
def test_mistake_is_named_with_its_line(written, text, says: str) -> None:
    with pytest.raises(DataError, match="(?s)" + says):
        list_csv(written(text))


def test_missing_column_suggests_the_near_one(written) -> None:
    with pytest.raises(DataError, match="Did you mean 'paths'"):
        list_csv(written("paths\na.jpg\n"))


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        list_csv(tmp_path / "gone.csv")


def test_header_alone_names_no_image(written) -> None:
    with pytest.raises(DataMissing, match="names no image"):
        list_csv(written("path\n"))


def test_file_without_permission_is_no_permission(written, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written("path\na.jpg\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NoPermission):
        list_csv(path)


def test_boxes_let_a_path_repeat(written) -> None:
    listing = list_csv(written("path,x0,y0,x1,y1\na.jpg,5,6,7,8\na.jpg,0,0,1.5,1\nb.jpg,,,,\n"))
    assert [(entry.key, entry.box) for entry in listing.entries] == [
        (b"a.jpg", (5, 6, 7, 8)),
        (b"a.jpg", (0, 0, 1.5, 1)),
        (b"b.jpg", None),
    ]


def test_equal_boxes_of_a_path_are_refused(written) -> None:
    with pytest.raises(DataError, match="line 3"):
        list_csv(written("path,x0,y0,x1,y1\na.jpg,5,6,7,8\na.jpg,5,6,7,8\n"))


def test_labels_are_split_and_the_others_negative(written) -> None:
    data = csv_dataset(written("path,label\nb.jpg,dog; cat\na.jpg,dog\n"))
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [[-1, 1], [1, 1]]


def test_blank_label_says_nothing_of_any_class(written) -> None:
    data = csv_dataset(written("path,label\na.jpg,dog\nb.jpg, \n"))
    assert data.labels.tolist() == [[1], [0]]


def test_separator_can_be_chosen(written) -> None:
    data = csv_dataset(written("path,label\na.jpg,a;b|c\n"), separator="|")
    assert data.classes == ("a;b", "c")


def test_splits_name_rows_in_the_order_of_keys(written) -> None:
    text = "path,label,split\nc.jpg,x,train\na.jpg,x,test\nb.jpg,x,train\nd.jpg,x,\n"
    splits = csv_dataset(written(text)).splits
    assert {name: rows.tolist() for name, rows in splits.items()} == {"test": [0], "train": [1, 2]}


def test_without_split_column_there_are_no_splits(written) -> None:
    assert csv_dataset(written("path,label\na.jpg,x\n")).splits == {}


@pytest.mark.parametrize("column", [{"labels": "class"}, {"split": "part"}, {"key": "file"}])
def test_named_column_that_is_missing_is_refused(written, column) -> None:
    with pytest.raises(DataError, match="no column"):
        csv_dataset(written("path,label\na.jpg,x\n"), **column)


def test_name_is_that_of_the_file(written) -> None:
    assert csv_dataset(written("path,label\na.jpg,x\n")).name == "images"


def zipped(path: Path, name: str = "a.jpg") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")


def tarred(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))


ARCHIVES = {
    "ZIP": zipped,
    "tar": lambda path: tarred(path, "w"),
    "gzip": lambda path: tarred(path, "w:gz"),
    "bzip2": lambda path: tarred(path, "w:bz2"),
    "xz": lambda path: tarred(path, "w:xz"),
    "7-Zip": lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40)),
    "Zstandard": lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40)),
}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("name", ["images.zip", "images.csv", "images"])
def test_an_archive_is_told_to_be_unpacked(tmp_path: Path, kind: str, name: str) -> None:
    """By its contents: an archive may have any name."""
    ARCHIVES[kind](tmp_path / name)
    with pytest.raises(DataError, match=rf"{kind} archive[\s\S]*Unpack it first"):
        list_csv(tmp_path / name)


def test_a_spreadsheet_is_told_to_be_saved_as_csv(tmp_path: Path) -> None:
    zipped(tmp_path / "labels.xlsx", "xl/workbook.xml")
    with pytest.raises(DataError, match="spreadsheet"):
        csv_dataset(tmp_path / "labels.xlsx")


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a regular file"):
        list_csv(path)


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.truncate(1 << 40)  # zeros that take no room on the disk, all in one line
    with pytest.raises(DataError, match="a line of over"):
        list_csv(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["a/0.png\na/1.png\n", "0.jpg\n", "image\n0.jpg\n"])
def test_a_plain_list_of_paths_is_told_of_the_first_line(written, text: str) -> None:
    with pytest.raises(DataError, match="The first line names the columns: put 'path' there"):
        list_csv(written(text))


@pytest.mark.parametrize("separated", [False, True])
def test_a_label_for_every_line_is_refused_before_memory_is_taken(written, separated) -> None:
    """20,000 lines and 20,000 names; or names that lie in few cells."""
    names = [f"n{number}" for number in range(20_000)]
    cells = [";".join(names), *["n0"] * 19_999] if separated else names
    lines = "".join(f"{number}.png,{cell}\n" for number, cell in enumerate(cells))
    with pytest.raises(DataError, match="20,000 classes of 20,000 images are too many") as refused:
        csv_dataset(written("path,label\n" + lines))
    assert "column 'label'" in refused.value.message
    assert "other than labels" in refused.value.advice
