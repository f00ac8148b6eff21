"""``deepfeat verify``: is every byte of a store what was written?"""

from __future__ import annotations

from typing import Any

import click

from deepfeat.cli.options import exits, print_json, with_output_options
from deepfeat.cli.table import facts, size
from deepfeat.terminal import answer


@click.command(epilog=exits(0, 64, 65, 66, 70, 74, 75, 77))
@click.argument("store")
@click.option("--deep", is_flag=True, help="Read every byte and value against its checksum.")
@with_output_options
def verify(store: str, deep: bool, as_json: bool, quiet: bool) -> int:
    """Check STORE for damage.

    Quick by default: headers, manifest, sizes, structure. With --deep every byte of every file is
    read and compared with its recorded checksum, and every row that is said to be fine is looked
    at.
    """
    from deepfeat.store.verify import verify as check

    found = check(store, deep=deep)
    print_json(found) if as_json else answer(*_lines(found))
    return int(found["exit_status"])


def _lines(found: dict[str, Any]) -> list[str]:
    how = "every byte" if found["deep"] else "headers, sizes and structure; --deep reads every byte"
    lines = facts(
        [
            ("store", found["store"]),
            ("checked", f"{found['files']} files, {size(found['bytes'])} ({how})"),
            ("unreported files", ", ".join(found["orphans"])),
            ("result", "no damage found" if found["ok"] else f"{len(found['damaged'])} damages"),
        ]
    )
    if found["ok"]:
        return lines
    return [*lines, *(line for one in found["damaged"] for line in _damage(one))]


def _damage(one: dict[str, Any]) -> list[str]:
    """A file, and below it what is wrong and what to do: an error's own lines."""
    rows = f"  {one['rows']} rows" if one.get("rows") else ""
    return ["", f"{one['file']}{rows}", *(f"  {line}" for line in one["what"].split("\n"))]
