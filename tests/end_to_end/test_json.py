"""``--json``: one line that parses, with its schema first and the keys that are promised."""

from __future__ import annotations

import functools
import json

import pytest

SMALL = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224", "--device", "cpu")
CHEAP = tuple(
    word
    for key in ("network=vgg8-small", "weights=random:0", "layer=pool5", "scales=[48]")
    for word in ("--set", f"extract.{key}")
)
PROMISED = {
    "deepfeat.extract/1": "store form complete images rows ok failures failures_csv resumed "
    "computed skipped_files duplicates removed layers scales network weights untrained identity "
    "bytes seconds images_per_second share exit_status",
    "deepfeat.dry_run/1": "images bytes_needed bytes_free seconds_estimated images_per_second",
    "deepfeat.error/1": "error message expected found advice exit_status",
    "deepfeat.info/1": "store form schema_version generation images rows statuses layers identity "
    "provenance environments removed bytes complete",
    "deepfeat.verify/1": "store deep files bytes damaged orphans ok exit_status",
    "deepfeat.networks/1": "networks",
    "deepfeat.demo/1": "images store count shapes query neighbours agreement chance result",
    "deepfeat.result/1": "recipe data features choice solver figure published measures per_class "
    "splits predictions warnings provenance timings exit_status",
    "deepfeat.recipes/1": "recipes",
}
COMMANDS = {
    "deepfeat.extract/1": ("extract", "images", "new.h5", *SMALL),
    "deepfeat.dry_run/1": ("extract", "images", "none.h5", *SMALL, "--dry-run"),
    "deepfeat.error/1": ("extract", "nowhere", "none.h5", *SMALL),
    "deepfeat.info/1": ("info", "done.h5", "--keys"),
    "deepfeat.verify/1": ("verify", "done.h5", "--deep"),
    "deepfeat.networks/1": ("networks", "vgg8-small"),
    "deepfeat.demo/1": ("demo", "tour"),
    "deepfeat.result/1": ("svm-eval", "folder", "--data", "tree", "--device", "cpu", *CHEAP),
    "deepfeat.recipes/1": ("recipes",),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory, save_picture):
    """A folder with two images, one broken file, and a finished store of them."""
    from deepfeat import extract

    root = tmp_path_factory.mktemp("json")
    save_picture(root / "images" / "a.png", 60, 80)
    save_picture(root / "images" / "b.png", 60, 80, seed=1)
    (root / "images" / "c.png").touch()
    for number in range(10):
        name = "xy"[number % 2]
        save_picture(root / "tree" / name / f"{number}.png", 50, 60, seed=number)
    extract(
        root / "images",
        root / "done.h5",
        network="vgg8-small",
        weights="random:0",
        scales=[224],
        device="cpu",
    ).close()
    return root


@pytest.fixture(autouse=True)
def small_tour(monkeypatch):
    """The tour with five images a class instead of twenty."""
    from deepfeat.demo import tour

    monkeypatch.setattr(tour, "take_tour", functools.partial(tour.take_tour, per_class=5))


@pytest.mark.parametrize("schema", COMMANDS)
def test_json_is_one_line_with_its_schema_and_keys(place, monkeypatch, command_line, schema):
    monkeypatch.chdir(place)
    ended = command_line(*COMMANDS[schema], "--json", "--quiet")
    assert ended.out.endswith("\n")
    assert ended.out.count("\n") == 1
    answer = json.loads(ended.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert next(iter(answer.items())) == ("schema", schema)
    assert [key for key in PROMISED[schema].split() if key not in answer] == []
    assert answer.get("exit_status", ended.status) == ended.status
    assert bool(ended.err) == (schema == "deepfeat.error/1")  # --quiet: only errors speak


def test_every_command_has_a_line_here():
    from deepfeat.cli.main import deepfeat as group

    assert {arguments[0] for arguments in COMMANDS.values()} == set(group.commands)


def test_extract_counts_what_the_store_holds(place, monkeypatch, command_line):
    monkeypatch.chdir(place)
    answer = json.loads(command_line("extract", "images", "done.h5", *SMALL, "--json").out)
    assert (answer["images"], answer["ok"], answer["computed"]) == (3, 2, 0)
    assert answer["failures"] == {"empty": 1}
    assert answer["layers"] == {"fc7": 512}
    assert answer["scales"] == ["224"]
    assert answer["untrained"] is True


def test_info_lists_keys_with_statuses(place, monkeypatch, command_line):
    monkeypatch.chdir(place)
    answer = json.loads(command_line("info", "done.h5", "--keys", "--json").out)
    found = {one["key"]: one["status"] for one in answer["keys"]}
    assert found == {"a.png": "ok", "b.png": "ok", "c.png": "empty"}
