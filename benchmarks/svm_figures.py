"""Generated regions of docs/performance.md: the SVM beside its peers, its profile, its growth."""

from __future__ import annotations

from typing import Any

from pages import results, source, table

SVM_CASES = ("voc07", "caltech101", "caltech256", "caltech101-real", "caltech101-fused")
NOTHING = "Not measured yet."
MIB = 2**20


def benchmark() -> str:
    """One table a case: deepfeat and its peers at each number of threads."""
    return "\n\n".join(f"### {name}\n\n{_case(name)}" for name in SVM_CASES)


def _case(name: str) -> str:
    run = _run(f"svm-{name}")
    if run is None:
        return NOTHING
    threads = run["threads"]
    rows, columns = run["rows"][0]
    middle = threads[max(threads, key=int)]
    peers = ", ".join(f"{peer} {one['version']}" for peer, one in run["peers"].items())
    solvers = [
        line
        for count, ours in threads.items()
        for line in [_ours(count, ours), *(_peer(*item) for item in ours["peers"].items())]
    ]
    head = ("solver", "threads", "seconds, median (least to most)", "time over ours", "converged")
    quality = ("objective over the reference - 1", "AP from the reference", "AP from ours")
    words = (
        f"{rows:,} x {columns:,}, {run['problems']:,} problems; {run['repeats']} repeats, "
        f"those of peers {run['peer_repeats']}. {run['sampled']} problems, as many at each C, "
        f"were given to {peers or 'no peer'} and to the reference, whose worst gap is "
        f"{run['reference_worst_gap']:.0e}."
    )
    by_C, refits = middle["seconds_by_C"], middle["seconds_for_refits"]
    last = (
        f"Of {_time(middle['seconds'])} s on {max(threads, key=int)} threads "
        f"{middle['seconds_for_K']:.1f} s are for K"
        + (f", {refits:.1f} s for refits at one C" * bool(refits))
        + "; the others by C:"
    )
    return "\n\n".join(
        (
            words,
            table((*head, *quality), solvers),
            table(
                (
                    "threads",
                    "worst gap of all",
                    "missed",
                    "Newton steps",
                    "memory",
                    "2.5 N² x 4 bytes",
                ),
                [(count, *_whole(ours)) for count, ours in threads.items()],
            ),
            *(_every(ours["every_ap"]) for ours in [middle] if ours["every_ap"]),
            *(_finer(run[key]) for key in ["at_a_finer_gap"] if key in run),
            last,
            table(
                ("C", *(f"{float(C):g}" for C in by_C)),
                [("seconds", *(f"{seconds:.1f}" for seconds in by_C.values()))],
            ),
            source(run),
        )
    )


def _every(found: dict[str, float]) -> str:
    return (
        f"Every problem solved again to the gap of the reference: of {found['problems']:,} average "
        f"precisions {found['above']:,} differ by more than 5e-4, the most by {found['most']:.1e}."
    )


def _finer(found: dict[str, Any]) -> str:
    every = found["every_ap"]
    return (
        f"At gap {found['gap']:.0e} ({found['seconds']:,.0f} s, worst gap {found['worst_gap']:.1e}"
        f", {found['missed']} missed) {every['above']:,} of {every['problems']:,} differ in the "
        f"fourth decimal, that is by more than 5e-5; the most by {every['most']:.1e}."
    )


def _ours(count: str, ours: dict[str, Any]) -> tuple[str, ...]:
    apart = _small(ours["ap_from_reference"])
    return "**deepfeat**", count, _time(ours["seconds"]), "", "", _range(ours), apart, ""


def _peer(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(one["jobs"]),
        _time(one["seconds_scaled"]),
        f"**{one['ratio']:.1f}**",
        f"{one['converged']} of {one['sampled']}",
        _range(one),
        _small(one["ap_from_reference_where_converged"]),
        _small(one["ap_from_ours_where_converged"]),
    )


def _whole(ours: dict[str, Any]) -> tuple[str, ...]:
    memory, bound = (f"{ours[name] / MIB:,.0f} MiB" for name in ("peak_bytes", "bound_bytes"))
    return (
        _small(ours["worst_gap"]),
        str(ours["missed"]),
        str(ours["newton_steps"]),
        memory,
        bound,
    )


def profile() -> str:
    """Shares of own time, a column a case."""
    found = {name: run for name in SVM_CASES if (run := _run(f"svm-{name}")) and "profile" in run}
    if not found:
        return NOTHING
    shares = [run["profile"]["shares"] for run in found.values()]
    groups = dict.fromkeys(group for one in shares for group in one)
    rows = [(group, *(f"{100 * one.get(group, 0):.0f} %" for one in shares)) for group in groups]
    head = [f"{name}, 1 thread" for name, run in found.items()]
    return "\n\n".join((table(("own time", *head), rows), *(source(run) for run in found.values())))


def growth() -> str:
    """Seconds for each value of what is varied, and as a multiple of the base point."""
    run = _run("svm-growth")
    if run is None:
        return NOTHING
    base = run["base"]
    rows = []
    for what, points in run["varied"].items():
        middle = next(one["median"] for one in points if one["value"] == base[what])
        rows += [
            (
                what,
                f"{one['value']:,}",
                f"{one['problems']:,}",
                _time(one),
                f"{one['value'] / base[what]:.2f}",
                f"{one['median'] / middle:.2f}",
            )
            for one in points
        ]
    words = (
        f"Base: {base['rows']:,} x {base['columns']:,}, {base['classes']} classes, "
        f"{base['values of C']} values of C, {base['folds']} folds; {run['threads']} threads, "
        f"{run['repeats']} repeats."
    )
    head = ("varied", "value", "problems", "seconds, median (least to most)")
    picture = "![Seconds against classes, values of C, folds and rows](svm-growth.svg)"
    tail = ("value over base", "time over base")
    return "\n\n".join((words, picture, table((*head, *tail), rows), source(run)))


def _run(name: str) -> dict[str, Any] | None:
    found = results(name)
    return found[0] if found else None


def _time(spread: dict[str, float]) -> str:
    digits = 2 if spread["median"] < 10 else 0
    middle, least, most = (f"{spread[key]:,.{digits}f}" for key in ("median", "least", "most"))
    return f"{middle} ({least} to {most})" if least != most else middle


def _range(one: dict[str, Any]) -> str:
    found = one["objective_over_reference"]
    return f"{found['least']:.1e} to {found['most']:.1e}"


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
