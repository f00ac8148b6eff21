"""What a reader of a figure has to know: warnings as data, each with a kind and a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deepfeat.datasets.dataset import DataSet
from deepfeat.errors import some
from deepfeat.evaluation.fitting import Fitted
from deepfeat.evaluation.matrix import Joined
from deepfeat.evaluation.recipe import Recipe


def notices_of(
    recipe: Recipe,
    dataset: DataSet,
    joined: Joined,
    fitted: Sequence[Fitted],
    same: Mapping[int, Sequence[tuple[int, int]]],
) -> Iterator[dict[str, str]]:
    """Yield ``{"kind", "message"}``, the gravest first."""
    sources = (
        ("partial", _partial(dataset, joined)),
        ("untrained", _untrained(joined)),
        ("foreign_weights", _foreign(recipe, joined)),
        ("foreign_features", _other_features(joined)),
        ("changed_recipe", _changed(recipe)),
        ("empty_class", _empty(dataset, fitted)),
        ("missed_tolerance", _missed(dataset, fitted)),
        ("c_at_edge", _at_edge(recipe, fitted)),
        ("duplicates", _duplicates(recipe, same)),
        ("environment_mixed", _environments(joined)),
        ("data", iter(dataset.remarks)),
        ("notes", iter([recipe.notes] if recipe.notes and recipe.published else [])),
    )
    for kind, messages in sources:
        yield from ({"kind": kind, "message": message} for message in messages)


def _partial(dataset: DataSet, joined: Joined) -> Iterator[str]:
    if dataset.official is not None and len(dataset.entries) < dataset.official:
        yield f"{len(dataset.entries):,} of the {dataset.official:,} images of the set are there"
    if joined.missing:
        yield f"{len(joined.missing):,} listed images are missing: {some(joined.missing)}"
    if joined.holes:
        named = [f"{key} ({status})" for key, status in joined.holes]
        yield f"{len(joined.holes):,} images could not be used: {some(named)}"


def _untrained(joined: Joined) -> Iterator[str]:
    for feature in joined.features:
        if feature.untrained:
            name = feature.store.identity.network.name
            yield f"the weights of {name} are random numbers, for trying only"


def _foreign(recipe: Recipe, joined: Joined) -> Iterator[str]:
    """A published figure belongs to its own networks and weights."""
    if recipe.published is None or recipe.published.weights is None:
        return
    for feature in joined.features:
        if feature.weights != recipe.published.weights:
            yield (
                f"the published figure was made with weights '{recipe.published.weights}'; here "
                f"are '{feature.weights}' of {feature.store.identity.network.name}"
            )


def _other_features(joined: Joined) -> Iterator[str]:
    """Stores that a user named may be of another network or layer than the recipe's."""
    for feature in joined.features:
        name, block = feature.store.identity.network.name, feature.block
        if name != block.network or block.layer not in (None, feature.layer):
            yield (
                f"'{feature.store.path.name}' holds {feature.layer} of {name}, where the recipe "
                f"has {block.layer or 'the default layer'} of {block.network}"
            )


def _changed(recipe: Recipe) -> Iterator[str]:
    if recipe.published is not None and recipe.changes:
        yield f"the published figure is of the recipe without: {some(recipe.changes)}"


def _empty(dataset: DataSet, fitted: Sequence[Fitted]) -> Iterator[str]:
    untrained: set[str] = set()
    untested: set[str] = set()
    for one in fitted:
        no_classifier = np.isnan(one.outcome.scores).any(axis=0)
        untrained |= {dataset.classes[i] for i in np.flatnonzero(no_classifier)}
        no_positive = ~(one.outcome.labels > 0).any(axis=0)
        untested |= {dataset.classes[i] for i in np.flatnonzero(no_positive)}
    if untrained:
        yield (
            f"without a positive, or without a negative, training image, so without a classifier: "
            f"{some(sorted(untrained), 30)}"
        )
    if untested:
        yield f"without a positive test image: {some(sorted(untested), 30)}"


def _missed(dataset: DataSet, fitted: Sequence[Fitted]) -> Iterator[str]:
    for one in fitted:
        named = [f"{dataset.classes[number]} at C = {C:g}" for C, _, number in one.choice.missed]
        named += [f"{dataset.classes[number]}, final fit" for number in one.missed]
        if named:
            yield f"split {one.part.number}: {len(named)} problems did not converge: {some(named)}"


def _at_edge(recipe: Recipe, fitted: Sequence[Fitted]) -> Iterator[str]:
    ends = min(recipe["svm.C"]), max(recipe["svm.C"])
    for one in fitted:
        chosen = sorted(set(one.choice.C[one.choice.at_edge].tolist()))
        if chosen:
            words = " and ".join(f"{C:g}" for C in chosen)
            yield (
                f"split {one.part.number}: the chosen C = {words} is an end of the grid "
                f"{ends[0]:g} ... {ends[1]:g}: a better one may lie beyond"
            )


def _duplicates(recipe: Recipe, same: Mapping[int, Sequence[tuple[int, int]]]) -> Iterator[str]:
    dropped = recipe["data.duplicates"] == "drop-train"
    for number, pairs in same.items():
        if pairs:
            what = "left out of training" if dropped else "left where they are"
            tests = len({test for test, _ in pairs})
            yield f"split {number}: {tests} test images are also training images: {what}"


def _environments(joined: Joined) -> Iterator[str]:
    for feature in joined.features:
        environments = feature.store.provenance.get("environments", [])
        if len(environments) > 1:
            yield f"'{feature.store.path.name}' was made in {len(environments)} environments"
