"""From the keys that were given to those that hold: checked, completed, without contradictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepfeat.errors import RecipeError
from deepfeat.evaluation.keys import KEYS, REQUIRED, checked, matters
from deepfeat.tables import advice

MOST_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class Block:
    """One network's part of a row: what to extract and how to read it."""

    network: str
    weights: str | None
    preprocessing: str | None
    pool_rounding: str | None
    layer: str | None
    view: str
    mirror: bool
    scales: tuple[str, ...]
    over_positions: str
    across_scales: str
    normalise: str

    def stated(self) -> dict[str, Any]:
        """The keys that say something, as a recipe's file would have them."""
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) is not None
        }


def resolve(
    flat: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], is_moot: Callable[[str], bool]
) -> tuple[dict[str, Any], tuple[Block, ...]]:
    """Check every key, fill in defaults, refuse what cannot matter.

    Parameters
    ----------
    flat : mapping from dotted key to value, as given, without those of blocks
    blocks : sequence of mappings from a key's last part to value
    is_moot : callable
        Whether a key may be dropped where it cannot matter.

    Returns
    -------
    values : dict
        Every key that matters, in the order of ``KEYS``.
    blocks : tuple of Block

    Raises
    ------
    RecipeError
    """
    if len(blocks) > MOST_BLOCKS:
        raise RecipeError(
            f"the recipe stacks {len(blocks):,} networks", expected=f"at most {MOST_BLOCKS}"
        )
    for key in flat:
        _known(key, key)
    parts = tuple(_block(number, block, is_moot) for number, block in enumerate(blocks))
    given: dict[str, Any] = {key: checked(key, value) for key, value in flat.items()}
    values: dict[str, Any] = {**given, "extract": parts, "given": frozenset(flat)}
    for key in KEYS:  # a default may depend on keys that stand before it
        if key not in values and not key.startswith("extract."):
            default = _default(key, values)
            if default is not REQUIRED:
                values[key] = default
            elif not matters(key, values):
                raise RecipeError(f"the recipe lacks '{key}'", advice="It has no default.")
    for key in given:
        if (why := matters(key, values)) and not is_moot(key):
            raise RecipeError(
                f"recipe key '{key}' cannot matter here: {why}", advice="Leave it out."
            )
    _contradictions(values)
    kept = {
        key: values[key]
        for key in KEYS
        if key in values and not matters(key, values) and not key.startswith("extract.")
    }
    return kept, parts


def _default(key: str, values: Mapping[str, Any]) -> Any:
    default = KEYS[key].default
    return default(values) if callable(default) else default


def _known(key: str, shown: str) -> None:
    if key not in KEYS:
        raise RecipeError(
            f"unknown recipe key '{shown}'", advice=advice(KEYS, key, "docs/recipes.md")
        )


def _block(number: int, block: Mapping[str, Any], is_moot: Callable[[str], bool]) -> Block:
    found: dict[str, Any] = {}
    for name, value in block.items():
        _known(f"extract.{name}", f"extract.{number}.{name}")
        found[name] = checked(f"extract.{number}.{name}", value)
    for name in ("network", "scales"):
        if name not in found:
            raise RecipeError(f"the recipe lacks 'extract.{number}.{name}'")
    is_one = len(found["scales"]) == 1
    keys = ("extract.across_scales", f"extract.{number}.across_scales")
    if is_one and "across_scales" in found and not all(map(is_moot, keys)):
        raise RecipeError(
            f"recipe key 'extract.{number}.across_scales' cannot matter here: there is one scale",
            advice="Leave it out.",
        )
    if not is_one and "across_scales" not in found:
        raise RecipeError(
            f"the recipe lacks 'extract.{number}.across_scales'", expected="mean, max or stack"
        )
    if is_one:
        found["across_scales"] = "mean"  # of one scale: that scale
    defaults = {name: KEYS[f"extract.{name}"].default for name in Block.__slots__}
    return Block(**{name: found.get(name, defaults[name]) for name in Block.__slots__})


def _contradictions(values: Mapping[str, Any]) -> None:
    """Refuse keys that are each possible, but not together. Raises ``RecipeError``."""
    on, measure = values["svm.select.on"], values["score.measure"]
    by = values["svm.select.by"]
    cases = (
        (on == "fixed" and len(values["svm.C"]) > 1, "svm.select.on",
         "'fixed' wants one C", "svm.C = [1.0], say"),
        (on != "fixed" and len(values["svm.C"]) == 1, "svm.select.on",
         "there is one C, so there is nothing to choose", 'svm.select.on = "fixed"'),
        (on == "val" and values["data.set"] != "voc2007", "svm.select.on",
         "'val' wants a set whose val is no part of the test", "holdout or kfold"),
        (values["svm.solver"] == "gram" and values["svm.loss"] == "hinge", "svm.solver",
         "'gram' solves the squared hinge only", '"liblinear"'),
        (values["svm.select.per"] == "class" and by in ("recall", "accuracy"), "svm.select.per",
         f"'{by}' compares classes with each other, so it cannot choose a C for each",
         '"all", or svm.select.by = "ap"'),
        (len(values["fuse.weights"]) != len(values["extract"]), "fuse.weights",
         "one number a network is wanted", f"{len(values['extract'])} numbers"),
        (measure != "map" and values["data.set"] in ("voc2007", "voc2012"), "score.measure",
         "an image may have several classes, so no single one is predicted", "map"),
        (measure == "map" and by in ("recall", "accuracy") and values["data.set"] in
         ("voc2007", "voc2012"), "svm.select.by",
         "an image may have several classes, so no recall over single predictions", "ap or step"),
    )  # fmt: skip
    for is_wrong, key, why, expected in cases:
        if is_wrong:
            raise RecipeError(f"recipe key '{key}': {why}", expected=expected)
