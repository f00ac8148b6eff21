"""Every key of every recipe matters: with another value the result is another, or it is refused.

A handful of small images is made so that each key has something to act on: one image is missing and
one broken, one is turned by EXIF, one transparent, one smaller than the scales, two are the same in
training and test, some of the test are the same among each other with other labels, and no side is
a multiple of 32. The network is a small one with random weights, cut at pool5; every way of
extracting is extracted once. What counts as the result are scores, figures and the choice of C,
never the recipe's own words.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import single
from PIL import Image
from trees import make_caltech, make_voc

from deepfeat.datasets.dataset import DataSet, Entry
from deepfeat.errors import DataError, DataMissing, RecipeError
from deepfeat.evaluation.features import store_paths
from deepfeat.evaluation.keys import KEYS
from deepfeat.evaluation.recipe import _dotted, _parsed, load_recipe
from deepfeat.evaluation.recipe_files import list_recipes, read_file
from deepfeat.evaluation.run import run_recipe
from deepfeat.evaluation.working import Working

CLASSES, IMAGES = 3, 42
TRAIN, VAL, TEST, SPARE = range(18), range(18, 24), range(24, 39), range(39, 42)
MISSING, BROKEN, TURNED, TRANSPARENT, TINY = 25, 26, 1, 2, 3
SAME = {27: 4, 31: 28, 32: 29, 33: 30}  # 27 is a training image; the others among the test
SMALL = (
    "extract.network=vgg8-small", "extract.weights=random:0", "extract.layer=pool5",
    "extract.scales=[48, 72]", "svm.C=[0.001, 0.03, 1]",
)  # fmt: skip
DRAWN = ("split.train=8", "split.test=4")
OF_RECIPE = {
    **dict.fromkeys(("caltech101", "caltech256", "folder"), (*SMALL, *DRAWN, "split.count=2")),
    **dict.fromkeys(("voc2007", "voc2007-3scales", "voc2012", "csv"), SMALL),
}


@dataclass(frozen=True)
class Other:
    """Another value of a key: what to set, beside what, and in which recipe it surely may stand.

    ``refused`` names the recipes in which the value is refused (all of them: "all").
    """

    change: str
    recipe: str = "voc2007"
    beside: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()  # recipe and its own change


VOC = ("voc2007", "voc2007-3scales", "voc2012")
LIBLINEAR = "svm.solver=liblinear"
DRAWS = ("caltech101", "caltech256", "folder")
OTHERS: dict[str, Other] = {
    "data.train": Other(
        "data.train=train", refused=("voc2007", "voc2007-3scales", "voc2012"),
        own=(("csv", "data.train=spare"), ("voc2012", "data.train=trainval")),
    ),  # voc2007: no val to choose C on; voc2012: val is the test
    "data.test": Other("data.test=spare", own=(("csv", "data.test=less"),)),
    "data.missing": Other("data.missing=last"),
    "data.duplicates": Other("data.duplicates=drop-train"),
    "split.count": Other("split.count=3", "caltech101"),
    "split.seed": Other("split.seed=7", "caltech101"),
    "split.train": Other("split.train=7", "caltech101"),
    "split.test": Other("split.test=3", "caltech101"),
    "image.exif": Other("image.exif=false"),
    "image.background": Other("image.background=[255, 0, 0]"),
    "resize.filter": Other("resize.filter=nearest"),
    "resize.upscale": Other("resize.upscale=false"),
    "extract.network": Other("extract.network=alexnet", beside=(
        "extract.weights=random:0", "extract.layer=pool5", "extract.scales=[72, 80]")),
    "extract.weights": Other("extract.weights=random:1"),
    "extract.preprocessing": Other("extract.preprocessing=caffe-vgg"),
    "extract.pool_rounding": Other("extract.pool_rounding=ceil"),
    "extract.layer": Other("extract.layer=conv5_1"),
    "extract.view": Other("extract.view=ten", refused=("all",)),  # there is one view
    "extract.mirror": Other("extract.mirror=false"),
    "extract.scales": Other("extract.scales=[48, 80]"),
    "extract.over_positions": Other("extract.over_positions=max"),
    "extract.across_scales": Other("extract.across_scales=max"),
    "extract.normalise": Other("extract.normalise=each"),
    "fuse.weights": Other("fuse.weights=[1, 4]", beside=(
        'extract.network=["vgg8-small", "vgg8-small"]', "extract.weights=random:0",
        "extract.1.layer=conv5_1", "extract.0.layer=pool5")),
    "score.measure": Other("score.measure=accuracy", "caltech101", refused=VOC,
                           own=(("csv", "score.measure=recall"),)),
    "score.ap": Other("score.ap=step", own=(("csv", "score.ap=voc11"),)),
    "score.difficult": Other("score.difficult=negative"),
    "score.ties": Other("score.ties=group"),
    "score.spread": Other("score.spread=std0", "caltech101"),
    "svm.loss": Other("svm.loss=hinge"),
    "svm.C": Other("svm.C=[0.01, 30]"),
    "svm.class_weight": Other("svm.class_weight={pos = 2, neg = 1}"),
    "svm.difficult": Other("svm.difficult=negative"),
    "svm.fit_intercept": Other("svm.fit_intercept=false"),
    "svm.intercept_scaling": Other("svm.intercept_scaling=20"),
    "svm.solver": Other("svm.solver=liblinear"),
    "svm.gap": Other("svm.gap=1e-40"),  # cannot be reached, so the problems are named
    "svm.tol": Other("svm.tol=0.5", beside=(LIBLINEAR,)),
    "svm.max_iter": Other("svm.max_iter=1", beside=(LIBLINEAR, "svm.loss=hinge")),
    "svm.random_state": Other("svm.random_state=5", beside=(
        LIBLINEAR, "svm.tol=0.3", "svm.C=[1, 30]")),
    "svm.select.on": Other("svm.select.on=kfold", own=(
        ("csv", "svm.select.on=holdout"), ("voc2012", "svm.select.on=holdout"))),
    "svm.select.fraction": Other("svm.select.fraction=0.5", "caltech101"),
    "svm.select.folds": Other("svm.select.folds=2", "voc2012"),
    "svm.select.per": Other("svm.select.per=class", refused=DRAWS, beside=(
        "svm.C=[0.001, 0.03, 1, 30, 1000]",)),
    "svm.select.by": Other("svm.select.by=step", own=(
        *((one, "svm.select.by=ap") for one in DRAWS), ("csv", "svm.select.by=recall"))),
    "svm.select.refit": Other("svm.select.refit=false"),
    # Two values of C so close that they rank alike, the larger first.
    "svm.select.tie": Other("svm.select.tie=first", beside=("svm.C=[1.0000001, 1]",)),
}  # fmt: skip
ELSEWHERE = {"data.set", "data.background"}  # these need folders, not entries: see below


class Bench:
    """The images, data sets over them, and a store for every way of extracting, made once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir()
        self.told: dict[str, str] = {}
        random = np.random.default_rng(3)
        self.owners = [row % CLASSES for row in range(IMAGES)]
        for row, owner in enumerate(self.owners):
            self._write(row, owner, random)
        for row, source in SAME.items():
            (self.images / name_of(row)).write_bytes((self.images / name_of(source)).read_bytes())
        (self.images / name_of(MISSING)).unlink()
        whole = (self.images / name_of(BROKEN)).read_bytes()
        (self.images / name_of(BROKEN)).write_bytes(whole[:200])
        self.labels = single(self.owners)
        self.labels[::5, 1] = 1
        self.labels[::7, 2] = 0
        self.labels[[0, 8, 16, 24], 0] = 0

    def _write(self, row: int, owner: int, random: np.random.Generator) -> None:
        """Waves as wide as the class says, often as another class would."""
        shown = owner if random.random() < 0.6 else int(random.integers(CLASSES))
        height, width = (40, 44) if row == TINY else random.integers(73, 100, 2)
        y, x = np.mgrid[0:height, 0:width]
        wave = np.sin(x / (2 + 2 * shown) + y / 9 + random.random())[..., None]
        noise = random.normal(0, 40, (height, width, 3))
        pixels = (128 + 90 * wave + noise).clip(0, 255).astype(np.uint8)
        path, exif = self.images / name_of(row), Image.Exif()
        if row == TRANSPARENT:
            alpha = np.zeros((height, width, 1), np.uint8)
            alpha[: height // 2] = 255
            Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(path)
        else:
            exif[0x0112] = 6 if row == TURNED else 1
            Image.fromarray(pixels).save(path, exif=exif)

    def dataset(self, name: str) -> DataSet:
        """The images as the set of a recipe: with several labels, or with one."""
        entries = tuple(
            Entry(name_of(row).encode(), self.images / name_of(row)) for row in range(IMAGES)
        )
        parts = {"spare": SPARE}
        if name == "voc2012":
            parts |= {"train": range(24), "val": TEST, "trainval": range(39)}
        elif name != "csv":
            parts |= {"train": TRAIN, "val": VAL, "trainval": range(24), "test": TEST}
        else:
            parts = {"train": range(24), "test": TEST, "spare": range(6, 24),
                     "less": range(24, 33)}  # fmt: skip
        is_single = name not in ("voc2007", "voc2012")
        labels = single(self.owners) if is_single else self.labels
        splits = {part: np.array(rows, np.int64) for part, rows in parts.items()}
        return DataSet(name, entries, ("a", "b", "c"), labels.astype(np.int8), splits)

    def result(self, name: str, changes: tuple[str, ...]) -> str:
        """What a recipe of these changes gives, as one text."""
        known = json.dumps((name, changes))
        if known not in self.told:
            recipe = load_recipe(name, set=changes)
            self.told[known] = self._run(recipe, self.dataset(recipe["data.set"]))
        return self.told[known]

    def _run(self, recipe, data) -> str:
        place = self.folder / hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
        place.mkdir(exist_ok=True)
        pixels = [recipe[key] for key in KEYS if key.startswith(("image.", "resize."))]
        shared = []
        for block, path in zip(recipe.blocks, store_paths(recipe, place), strict=True):
            same = replace(block, across_scales="mean", normalise="end")
            digest = hashlib.sha256(repr((same, pixels)).encode()).hexdigest()
            shared.append((self.folder / f"{digest}.h5", path))
        for store, path in shared:
            if store.exists() and not path.exists():
                os.link(store, path)
        output = place / "r.json"
        working = Working(folder=place, device="cpu", workers=1)
        result = run_recipe(recipe, data, working, output=output)
        for store, path in shared:
            if not store.exists():
                os.link(path, store)
        with np.load(place / "r.scores.npz") as held:
            scores = {key: held[key].tolist() for key in held.files}
        words = ("what", "definition")  # a key's own words are no result
        figure = {key: value for key, value in result.figure.items() if key not in words}
        choice = {key: result.as_value()["choice"][key] for key in ("C", "curve", "at_edge")}
        missed = result.solver["missed"]
        per_class = [row["value"] for row in result.per_class]
        return repr((scores, figure, choice, missed, per_class, result.data["train"]))


def name_of(row: int) -> str:
    return f"{row:02d}.png"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("keys"))


def keys_of(name: str) -> list[str]:
    """Keys that stand in the file of a shipped recipe."""
    raw = _parsed(*read_file(name))
    (block,) = raw.pop("extract")
    flat = _dotted(raw) | {f"extract.{key}": value for key, value in block.items()}
    return [key for key in flat if key in KEYS]


def assert_it_matters(bench: Bench, name: str, key: str) -> None:
    other = OTHERS[key]
    change = dict(other.own).get(name, other.change)
    base = (*OF_RECIPE[name], *other.beside)
    if name in other.refused or "all" in other.refused:
        with pytest.raises((RecipeError, DataError)):
            bench.result(name, (*base, change))
        return
    assert bench.result(name, (*base, change)) != bench.result(name, base), f"{change} is moot"


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_another_value_here(key):
    assert key in OTHERS or key in ELSEWHERE


@pytest.mark.parametrize("key", OTHERS)
def test_every_key_changes_the_result_or_is_refused(bench, key):
    assert_it_matters(bench, OTHERS[key].recipe, key)


STANDING = [(name, key) for name in list_recipes() for key in keys_of(name) if key not in ELSEWHERE]


@pytest.mark.parametrize(("name", "key"), STANDING, ids=[" ".join(one) for one in STANDING])
def test_every_key_of_a_shipped_recipe_changes_its_result_or_is_refused(bench, name, key):
    assert_it_matters(bench, name, key)


def test_the_same_recipe_again_gives_the_same_result(bench):
    """The comparisons above see what changes, and nothing else."""
    base = OF_RECIPE["voc2007"]
    again = (*base, "svm.class_weight={pos = 1, neg = 1}")  # as it is by default
    assert bench.result("voc2007", base) == bench.result("voc2007", again)
    assert bench.result("voc2007", base) != bench.result("voc2012", OF_RECIPE["voc2012"])


@pytest.mark.parametrize("name", ["caltech101", "caltech256"])
def test_the_background_class_counts_or_does_not(tmp_path, name):
    digits = name.removeprefix("caltech")
    classes = 3 if digits == "101" else ("001.ak47", "002.american-flag", "257.clutter")
    make_caltech(tmp_path, classes, 6, digits=digits)
    base = [*SMALL, "split.train=3", "split.test=3", "split.count=1", "svm.select.fraction=0.4"]
    told = {}
    for background in (True, False):
        recipe = load_recipe(name, set=[*base, f"data.background={str(background).lower()}"])
        working = Working(folder=tmp_path, device="cpu", workers=1)
        told[background] = run_recipe(recipe, tmp_path, working)
    assert [told[one].figure["n"] for one in (True, False)] == [9, 6]
    assert set(told[True].data["classes"]) - set(told[False].data["classes"]) == {
        {"101": "BACKGROUND_Google", "256": "257.clutter"}[digits]
    }


@pytest.mark.parametrize(
    ("name", "other", "error"),
    [
        ("voc2007", "voc2012", RecipeError),  # no val of its own
        ("voc2007-3scales", "voc2012", RecipeError),
        ("voc2012", "voc2007", DataMissing),
        ("caltech101", "caltech256", DataMissing),
        ("caltech256", "caltech101", DataMissing),
        ("folder", "caltech101", DataMissing),
        ("csv", "folder", DataMissing),
    ],
)
def test_another_set_is_refused_where_the_data_are_not_its_own(tmp_path, name, other, error):
    (tmp_path / "two").mkdir()
    for digits, classes in (("101", 2), ("256", 2)):
        make_caltech(tmp_path / digits, classes, 1, digits=digits)
    for year in ("2007", "2012"):
        make_voc(tmp_path / year, year, 1)
    (tmp_path / "two" / "labels.csv").write_text("path,label,split\na.png,a,train\n")
    places = {"caltech101": "101", "caltech256": "256", "folder": "two", "csv": "two/labels.csv"}
    place = tmp_path / places.get(name, name[3:7])
    with pytest.raises(error):
        run_recipe(load_recipe(name, set=[f"data.set={other}"]), place, Working(folder=tmp_path))
