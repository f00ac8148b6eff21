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

Check = Callable[[Any], Any]
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

    ``default`` is a value, or a function of the values given.
    """

    check: Check
    default: Any = REQUIRED


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(" or ".join(f'"{name}"' for name in names))
        return value

    return check


def whole(least: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return check


def number(above: float, most: float = float("inf")) -> Check:
    def check(value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not above < value <= most or value == float("inf"):
            words = f"a number above {above:g}"
            raise ValueError(words + ("" if most == float("inf") else f", at most {most:g}"))
        return float(value)

    return check


def either(*checks: Check) -> Check:
    def check(value: Any) -> Any:
        words = []
        for one in checks:
            try:
                return one(value)
            except ValueError as error:
                words.append(str(error))
        raise ValueError(", or ".join(words))

    return check


def list_of(check_one: Check) -> Check:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError("a list that is not empty")
        return tuple(check_one(one) for one in value)

    return check


def grid(value: Any) -> tuple[float, ...]:
    """Values of C: a list, or ``{base, from, to}`` for base^from ... base^to."""
    if isinstance(value, Mapping) and set(value) == {"base", "from", "to"}:
        base = number(0)(value["base"])
        first, last = (whole(-1000)(value[name]) for name in ("from", "to"))
        if first > last or base == 1:
            raise ValueError("from at most to, and base not 1")
        value = [base**power for power in range(first, last + 1)]
    Cs: tuple[float, ...] = list_of(number(0))(value)
    if len(set(Cs)) != len(Cs):
        raise ValueError("values that differ from each other")
    return Cs


def class_weight(value: Any) -> Any:
    if value == "balanced":
        return value
    if isinstance(value, Mapping) and set(value) == {"pos", "neg"}:
        return {name: number(0)(value[name]) for name in ("pos", "neg")}
    raise ValueError('{pos = number, neg = number} or "balanced"')


def scales(value: Any) -> tuple[str, ...]:
    """Shorter sides in pixels, ascending, "native" last; also as texts, as a store names them."""
    sides = [int(one) if isinstance(one, str) and one.isdecimal() else one for one in _list(value)]
    found = list_of(either(whole(1), one_of("native")))(sides)
    if len(set(found)) != len(found):
        raise ValueError("scales that differ from each other")
    return tuple(str(one) for one in sorted(found, key=lambda one: (one == "native", one)))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def colour(value: Any) -> tuple[int, ...]:
    parts: tuple[int, ...] = list_of(whole(0))(value)
    if len(parts) != 3 or max(parts) > 255:
        raise ValueError("three numbers from 0 to 255")
    return parts


def _measure(values: Values) -> str:
    return "recall" if values["data.set"] in (*CALTECH, "folder") else "map"


def _selection(values: Values) -> str:
    return "val" if values["data.set"] == "voc2007" else "holdout"


KEYS: dict[str, Key] = {
    "data.set": Key(one_of(*SETS)),
    "data.train": Key(text, lambda values: TRAIN_OF.get(values["data.set"])),
    "data.test": Key(text, lambda values: TEST_OF.get(values["data.set"])),
    "data.background": Key(flag, True),
    "data.missing": Key(one_of("partial", "last", "error"), "partial"),
    "data.duplicates": Key(one_of("report", "drop-train"), "report"),
    "split.count": Key(whole(1), 3),
    "split.seed": Key(whole(0), 0),
    "split.train": Key(either(whole(1), number(0, 0.999999))),
    "split.test": Key(either(whole(1), one_of("rest"))),
    "image.exif": Key(flag, True),
    "image.background": Key(colour, (255, 255, 255)),
    "resize.filter": Key(one_of("bilinear", "bicubic", "lanczos", "nearest"), "bilinear"),
    "resize.upscale": Key(flag, True),
    "extract.network": Key(text),
    "extract.weights": Key(text, None),
    "extract.preprocessing": Key(text, None),
    "extract.pool_rounding": Key(one_of("floor", "ceil"), None),
    "extract.layer": Key(text, None),
    "extract.view": Key(one_of("dense"), "dense"),
    "extract.mirror": Key(flag, True),
    "extract.scales": Key(scales),
    "extract.over_positions": Key(one_of("mean", "max"), "mean"),
    "extract.across_scales": Key(one_of("mean", "max", "stack")),
    "extract.normalise": Key(one_of("end", "each", "each+end", "none"), "end"),
    "fuse.weights": Key(list_of(number(0)), lambda values: (1.0,) * len(values["extract"])),
    "score.measure": Key(one_of("map", "recall", "accuracy"), _measure),
    "score.ap": Key(
        one_of("voc11", "voc10", "step"),
        lambda values: {"voc2007": "voc11", "voc2012": "voc10"}.get(values["data.set"], "step"),
    ),
    "score.difficult": Key(one_of("ignore", "negative", "positive"), "ignore"),
    "score.ties": Key(one_of("list", "group"), "list"),
    "score.spread": Key(one_of("std1", "std0"), "std1"),
    "svm.loss": Key(one_of("squared_hinge", "hinge"), "squared_hinge"),
    "svm.C": Key(grid, grid({"base": 2, "from": -7, "to": 7})),
    "svm.class_weight": Key(class_weight, {"pos": 1.0, "neg": 1.0}),
    "svm.difficult": Key(one_of("ignore", "negative", "positive"), "ignore"),
    "svm.fit_intercept": Key(flag, True),
    "svm.intercept_scaling": Key(number(0), 1.0),
    "svm.solver": Key(one_of("liblinear"), "liblinear"),
    "svm.gap": Key(number(0, 0.1), 1e-4),
    "svm.tol": Key(number(0), 1e-4),
    "svm.max_iter": Key(whole(1), 100_000),
    "svm.random_state": Key(whole(0), 0),
    "svm.select.on": Key(one_of("val", "holdout", "kfold", "fixed"), _selection),
    "svm.select.fraction": Key(number(0, 0.9), 0.2),
    "svm.select.folds": Key(whole(2), 3),
    "svm.select.per": Key(one_of("all", "class"), "all"),
    "svm.select.by": Key(
        one_of("ap", "step", "recall", "accuracy"),
        lambda values: "ap" if values["score.measure"] == "map" else values["score.measure"],
    ),
    "svm.select.refit": Key(flag, True),
    "svm.select.tie": Key(one_of("smallest", "first"), "smallest"),
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
