"""The bootstrap: counts against lists, intervals by hand and against known distributions."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfeat.errors import DataError, UsageError
from deepfeat.metrics.ap import AP, ap_of, mean_ap, rankings_for
from deepfeat.metrics.bootstrap import (
    ap_replicates,
    interval,
    mean_ap_interval,
    percentiles,
    resamples,
)
from deepfeat.metrics.ranking import DIFFICULT, TIES
from deepfeat.metrics.recall import class_recall

counted_images = st.lists(
    st.tuples(
        st.sampled_from([-1, -1, 0, 1]),
        st.sampled_from([-1, 0, 1]),
        st.integers(-4, 4),
        st.integers(-100, 100),
        st.sampled_from([0, 0, 1, 1, 2, 3, 7]),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("difficult", DIFFICULT)
@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("name", AP)
@settings(deadline=None)
@given(counted_images)
def test_image_counted_twice_is_the_image_listed_twice(
    name: str, ties: str, difficult: str, images: list[tuple[int, ...]]
) -> None:
    """To the last bit: no tolerance."""
    table = np.array(images)
    labels, scores, counts = table[:, :2], table[:, 2:4], table[:, 4]
    rankings = rankings_for(labels, scores, name, difficult, ties)
    found = ap_of(rankings, name, counts)
    rows = np.repeat(np.arange(len(table)), counts)
    listed = mean_ap(labels[rows], scores[rows], name, difficult, ties=ties).values
    np.testing.assert_array_equal(found, listed)


def test_image_never_counted_is_not_there() -> None:
    labels, scores = np.array([[-1], [1], [-1], [1]]), np.array([[4], [3], [2], [1]])
    rankings = rankings_for(labels, scores, "voc10", "ignore", "list")
    assert ap_of(rankings, "voc10").tolist() == [0.5]
    assert ap_of(rankings, "voc10", np.array([0, 1, 1, 1])).tolist() == [(1 + 2 / 3) / 2]
    assert ap_of(rankings, "voc10", np.array([0, 2, 2, 1])).tolist() == [(2 + 3 / 5) / 3]
    assert np.isnan(ap_of(rankings, "voc10", np.array([1, 0, 1, 0]))).all()


def random_set(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.where(random.random((n, classes)) < 0.1, 1, -1).astype(np.int8)
    labels[random.random(labels.shape) < 0.02] = 0
    return labels, (random.normal(size=labels.shape) + 1.5 * labels).round(1)


@pytest.mark.parametrize("name", AP)
def test_map_interval_is_the_interval_of_the_map(name: str) -> None:
    labels, scores = random_set(60, 4)
    known = mean_ap_interval(labels, scores, name, replicates=50, seed=3, level=0.9)

    def figure(rows: np.ndarray) -> float:
        return mean_ap(labels[rows], scores[rows], name).mean

    assert known == interval(figure, 60, replicates=50, seed=3, level=0.9)
    assert known[0] < figure(np.arange(60)) < known[1]


def test_replicates_are_those_of_the_stated_generator() -> None:
    generator = np.random.Generator(np.random.PCG64(5))
    drawn = [generator.integers(0, 7, 7).tolist() for _ in range(3)]
    found = [counts.tolist() for counts in resamples(7, 3, 5)]
    assert found == [[rows.count(image) for image in range(7)] for rows in drawn]


def test_one_seed_gives_one_interval_and_paired_replicates() -> None:
    labels, scores = random_set(80, 3)
    first = ap_replicates(labels, scores, replicates=20, seed=1)
    np.testing.assert_array_equal(first, ap_replicates(labels, scores, replicates=20, seed=1))
    assert first.shape == (20, 3)
    assert (first != ap_replicates(labels, scores, replicates=20, seed=2)).any()
    shifted = ap_replicates(labels, 2 * scores + 1, replicates=20, seed=1)
    assert (first - shifted == 0).all()


def test_rows_come_in_list_order_as_many_as_images() -> None:
    seen: list[list[int]] = []
    interval(lambda rows: float(len(seen.append(rows.tolist()) or [])), 9, replicates=5)
    assert all(rows == sorted(rows) and len(rows) == 9 for rows in seen)
    assert len({tuple(rows) for rows in seen}) > 1


def test_two_images_by_hand() -> None:
    """The mean of 0 and 1 is 0, 1/2 or 1 in one, two and one of four replicates."""

    def mean(rows: np.ndarray) -> float:
        return float(rows.mean())

    assert interval(mean, 2, level=0.95) == (0, 1)
    assert interval(mean, 2, level=0.4) == (0.5, 0.5)
    assert interval(mean, 1) == (0, 0)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_of_a_mean_is_the_normal_one(level: float) -> None:
    values = np.random.default_rng(0).normal(5, 2, 2000)
    low, high = interval(
        lambda rows: float(values[rows].mean()), 2000, level=level, replicates=4000
    )
    half = NormalDist().inv_cdf((1 + level) / 2) * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.07 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.07 * half)


def test_interval_of_a_recall_is_the_binomial_one() -> None:
    truth, predicted = np.zeros(900, int), np.array([0] * 720 + [1] * 180)
    low, high = interval(lambda rows: class_recall(truth[rows], predicted[rows], 2).mean, 900)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 900)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.1 * half)


def test_percentiles_by_hand() -> None:
    assert percentiles(range(101), 0.9) == pytest.approx((5, 95))
    assert percentiles([3, math.nan, 1, math.nan, 2], 0.5) == pytest.approx((1.5, 2.5))
    assert all(math.isnan(end) for end in percentiles([math.nan], 0.95))


def test_class_that_loses_its_positives_does_not_vote_in_that_replicate() -> None:
    labels = np.array([[1, 1], [-1, -1], [-1, 1]], np.int8)
    scores = np.array([[2, 2], [1, 3], [0, 1]])
    drawn = ap_replicates(labels, scores, "voc10", replicates=200)
    lost = np.isnan(drawn[:, 0])
    assert 0.2 < lost.mean() < 0.4  # (2/3)^3 = 0.30
    low, high = mean_ap_interval(labels, scores, "voc10", replicates=200)
    assert 0 < low < high <= 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"n": 0}, DataError),
        ({"replicates": 0}, UsageError),
        ({"level": 1}, UsageError),
        ({"level": 0}, UsageError),
        ({"level": math.nan}, UsageError),
    ],
)
def test_what_has_no_interval_is_refused(arguments: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        interval(lambda rows: 0.0, **{"n": 3, "replicates": 2, **arguments})
