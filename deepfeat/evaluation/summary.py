"""What the splits gave, put together into a Result; the scores of every test image beside it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfeat import files
from deepfeat.classify.choose import mean_scores
from deepfeat.datasets.dataset import DataSet
from deepfeat.evaluation.fitting import Fitted
from deepfeat.evaluation.matrix import Joined, contents_digest
from deepfeat.evaluation.measure import (
    bounds_of,
    definition_of,
    figure_of,
    measures_of,
    spread_of,
    value_of,
)
from deepfeat.evaluation.notices import notices_of
from deepfeat.evaluation.provenance import provenance_of
from deepfeat.evaluation.recipe import Recipe
from deepfeat.evaluation.result import Result, written

WHAT = {"map": "mAP", "recall": "mean class recall", "accuracy": "accuracy"}
Same = Mapping[int, Sequence[tuple[int, int]]]


def result_of(
    recipe: Recipe,
    dataset: DataSet,
    joined: Joined,
    fitted: Sequence[Fitted],
    *,
    same: Same,
    study: Sequence[Mapping[str, Any]],
    predictions: str | None,
    command: Sequence[str],
) -> Result:
    """Put a Result together; all its figures are in per cent."""
    data = _data(dataset, joined, fitted, same)
    values = [100 * value_of(one.outcome, recipe) for one in fitted]
    bounds = [bounds_of(one.outcome, recipe) for one in fitted]
    low, high = (100 * float(np.mean([pair[end] for pair in bounds])) for end in (0, 1))
    figure = {
        "what": WHAT[recipe["score.measure"]],
        "value": float(np.mean(values)),
        "low": low,
        "high": high,
        "spread": spread_of(values, recipe),
        "n": data["test"],
        "definition": definition_of(recipe),
        "partial": data["partial"],
    }
    return Result(
        recipe={
            "name": recipe.name,
            "variant": recipe.variant,
            "title": recipe.title,
            "source": recipe.source,
            "sha256": recipe.sha256,
            "resolved": recipe.resolved,
            "set": list(recipe.changes),
        },
        data=data,
        features=tuple(_feature(one) for one in joined.features),
        choice=_choice(recipe, fitted),
        solver=_solver(recipe, dataset, fitted),
        figure=figure,
        published=_published(recipe),
        measures=_measures(recipe, fitted, low, high),
        per_class=tuple(_per_class(recipe, dataset, fitted)),
        splits=tuple(
            _split(dataset, one, value) for one, value in zip(fitted, values, strict=True)
        ),
        study=tuple(study),
        predictions=predictions,
        warnings=tuple(notices_of(recipe, dataset, joined, fitted, same)),
        provenance=provenance_of(command),
        timings={},
    )


def scores_path(output: Path) -> Path:
    """Where the scores of a result lie: beside it, ``.scores.npz``."""
    return output.with_name(output.name.removesuffix(".json") + ".scores.npz")


def write_scores(path: Path, dataset: DataSet, fitted: Sequence[Fitted]) -> None:
    """Write classes and, for each split s, ``keys_s`` (m,), ``labels_s``, ``scores_s`` (m, L)."""
    arrays: dict[str, Any] = {"classes": np.array(dataset.classes)}
    for one in fitted:
        keys = [dataset.entries[entry].key for entry in one.test]
        arrays[f"keys_{one.part.number}"] = np.array(keys)
        arrays[f"labels_{one.part.number}"] = one.outcome.labels
        arrays[f"scores_{one.part.number}"] = one.outcome.scores.astype(np.float32)
    held = io.BytesIO()
    np.savez(held, **arrays)
    with written(path):
        files.replace(path, [held.getbuffer()])


def _data(dataset: DataSet, joined: Joined, fitted: Sequence[Fitted], same: Same) -> dict[str, Any]:
    keys = [os.fsdecode(entry.key) for entry in dataset.entries]
    lacking = 0 if dataset.official is None else max(0, dataset.official - len(keys))
    pairs = sorted({(test, train) for found in same.values() for test, train in found})
    return {
        "set": dataset.name,
        "root_sha256": contents_digest(joined, dataset),
        "train": len(fitted[0].train),
        "test": len(fitted[0].test),
        "images": len(keys),
        "official": dataset.official,
        "classes": list(dataset.classes),
        "missing": list(joined.missing),
        "holes": [{"key": key, "status": status} for key, status in joined.holes],
        "partial": bool(lacking or joined.missing or joined.holes),
        "duplicates": [{"test": keys[test], "train": keys[train]} for test, train in pairs],
    }


def _feature(feature: Any) -> dict[str, Any]:
    block, store = feature.block, feature.store
    return {
        "store": store.path.name,
        "identity": store.identity.sha256,
        "network": store.identity.network.name,
        "weights": feature.weights,
        "weights_sha256": store.identity.network.weights_sha256,
        "layer": feature.layer,
        "scales": list(block.scales),
        "across_scales": block.across_scales,
        "normalise": block.normalise,
        "dimension": feature.dimension,
        "untrained": feature.untrained,
    }


def _choice(recipe: Recipe, fitted: Sequence[Fitted]) -> dict[str, Any]:
    """How C was chosen; the curve is the mean over splits, the scores of all folds with it."""
    curves = [_curve(recipe, one) for one in fitted]
    mean = [
        {
            "C": rows[0]["C"],
            "score": _mean([row["score"] for row in rows]),
            "scores": [score for row in rows for score in row["scores"]],
        }
        for rows in zip(*curves, strict=True)
    ]
    chosen = np.array([one.choice.C for one in fitted])  # (S, L)
    per = recipe.get("svm.select.per", "all")
    is_one = per == "all" and len(np.unique(chosen)) == 1
    return {
        "C": float(chosen[0, 0]) if is_one else None,
        "on": recipe["svm.select.on"],
        "per": per,
        "by": recipe.get("svm.select.by"),
        "curve": mean,
        "at_edge": any(bool(one.choice.at_edge.any()) for one in fitted),
    }


def _curve(recipe: Recipe, one: Fitted) -> list[dict[str, Any]]:
    curve = one.choice.curve
    if not curve.shape[1]:
        return []
    overall = mean_scores(curve)
    return [
        {"C": C, "score": float(overall[i]), "scores": [_mean(fold) for fold in curve[i]]}
        for i, C in enumerate(recipe["svm.C"])
    ]


def _mean(values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> float:
    known = [float(value) for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _solver(recipe: Recipe, dataset: DataSet, fitted: Sequence[Fitted]) -> dict[str, Any]:
    missed = [
        {"split": one.part.number, "C": C, "fold": fold, "class": dataset.classes[number]}
        for one in fitted
        for C, fold, number in one.choice.missed
    ]
    missed += [
        {"split": one.part.number, "C": float(one.choice.C[number]), "fold": None,
         "class": dataset.classes[number]}
        for one in fitted
        for number in one.missed
    ]  # fmt: skip
    gaps = [one.choice.worst_gap for one in fitted]
    gaps += [float(one.gap[~np.isnan(one.gap)].max(initial=0.0)) for one in fitted]
    has_gap = recipe["svm.solver"] != "liblinear"
    finals = sum(int((~np.isnan(one.outcome.scores).any(axis=0)).sum()) for one in fitted)
    return {
        "name": recipe["svm.solver"],
        "problems": sum(one.choice.problems for one in fitted) + finals,
        "worst_gap": max(gaps) if has_gap else None,
        "missed": missed,
    }


def _published(recipe: Recipe) -> dict[str, Any] | None:
    row = recipe.published
    if row is None:
        return None
    return {
        "figure": row.figure,
        "spread": row.spread,
        "source": row.source,
        "weights": row.weights,
        "verified": row.verified,
    }


def _measures(
    recipe: Recipe, fitted: Sequence[Fitted], low: float, high: float
) -> dict[str, dict[str, float | None]]:
    """Every measure, the mean over splits; the interval stands with the recipe's own."""
    each = [measures_of(one.outcome, recipe) for one in fitted]
    names = {"map": recipe.get("score.ap"), "recall": "recall", "accuracy": "accuracy"}
    own = names[recipe["score.measure"]]
    if (difficult := recipe.get("score.difficult", "ignore")) != "ignore":
        own = f"{own}.difficult_{difficult}"
    return {
        name: {
            "value": 100 * _mean([one[name] for one in each]),
            "low": low if name == own else None,
            "high": high if name == own else None,
        }
        for name in each[0]
    }


def _per_class(recipe: Recipe, dataset: DataSet, fitted: Sequence[Fitted]) -> list[dict[str, Any]]:
    """A row a class: means over splits; of several splits the numbers of the first."""
    values = np.array([figure_of(one.outcome, recipe).values for one in fitted])  # (S, L)
    rows = []
    for number, name in enumerate(dataset.classes):
        chosen = {float(one.choice.C[number]) for one in fitted}
        gaps = [float(one.gap[number]) for one in fitted]
        rows.append(
            {
                "class": name,
                "value": 100 * _mean(values[:, number]),
                "low": None,
                "high": None,
                "positives": int((fitted[0].outcome.labels[:, number] > 0).sum()),
                "training": int((dataset.labels[fitted[0].train, number] > 0).sum()),
                "published": None,
                "C": chosen.pop() if len(chosen) == 1 else None,
                "gap": float(np.max(gaps)),
            }
        )
    return rows


def _split(dataset: DataSet, one: Fitted, value: float) -> dict[str, Any]:
    C = one.choice.C
    return {
        "split": one.part.number,
        "value": value,
        "train": len(one.train),
        "test": len(one.test),
        "train_sha256": _digest(dataset, one.train),
        "test_sha256": _digest(dataset, one.test),
        "C": float(C[0]) if len(np.unique(C)) == 1 else C.tolist(),
        "at_edge": bool(one.choice.at_edge.any()),
    }


def _digest(dataset: DataSet, entries: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    """Hex sha256 of the sorted keys, one a line: the check value of a split (protocols.md 8.15)."""
    import hashlib

    lines = b"".join(sorted(dataset.entries[entry].key + b"\n" for entry in entries))
    return hashlib.sha256(lines).hexdigest()
