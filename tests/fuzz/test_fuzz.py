"""The fuzzer itself: its seeds are good files, its mutations are repeated by a seed, and what it is
to find it finds. `make fuzz` runs it for ten minutes."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import Target, fuzz, sandboxed, tried
from mutate import change_bytes
from targets import all_targets

GOOD = {0, 1}
NEEDS_MORE = {"recipe": {66, 69}}  # data sets and weights that are not there: read, then refused


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
