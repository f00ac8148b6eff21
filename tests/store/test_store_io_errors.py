"""What the disk refuses to give is no damage: 74 (77 without permission), naming the file.

Every read of opening and verifying fails once, with what a disk, a network drive or a server says.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from make_store import identity, make, opened, rows_of

from deepfeat import files
from deepfeat.errors import DeepfeatError
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
CALLS = ("open", "pread", "preadv", "read")
STATUS = {
    errno.EIO: 74,
    errno.ESTALE: 74,
    errno.ENOMEM: 74,
    errno.EMFILE: 74,
    errno.ETIMEDOUT: 74,
    errno.EACCES: 77,
    errno.EPERM: 77,
}


class Reads:
    """Counts the calls through which files below ``root`` are read; the ``fail``-th is refused."""

    def __init__(self, root: Path, fail: int = 0, number: int = errno.EIO, times: int = 1):
        self.root = str(root)
        self.fail, self.number, self.times = fail, number, times
        self.calls = 0
        self.ours: set[int] = set()

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **more: Any) -> Any:
            is_ours = first in self.ours
            if name == "open":
                is_ours = str(first).startswith(self.root) and not rest[0] & os.O_CREAT
            if is_ours:
                self.calls += 1
                if self.fail <= self.calls < self.fail + self.times:
                    raise OSError(self.number, os.strerror(self.number))
            result = real(first, *rest, **more)
            if name == "open":
                (self.ours.add if is_ours else self.ours.discard)(result)
            return result

        return call


@contextmanager
def through(reads: Reads) -> Iterator[Reads]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, reads.wrapped(name, getattr(os, name)))
        yield reads


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for form, name in FORMS.items():
        make(folder / name, form)
    return folder


def told(path: Path, reads: Reads) -> tuple[int, str]:
    """Status and words of opening the store through these reads; 0 where nothing was noticed."""
    try:
        with through(reads):
            open_store(path)
    except DeepfeatError as error:
        return error.exit_status, str(error)
    return 0, ""


@pytest.mark.parametrize("form", FORMS)
def test_every_read_that_fails_on_opening_is_told_as_such(whole: Path, form: str) -> None:
    path = whole / FORMS[form]
    with through(Reads(path)) as all_of_them:
        open_store(path)
    assert all_of_them.calls > 40
    numbers = list(STATUS)
    found = Counter[str]()
    for call in range(1, all_of_them.calls + 1):
        number = numbers[call % len(numbers)]
        status, words = told(path, Reads(path, call, number))
        if status != STATUS[number] or str(path) not in words:
            found[f"call {call}, {errno.errorcode[number]}: {status} {words}"] += 1
    assert not found


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("form", FORMS)
def test_no_error_of_the_disk_is_told_as_damage(whole: Path, form: str, number: int) -> None:
    path = whole / FORMS[form]
    for call in (2, 9, 23):
        status, words = told(path, Reads(path, call, number, times=1000))
        assert status == STATUS[number], words
        assert "damage" not in words
        assert str(path) in words


def test_a_structure_that_points_behind_the_end_is_damage_still(
    whole: Path, tmp_path: Path
) -> None:
    """The control: HDF5's own complaints are not taken for the disk's."""
    path = Path(shutil.copy(whole / "x.h5", tmp_path / "x.h5"))
    contents = path.read_bytes()
    path.write_bytes(contents.replace(b"OHDR", b"OHDX"))
    with pytest.raises(DeepfeatError) as refused:
        open_store(path)
    assert refused.value.exit_status == 65


@pytest.mark.parametrize("call", range(1, 80, 13))
def test_a_fresh_shard_that_cannot_be_read_back_once_is_written_anew(
    whole: Path, tmp_path: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, publish = [], files.publish
    monkeypatch.setattr(
        files, "publish", lambda *places: (published.append(places[1].name), publish(*places))
    )
    with opened(tmp_path / "x", "shards") as writer:
        for number in writer.pending:
            with through(Reads(tmp_path / "x", call if number == 1 else 0)):
                writer.commit(number, rows_of(writer.shard(number), identity()))
        writer.finish()
    assert published.count("000001.h5") == 1
    assert verify(tmp_path / "x", deep=True)["ok"]
    for name in ("000000.h5", "000001.h5", "000002.h5", "manifest.jsonl"):
        assert (tmp_path / "x" / name).read_bytes() == (whole / "x" / name).read_bytes()


def test_a_fresh_shard_that_cannot_be_read_back_twice_ends_the_run_with_74(tmp_path: Path) -> None:
    with opened(tmp_path / "x", "shards") as writer:
        with through(Reads(tmp_path / "x", 3, times=10_000)), pytest.raises(DeepfeatError) as ended:
            writer.commit(0, rows_of(writer.shard(0), identity()))
        assert ended.value.exit_status == 74
        assert "000000.h5" in str(ended.value)


def test_no_shard_is_thrown_away_because_it_could_not_be_read(tmp_path: Path, whole: Path) -> None:
    """A finished shard that the manifest does not name yet is looked at when a run begins."""
    path = make(tmp_path / "x", "shards", stop=1)
    shutil.copy(whole / "x" / "000002.h5", path)
    with through(Reads(path / "000002.h5", 3)), pytest.raises(DeepfeatError) as ended:
        opened(path, "shards")
    assert ended.value.exit_status == 74
    with opened(path, "shards") as writer:
        assert writer.pending == [1]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize("form", FORMS)
def test_verify_tells_what_it_could_not_read_from_what_is_damaged(
    whole: Path, tmp_path: Path, form: str, number: int
) -> None:
    copy = shutil.copytree if form == "shards" else shutil.copy
    path = Path(copy(whole / FORMS[form], tmp_path / FORMS[form]))  # type: ignore[operator]
    unread = path / "000001.h5" if form == "shards" else path
    with through(Reads(unread, 2, number, times=1000)):
        found = verify(path, deep=True)
    assert [one["file"] for one in found["damaged"]] == [unread.name]
    assert (found["ok"], found["exit_status"]) == (False, STATUS[number])
    if form == "shards":
        os.truncate(path / "000002.h5", 700)
        with through(Reads(unread, 2, number, times=1000)):
            assert verify(path, deep=True)["exit_status"] == 65
