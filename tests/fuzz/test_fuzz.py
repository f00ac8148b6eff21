"""The fuzzer itself: its seeds are good files, its mutations are repeated by a seed, and what it is
to find it finds. `make fuzz` runs it for ten minutes."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import Target, fuzz, sandboxed, tried
from mutate import change_bytes, grow
from targets import all_targets

GOOD = {0, 1}
NEEDS_MORE = {
    "recipe": {66, 69},
    "arguments": {0, 65, 66},
}  # data sets and weights that are not there: read, then refused


@pytest.fixture(scope="module")
def targets() -> Iterator[list[Target]]:
    with pytest.MonkeyPatch.context() as patch, sandboxed(patch.setenv) as place:
        yield all_targets(place)


def planted(use: Callable[[], Sequence[int]]) -> Target:
    return Target("planted", "x", b"x", change_bytes, use)


def test_every_seed_is_a_good_file(targets: list[Target]) -> None:
    for target in targets:
        found = tried(target, target.seed)
        assert not found.wrong, (target.name, found)
        good = NEEDS_MORE.get(target.name.split()[0], GOOD)
        assert set(found.statuses) <= good, (target.name, found)


def test_a_seed_repeats_its_mutants(targets: list[Target]) -> None:
    for target in targets:
        mutants = [
            [target.mutate(random.Random(seed), target.seed) for seed in range(20)] for _ in "ab"
        ]
        assert mutants[0] == mutants[1], target.name
        assert len(set(mutants[0])) > 5, target.name


@pytest.mark.stress
def test_a_round_of_mutants_finds_nothing(targets: list[Target], tmp_path: Path) -> None:
    counts = fuzz(targets, seconds=0.1, seed=7, keep=tmp_path)
    assert counts["mutants"] == len(targets)
    assert counts["finds"] == 0, [path.read_text() for path in tmp_path.glob("*.txt")]


def _raises() -> list[int]:
    raise ValueError("planted")


def _hangs() -> list[int]:
    time.sleep(60)
    return [0]


def _prints(text: str) -> list[int]:
    print(text)
    return [0]


def _leaves_a_child() -> list[int]:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    Path(os.environ["LEFT"]).write_text(str(child))
    return [0]


def _eats_for_ever() -> list[int]:
    held = []
    while True:
        held.append(bytes(512 << 20))


def test_what_a_mutant_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEFT", str(tmp_path / "pid"))
    assert not tried(planted(_leaves_a_child), b"x").wrong
    child = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 5
    while time.monotonic() < end and Path(f"/proc/{child}").exists():
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()


def test_memory_is_bounded_while_a_mutant_runs() -> None:
    assert "MemoryError" in tried(planted(_eats_for_ever), b"x").wrong


def test_grown_files_are_bounded_and_larger() -> None:
    for seed in range(50):
        grown = grow(random.Random(seed), b"a line\nand another one\n")
        assert 24 < len(grown) < (2 << 20) + 100


def _eats() -> list[int]:
    return [0 if b"x" * (900 << 20) else 1]


@pytest.mark.parametrize(
    ("use", "wrong"),
    [
        (_raises, "ValueError: planted"),
        (_hangs, "over the time limit"),
        (lambda: [0, 70], "exit status 70"),
        (lambda: _prints("\x1b[2J"), "control characters on the terminal: '\\x1b'"),
        (lambda: _prints("Traceback (most recent call last)"), "a traceback"),
        (lambda: [0, 65], ""),
    ],
)
def test_what_is_planted_is_found(use: Callable[[], Sequence[int]], wrong: str) -> None:
    assert tried(planted(use), b"x", seconds=3).wrong == wrong


def test_memory_is_found() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    most = pages * resource.getpagesize() + (200 << 20)
    assert not tried(planted(lambda: [0]), b"x", most_bytes=most).wrong
    assert "MiB of memory" in tried(planted(_eats), b"x", most_bytes=most).wrong


def test_a_find_is_kept_with_its_seed(tmp_path: Path) -> None:
    counts = fuzz([planted(_raises)], seconds=0.1, seed=3, keep=tmp_path)
    assert counts["finds"] == counts["mutants"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "planted-3000001",
        "planted-3000001.txt",
    ]
