"""A recipe: one published protocol, or one of your own, as frozen values.

A recipe is a TOML file of plain values. ``[variants.NAME]`` and ``--set`` override dotted keys by
the same rule; nothing else is inherited, included or computed. ``keys.py`` says which keys there
are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepfeat.errors import RecipeError
from deepfeat.evaluation.keys import KEYS
from deepfeat.evaluation.published import Published, one_line, published_figure
from deepfeat.evaluation.recipe_files import MOST_BYTES, read_file, split_name
from deepfeat.evaluation.resolve import Block, resolve
from deepfeat.numbers import whole_number
from deepfeat.tables import look_up
from deepfeat.toml_text import parse_toml

WORDS = ("name", "title", "source", "notes")
LONGEST_KEY = 100
LONGEST_TEXT = 1024  # of a value that is no TOML: a word, or a path
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
OF_THE_NETWORK = ("weights", "preprocessing", "pool_rounding", "layer")
ANOTHER_FIGURE = (
    *("data.set", "data.train", "data.test", "data.background", "split.train", "split.test"),
    *("score.measure", "score.ap", "score.difficult"),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A protocol, with every key resolved.

    Parameters
    ----------
    name, variant, title, source, notes : str
        ``variant`` is empty where the file has none.
    values : mapping from dotted key to value
        All keys that matter, with defaults; without those of the blocks.
    blocks : tuple of Block
        One a network, in the order of stacking.
    published : Published, optional
        The figure of this variant, as long as ``--set`` changed nothing that it depends on.
    changes : tuple of str
        What ``--set`` was given.
    file_variant : str
        The variant for the name of a file, which states the networks anyway: without those that
        change nothing else.
    """

    name: str
    variant: str
    title: str
    source: str
    notes: str
    values: Mapping[str, Any]
    blocks: tuple[Block, ...]
    published: Published | None
    changes: tuple[str, ...]
    file_variant: str

    def __getitem__(self, key: str) -> Any:
        """The value of a dotted key, as in ``recipe["svm.C"]``."""
        return self.values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or ``default`` where it cannot matter."""
        return self.values.get(key, default)

    @property
    def resolved(self) -> dict[str, Any]:
        """Every key that matters, as JSON values."""
        blocks = [block.stated() for block in self.blocks]
        found: dict[str, Any] = json.loads(json.dumps({**self.values, "extract": blocks}))
        return found

    @property
    def sha256(self) -> str:
        """Of the resolved keys as canonical JSON: two recipes with one hash ask for the same."""
        text = json.dumps(self.resolved, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """``caltech101:15+both``."""
        return f"{self.name}:{self.variant}" if self.variant else self.name


def load_recipe(name_or_path: str | os.PathLike[str], *, set: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name, ``name:variant``, ``name:variant+variant`` or path.

    Parameters
    ----------
    name_or_path : str or path
        One of ``deepfeat recipes``, or a TOML file.
    set : sequence of str
        Dotted keys with TOML values, such as ``"svm.C=[0.1, 1]"``; a bare word is a text. Replacing
        ``extract.network`` takes the new network's own weights and layer, unless they are set too.

    Raises
    ------
    RecipeError
        An unknown recipe, variant or key, a value that is not possible, or a key that could not
        matter where it stands.
    """
    plain, chosen = split_name(os.fspath(name_or_path))
    place, contents = read_file(plain)
    raw = _parsed(place, contents)
    variants = _tables(place, raw.pop("variants", {}))
    published = raw.pop("published", [])
    words = {word: one_line(place, word, raw.pop(word, "")) for word in WORDS}
    if not NAME.fullmatch(words["name"]):
        raise RecipeError(
            f"'{place}' has no name that files could have",
            expected='name = "..." in the first lines: letters, digits, ".", "_" and "-"',
            found=repr(words["name"]),
        )
    if not chosen and variants:
        chosen = (next(iter(variants)),)
    flat, blocks = _flattened(place, raw)
    overridden: dict[str, str] = {}
    for variant in chosen:
        table = look_up(variants, variant, f"variant of '{words['name']}'", error=RecipeError)
        if not table and len(chosen) > 1:
            raise RecipeError(
                f"variant '{variant}' of '{words['name']}' is the recipe as it stands",
                advice="Leave it out beside another one.",
            )
        for key in _dotted(table):
            if key in overridden:
                raise RecipeError(
                    f"variants '{overridden[key]}' and '{variant}' both set '{key}'",
                    advice="Choose one of them.",
                )
            overridden[key] = variant
        _override(flat, blocks, _dotted(table))
    changes = dict(_assignment(one) for one in set)
    _override(flat, blocks, changes)
    values, resolved = resolve(flat, _expanded(blocks), _moot_if_alone(changes))
    variant = "+".join(chosen)
    return Recipe(
        **words,
        variant=variant,
        values=values,
        blocks=resolved,
        published=None
        if _asks_for_another(changes)
        else published_figure(place, published, variant),
        changes=tuple(set),
        file_variant="+".join(
            v for v in chosen if any("network" not in k for k in _dotted(variants[v]))
        ),
    )


def variants_of(name_or_path: str | os.PathLike[str]) -> list[str]:
    """Names of a recipe's variants, in the order of its file."""
    plain, _ = split_name(os.fspath(name_or_path))
    return list(_parsed(*read_file(plain)).get("variants", {}))


def with_solver(recipe: Recipe, solver: str) -> Recipe:
    """The recipe with another solver: a way of computing, so keys of the old one fall away."""
    blocks = [block.stated() for block in recipe.blocks]
    changed = {**recipe.values, "svm.solver": solver}
    values, _ = resolve(changed, blocks, lambda key: key != "svm.solver")
    return replace(recipe, values=values, changes=(*recipe.changes, f"svm.solver={solver}"))


def _parsed(place: str, contents: bytes) -> dict[str, Any]:
    try:
        return parse_toml(contents, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise RecipeError(f"the recipe '{place}' cannot be used: {error}") from error


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys, down to the keys of a recipe."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in KEYS:
            found |= _dotted(value, f"{key}.")
        else:
            found[key] = value
    return found


def _flattened(place: str, raw: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Dotted keys of a file, and its ``[[extract]]`` blocks apart."""
    blocks = raw.pop("extract", [])
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise RecipeError(f"'{place}': extract is a list of blocks", expected="[[extract]]")
    if not blocks:
        raise RecipeError(f"'{place}' extracts nothing", expected="at least one [[extract]]")
    return _dotted(raw), [dict(block) for block in blocks]


def _assignment(text: str) -> tuple[str, Any]:
    """``svm.C=[0.1]`` as key and value; what is no TOML value is a text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"'{text}' sets nothing", expected="KEY=VALUE, such as svm.C=[0.1,1]")
    if len(key) > LONGEST_KEY:
        raise RecipeError(
            f"'{key[:LONGEST_KEY]}...' is no key of a recipe",
            found=f"{len(key):,} characters",
            advice="'docs/recipes.md' lists them all.",
        )
    try:
        return key.strip(), parse_toml(f"value = {value}".encode(), most_bytes=MOST_BYTES)["value"]
    except ValueError as error:
        if len(value) > LONGEST_TEXT:
            raise RecipeError(f"the value of '{key.strip()}' cannot be used: {error}") from error
        return key.strip(), value.strip()


def _override(
    flat: dict[str, Any], blocks: list[dict[str, Any]], changes: Mapping[str, Any]
) -> None:
    """Set dotted keys; networks first, because a new network brings its own weights and layer."""
    for key in sorted(changes, key=lambda key: not key.endswith("network")):
        value = changes[key]
        if key.partition(".")[0] != "extract":
            for parent in [one for one in flat if one.startswith(f"{key}.")]:
                del flat[parent]  # a whole table replaced
            flat |= _dotted({key: value}) if isinstance(value, Mapping) else {key: value}
            continue
        name = key.partition(".")[2]
        number, _, rest = name.partition(".")
        if key == "extract.network" and isinstance(value, list) and value:
            blocks[:] = [{**_without_network(blocks[0]), "network": one} for one in value]
            continue
        for block in _numbered(blocks, key, number) if number.isdecimal() else blocks:
            field = rest if number.isdecimal() else name
            if field == "network":
                for own in OF_THE_NETWORK:
                    block.pop(own, None)
            block[field] = value


def _without_network(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in OF_THE_NETWORK}


def _numbered(blocks: list[dict[str, Any]], key: str, number: str) -> list[dict[str, Any]]:
    position = whole_number(number)
    if position is None or position >= len(blocks):
        raise RecipeError(
            f"'{key:.100}' names a block that is not there",
            expected=f"extract.0 to extract.{len(blocks) - 1}",
        )
    return [blocks[position]]


def _expanded(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A block with a list of networks as one block a name."""
    found = []
    for block in blocks:
        networks = block.get("network")
        if isinstance(networks, list) and networks:
            found += [{**block, "network": one} for one in networks]
        else:
            found.append(block)
    return found


def _moot_if_alone(changes: Mapping[str, Any]) -> Callable[[str], bool]:
    """Which keys may be dropped where they cannot matter.

    None of a file's own. But a change by ``--set`` may make others of the file moot: with
    ``extract.scales=[256]`` nothing is left to aggregate. What was set itself always has to matter.
    """
    set_keys = tuple(_dotted(changes)) + tuple(changes)
    return lambda key: bool(changes) and not key.startswith(set_keys)


def _tables(place: str, variants: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise RecipeError(f"'{place}': variants are tables", expected="[variants.NAME]")
    return variants


def _asks_for_another(changes: Mapping[str, Any]) -> bool:
    """Whether ``--set`` asks for a figure of other images, or by another measure."""
    return any(key.startswith(ANOTHER_FIGURE) for key in (*changes, *_dotted(changes)))
