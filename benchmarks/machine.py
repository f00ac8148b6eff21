"""What stands beside every measured number: command, commit, date, machine in words, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
PACKAGES = ("deepfeat", "torch", "torchvision", "numpy", "pillow", "h5py", "safetensors")
ROOT = Path(__file__).parent.parent


def provenance(command: str) -> dict[str, object]:
    """The common head of a result; no path and no host name in it.

    ``package_as_committed`` says whether ``deepfeat/`` was that of the commit.
    """
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "deepfeat"], cwd=ROOT, check=False
    )
    return {
        "command": command,
        "commit": _commit(),
        "package_as_committed": changed.returncode == 0,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def machine() -> dict[str, object]:
    """Processor in words, the instructions that matter here, and cores."""
    facts = dict(
        (part.strip() for part in line.split(":", 1))
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if ":" in line
    )
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", platform.machine()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
