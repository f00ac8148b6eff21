"""What stands under the name of a small file and is none: refused at once, by name, never entered.

A pipe would be waited for, a device read for ever, a file of a terabyte fill the memory, and a link
lead out of the store.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from make_store import make, opened

from deepfeat.errors import CannotCreate, DeepfeatError, NoPermission, StoreDamaged, StoreError
from deepfeat.store.read import open_store
from deepfeat.store.small import read_small
from deepfeat.store.verify import verify

READ = ("manifest.jsonl", "identity.json", "plan.h5", "000001.h5")
REPORTS = ("failures.csv", "runs.jsonl")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def listening(path: Path) -> None:
    """A socket's name in the folder; sockets have short names, so it is made from within."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def linked(path: Path) -> None:
    """The right contents, but elsewhere."""
    (path.parent.parent / "elsewhere").write_bytes(path.parent.with_name("good").joinpath(
        path.name
    ).read_bytes())  # fmt: skip
    path.symlink_to(path.parent.parent / "elsewhere")


ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "socket": listening,
    "folder": Path.mkdir,
    "terabyte of nothing": sparse,
    "millions of lines": lambda path: path.write_bytes(b"\n" * 3_000_000),
    "empty": Path.touch,
    "link to the file itself": linked,
    "link to itself": lambda path: path.symlink_to(path),
    "link to nothing": lambda path: path.symlink_to("nothing"),
}


LINKS = [name for name in ODD if name.startswith("link")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("small") / "good", "shards")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "good")
    return Path(shutil.copytree(good, tmp_path / "x"))


def resume(folder: Path) -> None:
    with opened(folder, "shards") as writer:
        writer.finish()


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", READ)
def test_a_file_of_a_store_that_is_none_is_refused_at_once(
    folder: Path, name: str, odd: str
) -> None:
    (folder / name).unlink()
    ODD[odd](folder / name)
    started = time.perf_counter()
    with pytest.raises(DeepfeatError) as refused:
        open_store(folder)
    assert refused.value.exit_status == 65
    assert name in str(refused.value)
    assert name in [one["file"] for one in verify(folder, deep=True)["damaged"]]
    with pytest.raises(CannotCreate if odd in LINKS else StoreDamaged, match=name):
        resume(folder)
    assert time.perf_counter() - started < 2


NOT_PUT = ("folder", "millions of lines", *LINKS)


@pytest.mark.parametrize("odd", [name for name in ODD if name not in NOT_PUT])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_put_in_the_place_of_what_is_none(folder: Path, name: str, odd: str) -> None:
    """Both are derived."""
    right = (folder / "failures.csv").read_bytes()
    (folder / name).unlink()
    ODD[odd](folder / name)
    started = time.perf_counter()
    resume(folder)
    assert time.perf_counter() - started < 4
    assert (folder / name).is_file()
    if name == "runs.jsonl":
        *_, line = (folder / name).read_text().splitlines()
        assert json.loads(line)["finished"] is True
    else:
        lines = (folder / name).read_bytes().splitlines()
        assert [line.split(b",")[:3] for line in lines] == [
            line.split(b",")[:3] for line in right.splitlines()
        ]


FOREIGN = {
    "a table": b"name;mark\na;1\n",
    "another program's lines": b'{"run": 1}\n',
    "a space before": b' key,status,name\n {"started": 1}\n',
    "millions of lines": b"\n" * 3_000_000,
    "bytes": b"\0\1\2",
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("form", ["sealed", "shards"])
@pytest.mark.parametrize("stop", [None, 0, 1], ids=["no store", "begun", "a store"])
def test_a_file_of_the_users_with_the_name_of_a_report_is_named_and_stays(
    tmp_path: Path, what: str, name: str, form: str, stop: int | None
) -> None:
    path = tmp_path / ("x.h5" if form == "sealed" else "x")
    if stop is not None:
        make(path, form, stop=stop)
    elif form == "shards":
        pytest.skip("a folder with it alone is no store")
    report = tmp_path / f"x.h5.{name}" if form == "sealed" else path / name
    report.write_bytes(FOREIGN[what])
    before = sorted(tmp_path.rglob("*.*")), report.stat().st_mtime_ns
    with pytest.raises(CannotCreate, match=f"{name}' is none of ours"):
        opened(path, form)
    assert (sorted(tmp_path.rglob("*.*")), report.stat().st_mtime_ns) == before
    report.rename(tmp_path / "mine")
    make(path, form)  # the advice
    assert (tmp_path / "mine").read_bytes() == FOREIGN[what]


def test_a_finished_store_does_not_ask_for_its_reports(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    (tmp_path / "x.h5.failures.csv").write_text("mine")
    with opened(path, "sealed") as writer:
        assert writer.complete
    assert (tmp_path / "x.h5.failures.csv").read_text() == "mine"


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("leads", ["/dev/zero", "elsewhere", "nothing"])
def test_a_report_beside_a_sealed_file_is_not_written_through_a_link(
    tmp_path: Path, name: str, leads: str
) -> None:
    (tmp_path / "elsewhere").write_text("dear")
    report = tmp_path / f"x.h5.{name}"
    report.symlink_to(leads)
    make(tmp_path / "x.h5", "sealed")
    assert report.is_file() and not report.is_symlink()
    assert b"dear" not in report.read_bytes()
    assert (tmp_path / "elsewhere").read_text() == "dear"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("form", ["sealed", "shards"])
def test_a_folder_in_the_place_of_a_report_is_named_and_costs_nothing(
    tmp_path: Path, name: str, form: str
) -> None:
    path = tmp_path / ("x.h5" if form == "sealed" else "x")
    make(path, form, stop=3)
    report = tmp_path / f"x.h5.{name}" if form == "sealed" else path / name
    report.unlink(missing_ok=True)
    report.mkdir()
    with pytest.raises(CannotCreate, match=name), opened(path, form) as writer:
        writer.finish()
    report.rmdir()
    with opened(path, form) as writer:
        assert writer.pending == []
        writer.finish()
    assert verify(path, deep=True)["ok"]


def test_runs_jsonl_is_only_ever_added_to(folder: Path) -> None:
    before = (folder / "runs.jsonl").read_bytes()
    resume(folder)
    after = (folder / "runs.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + 1


@pytest.mark.parametrize("name", READ[:2])
def test_no_memory_is_taken_for_what_is_no_small_file(folder: Path, name: str) -> None:
    """In a process of its own: a terabyte that is read would end it at half a gigabyte."""
    (folder / name).unlink()
    sparse(folder / name)
    script = (
        "import sys, pathlib\n"
        "from deepfeat.errors import StoreDamaged\n"
        "from deepfeat.store.small import read_small\n"
        "try:\n    read_small(pathlib.Path(sys.argv[1]), 1 << 20)\n"
        "except StoreDamaged as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / name)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29)),
    )
    assert "is too large for what it should be" in done.stdout, done.stderr


def test_a_small_file_is_read_whole_and_not_a_byte_over_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(StoreDamaged, match=r"at most 4 bytes(.|\n)*5 bytes"):
        read_small(path, 4)


@pytest.mark.parametrize("number, error", [(5, StoreError), (13, NoPermission), (116, StoreError)])
def test_a_small_file_that_the_disk_refuses_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[DeepfeatError]
) -> None:
    def refuse(descriptor: int, count: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("deepfeat.store.small.os.read", refuse)
    with pytest.raises(error, match=r"manifest\.jsonl") as told:
        open_store(folder)
    assert not isinstance(told.value, StoreDamaged)
