"""What this machine lets the process have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def memory_bytes() -> int:
    """Memory in all, as far as this process may use it: a number that stays."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit of the group
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def processor_ticks(pid: int) -> int:
    """Processor time of a process in hundredths of a second; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return 0
