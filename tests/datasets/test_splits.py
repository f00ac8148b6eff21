"""Seeded splits: the published check values, golden files, and what cannot be split."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet, Entry, single_labels
from deepfeat.datasets.splits import Split, holdout, random_splits
from deepfeat.errors import DataError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden"
SPLITS = json.loads((GOLDEN / "splits.json").read_text())

# protocols.md 8.15: first 16 hex digits of train, validation and test, and the first three drawn
CHECK_VALUES = [
    ("32c74ba723fef515", "43b7761c0cdeb02a", "f3946ba4a66ccc24", (437, 341, 135)),
    ("5af63567abf794e8", "b9c151ee2dfb9542", "dd931d989edc966b", (291, 438, 288)),
    ("93252f0a77661e30", "57e163f7f245b9fd", "bd851f4e4aca8e69", (201, 413, 174)),
]


def dataset(owners: list[int], classes: int) -> DataSet:
    entries = tuple(Entry(b"%05d.jpg" % n, Path(f"{n}.jpg")) for n in range(len(owners)))
    names = tuple(f"class {n}" for n in range(classes))
    return DataSet("made", entries, names, single_labels(owners, classes), {})


def sized(*counts: int) -> DataSet:
    return dataset([own for own, n in enumerate(counts) for _ in range(n)], len(counts))


@pytest.fixture(scope="module")
def caltech101() -> DataSet:
    """The whole set from its list of file names: image_0001.jpg ... without gaps."""
    lines = (GOLDEN / "caltech101-counts.tsv").read_text().splitlines()
    counts = {name: int(count) for name, count in (line.split("\t") for line in lines)}
    keys = sorted(
        f"{name}/image_{number:04d}.jpg".encode()
        for name, count in counts.items()
        for number in range(1, count + 1)
    )
    classes = sorted(counts, key=str.encode)
    owners = [classes.index(key.split(b"/")[0].decode()) for key in keys]
    entries = tuple(Entry(key, Path(key.decode())) for key in keys)
    return DataSet("caltech101", entries, tuple(classes), single_labels(owners, 102), {})


def digest(data: DataSet, rows: NDArray[np.int64]) -> str:
    lines = sorted(data.entries[row].key + b"\n" for row in rows)
    return hashlib.sha256(b"".join(lines)).hexdigest()[:16]


def test_caltech101_splits_reproduce_the_check_values(caltech101: DataSet) -> None:
    splits = random_splits(caltech101, count=3, seed=0, train=30, test=50)
    found = [
        (
            *(digest(caltech101, rows) for rows in (one.train, one.validation, one.test)),
            tuple(int(caltech101.entries[row].key[-8:-4]) for row in one.train[:3]),
        )
        for one in splits
    ]
    assert found == CHECK_VALUES
    assert [len(splits[0].train), len(splits[0].validation), len(splits[0].test)] == [
        *(3060, 612, 2995)
    ]
    assert caltech101.entries[splits[0].train[0]].key.startswith(b"BACKGROUND_Google/")


def test_caltech101_with_the_rest_for_test_counts_as_published(caltech101: DataSet) -> None:
    for train, capped, rest in ((15, 4049, 7614), (30, 2995, 6084)):
        assert len(random_splits(caltech101, count=1, train=train, test=50)[0].test) == capped
        assert len(random_splits(caltech101, count=1, train=train, test="rest")[0].test) == rest


def test_splits_are_those_of_the_golden_file() -> None:
    data = dataset(SPLITS["owners"], 3)
    capped = random_splits(data, count=2, seed=5, train=7, test=1)
    rest = random_splits(data, count=3, seed=0, train=5, test="rest", fraction=0.3)
    part = random_splits(data, count=2, seed=1, train=0.45, test="rest", fraction=0.3)
    cases = ((capped, "random_capped"), (rest, "random_rest"), (part, "random_part"))
    for found, golden in cases:
        assert [
            {
                "train": one.train.tolist(),
                "validation": one.validation.tolist(),
                "test": one.test.tolist(),
            }
            for one in found
        ] == SPLITS[golden]
    assert [(one.number, one.seed) for one in capped] == [(0, 5), (1, 6)]


def test_holdout_is_that_of_the_golden_file() -> None:
    labels = single_labels(SPLITS["owners"], 3)
    for golden in ("holdout_by_class", "holdout_at_once"):
        if golden == "holdout_at_once":
            labels[7] = 1  # one image with several classes
        fit, validation = holdout(np.array(SPLITS["given"]), labels, fraction=0.25, seed=3)
        assert {"fit": fit.tolist(), "validation": validation.tolist()} == SPLITS[golden]
        assert (fit.dtype, validation.dtype) == (np.int64, np.int64)


def test_golden_file_is_what_its_script_makes(tmp_path: Path) -> None:
    script = (GOLDEN / "make_splits.py").read_text()
    (tmp_path / "make_splits.py").write_text(script)
    scope = {"__name__": "__main__", "__file__": str(tmp_path / "make_splits.py")}
    exec(compile(script, "make_splits.py", "exec"), scope)
    assert (tmp_path / "splits.json").read_text() == (GOLDEN / "splits.json").read_text()


def test_parts_of_a_split_share_nothing_and_validation_is_of_train() -> None:
    for one in random_splits(sized(9, 12, 30), count=4, seed=7, train=8, test=5):
        assert len(np.intersect1d(one.train, one.test)) == 0
        assert set(one.validation) <= set(one.train)
        assert sorted([*one.fit, *one.validation]) == sorted(one.train)
        assert [len(one.train), len(one.validation), len(one.test)] == [24, 6, 1 + 4 + 5]


def test_split_s_does_not_depend_on_how_many_are_drawn() -> None:
    data = sized(9, 12)
    alone = random_splits(data, count=1, seed=2, train=4, test="rest")[0]
    third = random_splits(data, count=3, seed=0, train=4, test="rest")[2]
    assert np.array_equal(alone.train, third.train)
    assert np.array_equal(alone.test, third.test)


@pytest.mark.parametrize(
    ("fraction", "train", "expected"),
    [(0.2, 15, 3), (0.2, 30, 6), (0.2, 45, 9), (0.2, 60, 12), (0.29, 50, 15), (0, 30, 0)],
)
def test_validation_is_rounded_half_up_of_the_decimal_number(
    fraction: float, train: int, expected: int
) -> None:
    """0.29 * 50 is 14.499999999999998 in binary."""
    one = random_splits(sized(61), count=1, train=train, test=1, fraction=fraction)
    assert len(one[0].validation) == expected


def test_too_few_images_are_named_with_their_numbers() -> None:
    with pytest.raises(DataError, match="2 classes have fewer images") as caught:
        random_splits(sized(31, 29, 30, 5), train=30, test=50)
    message = str(caught.value)
    assert caught.value.exit_status == 65
    assert "'class 1 (29)', 'class 3 (5)'" in message
    assert "split.train = 4" in message
    assert "class 2" not in message


def test_part_of_a_small_class_is_at_least_one_image() -> None:
    one = random_splits(sized(20, 2, 1), count=1, train=0.2, test="rest")[0]
    assert ([len(one.train), len(one.validation), len(one.test)]) == [6, 1, 17]


@pytest.mark.parametrize("train", [1, 0.5])
def test_class_without_images_cannot_be_trained(train: float) -> None:
    with pytest.raises(DataError, match="fewer images") as caught:
        random_splits(sized(5, 0), train=train, test=1)
    assert "split.train" not in str(caught.value).split("found")[1]


def test_images_without_exactly_one_class_are_named() -> None:
    data = dataset([0, 1, 0, 1], 2)
    data.labels[1] = (1, 1)
    data.labels[2] = (1, 0)
    with pytest.raises(DataError, match="2 images have not exactly one class") as caught:
        random_splits(data, train=1, test=1)
    assert "'00001.jpg', '00002.jpg'" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"count": 0}, {"train": 0}, {"test": 0}, {"test": "all"}, {"train": 2.0}),
        *({"train": 0.0}, {"train": -0.5}, {"test": 0.5}, {"train": float("nan")}),
        *({"train": True}, {"seed": -1}, {"seed": 2**32}, {"seed": 2**32 - 1, "count": 2}),
        *({"fraction": 1.0}, {"fraction": -0.1}, {"fraction": float("nan")}),
        {"fraction": 0.9},  # leaves none of 3
    ],
    ids=str,
)
def test_numbers_that_make_no_split_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        random_splits(sized(9, 9), **{"count": 1, "train": 3, "test": 3, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"fraction": 1.0}, {"seed": -1}], ids=str)
def test_holdout_refuses_what_is_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        holdout(np.arange(4), single_labels([0, 1, 0, 1], 2), **wrong)  # type: ignore[arg-type]


def test_holdout_takes_its_part_of_every_class() -> None:
    labels = single_labels([0] * 20 + [1] * 10 + [2] * 2, 4)  # the last class has no rows
    fit, validation = holdout(np.arange(32), labels, fraction=0.2, seed=0)
    assert (labels[validation] == 1).sum(axis=0).tolist() == [4, 2, 0, 0]
    assert sorted([*fit, *validation]) == list(range(32))


@pytest.mark.parametrize("strange", [(1, 1), (-1, -1), (1, 0)])
def test_holdout_with_other_than_one_label_draws_over_all_rows(strange: tuple[int, int]) -> None:
    labels = single_labels([0] * 10 + [1] * 10, 2)
    by_class = holdout(np.arange(20), labels)[1]
    labels[4] = strange
    at_once = holdout(np.arange(20), labels)[1]
    state = np.random.RandomState(0)
    assert at_once.tolist() == sorted(state.permutation(20)[16:])
    assert at_once.tolist() != by_class.tolist()


def test_split_is_frozen() -> None:
    rows = np.arange(2)
    with pytest.raises(AttributeError):
        Split(0, 0, rows, rows, rows).number = 1  # type: ignore[misc]
