"""Complete and true: what was given is what is read, in both forms, by us and by plain h5py."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
from make_store import (
    DIMENSIONS,
    ENVIRONMENT,
    HOLES,
    KEYS,
    LISTED,
    identity,
    make,
    opened,
    rows_of,
    values,
)

from deepfeat.errors import DataError, DataMissing, DeepfeatError, UsageError
from deepfeat.store.info import describe
from deepfeat.store.read import Store, open_store
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
N = len(KEYS)


def expected(layer: str, column: str) -> np.ndarray:
    """(N, C), written down without a store."""
    hole = np.full(DIMENSIONS[layer], np.nan, "f4")
    return np.stack([hole if row in HOLES else values(row, layer, column) for row in range(N)])


def oracle(path: Path, name: str) -> np.ndarray:
    """A dataset by h5py alone: of the file, or of the shards in order."""
    files = [path] if path.is_file() else sorted(path.glob("0*.h5"))
    parts = []
    for file in files:
        with h5py.File(file) as opened_file:
            parts.append(opened_file[name][()])
    return np.concatenate(parts)


@pytest.fixture(params=FORMS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(tmp_path / FORMS[request.param], request.param)


@pytest.fixture
def store(path: Path) -> Store:
    return open_store(path)


@pytest.mark.parametrize("layer", DIMENSIONS)
@pytest.mark.parametrize("column", ["256", "384"])
def test_h5py_reads_the_descriptors_that_were_given(path: Path, layer: str, column: str) -> None:
    np.testing.assert_array_equal(
        oracle(path, f"descriptors/{layer}/{column}"), expected(layer, column)
    )


@pytest.mark.parametrize("name", ["size", "sha256", "shape", "status", "notes"])
def test_the_small_columns_are_those_that_were_given(path: Path, store: Store, name: str) -> None:
    given = getattr(rows_of(LISTED, identity()), name)
    np.testing.assert_array_equal(oracle(path, f"items/{name}"), given)
    np.testing.assert_array_equal(store.items[name], given)


def test_keys_are_bytes_in_order_even_where_they_are_not_utf8(path: Path, store: Store) -> None:
    assert [bytes(key) for key in oracle(path, "items/key")] == sorted(KEYS)
    assert [os.fsencode(key) for key in store.keys] == sorted(KEYS)
    assert store.index(b"b/caf\xe9.jpg") == 9


def test_boxes_are_whole_images_and_minus_one_in_holes(path: Path) -> None:
    boxes = [[-1] * 4 if row in HOLES else [0, 0, 20 + row, 10 + row] for row in range(N)]
    np.testing.assert_array_equal(oracle(path, "rows/box"), boxes)


def test_the_readme_reads_a_sealed_store_without_deepfeat(tmp_path: Path) -> None:
    path = make(tmp_path / "images.vgg16.h5", "sealed")
    with h5py.File(path) as f:
        x = f["descriptors/fc7/256"][:]  # (N, C) float32, NaN where status != 0
        keys = [os.fsdecode(k) for k in f["items/key"][:]]
        frame = pandas.DataFrame({"key": keys, "status": f["items/status"][:]})
    np.testing.assert_array_equal(np.isnan(x).any(axis=1), frame["status"] != 0)
    assert [os.fsencode(key) for key in frame["key"]] == KEYS


@pytest.mark.parametrize("across", ["mean", "max", "stack"])
@pytest.mark.parametrize("normalise", ["none", "end", "each", "each+end"])
def test_read_equals_the_formula(store: Store, across: str, normalise: str) -> None:
    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x.astype("f8"), axis=1, keepdims=True)

    scales = [expected("fc7", column).astype("f8") for column in ("256", "384")]
    if normalise.startswith("each"):
        scales = [unit(x) for x in scales]
    result = {
        "mean": sum(scales) / 2,
        "max": np.maximum(*scales),
        "stack": np.hstack(scales),
    }[across]
    if normalise.endswith("end"):
        result = unit(result)
    found = store.read("fc7", across_scales=across, normalise=normalise)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, result, rtol=1e-6)


def test_scales_are_stacked_ascending_in_whatever_order_they_are_asked(store: Store) -> None:
    found = store.read("fc7", scales=["384", 256], across_scales="stack")
    np.testing.assert_array_equal(found[:, :5], expected("fc7", "256"))


def test_keys_are_read_in_the_order_they_are_asked(store: Store) -> None:
    found = store.read("pool5", scales=256, keys=["a/07.jpg", b"a/00.jpg", "a/07.jpg"])
    np.testing.assert_array_equal(found, expected("pool5", "256")[[7, 0, 7]])


def test_dropped_holes_leave_the_rows_of_the_ok_keys(store: Store) -> None:
    found = store.read("pool5", scales=256, missing="drop")
    np.testing.assert_array_equal(found, expected("pool5", "256")[store.ok])


def test_holes_can_be_refused_by_name(store: Store) -> None:
    with pytest.raises(DataError, match=r"2 images(.|\n)*a/02.jpg \(corrupt\)"):
        store.read("fc7", missing="raise")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({}, "several layers"),
        ({"layer": "fc8"}, "Did you mean 'fc7'"),
        ({"layer": "fc7", "scales": [512]}, "512"),
        ({"layer": "fc7", "scales": [256, "256"]}, "each once"),
        ({"layer": "fc7", "across_scales": "median"}, "median"),
        ({"layer": "fc7", "normalise": "l2"}, "l2"),
        ({"layer": "fc7", "missing": "zero"}, "zero"),
        ({"layer": "fc7", "keys": "a/00.jpg"}, "sequence"),
    ],
)
def test_what_is_not_there_is_refused_by_name(store: Store, arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        store.read(**arguments)


def test_an_unknown_key_is_refused_with_the_nearest(store: Store) -> None:
    with pytest.raises(DataError, match=r"'a/77.jpg'(.|\n)*'a/07.jpg'"):
        store.read("fc7", keys=["a/77.jpg"])


INDICES = [
    slice(None),
    slice(3, 9),
    slice(9, 1, -3),
    5,
    -1,
    [4, 3, 3, -2],
    np.arange(N) % 2 == 0,
    np.array([], int),
    (slice(2, 6), 1),
    (slice(None), slice(1, 3)),
    (7, 2),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_lazy_column_indexes_as_an_array(store: Store, index: object) -> None:
    np.testing.assert_array_equal(store["fc7", 384][index], expected("fc7", "384")[index])


def test_a_lazy_column_is_an_array(store: Store) -> None:
    column = store["pool5", "256"]
    assert (column.shape, column.dtype, len(column)) == ((N, 3), np.float32, N)
    np.testing.assert_array_equal(np.asarray(column), expected("pool5", "256"))


def test_an_index_beyond_the_rows_is_an_index_error(store: Store) -> None:
    with pytest.raises(IndexError):
        store["fc7", 256][N]


def test_membership_is_by_key(store: Store) -> None:
    assert ("a/00.jpg" in store, "nope" in store, 3 in store) == (True, False, False)


def test_the_frame_has_a_row_an_image(store: Store) -> None:
    frame = store.to_frame(descriptors=True)
    assert list(frame["name"])[:3] == ["ok", "ok", "corrupt"]
    np.testing.assert_array_equal(np.stack(frame["fc7/256"]), expected("fc7", "256"))


def test_info_counts_statuses_and_names_layers(store: Store) -> None:
    info = describe(store)
    assert info["statuses"] == {"ok": 9, "corrupt": 1, "empty": 1}
    assert info["layers"]["fc7"] == {"dimension": 5, "scales": ["256", "384"], "dtype": "float32"}
    assert info["environments"] == [{"environment": ENVIRONMENT, "shards": [[0, 2]]}]
    assert info["complete"] is True


def test_a_whole_store_verifies(path: Path) -> None:
    found = verify(path, deep=True)
    assert (found["ok"], found["damaged"], found["orphans"], found["exit_status"]) == (
        True,
        [],
        [],
        0,
    )


def test_failures_csv_tells_each_hole_with_advice(path: Path) -> None:
    inside = path / "failures.csv" if path.is_dir() else path.with_name(path.name + ".failures.csv")
    with inside.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["name"], row["detail"]) for row in rows] == [
        ("a/02.jpg", "corrupt", "broken stream"),
        ("b/caf\\udce9.jpg", "empty", "broken stream"),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_an_unfinished_store_shows_what_is_committed(tmp_path: Path, form: str) -> None:
    store = open_store(make(tmp_path / FORMS[form], form, stop=2))
    assert (len(store), store.complete) == (8, False)
    np.testing.assert_array_equal(store.read("fc7", scales=256), expected("fc7", "256")[:8])


@pytest.mark.parametrize("form", FORMS)
def test_a_store_without_a_committed_shard_has_no_rows(tmp_path: Path, form: str) -> None:
    store = open_store(make(tmp_path / FORMS[form], form, stop=0))
    assert store.read("fc7").shape == (0, 5)


def test_no_store_is_data_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        open_store(tmp_path / "x.h5")


@pytest.mark.parametrize("kept", ["mean", "max"])
def test_a_store_of_the_aggregate_gives_the_aggregate_only(tmp_path: Path, kept: str) -> None:
    store = open_store(make(tmp_path / "x.h5", "sealed", identity(across_scales=kept)))
    assert store.scales == [kept]
    np.testing.assert_array_equal(store.read("fc7", across_scales=kept), expected("fc7", kept))
    with pytest.raises(UsageError, match=f"keeps only the {kept}"):
        store.read("fc7", across_scales={"mean": "max", "max": "mean"}[kept])


def test_float16_halves_the_bytes_and_reads_as_float32(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed", identity(store_dtype="float16"))
    assert oracle(path, "descriptors/fc7/256").dtype == np.float16
    found = open_store(path).read("fc7", scales=256)
    np.testing.assert_array_equal(found, expected("fc7", "256").astype("f2").astype("f4"))


@pytest.mark.parametrize(
    "value, dtype", [(np.nan, "float32"), (np.inf, "float32"), (7e4, "float16")]
)
def test_a_number_that_cannot_be_kept_makes_a_hole_of_its_row(
    tmp_path: Path, value: float, dtype: str
) -> None:
    who = identity(store_dtype=dtype)
    with opened(tmp_path / "x", "shards", who) as writer:
        rows = rows_of(writer.shard(0), who)
        rows.descriptors["fc7", "384"][1, 2] = value
        writer.commit(0, rows)
        assert writer.holes == {4: 1, 11: 1}
    store = open_store(tmp_path / "x")
    assert list(store.statuses) == [0, 11, 4, 0]
    assert np.isnan(store.read("pool5")[1]).all()


def test_rows_of_the_wrong_shape_are_an_internal_error(tmp_path: Path) -> None:
    with opened(tmp_path / "x", "shards") as writer:
        rows = rows_of(writer.shard(0)[:3], identity())
        with pytest.raises(DeepfeatError, match="internal"):
            writer.commit(0, rows)
        assert writer.pending == [0, 1, 2]


@pytest.mark.parametrize("form", FORMS)
def test_interrupted_store_equals_uninterrupted(tmp_path: Path, form: str) -> None:
    """Also in another process, with another hash seed, in another second: HDF5's time stamps have
    a grain of one, which is what the sleep is for."""
    name = FORMS[form]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make(tmp_path / "a" / name, form)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import make_store, pathlib; "
        "make_store.make(pathlib.Path(sys.argv[2]), sys.argv[3], stop=int(sys.argv[4]) or None)"
    )
    folder = str(Path(__file__).parent)
    for seed, stop in (("1", "1"), ("2", "0")):
        time.sleep(0.6)
        command = [sys.executable, "-c", script, folder, str(tmp_path / "b" / name), form, stop]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    trees = [
        {
            str(file.relative_to(tmp_path / one)): file.read_bytes()
            for file in (tmp_path / one).rglob("*")
            if file.is_file() and not file.name.endswith(("runs.jsonl", ".lock"))
        }
        for one in ("a", "b")
    ]
    assert trees[0] == trees[1]


def test_shards_may_be_committed_in_any_order(tmp_path: Path) -> None:
    with opened(tmp_path / "b", "shards") as writer:
        for number in (2, 0, 1):
            writer.commit(number, rows_of(writer.shard(number), identity()))
        writer.finish()
    make(tmp_path / "a", "shards")
    for name in ("manifest.jsonl", "000000.h5", "000001.h5", "000002.h5"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_reading_needs_no_pandas_and_no_torch(path: Path) -> None:
    script = (
        "import sys; from deepfeat.store.read import open_store; "
        "open_store(sys.argv[1]).read('fc7'); print({'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
