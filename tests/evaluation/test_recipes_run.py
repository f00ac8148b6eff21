"""Each shipped recipe from end to end: real files in the layout of its set, the command, a figure.

The network is a small one with random weights, cut at pool5, and the grid of C is shorter.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from trees import VOC_CLASSES, make_caltech, make_voc

from deepfeat.evaluation.recipe_files import list_recipes
from deepfeat.evaluation.result import Result

SMALL = (
    "--set", "extract.network=vgg8-small", "--set", "extract.weights=random:0",
    "--set", "extract.layer=pool5", "--set", "extract.scales=[48, 72]",
    "--set", "svm.C=[0.01, 1, 100]", "--device", "cpu", "--workers", "1", "--json",
)  # fmt: skip
FEWER = ("--set", "split.train=6", "--set", "split.test=3")
MISSING = ("000003", "000019")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A folder a set; of VOC 2007 two images are missing and most classes are never shown."""
    root = tmp_path_factory.mktemp("trees")
    make_voc(root / "voc2007", "2007", {"train": 8, "val": 8, "test": 9}, missing=MISSING)
    make_voc(root / "voc2012", "2012", {"train": 16, "val": 9})
    make_caltech(root / "caltech101", 3, 10)
    make_caltech(root / "caltech256", 3, 10, digits="256")
    return root


PLACES = {
    "voc2007": "voc2007", "voc2007-3scales": "voc2007", "voc2012": "voc2012",
    "caltech101": "caltech101", "caltech256": "caltech256",
    "folder": "caltech101/101_ObjectCategories", "csv": "labels.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def labels(trees):
    """A CSV file over the images of Caltech, 24 for training and 6 for test."""
    images = sorted((trees / "caltech101").rglob("*.jpg"))
    lines = [
        f"{path.relative_to(trees)},{path.parent.name},{'test' if row % 5 == 4 else 'train'}"
        for row, path in enumerate(images)
    ]
    (trees / "labels.csv").write_text("\n".join(["path,label,split", *lines]))


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_runs_from_end_to_end(command_line, trees, labels, tmp_path, name):
    fewer = FEWER if name.startswith("caltech") else ()
    output = tmp_path / "r.json"
    arguments = ("svm-eval", name, "--data", trees / PLACES[name], *SMALL, *fewer, "-o", output)
    ended = command_line(*arguments)
    is_partial = name not in ("folder", "csv")  # the others lack most of the official images
    assert ended.status == is_partial, ended.err
    told = json.loads(ended.out)
    assert told["figure"]["value"] > 50
    assert told["figure"]["partial"] is is_partial
    assert told["recipe"]["name"] == name
    assert (tmp_path / f"{name}.vgg8-small.h5").exists()
    assert Result.load(output).as_value() == told
    again = command_line(*arguments)
    assert again.status == ended.status
    second = json.loads(again.out)
    for one in (told, second):
        del one["timings"], one["provenance"], one["solver"]["seconds"]
    assert second == told


def test_the_text_has_the_figure_beside_the_published_one(command_line, trees, tmp_path):
    arguments = [one for one in SMALL if one != "--json"]
    ended = command_line(
        "svm-eval", "caltech101", "--data", trees / "caltech101", *arguments,
        "--set", "svm.select.fraction=0.3", "-o", tmp_path / "r.json", "--set", "split.test=3",
        "--set", "split.count=3", "--seed", "1", "--set", "split.train=6",
    )  # fmt: skip
    assert ended.status == 1, ended.err
    assert "mean class recall" in ended.out
    assert "PARTIAL" in ended.out
    assert "BACKGROUND_Google" in ended.out
    assert "30 of the 9,144 images of the set are there" in ended.out
    assert "split 0" in ended.err  # progress is not the result


def test_voc2007_with_images_missing_is_partial_and_names_them(command_line, trees, tmp_path):
    output = tmp_path / "r.json"
    ended = command_line(
        "svm-eval", "voc2007", "--data", trees / "voc2007", *SMALL, "-o", output
    )  # fmt: skip
    assert ended.status == 1
    told = json.loads(ended.out)
    assert told["data"]["missing"] == ["000003.jpg", "000019.jpg"]
    assert told["data"]["train"] == 15
    assert told["data"]["test"] == 8
    assert told["figure"]["partial"] is True
    assert told["exit_status"] == 1
    values = {row["class"]: row["value"] for row in told["per_class"]}
    assert list(values) == list(VOC_CLASSES)
    untested = [row["class"] for row in told["per_class"] if row["positives"] == 0]
    untrained = [row["class"] for row in told["per_class"] if row["training"] == 0]
    assert untested and untrained
    assert all(values[name] is None for name in {*untested, *untrained})
    known = [value for value in values.values() if value is not None]
    assert told["figure"]["value"] == pytest.approx(np.mean(known))
    partial = [one["message"] for one in told["warnings"] if one["kind"] == "partial"]
    assert "25 of the 9,963 images of the set are there" in partial
    assert "2 listed images are missing: '000003.jpg', '000019.jpg'" in partial
    empty = " ".join(one["message"] for one in told["warnings"] if one["kind"] == "empty_class")
    assert all(f"'{name}'" in empty for name in {*untested, *untrained})


def test_foreign_and_random_weights_are_told_beside_a_published_figure(
    command_line, trees, tmp_path
):
    ended = command_line(
        "svm-eval", "voc2007", "--data", trees / "voc2007", *SMALL, "-o", tmp_path / "r.json"
    )  # fmt: skip
    told = json.loads(ended.out)
    assert told["published"]["figure"] == 89.3
    kinds = [one["kind"] for one in told["warnings"]]
    assert "foreign_weights" in kinds
    assert "untrained" in kinds
    assert told["features"][0]["untrained"] is True


def test_two_networks_are_two_stores_and_one_row(command_line, trees, tmp_path):
    ended = command_line(
        "svm-eval", "caltech101:both", "--data", trees / "caltech101", *FEWER, *SMALL,
        "--set", 'extract.network=["vgg8-small", "vgg8-small"]',
        "--set", "extract.1.weights=random:1", "-o", tmp_path / "r.json",
    )  # fmt: skip
    told = json.loads(ended.out)
    assert [one["weights"] for one in told["features"]] == ["random:0", "random:1"]
    assert [one["store"] for one in told["features"]] == [
        "caltech101.vgg8-small.h5", "caltech101.vgg8-small.2.h5",
    ]  # fmt: skip
    assert [one["dimension"] for one in told["features"]] == [256, 256]
