"""A store, or a result, of other images is never taken for one of these."""

from __future__ import annotations

import os

import numpy as np
import pytest
from by_hand import KEYS, clouds, make_dataset, make_store, single

from deepfeat.errors import CannotCreate, StoreMismatch, UsageError
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.run import evaluate

OWNERS = [row % 3 for row in range(36)]
SPLITS = {"train": range(24), "test": range(24, 36)}
BASE = ("extract.scales=[256]", "svm.C=[1]", "svm.select.on=fixed")


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "images", single(OWNERS), SPLITS)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "s.h5", {"256": clouds(OWNERS, 12, 1)}, holes=(5,))


def run(data, store, **more):
    return evaluate(load_recipe("csv", set=BASE), data=data, features=[store], **more)


def test_an_image_with_other_bytes_is_named(data, store):
    run(data, store)
    data.entries[3].place.write_bytes(b"AB.png"[: len(KEYS[3])])  # the same size
    with pytest.raises(StoreMismatch, match="1 have changed") as refused:
        run(data, store)
    assert "03.png" in refused.value.found


def test_a_copy_with_another_time_is_the_same_image(data, store):
    for entry in data.entries:
        os.utime(entry.place, (1, 1))
    assert run(data, store).figure["value"] > 0


def test_a_hole_whose_image_was_mended_is_told(data, store):
    data.entries[5].place.write_bytes(b"whole at last")
    with pytest.raises(StoreMismatch, match="1 have changed"):
        run(data, store)


def test_an_image_that_is_gone_keeps_its_descriptor(data, store):
    whole = run(data, store)
    data.entries[30].place.unlink()
    assert run(data, store).figure == whole.figure


def test_the_same_question_replaces_its_result_and_another_does_not(tmp_path, data, store):
    place = tmp_path / "r.json"
    first = run(data, store, output=place).data["root_sha256"]
    assert run(data, store, output=place).data["root_sha256"] == first
    labels = single([(owner + 1) % 3 for owner in OWNERS])
    others = make_dataset(tmp_path / "images", labels, SPLITS)
    before = place.read_bytes()
    with pytest.raises(CannotCreate, match="other settings or other images"):
        run(others, store, output=place)
    with pytest.raises(CannotCreate, match="other settings"):
        evaluate(
            load_recipe("csv", set=(*BASE[:1], "svm.C=[2]", *BASE[2:])),
            data=data, features=[store], output=place,
        )  # fmt: skip
    assert place.read_bytes() == before
    assert run(others, store, output=place, overwrite=True).data["root_sha256"] != first


def test_some_splits_do_not_replace_all(tmp_path, store):
    labels = single(OWNERS)
    data = make_dataset(tmp_path / "images", labels)
    recipe = load_recipe("folder", set=BASE)
    place = tmp_path / "r.json"
    evaluate(recipe, data=data, features=[store], output=place)
    with pytest.raises(CannotCreate, match="other settings"):
        evaluate(recipe, data=data, features=[store], output=place, splits=[0])


@pytest.mark.parametrize("name", ["csv.vgg16.h5", "result", "r.json.npz"])
def test_a_result_is_never_written_over_a_store_or_without_json(tmp_path, data, store, name):
    with pytest.raises(UsageError, match="no name for a result"):
        run(data, store, output=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_what_a_figure_rests_on_has_a_digest_of_contents_and_labels(tmp_path, data, store):
    digest = run(data, store).data["root_sha256"]
    assert len(digest) == 64
    labels = single(OWNERS)
    labels[0] = np.roll(labels[0], 1)
    other = make_dataset(tmp_path / "images", labels, SPLITS)
    assert run(other, store).data["root_sha256"] != digest
