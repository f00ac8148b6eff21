"""Many linear SVMs: deepfeat, scikit-learn's LinearSVC, and cyanure, side by side.

    python benchmarks/svm.py voc07 [--threads 1,2] [--repeats 3] [--sample 45]
    python benchmarks/svm.py caltech101-real --store STORE.h5 --data ROOT
    python benchmarks/svm.py caltech101-fused --store A.h5 --store B.h5 --data ROOT

The cases stand in svm_cases.py. deepfeat solves every problem, K, scores of held-out rows and
certificates included. The others solve a sample, the same number of problems at each C, and their
time is scaled: at each C the mean of the sample times the number of problems there, summed, divided
by the jobs. Every measurement runs in a process of its own (svm_run.py), deepfeat and the others in
turn, peers with as many jobs, of one thread each, as deepfeat has threads.

Writes benchmarks/results/svm-<case>.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from machine import provenance
from svm_cases import (
    CASES,
    LESS,
    REAL,
    SYNTHETIC,
    Problem,
    check_checkout,
    draw,
    problems_at,
    real,
    save,
    scaled,
)
from svm_peers import MOST_ITERATIONS, PEERS, TOLERANCE

HERE = Path(__file__).parent
RESULTS = HERE / "results"
AP_APART = 5e-4
FINER_GAP, FOURTH_DECIMAL = 1e-6, 5e-5
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WAITING = "PASSIVE"  # of OpenMP's threads, as under the command line


def main(arguments: Sequence[str] | None = None) -> None:
    given = parsed(arguments)
    check_checkout()
    less = LESS if given.small else 1
    if given.case in REAL:
        tasks = real(REAL[given.case][0], given.store, given.data, less)
    else:
        tasks = SYNTHETIC[given.case](given.seed, less)
    counts = problems_at(tasks)
    sample = draw(tasks, given.sample, given.seed)
    result = provenance(command_of(given)) | {
        "case": given.case,
        "rows": [list(task.X.shape) for task in tasks],
        "problems": sum(counts.values()),
        "problems_by_C": {f"{C:g}": count for C, count in counts.items()},
        "gap": given.gap,
        "repeats": given.repeats,
        "peer_repeats": given.peer_repeats,
        "sampled": len(sample),
        "scaling": "sum over C of mean seconds of the sample at C x problems at C, over jobs",
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", WAITING),
        "load_average": list(os.getloadavg()),
    }
    print(f"{given.case}: {result['problems']} problems, {len(sample)} of them sampled", flush=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        save(tasks, sample, folder)
        del tasks
        result |= measured(given, folder, sample, counts)
    folder = Path(given.results)
    folder.mkdir(exist_ok=True)
    target = folder / f"svm-{given.case}{'-small' if given.small else ''}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(target)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, and of peers' jobs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-repeats", type=int, default=1)
    parser.add_argument("--sample", type=int, default=45, help="problems each peer solves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--small", action="store_true", help="a tenth of the rows: does it run?")
    parser.add_argument("--profile", action="store_true", help="one more run, under cProfile")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--every", action="store_true", help="the reference solves every problem, not the sample"
    )
    names = ", ".join(REAL)
    parser.add_argument(
        "--store", type=Path, action="append", default=[], help=f"for {names}: finished stores"
    )
    parser.add_argument("--data", type=Path, help=f"for {names}: where Caltech-101 lies")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON is written")
    given = parser.parse_args(arguments)
    if given.case in REAL:
        count = REAL[given.case][1]
        if len(given.store) != count or not given.data:
            parser.error(f"{given.case} needs --data, and --store {count} times")
    return given


def command_of(given: argparse.Namespace) -> str:
    """As a reader would type it; of paths the last part alone."""
    words = [f"python benchmarks/svm.py {given.case}"]
    words += [f"--store {store.name}" for store in given.store]
    if given.data:
        words.append(f"--data {given.data.name}")
    for name in ("threads", "repeats", "peer_repeats", "sample", "seed", "gap"):
        words.append(f"--{name.replace('_', '-')} {getattr(given, name)}")
    for name in ("small", "profile", "no_peers", "every"):
        words += [f"--{name.replace('_', '-')}"] * getattr(given, name)
    return " ".join(words)


# measuring ----------------------------------------------------------------------------------------


def measured(
    given: argparse.Namespace, folder: Path, sample: list[Problem], counts: dict[float, int]
) -> dict[str, Any]:
    """All runs in turn, then the reference, then the profile."""
    threads = [int(one) for one in given.threads.split(",")]
    names = [] if given.no_peers else [name for name, peer in PEERS.items() if peer.is_here]
    for name in PEERS:
        if not given.no_peers and name not in names:
            print(f"{name}: not installed, skipped")
    ours: dict[int, list[dict[str, Any]]] = {count: [] for count in threads}
    peers: dict[tuple[int, str], list[list[dict[str, Any]]]] = {
        (count, name): [] for count in threads for name in names
    }
    for repeat in range(given.repeats):
        for count in threads:
            ours[count].append(child(folder, "ours", count, given.gap, every=given.every))
            print(f"deepfeat, {count} threads: {ours[count][-1]['seconds']:.1f} s", flush=True)
        for count in threads if repeat < given.peer_repeats else []:
            for name in names:
                solved = child(folder, name, count, given.gap, each=1)["solved"]
                peers[count, name].append(solved)
                spent = sum(one["seconds"] for one in solved)
                print(f"{name}, {count} jobs: {spent:.1f} s for the sample", flush=True)
    exact = child(folder, "reference", max(threads), given.gap, every=given.every)
    runs = {}
    for count in threads:
        row = own(ours[count], exact)
        row["peers"] = {
            name: compared(peers[count, name], sample, counts, count, row, exact["sample"])
            for name in names
        }
        row.pop("sample")
        runs[str(count)] = row
    result: dict[str, Any] = {
        "peers": {
            name: {
                "version": version(name),
                "tolerance": TOLERANCE,
                "most_iterations": MOST_ITERATIONS,
            }
            for name in names
        },
        "reference_worst_gap": exact["worst_gap"],
        "threads": runs,
    }
    if given.every:
        finer = child(folder, "ours", max(threads), FINER_GAP, every=True)
        result["at_a_finer_gap"] = {
            "gap": FINER_GAP,
            "seconds": finer["seconds"],
            "worst_gap": finer["worst_gap"],
            "missed": finer["missed"],
            "every_ap": apart(finer["precisions"], exact["precisions"], FOURTH_DECIMAL),
        }
    if given.profile:
        result["profile"] = {"threads": 1} | child(folder, "profile", 1, given.gap)
    return result


def child(
    folder: Path,
    what: str,
    count: int,
    gap: float,
    *,
    each: int | None = None,
    every: bool = False,
) -> Any:
    """A process of its own; ``each`` is the threads of one of its jobs."""
    environment = {"OMP_WAIT_POLICY": WAITING, **os.environ}
    environment |= dict.fromkeys(THREADS, str(each or count))
    command: list[str | Path] = [sys.executable, HERE / "svm_run.py", folder, what]
    command += [str(count), str(gap), *["every"] * every]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return json.loads((folder / "answer.json").read_text())


# comparing ----------------------------------------------------------------------------------------

Pair = Sequence[float]  # objective, average precision


def own(runs: list[dict[str, Any]], exact: dict[str, Any]) -> dict[str, Any]:
    """deepfeat's row: time and memory over the repeats, and its distance from the reference."""
    middle = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
    return {
        "seconds": spread([one["seconds"] for one in runs]),
        "seconds_for_K": middle["seconds_for_K"],
        "seconds_for_refits": middle["seconds_for_refits"],
        "seconds_by_C": middle["seconds_by_C"],
        "newton_steps": middle["newton_steps"],
        "worst_gap": max(one["worst_gap"] for one in runs),
        "missed": max(one["missed"] for one in runs),
        "peak_bytes": max(one["peak_bytes"] for one in runs),
        "bound_bytes": middle["bound_bytes"],
        "objective_over_reference": relative(middle["sample"], exact["sample"]),
        "ap_from_reference": largest_apart(middle["sample"], exact["sample"]),
        "every_ap": apart(middle["precisions"], exact["precisions"]),
        "sample": middle["sample"],
    }


def compared(
    repeats: list[list[dict[str, Any]]],
    sample: list[Problem],
    counts: dict[float, int],
    jobs: int,
    ours: dict[str, Any],
    exact: list[Pair],
) -> dict[str, Any]:
    """A peer's row: time scaled to all problems, and how far its answers are from two others."""
    times = [scaled([one["seconds"] for one in solved], sample, counts, jobs) for solved in repeats]
    found = repeats[0]
    pairs = [(one["objective"], one["average_precision"]) for one in found]
    sure = [i for i, one in enumerate(found) if one["converged"]]
    chosen, true, mine = ([some[i] for i in sure] for some in (pairs, exact, ours["sample"]))
    return {
        "jobs": jobs,
        "sampled": len(found),
        "seconds_of_sample": sum(one["seconds"] for one in found),
        "seconds_scaled": spread(times),
        "ratio": median(times) / ours["seconds"]["median"],
        "converged": len(sure),
        "objective_over_reference": relative(pairs, exact),
        "ap_from_reference_where_converged": largest_apart(chosen, true),
        "ap_from_ours_where_converged": largest_apart(chosen, mine),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def relative(some: Sequence[Pair], exact: Sequence[Pair]) -> dict[str, float]:
    """Objective over that of the reference, minus 1."""
    found = [one[0] / true[0] - 1 for one, true in zip(some, exact, strict=True)]
    return {"least": min(found), "most": max(found)}


def apart(
    some: list[float], others: list[float], bound: float = AP_APART
) -> dict[str, float] | None:
    """Of all problems: how many have an average precision, how many differ by more than that."""
    if not some:
        return None
    found = [abs(one - other) for one, other in zip(some, others, strict=True)]
    known = [one for one in found if not math.isnan(one)]
    return {
        "problems": len(known),
        "above": sum(one > bound for one in known),
        "most": max(known, default=0.0),
    }


def largest_apart(some: Sequence[Pair], others: Sequence[Pair]) -> float | None:
    """The largest difference of average precision; None if none is known."""
    found = [abs(one[1] - other[1]) for one, other in zip(some, others, strict=True)]
    return max((one for one in found if not math.isnan(one)), default=None)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", WAITING)
    main()
