"""What ran: versions, machine, command and date, beside every figure."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import deepfeat

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "h5py")


def provenance_of(command: Sequence[str]) -> dict[str, Any]:
    """JSON values; no path and no host name beyond those of the command."""
    return {
        "deepfeat": deepfeat.__version__,
        "commit": None,
        "command": list(command),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "machine": {"system": platform.system(), "machine": platform.machine(),
                    "cores": len(os.sched_getaffinity(0))},
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
