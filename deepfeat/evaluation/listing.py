"""What recipes there are, what they cost, and what of their data and weights is at hand."""

from __future__ import annotations

import os
from typing import Any

from deepfeat.datasets.loading import SETS, find_root
from deepfeat.errors import DeepfeatError
from deepfeat.evaluation.recipe import Recipe, load_recipe, variants_of
from deepfeat.files import known_cache_folder

CROP = 224 * 224
ASPECT = 4 / 3  # of a photograph


def describe_recipe(name: str, data: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """One recipe as JSON values.

    ``crops_per_image`` is the work of one image of 4:3 in crops of 224 x 224, for each variant;
    ``data`` the folder where its set lies, or None; ``weights`` whether they are here, by network.
    """
    names = variants_of(name)
    loaded = [load_recipe(f"{name}:{variant}") for variant in names] or [load_recipe(name)]
    first = loaded[0]
    dataset = first["data.set"]
    place = find_root(dataset, data) if dataset in SETS else None
    return {
        "name": first.name,
        "title": first.title,
        "source": first.source,
        "set": dataset,
        "measure": first["score.measure"],
        "variants": [_variant(one) for one in loaded],
        "data": None if place is None else str(place),
        "own_data": dataset not in SETS,
        "weights": {
            block.network: _is_here(block.network, block.weights)
            for one in loaded
            for block in one.blocks
        },
    }


def crops_per_image(recipe: Recipe) -> float:
    """Work of one image in crops: areas of all views over that of a crop, all networks summed."""
    total = 0.0
    for block in recipe.blocks:
        areas = [ASPECT * int(scale) ** 2 for scale in block.scales if scale != "native"]
        total += (2 if block.mirror else 1) * sum(areas) / CROP
    return total


def _variant(recipe: Recipe) -> dict[str, Any]:
    published = recipe.published
    return {
        "variant": recipe.variant,
        "networks": [block.network for block in recipe.blocks],
        "published": None if published is None else published.figure,
        "spread": None if published is None else published.spread,
        "verified": None if published is None else published.verified,
        "crops_per_image": round(crops_per_image(recipe), 1),
    }


def _is_here(network: str, weights: str | None) -> bool:
    from deepfeat.networks.weights.named import default_weights, named_weights

    try:
        file = named_weights(network, weights or default_weights(network)).download.file
    except (DeepfeatError, KeyError):  # a file of the user's own
        return weights is not None and os.path.isfile(weights)  # noqa: PTH113
    folder = known_cache_folder()
    if folder is None:
        return False
    return os.path.isfile(folder / "weights" / file)  # noqa: PTH113  (never raises)
