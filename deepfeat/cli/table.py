"""Tables and sizes for a terminal or a pipe: plain text, columns aligned, no colour.

A cell is printable before its width is taken, so that no value can move another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepfeat.errors import printable


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> list[str]:
    """Lines with aligned columns; the columns ``right`` are set flush right."""
    texts = [[_cell(value) for value in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in texts) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in texts
    ]


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))


def facts(rows: Sequence[tuple[str, object]]) -> list[str]:
    """``name  value`` lines; rows without a value are left out."""
    shown = [(name, _cell(value)) for name, value in rows if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in shown]


def size(count: int | float) -> str:
    """Bytes in words: ``12.6 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
