"""VOC's lists: the published counts, and every way in which lists contradict themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trees import VOC_CLASSES, make_voc

from deepfeat.datasets.voc import CLASSES, voc_dataset
from deepfeat.errors import DataError, DataMissing, DeepfeatError, UsageError

REAL = Path(os.environ.get("DEEPFEAT_TEST_DATA", "")) / "voc2007/VOC2007"

# protocols.md 2.1, counted in the official lists: positive/difficult in train, val, trainval, test
COUNTS = """
aeroplane 112/1 126/1 238/2 204/1
bicycle 116/6 127/6 243/12 239/11
bird 180/2 150/1 330/3 282/7
boat 81/6 100/1 181/7 172/4
bottle 139/14 105/4 244/18 212/28
bus 97/3 89/8 186/11 174/9
car 376/26 337/22 713/48 721/54
cat 163/3 174/4 337/7 322/10
chair 224/58 221/69 445/127 417/128
cow 69/2 72/3 141/5 127/0
diningtable 97/33 103/30 200/63 190/57
dog 203/7 218/2 421/9 418/15
horse 139/5 148/2 287/7 274/5
motorbike 120/3 125/1 245/4 222/11
person 1025/45 983/42 2008/87 2007/90
pottedplant 133/20 112/8 245/28 224/30
sheep 48/1 48/0 96/1 97/1
sofa 111/77 118/66 229/143 223/132
train 127/1 134/1 261/2 259/0
tvmonitor 128/16 128/7 256/23 229/26
"""
SHA256 = {
    "train": "692de9480980652f",
    "val": "c2d87c8c70e476e2",
    "trainval": "6cdf1fd66b9d55b3",
    "test": "4225a99d2ba9c714",
}
IMAGES = {"train": 2501, "val": 2510, "trainval": 5011, "test": 4952}


@pytest.mark.real
@pytest.mark.skipif(
    "DEEPFEAT_TEST_DATA" not in os.environ or not REAL.is_dir(),
    reason="DEEPFEAT_TEST_DATA does not name the folder of real images and weights",
)
def test_official_lists_of_2007_count_as_published() -> None:
    data = voc_dataset(REAL)
    table = [line.split() for line in COUNTS.split("\n") if line]
    assert data.classes == tuple(line[0] for line in table)
    assert {name: len(rows) for name, rows in data.splits.items()} == IMAGES
    for column, line in enumerate(table):
        found = [
            f"{(part == 1).sum()}/{(part == 0).sum()}"
            for part in (data.labels[rows, column] for rows in data.splits.values())
        ]
        assert found == line[1:], line[0]
    for name, rows in data.splits.items():
        digest = hashlib.sha256()
        for column in range(20):
            for row in rows:
                identifier = data.entries[row].key.removesuffix(b".jpg")
                digest.update(b"%s %d\n" % (identifier, data.labels[row, column]))
        assert digest.hexdigest()[:16] == SHA256[name]
    assert (len(data.entries), data.official, data.remarks) == (9963, 9963, ())
    assert ((data.labels == 1).sum(axis=1) >= 1).all()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voc(tmp_path_factory.mktemp("voc"), n={"train": 21, "val": 22, "test": 23})


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The lists of a small tree, to be spoilt."""
    return make_voc(tmp_path, n=3) / "ImageSets/Main"


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = change(path.read_text().splitlines())
    path.write_text("".join(f"{line}\n" for line in lines))


def fails(lists: Path, error: type[DeepfeatError], words: str, year: str = "2007") -> str:
    with pytest.raises(error, match=words) as caught:
        voc_dataset(lists.parents[1], year)
    return str(caught.value)


def test_tree_is_read_as_it_was_made(made: Path) -> None:
    data = voc_dataset(made)
    assert data.name == "voc2007"
    assert data.classes == CLASSES == VOC_CLASSES == tuple(sorted(CLASSES))
    assert [entry.key for entry in data.entries] == [b"%06d.jpg" % n for n in range(1, 67)]
    assert data.entries[4].place == made / "JPEGImages/000005.jpg"
    sizes = {name: len(rows) for name, rows in data.splits.items()}
    assert sizes == {"train": 21, "val": 22, "trainval": 43, "test": 23}
    assert data.labels.dtype == np.int8
    assert data.splits["trainval"].tolist() == list(range(43))
    assert data.splits["test"].tolist() == list(range(43, 66))
    # Read once more, in the plainest way.
    for column, name in enumerate(CLASSES):
        for a_set in ("train", "val", "test"):
            lines = (made / f"ImageSets/Main/{name}_{a_set}.txt").read_text().split("\n")[:-1]
            told = [int(line.split()[1]) for line in lines]
            assert data.labels[data.splits[a_set], column].tolist() == told
    assert (data.labels == 0).any()


def test_image_that_is_not_there_is_an_entry_all_the_same(tmp_path: Path) -> None:
    folder = make_voc(tmp_path, n=3, missing=["000002", "000009"])
    data = voc_dataset(folder)
    there = [entry.place.exists() for entry in data.entries]
    assert [n for n, is_there in enumerate(there) if not is_there] == [1, 8]


def test_difference_from_the_published_counts_is_a_remark(made: Path, tmp_path: Path) -> None:
    data = voc_dataset(made)
    assert len(data.remarks) == 1
    assert "VOC 2007: positive images of trainval differ" in data.remarks[0]
    assert f"aeroplane {(data.labels[:43, 0] == 1).sum()} for 238" in data.remarks[0]
    assert data.official == 5011 + 4952
    other = voc_dataset(make_voc(tmp_path, 2012, n=3), 2012)
    assert "VOC 2012" in other.remarks[0]
    assert "for 670" in other.remarks[0]


def test_identifiers_of_2012_are_sorted_with_their_year(tmp_path: Path) -> None:
    data = voc_dataset(make_voc(tmp_path, "2012", n=2), "2012")
    assert data.name == "voc2012"
    assert data.entries[0].key == b"2008_000001.jpg"


def test_carriage_returns_blank_lines_and_any_white_space_are_read(lists: Path) -> None:
    before = voc_dataset(lists.parents[1])
    for number, path in enumerate(sorted(lists.iterdir())):
        words = [line.split() for line in path.read_text().splitlines()]
        gap, end = [(b" ", b"\r\n"), (b"\t", b"\n"), (b"  ", b"\r\n\r\n")][number % 3]
        path.write_bytes(b"".join(gap.join(map(str.encode, one)) + gap + end for one in words))
    after = voc_dataset(lists.parents[1])
    assert np.array_equal(before.labels, after.labels)
    assert before.entries == after.entries


def test_split_keeps_the_order_of_its_list(lists: Path) -> None:
    """Ties in a ranking are decided by it."""
    before = voc_dataset(lists.parents[1])
    for path in lists.glob("*test.txt"):
        edit(path, lambda lines: lines[::-1])
    after = voc_dataset(lists.parents[1])
    assert after.splits["test"].tolist() == before.splits["test"].tolist()[::-1]
    assert np.array_equal(before.labels, after.labels)


def test_sets_without_a_list_are_left_out(lists: Path) -> None:
    for path in lists.glob("*test.txt"):
        path.unlink()
    data = voc_dataset(lists.parents[1])
    assert list(data.splits) == ["train", "val", "trainval"]
    assert (len(data.entries), data.official) == (6, 5011)


def test_wanted_sets_only_are_read(lists: Path) -> None:
    data = voc_dataset(lists.parents[1], sets=["test"])
    assert (list(data.splits), len(data.entries), data.official) == (["test"], 3, 4952)
    with pytest.raises(DataError, match="unknown image set of VOC 'tset'") as caught:
        voc_dataset(lists.parents[1], sets=["tset"])
    assert "'test'" in str(caught.value)
    (lists / "val.txt").unlink()
    with pytest.raises(DataMissing, match="'val' has no list") as missing:
        voc_dataset(lists.parents[1], sets=["val"])
    assert missing.value.exit_status == 66


def test_test_of_2012_has_no_labels_and_none_are_claimed(tmp_path: Path) -> None:
    folder = make_voc(tmp_path, "2012", n=3)
    for path in (folder / "ImageSets/Main").glob("*_test.txt"):
        path.unlink()
    data = voc_dataset(folder, "2012")
    assert (data.labels[data.splits["test"]] == 0).all()
    assert (data.labels[data.splits["trainval"]] == 1).any(axis=1).all()


def test_test_of_2007_without_labels_is_refused(lists: Path) -> None:
    for path in lists.glob("*_test.txt"):
        path.unlink()
    assert "'aeroplane_test.txt'" in fails(lists, DataError, "20 class files of the set 'test'")


def test_one_missing_class_file_is_named_also_of_2012(tmp_path: Path, lists: Path) -> None:
    (lists / "cow_val.txt").unlink()
    assert "'cow_val.txt'" in fails(lists, DataError, "1 class files of the set 'val' are missing")
    later = make_voc(tmp_path, "2012", n=2) / "ImageSets/Main"
    (later / "cow_test.txt").unlink()
    fails(later, DataError, "1 class files of the set 'test'", "2012")


@pytest.mark.parametrize("label", ["2", "-2", "x", "1.0", "", "1 1"])
def test_label_that_is_none_is_refused_with_its_line(label: str, lists: Path) -> None:
    edit(lists / "dog_train.txt", lambda lines: [*lines[:1], f"{lines[1][:6]} {label}", lines[2]])
    message = fails(lists, DataError, "dog_train.txt', line 2: not an identifier and a label")
    assert "000002" in message


def test_other_image_in_a_class_file_is_refused_with_its_line(lists: Path) -> None:
    edit(lists / "dog_train.txt", lambda lines: [lines[0], "", lines[2], lines[1]])
    message = fails(lists, DataError, "dog_train.txt', line 3: another image")
    assert "expected: 000002\n  found: 000003" in message


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: [*x, "000099 1"]])
def test_class_file_of_another_length_is_refused(
    change: Callable[[list[str]], list[str]], lists: Path
) -> None:
    edit(lists / "dog_val.txt", change)
    fails(lists, DataError, "dog_val.txt': another number of images")


def test_image_named_twice_in_a_list_is_refused_with_both_lines(lists: Path) -> None:
    edit(lists / "val.txt", lambda lines: [*lines, lines[0]])
    message = fails(lists, DataError, "val.txt', line 4: the image was named before")
    assert "first in line 1" in message


@pytest.mark.parametrize("line", ["../../etc/passwd", "000004 1", "2008_000004", "0004", "00000x"])
def test_line_that_is_no_identifier_is_refused(line: str, lists: Path) -> None:
    edit(lists / "val.txt", lambda lines: [line, *lines[1:]])
    fails(lists, DataError, "val.txt', line 1: not one identifier")


def test_sets_that_say_different_things_of_an_image_are_refused(lists: Path) -> None:
    edit(lists / "cat_trainval.txt", lambda lines: [*lines[:3], f"{lines[3][:6]}  0", *lines[4:]])
    message = fails(lists, DataError, "cat_trainval.txt', line 4: another set says otherwise")
    assert "found: 000004 0" in message


@pytest.mark.parametrize("other", ["train", "val"])
def test_image_for_training_and_for_test_is_refused(other: str, lists: Path) -> None:
    for path in [lists / "test.txt", *lists.glob("*_test.txt")]:
        added = path.name.replace("test", other)
        edit(path, lambda lines, name=added: [*lines, (lists / name).read_text().split("\n")[0]])
    fails(lists, DataError, f"1 images are in {other} and in test")


def test_trainval_that_is_not_train_and_val_is_refused(lists: Path) -> None:
    edit(lists / "trainval.txt", lambda lines: lines[:-1])
    assert "'000006'" in fails(lists, DataError, "trainval is not train and val together")


@pytest.mark.parametrize("what", ["nothing", "no lists", "empty lists"])
def test_folder_that_is_no_voc_is_missing_data(what: str, tmp_path: Path) -> None:
    lists = tmp_path / "VOC2007/ImageSets/Main"
    if what != "nothing":
        lists.mkdir(parents=True)
    if what == "empty lists":
        for path in [lists / "test.txt", *(lists / f"{name}_test.txt" for name in CLASSES)]:
            path.touch()
    assert str(lists) in fails(lists, DataMissing, "no list|no image")


def test_unknown_year_names_the_known(made: Path) -> None:
    with pytest.raises(UsageError, match="year of VOC '2013'") as caught:
        voc_dataset(made, 2013)
    assert "'2012'" in str(caught.value)
