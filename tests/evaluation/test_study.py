"""--study, --split and --seed: the rows of one run are separate evaluations."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import clouds, make_dataset, make_store, single

from deepfeat.errors import UsageError
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.run import evaluate
from deepfeat.evaluation.study import ways

OWNERS = [row % 3 for row in range(45)]
X = {str(side): clouds(OWNERS, 10, side, 2.2) for side in (256, 384, 512)}
BASE = (
    "svm.C=[0.03, 1, 30]", "split.train=7", "split.test=6",
    "extract.across_scales=stack", "extract.normalise=each",
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "images", single(OWNERS), name="caltech101")


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "s.h5", X)


def evaluated(data, store, *sets, **options):
    recipe = load_recipe("caltech101", set=[*BASE, *sets])
    return evaluate(recipe, data=data, features=[store], **options)


def test_the_ways_are_each_scale_and_each_subset_with_each_aggregate():
    found = ways(("256", "384", "512"))
    assert len(found) == 3 + 4 * 3
    assert found[:3] == [(("256",), None), (("384",), None), (("512",), None)]
    assert found[-1] == (("256", "384", "512"), "stack")
    assert len(set(found)) == len(found)
    assert ways(("256",)) == [(("256",), None)]


def test_each_row_is_the_evaluation_with_these_scales(data, store):
    result = evaluated(data, store, study=True)
    assert len(result.study) == 15
    values = {row["value"] for row in result.study}
    assert len(values) > 5  # the ways differ
    for row in result.study:
        sides = ", ".join(row["scales"])
        sets = [f"extract.scales=[{sides}]"]
        if row["across_scales"]:
            sets.append(f"extract.across_scales={row['across_scales']}")
            recipe = load_recipe("caltech101", set=[*BASE, *sets])
        else:
            without = [one for one in BASE if not one.startswith("extract.across")]
            recipe = load_recipe("caltech101", set=[*without, *sets])
        alone = evaluate(recipe, data=data, features=[store])
        assert row["value"] == pytest.approx(alone.figure["value"], abs=1e-9), row
        assert row["spread"] == pytest.approx(alone.figure["spread"], abs=1e-9)
        assert row["dimension"] == alone.features[0]["dimension"]


def test_the_studys_row_of_the_recipes_own_way_is_its_figure(data, store):
    result = evaluated(data, store, study=True)
    assert result.study[-1]["value"] == pytest.approx(result.figure["value"], abs=1e-9)


def test_a_study_is_made_only_when_asked_for(data, store):
    assert evaluated(data, store).study == ()


def test_a_study_needs_every_scale_in_the_store(tmp_path, data):
    kept = make_store(tmp_path / "k.h5", {"mean": X["256"]}, across_scales="mean")
    sets = ("extract.scales=[256, 384]", "extract.across_scales=mean")
    with pytest.raises(UsageError, match="a study needs the same scales of every network"):
        evaluated(data, kept, *sets, study=True)
    assert evaluated(data, kept, *sets).figure["value"] > 0


def test_a_study_of_which_nothing_can_be_judged_has_no_number(tmp_path, store):
    """The only class of the test is never trained: no figure, and no crash."""
    owners = [row % 2 for row in range(30)] + [2] * 15
    splits = {"train": range(30), "test": range(30, 45)}
    data = make_dataset(tmp_path / "i", single(owners), splits)
    recipe = load_recipe("csv", set=["svm.C=[0.1, 1]"])
    result = evaluate(recipe, data=data, features=[store], study=True)
    assert np.isnan([row["value"] for row in result.study]).all()
    assert result.as_value()["figure"]["value"] is None


def test_one_split_of_three_is_that_row_of_all_three(data, store):
    whole = evaluated(data, store)
    assert len({row["train_sha256"] for row in whole.splits}) == 3
    one = evaluated(data, store, splits=[1])
    assert one.splits == (whole.splits[1],)
    assert one.figure["value"] == whole.splits[1]["value"]
    assert one.figure["spread"] is None
    both = evaluated(data, store, splits=[2, 0])
    assert both.splits == (whole.splits[0], whole.splits[2])


@pytest.mark.parametrize("splits", [[3], [0, -1], []])
def test_an_unknown_split_is_refused(data, store, splits):
    with pytest.raises(UsageError, match="there is no split") as caught:
        evaluated(data, store, splits=splits)
    assert caught.value.expected == "splits from 0 to 2"


def test_the_seed_of_the_next_split_is_the_next_seed(data, store):
    first = evaluated(data, store)
    later = evaluated(data, store, "split.seed=1")
    assert [row["train_sha256"] for row in later.splits[:2]] == [
        row["train_sha256"] for row in first.splits[1:]
    ]
    assert later.splits[2]["train_sha256"] != first.splits[0]["train_sha256"]


def test_the_check_value_of_a_split_is_the_hash_of_its_sorted_keys(data, store):
    import hashlib

    from deepfeat.datasets.splits import random_splits

    (drawn, *_) = random_splits(data, train=7, test=6)
    lines = b"".join(sorted(data.entries[row].key + b"\n" for row in drawn.train))
    row = evaluated(data, store).splits[0]
    assert row["train_sha256"] == hashlib.sha256(lines).hexdigest()
    assert (row["train"], row["test"]) == (21, 18)
