"""deepfeat: exact dense descriptors of images from very deep networks, kept safely.

Public names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES: dict[str, str] = {}

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'deepfeat' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
