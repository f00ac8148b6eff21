"""Folders as classes and as splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfeat.datasets.folder import folder_dataset
from deepfeat.errors import DataError, UsageError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folders_are_classes_in_byte_order(tmp_path: Path) -> None:
    data = folder_dataset(tree(tmp_path, "dog/1.jpg", "cat/1.jpg", "Zebra/1.jpg"))
    assert data.classes == ("Zebra", "cat", "dog")


def test_an_image_has_the_label_of_its_folder_alone(tmp_path: Path) -> None:
    data = folder_dataset(tree(tmp_path, "b/old/1.jpg", "a/1.jpg", "b/2.jpg"))
    assert [entry.key for entry in data.entries] == [b"a/1.jpg", b"b/2.jpg", b"b/old/1.jpg"]
    assert data.labels.tolist() == [[1, -1], [-1, 1], [-1, 1]]


def test_name_is_that_of_the_folder(tmp_path: Path) -> None:
    assert folder_dataset(tree(tmp_path / "pets", "a/1.jpg")).name == "pets"


def test_without_split_there_are_no_splits(tmp_path: Path) -> None:
    assert folder_dataset(tree(tmp_path, "a/1.jpg")).splits == {}


def test_first_folders_are_splits_on_request(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/b/2.jpg")
    data = folder_dataset(tmp_path, split="folders")
    assert {name: rows.tolist() for name, rows in data.splits.items()} == {
        "test": [0],
        "train": [1, 2],
    }
    assert data.labels.tolist() == [[-1, 1], [1, -1], [-1, 1]]


@pytest.mark.parametrize(("split", "name"), [(None, "1.jpg"), ("folders", "train/1.jpg")])
def test_image_outside_every_class_is_refused_by_name(tmp_path: Path, split, name: str) -> None:
    tree(tmp_path, "train/a/1.jpg", name)
    with pytest.raises(DataError, match=f"'{name}'"):
        folder_dataset(tmp_path, split=split)


def test_unknown_way_to_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folders"):
        folder_dataset(tree(tmp_path, "a/1.jpg"), split="folder")


def test_given_extensions_are_used(tmp_path: Path) -> None:
    data = folder_dataset(tree(tmp_path, "a/1.jpg", "b/1.foo"), extensions=("foo",))
    assert data.classes == ("b",)


def test_folders_of_systems_are_no_classes(tmp_path: Path) -> None:
    names = ("@eaDir", "#recycle", "__MACOSX", "$RECYCLE.BIN", "lost+found", ".thumbnails")
    for name in ("cat", "dog", *names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    data = folder_dataset(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [entry.key for entry in data.entries] == [b"cat/a.jpg", b"dog/a.jpg"]


def test_folders_of_systems_are_no_splits(tmp_path: Path) -> None:
    for name in ("train/cat", "test/cat", "@eaDir/cat", "train/@eaDir"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jpg").touch()
    data = folder_dataset(tmp_path, split="folders")
    assert (data.classes, sorted(data.splits)) == (("cat",), ["test", "train"])
