"""What a run leaves beside its store for people: failures.csv and runs.jsonl; both derived.

``runs.jsonl`` is the only file with clocks, hosts and commands in it, and no part of the store.
"""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfeat import files
from deepfeat.errors import CannotCreate, DataMissing, DeepfeatError, StoreDamaged
from deepfeat.status import ANEW, CASES, Status
from deepfeat.store.small import read_small

REPORTS = {"failures.csv": b"key,status,", "runs.jsonl": b'{"started": '}  # and how each begins
MOST_BYTES = 1 << 24  # of a report that is read again; what is larger is none of ours
COLUMNS = ("key", "status", "name", "detail", "size", "advice")


@dataclass(frozen=True)
class Hole:
    """An image without descriptors: printable key, status, bytes, the decoder's words."""

    key: str
    status: int
    size: int
    detail: str = ""


def report_path(store: Path, form: str, name: str) -> Path:
    """Inside a directory of shards; beside a sealed file."""
    return store.with_name(f"{store.name}.{name}") if form == "sealed" else store / name


def write_failures(path: Path, holes: Iterable[Hole]) -> None:
    """Replace failures.csv; a detail that only an earlier run knew is taken over."""
    known = _details(path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for hole in holes:
        case = CASES[Status(hole.status)]
        detail = hole.detail or known.get((hole.key, str(hole.status)), "")
        advice = f"{case.advice}; {ANEW}"
        writer.writerow([hole.key, hole.status, case.name, detail, hole.size, advice])
    _replace(path, [text.getvalue().encode("utf-8", "backslashreplace")])


def _details(path: Path) -> Mapping[tuple[str, str], str]:
    try:
        text = io.StringIO(read_small(path, MOST_BYTES).decode(), newline="")
        return {(row["key"], row["status"]): row["detail"] for row in csv.DictReader(text)}
    except (DeepfeatError, ValueError, KeyError, csv.Error):
        return {}  # derived: damaged or deleted is as good as none


def add_run(
    path: Path, started: float, command: Sequence[str], facts: Mapping[str, object]
) -> None:
    """Add a line to runs.jsonl: when, where, by which command, with which end.

    What is there and is no file, or larger than such a file gets, is replaced.
    """
    line = {
        "started": _clock(started),
        "ended": _clock(time.time()),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": list(command),
        **facts,
    }
    try:
        before = read_small(path, MOST_BYTES)
    except (DataMissing, StoreDamaged):
        before = b""
    _replace(path, [before, json.dumps(line).encode() + b"\n"])


def _replace(path: Path, pieces: Sequence[bytes]) -> None:
    """Put a report in its place; a pipe or a link there goes, where it led is untouched."""
    if path.is_dir() and not path.is_symlink():
        raise CannotCreate(
            f"'{path}' is a folder: the report cannot be written",
            advice="Move it away and give the same command again: what is done is safe.",
        )
    files.replace(path, pieces)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
