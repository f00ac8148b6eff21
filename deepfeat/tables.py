"""From a name to a thing: the only look-up, so every unknown name gets the same good answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from deepfeat.errors import DeepfeatError, UsageError, some

Thing = TypeVar("Thing")


def look_up(
    table: Mapping[str, Thing],
    name: str,
    kind: str,
    *,
    error: type[DeepfeatError] = UsageError,
    listing: str = "",
) -> Thing:
    """Return ``table[name]``, or raise ``error`` with the nearest names.

    Parameters
    ----------
    kind : str
        What the name is a name of: "network", "layer" ...
    listing : str
        The command that lists all names; empty lists them in the message.
    """
    if not isinstance(name, str):
        raise error(f"a {kind} is given by its name", found=f"{name!r:.100}")
    if name in table:
        return table[name]
    raise error(f"unknown {kind} '{name}'", advice=advice(table, name, listing))


def advice(names: Iterable[str], name: str, listing: str = "") -> str:
    """Near misses of ``name`` among ``names``, or where to find them all."""
    known = list(names)
    longer = [one for one in known if name and one.startswith(name)][:3]
    near = list(dict.fromkeys([*longer, *difflib.get_close_matches(name, known, n=3, cutoff=0.6)]))
    hint = f"Did you mean {some(near)}? " if near else ""
    return hint + (f"'{listing}' lists them all." if listing else f"Known: {some(known, 40)}.")
