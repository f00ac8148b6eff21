"""The estimators: scikit-learn's checks, its folds, pipelines, and the choice of C."""

from __future__ import annotations

import re

import numpy as np
import pytest
from device import DEVICE
from feature_like import feature_like
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepfeat.classify.problems import Settings
from deepfeat.classify.progress import progress
from deepfeat.classify.solver import make_solver
from deepfeat.classify.svm import LinearSVM, LinearSVMCV


@parametrize_with_checks([LinearSVM(device=DEVICE), LinearSVMCV(Cs=3, cv=3, device=DEVICE)])
def test_scikit_learn_checks(estimator: object, check: object) -> None:
    check(estimator)


# Few columns are solved on w; among more than 512 rows no problem is solved to the last digits.
WITHOUT_K, WITH_K = (420, 60), (600, 300)


def many_classes(rows: int = 420, columns: int = 60) -> tuple[np.ndarray, np.ndarray]:
    X, y = feature_like(rows, columns, 4, seed=0)
    return X, np.array(["ant", "bee", "cat", "dog"])[np.where(y > 0, 1, 0).argmax(axis=1)]


@pytest.mark.parametrize("shape", [WITHOUT_K, WITH_K])
def test_fits_are_those_of_linear_svc(shape: tuple[int, int]) -> None:
    X, y = many_classes(*shape)
    ours = LinearSVM(2.0, class_weight={"bee": 3}, tol=1e-9, device=DEVICE).fit(X, y)
    theirs = LinearSVC(C=2.0, class_weight={"bee": 3}, tol=1e-9, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4 * np.abs(theirs.coef_).max())
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    assert (ours.predict(X) == theirs.predict(X)).all()
    assert (ours.gap_ <= 1e-9).all()


@pytest.mark.parametrize("shape", [WITHOUT_K, WITH_K])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_balanced_weights_are_those_of_linear_svc(
    shape: tuple[int, int], classes: int, is_weighted: bool
) -> None:
    X, y = many_classes(*shape)
    y = y if classes == 4 else y == "bee"
    each = np.random.default_rng(0).uniform(0.1, 3, len(y)) if is_weighted else None
    ours = LinearSVM(class_weight="balanced", tol=1e-9, device=DEVICE).fit(X, y, each)
    theirs = LinearSVC(class_weight="balanced", tol=1e-9, max_iter=100_000).fit(X, y, each)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4 * np.abs(theirs.coef_).max())


@pytest.mark.parametrize("given", ["balanced", {1: 3, 0: 0.5}])
def test_weights_of_an_indicator_are_those_of_each_column_alone(given: object) -> None:
    X, y = feature_like(300, 60, 3, seed=1)
    each = np.random.default_rng(0).uniform(0.1, 3, len(y))
    ours = LinearSVM(class_weight=given, tol=1e-9, device=DEVICE).fit(X, (y > 0) * 1, each)
    for j in range(3):
        theirs = LinearSVC(class_weight=given, tol=1e-9, max_iter=100_000)
        theirs.fit(X, (y[:, j] > 0) * 1, each)
        atol = 1e-4 * np.abs(theirs.coef_).max()
        np.testing.assert_allclose(ours.coef_[j], theirs.coef_[0], atol=atol)


@pytest.mark.parametrize("shape", [WITHOUT_K, WITH_K])
def test_coefficients_reach_the_objective_in_any_unit(shape: tuple[int, int]) -> None:
    """Rounded to float32 they would miss it by a tenth."""
    X, y = many_classes(*shape)
    X, y = 1e3 * X, np.where(y == "bee", 1, -1)
    settings = Settings(gap=1e-9, device=DEVICE)
    (solution,) = make_solver(X, settings).path(y[:, None], np.ones((len(y), 1)), [1e3])
    svm = LinearSVM(1e3, tol=1e-9, device=DEVICE).fit(X, y)
    w = np.append(svm.coef_[0], svm.intercept_)
    slack = np.maximum(0, 1 - y * svm.decision_function(X))
    assert 0.5 * w @ w + 1e3 * slack @ slack == pytest.approx(solution.primal[0], rel=1e-6)


def test_folds_leave_out_rows_of_which_nothing_is_claimed() -> None:
    X, y = feature_like(300, 60, 2, seed=1)
    target = np.where(y > 0, 1.0, 0.0)
    target[40:130, 1] = np.nan
    known = ~np.isnan(target[:, 1])
    both = LinearSVMCV([0.1, 1.0], cv=3, per_class=True, device=DEVICE).fit(X, target)
    alone = LinearSVMCV([0.1, 1.0], cv=3, per_class=True, device=DEVICE)
    alone.fit(X[known], target[known, 1])
    np.testing.assert_allclose(both.scores_[:, :, 1], alone.scores_[:, :, 0], atol=1e-12)


def test_indicator_columns_are_problems_of_their_own_and_nan_claims_nothing() -> None:
    X, y = feature_like(300, 60, 3, seed=1)
    target = np.where(y > 0, 1.0, 0.0)
    target[:20, 1] = np.nan
    svm = LinearSVM(tol=1e-9, class_weight={1: 2}, device=DEVICE).fit(X, target)
    assert svm.decision_function(X).shape == (300, 3)
    assert set(np.unique(svm.predict(X))) == {0, 1}
    one = LinearSVM(tol=1e-9, class_weight={1: 2}, device=DEVICE).fit(X[20:], target[20:, 1])
    np.testing.assert_allclose(svm.coef_[1], one.coef_[0], atol=1e-5)


@pytest.mark.parametrize("shape", [WITHOUT_K, WITH_K])
def test_curve_is_that_of_scikit_learn_fold_by_fold(shape: tuple[int, int]) -> None:
    X, y = feature_like(*shape, 3, seed=2)
    Cs = [0.01, 1.0, 30.0]
    found = LinearSVMCV(Cs, cv=3, per_class=True, tol=1e-8, device=DEVICE).fit(X, (y > 0) * 1)
    assert found.scores_.shape == (3, 3, 3)
    expected = np.empty((3, 3, 3))
    for j in range(3):
        for fold, (train, test) in enumerate(StratifiedKFold(3).split(X, y[:, j])):
            for i, C in enumerate(Cs):
                svc = LinearSVC(C=C, tol=1e-8, max_iter=100_000).fit(X[train], y[train, j])
                score = svc.decision_function(X[test])
                expected[i, fold, j] = average_precision_score(y[test, j], score)
    np.testing.assert_allclose(found.scores_, expected, atol=1e-4)
    best = expected.mean(axis=1).argmax(axis=0)
    assert found.C_.tolist() == [Cs[i] for i in best]
    alone = [LinearSVM(C, tol=1e-8, device=DEVICE).fit(X, y[:, j]) for j, C in enumerate(found.C_)]
    np.testing.assert_allclose(found.coef_, [svm.coef_[0] for svm in alone], atol=1e-4)


@pytest.mark.parametrize("scoring", ["accuracy", "recall"])
def test_one_C_on_a_hold_out(scoring: str) -> None:
    X, y = many_classes()
    fold = np.where(np.arange(len(y)) % 5 == 0, 0, -1)
    Cs = [1e-4, 0.1, 10.0]
    svm = LinearSVMCV(Cs, cv=PredefinedSplit(fold), scoring=scoring, tol=1e-7, device=DEVICE)
    svm.fit(X, y)
    curve = []
    for C in Cs:
        theirs = LinearSVC(C=C, tol=1e-7, max_iter=100_000).fit(X[fold < 0], y[fold < 0])
        right = theirs.predict(X[fold == 0]) == y[fold == 0]
        each = [right[y[fold == 0] == name].mean() for name in np.unique(y)]
        curve.append(right.mean() if scoring == "accuracy" else np.mean(each))
    np.testing.assert_allclose(svm.mean_scores_.mean(axis=1), curve, atol=1e-12)
    assert Cs[int(np.argmax(curve))] == svm.C_
    assert svm.at_edge_ == (svm.C_ in (1e-4, 10.0))


def test_ties_go_to_the_smallest_C() -> None:
    X = np.array([[0.0], [0.1], [5.0], [5.1]] * 6)
    y = np.array([0, 0, 1, 1] * 6)
    svm = LinearSVMCV([100.0, 10.0, 1000.0], cv=2, device=DEVICE).fit(X, y)
    assert (svm.mean_scores_ == 1).all()
    assert svm.C_ == 10


def test_a_class_missing_from_a_fold_is_nan_there() -> None:
    X, y = feature_like(90, 20, 2, seed=3)
    y = (y > 0) * 1
    y[:, 0] = 0
    y[0, 0] = 1
    splits = [(np.arange(45), np.arange(45, 90)), (np.arange(45, 90), np.arange(45))]
    svm = LinearSVMCV([1.0], cv=splits, device=DEVICE).fit(X, y)
    assert np.isnan(svm.scores_[0, :, 0]).all()  # nothing to rank, then nothing to learn from
    assert np.isnan(svm.mean_scores_[0]).tolist() == [True, False]
    assert svm.C_ == 1.0


def test_in_a_pipeline_and_a_grid() -> None:
    X, y = many_classes()
    grid = GridSearchCV(
        make_pipeline(Normalizer(), LinearSVM(device=DEVICE)), {"linearsvm__C": [0.1, 1]}, cv=3
    )
    assert grid.fit(X, y).score(X, y) > 0.6


def test_a_problem_that_misses_is_named() -> None:
    X, y = feature_like(600, 300, 3, seed=0)
    with pytest.warns(ConvergenceWarning, match="for: 0"):
        LinearSVM(tol=1e-40, device=DEVICE).fit(X, (y > 0) * 1)


def test_of_two_classes_the_second_is_named() -> None:
    X, y = feature_like(600, 300, 1, seed=0)
    with pytest.warns(ConvergenceWarning, match="for: yes"):
        LinearSVM(tol=1e-40, device=DEVICE).fit(X, np.where(y[:, 0] > 0, "yes", "no"))


def test_words_for_what_cannot_be_had() -> None:
    X, y = many_classes()
    with pytest.raises(ValueError, match="liblinear"):
        LinearSVM(loss="hinge").fit(X, y)
    with pytest.raises(ValueError, match="average_precision"):
        LinearSVMCV([1.0], cv=2, scoring="average_precison", device=DEVICE).fit(X, y)
    with pytest.raises(ValueError, match="no value of C"):
        LinearSVMCV([], cv=2, device=DEVICE).fit(X, y)
    with pytest.raises(ValueError, match="balanced"):
        LinearSVM(class_weight="balance", device=DEVICE).fit(X, y)
    with pytest.raises(ValueError, match="'bea'"):
        LinearSVM(class_weight={"bea": 5}, device=DEVICE).fit(X, y)
    with pytest.raises(ValueError, match="dict"):
        LinearSVM(class_weight=3, device=DEVICE).fit(X, y)
    with pytest.raises(ValueError, match="no device"):
        LinearSVM(device="abacus").fit(X, y)
    with pytest.raises(ValueError, match=r"cannot be divided into 5 folds"):
        LinearSVMCV([1.0], device=DEVICE).fit(X[:4], np.eye(4))
    with pytest.raises(ValueError, match="one class"):
        LinearSVM().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="indicator"):
        LinearSVM().fit(X, np.full((len(X), 2), 3))


def test_verbose_ends_with_problems_time_and_worst_gap(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = many_classes()
    chosen = LinearSVMCV(Cs=[0.1, 1], cv=3, verbose=1, device=DEVICE).fit(X, y)
    line = capsys.readouterr().out.splitlines()[-1]  # on a slow machine progress comes before
    assert re.fullmatch(r"28 problems in \d+\.\d s, worst gap \d\.\de-\d\d", line)  # 4 (2 x 3 + 1)
    worst = max(chosen.worst_gap_, chosen.gap_.max())
    assert line.endswith(f"{worst:.1e}")
    LinearSVM(verbose=1, device=DEVICE).fit(X, y)
    assert capsys.readouterr().out.splitlines()[-1].startswith("4 problems in ")
    LinearSVM(device=DEVICE).fit(X, y)
    assert capsys.readouterr().out == ""


def test_progress_is_told_between_the_first_problem_and_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = progress(1, interval=0)
    assert report is not None
    report(1000, 2000)
    report(2000, 2000)
    assert capsys.readouterr().out == "1,000 of 2,000 problems\n"
    assert progress(0) is None


def test_problems_that_miss_on_a_fold_are_named() -> None:
    X, y = feature_like(120, 20, 2, seed=5)
    with pytest.warns(ConvergenceWarning, match=r"C 1 in fold \d for"):
        LinearSVMCV([1.0], cv=2, tol=1e-40, refit=False, device=DEVICE).fit(X, (y > 0) * 1)


def test_without_a_refit_nothing_of_an_earlier_fit_is_left() -> None:
    X, y = many_classes()
    svm = LinearSVMCV([1.0], cv=2, device=DEVICE).fit(X, y)
    svm.set_params(refit=False).fit(X, y)
    with pytest.raises(NotFittedError):
        svm.predict(X)
    assert not {"coef_", "intercept_", "gap_", "classes_"} & set(vars(svm))
    assert svm.gaps_.shape == svm.scores_.shape
    assert svm.gaps_.max() == svm.worst_gap_ <= 1e-4


def test_a_class_missing_from_a_fold_is_never_predicted_there() -> None:
    """As scikit-learn, whose fold does not know the class at all."""
    X, y = many_classes()
    y = np.where(np.arange(len(y)) == 7, "emu", y)  # one row: without it where it is held out
    split = [(np.arange(100, 420), np.arange(100))]
    found = LinearSVMCV([0.1], cv=split, scoring="accuracy", tol=1e-8, device=DEVICE).fit(X, y)
    theirs = LinearSVC(C=0.1, tol=1e-8, max_iter=100_000).fit(X[100:], y[100:])
    known = found.scores_[0, 0][~np.isnan(found.scores_[0, 0])]
    assert known == pytest.approx(theirs.score(X[:100], y[:100]))


def test_indicators_of_minus_one_are_predicted_as_they_came() -> None:
    X, y = feature_like(300, 40, 3, seed=1)
    svm = LinearSVM(device=DEVICE).fit(X, y)
    assert set(np.unique(svm.predict(X)).tolist()) == {-1, 1}
    assert svm.score(X, y) > 0.3


@pytest.mark.parametrize("name", ["C", "tol", "intercept_scaling"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_what_is_not_positive_is_a_value_error(name: str, value: float) -> None:
    X, y = many_classes()
    with pytest.raises(ValueError, match="positive"):
        LinearSVM(device=DEVICE).set_params(**{name: value}).fit(X, y)


def test_shapes_of_these_tests_reach_both_solvers() -> None:
    settings = Settings(device=DEVICE)
    names = [type(make_solver(many_classes(*s)[0], settings)).__name__ for s in (WITHOUT_K, WITH_K)]
    assert names == ["PrimalSolver", "GramSolver"]
