"""What generated pages are made of: committed results, Markdown tables, the line under a number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a pipe within a cell is escaped."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *cells])


def source(found: dict[str, Any]) -> str:
    """The line under a number: command, commit, date, machine in words."""
    machine = found["machine"]
    if isinstance(machine, dict):
        devices = [machine[name] for name in ("processor", "device") if machine.get(name)]
        machine = f"{', '.join(devices)}, {machine['cores']} cores"
    changed = "" if found.get("package_as_committed", True) else " with changes"
    commit = f"commit {found['commit'][:10]}{changed}"
    return f"(`{found['command']}`, {commit}, {found['date']}, {machine})"


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def results(pattern: str) -> list[dict[str, Any]]:
    return [result(path.stem) for path in sorted(RESULTS.glob(f"{pattern}.json"))]
