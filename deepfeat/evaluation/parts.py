"""Which entries train, validate and test: the splits of a recipe, and the folds that choose C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfeat.classify.choose import Fold
from deepfeat.classify.folds import stratified_folds
from deepfeat.datasets.dataset import DataSet
from deepfeat.datasets.splits import holdout, random_splits
from deepfeat.errors import DataError, some
from deepfeat.evaluation.recipe import Recipe

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One split, as entries of the data set.

    Parameters
    ----------
    number : int
    train : (n,) int64
        In the order of the entries.
    validation : (v,) int64
        Those of ``train`` that choose C; empty where folds do, or nothing.
    test : (m,) int64
        In the order of the entries, which decides ties.
    """

    number: int
    train: Rows
    validation: Rows
    test: Rows


def parts_of(recipe: Recipe, dataset: DataSet) -> list[Part]:
    """The splits: drawn by seed, or the data set's own.

    Raises
    ------
    DataError
        A class with fewer images than the split asks for, an unknown part, a part without images,
        or an image in both train and test.
    """
    on = recipe["svm.select.on"]
    if "split.train" in recipe.values:
        drawn = random_splits(
            dataset,
            count=recipe["split.count"],
            seed=recipe["split.seed"],
            train=recipe["split.train"],
            test=recipe["split.test"],
            fraction=recipe["svm.select.fraction"] if on == "holdout" else 0.0,
        )
        parts = [
            Part(one.number, np.sort(one.train), np.sort(one.validation), np.sort(one.test))
            for one in drawn
        ]
    else:
        train, test = (_named(recipe, dataset, f"data.{name}") for name in ("train", "test"))
        validation = np.empty(0, np.int64)
        if on == "val":
            validation = np.intersect1d(train, _named(recipe, dataset, "val"))
        elif on == "holdout":
            fraction = recipe["svm.select.fraction"]
            validation = np.sort(holdout(train, dataset.labels, fraction=fraction)[1])
        parts = [Part(0, train, validation, test)]
    for part in parts:
        _check(dataset, part)
    return parts


def folds_of(
    recipe: Recipe,
    part: Part,
    train: Rows,
    y: NDArray[np.int8],
    weights: NDArray[np.float64],
) -> list[Fold]:
    """The folds over the training rows that have descriptors: (n, L) masks each.

    Raises
    ------
    DataError
        Where no row is left to choose C on, or to fit on.
    """
    if recipe["svm.select.on"] == "kfold":
        jointly = recipe["score.measure"] != "map"
        return stratified_folds(y, weights, recipe["svm.select.folds"], jointly=jointly)
    is_held = np.isin(train, part.validation)
    if not is_held.any() or is_held.all():
        raise DataError(
            f"split {part.number}: of {len(train)} training images with descriptors "
            f"{int(is_held.sum())} are held out to choose C",
            expected="some to fit on and some held out",
            advice='Choose C by folds (svm.select = {on = "kfold"}), or give one.',
        )
    held = np.repeat(is_held[:, None], y.shape[1], axis=1)  # (n,) -> (n, L)
    return [Fold(~held, held)]


def _named(recipe: Recipe, dataset: DataSet, name: str) -> Rows:
    """Entries of a part of the data set; ``name`` is a recipe key, or the part itself."""
    split = recipe[name] if name in recipe.values else name
    if split not in dataset.splits:
        raise DataError(
            f"data set '{dataset.name}' has no part '{split}'",
            expected=some(sorted(dataset.splits)) if dataset.splits else "a column 'split'",
            advice="Recipe keys data.train and data.test name the parts.",
        )
    return np.sort(dataset.splits[split])


def _check(dataset: DataSet, part: Part) -> None:
    for name, rows in (("training", part.train), ("test", part.test)):
        if not len(rows):
            raise DataError(
                f"data set '{dataset.name}', split {part.number}: there are no {name} images"
            )
    both = np.intersect1d(part.train, part.test)
    if len(both):
        keys = [dataset.entries[row].key.decode(errors="backslashreplace") for row in both]
        raise DataError(
            f"data set '{dataset.name}': {len(both)} images are in training and in test",
            found=some(keys),
            advice="A figure on images that were trained on says nothing: mend the parts.",
        )
