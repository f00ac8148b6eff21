"""Bad files among good ones, through the installed command: holes in their places, no row moved.

A tool that drops an unreadable image and goes on counting, or reads its neighbour instead, gives
every later name another image's row. Here every row is compared by key, bit for bit, with a run
that never saw a bad file. Every command loads torch anew, which is where the seconds go.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfeat import open_store

SIZES = {"a.png": (60, 80), "c.jpg": (60, 80), "e.png": (90, 70), "sub/g.jpg": (60, 80)}
BAD = {"b.jpg": "empty", "d.jpg": "corrupt"}
KEYS = ["a.png", "b.jpg", "c.jpg", "d.jpg", "e.png", "sub/g.jpg"]
OPTIONS = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224", "--device", "cpu")


@pytest.fixture(scope="module")
def one_thread():
    """Commands of this file on one thread each: the images are small, the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory, save_picture):
    """The good files alone, and the same among a zero-byte file and a truncated one."""
    root = tmp_path_factory.mktemp("folders")
    for folder in ("good", "mixed"):
        for seed, (name, size) in enumerate(SIZES.items()):
            save_picture(root / folder / name, *size, seed=seed)
    (root / "mixed" / "b.jpg").touch()
    whole = io.BytesIO()
    Image.open(root / "good" / "c.jpg").save(whole, "jpeg")
    (root / "mixed" / "d.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) * 2 // 3])
    return root


@pytest.fixture(scope="module")
def good(folders, deepfeat, one_thread):
    """Rows by key of the good files alone."""
    done = deepfeat("extract", folders / "good", folders / "good.h5", *OPTIONS)
    assert done.returncode == 0, done.stderr
    return rows_by_key(folders / "good.h5")


@pytest.fixture(
    scope="module",
    params=[("mixed.h5", ()), ("mixed", ("--max-failures", "2"))],
    ids=lambda p: p[0],
)
def mixed(request, folders, deepfeat, one_thread):
    """The store of the mixed folder in each form, and how the command ended."""
    name, more = request.param
    store = folders / f"out-{name}"
    return store, deepfeat("extract", folders / "mixed", store, *OPTIONS, *more)


def rows_by_key(store):
    with open_store(store) as opened:
        rows = np.asarray(opened["fc7", 224])
        return {key: rows[row].copy() for row, key in enumerate(opened.keys)}


def failures_csv(store):
    path = (
        store / "failures.csv" if store.is_dir() else store.with_name(f"{store.name}.failures.csv")
    )
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_holes_are_exactly_where_the_bad_files_are(mixed):
    store, _ = mixed
    rows = rows_by_key(store)
    assert list(rows) == KEYS
    holes = {key for key, row in rows.items() if np.isnan(row).all()}
    assert holes == set(BAD)


def test_statuses_say_what_is_wrong(mixed):
    store, _ = mixed
    with open_store(store) as opened:
        statuses = dict(zip(opened.keys, opened.statuses.tolist(), strict=True))
    assert statuses == {key: {"empty": 8, "corrupt": 4}.get(BAD.get(key), 0) for key in KEYS}


def test_every_other_row_is_its_own_image(mixed, good):
    store, _ = mixed
    rows = rows_by_key(store)
    assert len({row.tobytes() for row in good.values()}) == len(good)  # no two look alike
    for key, row in good.items():
        np.testing.assert_array_equal(rows[key], row, err_msg=key, strict=True)


def test_failures_csv_names_the_bad_files(mixed):
    store, _ = mixed
    found = failures_csv(store)
    assert [(line["key"], line["status"], line["name"]) for line in found] == [
        ("b.jpg", "8", "empty"),
        ("d.jpg", "4", "corrupt"),
    ]
    assert found[0]["size"] == "0"
    assert all(line["advice"] for line in found)
    assert found[1]["detail"]  # the decoder's words


def test_exit_status_says_holes_unless_they_were_allowed(mixed):
    store, done = mixed
    allowed = store.is_dir()  # this form was run with --max-failures 2
    assert done.returncode == (0 if allowed else 1), done.stderr


def test_one_hole_more_than_allowed_ends_with_65(folders, deepfeat, one_thread):
    done = deepfeat(
        "extract", folders / "mixed", folders / "few.h5", *OPTIONS, "--max-failures", "1"
    )
    assert done.returncode == 65
    assert "2 of 6 images failed" in done.stderr
    assert "corrupt 1, empty 1" in done.stderr
    assert "--max-failures" in done.stderr
    assert not (folders / "few.h5").exists()  # not finished, so nothing that looks finished


def test_other_names_permute_the_rows(folders, good, deepfeat, one_thread):
    """The same images under names that reverse their order, the bad ones still among them."""
    renamed = {key: f"{len(KEYS) - place}-{Path(key).name}" for place, key in enumerate(KEYS)}
    target = folders / "renamed"
    target.mkdir()
    for key, name in renamed.items():
        os.link(folders / "mixed" / key, target / name)
    done = deepfeat("extract", target, folders / "renamed.h5", *OPTIONS)
    assert done.returncode == 1, done.stderr
    rows = rows_by_key(folders / "renamed.h5")
    assert list(rows) == [renamed[key] for key in reversed(KEYS)]
    for key, row in good.items():
        np.testing.assert_array_equal(rows[renamed[key]], row, err_msg=key, strict=True)
