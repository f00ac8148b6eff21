"""Mean class recall and accuracy against counts in plain Python."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from deepfeat.errors import DataError
from deepfeat.metrics.recall import NO_PREDICTION, accuracy, class_recall, predictions


def counted(truth: list[int], predicted: list[int], classes: int) -> list[float]:
    recalls = []
    for wanted in range(classes):
        answers = [p for t, p in zip(truth, predicted, strict=True) if t == wanted]
        recalls.append(answers.count(wanted) / len(answers) if answers else math.nan)
    return recalls


def test_by_hand() -> None:
    truth, predicted = [0, 0, 0, 0, 1, 1, 3], [0, 0, 0, 1, 1, 2, 0]
    found = class_recall(truth, predicted, 4)
    assert found.values.tolist() == pytest.approx([0.75, 0.5, math.nan, 0], nan_ok=True)
    assert found.mean == pytest.approx(1.25 / 3)
    assert accuracy(truth, predicted) == pytest.approx(4 / 7)


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_a_plain_count(seed: int) -> None:
    chance = random.Random(seed)
    classes, n = chance.randint(1, 12), chance.randint(1, 80)
    truth = [chance.randrange(classes) for _ in range(n)]
    predicted = [
        t if chance.random() < 0.6 else chance.randrange(NO_PREDICTION, classes) for t in truth
    ]
    found = class_recall(truth, predicted, classes)
    expected = counted(truth, predicted, classes)
    there = [value for value in expected if not math.isnan(value)]
    assert found.values.tolist() == pytest.approx(expected, nan_ok=True)
    assert found.mean == pytest.approx(sum(there) / len(there))
    right = sum(t == p for t, p in zip(truth, predicted, strict=True))
    assert accuracy(truth, predicted) == pytest.approx(right / n)


def test_every_class_counts_alike_and_every_image_in_accuracy() -> None:
    truth = [0] * 98 + [1, 1]
    predicted = [0] * 100
    assert class_recall(truth, predicted, 2).mean == 0.5
    assert accuracy(truth, predicted) == 0.98


def test_no_prediction_is_wrong() -> None:
    assert class_recall([0, 0], [0, NO_PREDICTION], 1).mean == 0.5
    assert accuracy([0, 0], [0, NO_PREDICTION]) == 0.5


def test_nothing_has_no_figure() -> None:
    found = class_recall([], [], 3)
    assert np.isnan(found.values).tolist() == [True] * 3
    assert math.isnan(found.mean)
    assert math.isnan(accuracy([], []))


def test_equal_scores_go_to_the_lowest_class() -> None:
    scores = [[0, 2, 2], [1, 1, 1], [-3, -1, -2], [0.0, -0.0, -1]]
    found = predictions(scores)
    assert found.tolist() == [1, 0, 1, 0]
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    "scores", [[[0, math.nan]], [[0, math.inf]], [[-math.inf, -math.inf]], [1, 2], [[], []]]
)
def test_scores_that_choose_no_class_are_refused(scores: list) -> None:
    with pytest.raises(DataError):
        predictions(scores)


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [([0, 2], [0, 0]), ([0, 0], [0, 2]), ([-1], [0]), ([0], [-2]), ([0, 0], [0]), ([0.0], [0])],
)
def test_what_is_no_class_is_refused(truth: list, predicted: list) -> None:
    with pytest.raises(DataError):
        class_recall(truth, predicted, 2)


def test_accuracy_refuses_lists_of_different_length() -> None:
    with pytest.raises(DataError):
        accuracy([0, 1], [0])
