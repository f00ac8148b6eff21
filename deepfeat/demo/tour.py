"""The first minute with deepfeat: images by program, descriptors, neighbours, a held-out test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfeat.demo.shapes import CLASSES, make_images
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.result import Result
from deepfeat.evaluation.run import evaluate
from deepfeat.extraction.extract import extract
from deepfeat.progress import Progress
from deepfeat.store.read import Store

NETWORK, WEIGHTS, SCALES = "vgg8-small", "random:0", (224, 288)
NEIGHBOURS = 5
RECIPE = (
    f"extract.network={NETWORK}",
    f"extract.weights={WEIGHTS}",
    f"extract.scales={list(SCALES)}",
    "extract.across_scales=stack",
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``similarity`` is the cosine of two descriptors."""

    key: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Tour:
    """What the tour found. ``agreement`` is the share of images whose nearest neighbour is of their
    own class; ``chance`` is what drawing one at random would give. ``result`` is that of recipe
    "folder": half of each class trains a linear SVM, the other half is the test.
    """

    images: Path
    store: Path
    count: int
    shapes: dict[tuple[str, str], tuple[int, ...]]
    query: str
    neighbours: list[Neighbour]
    agreement: float
    chance: float
    result: Result


def take_tour(
    folder: Path, *, per_class: int = 20, report: Callable[[Progress], None] | None = None
) -> Tour:
    """Make images in ``folder``, describe them with a small untrained VGG, compare and judge them.

    Running it again in the same folder goes on where it was.
    """
    images, place = folder / "images", folder / f"images.{NETWORK}.h5"
    count = make_images(images, per_class=per_class)
    with extract(
        images, place, network=NETWORK, weights=WEIGHTS, scales=SCALES, progress=report
    ) as store:
        similarities = _similarities(store)
        keys = store.keys
        classes = np.array([key.split("/")[0] for key in keys])
        query = keys.index(f"{next(iter(CLASSES))}/000.png")
        order = np.argsort(-similarities[query], kind="stable")[:NEIGHBOURS]
        nearest = classes[similarities.argmax(axis=1)]
        return Tour(
            images,
            place,
            count,
            {
                (layer, scale): store[layer, scale].shape
                for layer in store.layers
                for scale in store.scales
            },
            keys[query],
            [Neighbour(keys[i], float(similarities[query, i])) for i in order],
            float((nearest == classes).mean()),
            (per_class - 1) / (count - 1),
            _judged(images, place),
        )


def _judged(images: Path, store: Path) -> Result:
    """Linear SVMs on the descriptors: trained on half of each class, tested on the rest."""
    recipe = load_recipe("folder", set=RECIPE)
    return evaluate(recipe, data=images, features=[store])


def _similarities(store: Store) -> NDArray[np.float32]:
    """Cosines between all images, (N, N); an image is no neighbour of itself.

    The mean descriptor is taken off first: what all images share tells none apart.
    """
    rows = store.read(across_scales="stack", normalise="each")
    centred = rows - rows.mean(axis=0)
    units = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    similarities = units @ units.T
    np.fill_diagonal(similarities, -np.inf)
    found: NDArray[np.float32] = similarities.astype(np.float32)
    return found
