"""Figures of the literature, as a recipe states them beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepfeat.errors import RecipeError
from deepfeat.tables import advice

PUBLISHED = ("variant", "figure", "spread", "source", "weights", "verified")


@dataclass(frozen=True, slots=True)
class Published:
    """A figure of the literature, in per cent; ``weights`` names what it was made with."""

    figure: float
    spread: float | None
    source: str
    weights: str | None
    verified: bool


def published_figure(
    place: str, rows: Sequence[Mapping[str, Any]], variant: str
) -> Published | None:
    """The row of a variant. Raises ``RecipeError`` for rows that are none."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RecipeError(f"'{place}': published figures are a list", expected="[[published]]")
    for row in rows:
        for name in row:
            if name not in PUBLISHED:
                raise RecipeError(
                    f"'{place}': unknown key 'published.{name}'", advice=advice(PUBLISHED, name)
                )
        numbers = (row.get("figure"), row.get("spread", 0.0))
        if not all(isinstance(one, (int, float)) and 0 <= one <= 100 for one in numbers):
            raise RecipeError(f"'{place}': a row of 'published' has no figure", found=str(row))
        if row.get("variant", "") == variant:
            return Published(
                float(row["figure"]),
                float(row["spread"]) if "spread" in row else None,
                str(row.get("source", "")),
                one_line(place, "published.weights", row["weights"]) if "weights" in row else None,
                bool(row.get("verified", False)),
            )
    return None


def one_line(place: str, key: str, value: Any) -> str:
    """A text of one line without control characters: it is printed and stands in file names."""
    if not isinstance(value, str) or not (value.isprintable() or not value):
        raise RecipeError(f"'{place}': '{key}' is a text of one line", found=repr(value)[:100])
    return value
