"""Limits of memory as containers and queueing systems set them, on file systems made up for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfeat import machine

GB = 10**9
V1 = "35 31 0:32 {top} {place} rw,relatime - cgroup cgroup rw,memory\n"
V1_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
V2 = "41 31 0:38 {top} {place} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
MEMORY = "/sys/fs/cgroup/memory"
UNIFIED = "/sys/fs/cgroup"
UNLIMITED = "9223372036854771712"  # what version 1 says

# /proc/self/cgroup, mountinfo, files, and the limit in GB (64: the machine's own)
MACHINES: dict[str, tuple[str, str, dict[str, object], float]] = {
    "no groups": ("", "", {}, 64),
    "version 2, its top": (
        "0::/\n", V2.format(top="/", place=UNIFIED), {f"{UNIFIED}/memory.max": 3 * GB}, 3,
    ),
    "version 2, no limit": (
        "0::/a\n", V2.format(top="/", place=UNIFIED), {f"{UNIFIED}/a/memory.max": "max"}, 64,
    ),
    "version 2, below the top": (
        "0::/user.slice/run.scope\n", V2.format(top="/", place=UNIFIED),
        {f"{UNIFIED}/user.slice/run.scope/memory.max": 3 * GB}, 3,
    ),
    "version 2, a group above is the narrower": (
        "0::/job/step/task\n", V2.format(top="/", place=UNIFIED),
        {f"{UNIFIED}/job/step/task/memory.max": 9 * GB, f"{UNIFIED}/job/step/memory.max": "max",
         f"{UNIFIED}/job/memory.max": 4 * GB}, 4,
    ),
    "version 2, where everything stands still before": (
        "0::/a\n", V2.format(top="/", place=UNIFIED),
        {f"{UNIFIED}/a/memory.max": 9 * GB, f"{UNIFIED}/a/memory.high": 2 * GB}, 2,
    ),
    "version 1": (
        "4:memory:/slurm/job_7\n1:cpu:/\n", V1_CPU + V1.format(top="/", place=MEMORY),
        {f"{MEMORY}/slurm/job_7/memory.limit_in_bytes": 3 * GB,
         f"{MEMORY}/memory.limit_in_bytes": UNLIMITED}, 3,
    ),
    "version 1, a group above": (
        "4:memory:/slurm/job_7/step\n", V1.format(top="/", place=MEMORY),
        {f"{MEMORY}/slurm/job_7/step/memory.limit_in_bytes": UNLIMITED,
         f"{MEMORY}/slurm/job_7/memory.limit_in_bytes": 5 * GB}, 5,
    ),
    "version 1 in a container that sees its own group as the top": (
        "4:memory:/docker/abc\n", V1.format(top="/docker/abc", place=MEMORY),
        {f"{MEMORY}/memory.limit_in_bytes": 3 * GB}, 3,
    ),
    "version 1 in a container whose group is elsewhere": (
        "4:memory:/docker/abc\n", V1.format(top="/kubepods/x", place=MEMORY),
        {f"{MEMORY}/memory.limit_in_bytes": 3 * GB}, 3,
    ),
    "version 1, several controllers in one": (
        "4:cpu,memory:/a\n",
        "35 31 0:32 / /mnt/my\\040groups rw - cgroup cgroup rw,cpu,memory\n",
        {"/mnt/my groups/a/memory.limit_in_bytes": 3 * GB}, 3,
    ),
    "both versions, memory in the first": (
        "4:memory:/a\n0::/b\n",
        V1.format(top="/", place=MEMORY) + V2.format(top="/", place=f"{UNIFIED}/unified"),
        {f"{MEMORY}/a/memory.limit_in_bytes": 3 * GB}, 3,
    ),
    "both versions, memory in the second": (
        "1:cpu:/a\n0::/b\n", V1_CPU + V2.format(top="/", place=f"{UNIFIED}/unified"),
        {f"{UNIFIED}/unified/b/memory.max": 3 * GB}, 3,
    ),
    "more than the machine has": (
        "0::/\n", V2.format(top="/", place=UNIFIED), {f"{UNIFIED}/memory.max": 900 * GB}, 64,
    ),
    "a word that is no number": (
        "0::/\n", V2.format(top="/", place=UNIFIED), {f"{UNIFIED}/memory.max": "-5 apples"}, 64,
    ),
}  # fmt: skip


def build(root: Path, own: str, mounts: str, files: dict[str, object]) -> Path:
    for name, text in {
        "/proc/self/cgroup": own,
        "/proc/self/mountinfo": "23 1 254:0 / / rw - ext4 /dev/root rw\n" + mounts,
        **files,
    }.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n" if isinstance(text, int) else text)
    return root


@pytest.fixture(autouse=True)
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 64 * GB // 1000}
    monkeypatch.setattr(os, "sysconf", values.__getitem__)


@pytest.mark.parametrize("name", MACHINES)
def test_the_narrowest_limit_counts(name: str, tmp_path: Path) -> None:
    own, mounts, files, expected = MACHINES[name]
    assert machine.memory_bytes(build(tmp_path, own, mounts, files)) == expected * GB


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_free_is_within_what_there_is(name: str, tmp_path: Path) -> None:
    own, mounts, files, expected = MACHINES[name]
    assert machine.available_bytes(build(tmp_path, own, mounts, files)) == expected * GB


AVAILABLE = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:   7000000 kB\nSwapFree: 1000000 kB\n"


@pytest.mark.parametrize(
    ("version", "used", "stat", "expected"),
    [
        (2, 1 * GB, "", 2 * GB),
        (2, 2 * GB, "anon 5\ninactive_file 500000000\nactive_file 300000000\n", 1_800_000_000),
        (2, 3 * GB, "file_mapped 9\n", 0),
        (2, 4 * GB, "", 0),  # a limit lowered below what is used
        (1, 2 * GB, "cache 7\ninactive_file 9\ntotal_inactive_file 500000000\n", 1_500_000_000),
    ],
)
def test_a_group_has_left_what_it_does_not_use(
    version: int, used: int, stat: str, expected: int, tmp_path: Path
) -> None:
    names = {
        1: (f"{MEMORY}/a", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: (f"{UNIFIED}/a", "memory.max", "memory.current"),
    }[version]
    own = {1: "4:memory:/a\n", 2: "0::/a\n"}[version]
    mounts = {1: V1.format(top="/", place=MEMORY), 2: V2.format(top="/", place=UNIFIED)}[version]
    group, limit, usage = names
    files = {
        "/proc/meminfo": AVAILABLE,
        f"{group}/{limit}": 3 * GB,
        f"{group}/{usage}": used,
        f"{group}/memory.stat": stat,
    }
    assert machine.available_bytes(build(tmp_path, own, mounts, files)) == expected


def test_what_the_whole_machine_has_free_is_a_bound_too(tmp_path: Path) -> None:
    root = build(tmp_path, "", "", {"/proc/meminfo": AVAILABLE})
    assert machine.available_bytes(root) == 8_000_000 * 1024
    assert machine.memory_bytes(root) == 64 * GB


def test_this_machine_has_some_of_its_memory_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert machine.available_bytes() > 0
    assert 0 < machine.memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_processor_time_of_a_process_grows_as_it_computes() -> None:
    before = machine.processor_ticks(os.getpid())
    while machine.processor_ticks(os.getpid()) < before + 3:
        sum(range(100_000))
    assert machine.processor_ticks(2**22 + 1) == 0  # no such process
