"""Two at the same moment: a second run, a file of the user's, a look at a store that is sealed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from make_store import LISTED, identity, make, opened, rows_of, values

from deepfeat.errors import (
    CannotCreate,
    DataMissing,
    StoreDamaged,
    StoreLocked,
    StoreMismatch,
)
from deepfeat.store import parts, verify, writer
from deepfeat.store.commit import StoreWriter
from deepfeat.store.read import open_store

FORMS = {"sealed": "x.h5", "shards": "x"}
OTHER = identity(mirror=False)


def commit_all(run: StoreWriter) -> None:
    for number in run.pending:
        run.commit(number, rows_of(run.shard(number), identity()))


def tree(root: Path) -> dict[str, bytes]:
    """Every file's bytes, but of the lock and of what holds a clock."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", "runs.jsonl", "failures.csv"))
    }


def meanwhile(
    patch: pytest.MonkeyPatch, place: Any, name: str, do: Callable[[], object], nth: int = 1
) -> None:
    """At the ``nth`` call of ``place.name``, ``do`` comes between."""
    real, calls = getattr(place, name), []

    def held(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            do()
        return real(*args, **options)

    patch.setattr(place, name, held)


# Two runs of one store. The second has looked, and is held before its lock until the first is done.


def test_a_finished_file_is_never_replaced_by_a_run_with_other_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.h5"
    meanwhile(monkeypatch, writer, "make_folder", lambda: make(path, "sealed"))
    with pytest.raises(StoreMismatch, match=r"sampling.mirror: True in the store"):
        opened(path, "sealed", OTHER)
    first = tree(tmp_path)
    assert list(first) == ["x.h5"]  # and no folder of work is left
    assert not (tmp_path / "x.h5.work").exists()


def test_a_second_run_of_the_same_finds_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.h5"
    meanwhile(monkeypatch, writer, "make_folder", lambda: make(path, "sealed"))
    with opened(path, "sealed") as second:
        assert (second.complete, second.pending) == (True, [])
    assert list(tree(tmp_path)) == ["x.h5"]
    assert not (tmp_path / "x.h5.work").exists()


@pytest.mark.parametrize("stop", [0, 1, None])
def test_the_shards_of_another_run_are_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    path = tmp_path / "x"
    meanwhile(monkeypatch, writer, "make_folder", lambda: make(path, "shards", stop=stop))
    with pytest.raises(StoreMismatch):
        opened(path, "shards", OTHER)
    assert make(path, "shards") == path
    assert tree(path) == tree(make(tmp_path / "y", "shards"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("who", [identity(), OTHER], ids=["same", "other"])
def test_a_run_that_waits_for_the_lock_looks_again(tmp_path: Path, form: str, who: Any) -> None:
    """The first run removes folder and lock when it has sealed."""
    path = tmp_path / FORMS[form]
    found: list[object] = []

    def second() -> None:
        try:
            with opened(path, form, who, wait=True) as run:
                found.append(run.pending)
        except StoreMismatch as error:
            found.append(error.exit_status)

    with opened(path, form) as first:
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.1)  # it now waits; where it does not yet, it must end the same
        commit_all(first)
        first.finish()
        before = tree(tmp_path)
    waiting.join(20)
    assert found == [[] if who is not OTHER else 65]
    assert tree(tmp_path) == before


@pytest.mark.parametrize("what", ["foreign", "folder", "link"])
def test_what_comes_under_the_name_before_the_lock_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "x.h5"
    meanwhile(monkeypatch, writer, "make_folder", lambda: CAME[what](path))
    with pytest.raises(CannotCreate):
        opened(path, "sealed")
    assert not (tmp_path / "x.h5.work").exists()


# A file under the target's name, come during the run.

CAME: dict[str, Callable[[Path], object]] = {
    "foreign": lambda path: path.write_text("dear"),
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to(path.with_name("precious")),
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "pipe": lambda path: os.mkfifo(path),
    "other arguments": lambda path: make(path.with_name("o.h5"), "sealed", OTHER).rename(path),
    "other images": lambda path: make(path.with_name("o.h5"), "sealed", listed=LISTED[1:]).rename(
        path
    ),
    "damaged": lambda path: path.write_bytes(
        make(path.with_name("o.h5"), "sealed").read_bytes()[:-1] + b"?"
    ),
    "plain HDF5": lambda path: h5py.File(path, "w").close(),
}


def state(path: Path) -> object:
    """What stands under a name, links not followed."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_mtime_ns, path.is_file() and path.read_bytes()


@pytest.mark.parametrize("links", ["links", "no links"])
@pytest.mark.parametrize("what", CAME)
def test_what_came_under_the_name_stays_and_no_work_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, links: str
) -> None:
    path = tmp_path / "x.h5"
    (tmp_path / "precious").write_text("dear")
    if links == "no links":
        without_links(monkeypatch, errno.EPERM)
    with opened(path, "sealed") as run:
        commit_all(run)
        CAME[what](path)
        before = state(path)
        with pytest.raises(CannotCreate, match="'.*x.h5' came to be(.|\n)*same command again"):
            run.finish()
    assert state(path) == before
    assert (tmp_path / "precious").read_text() == "dear"
    path.rename(tmp_path / "away")
    with opened(path, "sealed") as run:  # the advice
        assert run.pending == []
        run.finish()
    assert path.read_bytes() == make(tmp_path / "y.h5", "sealed").read_bytes()
    assert not (tmp_path / "x.h5.work").exists()


def test_the_same_store_come_under_the_name_is_as_good_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with opened(path, "sealed") as run:
        commit_all(run)
        shutil.copy(make(tmp_path / "y.h5", "sealed"), path)
        run.finish()
        assert run.complete
    assert not (tmp_path / "x.h5.work").exists()
    assert not list(tmp_path.glob(".tmp-*"))


def without_links(patch: pytest.MonkeyPatch, number: int) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    patch.setattr(os, "link", link)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_can_be_sealed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    expected = make(tmp_path / "y.h5", "sealed").read_bytes()
    without_links(monkeypatch, number)
    assert make(tmp_path / "x.h5", "sealed").read_bytes() == expected


# Read-only at the end.


@pytest.mark.parametrize("umask, mode", [(0o022, 0o444), (0o027, 0o440), (0o077, 0o400)])
def test_a_sealed_file_is_read_only_within_the_users_umask(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        path = make(tmp_path / "x.h5", "sealed")
        shard = make(tmp_path / "x", "shards") / "000000.h5"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(shard.stat().st_mode) == 0o666 & ~umask
    if not os.access(path, os.W_OK):  # root may
        with pytest.raises(OSError):
            h5py.File(path, "a")
    with opened(path, "sealed") as run:  # it hinders no later run
        assert run.complete


WRITTEN: dict[str, Callable[[h5py.File], object]] = {
    "nothing": lambda file: None,
    "dataset": lambda file: file.create_dataset("labels", data=[1, 2]),
    "attribute": lambda file: file.attrs.create("note", "mine"),
    "attribute changed": lambda file: file.attrs.modify("form", b"shaped"),
    "value": lambda file: file["descriptors/fc7/256"].__setitem__((0, 0), 1.0),
    "dataset removed": lambda file: file.__delitem__("descriptors/fc7/256"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", WRITTEN)
def test_what_was_opened_for_writing_by_another_program_is_told_so(
    tmp_path: Path, form: str, what: str
) -> None:
    path = make(tmp_path / FORMS[form], form)
    file = path if path.is_file() else path / "000001.h5"
    file.chmod(0o644)
    with h5py.File(file, "a") as opened_file:
        WRITTEN[what](opened_file)
    (damage,) = verify.verify(path, deep=True)["damaged"]
    assert damage["file"] == file.name
    assert "another program opened it for writing: h5py.File(..., 'a')" in str(damage["what"])


# A look at a store that moves.


def finish(run: StoreWriter) -> None:
    commit_all(run)
    run.finish()


STEPS = [("load_manifest", 1), ("frozen_plan", 1), ("check_entry", 1), ("check_entry", 3)]


@pytest.mark.parametrize("name", ["x.h5", "x.h5.work"])
@pytest.mark.parametrize("step, nth", [*STEPS, ("digest_of", 2), ("load_identity", 1)])
def test_verify_beside_a_run_that_seals_never_calls_it_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str, nth: int
) -> None:
    with opened(tmp_path / "x.h5", "sealed") as run:
        commit_all(run)
        meanwhile(monkeypatch, verify, step, run.finish, nth)
        found = verify.verify(tmp_path / name, deep=True)
    assert (found["damaged"], found["store"]) == ([], str(tmp_path / "x.h5"))


@pytest.mark.parametrize("name", ["x.h5", "x.h5.work"])
@pytest.mark.parametrize("step, nth", [*STEPS, ("load", 2), ("check_shard", 3)])
def test_a_store_opened_beside_a_run_that_seals_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str, nth: int
) -> None:
    with opened(tmp_path / "x.h5", "sealed") as run:
        commit_all(run)
        meanwhile(monkeypatch, parts, step, run.finish, nth)
        store = open_store(tmp_path / name)
    assert len(store) == len(LISTED)


def anew(path: Path, listed: list[Any]) -> None:
    """Another store in its place, as a user makes one."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path, "sealed" if path.suffix else "shards", listed=listed)


@pytest.mark.parametrize("form", FORMS)
def test_verify_looks_again_at_a_store_that_was_made_anew_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = make(tmp_path / FORMS[form], form)
    meanwhile(monkeypatch, verify, "digest_of", lambda: anew(path, LISTED[1:]))
    assert verify.verify(path, deep=True)["damaged"] == []


@pytest.mark.parametrize("form", FORMS)
def test_what_never_keeps_still_is_no_damage_but_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = make(tmp_path / FORMS[form], form)
    images = [LISTED, LISTED[1:]]

    def move() -> None:
        images.reverse()
        anew(path, images[0])

    for nth in range(1, 100):
        meanwhile(monkeypatch, verify, "digest_of", move, nth)
    with pytest.raises(StoreLocked, match="changed while it was read") as error:
        verify.verify(path, deep=True)
    assert error.value.exit_status == 75


def test_a_store_removed_while_it_is_verified_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "x", "shards")
    meanwhile(monkeypatch, verify, "check_entry", lambda: shutil.rmtree(path), 2)
    with pytest.raises(DataMissing):
        verify.verify(path)


def test_real_damage_is_told_beside_a_run_that_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New shards and manifests come all the time; the damaged file keeps still."""
    path = make(tmp_path / "x", "shards", stop=1)
    shard = path / "000000.h5"
    number = values(0, "fc7", "256").tobytes()
    shard.write_bytes(shard.read_bytes().replace(number, number[::-1]))
    with opened(path, "shards") as run:
        meanwhile(monkeypatch, verify, "check_entry", lambda: commit_all(run))
        found = verify.verify(path, deep=True)
    assert [one["file"] for one in found["damaged"]] == ["000000.h5"]


def test_a_work_folder_that_a_kill_left_half_removed_is_its_sealed_file(tmp_path: Path) -> None:
    make(tmp_path / "x.h5", "sealed", stop=3)
    shutil.copytree(tmp_path / "x.h5.work", tmp_path / "kept")
    make(tmp_path / "x.h5", "sealed")
    shutil.copytree(tmp_path / "kept", tmp_path / "x.h5.work")
    (tmp_path / "x.h5.work" / "000000.h5").unlink()
    assert verify.verify(tmp_path / "x.h5.work", deep=True)["ok"]
    assert open_store(tmp_path / "x.h5.work").complete


MAKER = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import make_store
path = pathlib.Path(sys.argv[2])
print("begun", flush=True)
while True:
    make_store.make(path, "sealed")
    path.unlink()
"""


@pytest.mark.parametrize("looks", [15, pytest.param(2000, marks=pytest.mark.stress)])
def test_looks_beside_runs_that_seal_over_and_over_see_no_damage(
    tmp_path: Path, looks: int
) -> None:
    path = tmp_path / "x.h5"
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(Path(__file__).parent), str(path)],
        stdout=subprocess.PIPE,
    )
    assert maker.stdout
    seen, look, damages = 0, 0, []
    try:
        maker.stdout.readline()
        while seen < looks and not damages:
            look += 1
            try:
                damages += verify.verify(path, deep=look % 2 == 0)["damaged"]
                open_store(path)
                seen += 1
            except (DataMissing, StoreLocked):
                pass
            except StoreDamaged as error:
                damages.append({"what": str(error)})
    finally:
        maker.kill()
        maker.communicate()
    assert (damages, seen) == ([], looks)
