"""How deepfeat's time grows with classes, values of C, folds and rows.

    python benchmarks/svm_growth.py [--threads 2] [--repeats 3] [--small]

From one base point each of the four is varied alone; rows are those of ``voc07`` in svm_cases.py,
with fewer columns. A time is that of K and of every problem, the median of the repeats.

Writes benchmarks/results/svm-growth.json and docs/svm-growth.svg (which needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # before torch: as the command line has it
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from machine import provenance
from svm_cases import check_checkout, folds, several

from deepfeat.classify.choose import SOLVERS
from deepfeat.classify.problems import Settings

ROOT = Path(__file__).parent.parent
BASE = {"classes": 20, "values of C": 8, "folds": 3, "rows": 2000}
VARIED = {
    "classes": (5, 10, 20, 40, 80),
    "values of C": (2, 4, 8, 16, 32),
    "folds": (2, 3, 5, 8, 12),
    "rows": (250, 500, 1000, 2000, 4000),
}
COLUMNS = 1024
SMALL_BASE = {"classes": 3, "values of C": 3, "folds": 2, "rows": 150}
SMALL_VARIED = {"classes": (3, 6), "values of C": (3, 5), "folds": (2, 3), "rows": (150, 300)}
SMALL_COLUMNS = 64
LOWEST, HIGHEST = -7, 7  # exponents of 2: more values of C lie closer together


def main(arguments: Sequence[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="does it run? No picture")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "svm-growth.svg")
    given = parser.parse_args(arguments)
    check_checkout()
    if not given.small and find_spec("matplotlib") is None:
        sys.exit("the picture needs matplotlib: pip install '.[benchmarks]'")
    base, varied, columns = (
        (SMALL_BASE, SMALL_VARIED, SMALL_COLUMNS) if given.small else (BASE, VARIED, COLUMNS)
    )
    torch.set_num_threads(given.threads)
    command = f"python benchmarks/svm_growth.py --threads {given.threads}"
    command += f" --repeats {given.repeats} --seed {given.seed}" + " --small" * given.small
    result: dict[str, Any] = provenance(command) | {
        "threads": given.threads,
        "repeats": given.repeats,
        "base": base | {"columns": columns},
        "load_average": list(os.getloadavg()),
        "varied": {},
    }
    known: dict[tuple[int, ...], list[float]] = {}
    for what, values in varied.items():
        points = []
        for value in values:
            point = base | {what: value}
            at = tuple(point.values())
            if at not in known:  # the base point is in every row of them
                known[at] = timed(point, columns, given.repeats, given.seed)
            times = known[at]
            points.append(
                {
                    "value": value,
                    "problems": point["classes"] * point["values of C"] * point["folds"],
                    "median": median(times),
                    "least": min(times),
                    "most": max(times),
                }
            )
            print(f"{what} {value}: {points[-1]['median']:.2f} s", flush=True)
        result["varied"][what] = points
    given.results.mkdir(exist_ok=True)
    target = given.results / f"svm-growth{'-small' if given.small else ''}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(target)
    if not given.small:
        draw(result, given.picture)
        print(given.picture)


def timed(point: dict[str, int], columns: int, repeats: int, seed: int) -> list[float]:
    random = np.random.default_rng(seed)
    X, y = several(point["rows"], columns, point["classes"], random)
    weights = folds(y, np.where(y > 0, 2.0, 1.0), point["folds"])
    labels = np.tile(y, (1, point["folds"]))
    Cs = np.logspace(LOWEST, HIGHEST, point["values of C"], base=2).tolist()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in SOLVERS["gram"](X, Settings(device="cpu")).path(labels, weights, Cs):
            pass
        times.append(time.perf_counter() - start)
    return times


def draw(result: dict[str, Any], picture: Path) -> None:
    """Plots with both axes logarithmic; the same result gives the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "svm-growth"
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter, StrMethodFormatter

    figure, frames = pyplot.subplots(
        1, len(result["varied"]), figsize=(12, 3), sharey=True, layout="constrained"
    )
    for frame, (what, points) in zip(frames, result["varied"].items(), strict=True):
        at = [one["value"] for one in points]
        frame.fill_between(
            at, [one["least"] for one in points], [one["most"] for one in points], alpha=0.2
        )
        frame.plot(at, [one["median"] for one in points], "o-")
        through = next(one for one in points if one["value"] == result["base"][what])
        line = [through["median"] * one / through["value"] for one in at]
        frame.plot(at, line, ":", color="grey", label="proportional")
        frame.set(xscale="log", yscale="log", xlabel=what, xticks=at)
        frame.xaxis.set_major_formatter(ScalarFormatter())
        frame.xaxis.set_minor_locator(NullLocator())
    frames[0].set_ylabel("seconds")
    frames[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    frames[0].yaxis.set_minor_formatter(NullFormatter())
    frames[0].legend()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
