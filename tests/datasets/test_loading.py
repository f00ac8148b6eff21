"""Published sets by their names: found in the usual places, explained where not, or fetched."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_server import Settings, serving
from trees import make_caltech, make_voc

from deepfeat.datasets import loading
from deepfeat.datasets.archives import Archive
from deepfeat.datasets.loading import SETS, data_folder, find_root, load_dataset
from deepfeat.errors import CannotCreate, DataError, DataMissing, Unavailable, UsageError


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DEEPFEAT_OFFLINE", "DEEPFEAT_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEEPFEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(os, "sync", lambda: None)  # waits for every disk of the machine


def make(name: str, root: Path) -> Path:
    """A small tree of a set; its own folder."""
    if name.startswith("voc"):
        return make_voc(root, name[3:], n=2)
    return make_caltech(root, 2, 2, digits=name[-3:])


@pytest.mark.parametrize("name", SETS)
def test_set_is_found_in_each_of_its_places(name: str, tmp_path: Path) -> None:
    own = make(name, tmp_path / "made")
    for number, place in enumerate(SETS[name].places):
        root = tmp_path / f"root{number}"
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        own.rename(root / place)
        assert find_root(name, root) == root / place
        assert load_dataset(name, str(root)).name == name
        (root / place).rename(own)
        assert find_root(name, root) is None


def test_sets_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    folders = {name: make(name, tmp_path / "all") for name in SETS}
    for name in SETS:
        assert find_root(name, tmp_path / "all") == folders[name]
        for other, folder in folders.items():
            assert (find_root(name, folder) is None) == (name != other), (name, other)


@pytest.mark.parametrize("year", ["2007", "2012"])
def test_lists_tell_the_year_of_a_folder_with_any_name(year: str, tmp_path: Path) -> None:
    own = make(f"voc{year}", tmp_path).rename(tmp_path / "images")
    found = [name for name in SETS if find_root(name, own)]
    assert found == [f"voc{year}"]


def test_roots_are_the_environments_in_order_then_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = make("caltech101", data_folder())
    assert find_root("caltech101") == cached
    (tmp_path / "empty").mkdir()
    second = make("caltech101", tmp_path / "second")
    third = make("caltech101", tmp_path / "third")
    folders = ["", str(tmp_path / "empty"), str(tmp_path / "second"), str(tmp_path / "third")]
    monkeypatch.setenv("DEEPFEAT_DATA", os.pathsep.join(folders))
    assert find_root("caltech101") == second
    assert load_dataset("caltech101").entries[0].place.is_relative_to(second)
    assert find_root("caltech101", tmp_path / "third") == third
    assert find_root("caltech101", tmp_path / "empty") is None  # a given root is the only one


def test_given_cache_wins(tmp_path: Path) -> None:
    own = make("voc2007", tmp_path / "mine/data")
    assert find_root("voc2007") is None
    assert find_root("voc2007", cache=tmp_path / "mine") == own
    assert load_dataset("voc2007", cache=tmp_path / "mine").name == "voc2007"


def test_missing_set_says_where_it_was_looked_for_and_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFEAT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataMissing) as caught:
        load_dataset("voc2007")
    message = str(caught.value)
    assert caught.value.exit_status == 66
    for part in (
        *(str(tmp_path / "nowhere"), str(tmp_path / "cache/data"), "'VOCdevkit/VOC2007'"),
        *("VOCtrainval_06-Nov-2007.tar (439 MiB, md5 c52e279531787c972589f7e41ab4ae64)",),
        *("voc2007/VOCtest_06-Nov-2007.tar", "--download fetches", "--data", "DEEPFEAT_DATA"),
    ):
        assert part in message


def test_wrong_root_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("holiday", "work"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/x.jpg").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for root, words in (
        ("root", "holds 2 folders ('holiday', 'work') and 1 files"),
        ("file", "is a file"),
        ("empty", "is empty"),
        ("nowhere", "no folder"),
    ):
        with pytest.raises(DataMissing, match="is not in") as caught:
            load_dataset("caltech101", tmp_path / root)
        assert words in str(caught.value)
        assert str(tmp_path / "cache") not in str(caught.value)


def test_unknown_names_and_options_are_refused_with_the_near_ones(tmp_path: Path) -> None:
    for ask in (load_dataset, find_root):
        with pytest.raises(UsageError, match="unknown data set 'voc2017'") as caught:
            ask("voc2017", tmp_path)
        assert "'voc2007'" in str(caught.value)
    with pytest.raises(UsageError, match="no option 'backgruond'") as caught:
        load_dataset("caltech101", tmp_path, backgruond=True)
    assert "'background'" in str(caught.value)
    with pytest.raises(UsageError, match="'voc2007' has no option 'background'"):
        load_dataset("voc2007", tmp_path, background=True)
    with pytest.raises(UsageError, match="true or false"):
        load_dataset("caltech101", tmp_path, background="no")  # type: ignore[arg-type]


def test_background_option_reaches_the_set(tmp_path: Path) -> None:
    for name in ("caltech101", "caltech256"):
        make(name, tmp_path)
    assert len(load_dataset("caltech101", tmp_path).classes) == 2
    assert len(load_dataset("caltech101", tmp_path, background=True).classes) == 2
    assert load_dataset("caltech101", tmp_path, background=False).classes == ("Faces",)
    assert len(load_dataset("caltech256", tmp_path, background=False).classes) == 2


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Settings, list[Archive]]]:
    """caltech101 as its archive, zip in tar.gz and all, from a server on this machine."""
    own = make("caltech101", tmp_path / "made")
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        tar.add(own, "101_ObjectCategories")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("caltech-101/101_ObjectCategories.tar.gz", inner.getvalue())
        archive.writestr("caltech-101/show_annotation.m", "%")
    with serving() as (url, settings):
        settings.content = outer.getvalue()
        md5 = hashlib.md5(settings.content).hexdigest()
        known = loading.ARCHIVES["caltech101"][0]
        archives = [Archive("caltech-101.zip", url, md5, None, known.takes, known.inner)]
        monkeypatch.setattr(loading, "ARCHIVES", {**loading.ARCHIVES, "caltech101": archives})
        yield settings, archives


@pytest.mark.parametrize("root", [None, "mine"])
def test_download_brings_the_set_once(
    root: str | None, served: tuple[Settings, list[Archive]], tmp_path: Path
) -> None:
    given = None if root is None else tmp_path / root
    with pytest.raises(DataMissing):
        load_dataset("caltech101", given)
    told: list[tuple[int, int]] = []
    data = load_dataset(
        "caltech101", given, download=True, progress=lambda *state: told.append(state)
    )
    made = load_dataset("caltech101", tmp_path / "made")
    assert [entry.key for entry in data.entries] == [entry.key for entry in made.entries]
    assert [one.place.read_bytes() for one in data.entries] == [
        one.place.read_bytes() for one in made.entries
    ]
    target = (tmp_path / "cache/data" if given is None else given) / "caltech101"
    assert data.entries[0].place.is_relative_to(target / "101_ObjectCategories")
    assert (tmp_path / "cache/archives/caltech-101.zip").exists()
    assert told[-1][0] == told[-1][1] == len(served[0].content)
    load_dataset("caltech101", given, download=True)
    assert len(served[0].requests) == 1


def test_set_that_is_there_is_not_downloaded(
    served: tuple[Settings, list[Archive]], tmp_path: Path
) -> None:
    load_dataset("caltech101", tmp_path / "made", download=True)
    assert served[0].requests == []


def test_folder_in_the_way_is_seen_before_the_download(
    served: tuple[Settings, list[Archive]], tmp_path: Path
) -> None:
    (tmp_path / "cache/data/caltech101").mkdir(parents=True)
    with pytest.raises(CannotCreate, match="exists and is not the data set") as caught:
        load_dataset("caltech101", download=True)
    assert (caught.value.exit_status, served[0].requests) == (73, [])


def test_offline_download_is_unavailable(
    served: tuple[Settings, list[Archive]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPFEAT_OFFLINE", "1")
    with pytest.raises(Unavailable, match="caltech-101.zip") as caught:
        load_dataset("caltech101", download=True)
    assert (caught.value.exit_status, served[0].requests) == (69, [])
    assert f"put it into '{tmp_path / 'cache/archives'}'" in str(caught.value)


def test_accepting_a_hash_reaches_the_archive(
    served: tuple[Settings, list[Archive]], tmp_path: Path
) -> None:
    one = served[1][0]
    served[1][0] = Archive(one.file, one.url, None, None, one.takes, one.inner)
    with pytest.raises(DataError, match="--accept-hash"):
        load_dataset("caltech101", download=True)
    assert find_root("caltech101") is None
    load_dataset("caltech101", download=True, accept_hash=True)
    assert len(served[0].requests) == 1


def test_archive_of_another_set_is_missing_data(
    served: tuple[Settings, list[Archive]], tmp_path: Path
) -> None:
    one = served[1][0]
    served[1][0] = Archive(one.file, one.url, one.md5, None, (".m",))
    with pytest.raises(DataMissing, match="is not in"):
        load_dataset("caltech101", download=True)
