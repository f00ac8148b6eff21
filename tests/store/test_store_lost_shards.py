"""A shard that is gone is computed again by the same command; a damaged one once it is removed.

The advice that is given is followed to the letter, and the store ends in the bytes of one that
nothing happened to.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_store import ENVIRONMENT, identity, make, opened, rows_of, values

from deepfeat.errors import StoreDamaged, StoreError
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

SHARDS = ("000000.h5", "000001.h5", "000002.h5")
FORMS = {"sealed": "x.h5", "shards": "x"}


def flipped(path: Path) -> None:
    """One bit of a number that some image was described by."""
    contents = path.read_bytes()
    row = {"000000.h5": 0, "000001.h5": 4, "000002.h5": 8}[path.name]
    place = contents.index(values(row, "fc7", "256").tobytes())
    path.write_bytes(contents[:place] + bytes([contents[place] ^ 1]) + contents[place + 1 :])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "a bit": flipped,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "header": lambda path: path.write_bytes(path.read_bytes().replace(b"blake3 ", b"blake4 ", 1)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "structure": lambda path: path.write_bytes(path.read_bytes().replace(b"OHDR", b"OHDX")),
}


def contents(path: Path) -> dict[str, bytes]:
    """Every byte that promises to be the same."""
    if path.is_file():
        return {"": path.read_bytes()}
    left_out = {"runs.jsonl", ".lock"}
    return {one.name: one.read_bytes() for one in path.iterdir() if one.name not in left_out}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for form, name in FORMS.items():
        make(folder / name, form)
    return folder


def command(path: Path, form: str) -> list[int]:
    """What the same command does: compute what is missing, and finish. Shards computed."""
    done = []
    with opened(path, form) as writer:
        for number in list(writer.pending):
            writer.commit(number, rows_of(writer.shard(number), identity()))
            done.append(number)
        writer.finish()
        assert writer.differing == []
    return done


def follow(advice: str, shard: Path) -> None:
    """Do what the advice says, and nothing else."""
    assert re.search(
        rf"emove '{re.escape(str(shard))}' and run the same 'deepfeat extract'", advice
    )
    shard.unlink()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", SHARDS)
def test_the_advice_of_verify_leads_to_the_bytes_of_an_undisturbed_store(
    whole: Path, tmp_path: Path, name: str, damage: str
) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    shard = path / name
    DAMAGES[damage](shard)
    (found,) = verify(path, deep=True)["damaged"]
    assert found["file"] == name
    count = 3 if name == SHARDS[2] else 4
    assert f"its {count} images are computed again" in str(found["what"])
    if damage == "removed":
        assert "Run the same 'deepfeat extract' again" in str(found["what"])
    else:
        follow(str(found["what"]), shard)
    assert command(path, "shards") == [SHARDS.index(name)]
    assert contents(path) == contents(whole / "x")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stop, name", [(stop, name) for stop in (2, 3) for name in SHARDS[:stop]])
def test_the_advice_of_an_unfinished_run_leads_to_the_same_sealed_file(
    whole: Path, tmp_path: Path, name: str, damage: str, stop: int
) -> None:
    """Some is seen when the run begins, a flipped bit when it is sealed."""
    path = make(tmp_path / "x.h5", "sealed", stop=stop)
    shard = tmp_path / "x.h5.work" / name
    DAMAGES[damage](shard)
    if damage != "removed":
        with pytest.raises(StoreDamaged) as told:
            command(path, "sealed")
        assert not path.exists()
        follow(str(told.value), shard)
    assert SHARDS.index(name) in command(path, "sealed")
    assert contents(path) == contents(whole / "x.h5")


def test_several_shards_that_are_gone_are_computed_again(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    for name in SHARDS:
        (path / name).unlink()
    with opened(path, "shards") as writer:
        assert (writer.gone, writer.pending) == (3, [0, 1, 2])
    assert command(path, "shards") == [0, 1, 2]
    assert contents(path) == contents(whole / "x")


def test_a_shard_that_comes_back_before_it_is_computed_is_taken(
    whole: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    (path / SHARDS[1]).unlink()
    with opened(path, "shards") as writer:
        assert writer.pending == [1]
    assert not open_store(path).complete
    shutil.copy(whole / "x" / SHARDS[1], path)
    assert command(path, "shards") == []
    assert contents(path) == contents(whole / "x")


def test_other_bytes_than_before_are_told(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    (path / SHARDS[1]).unlink()
    other = {**ENVIRONMENT, "torch": "2.5"}
    with opened(path, "shards", environment=other, accept_environment=True) as writer:
        writer.commit(1, rows_of(writer.shard(1), identity()))
        assert (writer.gone, writer.differing) == (1, [SHARDS[1]])
    assert verify(path, deep=True)["ok"]


def test_a_gone_shard_beside_a_damaged_one_changes_nothing(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    (path / SHARDS[0]).unlink()
    os.truncate(path / SHARDS[1], 100)
    before = (path / "manifest.jsonl").read_bytes()
    with pytest.raises(StoreDamaged, match=SHARDS[1]):
        opened(path, "shards")
    assert (path / "manifest.jsonl").read_bytes() == before
    assert (path / SHARDS[1]).stat().st_size == 100  # nothing is removed by us


def test_a_shard_that_cannot_be_looked_at_is_not_gone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network drive that is away for a moment must not cost a committed row."""
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    before, look = contents(path), os.lstat

    def away(place: object, **rest: object) -> os.stat_result:
        if str(place).endswith(SHARDS[1]):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return look(place, **rest)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "lstat", away)
    with pytest.raises(StoreError, match="000001.h5' could not be read") as told:
        opened(path, "shards")
    assert told.value.exit_status == 74
    monkeypatch.undo()
    assert contents(path) == before


def test_rows_of_the_other_shards_can_be_read_after_the_loss_is_taken_up(
    whole: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(whole / "x", tmp_path / "x"))
    (path / SHARDS[1]).unlink()
    with pytest.raises(StoreDamaged, match="its 4 images are computed again"):
        open_store(path)
    with opened(path, "shards"):
        pass
    store = open_store(path)
    rows = [row for row in range(11) if not 4 <= row < 8]
    expected = np.stack([values(row, "fc7", "256") for row in rows])
    expected[~store.ok] = np.nan
    np.testing.assert_array_equal(store["fc7", 256][:], expected)
