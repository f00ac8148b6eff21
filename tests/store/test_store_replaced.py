"""A folder that is removed, moved or taken by another run while a run writes it.

The run that lost it writes nothing more; what the other one wrote stays as it is, and ends in the
bytes that it would have had alone.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from make_store import LISTED, identity, make, opened, rows_of

from deepfeat import files
from deepfeat.errors import StoreDamaged, StoreError, StoreLocked
from deepfeat.store import shard
from deepfeat.store.plan import Listed
from deepfeat.store.verify import verify
from deepfeat.store.writer import StoreWriter

FORMS = {"sealed": "x.h5", "shards": "x"}
FOLDERS = {"sealed": "x.h5.work", "shards": "x"}
OTHER = identity(mirror=False)
FEWER = LISTED[1:]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def commit_all(run: StoreWriter) -> None:
    for number in run.pending:
        run.commit(number, rows_of(run.shard(number), identity()))


def tree(root: Path) -> dict[str, bytes]:
    left_out = ("runs.jsonl", "failures.csv", ".lock")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(left_out)
    }


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


LOST: dict[str, Callable[[Path], object]] = {
    "removed": shutil.rmtree,
    "moved": lambda folder: folder.rename(folder.with_name("away")),
    "emptied": emptied,
}
AFTER: dict[str, Callable[[Path, str], object]] = {
    "other arguments": lambda path, form: make(path, form, OTHER, stop=2),
    "other images": lambda path, form: make(path, form, listed=FEWER, stop=2),
    "the same again": lambda path, form: make(path, form, stop=2),
    "begun only": lambda path, form: make(path, form, listed=FEWER, stop=0),
}
THEN: dict[str, Callable[[StoreWriter], object]] = {
    "commits": lambda run: run.commit(2, rows_of(run.shard(2), identity())),
    "is left": lambda run: run.__exit__(None, None, None),
}


@pytest.mark.parametrize("lock", [True, False], ids=["lock", "no lock"])
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("lost", LOST)
def test_a_run_whose_folder_another_run_took_writes_nothing_more(
    tmp_path: Path, form: str, lost: str, after: str, then: str, lock: bool
) -> None:
    path = tmp_path / FORMS[form]
    run = opened(path, form, lock=lock)
    run.commit(0, rows_of(run.shard(0), identity()))
    LOST[lost](tmp_path / FOLDERS[form])
    AFTER[after](path, form)
    before = tree(tmp_path)
    with pytest.raises(StoreLocked, match="was replaced or removed while this run") as told:
        THEN[then](run)
    assert told.value.exit_status == 75
    run.__exit__(StoreLocked, told.value, None)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("listed", [LISTED, FEWER], ids=["the same images", "other images"])
def test_rows_are_never_sealed_under_the_keys_of_the_run_that_took_the_folder(
    tmp_path: Path, lost: str, listed: list[Listed]
) -> None:
    path = tmp_path / "x.h5"
    run = opened(path, "sealed")
    commit_all(run)
    LOST[lost](tmp_path / "x.h5.work")
    make(path, "sealed", OTHER, listed=listed, stop=1)
    with pytest.raises(StoreLocked):
        run.finish()
    assert not path.exists()
    run.__exit__(StoreLocked, StoreLocked(""), None)
    make(path, "sealed", OTHER, listed=listed)  # the other one goes on
    whole = make(tmp_path / "whole.h5", "sealed", OTHER, listed=listed)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", ["000001.h5", ".tmp-000001.h5"])
def test_a_run_that_slept_while_it_wrote_a_shard_does_not_put_it_into_anothers_folder(
    tmp_path: Path, form: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    read_back = shard.read_back

    def slept(*given: object) -> None:
        monkeypatch.undo()
        read_back(*given)  # type: ignore[arg-type]
        shutil.rmtree(folder)
        make(path, form, OTHER, stop=2)
        if name.startswith(".tmp-"):  # the other one is writing it
            (folder / "000001.h5").rename(folder / name)

    with pytest.raises(StoreLocked), opened(path, form) as run:
        monkeypatch.setattr(shard, "read_back", slept)
        run.commit(1, rows_of(run.shard(1), identity()))
    whole = make(tmp_path / "whole", "shards", OTHER)
    assert (folder / name).read_bytes() == (whole / "000001.h5").read_bytes()
    assert set(folder.glob("*1.h5")) == {folder / name}


@pytest.mark.parametrize("lost", ["removed", "moved"])
@pytest.mark.parametrize("then", THEN)
def test_a_folder_that_is_gone_is_told_so_and_the_advice_holds(
    tmp_path: Path, form: str, lost: str, then: str
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    run = opened(path, form)
    run.commit(0, rows_of(run.shard(0), identity()))
    LOST[lost](folder)
    before = tree(tmp_path)
    with pytest.raises(
        StoreError, match="removed or moved(.|\n)*[Ss]tart the command again"
    ) as told:
        THEN[then](run)
    assert (told.value.exit_status, "safe" in str(told.value)) == (74, False)
    run.__exit__(StoreError, told.value, None)
    assert (tree(tmp_path), folder.exists()) == (before, False)
    make(path, form)
    assert verify(path, deep=True)["ok"]


def test_nothing_is_begun_or_discarded_in_anothers_folder(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    replace = files.replace

    def slept(*given: object) -> None:
        monkeypatch.undo()
        replace(*given)  # type: ignore[arg-type]
        shutil.rmtree(folder)
        make(path, form, OTHER, stop=0)

    monkeypatch.setattr(files, "replace", slept)
    with pytest.raises(StoreLocked):
        opened(path, form)
    run = opened(path, form, OTHER)
    shutil.rmtree(folder)
    make(path, form, OTHER, stop=0)
    before = tree(tmp_path)
    with pytest.raises(StoreLocked):
        run.discard()
    assert tree(tmp_path) == before


def test_a_lock_that_was_removed_keeps_nobody_out_and_ends_the_run(
    tmp_path: Path, form: str
) -> None:
    with pytest.raises(StoreLocked), opened(tmp_path / FORMS[form], form) as run:
        (tmp_path / FOLDERS[form] / ".lock").unlink()
        run.commit(0, rows_of(run.shard(0), identity()))


@pytest.mark.parametrize("name", ["plan.h5", "000001.h5", "identity.json"])
def test_what_does_not_belong_together_is_not_sealed(tmp_path: Path, name: str) -> None:
    """Files that are whole, of a store with other keys."""
    other = make(tmp_path / "other", "shards", OTHER, listed=[*FEWER, Listed(b"z", 1, 1)], stop=2)
    path = tmp_path / "x.h5"
    with pytest.raises(StoreDamaged, match=name), opened(path, "sealed") as run:
        commit_all(run)
        (other / name).replace(tmp_path / "x.h5.work" / name)
        run.finish()
    assert not path.exists()


@pytest.mark.parametrize(
    "number, right, wrong",
    [
        (errno.ENOSPC, "Make room", "disk"),
        (errno.EDQUOT, "Make room", "disk"),
        (errno.EIO, "Check the disk", "room"),
        (errno.EISDIR, "Move away what has this name", "room"),
        (errno.ELOOP, "Move away what has this name", "room"),
        (errno.EACCES, "permissions", "room"),
        (errno.EROFS, "permissions", "room"),
        (errno.ENOENT, "moved or removed", "room"),
    ],
)
def test_a_write_that_fails_says_what_to_do_about_it(number: int, right: str, wrong: str) -> None:
    told = shard.failed(Path("x/000001.h5"), OSError(number, os.strerror(number)))
    assert (told.exit_status, right in told.advice, wrong in told.advice) == (74, True, False)
    assert "x/000001.h5" in told.message
