"""The stores behind a recipe: found finished, continued, or begun, one a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import StoreMismatch, UsageError, some
from deepfeat.evaluation.recipe import Recipe
from deepfeat.evaluation.resolve import Block
from deepfeat.evaluation.working import Working
from deepfeat.extraction.request import (
    NetworkChoice,
    Pixels,
    Request,
    Sampling,
)
from deepfeat.extraction.request import Working as WayOfWorking
from deepfeat.extraction.source import store_key
from deepfeat.files import sha256_of
from deepfeat.store.read import Store, open_store


@dataclass(frozen=True, slots=True)
class Feature:
    """A store that holds what a block asks for, and the layer to read."""

    store: Store
    block: Block
    layer: str

    @property
    def dimension(self) -> int:
        """Of a row after aggregation across scales."""
        blocks = len(self.block.scales) if self.block.across_scales == "stack" else 1
        return blocks * self.store.layers[self.layer]

    @property
    def untrained(self) -> bool:
        return bool(_facts(self.store).get("untrained"))

    @property
    def weights(self) -> str:
        """The name of the weights, as the store states it."""
        weights = _facts(self.store).get("weights")
        return str(weights.get("name")) if isinstance(weights, Mapping) else "not stated"


def given_features(recipe: Recipe, stores: Sequence[str | os.PathLike[str]]) -> list[Feature]:
    """Open the stores that a user names, one a block, in order.

    They may be of another network than the recipe's; scales, mirror and pixels have to be its own.

    Raises
    ------
    UsageError
        Another number of stores than blocks.
    StoreMismatch
        A store that is not finished or was made another way.
    """
    if len(stores) != len(recipe.blocks):
        raise UsageError(
            f"recipe '{recipe.label}' stacks {len(recipe.blocks)} networks",
            expected=f"{len(recipe.blocks)} times --features",
            found=f"{len(stores)}",
            advice="'--set extract.network=[...]' changes how many there are.",
        )
    pairs = zip(stores, recipe.blocks, strict=True)
    return [_fitting(open_store(path), block, recipe, is_given=True) for path, block in pairs]


def made_features(recipe: Recipe, dataset: DataSet, working: Working) -> list[Feature]:
    """The recipe's own stores in the working folder: opened where finished, else computed.

    Only images that are there are described, so a store has no holes for missing ones.

    Raises
    ------
    DeepfeatError
        As ``extract``; ``StoreMismatch`` for a store of that name made another way.
    """
    found = []
    for path, block in zip(store_paths(recipe, working.folder), recipe.blocks, strict=True):
        if not path.exists():
            from deepfeat.extraction.run import prepare_run, run

            request = Request(
                NetworkChoice(
                    block.network,
                    block.weights,
                    block.preprocessing,
                    block.pool_rounding,
                    None if block.layer is None else (block.layer,),
                    working.device,
                    working.cache,
                ),
                Sampling(block.scales, block.mirror, block.over_positions),
                _pixels(recipe),
                working=WayOfWorking(
                    workers=working.workers, accept_environment=working.accept_environment
                ),
            )
            prepared = prepare_run(_those_there(dataset), path, request, download=working.fetched)
            if working.tell is not None:
                working.tell(f"{len(prepared.source.places)} images, {block.network} -> {path}")
            run(prepared, report=working.images, command=working.command)
        found.append(_fitting(open_store(path), block, recipe, is_given=False))
    return found


def store_paths(recipe: Recipe, folder: Path) -> list[Path]:
    """Where the stores of a recipe lie: ``<recipe>.<network>.h5``, numbered where one repeats."""
    names = [block.network for block in recipe.blocks]
    paths = []
    for number, name in enumerate(names):
        repeated = f".{names[:number].count(name) + 1}" if name in names[:number] else ""
        paths.append(folder / f"{recipe.name}.{name}{repeated}.h5")
    return paths


def _those_there(dataset: DataSet) -> DataSet:
    """The images whose files exist, without labels."""
    entries = tuple(entry for entry in dataset.entries if os.path.lexists(entry.place))
    nothing = np.empty((len(entries), 0), np.int8)
    return DataSet(dataset.name, entries, (), nothing, {})


def _pixels(recipe: Recipe) -> Pixels:
    return Pixels(
        recipe["image.exif"],
        recipe["image.background"],
        recipe["resize.filter"],
        recipe["resize.upscale"],
    )


def _fitting(store: Store, block: Block, recipe: Recipe, *, is_given: bool) -> Feature:
    """The store with the layer to read. Raises ``StoreMismatch`` naming each field that differs."""
    if not store.complete:
        raise StoreMismatch(
            f"'{store.path}' is not finished: {len(store)} of {store.planned} images are there",
            advice="Run the 'deepfeat extract' that began it again.",
        )
    image, sampling = store.identity.image, store.identity.sampling
    pixels = _pixels(recipe)
    wanted: list[tuple[str, object, object]] = [
        ("extract.mirror", block.mirror, sampling.mirror),
        ("extract.over_positions", block.over_positions, sampling.over_positions),
        ("image.exif", pixels.exif, image.exif),
        ("image.background", tuple(pixels.background), tuple(image.background)),
        ("resize.filter", pixels.filter, image.filter),
        ("resize.upscale", pixels.upscale, image.upscale),
    ]
    if not is_given:
        wanted += _of_the_network(store, block)
    differing = [(name, a, b) for name, a, b in wanted if a != b]
    kept = sampling.across_scales
    if kept != "none":
        aggregate = (kept, tuple(sampling.scales))
        if aggregate != (block.across_scales, block.scales):
            differing.append(("extract.across_scales", block.across_scales, f"only the {kept}"))
    elif lacking := [scale for scale in block.scales if scale not in store.scales]:
        differing.append(("extract.scales", f"also {some(lacking)}", list(store.scales)))
    layer = block.layer if block.layer in store.layers else None
    if layer is None and len(store.layers) == 1 and (is_given or block.layer is None):
        layer = next(iter(store.layers))
    if layer is None:
        differing.append(("extract.layer", block.layer or "the default", list(store.layers)))
    if differing or layer is None:
        lines = [f"{n}: {b!r} in the store, {a!r} in the recipe" for n, a, b in differing]
        raise StoreMismatch(
            f"'{store.path}' was not made as recipe '{recipe.label}' asks",
            found=lines,
            advice="Change the recipe with --set, or make another store."
            if is_given
            else "Move it away to have it made anew, or name stores with --features.",
        )
    return Feature(store, block, layer)


def _of_the_network(store: Store, block: Block) -> list[tuple[str, object, object]]:
    """What the store of a block says of its network, as far as the block asks for it."""
    network = store.identity.network
    found: list[tuple[str, object, object]] = [("extract.network", block.network, network.name)]
    weights = block.weights
    if weights is not None and Path(weights).is_file():
        digest = f"sha256 {sha256_of(Path(weights))}"
        found.append(("extract.weights", digest, f"sha256 {network.weights_sha256}"))
    else:
        if weights is None:
            from deepfeat.networks.weights.named import default_weights

            weights = default_weights(block.network)
        stated = Feature(store, block, "").weights
        found.append(("extract.weights", Path(weights).name, stated))
    if block.preprocessing is not None:
        from deepfeat.networks.preprocessing import load_preprocessing

        numbers = load_preprocessing(block.preprocessing)[0].as_json()
        found.append(("extract.preprocessing", numbers, network.preprocessing))
    if block.pool_rounding is not None:
        found.append(("extract.pool_rounding", block.pool_rounding, network.pooling))
    return found


def rows_of(feature: Feature, dataset: DataSet) -> NDArray[np.int64]:
    """Row of the store for each entry of the data set, (N,) int64; -1 where it has none.

    Raises
    ------
    StoreMismatch
        Where images are there that the store does not know: it was made before they were.
    """
    index = {key: row for row, key in enumerate(feature.store.items["key"].tolist())}
    rows = np.array([index.get(store_key(entry), -1) for entry in dataset.entries], np.int64)
    later = [
        os.fsdecode(dataset.entries[i].key)
        for i in np.flatnonzero(rows < 0)
        if os.path.lexists(dataset.entries[i].place)
    ]
    if later:
        raise StoreMismatch(
            f"'{feature.store.path}' knows nothing of {len(later)} images that are there",
            found=some(later),
            advice="It was made when they were not there: move it away, and it is made anew.",
        )
    return rows


def check_contents(
    feature: Feature, dataset: DataSet, rows: NDArray[np.int64], wanted: NDArray[np.int64]
) -> None:
    """Compare the images that are there with those that were described.

    Size and time of the file first; where they differ, the sha256 of its bytes decides. A hole that
    was mended differs too.

    Raises
    ------
    StoreMismatch
        Naming the images that are others now.
    """
    items = feature.store.items
    others = []
    for entry in wanted[rows[wanted] >= 0].tolist():
        row, place = int(rows[entry]), dataset.entries[entry].place
        try:
            found = place.stat()
        except OSError:  # not there any more: its descriptor still is
            continue
        is_same_size = found.st_size == int(items["size"][row])
        listed = items["mtime_ns"][row] if "mtime_ns" in items else None
        if is_same_size and listed is not None and found.st_mtime_ns == int(listed):
            continue
        if not is_same_size or sha256_of(place) != items["sha256"][row].tobytes().hex():
            others.append(os.fsdecode(dataset.entries[entry].key))
    if others:
        raise StoreMismatch(
            f"'{feature.store.path}' was made from other images: {len(others)} have changed",
            found=some(others),
            advice="Move the store away and it is made anew; or run in another folder, or name "
            "another -o, where the recipe's stores are to lie.",
        )


def _facts(store: Store) -> Mapping[str, object]:
    facts = store.provenance.get("facts", {})
    return facts if isinstance(facts, Mapping) else {}
