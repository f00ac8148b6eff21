"""Never lost: every call to the disk fails once, and the power fails anywhere.

The run of three shards is the same each time, so the n-th call is always the same call. Each test
over some seconds is some hundred whole runs; fewer would leave calls out.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from faulty_disk import Disk, Killed, after_power_loss, lay_down
from make_store import identity, make, opened, rows_of

from deepfeat.errors import DeepfeatError
from deepfeat.store.verify import verify

FORMS = {"sealed": "x.h5", "shards": "x"}
DERIVED = ("failures.csv", "runs.jsonl", ".lock")


def run(root: Path, form: str, disk: Disk, *, read_back: bool = False) -> list[object]:
    """The run, through ``disk``; returns what was reported as done: shards, then "finished"."""
    reported: list[object] = []
    try:
        with disk, opened(root / FORMS[form], form, read_back=read_back) as writer:
            for number in writer.pending:
                writer.commit(number, rows_of(writer.shard(number), identity()))
                disk.log.append(("reported", number))
                reported.append(number)
            writer.finish()
            disk.log.append(("reported", "finished"))
            reported.append("finished")
    except (Killed, DeepfeatError):
        pass
    return reported


def tree(root: Path) -> dict[str, bytes]:
    """Every file that is promised byte by byte; temporaries too, for none may stay."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(DERIVED)
    }


def fault(root: Path, form: str, reported: list[object]) -> str:
    """What is wrong on the disk, with what was reported before it failed; empty if nothing."""
    store = root / FORMS[form]
    work = root / "x.h5.work"
    has_begun = store.is_file() or any((p / "manifest.jsonl").exists() for p in (store, work))
    if not has_begun:
        return f"{reported} reported, nothing there" if reported else ""
    found = verify(store, deep=True)
    if found["damaged"]:
        return str(found["damaged"])
    if store.is_file():
        return ""
    there = (work if form == "sealed" else store) / "manifest.jsonl"
    missing = [n for n in reported if f'"shard":{n}' not in there.read_text() and n != "finished"]
    if missing or (form == "sealed" and "finished" in reported):
        return f"reported but not there: {missing or 'the sealed file'}"
    return ""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of runs, and no real disk is tested."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def reference(root: Path, form: str) -> tuple[dict[str, bytes], Disk]:
    root.mkdir()
    disk = Disk(root)
    assert run(root, form, disk) == [0, 1, 2, "finished"]
    return tree(root), disk


# A kill after a call is a kill before the next one.
@pytest.mark.parametrize("how", ["KILL<", "ENOSPC", "EIO", "short"])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_call_fails_nothing_reported_is_lost_and_the_next_run_ends_the_same(
    place: Path, form: str, how: str
) -> None:
    expected, whole = reference(place / "reference", form)
    wrong = Counter[str]()
    calls = [call[0] for call in whole.log if call[0] != "reported"]
    for call, name in enumerate(calls, 1):
        if how == "short" and name != "write":
            continue
        root = place / "run"
        root.mkdir()
        reported = run(root, form, Disk(root, (call, how)), read_back=how == "EIO")
        if bad := fault(root, form, reported):
            wrong[f"call {call}: {bad}"] += 1
        if run(root, form, Disk(root))[-1:] != ["finished"]:
            wrong[f"call {call}: the next run did not finish"] += 1
        elif tree(root) != expected:
            wrong[f"call {call}: the next run ended with other bytes"] += 1
        shutil.rmtree(root)
    assert not wrong


@pytest.mark.parametrize("form", FORMS)
def test_a_short_write_does_not_stop_the_run(place: Path, form: str) -> None:
    expected, whole = reference(place / "reference", form)
    first = next(n for n, call in enumerate(whole.log) if call[0] == "write") + 1
    root = place / "run"
    root.mkdir()
    assert run(root, form, Disk(root, (first, "short")))[-1] == "finished"
    assert tree(root) == expected


def test_one_failed_fsync_of_a_shard_is_written_anew(place: Path) -> None:
    _, whole = reference(place / "reference", "shards")
    calls = [call for call in whole.log if call[0] != "reported"]
    fsync = next(
        n for n, call in enumerate(calls) if call[0] == "fsync" and call[1].endswith("000001.h5")
    )
    root = place / "run"
    root.mkdir()
    disk = Disk(root, (fsync + 1, "EIO"))
    assert run(root, "shards", disk) == [0, 1, 2, "finished"]
    opens = [c for c in disk.log if c[0] == "open" and c[1].endswith(".tmp-000001.h5")]
    assert len(opens) == 2


def losses(place: Path, form: str, states: int, without: tuple[str, ...] = ()) -> Counter[str]:
    """Cut the power at random instants of a run; count what came of it."""
    root = place / "whole"
    expected, whole = reference(root, form)
    random = Random(0)
    counted = Counter[str]()
    for _ in range(states):
        log = whole.log[: random.randrange(len(whole.log) + 1)]
        reported = [call[1] for call in log if call[0] == "reported"]
        state = place / "state"
        state.mkdir()
        lay_down(after_power_loss(log, random, without), root, state)
        bad = fault(state, form, reported)
        counted["lost" if bad else "kept"] += 1
        if not bad and not without:
            ended = run(state, form, Disk(state))[-1:] == ["finished"]
            counted["same bytes" if ended and tree(state) == expected else "other bytes"] += 1
        shutil.rmtree(state)
    return counted


@pytest.mark.parametrize("form", FORMS)
def test_a_power_loss_costs_nothing_that_was_reported(place: Path, form: str) -> None:
    assert losses(place, form, 100) == {"kept": 100, "same bytes": 100}


@pytest.mark.parametrize("without", ["fsync", "fsync_folder"])
@pytest.mark.parametrize("form", FORMS)
def test_the_simulator_sees_a_missing_fsync(place: Path, form: str, without: str) -> None:
    """The control: a store that left this fsync out would be found out."""
    assert losses(place, form, 60, (without,))["lost"] > 10


def test_making_a_store_twice_gives_the_same_bytes(place: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir()
        make(place / name / "x.h5", "sealed")
    assert tree(place / "a") == tree(place / "b")
