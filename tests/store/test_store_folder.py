"""Whose folder is it? Foreign ones are left alone, a killed start is taken up, links and odd locks
are refused at once."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import pytest
from make_store import identity, make, opened

from deepfeat.errors import (
    CannotCreate,
    DataMissing,
    StoreDamaged,
    StoreError,
    StoreLocked,
)
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

FOLDERS = {"sealed": "x.h5.work", "shards": "x"}
FORMS = {"sealed": "x.h5", "shards": "x"}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]


FOREIGN: dict[str, Mapping[str, str | bytes | Callable[[Path], object]]] = {
    "our names": dict.fromkeys(
        ("failures.csv", "identity.json", "runs.jsonl", ".tmp-notes", "plan.h5"), "mine"
    ),
    "failures.csv": {"failures.csv": "key,status\na,1\n"},
    "runs.jsonl": {"runs.jsonl": "{}\n"},
    "identity.json": {"identity.json": '{"name": "me"}'},
    "compact identity.json": {"identity.json": '{"image":{"exif":true}}'},
    "empty identity.json": {"identity.json": ""},
    "plan.h5 of HDF5": {"plan.h5": plain_hdf5},
    "notes": {".tmp-notes": "mine"},
    "temporary plan": {".tmp-plan.h5": "mine"},
    "temporary shard": {".tmp-000000.h5": bytes(600)},
    "manifest of another program": {"manifest.jsonl": '{"audio": "a.wav"}\n'},
    "empty manifest": {"manifest.jsonl": "", ".tmp-notes": "mine"},
    "numbered HDF5": {"000000.h5": plain_hdf5},
    "lock of another program": {".lock": "4711\n"},
    "lock and more": {".lock": b"", "failures.csv": "mine"},
    "a sealed store": {"000000.h5": lambda path: make(path.with_name("s.h5"), "sealed")},
    "a folder": {"identity.json": Path.mkdir},
    "a pipe": {"plan.h5": os.mkfifo},
    "a plan and a letter": {
        "plan.h5": lambda path: shutil.copy(of_a_store(path) / "plan.h5", path),
        "letter": "dear",
    },
}


def of_a_store(path: Path) -> Path:
    """A store elsewhere, to take files from."""
    return make(path.parents[1] / f"store-{path.name}", "shards", stop=1)


def lay(folder: Path, contents: Mapping[str, Any]) -> Path:
    folder.mkdir()
    for name, what in contents.items():
        if callable(what):
            what(folder / name)
        else:
            (folder / name).write_bytes(what.encode() if isinstance(what, str) else what)
    return folder


def everything(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    return {
        path.name: (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("what", FOREIGN)
def test_a_folder_that_is_no_store_is_left_as_it_is_whatever_its_files_are_called(
    tmp_path: Path, form: str, what: str
) -> None:
    folder = lay(tmp_path / FOLDERS[form], FOREIGN[what])
    before = everything(folder)
    with pytest.raises(CannotCreate, match="exists and is not a store") as error:
        opened(tmp_path / FORMS[form], form)
    assert error.value.exit_status == 73
    assert everything(folder) == before


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_folder_beside_a_finished_file_is_left_too(tmp_path: Path, what: str) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    folder = lay(tmp_path / "x.h5.work", FOREIGN[what])
    before = everything(folder)
    with pytest.raises(CannotCreate, match="exists and is not a store"):
        opened(path, "sealed")
    assert everything(folder) == before


SIGNED = b'{"pid": 4711, "host": "a", "since": "2024-01-01 00:00:00", "command": ""}'
IDENTITY = identity(mirror=False).canonical()  # of a run that was given up
STARTS: dict[str, Mapping[str, bytes | Callable[[Path], object]]] = {
    "nothing": {},
    "a lock that is not signed": {".lock": b""},
    "a lock that a power loss emptied": {".lock": bytes(40)},
    "a lock that was cut": {".lock": SIGNED[:5]},
    "a lock": {".lock": SIGNED},
    "identity begun": {".lock": SIGNED, ".tmp-identity.json": b""},
    "identity cut": {".lock": SIGNED, ".tmp-identity.json": IDENTITY[:50]},
    "identity of zeros": {".tmp-identity.json": bytes(len(IDENTITY))},
    "identity written aside": {".tmp-identity.json": IDENTITY},
    "identity": {".lock": SIGNED, "identity.json": IDENTITY},
    "plan begun": {".lock": SIGNED, "identity.json": IDENTITY, ".tmp-plan.h5": bytes(4000)},
    "plan written aside": {
        "identity.json": IDENTITY,
        ".tmp-plan.h5": lambda path: shutil.copy(of_a_store(path) / "plan.h5", path),
    },
    "plan": {
        "identity.json": IDENTITY,
        "plan.h5": lambda path: shutil.copy(of_a_store(path) / "plan.h5", path),
    },
    "manifest begun": {
        "identity.json": IDENTITY,
        "plan.h5": lambda path: shutil.copy(of_a_store(path) / "plan.h5", path),
        ".tmp-manifest.jsonl": b'{"deepfeat":"sto',
    },
}


@pytest.mark.parametrize("what", STARTS)
def test_what_a_killed_start_left_is_taken_up(tmp_path: Path, form: str, what: str) -> None:
    lay(tmp_path / FOLDERS[form], STARTS[what])
    path = make(tmp_path / FORMS[form], form)
    assert verify(path, deep=True)["ok"]
    whole = make(tmp_path / ("whole" + path.suffix), form)
    names = ["x.h5"] if form == "sealed" else [*(f"00000{n}.h5" for n in range(3)), "plan.h5"]
    for name in names:
        one, other = (path, whole) if form == "sealed" else (path / name, whole / name)
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize("what", [what for what in STARTS if what != "nothing"])
def test_a_store_that_has_only_begun_is_not_there_yet(tmp_path: Path, form: str, what: str) -> None:
    """A reader beside a run that starts: nothing is damaged."""
    lay(tmp_path / FOLDERS[form], STARTS[what])
    for look in (open_store, verify):
        with pytest.raises(DataMissing, match="no store .* yet: a run has only begun it"):
            look(tmp_path / FORMS[form])  # type: ignore[operator]


@pytest.mark.parametrize("contents", [b"", b"x", b"{}\n" * 5])
def test_a_damaged_manifest_of_ours_is_damage_and_nothing_is_touched(
    tmp_path: Path, form: str, contents: bytes
) -> None:
    make(tmp_path / FORMS[form], form, stop=1)
    folder = tmp_path / FOLDERS[form]
    (folder / "manifest.jsonl").write_bytes(contents)
    before = everything(folder)
    with pytest.raises(StoreDamaged, match=r"manifest.jsonl' is damaged"):
        opened(tmp_path / FORMS[form], form)
    after = everything(folder)
    del before[".lock"], after[".lock"]
    assert after == before


def test_files_of_the_users_in_a_store_of_ours_stay(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    mine = {".tmp-notes": "mine", "notes.txt": "mine", ".tmp-0.h5": "mine"}
    for name, text in mine.items():
        (path / name).write_text(text)
    make(path, "shards")
    assert {name: (path / name).read_text() for name in mine} == mine


ASIDE = (".tmp-x.h5", ".tmp-x.h5.failures.csv", ".tmp-x.h5.runs.jsonl")


@pytest.mark.parametrize("name", ASIDE)
def test_a_file_of_the_users_in_the_way_of_a_sealed_one_is_left_as_it_is(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(CannotCreate, match=f"{name}' is none of ours"):
        opened(tmp_path / "x.h5", "sealed")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("begun", [b"", bytes(3000), "whole"])
@pytest.mark.parametrize("name", ASIDE)
def test_what_a_killed_run_left_beside_a_sealed_file_goes(
    tmp_path: Path, name: str, begun: bytes | str
) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    whole = (tmp_path / name.removeprefix(".tmp-")).read_bytes()
    (tmp_path / name).write_bytes(whole if isinstance(begun, str) else begun)
    with opened(path, "sealed") as run:
        assert run.complete
    assert not (tmp_path / name).exists()


# Links.

PROMISED = ("manifest.jsonl", "identity.json", "plan.h5", "000000.h5")


@pytest.mark.parametrize("target", ["its own bytes", "another file", "nothing", "/dev/zero"])
@pytest.mark.parametrize("name", PROMISED)
def test_a_link_in_the_place_of_a_file_of_a_store_is_refused(
    tmp_path: Path, name: str, target: str
) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    elsewhere = Path(target) if target.startswith("/") else tmp_path / "elsewhere"
    (path / name).rename(tmp_path / "away")
    if target in ("its own bytes", "another file"):
        elsewhere.write_bytes((tmp_path / "away").read_bytes() if "own" in target else b"dear")
    (path / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes() if elsewhere.is_file() else None
    with pytest.raises(StoreDamaged, match=f"{name}' is a symbolic link"):
        open_store(path)
    assert [one["file"] for one in verify(path, deep=True)["damaged"]] == [name]
    with pytest.raises(CannotCreate, match=f"{name}' is a symbolic link"):
        opened(path, "shards")
    assert (elsewhere.read_bytes() if elsewhere.is_file() else None) == before
    assert (path / name).is_symlink()


@pytest.mark.parametrize("name", ["failures.csv", "runs.jsonl", ".lock", ".tmp-000001.h5"])
def test_a_report_or_lock_that_is_a_link_is_not_written_through(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    (path / name).unlink(missing_ok=True)
    (tmp_path / "precious").write_text("dear")
    (path / name).symlink_to(tmp_path / "precious")
    with pytest.raises(CannotCreate, match=f"{name}' is a symbolic link"):
        opened(path, "shards")
    assert len(open_store(path)) == 4  # it is no part of what is read
    assert (tmp_path / "precious").read_text() == "dear"


# Locks.

ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "full folder": lambda path: (path.mkdir(), (path / "a").touch()),
    "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
}


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("stop", [None, 1], ids=["no store", "a store"])
@pytest.mark.parametrize("what", ODD)
def test_a_lock_that_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, stop: int | None, wait: bool
) -> None:
    path = tmp_path / "x"
    if stop is None:
        path.mkdir()
    else:
        make(path, "shards", stop=stop)
        (path / ".lock").unlink()
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    ODD[what](path / ".lock")
    with pytest.raises(CannotCreate):
        opened(path, "shards", wait=wait)
    assert os.path.lexists(path / ".lock")


def failing(number: int) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    "number, status, words",
    [
        (errno.EIO, 74, "Input/output error"),
        (errno.ENOSPC, 74, "No space left"),
        (errno.ESTALE, 74, "Stale"),
        (errno.ENOLCK, 75, "--no-lock"),
        (errno.EOPNOTSUPP, 75, "--no-lock"),
        (errno.ENOSYS, 75, "--no-lock"),
        (errno.EWOULDBLOCK, 75, "is locked by"),
    ],
)
def test_a_lock_that_fails_says_what_failed(
    tmp_path: Path,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(StoreError) as error:
        opened(tmp_path / FORMS[form], form)
    assert (error.value.exit_status, words in str(error.value)) == (status, True)
    monkeypatch.undo()
    with opened(tmp_path / FORMS[form], form) as run:
        assert run.pending == [0, 1, 2]


def test_an_error_while_the_lock_is_opened_or_signed_is_the_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_lock(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(".lock"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *rest, **more)

    for name, call in (("open", no_lock), ("pwrite", failing(errno.EIO))):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, call)
            with pytest.raises(StoreError, match="Input/output error") as error:
                opened(tmp_path / "x", "shards")
            assert not isinstance(error.value, StoreLocked)
    make(tmp_path / "x", "shards")


@pytest.mark.parametrize("text", [b"", b"[" * 60_000, b"\xff", b"[]", b'{"pid": null}'])
def test_a_lock_of_strange_contents_is_still_a_lock(tmp_path: Path, text: bytes) -> None:
    with opened(tmp_path / "x", "shards"):
        (tmp_path / "x" / ".lock").write_bytes(text)
        with pytest.raises(StoreLocked, match="locked by another process"):
            opened(tmp_path / "x", "shards")


# Files of the user's own under names that look like ours, in a store of ours.


MINE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("mine"),
    "HDF5": plain_hdf5,
    "a sealed store": lambda path: make(path.with_name("s.h5"), "sealed").rename(path),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
}
BEYOND = ("20261129.h5", ".tmp-20261130.h5", "000003.h5", "0000001.h5", ".tmp-000007.h5")
WITHIN = ("000001.h5", ".tmp-000002.h5", ".tmp-manifest.jsonl", ".tmp-plan.h5")


def looked_at(path: Path) -> object:
    found = path.lstat()
    return found.st_ino, found.st_mode, path.is_file() and path.read_bytes()


@pytest.mark.parametrize("what", MINE)
@pytest.mark.parametrize("name", BEYOND)
def test_a_file_that_no_run_of_the_plan_writes_stays_through_all_of_it(
    tmp_path: Path, form: str, name: str, what: str
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    make(path, form, stop=1)
    MINE[what](folder / name)
    for stray in folder.parent.glob("s.h5*"):  # of the store that was made elsewhere
        stray.unlink()
    before = looked_at(folder / name)
    make(path, form)
    assert looked_at(folder / name) == before
    assert verify(path, deep=True)["ok"]
    if form == "sealed":
        assert [one.name for one in folder.iterdir() if not one.name.startswith("s.h5")] == [name]


@pytest.mark.parametrize("what", MINE)
@pytest.mark.parametrize("name", WITHIN)
def test_what_is_in_the_way_of_a_run_is_named_and_nothing_is_touched(
    tmp_path: Path, form: str, name: str, what: str
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    make(path, form, stop=1)
    shutil.copy(folder / "000000.h5", folder / ".tmp-000000.h5")  # ours: it would be removed
    MINE[what](folder / name)
    if (what, name) == ("a sealed store", ".tmp-plan.h5"):
        pytest.skip("a file of ours may begin so")
    before, stood = looked_at(folder / name), sorted(folder.iterdir())
    with pytest.raises(CannotCreate, match=f"{name}' is none of ours") as told:
        opened(path, form)
    assert told.value.exit_status == 73
    assert (looked_at(folder / name), sorted(folder.iterdir())) == (before, stood)
    (folder / name).rename(tmp_path / "away")
    make(path, form)  # the advice
    assert verify(path, deep=True)["ok"]
    assert looked_at(tmp_path / "away") == before


def test_a_file_put_under_a_shards_name_after_sealing_began_is_not_removed(tmp_path: Path) -> None:
    path, folder = tmp_path / "x.h5", tmp_path / "x.h5.work"
    make(path, "sealed", stop=3)
    shutil.copytree(folder, tmp_path / "kept")
    make(path, "sealed")
    shutil.copytree(tmp_path / "kept", folder)  # as a kill before the removal leaves it
    (folder / "000001.h5").write_text("mine")
    with opened(path, "sealed") as run:
        assert run.complete
    assert [one.name for one in folder.iterdir()] == ["000001.h5"]


@pytest.mark.parametrize("name", ["plan.h5", "identity.json"])
@pytest.mark.parametrize("how", ["missing", "other", "cut"])
def test_a_lost_plan_is_told_with_advice_that_holds(
    tmp_path: Path, form: str, name: str, how: str
) -> None:
    path, folder = tmp_path / FORMS[form], tmp_path / FOLDERS[form]
    make(path, form, stop=1)
    other = make(tmp_path / "other", "shards", identity(mirror=False), stop=0)
    if how == "other":
        shutil.copy(other / name, folder / name)
    elif how == "cut":
        os.truncate(folder / name, 40)
    else:
        (folder / name).unlink()
    with pytest.raises(StoreDamaged, match=f"{name}'") as told:
        opened(path, form)
    assert f"remove '{folder}' and run the same" in told.value.advice
    assert (folder / "000000.h5").exists()
    shutil.rmtree(folder)
    assert verify(make(path, form), deep=True)["ok"]
