"""Every key a recipe may have: what it accepts, its default, and where it cannot matter.

A key that could not change the figure where it stands is refused like an unknown one, so whatever a
recipe says is meant. Keys are dotted; those of an ``[[extract]]`` block are written without its
number here: ``extract.scales``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deepfeat.errors import RecipeError
from deepfeat.evaluation.key_values import (
    Check,
    class_weight,
    colour,
    either,
    flag,
    grid,
    list_of,
    number,
    one_of,
    scales,
    strength,
    text,
    whole,
    within,
)

Values = Mapping[str, Any]
REQUIRED = object()  # the default of a key that has none

CALTECH = ("caltech101", "caltech256")
VOC = ("voc2007", "voc2012")
SETS = (*VOC, *CALTECH, "folder", "csv")
TEST_OF = {"voc2007": "test", "voc2012": "val", "csv": "test", "folder": "test"}
TRAIN_OF = {"voc2007": "trainval", "voc2012": "train", "csv": "train", "folder": "train"}


@dataclass(frozen=True, slots=True)
class Key:
    """``check`` returns the value in its one form, or raises ValueError with what it accepts.

    ``default`` is a value, or a function of the values given; ``meaning`` is for the docs.
    """

    meaning: str
    check: Check
    default: Any = REQUIRED


def _measure(values: Values) -> str:
    return "recall" if values["data.set"] in (*CALTECH, "folder") else "map"


def _solver(values: Values) -> str:
    return "liblinear" if values["svm.loss"] == "hinge" else "gram"


def _selection(values: Values) -> str:
    return "val" if values["data.set"] == "voc2007" else "holdout"


KEYS: dict[str, Key] = {
    "data.set": Key("The data set.", one_of(*SETS)),
    "data.train": Key(
        "The part to train on: a set of VOC, a value of a CSV file's column `split`, a folder.",
        text,
        lambda values: TRAIN_OF.get(values["data.set"]),
    ),
    "data.test": Key("The part to score.", text, lambda values: TEST_OF.get(values["data.set"])),
    "data.background": Key("Whether the background class (Caltech) counts as a class.", flag, True),
    "data.missing": Key(
        "Images without a descriptor: left out and the figure labelled partial; "
        "ranked last (for recall: wrong); or an error.",
        one_of("partial", "last", "error"),
        "partial",
    ),
    "data.duplicates": Key(
        "Images in both train and test: told, or dropped from training.",
        one_of("report", "drop-train"),
        "report",
    ),
    "split.count": Key("How many splits are drawn.", whole(1, 1000), 3),
    "split.seed": Key("Split s is drawn with `RandomState(seed + s)`.", whole(0, 2**31), 0),
    "split.train": Key(
        "Training images a class; below 1 a part of each class.",
        either(whole(1), number(0, 0.999999)),
    ),
    "split.test": Key("Test images a class at most.", either(whole(1), one_of("rest"))),
    "image.exif": Key("Whether the EXIF orientation is applied.", flag, True),
    "image.background": Key("The colour under transparent pixels.", colour, (255, 255, 255)),
    "resize.filter": Key(
        "The filter of resizing, with antialiasing.",
        one_of("bilinear", "bicubic", "lanczos", "nearest"),
        "bilinear",
    ),
    "resize.upscale": Key("Whether images smaller than a scale are enlarged.", flag, True),
    "extract.network": Key("A name of `deepfeat networks`; a list makes one block a name.", text),
    "extract.weights": Key(
        "A known name, a file, or `random:SEED`; without it the network's documented ones.",
        text,
        None,
    ),
    "extract.preprocessing": Key(
        "Needed for weights from a file; otherwise it comes with them.", text, None
    ),
    "extract.pool_rounding": Key(
        "How pooled sizes are rounded; otherwise as the weights were trained.",
        one_of("floor", "ceil"),
        None,
    ),
    "extract.layer": Key("The layer; without it the network's penultimate.", text, None),
    "extract.view": Key("Which pixels the network sees.", one_of("dense"), "dense"),
    "extract.mirror": Key("Whether descriptors are averaged with the mirror image.", flag, True),
    "extract.scales": Key("Shorter sides in pixels, or `native`.", scales),
    "extract.over_positions": Key("How a map becomes a descriptor.", one_of("mean", "max"), "mean"),
    "extract.across_scales": Key(
        "How several scales become one row; wanted as soon as there are two.",
        one_of("mean", "max", "stack"),
    ),
    "extract.normalise": Key(
        "L2: of the row, of each scale before it is aggregated, both, or none.",
        one_of("end", "each", "each+end", "none"),
        "end",
    ),
    "fuse.weights": Key(
        "One number a network, multiplying its block before the row gets length 1.",
        list_of(strength),
        lambda values: (1.0,) * len(values["extract"]),
    ),
    "score.measure": Key("What the figure is.", one_of("map", "recall", "accuracy"), _measure),
    "score.ap": Key(
        "Which average precision.",
        one_of("voc11", "voc10", "step"),
        lambda values: {"voc2007": "voc11", "voc2012": "voc10"}.get(values["data.set"], "step"),
    ),
    "score.difficult": Key(
        "What label 0 counts as in the test.", one_of("ignore", "negative", "positive"), "ignore"
    ),
    "score.ties": Key(
        "Equal scores in the order of the list, or all at once.", one_of("list", "group"), "list"
    ),
    "score.spread": Key(
        "The ± over splits: divided by n - 1, or by n.", one_of("std1", "std0"), "std1"
    ),
    "svm.loss": Key("The loss.", one_of("squared_hinge", "hinge"), "squared_hinge"),
    "svm.C": Key(
        "At most 100 values of C from 1e-12 to 1e12, or `{base, from, to}` for powers of base.",
        grid,
        grid({"base": 2, "from": -7, "to": 7}),
    ),
    "svm.class_weight": Key(
        'Weights of positives and negatives, or `"balanced"`.',
        class_weight,
        {"pos": 1.0, "neg": 1.0},
    ),
    "svm.difficult": Key(
        "What label 0 counts as in training and in the choice of C.",
        one_of("ignore", "negative", "positive"),
        "ignore",
    ),
    "svm.fit_intercept": Key("Whether there is an intercept.", flag, True),
    "svm.intercept_scaling": Key(
        "The value of the constant feature behind the intercept.", within(1e-6, 1000), 1.0
    ),
    "svm.solver": Key("The solver.", one_of("gram", "liblinear"), _solver),
    "svm.gap": Key(
        "The relative duality gap that every problem has to reach.", number(0, 0.1), 1e-4
    ),
    "svm.tol": Key("liblinear's tolerance.", number(0), 1e-4),
    "svm.max_iter": Key("liblinear's most iterations.", whole(1, 10**9), 100_000),
    "svm.random_state": Key("The seed of liblinear's shuffling.", whole(0, 2**31), 0),
    "svm.select.on": Key(
        "What chooses C: the set's val, a part of the training images, folds of them, nothing.",
        one_of("val", "holdout", "kfold", "fixed"),
        _selection,
    ),
    "svm.select.fraction": Key("The part held out.", number(0, 0.9), 0.2),
    "svm.select.folds": Key("The number of folds.", whole(2), 3),
    "svm.select.per": Key("One C for all classes, or one for each.", one_of("all", "class"), "all"),
    "svm.select.by": Key(
        "What the choice maximises; `ap` is that of `score.ap`.",
        one_of("ap", "step", "recall", "accuracy"),
        lambda values: "ap" if values["score.measure"] == "map" else values["score.measure"],
    ),
    "svm.select.refit": Key(
        "Whether the last fit is on all training images, or on those that C was fitted on.",
        flag,
        True,
    ),
    "svm.select.tie": Key(
        "Among equal scores: the smallest C, or the first of the list.",
        one_of("smallest", "first"),
        "smallest",
    ),
}

_PREDICATES: tuple[tuple[tuple[str, ...], Callable[[Values], bool], str], ...] = (
    # keys (or tables), where they matter, and what to say where they do not
    (("split",), lambda v: v["data.set"] in CALTECH or _draws(v), "the set has splits of its own"),
    (("data.train", "data.test"), lambda v: v["data.set"] not in CALTECH and not _draws(v),
     "the splits are drawn"),
    (("data.background",), lambda v: v["data.set"] in CALTECH, "the set has no background class"),
    (("score.ap", "score.difficult"), lambda v: v["score.measure"] == "map",
     "the measure ranks nothing"),
    (("score.ties",), lambda v: v["score.measure"] == "map" and v["score.ap"] != "step",
     "the measure does not depend on the order of ties"),
    (("svm.difficult", "score.difficult"), lambda v: v["data.set"] in (*VOC, "csv"),
     "every image of the set is labelled for every class"),
    (("score.spread",), lambda v: v["data.set"] in CALTECH or _draws(v),
     "the set has splits of its own"),
    (("score.spread",), lambda v: v["split.count"] > 1, "there is one split"),
    (("svm.select.fraction",), lambda v: v["svm.select.on"] == "holdout", "nothing is held out"),
    (("svm.select.folds",), lambda v: v["svm.select.on"] == "kfold", "there are no folds"),
    (("svm.select.refit",), lambda v: v["svm.select.on"] not in ("kfold", "fixed"),
     "the last fit is always on all training images"),
    (("svm.select.per", "svm.select.by", "svm.select.tie"), lambda v: len(v["svm.C"]) > 1,
     "there is one C"),
    (("svm.gap",), lambda v: v["svm.solver"] == "gram", "the solver has no certificate"),
    (("svm.tol", "svm.max_iter", "svm.random_state"), lambda v: v["svm.solver"] == "liblinear",
     "it is liblinear's"),
    (("svm.intercept_scaling",), lambda v: v["svm.fit_intercept"], "there is no intercept"),
    (("fuse.weights",), lambda v: len(v["extract"]) > 1, "there is one network"),
)  # fmt: skip


def _draws(values: Values) -> bool:
    """Whether a folder or CSV file is split by lot: it has a ``[split]`` table."""
    given: frozenset[str] = values["given"]
    own = values["data.set"] in ("folder", "csv")
    return own and any(key.startswith("split.") for key in given)


def matters(key: str, values: Values) -> str:
    """Why a key cannot matter beside these values; empty where it can."""
    for keys, holds, why in _PREDICATES:
        if any(key == one or key.startswith(one + ".") for one in keys) and not holds(values):
            return why
    return ""


def checked(key: str, value: Any) -> Any:
    """The value of a key in its one form. Raises ``RecipeError`` naming key and value."""
    block, _, name = key.partition(".")
    plain = f"{block}.{name.partition('.')[2]}" if _is_block(key) else key
    try:
        return KEYS[plain].check(value)
    except ValueError as error:
        raise RecipeError(
            f"recipe key '{key}' is not possible", expected=str(error), found=repr(value)
        ) from error


def _is_block(key: str) -> bool:
    parts = key.split(".")
    return parts[0] == "extract" and len(parts) > 1 and parts[1].isdecimal()
