"""Turn the result of a real ``deepfeat svm-eval`` into one for docs/reproduction.md.

    python benchmarks/record_svm_eval.py RESULT.json --command 'deepfeat svm-eval ...' \
        --commit HASH --name caltech101-both [--remark '...']

Writes benchmarks/results/svm-eval-NAME.json: the result itself, without the per-image lists.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from machine import provenance

FOLDERS = re.compile(r"(?<![\w.])(?:/[\w.-]+)+/(?=[\w.-])")
RESULTS = Path(__file__).parent / "results"
KEPT = (
    *("recipe", "features", "choice", "solver", "figure", "published", "measures"),
    *("per_class", "splits", "study", "warnings", "timings"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--command", required=True, help="the command as a reader would type it")
    parser.add_argument("--commit", help="the commit that ran; default: the present one")
    parser.add_argument("--name", required=True)
    parser.add_argument("--remark", default="", help="what else bears on the figure or the time")
    given = parser.parse_args()
    result = json.loads(given.result.read_text())
    head = provenance(given.command) | {"date": result["provenance"]["date"]}
    if given.commit:
        head |= {"commit": given.commit, "package_as_committed": True}
    data = {
        name: len(value) if isinstance(value, list) else value
        for name, value in result["data"].items()
    }
    kept = {name: result[name] for name in KEPT}
    found = head | {"remark": given.remark, "data": data} | _without_folders(kept)
    target = RESULTS / f"svm-eval-{given.name}.json"
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(target)


def _without_folders(value: Any) -> Any:
    """The same values; a path in a text is its last part."""
    if isinstance(value, dict):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


if __name__ == "__main__":
    main()
