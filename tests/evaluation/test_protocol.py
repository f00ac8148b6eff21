"""Figures against the protocols written once more in plain loops over scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import KEYS, clouds, make_dataset, make_store, single
from oracles import linear_svm_protocol as plain

from deepfeat.errors import DataError
from deepfeat.evaluation.parts import parts_of
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.run import evaluate

GRID = (0.01, 0.1, 1.0, 10.0)
SCALES = ("extract.scales=[256]", "svm.C=[0.01, 0.1, 1.0, 10.0]")


def unit(matrix):
    rows = matrix.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def read(output):
    """The scores file as a dictionary."""
    with np.load(output.with_name(f"{output.stem}.scores.npz")) as held:
        return dict(held)


def agree(result, scores, answer, *, split=0):
    """One split of a result says what the plain protocol says."""
    curve = {row["C"]: row["score"] for row in result.choice["curve"]}
    assert curve == pytest.approx(answer.curve, abs=1e-9)
    assert [row["C"] for row in result.per_class] == answer.C
    values = [100 * value for value in answer.per_class]
    found = [row["value"] for row in result.per_class]
    assert found == pytest.approx(values, abs=1e-9, nan_ok=True)
    assert result.figure["value"] == pytest.approx(answer.figure, abs=1e-9)
    assert scores[f"scores_{split}"] == pytest.approx(answer.scores, abs=2e-5)


@pytest.mark.parametrize("refit", [True, False])
def test_caltech_with_rows_held_out_is_the_plain_protocol(tmp_path, refit):
    owners = [row % 4 for row in range(64)]
    X = clouds(owners, 30, seed=1, noise=2.0)
    data = make_dataset(tmp_path / "images", single(owners), name="caltech101")
    store = make_store(tmp_path / "s.h5", {"256": X})
    recipe = load_recipe(
        "caltech101",
        set=[
            *SCALES, "split.train=10", "split.test=5", "split.count=1",
            f"svm.select.refit={str(refit).lower()}",
        ],
    )  # fmt: skip
    (part,) = parts_of(recipe, data)
    assert (len(part.train), len(part.validation), len(part.test)) == (40, 8, 20)
    output = tmp_path / "r.json"
    result = evaluate(recipe, data=data, features=[store], output=output)
    answer = plain.hold_out_with_recall(
        unit(X), owners, part.train, part.validation, part.test, GRID, refit
    )
    assert 40 < answer.figure < 95  # far from chance and from certainty
    assert len(set(answer.curve.values())) > 1
    agree(result, read(output), answer)


def test_three_splits_are_three_plain_protocols_and_their_mean(tmp_path):
    owners = [row % 4 for row in range(64)]
    X = clouds(owners, 30, seed=3, noise=2.0)
    data = make_dataset(tmp_path / "images", single(owners), name="caltech101")
    store = make_store(tmp_path / "s.h5", {"256": X})
    recipe = load_recipe("caltech101", set=[*SCALES, "split.train=10", "split.test=5"])
    output = tmp_path / "r.json"
    result = evaluate(recipe, data=data, features=[store], output=output)
    answers = [
        plain.hold_out_with_recall(unit(X), owners, p.train, p.validation, p.test, GRID)
        for p in parts_of(recipe, data)
    ]
    figures = [answer.figure for answer in answers]
    assert len(set(figures)) == 3
    assert [row["value"] for row in result.splits] == pytest.approx(figures)
    assert [row["C"] for row in result.splits] == [answer.C[0] for answer in answers]
    assert result.figure["value"] == pytest.approx(np.mean(figures))
    assert result.figure["spread"] == pytest.approx(np.std(figures, ddof=1))
    by_class = np.mean([answer.per_class for answer in answers], axis=0)
    assert [row["value"] for row in result.per_class] == pytest.approx(100 * by_class)
    curve = [np.mean([answer.curve[C] for answer in answers]) for C in GRID]
    assert [row["score"] for row in result.choice["curve"]] == pytest.approx(curve)


@pytest.fixture
def voc(tmp_path):
    """90 images of three classes, several a picture, every 9th label difficult."""
    random = np.random.default_rng(5)
    labels = np.where(random.random((90, 3)) < 0.4, 1, -1)
    labels[random.random((90, 3)) < 0.12] = 0
    X = np.maximum((labels == 1) @ random.normal(0, 1, (3, 25)) + 1, 0)
    X = np.maximum(X + random.normal(0, 1.2, X.shape), 0).astype(np.float32)
    splits = {"train": range(30), "val": range(30, 55), "trainval": range(55),
              "test": range(55, 90)}  # fmt: skip
    data = make_dataset(tmp_path / "images", labels, splits)
    return X, labels, data, make_store(tmp_path / "s.h5", {"256": X})


def test_voc_chosen_on_val_is_the_plain_protocol(tmp_path, voc):
    X, labels, data, store = voc
    output = tmp_path / "r.json"
    result = evaluate(
        load_recipe("voc2007", set=SCALES), data=data, features=[store], output=output
    )
    answer = plain.val_with_ap(
        unit(X), labels, np.arange(30), np.arange(30, 55), np.arange(55, 90), GRID,
        plain.eleven_points,
    )  # fmt: skip
    assert 40 < answer.figure < 95
    agree(result, read(output), answer)


def test_a_c_for_each_class_by_folds_is_the_plain_protocol(tmp_path, voc):
    """The self-supervised literature's: 2 and 1 as weights, difficult as negatives in training."""
    X, labels, data, store = voc
    output = tmp_path / "r.json"
    recipe = load_recipe(
        "voc2007",
        set=[
            "extract.scales=[256]", "svm.C=[10, 0.01, 0.1, 1]", "score.ap=step",
            "svm.class_weight={pos = 2, neg = 1}", "svm.difficult=negative",
            'svm.select={on = "kfold", folds = 3, per = "class", by = "step", tie = "first"}',
        ],
    )  # fmt: skip
    result = evaluate(recipe, data=data, features=[store], output=output)
    answer = plain.folds_per_class(
        unit(X), labels, np.arange(55), np.arange(55, 90), (10, 0.01, 0.1, 1), 3, {1: 2, -1: 1}
    )
    assert len(set(answer.C)) > 1, "each class should choose for itself"
    agree(result, read(output), answer)
    assert result.choice["C"] is None


def test_rows_held_out_never_reach_a_fit_of_the_choice(tmp_path):
    """Rows held out contradict all others: trained on, they would be scored right."""
    labels = np.array([[1], [-1]] * 20)
    X = np.where(labels > 0, 1.0, 2.0) * np.ones((40, 2)) + [[0, 1]]
    X[20:30] = X[20:30, ::-1] * 3  # val looks unlike train
    random = np.random.default_rng(0)
    X = (X + random.random(X.shape) / 100).astype(np.float32)
    y = labels.copy()
    y[20:30] *= -1
    splits = {"train": range(20), "val": range(20, 30), "trainval": range(30),
              "test": range(30, 40)}  # fmt: skip
    data = make_dataset(tmp_path / "images", y, splits)
    store = make_store(tmp_path / "s.h5", {"256": X})
    recipe = load_recipe("voc2007", set=[*SCALES, "extract.normalise=none"])
    result = evaluate(recipe, data=data, features=[store])
    answer = plain.val_with_ap(
        X.astype(float), y, np.arange(20), np.arange(20, 30), np.arange(30, 40), GRID,
        plain.eleven_points,
    )  # fmt: skip
    assert {row["C"]: row["score"] for row in result.choice["curve"]} == pytest.approx(answer.curve)


def test_the_test_images_do_not_choose(tmp_path):
    """Other labels of the test images: another figure, the same C, curve and scores."""
    owners = [row % 3 for row in range(48)]
    X = clouds(owners, 20, seed=4, noise=2.0)
    store = make_store(tmp_path / "s.h5", {"256": X})
    recipe = load_recipe("csv", set=SCALES)
    splits = {"train": range(30), "test": range(30, 48)}
    told = []
    for turn in (0, 1):
        labels = single([*owners[:30], *[(one + turn) % 3 for one in owners[30:]]])
        data = make_dataset(tmp_path / "images", labels, splits)
        output = tmp_path / f"{turn}.json"
        told.append((evaluate(recipe, data=data, features=[store], output=output), read(output)))
    (one, scores), (other, others) = told
    assert one.figure["value"] > other.figure["value"] + 10
    assert one.choice == other.choice
    assert (scores["scores_0"] == others["scores_0"]).all()


def test_classes_without_a_positive_are_no_number_and_do_not_vote(tmp_path):
    """d is never trained, c never tested: both NaN, both named, the mean over a and b."""
    owners = [row % 3 for row in range(30)] + [row % 2 for row in range(10)] + [3]
    X = clouds(owners, 20, seed=4)
    splits = {"train": range(30), "test": range(30, 41)}
    data = make_dataset(tmp_path / "images", single(owners), splits)
    store = make_store(tmp_path / "s.h5", {"256": X})
    result = evaluate(load_recipe("csv", set=SCALES), data=data, features=[store])
    values = {row["class"]: row["value"] for row in result.per_class}
    assert np.isnan([values["c"], values["d"]]).all()
    assert result.figure["value"] == pytest.approx((values["a"] + values["b"]) / 2)
    told = [one["message"] for one in result.warnings if one["kind"] == "empty_class"]
    (untrained,), (untested,) = (
        [one for one in told if words in one] for words in ("training image", "test image")
    )
    assert untrained.endswith(": 'd'")
    assert untested.endswith(": 'c'")


def test_an_untested_class_is_no_zero_in_recall(tmp_path):
    owners = [row % 3 for row in range(30)] + [0, 1] * 4
    X = clouds(owners, 20, seed=4)
    splits = {"train": range(30), "test": range(30, 38)}
    data = make_dataset(tmp_path / "images", single(owners), splits)
    store = make_store(tmp_path / "s.h5", {"256": X})
    recipe = load_recipe("csv", set=[*SCALES, "score={measure='recall'}", "svm.select.by=recall"])
    result = evaluate(recipe, data=data, features=[store])
    values = [row["value"] for row in result.per_class]
    assert np.isnan(values[2])
    assert result.figure["value"] == pytest.approx(np.mean(values[:2]))


def test_folds_divide_a_single_label_set_once_where_classes_are_compared(tmp_path):
    """Recall compares all classes on a row: no machine may have been trained on it."""
    owners = [row % 3 for row in range(45)]
    X = clouds(owners, 20, seed=9, noise=3.0)
    splits = {"train": range(30), "test": range(30, 45)}
    data = make_dataset(tmp_path / "images", single(owners), splits)
    store = make_store(tmp_path / "s.h5", {"256": X})
    curves = []
    for measure in ("recall", "map"):
        sets = [*SCALES, f"score={{measure='{measure}'}}", "svm.select.by=recall"]
        result = evaluate(load_recipe("csv", set=sets), data=data, features=[store])
        curves.append(result.choice["curve"])
    assert curves[0] == curves[1]
    folds = plain.StratifiedKFold(3).split(X[:30], owners[:30])
    owned = np.array(owners)
    by_fold = []
    for fit, held in folds:
        columns = [
            plain.decision(unit(X), np.where(owned == one, 1, -1), fit, 1.0, held)
            for one in range(3)
        ]
        by_fold.append(plain.recalls(owned[held], np.column_stack(columns)))
    found = next(row["score"] for row in curves[0] if row["C"] == 1.0)
    assert found == pytest.approx(np.mean(by_fold))


@pytest.mark.parametrize("change", ["score={measure='recall'}", "svm.select.by=accuracy"])
def test_several_classes_an_image_have_no_recall(tmp_path, change):
    labels = single([row % 3 for row in range(30)])
    labels[4] = (1, 1, -1)
    data = make_dataset(tmp_path / "i", labels, {"train": range(20), "test": range(20, 30)})
    store = make_store(tmp_path / "s.h5", {"256": clouds([0] * 30, 9, seed=1)})
    with pytest.raises(DataError, match="1 images have not exactly one class") as caught:
        evaluate(load_recipe("csv", set=[*SCALES, change]), data=data, features=[store])
    assert "'04.png'" in caught.value.found


def test_missing_images_rank_last_where_the_recipe_says_so(tmp_path):
    """Of four positives one is missing: left out, or the last of the ranking."""
    labels = np.array([[1], [-1]] * 12)
    X = np.where(labels > 0, 1.0, 0.1) * np.array([[1.0, 0.5]]) + [[0.0, 1.0]]
    splits = {"train": range(16), "test": range(16, 24)}
    data = make_dataset(tmp_path / "images", labels, splits, absent=(18,))
    kept = [row for row in range(24) if row != 18]
    store = make_store(
        tmp_path / "s.h5", {"256": X[kept].astype("f4")}, keys=[KEYS[row] for row in kept]
    )
    told = {}
    for missing in ("partial", "last"):
        recipe = load_recipe("csv", set=[*SCALES, f"data.missing={missing}"])
        told[missing] = evaluate(recipe, data=data, features=[store])
    assert told["partial"].figure["value"] == pytest.approx(100)
    assert told["last"].figure["value"] == pytest.approx(100 * (3 / 4 + 1 / 4 * 4 / 8))
    for result in told.values():
        assert result.data["missing"] == ["18.png"]
        assert result.figure["partial"] is True
        assert result.exit_status == 1
    assert [told[name].figure["n"] for name in ("partial", "last")] == [7, 8]


def test_a_missing_training_image_is_left_out(tmp_path):
    owners = [row % 2 for row in range(30)]
    X = clouds(owners, 9, seed=2)
    splits = {"train": range(20), "test": range(20, 30)}
    data = make_dataset(tmp_path / "images", single(owners), splits, absent=(3,))
    store = make_store(tmp_path / "s.h5", {"256": X}, holes=(3, 8))
    result = evaluate(load_recipe("csv", set=SCALES), data=data, features=[store])
    assert result.data["train"] == 18
    assert [row["training"] for row in result.per_class] == [9, 9]
    assert result.data["holes"] == [
        {"key": "03.png", "status": "corrupt"}, {"key": "08.png", "status": "corrupt"},
    ]  # fmt: skip
    assert result.figure["partial"] is True


def test_difficult_labels_are_read_as_the_recipe_says(tmp_path, voc):
    """Ignored, negative or positive in the test: three figures, the plain protocol's."""
    X, labels, data, store = voc
    for difficult, read_as in (("ignore", 0), ("negative", -1), ("positive", 1)):
        recipe = load_recipe("voc2007", set=[*SCALES, f"score.difficult={difficult}"])
        output = tmp_path / "r.json"
        output.unlink(missing_ok=True)
        result = evaluate(recipe, data=data, features=[store], output=output)
        told = np.where(labels[55:] == 0, read_as, labels[55:])
        scores = read(output)["scores_0"]
        values = [100 * plain.eleven_points(told[:, one], scores[:, one]) for one in range(3)]
        assert [row["value"] for row in result.per_class] == pytest.approx(values)
        assert difficult in result.figure["definition"]


def test_equal_scores_stay_in_list_order_or_count_at_once(tmp_path):
    """Six test images, all with the same descriptor: the order of the list decides, or nobody."""
    labels = np.array([[1], [-1]] * 8 + [[1], [1], [-1], [-1], [-1], [-1]])
    X = np.where(labels > 0, 1.0, 0.1) * np.array([[1.0, 0.5]]) + [[0.0, 1.0]]
    X[16:] = X[0]
    splits = {"train": range(10), "val": range(10, 16), "trainval": range(16),
              "test": range(16, 22)}  # fmt: skip
    data = make_dataset(tmp_path / "images", labels, splits)
    store = make_store(tmp_path / "s.h5", {"256": X.astype("f4")})
    for ties, value in (("list", 100.0), ("group", 100 / 3)):
        recipe = load_recipe("voc2007", set=[*SCALES, f"score.ties={ties}"])
        result = evaluate(recipe, data=data, features=[store])
        assert result.figure["value"] == pytest.approx(value)


def test_equal_scores_of_classes_go_to_the_first_class():
    from deepfeat.evaluation.measure import Outcome

    outcome = Outcome(single([0, 1, 2]).astype("i1"), np.array([[1, 1, 0], [0, 2, 2], [3, 3, 3.0]]))
    assert outcome.predicted.tolist() == [0, 1, 0]


def test_a_class_without_a_machine_is_never_predicted():
    from deepfeat.evaluation.measure import Outcome

    scores = np.array([[np.nan, -9.0, -8.0], [np.nan, -np.inf, -np.inf]])
    outcome = Outcome(single([0, 1], 3).astype("i1"), scores)
    assert outcome.predicted.tolist() == [2, -1]


def test_duplicates_between_training_and_test_are_named_or_dropped(tmp_path):
    owners = [row % 2 for row in range(30)]
    X = clouds(owners, 9, seed=2, noise=2.0)
    X[25] = X[4]
    splits = {"train": range(20), "test": range(20, 30)}
    data = make_dataset(tmp_path / "images", single(owners), splits, same={25: 4})
    bytes_alike = make_store(tmp_path / "bytes.h5", {"256": X}, same={25: 4}, untrained=True)
    other_bytes = make_dataset(tmp_path / "others", single(owners), splits)
    cosine_alike = make_store(tmp_path / "cosine.h5", {"256": X})
    for store, images in ((bytes_alike, data), (cosine_alike, other_bytes)):
        told = {}
        for what in ("report", "drop-train"):
            recipe = load_recipe("csv", set=[*SCALES, f"data.duplicates={what}"])
            told[what] = evaluate(recipe, data=images, features=[store])
            assert told[what].data["duplicates"] == [{"test": "25.png", "train": "04.png"}]
            assert any(one["kind"] == "duplicates" for one in told[what].warnings)
        assert [told[what].data["train"] for what in told] == [20, 19]
    untrained = make_store(tmp_path / "none.h5", {"256": X}, untrained=True)
    result = evaluate(load_recipe("csv", set=SCALES), data=other_bytes, features=[untrained])
    assert result.data["duplicates"] == []  # an untrained network finds everything alike


def test_the_ends_of_the_grid_are_told(tmp_path):
    owners = [row % 2 for row in range(40)]
    data = make_dataset(tmp_path / "i", single(owners), {"train": range(30), "test": range(30, 40)})
    X = clouds(owners, 9, seed=2, noise=0.01)
    store = make_store(tmp_path / "s.h5", {"256": X})
    result = evaluate(load_recipe("csv", set=SCALES), data=data, features=[store])
    assert result.choice["C"] == 0.01  # all are perfect: the smallest, which is an end
    assert result.choice["at_edge"] is True
    (told,) = [one["message"] for one in result.warnings if one["kind"] == "c_at_edge"]
    assert told.startswith("split 0: the chosen C = 0.01 is an end of the grid 0.01 ... 10")


def test_problems_that_did_not_converge_are_named(tmp_path):
    owners = [row % 3 for row in range(40)]
    data = make_dataset(tmp_path / "i", single(owners), {"train": range(30), "test": range(30, 40)})
    store = make_store(tmp_path / "s.h5", {"256": clouds(owners, 9, seed=2, noise=3.0)})
    recipe = load_recipe("csv", set=[*SCALES, "svm.max_iter=1", "svm.loss=hinge"])
    result = evaluate(recipe, data=data, features=[store])
    missed = result.solver["missed"]
    assert result.solver["problems"] == 4 * 3 * 3 + 3
    assert {"split": 0, "C": 10.0, "fold": 2, "class": "c"} in missed
    assert {"split": 0, "C": result.choice["C"], "fold": None, "class": "a"} in missed
    (told,) = [one["message"] for one in result.warnings if one["kind"] == "missed_tolerance"]
    assert told.startswith(f"split 0: {len(missed)} problems did not converge: 'a at C = 0.01'")
