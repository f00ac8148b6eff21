"""What plain JSON of unknown origin must look like: kinds, ranges, lengths and depth, as a table.

A shape is a function of a value and its name; it raises ``StoreDamaged`` with the name of the field
that is wrong. Whoever has passed a value through one may use it without another look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deepfeat.errors import StoreDamaged

Shape = Callable[[object, str], None]
LONGEST_TEXT = 4096
LARGEST = 2**63 - 1
MOST_FIELDS = 4096
DEEPEST = 6


def _refuse(value: object, where: str, expected: str) -> None:
    found = type(value).__name__ if isinstance(value, (dict, list)) else f"{value!r:.100}"
    raise StoreDamaged(f"field '{where}' is wrong", expected=expected, found=found)


def flag(value: object, where: str) -> None:
    """true or false."""
    if type(value) is not bool:
        _refuse(value, where, "true or false")


def whole(low: int, high: int = LARGEST) -> Shape:
    """An integer from ``low`` to ``high``."""

    def check(value: object, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            _refuse(value, where, f"a whole number from {low} to {high}")

    return check


def number(low: float, high: float) -> Shape:
    """A finite number from ``low`` to ``high``."""

    def check(value: object, where: str) -> None:
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            _refuse(value, where, f"a number from {low:g} to {high:g}")

    return check


def text(most: int = LONGEST_TEXT, *, least: int = 0, is_name: bool = False) -> Shape:
    """UTF-8 of ``least`` to ``most`` bytes; a name has only characters that can be printed."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, str):
            _refuse(value, where, "a text")
            return
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            size = -1
        if not least <= size <= most or (is_name and not value.isprintable()):
            kind = "printable UTF-8" if is_name else "UTF-8"
            _refuse(value, where, f"{least} to {most} bytes of {kind}")

    return check


def choice(*values: object) -> Shape:
    """One of these values, of the same type."""

    def check(value: object, where: str) -> None:
        if not any(type(value) is type(one) and value == one for one in values):
            _refuse(value, where, " or ".join(repr(one) for one in values))

    return check


def sequence(of: Shape, least: int, most: int) -> Shape:
    """A list of ``least`` to ``most`` values of one shape."""

    def check(value: object, where: str) -> None:
        if not isinstance(value, list):
            _refuse(value, where, "a list")
        elif not least <= len(value) <= most:
            count = str(least) if least == most else f"{least} to {most}"
            raise StoreDamaged(
                f"field '{where}' has {len(value)} values", expected=f"{count} of them"
            )
        else:
            for position, one in enumerate(value):
                of(one, f"{where}[{position}]")

    return check


def unknown(_: object, where: str) -> None:
    """Nothing: no such field is known."""
    raise StoreDamaged(f"field '{where}' is not known")


def record(
    required: Mapping[str, Shape],
    optional: Mapping[str, Shape] | None = None,
    *,
    others: Shape = unknown,
) -> Shape:
    """An object with these fields; any other is of the shape ``others``."""
    known = {**required, **(optional or {})}

    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "an object")
            return
        if len(value) > MOST_FIELDS:
            raise StoreDamaged(f"field '{where}' has {len(value)} fields")
        for name in required:
            if name not in value:
                raise StoreDamaged(f"field '{where}.{name}' is missing")
        for name, one in value.items():
            _name(name, f"{where}, a name in it")
            known.get(name, others)(one, f"{where}.{name}")

    return check


def table(of: Shape) -> Shape:
    """An object with fields of any name, all of one shape."""
    return record({}, others=of)


_SCALARS: dict[type, Shape] = {
    bool: flag,
    int: whole(-LARGEST),
    float: number(-1e308, 1e308),
    str: text(),
    type(None): choice(None),
}


def plain(value: object, where: str, depth: int = DEEPEST) -> None:
    """Any JSON value that is bounded: texts, numbers, and lists and objects of them, not deep."""
    if isinstance(value, (list, dict)):
        if depth == 0:
            raise StoreDamaged(f"field '{where}' is nested too deeply")

        def inner(one: object, name: str) -> None:
            plain(one, name, depth - 1)

        shape = sequence(inner, 0, MOST_FIELDS) if isinstance(value, list) else table(inner)
        shape(value, where)
    else:
        _SCALARS[type(value)](value, where)


def scalar(value: object, where: str) -> None:
    """One bounded text, number, true, false or null."""
    plain(value, where, 0)


_name = text(512, is_name=True)
