"""What ``deepfeat svm-eval`` prints: the figure beside the published one, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfeat.cli.table import facts, table
from deepfeat.progress import duration

if TYPE_CHECKING:
    from deepfeat.evaluation.result import Result

MOST_CLASSES = 30  # beyond, only the worst and the best are shown
ENDS = 5


def result_lines(result: Result, path: str) -> list[str]:
    """The whole answer, for a terminal or a pipe."""
    parts = [_head(result), _classes(result)]
    if len(result.splits) > 1:
        rows = [
            (one["split"], number(one["value"]), one["train"], one["test"], _C(one["C"]))
            for one in result.splits
        ]
        parts.append(
            table(("split", result.figure["what"], "training", "test", "C"), rows, right=range(5))
        )
    if result.study:
        parts.append(_study(result))
    if result.warnings:
        parts.append([f"{one['kind']}: {one['message']}" for one in result.warnings])
    scores = result.predictions and str(Path(path).with_name(result.predictions))
    parts.append(facts([("result", path), ("scores", scores)]))
    return [line for part in parts for line in ("", *part)][1:]


def number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}"


def _head(result: Result) -> list[str]:
    figure, published, choice, solver = (
        result.figure,
        result.published,
        result.choice,
        result.solver,
    )
    name = result.recipe["name"]
    variant = f":{result.recipe['variant']}" if result.recipe["variant"] else ""
    networks = " + ".join(f"{one['network']} ({one['weights']})" for one in result.features)
    dimension = sum(one["dimension"] for one in result.features)
    partial = ", PARTIAL" if figure["partial"] else ""
    seconds = sum(value for value in result.timings.values())
    return facts(
        [
            ("recipe", f"{name}{variant}: {result.recipe['title']}"),
            (figure["what"], _with_spread(figure["value"], figure["spread"]) + partial),
            ("published", published and _published(published, result.recipe["set"])),
            ("95 % interval", f"{number(figure['low'])} to {number(figure['high'])}, "
             "bootstrap over test images"),
            ("measure", figure["definition"]),
            ("also", _others(result)),
            ("descriptors", f"{networks}, {dimension} values a row"),
            ("images", f"{result.data['train']:,} for training, {result.data['test']:,} for test"
             + (f", {len(result.splits)} splits" if len(result.splits) > 1 else "")),
            ("C", _choice(choice, result)),
            ("solver", f"{solver['name']}, {solver['problems']:,} problems"
             + _gap(solver["worst_gap"]) + f", {len(solver['missed'])} did not converge"),
            ("time", duration(seconds)),
        ]
    )  # fmt: skip


def _published(published: Mapping[str, Any], changes: Sequence[str]) -> str:
    words = _with_spread(published["figure"], published["spread"])
    mark = "" if published["verified"] else ", unverified"
    mark += ", for the recipe without --set" if changes else ""
    return f"{words} ({published['source']}{mark})"


def _with_spread(value: float | None, spread: float | None) -> str:
    return number(value) + (f" ± {number(spread)}" if spread is not None else "")


def _others(result: Result) -> str:
    shown = [
        f"{name} {number(row['value'])}"
        for name, row in result.measures.items()
        if row["low"] is None and "difficult" not in name
    ]
    return ", ".join(shown)


def _choice(choice: Mapping[str, Any], result: Result) -> str:
    if choice["on"] == "fixed":
        return f"{_C(choice['C'])}, fixed"
    chosen = (
        _C(choice["C"])
        if choice["C"] is not None
        else ("one a class" if choice["per"] == "class" else "one a split, below")
    )
    grid = [row["C"] for row in choice["curve"]]
    return (
        f"{chosen}, of {len(grid)} from {min(grid):g} to {max(grid):g}, by {choice['by']} "
        f"on {choice['on']}" + (", AT THE EDGE" if choice["at_edge"] else "")
    )


def _C(C: Any) -> str:
    return "one a class" if isinstance(C, list) or C is None else f"{C:g}"


def _gap(worst: float | None) -> str:
    return "" if worst is None else f", worst gap {worst:.1e}"


def _classes(result: Result) -> list[str]:
    rows = sorted(result.per_class, key=lambda row: _sortable(row["value"]))
    head = ("class", result.figure["what"].replace("mean class ", "").replace("mAP", "AP"),
            "training", "test")  # fmt: skip
    lines = [
        (row["class"], number(row["value"]), row["training"], row["positives"])
        for row in result.per_class
    ]
    if len(rows) > MOST_CLASSES:
        chosen = [*rows[:ENDS], *rows[-ENDS:]]
        lines = [
            (row["class"], number(row["value"]), row["training"], row["positives"])
            for row in chosen
        ]
        left = f"({len(rows) - len(chosen)} classes between them are in the result)"
        return [*table(head, lines, right=(1, 2, 3)), left]
    return table(head, lines, right=(1, 2, 3))


def _sortable(value: float | None) -> float:
    return -1.0 if value is None or value != value else value


def _study(result: Result) -> list[str]:
    rows = [
        (
            ", ".join(one["scales"]),
            one["across_scales"] or "",
            one["dimension"],
            number(one["value"]),
            number(one["spread"]),
        )
        for one in result.study
    ]
    head = ("scales", "across", "dimension", result.figure["what"], "±")
    return table(head, rows, right=(2, 3, 4))
