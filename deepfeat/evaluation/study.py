"""The paper's own comparison: mean, max and stack over every subset of scales, from one store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import UsageError
from deepfeat.evaluation.fitting import Fitted, fit_part
from deepfeat.evaluation.matrix import Joined, matrix_of
from deepfeat.evaluation.measure import spread_of, value_of
from deepfeat.evaluation.parts import Part
from deepfeat.evaluation.recipe import Recipe

AGGREGATES = ("mean", "max", "stack")


def study_of(
    recipe: Recipe,
    dataset: DataSet,
    parts: Sequence[Part],
    joined: Joined,
    device: str = "auto",
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """A row for each way to use the scales: scales, across_scales, value and spread in per cent.

    C is chosen anew for each, by the recipe's own rule. A single scale has no aggregate.

    Raises
    ------
    UsageError
        Where the networks have different scales, or a store keeps only an aggregate.
    """
    check_study(joined)
    scales = joined.features[0].block.scales
    rows = []
    for chosen, across in ways(scales):
        if tell is not None:
            tell(f"study: {', '.join(chosen)} {across or ''}".rstrip())
        X = matrix_of(
            joined, recipe.get("fuse.weights", ()), scales=chosen, across_scales=across or "mean"
        )
        fitted = [
            fit_part(recipe, dataset, part, X, joined.position, device=device) for part in parts
        ]
        values = [100 * value_of(one.outcome, recipe) for one in fitted]
        rows.append(
            {
                "scales": list(chosen),
                "across_scales": across,
                "value": float(np.mean(values)),
                "spread": spread_of(values, recipe),
                "dimension": int(X.shape[1]),
                "C": [float(C) if one.size == 1 else None for C, one in _chosen(fitted)],
                "at_edge": any(bool(one.choice.at_edge.any()) for one in fitted),
                "missed": sum(len(one.missed) + len(one.choice.missed) for one in fitted),
            }
        )
    return rows


def _chosen(fitted: Sequence[Fitted]) -> list[tuple[float, NDArray[np.float64]]]:
    """The first C of each split, and all different ones."""
    return [(float(one.choice.C[0]), np.unique(one.choice.C)) for one in fitted]


def check_study(joined: Joined) -> None:
    """Refuse a study that could not be made. Raises ``UsageError``."""
    scales = joined.features[0].block.scales
    for feature in joined.features:
        if feature.block.scales != scales or len(feature.store.scales) < len(scales):
            raise UsageError(
                "a study needs the same scales of every network, each kept in its store",
                found=f"'{feature.store.path}': {', '.join(feature.store.scales)}",
            )


def ways(scales: Sequence[str]) -> list[tuple[tuple[str, ...], str | None]]:
    """Every subset of the scales, the largest last, with each aggregate."""
    found: list[tuple[tuple[str, ...], str | None]] = [((scale,), None) for scale in scales]
    for size in range(2, len(scales) + 1):
        found += [
            (chosen, across) for chosen in combinations(scales, size) for across in AGGREGATES
        ]
    return found
