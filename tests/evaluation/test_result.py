"""The result as JSON: every promised key, NaN as null, the same after reading it again."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from by_hand import clouds, make_dataset, make_store, single
from oracles import linear_svm_protocol as plain

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from mutate import change_json

from deepfeat.errors import CannotCreate, DataError, DataMissing, StoreError
from deepfeat.evaluation.recipe import load_recipe
from deepfeat.evaluation.result import SCHEMA, Result
from deepfeat.evaluation.run import evaluate

PROMISED = {  # interfaces.md, section 2
    "": "schema recipe data features choice solver figure published measures per_class splits "
    "predictions warnings provenance timings exit_status",
    "recipe": "name variant sha256 resolved set",
    "data": "set root_sha256 train test classes missing holes partial duplicates",
    "features.0": "store identity layer scales across_scales normalise dimension untrained",
    "choice": "C per by curve at_edge",
    "choice.curve.0": "C score scores",
    "solver": "name problems worst_gap missed seconds",
    "figure": "what value low high spread n definition partial",
    "published": "figure spread source verified",
    "measures": "voc11 voc10 step voc11.difficult_negative voc10.difficult_negative",
    "measures|voc11": "value low high",
    "per_class.0": "class value low high positives published C gap",
    "splits.0": "split value train_sha256 test_sha256 C",
    "warnings.0": "kind message",
    "provenance": "deepfeat commit command date versions machine",
    "timings": "extract read solve score",
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """VOC 2007 by hand: class c has no positive in the test."""
    folder = tmp_path_factory.mktemp("result")
    owners = [row % 3 for row in range(36)] + [0, 1] * 7
    labels = single(owners)
    labels[::5][labels[::5] == 1] = 0
    labels[40, 1] = 0
    splits = {"train": range(20), "val": range(20, 36), "trainval": range(36),
              "test": range(36, 50)}  # fmt: skip
    data = make_dataset(folder / "images", labels, splits)
    scales = {"256": clouds(owners, 10, 1, 2.0), "384": clouds(owners, 10, 2, 2.0)}
    store = make_store(folder / "s.h5", scales, holes=(3, 44), network="mine")
    recipe = load_recipe("voc2007", set=["extract.scales=[256, 384]", "svm.C=[0.1, 1, 10]"])
    return evaluate(recipe, data=data, features=[store], output=folder / "r.json"), folder


def at(value, path):
    for name in path.replace("|", ".").split(".") if path else []:
        value = value[int(name)] if name.isdecimal() else value[name]
    return value


@pytest.mark.parametrize("path", PROMISED)
def test_every_promised_key_is_there(evaluated, path):
    value = json.loads((evaluated[1] / "r.json").read_text())
    assert [key for key in PROMISED[path].split() if key not in at(value, path)] == []


def test_the_json_is_one_line_with_its_schema_first_and_nan_as_null(evaluated):
    result, folder = evaluated
    line = result.to_json()
    assert "\n" not in line

    def never(name):
        pytest.fail(f"{name} is no JSON")

    value = json.loads(line, parse_constant=never)
    assert next(iter(value.items())) == ("schema", SCHEMA)
    assert value == json.loads((folder / "r.json").read_text(), parse_constant=never)
    assert math.isnan(result.per_class[2]["value"])
    assert value["per_class"][2]["value"] is None
    assert 0 <= value["per_class"][0]["gap"] <= 1e-4


def test_a_result_read_again_is_the_same(evaluated, tmp_path):
    result, folder = evaluated
    again = Result.load(folder / "r.json")
    assert again.as_value() == result.as_value()
    assert again.exit_status == result.exit_status == 1
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (folder / "r.json").read_bytes()


def test_the_frame_has_a_row_a_class(evaluated):
    frame = evaluated[0].to_frame()
    columns = ["class", "value", "low", "high", "positives", "published", "C", "gap"]
    assert [name for name in columns if name not in frame.columns] == []
    assert frame["class"].tolist() == ["a", "b", "c"]
    assert frame["positives"].tolist() == [row["positives"] for row in evaluated[0].per_class]
    assert np.isnan(frame["value"][2])


def test_the_scores_file_gives_the_figures_again(evaluated):
    result, folder = evaluated
    with np.load(folder / result.predictions) as held:
        scores = dict(held)
    assert scores["classes"].tolist() == ["a", "b", "c"]
    assert scores["keys_0"].tolist() == [b"%02d.png" % row for row in range(36, 50) if row != 44]
    assert scores["labels_0"].shape == scores["scores_0"].shape == (13, 3)
    assert scores["scores_0"].dtype == np.float32
    for ap, name in ((plain.eleven_points, "voc11"), (plain.step, "step")):
        values = [ap(scores["labels_0"][:, one], scores["scores_0"][:, one]) for one in range(3)]
        assert result.measures[name]["value"] == pytest.approx(100 * np.nanmean(values))
        if name == "voc11":
            found = [row["value"] for row in result.per_class]
            assert found == pytest.approx([100 * one for one in values], nan_ok=True)
    told = np.where(scores["labels_0"] == 0, -1, scores["labels_0"])
    values = [plain.eleven_points(told[:, one], scores["scores_0"][:, one]) for one in range(2)]
    assert result.measures["voc11.difficult_negative"]["value"] == pytest.approx(
        100 * np.mean(values)
    )


def test_positives_and_training_images_are_counted_by_class(evaluated):
    result, folder = evaluated
    with np.load(folder / result.predictions) as held:
        labels = held["labels_0"]
    assert [row["positives"] for row in result.per_class] == (labels > 0).sum(axis=0).tolist()
    assert result.per_class[2]["positives"] == 0
    assert (result.data["train"], result.data["test"]) == (35, 13)


def test_only_the_recipes_own_measure_has_an_interval(evaluated):
    measures = evaluated[0].measures
    assert [name for name, row in measures.items() if row["low"] is not None] == ["voc11"]
    assert measures["voc11"]["low"] == evaluated[0].figure["low"]
    assert measures["voc11"]["value"] == pytest.approx(evaluated[0].figure["value"])


def test_the_interval_is_the_bootstrap_over_test_images(evaluated):
    from deepfeat.metrics.bootstrap import mean_ap_interval

    result, folder = evaluated
    with np.load(folder / result.predictions) as held:
        labels, scores = held["labels_0"], held["scores_0"]
    low, high = mean_ap_interval(labels, scores, "voc11")  # of a thousand draws
    assert result.figure["low"] == pytest.approx(100 * low)
    assert result.figure["high"] == pytest.approx(100 * high)
    assert low < high


def test_the_interval_of_a_recall_is_of_the_recall(tmp_path):
    owners = [row % 3 for row in range(60)]
    splits = {"train": range(24), "test": range(24, 60)}
    data = make_dataset(tmp_path / "i", single(owners), splits)
    store = make_store(tmp_path / "s.h5", {"256": clouds(owners, 9, 5, 3.0)})
    sets = ["extract.scales=[256]", "svm.C=[0.1, 1]", "svm.select.by=recall"]
    for measure in ("recall", "accuracy"):
        recipe = load_recipe("csv", set=[*sets, f"score={{measure='{measure}'}}"])
        output = tmp_path / f"{measure}.json"
        result = evaluate(recipe, data=data, features=[store], output=output)
        with np.load(tmp_path / f"{measure}.scores.npz") as held:
            predicted = held["scores_0"].argmax(axis=1)
        truth = np.array(owners[24:])
        recalls = [(predicted[truth == one] == one).mean() for one in range(3)]
        assert result.measures["recall"]["value"] == pytest.approx(100 * np.mean(recalls))
        accuracy = 100 * (predicted == truth).mean()
        assert result.measures["accuracy"]["value"] == pytest.approx(accuracy)
        assert result.figure["value"] == pytest.approx(result.measures[measure]["value"])
        assert result.figure["low"] < result.figure["value"] < result.figure["high"]
        assert measure in result.figure["definition"]


def test_provenance_says_with_what_and_when(evaluated):
    provenance = evaluated[0].provenance
    assert {"python", "numpy", "scikit-learn", "torch"} <= set(provenance["versions"])
    assert len(provenance["date"].split("-")) == 3
    assert provenance["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("contents", "error"),
    [
        ("", DataError),
        ("{", DataError),
        ("[1]", DataError),
        ('{"schema": "deepfeat.extract/1"}', DataError),
        (f'{{"schema": "{SCHEMA}"}}', DataError),
        (None, DataMissing),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, contents, error):
    path = tmp_path / "r.json"
    if contents is not None:
        path.write_text(contents)
    with pytest.raises(error) as caught:
        Result.load(path)
    assert f"'{path}'" in str(caught.value)


def _pipe(path):
    os.mkfifo(path)


def _endless(path):
    path.symlink_to("/dev/zero")


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(3 << 30)


@pytest.mark.parametrize("make", [_pipe, _endless, _sparse, lambda path: path.mkdir()])
def test_what_is_no_file_of_a_results_size_is_not_waited_for(tmp_path, make):
    path = tmp_path / "r.json"
    make(path)
    with pytest.raises(DataError, match="is no result of svm-eval"):
        Result.load(path)


@pytest.mark.parametrize(
    "contents",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 10_000,
        b"NaN",
        b"null",
        b'{"schema": "deepfeat.result/1", "recipe": ' + b"[" * 900 + b"]" * 900 + b"}",
        "{}".encode("utf-16"),
        bytes(1000),
    ],
    ids=lambda contents: ascii(contents[:12]),
)
def test_hostile_json_is_refused(tmp_path, contents):
    (tmp_path / "r.json").write_bytes(contents)
    with pytest.raises(DataError, match="is no result of svm-eval"):
        Result.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("figure", []),
        ("figure.partial", None),
        ("recipe.name", {}),
        ("recipe.sha256", 1),
        ("recipe.set", "svm.C"),
        ("data.root_sha256", None),
        ("data.images", "many"),
        ("features", []),
        ("features.0", None),
        ("features.0.identity", [[]]),
        ("features.0.layer", 7),
        ("splits.0", 3),
        ("splits.0.split", [0]),
        ("per_class.0", "a"),
        ("study", None),
        ("exit_status", 70),
        ("provenance.machine", "DEEP"),
    ],
)
def test_a_field_that_is_wrong_is_named(evaluated, tmp_path, place, value):
    tree = json.loads((evaluated[1] / "r.json").read_text())
    *parents, last = place.split(".")
    holder = at(tree, ".".join(parents))
    holder[int(last) if last.isdecimal() else last] = value
    deep = "[" * 500 + "]" * 500
    (tmp_path / "r.json").write_text(json.dumps(tree).replace('"DEEP"', deep))
    with pytest.raises(DataError, match="is no result of svm-eval: field 'result") as caught:
        Result.load(tmp_path / "r.json")
    assert place.partition(".")[0] in str(caught.value)


def test_a_result_with_any_one_value_changed_is_read_or_refused(evaluated, tmp_path):
    good = (evaluated[1] / "r.json").read_bytes()
    path, ended = tmp_path / "r.json", set()
    for seed in range(300):
        path.write_bytes(change_json(random.Random(seed), good))
        try:
            again = Result.load(path)
        except DataError:
            ended.add("refused")
        else:
            ended.add("read")
            again.to_json()
            assert again.exit_status in (0, 1)
    assert ended == {"read", "refused"}


def test_a_link_to_a_result_is_followed(evaluated, tmp_path):
    (tmp_path / "r.json").symlink_to(evaluated[1] / "r.json")
    assert Result.load(tmp_path / "r.json").as_value() == evaluated[0].as_value()


def test_a_result_is_written_whole_or_not_at_all(evaluated, tmp_path, monkeypatch):
    from deepfeat import files

    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "r.json"
    path.write_text("before")
    monkeypatch.setattr(files, "replace", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        evaluated[0].save(path)
    assert "extracted is safe" in caught.value.advice
    assert path.read_text() == "before"


def test_a_result_in_no_folder_is_refused(evaluated, tmp_path):
    with pytest.raises(CannotCreate, match="does not exist"):
        evaluated[0].save(tmp_path / "none" / "r.json")


def test_several_networks_and_splits_have_a_row_each(tmp_path):
    owners = [row % 3 for row in range(30)]
    data = make_dataset(tmp_path / "i", single(owners), name="caltech101")
    stores = [
        make_store(tmp_path / f"{seed}.h5", {"256": clouds(owners, seed, seed, 2.0)})
        for seed in (5, 6)
    ]
    recipe = load_recipe(
        "caltech101:both",
        set=["extract.scales=[256]", "split.train=6", "split.test=4", "svm.C=[0.1, 1]"],
    )
    result = evaluate(recipe, data=data, features=stores)
    assert [row["dimension"] for row in result.features] == [5, 6]
    assert [row["split"] for row in result.splits] == [0, 1, 2]
    curve = result.choice["curve"]
    assert [len(row["scores"]) for row in curve] == [3, 3]  # one part held out, three splits
    assert [row["score"] for row in curve] == pytest.approx(
        [np.mean(row["scores"]) for row in curve]
    )
    assert result.predictions is None
    assert result.recipe["variant"] == "both"
