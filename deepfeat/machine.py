"""What this machine lets the process have.

Memory may be limited for a group of processes, by a container or a queueing system. The group is
found as cgroups(7) has it: ``/proc/self/cgroup`` names it in each hierarchy, ``mountinfo`` says
where that is mounted, and every group above it limits it too. Functions take the root of the file
system, so that they can be shown another machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Names of a hierarchy's files: what a group may have at most, what it has, and of what."""

    limits: tuple[str, ...]
    usage: str
    pages: frozenset[str]


_KINDS = {
    "cgroup": _Kind(
        ("memory.limit_in_bytes",),
        "memory.usage_in_bytes",
        frozenset({"total_inactive_file", "total_active_file"}),
    ),
    # Beyond ``high`` nothing is killed, but everything stands still.
    "cgroup2": _Kind(
        ("memory.max", "memory.high"), "memory.current", frozenset({"inactive_file", "active_file"})
    ),
}


def memory_bytes(root: Path = ROOT) -> int:
    """Memory in all, as far as this process may use it: a number that stays."""
    return min([_physical(), *(_limit(kind, group) for kind, group in _groups(root))])


def available_bytes(root: Path = ROOT) -> int:
    """Memory that this process could have at this moment; pages of files and swap count as free."""
    found = re.findall(
        r"^(?:MemAvailable|SwapFree): *(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE
    )
    free = 1024 * sum(map(int, found)) if found else _physical()
    return max(0, min([free, *(_left(kind, group) for kind, group in _groups(root))]))


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limit(kind: _Kind, group: Path) -> int:
    """The lowest limit of one group; without one more than any machine has."""
    return min(_number(group / name) for name in kind.limits)


def _left(kind: _Kind, group: Path) -> int:
    """What a group may still take."""
    pages = dict(line.split()[:2] for line in _text(group / "memory.stat").splitlines() if line)
    files = sum(int(pages.get(name, 0)) for name in kind.pages)
    used = _number(group / kind.usage, unknown=0)
    return _limit(kind, group) - max(0, used - files)


def _groups(root: Path) -> Iterator[tuple[_Kind, Path]]:
    """The group of this process in each hierarchy that counts memory, and all groups above it."""
    own = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            own["cgroup2"] = path
        elif "memory" in controllers.split(","):
            own["cgroup"] = path
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        top, place = (_unescaped(field) for field in before.split()[3:5])
        kind, _, options = (after.split() + ["", "", ""])[:3]
        if kind not in own or (kind == "cgroup" and "memory" not in options.split(",")):
            continue
        # A group outside of what is mounted, as a container may see it, is taken as its top.
        below = os.path.relpath(own[kind], top)
        inside = Path() if below.startswith("..") else Path(below)
        for group in (inside, *inside.parents):
            yield _KINDS[kind], root / place.lstrip("/") / group


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)


def _number(path: Path, unknown: int = 1 << 63) -> int:
    """The number in a file; ``unknown`` for "max", and where there is none."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else unknown


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def processor_ticks(pid: int) -> int:
    """Processor time of a process in hundredths of a second; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return 0
