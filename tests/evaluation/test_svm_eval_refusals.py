"""What ``svm-eval`` refuses: the exit status, and words that say what to do."""

from __future__ import annotations

import json
import os

import pytest
from by_hand import clouds, make_store
from trees import make_caltech, make_voc

from deepfeat.evaluation.recipe_files import recipe_folder

SMALL = (
    "--set", "extract.network=vgg8-small", "--set", "extract.weights=random:0",
    "--set", "extract.layer=pool5", "--set", "extract.scales=[48, 72]",
    "--set", "svm.C=[0.1, 1]", "--device", "cpu", "--workers", "1",
)  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(command_line, here):
    """Run svm-eval and give back what it said; nothing may lie in the working folder after."""

    def run(status: int, *arguments: object) -> str:
        before = sorted(here.rglob("*"))
        ended = command_line("svm-eval", *arguments)
        assert ended.status == status, ended.err
        assert ended.out == ""
        assert "Traceback" not in ended.err
        assert sorted(here.rglob("*")) == before
        return ended.err

    return run


@pytest.fixture
def folder(tmp_path):
    """Three classes of eight images, a folder each."""
    return make_caltech(tmp_path / "tree", 3, 8)


def test_a_set_that_is_nowhere_says_where_to_get_it(refused):
    said = refused(66, "voc2007", *SMALL)
    assert "data set 'voc2007' is not in" in said
    assert "--download fetches" in said
    assert "DEEPFEAT_DATA" in said
    said = refused(66, "caltech101", *SMALL)
    assert "http" in said


def test_a_folder_that_is_no_such_set_says_what_is_in_it(refused, folder, tmp_path):
    said = refused(66, "voc2007", "--data", folder, *SMALL)
    assert f"data set 'voc2007' is not in '{folder}'" in said
    assert "holds 3 folders ('BACKGROUND_Google'" in said
    assert "ImageSets/Main/trainval.txt" in said
    said = refused(66, "caltech101", "--data", tmp_path / "none", *SMALL)
    assert f"no folder '{tmp_path / 'none'}'" in said


def test_own_images_need_data(refused):
    assert "--data FOLDER, with a folder for each class" in refused(64, "folder", *SMALL)
    assert "--data LABELS.csv" in refused(64, "csv", *SMALL)


def test_labels_without_any_image_are_refused_before_work(refused, tmp_path):
    root = make_voc(tmp_path, "2007", 2, missing=[f"{n:06d}" for n in range(1, 7)])
    said = refused(66, "voc2007", "--data", root, *SMALL)
    assert "none of the 6 images of 'voc2007' is there" in said
    assert str(root / "JPEGImages") in said


def test_images_without_labels_are_refused(refused, tmp_path, folder):
    root = make_voc(tmp_path, "2007", 2)
    (root / "ImageSets").rename(root / "lists")
    said = refused(66, "voc2007", "--data", root, *SMALL)
    assert "ImageSets/Main/trainval.txt" in said
    table = tmp_path / "labels.csv"
    table.write_text("path,split\na.png,train\n")
    said = refused(65, "csv", "--data", table, *SMALL)
    assert f"'{table}' has no column 'label'" in said


def test_a_class_file_that_is_missing_is_named(refused, tmp_path):
    root = make_voc(tmp_path, "2007", 2)
    (root / "ImageSets/Main/cow_test.txt").unlink()
    assert "'cow_test.txt'" in refused(65, "voc2007", "--data", root, *SMALL)


def test_one_class_only_is_refused_before_work(refused, tmp_path):
    tree = make_caltech(tmp_path, 1, 8)
    said = refused(65, "folder", "--data", tree, *SMALL)
    assert "split 0: no class can be trained" in said
    assert "a class with positive and negative training images" in said
    assert "'BACKGROUND_Google'" in said


def test_one_class_of_which_there_are_descriptors_cannot_be_trained(command_line, here, ready):
    """Found when it is known which images have some."""
    _, arguments, make, owners = ready
    holes = [row for row, owner in enumerate(owners) if owner]
    store = make_store(here / "h.h5", {"256": clouds(owners, 9, 1)}, holes=holes, **make)
    ended = command_line("svm-eval", *arguments, "--features", store, "-o", "r.json")
    assert ended.status == 65
    assert "split 0: no class can be trained" in ended.err
    assert "found: 5 training images with descriptors" in ended.err


def test_fewer_images_than_the_split_asks_for_are_refused_before_work(refused, folder):
    said = refused(65, "caltech101", "--data", folder, *SMALL)
    assert "3 classes have fewer images than the split trains on" in said
    assert "at least 30 a class" in said
    assert "'BACKGROUND_Google (8)'" in said
    assert "split.train = 7 would do" in said


def test_a_split_that_leaves_no_test_is_refused(refused, folder):
    said = refused(65, "folder", "--data", folder, *SMALL, "--set", "split.train=8")
    assert "there are no test images" in said


def test_nothing_held_out_is_refused_before_work(refused, folder):
    said = refused(65, "folder", "--data", folder, *SMALL, "--set", "split.train=2")
    assert "of 6 training images 0 are held out to choose C" in said
    assert "kfold" in said


def test_a_csv_without_parts_is_refused_before_work(refused, tmp_path):
    (tmp_path / "a.png").touch()
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,cat\n")
    said = refused(65, "csv", "--data", table, *SMALL)
    assert "data set 'labels' has no part 'train'" in said
    assert "a column 'split'" in said
    table.write_text("path,label,split\na.png,cat,train\n")
    said = refused(65, "csv", "--data", table, *SMALL)
    assert "no part 'test'" in said
    assert "'train'" in said


def test_an_image_in_training_and_in_test_is_refused(refused, tmp_path):
    root = make_voc(tmp_path, "2007", 3)
    said = refused(65, "voc2007", "--data", root, *SMALL, "--set", "data.test=val")
    assert "3 images are in training and in test" in said
    assert "mend the parts" in said


def test_an_unknown_split_is_refused(refused, folder):
    few = ("--set", "split.train=5", "--set", "split.test=3")
    said = refused(64, "folder", "--data", folder, *SMALL, *few, "--split", "0,7")
    assert "there is no split 7" in said
    assert "splits from 0 to 2" in said
    assert "splits are numbers" in refused(64, "folder", "--data", folder, "--split", "one")


def test_a_seed_for_a_set_with_splits_of_its_own_is_refused(refused, tmp_path):
    assert "'split.seed' cannot matter here" in refused(64, "voc2007", "--seed", "3")


def test_a_folder_of_the_output_that_is_not_there_is_refused_before_work(refused, folder):
    few = ("--set", "split.train=5", "--set", "split.test=3")
    said = refused(73, "folder", "--data", folder, *SMALL, *few, "-o", "none/r.json")
    assert "the folder 'none' does not exist" in said


@pytest.fixture
def ready(tmp_path, folder):
    """A store by hand for the folders' images, and the arguments that use it."""
    keys = [str(path.relative_to(folder)).encode() for path in sorted(folder.rglob("*.jpg"))]
    owners = [row // 8 for row in range(24)]
    make = {"keys": keys, "root": folder}
    store = make_store(tmp_path / "s.h5", {"256": clouds(owners, 9, 1, 2.0)}, **make)
    arguments = (
        "folder", "--data", folder, "--set", "extract.scales=[256]", "--set", "svm.C=[0.1, 1]",
        "--set", "split.train=5", "--set", "split.test=3", "--quiet",
    )  # fmt: skip
    return store, arguments, make, owners


def test_the_store_by_hand_would_do(command_line, here, ready):
    store, arguments, *_ = ready
    ended = command_line("svm-eval", *arguments, "--features", store)
    assert ended.status == 0, ended.err
    assert sorted(path.name for path in store.parent.glob("folder.s*")) == [
        "folder.s.json", "folder.s.scores.npz",
    ]  # fmt: skip


def test_another_number_of_stores_is_refused(refused, ready):
    store, arguments, *_ = ready
    output = ("-o", "r.json")
    said = refused(64, *arguments, "--features", store, "--features", store, *output)
    assert "recipe 'folder' stacks 1 networks" in said
    assert "expected: 1 times --features" in said


def test_a_store_of_other_scales_is_refused(refused, ready):
    store, arguments, *_ = ready
    said = refused(
        65, *arguments, "--set", "extract.scales=[256, 384]", "--set",
        "extract.across_scales=stack", "--features", store, "-o", "r.json",
    )  # fmt: skip
    assert "extract.scales: ['256'] in the store" in said
    assert "Change the recipe with --set, or make another store." in said


def test_an_unfinished_store_is_refused(refused, ready, tmp_path):
    _, arguments, make, owners = ready
    work = make_store(tmp_path / "u.h5", {"256": clouds(owners, 9, 1)}, finished=False, **make)
    said = refused(65, *arguments, "--features", work, "-o", "r.json")
    assert "is not finished: 23 of 24 images are there" in said


def test_a_store_that_is_not_there_or_is_none_is_refused(refused, ready, tmp_path):
    _, arguments, *_ = ready
    refused(66, *arguments, "--features", tmp_path / "none.h5", "-o", "r.json")
    other = tmp_path / "other.h5"
    other.write_text("something")
    refused(65, *arguments, "--features", other, "-o", "r.json")


def test_an_output_that_is_something_else_is_kept(refused, ready, here):
    store, arguments, *_ = ready
    (here / "r.json").write_text("my notes")
    said = refused(73, *arguments, "--features", store, "-o", "r.json")
    assert "'r.json' exists and is no result of svm-eval" in said
    assert (here / "r.json").read_text() == "my notes"
    (here / "folder.json").mkdir()
    said = refused(73, *arguments, "--features", store, "-o", "folder.json")
    assert "is no result" in said


@pytest.mark.parametrize("kind", ["deep", "pipe", "endless", "wrong"])
def test_a_hostile_output_is_left_as_it_is_before_any_work(refused, folder, here, kind):
    path = here / "r.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.write_text("[" * 100_000 if kind == "deep" else '{"schema": "deepfeat.result/1"}')
    said = refused(73, "folder", "--data", folder, *SMALL, "-o", "r.json")
    assert "exists and is no result of svm-eval: it is left as it is" in said


def test_a_result_of_other_settings_is_kept_unless_asked(command_line, here, ready):
    store, arguments, *_ = ready
    line = ("svm-eval", *arguments, "--features", store, "-o", "r.json")
    assert command_line(*line).status == 0
    before = (here / "r.json").read_bytes()
    ended = command_line(*line, "--set", "svm.loss=hinge")
    assert ended.status == 73
    assert "'r.json' is the result of other settings" in ended.err
    assert (here / "r.json").read_bytes() == before
    assert command_line(*line, "--set", "svm.loss=hinge", "--overwrite").status == 0
    assert json.loads((here / "r.json").read_text())["recipe"]["set"][-1] == "svm.loss=hinge"


def test_a_result_that_was_tampered_with_is_no_crash(command_line, here, ready):
    store, arguments, *_ = ready
    line = ("svm-eval", *arguments, "--features", store, "-o", "r.json")
    assert command_line(*line).status == 0
    value = json.loads((here / "r.json").read_text())
    (here / "r.json").write_text(json.dumps({**value, "recipe": {}}))
    assert command_line(*line).status == 73


def test_an_own_store_made_another_way_says_to_move_it(command_line, here, tmp_path):
    tree = make_caltech(tmp_path / "t", 2, 5)
    line = ("svm-eval", "folder", "--data", tree, *SMALL, "--set", "split.train=3",
            "--set", "svm.select.fraction=0.4")  # fmt: skip
    assert command_line(*line).status == 0
    ended = command_line(*line, "--set", "extract.mirror=false", "-o", "other.json")
    assert ended.status == 65
    assert "extract.mirror: True in the store, False in the recipe" in ended.err
    assert "Move it away to have it made anew" in ended.err
    ended = command_line(*line, "--set", "extract.weights=random:1", "-o", "other.json")
    assert "extract.weights: 'random:0' in the store, 'random:1' in the recipe" in ended.err


def test_a_recipe_that_says_nonsense_is_refused_in_json_too(command_line, here):
    ended = command_line("svm-eval", "voc2007", "--set", "svm.c=[1, 2]", "--json")
    assert ended.status == 64
    told = json.loads(ended.out)
    assert (told["schema"], told["error"]) == ("deepfeat.error/1", "RecipeError")
    assert "svm.C" in told["advice"]
    assert told["exit_status"] == 64


def test_missing_images_are_an_error_where_the_recipe_says_so(command_line, here, ready, folder):
    store, arguments, make, _ = ready
    table = folder / "labels.csv"
    lines = [
        f"{key.decode()},{key.decode().split('/')[0]},{'test' if row % 3 == 0 else 'train'}"
        for row, key in enumerate([*make["keys"], b"Faces/none.jpg"])
    ]
    table.write_text("\n".join(["path,label,split", *lines]))
    line = ("svm-eval", "csv", "--data", table, *arguments[3:7], "--features", store, "--quiet")
    ended = command_line(*line, "--set", "data.missing=error", "-o", "r.json")
    assert ended.status == 65
    assert "1 images have no descriptors, and data.missing is 'error'" in ended.err
    assert "'Faces/none.jpg'" in ended.err
    assert command_line(*line, "-o", "r.json").status == 1


LONG = "9" * 5000


@pytest.mark.parametrize(
    "more",
    [
        ("--split", LONG),
        ("--split", "\u0663"),
        ("--seed", LONG),
        ("--seed", "9" * 4000),
        ("--set", f"extract.scales=['{LONG}']"),
        ("--set", "extract.scales=[20000]"),
        ("--set", f"extract.{'9' * 90}.layer=pool5"),
        ("--set", f"svm.select.folds={LONG}"),
    ],
    ids=lambda more: more[1][:20],
)
def test_numbers_of_thousands_of_digits_are_refused(refused, folder, more):
    said = refused(64, "folder", "--data", folder, *SMALL, *more)
    assert "bug" not in said


def test_a_block_of_thousands_of_digits_is_none(refused, folder, here):
    recipe = (recipe_folder() / "folder.toml").read_text()
    (here / "r.toml").write_text(f'{recipe}\n[variants.x.extract."{LONG}"]\nlayer = "pool5"\n')
    assert "names a block that is not there" in refused(64, "r.toml", "--data", folder)
