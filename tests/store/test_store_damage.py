"""Corruption is found: every byte of every committed file is covered by a checksum."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from make_store import identity, make

from deepfeat.errors import DataMissing, DeepfeatError, StoreDamaged
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
COMMITTED = ("identity.json", "manifest.jsonl", "plan.h5", "000000.h5", "000001.h5", "000002.h5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both forms side by side; tests copy them."""
    folder = tmp_path_factory.mktemp("whole")
    for form, name in FORMS.items():
        make(folder / name, form)
    return folder


@pytest.fixture
def shards(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "x", tmp_path / "x"))


@pytest.fixture
def sealed(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(whole / "x.h5", tmp_path / "x.h5"))  # not its mode: writable


def named(path: Path, deep: bool = True) -> list[object]:
    return [damage["file"] for damage in verify(path, deep=deep)["damaged"]]


@pytest.mark.parametrize("name", [*COMMITTED, "sealed"])
def test_every_flipped_bit_is_found_and_its_file_named(
    shards: Path, sealed: Path, name: str
) -> None:
    """40 random bits a file: 280 in all."""
    store = sealed if name == "sealed" else shards
    file = sealed if name == "sealed" else shards / name
    good = file.read_bytes()
    random = Random(name)
    for _ in range(40):
        place, bit = random.randrange(len(good)), random.randrange(8)
        bad = bytearray(good)
        bad[place] ^= 1 << bit
        file.write_bytes(bad)
        assert file.name in named(store), f"bit {bit} of byte {place}"
    file.write_bytes(good)
    assert named(store) == []


@pytest.mark.parametrize("name", [*COMMITTED, "sealed"])
def test_every_truncation_and_extension_is_found(shards: Path, sealed: Path, name: str) -> None:
    store = sealed if name == "sealed" else shards
    file = sealed if name == "sealed" else shards / name
    good = file.read_bytes()
    random = Random(name)
    for kept in [0, 1, len(good) - 1, *(random.randrange(len(good)) for _ in range(6))]:
        file.write_bytes(good[:kept])
        assert file.name in named(store, deep=False), f"cut to {kept} bytes"
    file.write_bytes(good + b"\n")
    assert file.name in named(store, deep=False)


@pytest.mark.parametrize("name", COMMITTED)
def test_a_missing_file_is_found(shards: Path, name: str) -> None:
    (shards / name).unlink()
    assert name in named(shards, deep=False)


def test_a_missing_shard_is_named_on_opening(shards: Path) -> None:
    (shards / "000001.h5").unlink()
    with pytest.raises(StoreDamaged, match="000001.h5' is missing"):
        open_store(shards)


def test_swapped_shards_are_found(shards: Path) -> None:
    (shards / "000000.h5").rename(shards / "other")
    (shards / "000001.h5").rename(shards / "000000.h5")
    (shards / "other").rename(shards / "000001.h5")
    assert named(shards, deep=False) == ["000000.h5", "000001.h5"]


def test_a_shard_of_another_store_is_found(shards: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", "shards", identity(mirror=False))
    shutil.copy(other / "000001.h5", shards / "000001.h5")
    assert named(shards, deep=False) == ["000001.h5"]


def test_a_damage_says_how_many_rows_it_costs(shards: Path) -> None:
    (shards / "000002.h5").unlink()
    (damage,) = verify(shards)["damaged"]
    assert (damage["rows"], verify(shards)["exit_status"]) == (3, 65)


def test_a_shard_that_no_manifest_names_is_an_orphan(shards: Path) -> None:
    shutil.copy(shards / "000000.h5", shards / "000007.h5")
    found = verify(shards, deep=True)
    assert (found["orphans"], found["ok"]) == (["000007.h5"], True)


def test_nothing_there_is_data_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        verify(tmp_path / "x.h5")


def test_a_flipped_bit_in_the_numbers_is_no_matter_of_opening(sealed: Path) -> None:
    """Opening makes no pass over the data: that is what ``deep`` is for."""
    whole = sealed.read_bytes()
    place = whole.index(np.float32(46.25).tobytes())
    sealed.write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    assert len(open_store(sealed)) == 11
    assert named(sealed, deep=False) == []
    assert named(sealed) == ["x.h5"]


def test_random_bytes_in_the_structure_never_escape_as_a_foreign_error(sealed: Path) -> None:
    good = sealed.read_bytes()
    random = Random(1)
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(8):
            bad[random.randrange(520, 2000)] = random.randrange(256)
        sealed.write_bytes(bad)
        try:
            open_store(sealed)
        except DeepfeatError as error:
            assert "x.h5" in str(error)
