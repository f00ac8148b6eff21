"""The identity: every field matters, its JSON is canonical, and reading it trusts nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_store import PREPROCESSING, identity

from deepfeat.errors import StoreDamaged, UsageError
from deepfeat.store.identity import Identity, canonical_json, differences

FIELDS = [(part, name) for part, names in asdict(identity()).items() for name in names]
OTHER = {
    "pooling": "floor",
    "across_scales": "mean",
    "store_dtype": "float16",
    "layers": ("fc6",),
    "scales": ("native",),
    "preprocessing": {**PREPROCESSING, "mean": [103.9, 0.2, 7.0]},
    "background": (0, 0, 0),
}


def other(part: str, name: str) -> Identity:
    """The identity with one field changed."""
    who = identity()
    value = getattr(getattr(who, part), name)
    changed: Any = OTHER.get(name)
    if changed is None:
        changed = (not value) if isinstance(value, bool) else value + type(value)(1)
    return replace(who, **{part: replace(getattr(who, part), **{name: changed})})


@pytest.mark.parametrize("part, name", FIELDS)
def test_every_field_changes_the_hash_and_is_named(part: str, name: str) -> None:
    changed = other(part, name)
    assert changed.sha256 != identity().sha256
    assert all(field.startswith(f"{part}.{name}") for field, *_ in differences(identity(), changed))
    assert differences(identity(), changed)


def test_the_hash_is_sha256_of_sorted_json_without_spaces() -> None:
    text = json.dumps(asdict(identity()), sort_keys=True, separators=(",", ":"))
    assert identity().sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_it_is_read_back_equal() -> None:
    assert Identity.from_json(identity().canonical()) == identity()


@pytest.mark.parametrize("across, columns", [("none", ["256", "384"]), ("mean", ["mean"])])
def test_columns_are_the_scales_or_the_aggregate(across: str, columns: list[str]) -> None:
    assert identity(across_scales=across).columns == columns


@pytest.mark.parametrize(
    "field",
    [{"across_scales": "median"}, {"store_dtype": "f8"}, {"scales": ()}, {"scales": ("a/b",)}],
)
def test_a_value_that_means_nothing_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(field))):
        identity(**field)


@pytest.mark.parametrize("part, name", FIELDS)
@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": 1}])
def test_a_field_of_another_type_is_damage(part: str, name: str, value: object) -> None:
    changed = json.loads(identity().canonical())
    if type(changed[part][name]) is type(value) and name == "preprocessing":
        value = "text"
    changed[part][name] = value
    with pytest.raises(StoreDamaged, match=name):
        Identity.from_json(json.dumps(changed))


@pytest.mark.parametrize("text", ["", "[]", "{}", "NaN", "[" * 100_000, '{"network":{}}', b"\xff"])
def test_text_that_is_no_identity_is_damage(text: str | bytes) -> None:
    with pytest.raises(StoreDamaged):
        Identity.from_json(text)


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    backwards = dict(reversed(value.items()))
    try:
        text = canonical_json(value)
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        return
    assert canonical_json(backwards) == text
    assert json.loads(text) == value
