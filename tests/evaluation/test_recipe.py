"""Recipes: found by name, variant or path; overridden by --set; refused where they say nonsense."""

from __future__ import annotations

import json
import re

import pytest

from deepfeat.errors import NoPermission, RecipeError
from deepfeat.evaluation.recipe import load_recipe, variants_of, with_solver
from deepfeat.evaluation.recipe_files import list_recipes, recipe_folder

OWN = """
name = "own"
title = "my own"
[data]
set = "csv"
[[extract]]
network = "vgg16"
scales = [256, 384]
across_scales = "max"
[svm]
C = [0.1, 1]
"""
TABLE_11 = """
voc2007          vgg16  89.3  -
voc2007          vgg19  89.3  -
voc2007          both   89.7  -
voc2007-3scales  vgg16  89.0  -    unverified
voc2007-3scales  vgg19  89.0  -    unverified
voc2007-3scales  both   89.4  -    unverified
voc2012          vgg16  89.0  -
voc2012          vgg19  89.0  -
voc2012          both   89.3  -
caltech101       vgg16  91.8  1.0
caltech101       vgg19  92.3  0.5
caltech101       both   92.7  0.5
caltech256       vgg16  85.0  0.2
caltech256       vgg19  85.1  0.3
caltech256       both   86.2  0.3
"""


@pytest.fixture
def own(tmp_path):
    """Write a recipe of one's own, with other lines added or replaced."""

    def write(extra: str = "", text: str = OWN) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text + extra)
        return str(path)

    return write


def refused(name, *changes):
    """The words of a refusal."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, set=changes)
    assert caught.value.exit_status == 64
    return str(caught.value)


SHIPPED = [
    f"{name}:{variant}" if variant else name
    for name in list_recipes()
    for variant in ["", *variants_of(name)]
]


@pytest.mark.parametrize("label", SHIPPED)
def test_every_shipped_recipe_loads_in_every_variant(label):
    recipe = load_recipe(label)
    name, _, variant = label.partition(":")
    assert recipe.name == name == name.strip()
    assert recipe.title
    if variant:
        assert recipe.label == label
        assert recipe.sha256 == load_recipe(label).sha256


def test_the_shipped_recipes_are_those_of_the_folder():
    files = {path.stem for path in recipe_folder().iterdir()}
    assert set(list_recipes()) == files
    assert {"voc2007", "voc2012", "caltech101", "caltech256", "voc2007-3scales"} <= files


@pytest.mark.parametrize("line", TABLE_11.strip().splitlines())
def test_published_figures_are_those_of_the_paper(line):
    name, variant, figure, spread, *unverified = line.split()
    published = load_recipe(f"{name}:{variant}").published
    assert published.figure == float(figure)
    assert published.spread == (None if spread == "-" else float(spread))
    assert published.weights == "oxford"
    assert published.verified is not bool(unverified)
    assert published.source


@pytest.mark.parametrize("label", ["caltech101:15", "caltech101:15+both", "caltech256:30", "csv"])
def test_what_nobody_published_has_no_figure(label):
    assert load_recipe(label).published is None


def test_a_name_alone_is_the_first_variant():
    assert load_recipe("voc2007").label == "voc2007:vgg16"
    assert load_recipe("voc2007").sha256 == load_recipe("voc2007:vgg16").sha256


def test_variants_are_applied_in_order():
    recipe = load_recipe("caltech101:15+both")
    assert recipe["split.train"] == 15
    assert [block.network for block in recipe.blocks] == ["vgg16", "vgg19"]
    assert recipe.sha256 == load_recipe("caltech101:both+15").sha256
    assert "both set 'extract.network'" in refused("caltech101:both+vgg19")


def test_a_list_of_networks_is_a_block_each_with_its_own_weights_and_layer():
    first, second = load_recipe("voc2007:both").blocks
    assert (first.network, second.network) == ("vgg16", "vgg19")
    assert first.weights is second.weights is None  # each network's default
    assert first.scales == second.scales == ("256", "384", "512", "640", "768")


def test_a_replaced_network_brings_its_own_weights_and_layer():
    (block,) = load_recipe("voc2007", set=["extract.network=resnet50"]).blocks
    assert (block.network, block.weights, block.layer) == ("resnet50", None, None)
    (kept,) = load_recipe("voc2007", set=["svm.C=[1, 2]"]).blocks
    assert (kept.network, kept.weights, kept.layer) == ("vgg16", "oxford", "fc7")


@pytest.mark.parametrize("turned", [False, True])
def test_weights_set_beside_a_network_are_the_new_networks(turned):
    changes = ["extract.network=vgg8-small", "extract.weights=random:7", "extract.layer=pool5"]
    (block,) = load_recipe("voc2007", set=changes[::-1] if turned else changes).blocks
    assert (block.network, block.weights, block.layer) == ("vgg8-small", "random:7", "pool5")


def test_one_block_of_several_can_be_changed():
    sets = ["extract.1.network=alexnet", "extract.1.weights=random:1"]
    first, second = load_recipe("voc2007:both", set=sets).blocks
    assert (first.network, first.weights) == ("vgg16", None)
    assert (second.network, second.weights) == ("alexnet", "random:1")


def test_weights_of_a_list_of_networks_go_to_each(own):
    text = OWN.replace('"vgg16"', '["vgg16", "vgg19"]\nweights = "random:3"')
    assert [b.weights for b in load_recipe(own(text=text)).blocks] == ["random:3", "random:3"]
    sets = ['extract.0.network=["vgg16", "vgg19"]', "extract.weights=random:4"]
    assert [b.weights for b in load_recipe("csv", set=sets).blocks] == ["random:4", "random:4"]


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("svm.loss=hinge", "svm.loss", "hinge"),
        ('svm.loss="hinge"', "svm.loss", "hinge"),
        ("svm.C=[1, 0.5]", "svm.C", (1.0, 0.5)),
        ("svm.C={base = 10, from = -1, to = 1}", "svm.C", (0.1, 1.0, 10.0)),
        ("svm.class_weight={pos = 2, neg = 1}", "svm.class_weight", {"pos": 2.0, "neg": 1.0}),
        ("svm.class_weight=balanced", "svm.class_weight", "balanced"),
        (" svm.gap = 1e-3", "svm.gap", 1e-3),
        ("image.background=[0, 1, 255]", "image.background", (0, 1, 255)),
        ("image.exif=false", "image.exif", False),
    ],
)
def test_set_takes_bare_words_lists_and_tables(change, key, value):
    assert load_recipe("caltech101", set=[change])[key] == value
    assert load_recipe("caltech101", set=[change]).changes == (change,)


def test_a_table_set_as_a_whole_replaces_the_old_one():
    recipe = load_recipe("caltech101", set=['svm.select={on = "kfold", folds = 5}'])
    assert recipe["svm.select.on"] == "kfold"
    assert recipe["svm.select.folds"] == 5
    assert "svm.select.fraction" not in recipe.values


def test_scales_are_texts_in_ascending_order():
    for change in ("extract.scales=[512, 96]", 'extract.scales=["512", 96]'):
        assert load_recipe("voc2007", set=[change]).blocks[0].scales == ("96", "512")
    native = load_recipe("voc2007", set=['extract.scales=["native", 300]'])
    assert native.blocks[0].scales == ("300", "native")


def test_keys_made_moot_by_set_fall_away():
    recipe = load_recipe("voc2007", set=["extract.scales=[256]", "svm.select.on=kfold"])
    assert "svm.select.refit" not in recipe.values
    assert recipe.blocks[0].across_scales == "mean"
    fixed = load_recipe("caltech101", set=["svm.C=[1.0]", "svm.select.on=fixed"])
    assert [key for key in fixed.values if key.startswith("svm.select")] == ["svm.select.on"]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("caltech101", ["score.ap=voc11"], "'score.ap' cannot matter here: the measure ranks"),
        ("caltech101", ["svm.difficult=negative"], "every image of the set is labelled"),
        ("caltech101", ["data.train=train"], "the splits are drawn"),
        ("caltech101", ["svm.select.folds=3"], "there are no folds"),
        ("caltech101", ["split.count=1", "score.spread=std0"], "there is one split"),
        ("voc2007", ["split.train=3"], "the set has splits of its own"),
        ("voc2007", ["data.background=false"], "the set has no background class"),
        ("voc2007", ["svm.select.fraction=0.3"], "nothing is held out"),
        ("voc2007", ["score.spread=std0"], "the set has splits of its own"),
        ("voc2007", ["score.ap=step", "score.ties=group"], "the order of ties"),
        ("voc2007", ["fuse.weights=[1]"], "there is one network"),
        ("voc2007", ["svm.fit_intercept=false", "svm.intercept_scaling=2"], "no intercept"),
        ("voc2007", ["svm.solver=liblinear", "svm.gap=1e-3"], "the solver has no certificate"),
        ("voc2007", ["svm.tol=1e-3"], "it is liblinear's"),
        ("voc2007", ["svm.select.on=kfold", "svm.select.refit=false"], "the last fit is always"),
        ("voc2007", ["svm.C=[1]", "svm.select.on=fixed", "svm.select.tie=first"], "there is one C"),
        ("voc2007", ["extract.scales=[256]", "extract.across_scales=max"], "there is one scale"),
        ("voc2007", ["extract.scales=[256]", "extract.0.across_scales=max"], "there is one scale"),
    ],
)
def test_a_key_that_cannot_matter_is_refused(name, changes, words):
    said = refused(name, *changes)
    assert words in said
    assert f"'{changes[-1].partition('=')[0].replace('t.across', 't.0.across')}'" in said


def test_a_key_of_a_file_that_cannot_matter_is_refused(own):
    text = OWN.replace('"csv"', '"csv"\nbackground = true')
    assert "'data.background' cannot matter" in refused(own(text=text))
    assert "'extract.0.across_scales' cannot matter here" in refused(
        own(text=OWN.replace("[256, 384]", "[256]"))
    )


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("voc2007", ["svm.select.on=fixed"], "'fixed' wants one C"),
        ("voc2007", ["svm.C=[1]"], "there is nothing to choose"),
        ("voc2012", ["svm.select.on=val"], "'val' wants a set whose val is no part of the test"),
        ("caltech101", ["svm.select.per=class"], "it cannot choose a C for each"),
        ("voc2007:both", ["fuse.weights=[1, 2, 3]"], "one number a network is wanted"),
        ("voc2007", ["svm.select.by=recall"], "an image may have several classes"),
        ("voc2007", ["score.measure=recall"], "an image may have several classes"),
        ("voc2007", ["score.measure=accuracy"], "an image may have several classes"),
        ("voc2007", ["extract.3.network=vgg19"], "names a block that is not there"),
    ],
)
def test_contradictions_are_refused(name, changes, words):
    assert words in refused(name, *changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("svm.c=[1, 2]", "unknown recipe key 'svm.c'\n  Did you mean 'svm.class_weight', 'svm.C'"),
        ("extract.scale=[256]", "'extract.0.scale'\n  Did you mean 'extract.scales'"),
        ("svn.C=[1]", "Did you mean 'svm.C'"),
        ("name=other", "unknown recipe key 'name'"),
        ("svm.loss=sqared_hinge", 'expected: "squared_hinge" or "hinge"\n  found: \'sqared_hinge'),
        ("svm.C=[]", "a list that is not empty"),
        ("svm.C=[1, 1]", "values that differ from each other"),
        ("svm.C=[0]", "a number from 1e-12 to 1e+12"),
        ("svm.C=[nan]", "a number from 1e-12 to 1e+12"),
        ("svm.C={base = 2, from = 3, to = 1}", "from at most to"),
        ("svm.C={base = 2, from = 0, to = 5000}", "'svm.C' is not possible"),
        ("extract.scales=[]", "a list that is not empty"),
        ("extract.scales=[256, 256]", "scales that differ"),
        ("extract.mirror=yes", "true or false"),
        ("image.background=[0, 0, 300]", "three numbers from 0 to 255"),
        ("svm.tol=0", "a number above 0"),
        ("svm.max_iter=true", "a whole number from 1"),
        ("svm.C", "'svm.C' sets nothing"),
        ("=3", "'=3' sets nothing"),
        ("extract={network = 1}", "unknown recipe key"),
    ],
)
def test_unknown_keys_and_impossible_values_are_refused(change, words):
    assert words in refused("voc2007", change)


def test_unknown_recipes_and_variants_come_with_the_nearest(tmp_path):
    assert "Did you mean 'caltech101'" in refused("caltech10")
    assert "Did you mean 'both'" in refused("caltech101:bth")
    assert "'deepfeat recipes' lists them all" in refused("nothing")
    missing = str(tmp_path / "none.toml")
    assert f"there is no recipe '{missing}'" in refused(missing)


def test_a_recipe_is_found_by_path_with_variants(own, tmp_path, monkeypatch):
    path = own('[variants.a]\n[variants.b]\nsvm.loss = "hinge"\n')
    assert load_recipe(path).label == "own:a"
    assert load_recipe(f"{path}:b")["svm.loss"] == "hinge"
    monkeypatch.chdir(tmp_path)
    assert load_recipe("own.toml:b").label == "own:b"
    assert load_recipe(tmp_path / "own.toml").blocks[0].across_scales == "max"


def test_defaults_are_those_of_the_protocols(own):
    recipe = load_recipe(own())
    assert recipe["data.train"] == "train"
    assert recipe["svm.select.on"] == "holdout"
    assert recipe["svm.select.fraction"] == 0.2
    assert recipe["score.ap"] == "step"
    assert recipe["svm.class_weight"] == {"pos": 1.0, "neg": 1.0}
    block = recipe.blocks[0]
    assert (block.mirror, block.over_positions, block.normalise) == (True, "mean", "end")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN.replace('name = "own"', ""), "has no name"),
        (OWN.replace("[[extract]]", "[extract]"), "extract is a list of blocks"),
        ('name = "x"\n[data]\nset = "csv"\n', "extracts nothing"),
        (OWN.replace('set = "csv"', ""), "lacks 'data.set'"),
        (OWN.replace('network = "vgg16"', ""), "lacks 'extract.0.network'"),
        (OWN.replace('across_scales = "max"', ""), "lacks 'extract.0.across_scales'"),
        (OWN.replace('"csv"', '"caltech101"'), "lacks 'split.train'"),
        (OWN + "[[published]]\nfigur = 3\n", "unknown key 'published.figur'"),
        (OWN + '[[published]]\nsource = "x"\n', "a row of 'published' has no figure"),
        (OWN + '[[published]]\nfigure = "high"\n', "a row of 'published' has no figure"),
        (OWN + "[variants]\na = 3\n", "variants are tables"),
        ("variants = 3\n" + OWN, "variants are tables"),
        ("name = ", "it is no TOML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(own, text, words):
    assert words in refused(own(text=text))


def test_a_recipe_that_cannot_be_read_is_told(own, monkeypatch):
    from pathlib import Path

    def forbidden(self, mode):
        raise PermissionError(13, "Permission denied")

    path = own()
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(NoPermission):
        load_recipe(path)


def test_resolved_keys_are_plain_json_and_the_hash_is_theirs():
    recipe = load_recipe("voc2007")
    assert json.loads(json.dumps(recipe.resolved)) == recipe.resolved
    assert recipe.resolved["extract"][0]["scales"] == ["256", "384", "512", "640", "768"]
    assert re.fullmatch("[0-9a-f]{64}", recipe.sha256)


def test_the_hash_depends_on_what_is_asked_and_on_nothing_else(own):
    plain = load_recipe("voc2007")
    said = load_recipe("voc2007", set=["svm.class_weight={pos = 1, neg = 1}", "svm.gap=1e-4"])
    assert said.sha256 == plain.sha256  # what is the default anyway
    assert load_recipe("voc2007", set=["svm.gap=1e-3"]).sha256 != plain.sha256
    titled = OWN.replace("my own", "another title")
    assert load_recipe(own()).sha256 == load_recipe(own(text=titled)).sha256


def test_the_hash_of_a_shipped_recipe_stays():
    """Results on disk are recognised by it: a change of this number makes all of them foreign."""
    assert load_recipe("caltech101").sha256.startswith("9489de0bdf143a42")


def test_a_figure_of_another_protocol_is_not_shown_beside():
    """--set may change how a figure comes about, not what it is a figure of."""
    kept = ["extract.network=resnet50", "svm.C=[1, 2]", "split.seed=3", "data.missing=last"]
    assert load_recipe("caltech101", set=kept).published.figure == 91.8
    for change in ("split.train=15", "score.measure=accuracy", "data.background=false"):
        sets = [change, "svm.select.by=recall"]
        assert load_recipe("caltech101", set=sets).published is None
    assert load_recipe("voc2007", set=["score.ap=step"]).published is None


def test_another_solver_keeps_all_that_matters():
    recipe = load_recipe("folder", set=["svm.loss=hinge"])
    changed = with_solver(recipe, "liblinear")
    assert changed.values == recipe.values
    assert changed.blocks == recipe.blocks
    assert changed.changes[-1] == "svm.solver=liblinear"
