"""The choice of C: means of what there is, ties by a stated rule, the ends of the grid."""

from __future__ import annotations

import numpy as np
import pytest

from deepfeat.classify.choose import Fold, choose, fit, fixed, has_both, mean_scores
from deepfeat.classify.liblinear import Liblinear
from deepfeat.classify.problems import Settings, Solution
from deepfeat.errors import DataError

NAN = float("nan")


class Told:
    """A solver whose decision value at (C, fold, class) is what a table says, for every row."""

    def __init__(self, table, missed=()):
        self.table = np.asarray(table, float)  # (n_Cs, n_folds, L)
        self.missed = missed
        self.asked = []

    def path(self, y, weights, Cs, *, with_coef=False, report=None):
        self.asked.append((y, weights, list(Cs)))
        for number, _ in enumerate(Cs):
            values = self.table[number].ravel()[: y.shape[1]]
            met = np.array([(number, p) not in self.missed for p in range(y.shape[1])])
            nothing = np.full(y.shape[1], NAN)
            yield Solution(np.tile(values, (len(y), 1)), None, nothing, nothing, nothing, met)


Y = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]], np.int8)
ALL = np.ones((4, 2))
ONE = [Fold(np.ones((4, 2), bool), np.ones((4, 2), bool))]
TWO = ONE * 2


def as_score(decision, mask):
    """The decision value itself: so the table is the curve."""
    return decision[0].astype(float)


def chosen(table, Cs, folds=ONE, **options):
    return choose(Told(table), Y, ALL, folds, Cs, as_score, **options)


def test_one_c_for_all_is_the_best_of_the_mean_over_classes_of_the_mean_over_folds():
    table = [[[0.0, 0.9], [0.2, 0.9]], [[0.8, 0.5], [0.8, 0.5]], [[1.0, 0.1], [0.9, 0.1]]]
    choice = chosen(table, (1, 2, 3), TWO)
    assert choice.C.tolist() == [2, 2]
    assert mean_scores(choice.curve) == pytest.approx([0.5, 0.65, 0.525])
    assert choice.curve == pytest.approx(np.array(table))


def test_a_c_for_each_class_is_its_own_best():
    choice = chosen([[[0.1, 0.9]], [[0.8, 0.5]]], (1, 2), per="class")
    assert choice.C.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("tie", "Cs", "expected"),
    [
        ("smallest", (4, 1, 2), 1),
        ("first", (4, 1, 2), 4),
        ("smallest", (1, 2, 4), 1),
        ("first", (1, 2, 4), 1),
    ],
)
@pytest.mark.parametrize("per", ["all", "class"])
def test_equal_scores_are_decided_by_the_stated_rule(tie, Cs, expected, per):
    choice = chosen([[[0.5, 0.5]]] * 3, Cs, tie=tie, per=per)
    assert choice.C.tolist() == [expected, expected]


def test_a_better_score_wins_over_any_rule_of_ties():
    table = [[[0.5, 0.5]], [[0.6, 0.6]], [[0.5, 0.5]]]
    for tie in ("smallest", "first"):
        assert chosen(table, (4, 2, 1), tie=tie).C.tolist() == [2, 2]


def test_a_score_that_is_nan_is_left_out_of_the_mean_and_is_no_zero():
    """Of fold 1 class 0 has no score: 0.6 is its mean, not 0.3, so the first C is the better."""
    table = [[[0.6, 0.5], [NAN, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]
    choice = chosen(table, (1, 2), TWO)
    assert choice.C.tolist() == [1, 1]
    assert mean_scores(choice.curve) == pytest.approx([0.55, 0.5])


def test_a_class_without_any_score_takes_the_c_of_all_together():
    choice = chosen([[[0.1, NAN]], [[0.8, NAN]], [[0.3, NAN]]], (1, 2, 3), per="class")
    assert choice.C.tolist() == [2, 2]


def test_no_score_at_all_is_refused():
    with pytest.raises(DataError, match="C cannot be chosen") as caught:
        chosen([[[NAN, NAN]]], (1,))
    assert "fixed" in caught.value.advice


def test_the_ends_of_the_grid_are_marked_by_size_not_by_place():
    table = [[[0.9, 0.1]], [[0.1, 0.9]], [[0.1, 0.1]]]
    choice = chosen(table, (2, 4, 1), per="class")
    assert choice.C.tolist() == [2, 4]
    assert choice.at_edge.tolist() == [False, True]


def test_a_grid_of_one_has_no_edge():
    assert not chosen([[[0.5, 0.5]]], (1,)).at_edge.any()
    assert not fixed(3.0, 2).at_edge.any()
    assert fixed(3.0, 2).C.tolist() == [3.0, 3.0]


def test_folds_with_one_label_pose_no_problem_and_have_no_score():
    """Rows 0 and 2 alone have class 0 positive only."""
    part = np.array([[True, True], [False, True], [True, True], [False, True]])
    solver = Told([[[0.4, 0.7]]])
    choice = choose(solver, Y, ALL, [Fold(part, ~part)], (1,), as_score)
    ((y, weights, _),) = solver.asked
    assert y.shape == (4, 1)
    assert weights[:, 0].tolist() == [1, 1, 1, 1]  # class 1
    assert choice.problems == 1
    assert np.isnan(choice.curve[0, 0, 0])
    assert choice.curve[0, 0, 1] == pytest.approx(0.4, abs=1e-6)  # the solver's first column


def test_rows_to_score_weigh_nothing_in_the_fit():
    held = np.array([[False, False], [False, True], [True, False], [False, False]])
    solver = Told([[[0.1, 0.1]]])
    choose(solver, Y, 3 * ALL, [Fold(~held, held)], (1,), as_score)
    assert (solver.asked[0][1] == np.where(held, 0, 3)).all()


def test_scores_are_asked_for_the_rows_held_out():
    seen = []
    held = np.array([[True, False]] * 4)
    choose(
        Told([[[0.1, 0.1]]]), Y, ALL, [Fold(np.ones((4, 2), bool), held)], (1,),
        lambda decision, mask: (seen.append(mask), decision[0].astype(float))[1],
    )  # fmt: skip
    assert (seen[0] == held).all()


def test_problems_that_missed_their_tolerance_are_named_by_c_fold_and_class():
    table = np.full((2, 2, 2), 0.5)
    choice = choose(Told(table, missed={(1, 2)}), Y, ALL, TWO, (0.1, 10), as_score)
    assert choice.missed == ((10, 1, 0),)
    assert choice.problems == 8


def test_a_solver_without_a_certificate_has_no_worst_gap():
    assert np.isnan(chosen([[[0.5, 0.5]]], (1,)).worst_gap)


def test_fit_weighs_every_class_with_its_own_c():
    X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    solver = Liblinear(X, Settings())
    both = fit(solver, Y, ALL, np.array([0.5, 2.0]))
    for one, C in enumerate((0.5, 2.0)):
        (alone,) = solver.path(Y[:, [one]], ALL[:, [one]], [C], with_coef=True)
        assert both.coef[one] == pytest.approx(alone.coef[0], abs=1e-6)


def test_a_class_has_both_only_among_rows_that_take_part():
    weights = np.array([[1, 1], [0, 1], [1, 1], [0, 0.0]])
    assert has_both(Y, weights).tolist() == [False, True]
