"""Turn a finished run of ``deepfeat extract --json`` into a result for docs/results.md.

    deepfeat extract 101_ObjectCategories caltech101.h5 ... --json > run.json
    python benchmarks/record_extract.py run.json caltech101.h5 \
        --command 'deepfeat extract ...' --commit HASH --remark 'one thread'

Writes benchmarks/results/extract-<network>.json: the run's own figures, and what ``deepfeat info``,
h5py and pandas say about the store.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pandas
from machine import provenance

RESULTS = Path(__file__).parent / "results"
KEPT = ("network", "images", "ok", "failures", "seconds", "images_per_second", "share", "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("summary", type=Path, help="what extract --json printed")
    parser.add_argument("store", type=Path, help="a sealed store")
    parser.add_argument("--command", required=True, help="the command as a reader would type it")
    parser.add_argument("--commit", help="the commit that ran; default: the present one")
    parser.add_argument("--remark", default="", help="what else bears on the time")
    given = parser.parse_args()
    summary = json.loads(given.summary.read_text())
    head = provenance(given.command)
    if given.commit:
        head |= {"commit": given.commit, "package_as_committed": True}
    result = head | {name: summary[name] for name in KEPT} | {"remark": given.remark}
    result |= {"info": info(given.store), "h5py": by_h5py(given.store)}
    result |= {"pandas": by_pandas(given.store)}
    target = RESULTS / f"extract-{summary['network']}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(target)


def info(store: Path) -> str:
    """What the command prints, with the store's name alone."""
    command = Path(sys.executable).with_name("deepfeat")
    done = subprocess.run(
        [command, "info", store.name], cwd=store.parent, capture_output=True, text=True, check=True
    )
    return done.stdout


def by_h5py(store: Path) -> str:
    """Every dataset with its shape and type, and the first numbers of a row."""
    lines: list[str] = []
    with h5py.File(store) as file:
        file.visititems(
            lambda name, item: (
                lines.append(f"{name:28} {item.shape!s:14} {item.dtype}")
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
        first = next(line.split()[0] for line in lines if line.startswith("descriptors/"))
        numbers = ", ".join(f"{value:.4f}" for value in file[first][0, :4])
    return "\n".join([*lines, f'file["{first}"][0, :4] -> {numbers}'])


def by_pandas(store: Path) -> str:
    """A frame of keys, statuses and sizes, made without deepfeat."""
    with h5py.File(store) as file:
        frame = pandas.DataFrame(
            {
                "key": [os.fsdecode(key) for key in file["items/key"][:]],
                "status": file["items/status"][:],
                "height": file["items/shape"][:, 0],
                "width": file["items/shape"][:, 1],
            }
        )
    with pandas.option_context("display.width", 100):
        return f"{frame.head(3)}\n[{len(frame)} rows]"


if __name__ == "__main__":
    main()
