"""Folds: scikit-learn's own unshuffled division, class by class or once for all."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from deepfeat.classify.folds import stratified_folds
from deepfeat.errors import DataError


def sklearn_folds(stratum, folds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(StratifiedKFold(folds).split(np.zeros(len(stratum)), stratum))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_class_divides_its_own_rows_as_scikit_learn_does(folds):
    y = np.where(np.random.default_rng(folds).random((40, 4)) < 0.3, 1, -1).astype(np.int8)
    found = stratified_folds(y, np.ones(y.shape), folds, jointly=False)
    for column in range(4):
        for fold, (inside, outside) in zip(found, sklearn_folds(y[:, column], folds), strict=True):
            assert np.flatnonzero(fold.fit[:, column]).tolist() == inside.tolist()
            assert np.flatnonzero(fold.score[:, column]).tolist() == outside.tolist()


def test_the_published_division_of_fifteen_rows():
    """protocols.md 4.1: four positives first."""
    y = np.array([[1]] * 4 + [[-1]] * 11, np.int8)
    found = stratified_folds(y, np.ones(y.shape), 3, jointly=False)
    assert [np.flatnonzero(fold.score).tolist() for fold in found] == [
        [0, 1, 4, 5, 6], [2, 7, 8, 9, 10], [3, 11, 12, 13, 14],
    ]  # fmt: skip


def test_rows_without_weight_are_in_no_fold_and_the_others_divide_as_if_alone():
    y = np.where(np.random.default_rng(1).random((30, 2)) < 0.4, 1, -1).astype(np.int8)
    weights = np.ones(y.shape)
    weights[::4, 0] = 0
    found = stratified_folds(y, weights, 3, jointly=False)
    kept = np.flatnonzero(weights[:, 0])
    for fold, (inside, outside) in zip(found, sklearn_folds(y[kept, 0], 3), strict=True):
        assert np.flatnonzero(fold.fit[:, 0]).tolist() == kept[inside].tolist()
        assert np.flatnonzero(fold.score[:, 0]).tolist() == kept[outside].tolist()
    for fold, (_, outside) in zip(found, sklearn_folds(y[:, 1], 3), strict=True):
        assert np.flatnonzero(fold.score[:, 1]).tolist() == outside.tolist()


def test_a_single_label_set_is_divided_once_for_all_classes():
    owners = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 1, 2, 0])
    y = np.where(owners[:, None] == np.arange(3), 1, -1).astype(np.int8)
    found = stratified_folds(y, np.ones(y.shape), 3, jointly=True)
    for fold, (_, outside) in zip(found, sklearn_folds(owners, 3), strict=True):
        for column in range(3):
            assert np.flatnonzero(fold.score[:, column]).tolist() == outside.tolist()


@pytest.mark.parametrize("jointly", [True, False])
def test_every_row_is_scored_once_and_never_by_a_machine_that_saw_it(jointly):
    y = np.where(np.arange(12)[:, None] % 3 == np.arange(3), 1, -1).astype(np.int8)
    found = stratified_folds(y, np.ones(y.shape), 4, jointly=jointly)
    assert (sum(fold.score.astype(int) for fold in found) == 1).all()
    assert not any((fold.fit & fold.score).any() for fold in found)


def test_fewer_rows_than_folds_are_refused():
    y = np.array([[1], [-1], [-1]], np.int8)
    with pytest.raises(DataError, match="3 training images cannot be divided into 5 folds"):
        stratified_folds(y, np.ones(y.shape), 5, jointly=False)


def test_fewer_positives_than_folds_leave_folds_without_any():
    y = np.array([[1]] + [[-1]] * 8, np.int8)
    found = stratified_folds(y, np.ones(y.shape), 3, jointly=False)
    assert [(y[fold.score] > 0).sum() for fold in found] == [1, 0, 0]


def test_a_class_of_which_nothing_is_claimed_is_in_no_fold():
    y = np.array([[1, 1], [-1, 1], [1, 1], [-1, 1]], np.int8)
    weights = np.array([[1.0, 0.0]] * 4)
    found = stratified_folds(y, weights, 2, jointly=False)
    assert not any(fold.fit[:, 1].any() or fold.score[:, 1].any() for fold in found)
    assert [fold.score[:, 0].sum() for fold in found] == [2, 2]
