"""Recipes from strangers: refused with status 64, never a traceback, a hang or a file elsewhere."""

from __future__ import annotations

import os

import pytest

from deepfeat.errors import DeepfeatError, RecipeError
from deepfeat.evaluation.recipe import load_recipe

PLAIN = """name = "plain"
[data]
set = "folder"
[split]
train = 3
test = "rest"
[[extract]]
network = "vgg16"
scales = [256]
"""
HOSTILE = {
    "deep list": PLAIN + "x = " + "[" * 100_000,
    "deep table": PLAIN + "x = " + "{a=" * 5_000,
    "long number": PLAIN + "x = " + "1" * 5_000,
    "no text": b"\xff\xfe\x00".decode("latin-1"),
    "name outside": PLAIN.replace('"plain"', '"../evil"'),
    "name a list": PLAIN.replace('"plain"', '["a"]'),
    "name with a line end": PLAIN.replace('"plain"', '"a\\nb"'),
    "title with an escape": PLAIN.replace("[data]", 'title = "a\\u001b[31m"\n[data]', 1),
    "no networks": PLAIN.replace('"vgg16"', "[]"),
    "published a number": "published = 5\n" + PLAIN,
    "published a table": PLAIN + "[published]\nfigure = 3\n",
    "published not a number": PLAIN + '[[published]]\nvariant = ""\nfigure = nan\n',
    "published weights a number": PLAIN + "[[published]]\nfigure = 3\nweights = 3\nvariant = ''\n",
    "variants a number": "variants = 5\n" + PLAIN,
    "extract a number": PLAIN.split("[[extract]]")[0].replace("[data]", "extract = 5\n[data]", 1),
}

# Keys of many parts: the parser's memory grows with their square, and reading them calls itself.
HOSTILE |= {
    "dotted key of 1,500 parts": ".".join("a" * 1_500) + " = 1\n" + PLAIN,
    "dotted key of 20,000 parts": ".".join("a" * 20_000) + " = 1\n" + PLAIN,
    "header of 5,000 parts": PLAIN + f"[{'.'.join('a' * 5_000)}]\n",
    "list header of 5,000 parts": PLAIN + f"[[{'.'.join('a' * 5_000)}]]\n",
    "quoted parts": PLAIN + ".".join(['"a b"'] * 3_000) + " = 1\n",
    "dots in an inline table": PLAIN + f"x = {{{'.'.join('a' * 3_000)} = 1}}\n",
    "over 1 MiB": PLAIN + "# " + "x" * (1 << 20),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path, case):
    path = tmp_path / "r.toml"
    path.write_bytes(HOSTILE[case].encode("latin-1"))
    with pytest.raises(RecipeError):
        load_recipe(path)


def test_the_plain_file_is_not(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(PLAIN)
    assert load_recipe(path).name == "plain"


@pytest.mark.parametrize(
    "change",
    [
        "svm.C={base=1.000001,from=0,to=20000000}",
        "svm.C=[1" + "0" * 400 + "]",
        "svm.C=[" + ",".join(map(str, range(1, 1002))) + "]",
        "svm.C=[" + ",".join(map(str, range(1, 102))) + "]",
        "svm.C=[1e13]",
        "svm.C=[1e-320, 1]",
        "svm.C={base=10,from=-20,to=20}",
        "svm.class_weight={pos=1e300,neg=1}",
        "svm.intercept_scaling=1e15",
        "extract.scales=[1" + "0" * 100 + "]",
        "split.count=100000000",
        "split.seed=1" + "0" * 30,
        "svm.max_iter=99999999999999",
        "svm.random_state=99999999999999",
        "extract.network=[]",
        "svm.solver=gram",
        "x",
        "=3",
    ],
)
def test_a_value_without_bounds_is_refused(change):
    with pytest.raises(RecipeError):
        load_recipe("caltech101", set=["svm.loss=hinge", change])


@pytest.mark.parametrize("name", ["a\0b.toml", "caltech101:vgg16+vgg19", "caltech101:", "x/y.toml"])
def test_a_name_that_is_none_is_refused_or_plain(name):
    if name == "caltech101:":
        assert load_recipe(name).variant == "vgg16"
        return
    with pytest.raises(DeepfeatError):
        load_recipe(name)


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "sparse"])
def test_what_is_no_small_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "r.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(RecipeError, match="r.toml"):
        load_recipe(path)


@pytest.mark.parametrize(
    "change",
    [
        ".".join("a" * 3_000) + "=1",
        "a" * 100_000 + "=1",
        "svm.C=" + "[" * 3_000 + "]" * 3_000,
        "svm.C={" + ".".join("a" * 3_000) + "=1}",
        "svm.C=[1" + ", 1" * 400_000 + "]",
        "extract.0." + ".".join("9" * 2_000) + "=1",
    ],
    ids=lambda change: change[:20],
)
def test_a_hostile_change_is_refused_in_few_words(change):
    with pytest.raises(RecipeError) as refused:
        load_recipe("folder", set=[change])
    assert len(str(refused.value)) < 2_000


def test_more_blocks_than_anybody_stacks_are_refused(tmp_path):
    block = '[[extract]]\nnetwork = "vgg8-small"\nscales = [64]\n'
    names = ", ".join(['"vgg8-small"'] * 3_000)
    for text in (PLAIN + block * 3_000, PLAIN.replace('"vgg16"', f"[{names}]")):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(RecipeError, match="networks"):
            load_recipe(tmp_path / "r.toml")


def test_weights_of_networks_have_bounds():
    with pytest.raises(RecipeError, match="fuse.weights"):
        load_recipe("caltech101:both", set=["fuse.weights=[1e300, 1]"])
