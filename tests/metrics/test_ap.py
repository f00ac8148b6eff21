"""The three APs: the worked example, independent implementations, and the laws of a ranking."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import average_precision as oracle
from sklearn.metrics import average_precision_score

from deepfeat.errors import DataError, UsageError
from deepfeat.metrics.ap import AP, mean_ap, step, voc10, voc11

Function = Callable[..., float]
FUNCTIONS: dict[str, Function] = {"voc11": voc11, "voc10": voc10, "step": step}
ALL = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
NAMES = pytest.mark.parametrize("name", AP)

# protocols 2.3: (label, score) in file order
EXAMPLE = [
    (1, 0.9),
    (-1, 0.8),
    (0, 0.85),
    (1, 0.7),
    (-1, 0.7),
    (1, 0.6),
    (-1, 0.5),
    (-1, 0.4),
    (1, 0.4),
    (0, 0.1),
]
LABELS = np.array([label for label, _ in EXAMPLE], np.int8)
SCORES = np.array([score for _, score in EXAMPLE])


def random_ranking(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """1 to 60 images; ties often, difficult ones often, sometimes no positive, sometimes -inf."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 61))
    shares = random.dirichlet([1, 1, 0.5])
    labels = random.choice(np.array([-1, 1, 0], np.int8), n, p=shares)
    scores = random.normal(size=n).round(int(random.integers(0, 4))) + 0.5 * labels
    scores[random.random(n) < 0.1 * random.integers(0, 2)] = -np.inf
    return labels, scores


RANKINGS = [random_ranking(seed) for seed in range(1000)]
WITH_POSITIVES = [(labels, scores) for labels, scores in RANKINGS if (labels == 1).any()]


@pytest.mark.parametrize(
    ("name", "ignored", "negative"),
    [
        ("voc11", 0.7, 0.6212121),
        ("voc10", 0.6916667, 0.6111111),
        ("step", 0.65, 0.5861111),
    ],
)
def test_worked_example(name: str, ignored: float, negative: float) -> None:
    assert FUNCTIONS[name](LABELS, SCORES) == pytest.approx(ignored, abs=5e-8)
    columns = LABELS[:, None], SCORES[:, None]
    assert mean_ap(*columns, name).mean == pytest.approx(ignored, abs=5e-8)
    assert mean_ap(*columns, name, "negative").mean == pytest.approx(negative, abs=5e-8)


def test_random_rankings_hold_what_they_should() -> None:
    assert len(WITH_POSITIVES) < 1000
    assert sum((labels == 0).any() for labels, _ in RANKINGS) > 500
    assert sum(len(set(scores)) < len(scores) for _, scores in RANKINGS) > 500
    assert sum(np.isinf(scores).any() for _, scores in RANKINGS) > 100


@pytest.mark.parametrize(
    ("function", "definition"),
    [(voc11, oracle.eleven_points), (voc10, oracle.interpolated_area)],
)
def test_agrees_with_the_definition_in_fractions(function: Function, definition: Function) -> None:
    for labels, scores in WITH_POSITIVES:
        by_rank = definition(oracle.curve_by_rank(labels.tolist(), scores.tolist()))
        assert function(labels, scores) == pytest.approx(by_rank, abs=1e-14)
        by_score = definition(oracle.curve_by_score(labels.tolist(), scores.tolist()))
        assert function(labels, scores, ties="group") == pytest.approx(by_score, abs=1e-14)


def test_step_agrees_with_the_definition_in_fractions() -> None:
    for labels, scores in WITH_POSITIVES:
        expected = oracle.steps(oracle.curve_by_score(labels.tolist(), scores.tolist()))
        assert step(labels, scores) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("function", "devkit"), [(voc11, oracle.devkit_2007), (voc10, oracle.devkit_2012)]
)
def test_agrees_with_the_devkit_that_keeps_difficult_images(
    function: Function, devkit: Function
) -> None:
    for labels, scores in WITH_POSITIVES:
        assert function(labels, scores) == pytest.approx(devkit(labels, scores), abs=1e-12)


def test_step_agrees_with_scikit_learn() -> None:
    for labels, scores in WITH_POSITIVES:
        kept = (labels != 0) & np.isfinite(scores)
        if (labels[kept] == 1).any():
            expected = average_precision_score(labels[kept] == 1, scores[kept])
            assert step(labels[kept], scores[kept]) == pytest.approx(expected, abs=1e-13)


@ALL
def test_class_without_positives_has_no_ap(function: Function) -> None:
    without = [(labels, scores) for labels, scores in RANKINGS if not (labels == 1).any()]
    assert all(math.isnan(function(labels, scores)) for labels, scores in without)
    assert math.isnan(function(np.empty(0, np.int8), np.empty(0)))


@pytest.mark.parametrize("positives", [10, 20, 30, 70, 100])
@pytest.mark.parametrize("tenths", range(1, 11))
def test_recall_that_equals_a_tenth_reaches_it(positives: int, tenths: int) -> None:
    """The first tenths come without a negative; then 1,000 negatives before the other positives."""
    first = positives * tenths // 10
    labels = np.array([1] * first + [-1] * 1000 + [1] * (positives - first), np.int8)
    last = positives / len(labels) if first < positives else 1.0
    expected = (1 + tenths + (10 - tenths) * last) / 11
    assert voc11(labels, -np.arange(len(labels))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "by_list"), [([1, -1, 1, -1], (1 + 2 / 3) / 2), ([-1, 1, -1, 1], 1 / 2)]
)
def test_ties_follow_the_list_or_are_taken_at_once(labels: list[int], by_list: float) -> None:
    scores = [0.5] * 4
    assert voc10(labels, scores) == pytest.approx(by_list)
    assert voc10(labels, scores, ties="group") == 0.5
    assert voc11(labels, scores, ties="group") == pytest.approx(0.5)
    assert step(labels, scores) == 0.5


def test_minus_infinity_ranks_last_in_list_order_and_counts() -> None:
    labels = [1, -1, 1, -1]
    assert voc10(labels, [-np.inf, -np.inf, 3, -900]) == pytest.approx((1 + 2 / 3) / 2)
    assert voc10(labels, [-np.inf, -np.inf, 3, -900], ties="group") == pytest.approx(0.75)


@NAMES
@pytest.mark.parametrize(("difficult", "meaning"), [("negative", -1), ("positive", 1)])
def test_difficult_images_on_either_side(name: str, difficult: str, meaning: int) -> None:
    for labels, scores in RANKINGS[:200]:
        relabelled = np.where(labels == 0, meaning, labels)
        found = mean_ap(labels[:, None], scores[:, None], name, difficult).values[0]
        assert found == pytest.approx(FUNCTIONS[name](relabelled, scores), nan_ok=True, abs=0)
        assert not (labels == 0).all() or math.isnan(found) == (meaning == -1)


@NAMES
def test_mean_is_over_the_classes_that_have_a_value(name: str) -> None:
    labels = np.column_stack([LABELS, np.minimum(LABELS, 0), -LABELS])
    scores = np.column_stack([SCORES, SCORES, SCORES])
    found = mean_ap(labels, scores, name)
    first, last = (FUNCTIONS[name](labels[:, j], SCORES) for j in (0, 2))
    assert found.values.dtype == np.float64
    assert found.values.tolist() == pytest.approx([first, math.nan, last], nan_ok=True)
    assert found.mean == pytest.approx((first + last) / 2)
    assert math.isnan(mean_ap(labels[:, 1:2], scores[:, 1:2], name).mean)


def test_ties_reach_every_class() -> None:
    labels, scores = np.array([[1, -1], [-1, 1]]), np.zeros((2, 2))
    assert mean_ap(labels, scores, "voc10").values.tolist() == [1, 0.5]
    assert mean_ap(labels, scores, "voc10", ties="group").values.tolist() == [0.5, 0.5]
    assert mean_ap(labels, scores, "step").values.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, -1], [math.nan, 0]),
        ([1, 0], [0, math.nan]),
        ([1, -1], [math.inf, 0]),
        ([1, 2], [0, 1]),
        ([1, math.nan], [0, 1]),
        ([True, False], [0, 1]),
        ([1, -1], [0, 1, 2]),
        ([[1], [-1]], [[0], [1]]),
        (1, 1),
    ],
)
@ALL
def test_what_cannot_be_ranked_is_refused(function: Function, labels: list, scores: list) -> None:
    with pytest.raises(DataError):
        function(labels, scores)


def test_refusal_names_the_place() -> None:
    scores = np.zeros((3, 2))
    scores[2, 1] = np.nan
    with pytest.raises(DataError, match="nan in row 2, class 1"):
        mean_ap(np.ones((3, 2), np.int8), scores)


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ({"ap": "voc12"}, "voc1"),
        ({"difficult": "ignored"}, "ignore"),
        ({"ties": "groups"}, "group"),
        ({"ap": "step", "ties": "lists"}, "list"),
    ],
)
def test_unknown_names_are_refused_with_the_near_miss(arguments: dict, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{near}"):
        mean_ap(LABELS[:, None], SCORES[:, None], **arguments)


labels_and_scores = st.lists(
    st.tuples(st.sampled_from([-1, -1, 0, 1]), st.integers(-6, 6)), min_size=1, max_size=30
).map(lambda rows: (np.array([r[0] for r in rows], np.int8), np.array([r[1] for r in rows])))
without_ties = st.lists(st.sampled_from([-1, -1, 0, 1]), min_size=1, max_size=30).flatmap(
    lambda labels: st.permutations(range(len(labels))).map(
        lambda scores: (np.array(labels, np.int8), np.array(scores))
    )
)


def same(found: float, expected: float) -> bool:
    return found == expected or (math.isnan(found) and math.isnan(expected))


@ALL
@settings(deadline=None)
@given(labels_and_scores)
def test_monotone_maps_of_the_scores_change_nothing(
    function: Function, ranking: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, scores = ranking
    for mapped in (np.exp(scores), scores**3 - 1000, scores.astype(np.float32) / 7):
        assert same(function(labels, mapped), function(labels, scores))


@ALL
@settings(deadline=None)
@given(without_ties, st.randoms(use_true_random=False))
def test_order_of_images_without_ties_changes_nothing(
    function: Function, ranking: tuple[np.ndarray, np.ndarray], random: object
) -> None:
    labels, scores = ranking
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert same(function(labels[order], scores[order]), function(labels, scores))


@settings(deadline=None)
@given(labels_and_scores, st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing_when_ties_are_grouped(
    ranking: tuple[np.ndarray, np.ndarray], random: object
) -> None:
    labels, scores = ranking
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for name in AP:
        found, expected = (
            mean_ap(labels[rows, None], scores[rows, None], name, ties="group").mean
            for rows in (order, slice(None))
        )
        assert same(found, expected)


@ALL
@settings(deadline=None)
@given(without_ties)
def test_one_exactly_when_all_positives_come_first(
    function: Function, ranking: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, scores = ranking
    found = function(labels, scores)
    if (labels == 1).any():
        best_negative = scores[labels == -1].max(initial=-1)
        assert (found == 1) == bool(scores[labels == 1].min() > best_negative)
        assert 0 < found <= 1


@ALL
@settings(deadline=None)
@given(labels_and_scores, st.integers(0, 30), st.integers(-7, 7))
def test_a_difficult_image_more_changes_nothing(
    function: Function, ranking: tuple[np.ndarray, np.ndarray], place: int, score: int
) -> None:
    labels, scores = ranking
    place = min(place, len(labels))
    more = np.insert(labels, place, 0), np.insert(scores, place, score)
    assert same(function(*more), function(labels, scores))


@settings(deadline=None)
@given(labels_and_scores)
def test_interpolation_never_lowers_the_ap(ranking: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = ranking
    if (labels == 1).any():
        assert voc10(labels, scores, ties="group") >= step(labels, scores) - 1e-12
