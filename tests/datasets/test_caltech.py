"""The Caltech sets from their folders, whole or not, with what does not belong there."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from trees import make_caltech

from deepfeat.datasets import caltech
from deepfeat.datasets.caltech import CLASSES_101, PUBLISHED, caltech_dataset
from deepfeat.datasets.listing import list_folder
from deepfeat.errors import DataError, DataMissing, NoPermission, UsageError

GOLDEN = Path(__file__).parents[1] / "golden/caltech101-counts.tsv"
REAL = Path(os.environ.get("DEEPFEAT_TEST_DATA", "")) / "caltech101/101_ObjectCategories"


def test_published_numbers_are_those_of_the_list_of_files() -> None:
    lines = [line.split("\t") for line in GOLDEN.read_text().splitlines()]
    counts = {name: int(count) for name, count in lines}
    published = PUBLISHED["caltech101"]
    assert tuple(sorted(counts, key=str.encode)) == CLASSES_101 == published.classes
    assert sum(counts.values()) == published.images == 9144
    assert counts[published.background] == published.background_images
    assert len(CLASSES_101) == 102
    assert len(PUBLISHED["caltech256"].classes) == 257


@pytest.mark.real
@pytest.mark.skipif(
    "DEEPFEAT_TEST_DATA" not in os.environ or not REAL.is_dir(),
    reason="DEEPFEAT_TEST_DATA does not name the folder of real images and weights",
)
def test_real_subset_is_partial_and_has_all_classes() -> None:
    data = caltech_dataset(REAL)
    assert (len(data.entries), data.official, len(data.classes)) == (3715, 9144, 102)
    assert data.remarks == ()
    assert (data.labels == 1).sum(axis=0).min() == 31


def test_tree_is_read_with_classes_in_byte_order(tmp_path: Path) -> None:
    names = ["yin_yang", "Faces", "accordion", "BACKGROUND_Google", "Faces_easy"]
    root = make_caltech(tmp_path, names, [2, 3, 1, 4, 2])  # one number a class in byte order
    data = caltech_dataset(root)
    assert data.name == "caltech101"
    assert data.classes == ("BACKGROUND_Google", "Faces", "Faces_easy", "accordion", "yin_yang")
    assert (data.labels == 1).sum(axis=0).tolist() == [2, 3, 1, 4, 2]
    assert (data.labels == 1).sum(axis=1).tolist() == [1] * 12
    assert not (data.labels == 0).any()
    keys = [entry.key for entry in data.entries]
    assert keys == sorted(keys)
    assert keys[6:8] == [b"accordion/image_0001.jpg", b"accordion/image_0002.jpg"]
    assert data.entries[6].place == root / "accordion/image_0001.jpg"
    assert data.labels[6].tolist() == [-1, -1, -1, 1, -1]
    assert data.splits == {}
    assert data.official == 9144
    assert "97 of 102 classes have no folder: 'Leopards'" in data.remarks[0]


def test_background_can_be_left_out(tmp_path: Path) -> None:
    root = make_caltech(tmp_path, 3, 2)
    data = caltech_dataset(root, background=False)
    assert data.classes == ("Faces", "Faces_easy")
    assert len(data.entries) == 4
    assert data.official == 9144 - 467
    assert "99 of 102 classes" in data.remarks[0]


def test_caltech256_is_told_by_its_numbers(tmp_path: Path) -> None:
    root = make_caltech(tmp_path, 5, 2, digits="256")
    (root / "folder of mine").mkdir()
    (root / "1.ak47").mkdir()
    data = caltech_dataset(root, "caltech256")
    assert data.classes[0] == "001.ak47"
    assert data.classes[-1] == "257.clutter"
    assert data.entries[0].key == b"001.ak47/001_0001.jpg"
    assert data.official == 30607
    assert "252 of 257 classes have no folder: '005'" in data.remarks[0]
    assert (
        "2 folders are no class of it and left out: '1.ak47', 'folder of mine'" in data.remarks[1]
    )
    less = caltech_dataset(root, "caltech256", background=False)
    assert less.classes == data.classes[:-1]
    assert less.official == 30607 - 827


def test_strays_are_no_images(tmp_path: Path) -> None:
    """As in the archives: BACKGROUND_Google/tmp, 056.dog/greg, and what a Mac adds."""
    root = make_caltech(tmp_path, 2, 2)
    (root / "Faces/greg").mkdir()
    (root / "Faces/greg/image_0009.jpg").write_bytes(b"deeper")
    (root / "Faces/image_0010.jpg").mkdir()
    for stray in ("Faces/tmp", "Faces/._image_0001.jpg", "Faces/image_0003.png", "image_0001.jpg"):
        (root / stray).write_bytes(b"stray")
    (root / ".hidden").mkdir()
    (root / "@eaDir").mkdir()
    (root / "Faces/@eaDir").mkdir()
    (root / "Faces/@eaDir/image_0001.jpg").write_bytes(b"a thumbnail")
    (root / "mine").mkdir()
    (root / "mine/image_0001.jpg").write_bytes(b"of no class")
    data = caltech_dataset(root)
    assert [entry.key for entry in data.entries] == [
        *(b"BACKGROUND_Google/image_0001.jpg", b"BACKGROUND_Google/image_0002.jpg"),
        *(b"Faces/image_0001.jpg", b"Faces/image_0002.jpg"),
    ]
    assert data.remarks[1:] == ("Caltech-101: 1 folders are no class of it and left out: 'mine'",)


def test_linked_folder_of_a_class_is_followed(tmp_path: Path) -> None:
    elsewhere = make_caltech(tmp_path / "elsewhere", 3, 2)
    root = tmp_path / "root"
    root.mkdir()
    (root / "Faces").symlink_to(elsewhere / "Faces")
    assert [entry.key for entry in caltech_dataset(root).entries] == [
        *(b"Faces/image_0001.jpg", b"Faces/image_0002.jpg")
    ]


def test_folders_of_classes_without_images_are_named(tmp_path: Path) -> None:
    root = make_caltech(tmp_path, 3, 2)
    (root / "ant").mkdir()
    (root / "yin_yang").mkdir()
    (root / "yin_yang/image_0001.png").write_bytes(b"of another kind")
    with pytest.raises(DataError, match="2 folders of classes hold no image") as caught:
        caltech_dataset(root)
    assert caught.value.exit_status == 65
    assert "none in 'ant', 'yin_yang'" in str(caught.value)


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    root = make_caltech(tmp_path, ["001.ak47", "001.ak48", "002.x"], 1, digits="256")
    with pytest.raises(DataError, match="several folders are one class") as caught:
        caltech_dataset(root, "caltech256")
    assert "'001.ak47', '001.ak48'" in str(caught.value)


@pytest.mark.parametrize("holds", ["nothing", "other folders", "background only"])
def test_folder_without_classes_says_what_it_holds(holds: str, tmp_path: Path) -> None:
    if holds == "other folders":
        (tmp_path / "holiday").mkdir()
    if holds == "background only":
        (tmp_path / "BACKGROUND_Google").mkdir()
    with pytest.raises(DataMissing, match="holds no class of Caltech-101") as caught:
        caltech_dataset(tmp_path, background=False)
    found = {"other folders": "'holiday'"}.get(holds, "no folder")
    assert f"found: {found}" in str(caught.value)


def test_no_folder_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="there is no folder"):
        caltech_dataset(tmp_path / "nowhere")


def test_folder_of_a_class_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a class would be missing without a word. (Root may read everything: so a listing.)"""
    root = make_caltech(tmp_path, 3, 1)
    listing = dataclasses.replace(list_folder(root), unreadable=("Faces", "mine"))
    monkeypatch.setattr(caltech, "list_folder", lambda *_, **__: listing)
    with pytest.raises(NoPermission, match="cannot be listed") as caught:
        caltech_dataset(root)
    assert "found: 'Faces'" in str(caught.value)
    assert "mine" not in str(caught.value)


def test_unknown_set_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="caltech102"):
        caltech_dataset(tmp_path, "caltech102")


def test_labels_are_of_the_right_type(tmp_path: Path) -> None:
    assert caltech_dataset(make_caltech(tmp_path, 2, 1)).labels.dtype == np.int8
