"""Nothing mixes, nothing foreign is touched, one writer at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from make_store import ENVIRONMENT, LISTED, identity, make, opened, rows_of, values

from deepfeat import files
from deepfeat.errors import (
    CannotCreate,
    DataMissing,
    NotEnoughSpace,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreMismatch,
    UsageError,
)
from deepfeat.store.info import describe
from deepfeat.store.plan import Changes, Listed
from deepfeat.store.read import open_store
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
OTHER = {**ENVIRONMENT, "torch": "2.5"}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("stop", [1, None])
def test_another_identity_is_refused_naming_each_field_with_both_values(
    tmp_path: Path, form: str, stop: int | None
) -> None:
    path = make(tmp_path / FORMS[form], form, stop=stop)
    with pytest.raises(StoreMismatch) as refused:
        opened(path, form, identity(mirror=False, scales=("256", "512")))
    assert "sampling.mirror: True in the store, False given" in str(refused.value)
    assert "sampling.scales: ['256', '384'] in the store, ['256', '512'] given" in str(
        refused.value
    )
    assert "network" not in str(refused.value)


def test_another_environment_is_refused_naming_what_differs(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / FORMS[form], form, stop=1)
    with pytest.raises(StoreMismatch, match=r"torch: '2.4' in the store, '2.5' given"):
        opened(path, form, environment=OTHER)


def test_an_accepted_environment_is_recorded_with_its_shards(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / FORMS[form], form, stop=1)
    make(path, form, environment=OTHER, accept_environment=True)
    assert describe(open_store(path))["environments"] == [
        {"environment": ENVIRONMENT, "shards": [[0, 0]]},
        {"environment": OTHER, "shards": [[1, 2]]},
    ]


def test_changes_of_the_source_are_counted_and_not_taken_in(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / FORMS[form], form)
    first, second, *rest = LISTED
    now = [Listed(first.key, first.size + 1, 0), *rest, Listed(b"new", 1, 1), Listed(b"z", 1, 1)]
    with opened(path, form, listed=now) as writer:
        assert (writer.changes, writer.complete) == (Changes(new=2, changed=1, gone=1), True)
    assert second.key.decode() in open_store(path)


def test_without_a_look_at_the_source_the_plan_is_continued(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / FORMS[form], form, stop=1)
    with opened(path, form, listed=[], scan=False) as writer:
        assert (writer.pending, writer.changes) == ([1, 2], Changes())


def test_a_plan_keeps_its_batches_and_shards(tmp_path: Path, form: str) -> None:
    path = make(tmp_path / FORMS[form], form, stop=1)
    with opened(path, form, batch_size=9, shard_images=7) as writer:
        assert (writer.plan.batch_size, writer.plan.shard_images) == (2, 4)
        assert (writer.resumed, writer.committed_images) == (True, 4)


@pytest.mark.parametrize(
    "listed, error, words",
    [
        ([], DataMissing, "no images"),
        ([Listed(b"a", 1, 1)] * 2, UsageError, "twice"),
        ([Listed(b"/a", 1, 1)], UsageError, "absolute"),
        ([Listed(b"a/../../b", 1, 1)], UsageError, "'..'"),
        ([Listed(b"a\0b", 1, 1)], UsageError, "NUL"),
        ([Listed(b"", 1, 1)], UsageError, "empty"),
    ],
)
def test_a_list_that_cannot_be_a_store_is_refused_before_anything_is_made(
    tmp_path: Path, listed: list[Listed], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        opened(tmp_path / "x.h5", "sealed", listed=listed)
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "letter.txt").write_text("dear")
    with pytest.raises(CannotCreate, match="not a store"):
        opened(tmp_path / "x", "shards")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("contents", [b"", b"dear", b"\x89HDF\r\n\x1a\n"])
def test_a_foreign_file_is_left_as_it_is(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(contents)
    with pytest.raises(CannotCreate):
        opened(path, "sealed")
    assert path.read_bytes() == contents


@pytest.mark.parametrize("link", ["x", "x.h5", "x.h5.work"])
def test_a_link_is_not_written_through(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    kind = "shards" if link == "x" else "sealed"
    with pytest.raises(CannotCreate, match="symbolic link"):
        opened(tmp_path / FORMS[kind], kind)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_temporary_name_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    target = tmp_path / "precious"
    target.write_text("dear")
    with opened(path, "shards") as writer:
        (path / ".tmp-000001.h5").symlink_to(target)
        with pytest.raises(StoreError):
            writer.commit(1, rows_of(writer.shard(1), identity()))
    assert target.read_text() == "dear"


def test_too_little_space_is_told_before_anything_is_made(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda folder: 1000)
    with pytest.raises(NotEnoughSpace, match=r"\d+ bytes free(.|\n)*1000 bytes"):
        opened(tmp_path / FORMS[form], form)
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path, form: str) -> None:
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import make_store\n"
        "with make_store.opened(pathlib.Path(sys.argv[2]), sys.argv[3]):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / FORMS[form]
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(path), form],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin and holder.stdout
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked, match=rf"process {holder.pid} on host \S+ since .*extract"):
            opened(path, form)
    finally:
        holder.kill()
        holder.communicate()
    with opened(path, form) as writer:  # the kernel freed it at the holder's death
        assert writer.pending == [0, 1, 2]


def test_leaving_the_writer_frees_the_lock(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path / "x", "shards"):
            pass


def test_a_finished_shard_that_was_not_reported_is_adopted(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    other = make(tmp_path / "y", "shards")
    shutil.copy(other / "000002.h5", path / "000002.h5")
    with opened(path, "shards") as writer:
        assert writer.pending == [1]


@pytest.mark.parametrize("who", ["another identity", "another place", "damaged"])
def test_a_shard_that_does_not_fit_is_not_adopted(tmp_path: Path, who: str) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    given = identity(mirror=False) if who == "another identity" else identity()
    other = make(tmp_path / "y", "shards", given)
    contents = (other / ("000002.h5" if who != "another place" else "000001.h5")).read_bytes()
    if who == "damaged":
        contents = contents[:-1] + bytes([contents[-1] ^ 1])
    (path / "000002.h5").write_bytes(contents)
    with opened(path, "shards") as writer:
        assert writer.pending == [1, 2]
    assert not (path / "000002.h5").exists()


def test_a_lost_manifest_is_not_begun_anew_over_the_shards(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "shards")
    (path / "manifest.jsonl").unlink()
    with pytest.raises(StoreDamaged, match="no manifest.jsonl"):
        opened(path, "shards")
    assert (path / "000000.h5").exists()


def test_a_finished_sealed_store_has_nothing_pending(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    before = path.read_bytes()
    with opened(path, "sealed") as writer:
        assert (writer.complete, writer.pending, writer.holes) == (True, [], {4: 1, 8: 1})
        writer.finish()
    assert path.read_bytes() == before


def test_a_work_folder_of_another_store_is_left_where_it_is(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    make(tmp_path / "y.h5", "sealed", stop=1, listed=LISTED[:5])
    (tmp_path / "y.h5.work").rename(tmp_path / "x.h5.work")
    with opened(path, "sealed") as writer:
        assert writer.complete
    assert (tmp_path / "x.h5.work" / "000000.h5").exists()


def test_a_damaged_shard_is_not_sealed(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed", stop=1)
    shard = tmp_path / "x.h5.work" / "000000.h5"
    number = values(0, "fc7", "256").tobytes()
    with opened(path, "sealed") as writer:
        for pending in writer.pending:
            writer.commit(pending, rows_of(writer.shard(pending), identity()))
        shard.write_bytes(shard.read_bytes().replace(number, number[::-1]))
        with pytest.raises(StoreDamaged, match="000000.h5' is not the file that was committed"):
            writer.finish()
    assert not path.exists()


def test_runs_jsonl_gains_a_line_a_run(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "shards", stop=1)
    make(path, "shards")
    assert len((path / "runs.jsonl").read_text().splitlines()) == 2


def test_an_unwritable_folder_cannot_be_a_place(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match="does not exist"):
        opened(tmp_path / "no" / "x.h5", "sealed")


def test_a_store_may_be_read_through_a_link(tmp_path: Path) -> None:
    path = make(tmp_path / "x.h5", "sealed")
    (tmp_path / "link.h5").symlink_to(path)
    assert verify(tmp_path / "link.h5", deep=True)["ok"]
