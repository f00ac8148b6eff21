"""Numbers as people write them: ``int`` also takes other alphabets, and fails for long texts."""

from __future__ import annotations

MOST_DIGITS = 18


def whole_number(text: str) -> int | None:
    """The number that at most 18 ASCII digits state; None for any other text."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_number else None
