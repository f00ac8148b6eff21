"""A shard that is lost can be computed again: by the same command, once nothing is in its place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deepfeat.errors import StoreDamaged
from deepfeat.store.blocks import unreadable


def is_gone(path: Path) -> bool:
    """Whether nothing has this name. Raises ``StoreError`` where that cannot be told."""
    try:
        os.lstat(path)  # noqa: PTH116  (Path.exists takes an I/O error for an absence)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise unreadable(path, error) from error
    return False


@contextlib.contextmanager
def with_advice(shard: Path, rows: int) -> Iterator[None]:
    """A damage of a committed shard says how its ``rows`` are had again."""
    try:
        yield
    except StoreDamaged as error:
        first = "Run" if is_gone(shard) else f"Remove '{shard}' and run"
        what = "its image is" if rows == 1 else f"its {rows} images are"
        how = f"{first} the same 'deepfeat extract' again: {what} computed again."
        error.advice = f"{error.advice} {how}".strip()
        raise
