"""What a recipe's key accepts: each check returns the value in its one form, or says what it wants.

A check raises ValueError with the words that stand behind "expected:" in a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deepfeat.extraction.request import LARGEST_SCALE
from deepfeat.numbers import whole_number

Check = Callable[[Any], Any]
MOST_CS = 100
LARGEST = 1e300


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


def whole(least: int, most: int | None = None) -> Check:
    def check(value: Any) -> int:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or value < least or (most is not None and value > most):
            raise ValueError(f"a whole number from {least}" + (f" to {most}" if most else ""))
        return int(value)

    return check


def number(above: float, most: float = float("inf")) -> Check:
    def check(value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not above < value <= min(most, LARGEST):
            words = f"a number above {above:g}"
            raise ValueError(words + ("" if most == float("inf") else f", at most {most:g}"))
        return float(value)

    return check


def within(least: float, most: float) -> Check:
    def check(value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return check


# Of C and of weights: beyond it nothing changes any more but how long the solver takes, and single
# precision would overflow.
strength = within(1e-12, 1e12)


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
        first, last = (whole(-1000, 1000)(value[name]) for name in ("from", "to"))
        if first > last or base == 1:
            raise ValueError("from at most to, and base not 1")
        try:
            value = [base**power for power in range(first, last + 1)]
        except OverflowError as error:
            raise ValueError("powers that are finite numbers") from error
    Cs: tuple[float, ...] = list_of(strength)(value)
    if len(Cs) > MOST_CS:
        raise ValueError(f"at most {MOST_CS} values")
    if len(set(Cs)) != len(Cs):
        raise ValueError("values that differ from each other")
    return Cs


def class_weight(value: Any) -> Any:
    if value == "balanced":
        return value
    if isinstance(value, Mapping) and set(value) == {"pos", "neg"}:
        return {name: strength(value[name]) for name in ("pos", "neg")}
    raise ValueError('{pos = number, neg = number} or "balanced"')


def scales(value: Any) -> tuple[str, ...]:
    """Shorter sides in pixels, ascending, "native" last; also as texts, as a store names them."""
    sides = [_side(one) for one in _list(value)]
    found = list_of(either(whole(1, LARGEST_SCALE), one_of("native")))(sides)
    if len(set(found)) != len(found):
        raise ValueError("scales that differ from each other")
    return tuple(str(one) for one in sorted(found, key=lambda one: (one == "native", one)))


def _side(value: Any) -> Any:
    number = whole_number(value) if isinstance(value, str) else None
    return value if number is None else number


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def colour(value: Any) -> tuple[int, ...]:
    parts: tuple[int, ...] = list_of(whole(0))(value)
    if len(parts) != 3 or max(parts) > 255:
        raise ValueError("three numbers from 0 to 255")
    return parts
