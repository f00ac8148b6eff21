"""Rows are joined by key; networks are stacked, weighted and brought to length 1."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import KEYS, clouds, make_dataset, make_store, single

from deepfeat.errors import StoreMismatch, UsageError
from deepfeat.evaluation.features import given_features
from deepfeat.evaluation.matrix import join, matrix_of
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.run import evaluate

OWNERS = [row % 3 for row in range(36)]
SPLITS = {"train": range(24), "test": range(24, 36)}
BASE = ("extract.scales=[256, 384]", "svm.C=[0.1, 1, 10]", "extract.across_scales=stack")
X = {"256": clouds(OWNERS, 12, 1, 2.0), "384": clouds(OWNERS, 12, 2, 2.0)}
OTHER = {"256": clouds(OWNERS, 7, 3, 2.0), "384": clouds(OWNERS, 7, 4, 2.0)}


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "images", single(OWNERS), SPLITS)


def unit(rows):
    return rows / np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))


def told(data, *stores, name="csv", sets=BASE):
    result = evaluate(load_recipe(name, set=sets), data=data, features=stores)
    value = result.as_value()  # NaN is null there, and equal to itself
    return [value[part] for part in ("figure", "choice", "per_class", "splits")]


def test_more_images_and_another_order_in_the_store_change_nothing(tmp_path, data):
    plain = make_store(tmp_path / "plain.h5", X)
    draw = np.random.default_rng(0).permutation(36)
    more = np.r_[draw, draw[:5]]  # five that nobody asks for
    keys = [*(KEYS[row] for row in draw), b"a.png", b"00a.png", b"zz.png", b"10x.png", b"3.png"]
    strewn = make_store(
        tmp_path / "strewn.h5", {scale: rows[more] for scale, rows in X.items()}, keys=keys
    )
    assert told(data, plain) == told(data, strewn)


def test_two_stores_with_different_images_in_them_are_joined_by_key(tmp_path, data):
    first = make_store(tmp_path / "1.h5", X)
    second = make_store(tmp_path / "2.h5", OTHER)
    order = np.r_[35:-1:-1]
    turned = make_store(
        tmp_path / "3.h5",
        {scale: np.r_[rows[:2], rows[order]] for scale, rows in OTHER.items()},
        keys=[b"0.png", b"9.png", *(KEYS[row] for row in order)],
    )
    sets = (*BASE, 'extract.network=["vgg16", "vgg19"]')
    assert told(data, first, second, sets=sets) == told(data, first, turned, sets=sets)


def test_a_store_that_lacks_images_that_are_there_is_refused(tmp_path, data):
    short = make_store(tmp_path / "s.h5", {scale: rows[:30] for scale, rows in X.items()})
    with pytest.raises(StoreMismatch, match="knows nothing of 6 images that are there") as caught:
        told(data, short)
    assert "'30.png'" in caught.value.found


def test_an_image_with_a_hole_in_either_store_is_in_neither(tmp_path, data):
    first = make_store(tmp_path / "1.h5", X, holes=(3,))
    second = make_store(tmp_path / "2.h5", OTHER, holes=(7, 30))
    recipe = load_recipe("csv", set=(*BASE, 'extract.network=["vgg16", "vgg19"]'))
    result = evaluate(recipe, data=data, features=[first, second])
    assert [one["key"] for one in result.data["holes"]] == ["03.png", "07.png", "30.png"]
    assert (result.data["train"], result.data["test"]) == (22, 11)
    assert result.exit_status == 1


@pytest.mark.parametrize("weights", [None, (1, 3)])
@pytest.mark.parametrize("across", ["stack", "mean", "max"])
def test_networks_are_stacked_as_by_hand(tmp_path, data, weights, across):
    """Each network aggregated and of length 1, weighted, and the whole row of length 1 again."""
    stores = [make_store(tmp_path / "1.h5", X), make_store(tmp_path / "2.h5", OTHER)]
    sets = ["extract.scales=[256, 384]", f"extract.across_scales={across}",
            'extract.network=["vgg16", "vgg19"]']  # fmt: skip
    recipe = load_recipe("csv", set=[*sets, *(["fuse.weights=[1, 3]"] if weights else [])])
    joined = join(given_features(recipe, stores), data, np.arange(36))
    found = matrix_of(joined, recipe.get("fuse.weights", ()))
    together = {
        "stack": lambda a, b: np.concatenate([a, b], axis=1),
        "mean": lambda a, b: (a + b) / 2,
        "max": np.maximum,
    }[across]
    blocks = [unit(together(held["256"], held["384"])) for held in (X, OTHER)]
    by_hand = unit(np.concatenate([b * w for b, w in zip(blocks, weights or (1, 1), strict=True)],
                                  axis=1))  # fmt: skip
    assert found.dtype == np.float32
    assert found == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [
        ("none", np.concatenate([X["256"], X["384"]], axis=1)),
        ("end", unit(np.concatenate([X["256"], X["384"]], axis=1))),
        ("each", np.concatenate([unit(X["256"]), unit(X["384"])], axis=1)),
        ("each+end", unit(np.concatenate([unit(X["256"]), unit(X["384"])], axis=1))),
    ],
)
def test_one_network_is_normalised_as_the_block_says(tmp_path, data, normalise, expected):
    recipe = load_recipe("csv", set=[*BASE, f"extract.normalise={normalise}"])
    store = make_store(tmp_path / "1.h5", X)
    found = matrix_of(join(given_features(recipe, [store]), data, np.arange(36)))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_order_of_networks_is_the_order_of_stacking(tmp_path, data):
    stores = [make_store(tmp_path / "1.h5", X), make_store(tmp_path / "2.h5", OTHER)]
    recipe = load_recipe("csv", set=[*BASE, 'extract.network=["vgg16", "vgg19"]'])
    there = matrix_of(join(given_features(recipe, stores), data, np.arange(36)))
    back = matrix_of(join(given_features(recipe, stores[::-1]), data, np.arange(36)))
    assert there[:, :24] == pytest.approx(back[:, 14:], abs=1e-6)


def test_the_positions_are_those_of_the_entries(tmp_path, data):
    store = make_store(tmp_path / "1.h5", X, holes=(0, 2))
    recipe = load_recipe("csv", set=BASE)
    joined = join(given_features(recipe, [store]), data, np.arange(36))
    assert joined.position.tolist() == [-1, 0, -1, *range(1, 34)]
    rows = matrix_of(joined)[joined.position[[1, 35]]]
    assert rows[:, :12] * np.linalg.norm(X["256"][[1, 35]], axis=1, keepdims=True) == pytest.approx(
        X["256"][[1, 35]] * np.linalg.norm(rows[:, :12], axis=1, keepdims=True), abs=1e-5
    )


def test_another_number_of_stores_than_networks_is_refused(tmp_path, data):
    store = make_store(tmp_path / "1.h5", X)
    with pytest.raises(UsageError, match="stacks 1 networks") as caught:
        told(data, store, store)
    assert caught.value.found == "2"


@pytest.mark.parametrize(
    ("made", "sets", "words"),
    [
        ({"scales": {"256": X["256"]}}, BASE, "extract.scales: ['256'] in the store, \"also '384'"),
        ({"mirror": False}, BASE, "extract.mirror: False in the store, True in the recipe"),
        ({"scales": {"max": X["256"]}, "across_scales": "max"}, BASE, "only the max"),
        ({}, (*BASE, "image.exif=false"), "image.exif: True in the store, False in the recipe"),
        ({}, (*BASE, "image.background=[0, 0, 0]"), "image.background"),
        ({}, (*BASE, "resize.filter=bicubic"), "resize.filter: 'bilinear' in the store"),
        ({}, (*BASE, "resize.upscale=false"), "resize.upscale"),
        ({}, (*BASE, "extract.over_positions=max"), "extract.over_positions: 'mean' in the store"),
    ],
)
def test_a_store_made_another_way_is_refused_by_field(tmp_path, data, made, sets, words):
    store = make_store(tmp_path / "1.h5", **{"scales": X, **made})
    with pytest.raises(StoreMismatch, match="was not made as recipe 'csv' asks") as caught:
        told(data, store, sets=sets)
    assert words in caught.value.found


def test_a_store_that_keeps_the_aggregate_asked_for_is_taken(tmp_path, data):
    mean = (X["256"] + X["384"]) / 2
    whole = make_store(tmp_path / "1.h5", X)
    kept = make_store(tmp_path / "2.h5", {"mean": mean}, across_scales="mean")
    sets = (*BASE, "extract.across_scales=mean")
    assert told(data, whole, sets=sets) == told(data, kept, sets=sets)


def test_a_store_of_another_network_may_be_given(tmp_path, data):
    store = make_store(tmp_path / "1.h5", X, network="somebodys")
    result = evaluate(load_recipe("csv", set=BASE), data=data, features=[store])
    assert result.features[0]["network"] == "somebodys"
    assert result.features[0]["dimension"] == 24
