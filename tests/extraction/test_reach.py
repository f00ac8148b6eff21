"""A source of which nothing can be read is refused; one of which something can goes on."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from deepfeat import csv_dataset, extract
from deepfeat.errors import DataMissing, Interrupted, NoPermission
from deepfeat.extraction import reach
from deepfeat.extraction.reach import find_readable, hint
from deepfeat.extraction.request import NetworkChoice, Request, Sampling, Working
from deepfeat.extraction.run import prepare_run, run
from deepfeat.extraction.stopping import Stopped
from deepfeat.status import CASES, Status

SMALL = {"network": "vgg8-small", "weights": "random:0", "scales": (224,), "workers": 1}
NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def place(tmp_path: Path, save_picture) -> Path:
    for seed, name in enumerate(NAMES):
        save_picture(tmp_path / "src" / name, 60, 80, seed=seed)
    return tmp_path


def write_list(place: Path, names) -> Path:
    path = place / "list.csv"
    path.write_text("\n".join(["path", *names, ""]))
    return path


WRONG = {
    "backslashes": (lambda name: f"src\\{name}", "/src/a.png'"),
    "a blank behind": (lambda name: f"src/{name} ", "blanks around"),
    "a blank before": (lambda name: f" src/{name}", "blanks around"),
    "another case": (lambda name: f"src/{name.upper()}", "Capital letters"),
    "an address": (lambda name: f"file://src/{name}", "no address"),
    "another folder": (lambda name: f"images/{name}", "paths of a CSV start from its folder"),
    "folders": (lambda name: f"folders/{name}", "not a regular file"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_list_of_nothing_is_refused_with_a_word_on_what_is_wrong(wrong: str, place: Path) -> None:
    spell, words = WRONG[wrong]
    if wrong == "folders":
        for one in NAMES:
            (place / "folders" / one).mkdir(parents=True)
    listed = write_list(place, map(spell, NAMES))
    before = sorted(place.rglob("*"))
    with pytest.raises(DataMissing) as refused:
        extract(listed, place / "s.h5", **SMALL)
    assert refused.value.exit_status == 66
    assert "not one of the 3 images" in refused.value.message
    assert "a.png" in refused.value.found.lower()
    assert words in refused.value.advice + refused.value.found
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("name", ["s.h5", "s"])
def test_a_list_that_was_refused_can_be_mended(name: str, place: Path) -> None:
    listed = write_list(place, [f"src\\{one}" for one in NAMES])
    with pytest.raises(DataMissing):
        extract(listed, place / name, **SMALL)
    write_list(place, [f"src/{one}" for one in NAMES])
    with extract(listed, place / name, **SMALL) as store:
        assert [bool(ok) for ok in store.ok] == [True] * 3


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_accents_in_another_form_are_seen(on_disk: str, tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize(on_disk, "café.png")).touch()
    other = {"NFC": "NFD", "NFD": "NFC"}[on_disk]
    assert "accents" in hint(os.fspath(tmp_path / unicodedata.normalize(other, "café.png")))


def test_no_hint_where_nothing_is_seen(tmp_path: Path) -> None:
    assert hint(os.fspath(tmp_path / "café.png")) == ""
    (tmp_path / "there").touch()
    assert hint(os.fspath(tmp_path / "there")) == ""


def test_a_source_that_may_not_be_read_is_77(place: Path, monkeypatch) -> None:
    """The tests may run as root, who may read anything."""
    monkeypatch.setattr(reach, "fault_of", lambda _: OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(NoPermission, match="Permission denied"):
        extract(place / "src", place / "s.h5", **SMALL)


def test_where_some_can_be_read_the_others_are_holes(place: Path) -> None:
    listed = write_list(place, ["src/a.png", "src/gone.png", "src\\c.png"])
    with extract(listed, place / "s.h5", **SMALL) as store:
        both = store.keys, store.statuses
        found = {key: CASES[Status(s)].name for key, s in zip(*both, strict=True)}
    assert found == {"src/a.png": "ok", "src/gone.png": "missing", "src\\c.png": "missing"}


def test_contents_that_are_no_images_can_be_read(place: Path) -> None:
    for name in NAMES:
        (place / "src" / name).write_bytes(b"" if name == "a.png" else b"no image")
    with extract(place / "src", place / "s.h5", **SMALL) as store:
        assert not store.ok.any()


def test_a_data_set_of_nothing_is_refused(place: Path) -> None:
    listed = write_list(place, ["src/a.png", "src/b.png"])
    listed.write_text("path,label\nsrc/a.png,x\nsrc/b.png,y\n")
    data = csv_dataset(listed)
    shutil.rmtree(place / "src")
    with pytest.raises(DataMissing, match="not one of the 2 images"):
        extract(data, place / "s.h5", **SMALL)


def small_request() -> Request:
    return Request(
        NetworkChoice("vgg8-small", "random:0"),
        Sampling(("224",)),
        working=Working(shard_images=1, workers=1),
    )


def test_a_disk_that_goes_away_costs_no_image(place: Path) -> None:
    """After the first shard; the run stops, and goes on where the disk is back."""
    source, away = place / "src", place / "away"
    for number in range(9):
        os.link(source / "a.png", source / f"{number}.png")
    prepared = prepare_run(source, place / "s.h5", small_request())

    def unplug(state) -> None:
        if state.done == 1 and source.exists():
            source.rename(away)

    with pytest.raises(DataMissing, match="The same command then goes on"):
        run(prepared, report=unplug)
    with pytest.raises(DataMissing):
        run(prepared)
    away.rename(source)
    summary = run(prepared)
    assert (summary["ok"], summary["resumed"]) == (12, True)


def test_a_finished_store_needs_no_source(place: Path) -> None:
    listed = write_list(place, ["src/a.png"])
    extract(listed, place / "s.h5", **SMALL).close()
    shutil.rmtree(place / "src")
    with extract(listed, place / "s.h5", **SMALL) as store:
        assert store.ok.all()


def test_the_list_of_an_earlier_start_is_dropped_where_nothing_was_done(place: Path) -> None:
    """Stopped before its first image, then its files renamed and its list mended."""
    listed = write_list(place, [f"src/{name}" for name in NAMES])

    def stop(_) -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        run(prepare_run(listed, place / "s.h5", small_request()), report=stop)
    assert (place / "s.h5.work").exists()
    (place / "src").rename(place / "mended")
    write_list(place, [f"mended/{name}" for name in NAMES])
    with pytest.raises(DataMissing, match="was dropped: run the same command again"):
        extract(listed, place / "s.h5", **SMALL)
    with extract(listed, place / "s.h5", **SMALL) as store:
        assert store.keys == [f"mended/{name}" for name in NAMES]


def test_looking_for_a_file_can_be_stopped(tmp_path: Path) -> None:
    asked = []
    with pytest.raises(Stopped):
        find_readable([tmp_path / "x"] * 9, lambda: asked.append(1) or len(asked) == 3)
    assert len(asked) == 3


@pytest.mark.parametrize("name", [b"\xff.png", "a\0b.png"])
def test_names_that_are_no_text_can_be_asked_for(name, tmp_path: Path) -> None:
    assert find_readable([name]) is None
