"""From labels to binary problems: what difficult means, and the weights."""

from __future__ import annotations

import numpy as np
import pytest

from deepfeat.evaluation.labels import problems_of

LABELS = np.array([[1, -1], [0, 1], [-1, -1], [-1, 0]], np.int8)
ONES = {"pos": 1.0, "neg": 1.0}


def test_difficult_rows_weigh_nothing_for_that_class_alone():
    y, weights = problems_of(LABELS, "ignore", ONES)
    assert weights.tolist() == [[1, 1], [0, 1], [1, 1], [1, 0]]
    assert y[weights > 0].tolist() == [1, -1, 1, -1, -1, -1]


@pytest.mark.parametrize(("difficult", "label"), [("negative", -1), ("positive", 1)])
def test_difficult_rows_may_be_read_as_a_label(difficult, label):
    y, weights = problems_of(LABELS, difficult, ONES)
    assert y.tolist() == [[1, -1], [label, 1], [-1, -1], [-1, label]]
    assert (weights == 1).all()


def test_weights_of_the_classes_go_to_their_rows():
    _, weights = problems_of(LABELS, "negative", {"pos": 2.0, "neg": 0.5})
    assert weights.tolist() == [[2, 0.5], [0.5, 2], [0.5, 0.5], [0.5, 0.5]]


def test_balanced_is_half_of_all_over_the_number_of_each_side():
    """Class 0: one positive, two negatives take part: 3/(2*1) and 3/(2*2)."""
    _, weights = problems_of(LABELS, "ignore", "balanced")
    assert weights[:, 0].tolist() == [1.5, 0, 0.75, 0.75]
    assert weights[:, 1].tolist() == [0.75, 1.5, 0.75, 0]


def test_a_class_without_positives_has_no_infinite_weight():
    _, weights = problems_of(np.full((3, 1), -1, np.int8), "ignore", "balanced")
    assert np.isfinite(weights).all()
