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
        none to choose C on, no class to train, an image in both train and test, or one of several
        classes where recall is measured.
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
        if on in ("val", "holdout"):
            _check_held(part.number, len(part.train), len(part.validation))
        if recipe["score.measure"] != "map":
            _check_single(dataset, np.r_[part.train, part.test])
        elif _compares_classes(recipe):
            _check_single(dataset, part.train)
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
        folds = recipe["svm.select.folds"]
        return stratified_folds(y, weights, folds, jointly=_compares_classes(recipe))
    is_held = np.isin(train, part.validation)
    _check_held(part.number, len(train), int(is_held.sum()))
    held = np.repeat(is_held[:, None], y.shape[1], axis=1)  # (n,) -> (n, L)
    return [Fold(~held, held)]


def _compares_classes(recipe: Recipe) -> bool:
    """Whether an image is given to one class, so that every class has to hold out the same rows."""
    by = recipe.get("svm.select.by", "ap")
    return recipe["score.measure"] != "map" or by in ("recall", "accuracy")


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
    labels = dataset.labels[part.train]
    if not ((labels > 0).any(axis=0) & (labels < 1).any(axis=0)).any():  # 0 may count as negative
        raise DataError(
            f"split {part.number}: no class can be trained",
            expected="a class with positive and negative training images",
            found=f"{len(part.train)} training images, classes {some(dataset.classes)}",
        )
    both = np.intersect1d(part.train, part.test)
    if len(both):
        keys = [dataset.entries[row].key.decode(errors="backslashreplace") for row in both]
        raise DataError(
            f"data set '{dataset.name}': {len(both)} images are in training and in test",
            found=some(keys),
            advice="A figure on images that were trained on says nothing: mend the parts.",
        )


def _check_held(number: int, train: int, held: int) -> None:
    """Before the work begins, and again when it is known which images have descriptors."""
    if not 0 < held < train:
        raise DataError(
            f"split {number}: of {train} training images {held} are held out to choose C",
            expected="some to fit on and some held out",
            advice="Choose C by folds: --set 'svm.select={on=\"kfold\"}'; or give one: "
            "--set svm.C=[1] --set svm.select.on=fixed.",
        )


def _check_single(dataset: DataSet, rows: Rows) -> None:
    """Refuse recall and accuracy where an image has several classes, or none that is known."""
    labels = dataset.labels[rows]
    wrong = rows[((labels == 1).sum(axis=1) != 1) | (labels == 0).any(axis=1)]
    if len(wrong):
        keys = [dataset.entries[row].key.decode(errors="backslashreplace") for row in wrong]
        raise DataError(
            f"data set '{dataset.name}': {len(wrong)} images have not exactly one class",
            expected="one class an image, for recall and accuracy",
            found=some(keys),
            advice='Measure by score.measure = "map" and choose C by svm.select.by = "ap".',
        )
