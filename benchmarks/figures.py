"""Generated regions about recipes and figures: every key, real evaluations, their agreement."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pages import results, source, table


def recipe_keys() -> str:
    """Every key of a recipe, with its default where it does not depend on others."""
    from deepfeat.evaluation.keys import KEYS, REQUIRED

    def default(row: Any) -> str:
        if row.default is REQUIRED:
            return "wanted"
        if callable(row.default):
            return "by the set"
        return "" if row.default is None else f"`{json.dumps(row.default)}`"

    rows = [
        (f"`{name}`", accepted(row.check), default(row), row.meaning) for name, row in KEYS.items()
    ]
    return table(("key", "accepts", "default", "meaning"), rows)


def accepted(check: Callable[[Any], Any]) -> str:
    """What a check says it wants."""
    try:
        check(None)
    except ValueError as error:
        return str(error)
    raise AssertionError("a check took None")


def reproduction() -> str:
    """The figures of real runs on the subset of Caltech-101."""
    found = results("svm-eval-caltech101*")
    if not found:
        return "None is committed yet."
    rows = [
        (
            " + ".join(one["network"] for one in run["features"]),
            sum(one["dimension"] for one in run["features"]),
            plus_minus(run["figure"]),
            f"{run['figure']['low']:.1f} to {run['figure']['high']:.1f}",
            f"{run['measures']['accuracy']['value']:.1f}",
            ", ".join(f"{split['C']:g}" for split in run["splits"]),
            f"{run['timings']['solve']:.0f} s",
            run["solver"]["name"],
        )
        for run in found
    ]
    head = ("descriptors", "values", "mean class recall", "95 % interval", "accuracy")
    lines = "\n\n".join(
        f"{' + '.join(one['network'] for one in run['features'])}: {source(run)}"
        + (f" {run['remark']}" if run["remark"] else "")
        for run in found
    )
    return table((*head, "C of each split", "solving", "solver"), rows) + "\n\n" + lines


def study() -> str:
    """Mean, max and stack over every subset of scales, a column a run."""
    found = [run for run in results("svm-eval-caltech101*") if run["study"]]
    if not found:
        return "None is committed yet."
    names = [" + ".join(one["network"] for one in run["features"]) for run in found]
    rows = [
        (", ".join(lines[0]["scales"]), lines[0]["across_scales"] or "")
        + tuple(f"{one['value']:.2f} ± {one['spread']:.2f}" for one in lines)
        for lines in zip(*(run["study"] for run in found), strict=True)
    ]
    return table(("scales", "across", *names), rows)


def agreement() -> str:
    """Figures by deepfeat and by a script that shares nothing with it."""
    found = results("agreement-*")
    if not found:
        return "None is committed yet."
    rows = [
        (
            " + ".join(one["networks"]),
            one["solver"],
            f"{one['ours']:.3f}",
            f"{one['theirs']:.3f}",
            f"{sum(s['differing'] for s in one['splits'])} of "
            f"{sum(s['test'] for s in one['splits']):,}",
            f"{max(s['largest_margin'] for s in one['splits']):.1e}",
        )
        for one in found
    ]
    head = ("descriptors", "solver", "deepfeat", "script", "predictions that differ")
    lines = "\n\n".join(f"{' + '.join(one['networks'])}: {source(one)}" for one in found)
    return table((*head, "their largest margin"), rows) + "\n\n" + lines


def rehearsal() -> str:
    """VOC 2007 on the few real pictures at hand: what a partial figure looks like."""
    found = results("svm-eval-voc2007*")
    if not found:
        return "None is committed yet."
    parts = []
    for run in found:
        names = [one["class"] for one in run["per_class"] if one["value"] is None]
        parts.append(
            f"{run['data']['missing']:,} of {run['data']['images']:,} listed images are missing, "
            f"so the figure is labelled partial: {run['figure']['what']} "
            f"{run['figure']['value']:.1f} ({run['figure']['definition']}) on "
            f"{run['data']['test']} test images, trained on "
            f"{run['data']['train']}. Without a positive training image, hence without an AP: "
            f"{', '.join(names)}. {source(run)}"
        )
    return "\n\n".join(parts)


def plus_minus(figure: dict[str, Any]) -> str:
    spread = "" if figure["spread"] is None else f" ± {figure['spread']:.2f}"
    return f"{figure['value']:.2f}{spread}" + (" (subset)" if figure["partial"] else "")
