"""Ways to damage a file: as bytes, as JSON, as lines of text. Each takes contents and gives others.

``random`` decides everything, so a seed repeats a mutation. What the random bytes of the first kind
hardly ever reach behind a checksum or a grammar, the others do.
"""

from __future__ import annotations

import json
import random as randomly
from collections.abc import Callable
from typing import Any

Random = randomly.Random
Mutate = Callable[[Random, bytes], bytes]

NUMBERS = (0, -1, 1, 255, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30))
TEXTS = (
    "",
    "\x1b[2J\x1b]0;x\x07",
    "../../x",
    "/etc/passwd",
    "a" * 70_000,
    "\ud800",
    "\0",
    "\u202e",
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *TEXTS,
    None,
    True,
    1e308,
    0.5,
    [],
    {},
    [[]] * 3,
    {"": {"": ""}},
)
DEEP = 3000


def change_bytes(random: Random, data: bytes) -> bytes:
    """One to four of: a bit, a byte, a number, a slice doubled, dropped, zeroed or moved, a cut."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if not out:
            break
        start = _place(random, len(out))
        length = random.choice((1, 4, 16, 256, 4096))
        piece = out[start : start + length]
        match random.randrange(8):
            case 0:
                out[start] ^= 1 << random.randrange(8)
            case 1:
                out[start] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 2:
                width = random.choice((2, 4, 8))
                number = random.choice(NUMBERS) % (1 << 8 * width)
                order = random.choice(("little", "big"))
                out[start : start + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
            case 3:
                out[start:start] = piece
            case 4:
                del out[start : start + length]
            case 5:
                out[start : start + length] = bytes(len(piece))
            case 6:
                place = random.randrange(len(out))
                out[place : place + len(piece)] = piece
            case 7:
                del out[start:]
    return bytes(out)


def _place(random: Random, size: int) -> int:
    """Anywhere, or near an end, where formats keep their headers and directories."""
    near = min(size, 3000)
    return random.choice(
        (random.randrange(size), random.randrange(near), size - 1 - random.randrange(near))
    )


def change_json(random: Random, data: bytes) -> bytes:
    """One value of a JSON text replaced, removed, doubled or buried; the rest stays valid."""
    tree = json.loads(data)
    places = list(_places(tree))
    if places:
        holder, key = random.choice(places)
        _change_at(random, holder, key)
    text = json.dumps(tree)
    return text.replace('"DEEP"', "[" * DEEP + "]" * DEEP).encode()


def _change_at(random: Random, holder: Any, key: Any) -> None:
    match random.randrange(7):
        case 0:
            del holder[key]
        case 1:
            holder[key] = "DEEP"
        case 2 if isinstance(holder, dict):
            holder[random.choice(TEXTS) or "x"] = holder[key]
        case 3:
            holder[key] = [holder[key]] * random.choice((0, 1, 2, 1000))
        case _:
            holder[key] = random.choice(VALUES)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key or index) of a JSON value, outermost first."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if _is_list(tree) else ()
    return [pair for key in keys for pair in [(tree, key), *_places(tree[key])]]


def _is_list(tree: Any) -> bool:
    return isinstance(tree, list)


def change_json_lines(random: Random, data: bytes) -> bytes:
    """One line of a JSON Lines file changed as JSON, doubled, dropped or moved."""
    lines = data.splitlines() or [b"{}"]
    place = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            lines.insert(place, lines[place])
        case 1:
            del lines[place]
        case 2:
            random.shuffle(lines)
        case _:
            lines[place] = change_json(random, lines[place])
    return b"\n".join(lines) + b"\n"


MOST_GROWN = 2 << 20


def grow(random: Random, data: bytes) -> bytes:
    """A piece of the file many thousand times: what takes the square of its size shows."""
    start = random.randrange(len(data))
    width = random.choice((1, 1, 2, 8, 40, 200))
    match random.randrange(4):
        case 0:  # whole lines
            lines = data.split(b"\n")
            piece = random.choice(lines) + b"\n"
            start = data.find(piece) if piece in data else start
        case 1:
            piece = random.choice((b"[", b"{", b"(", b"{a=", b'{"a":', b"[[", b"a.", b"9", b'"a",'))
        case _:
            piece = data[start : start + width]
    times = min(random.choice((100, 1000, 10_000, 300_000)), MOST_GROWN // len(piece))
    return data[:start] + piece * times + data[start:]


def or_grow(mutate: Mutate) -> Mutate:
    """One mutant in eight grows."""

    def either(random: Random, data: bytes) -> bytes:
        return grow(random, data) if data and random.randrange(8) == 0 else mutate(random, data)

    return either


_INSERTS = (
    b"\x1b[31m",
    b'"',
    b"'''",
    b"=",
    b"[",
    b"[[",
    b"]",
    b"{",
    b"\0",
    b"\xff\xfe",
    b"\n",
    b",",
)
_LONG = (b"a." * 4000, b"[" * 4000, b"9" * 5000, b"x" * 200_000, b"\n" * 5000, b'"' * 999)


def change_text(random: Random, data: bytes) -> bytes:
    """A line of text doubled, dropped, moved, or with something put into it."""
    lines = data.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(lines))
        line = lines[place]
        at = random.randrange(len(line) + 1)
        match random.randrange(6):
            case 0:
                lines.insert(place, line)
            case 1 if len(lines) > 1:
                del lines[place]
            case 2:
                lines[place] = line[:at] + random.choice(_LONG) + line[at:]
            case 3:
                lines[place] = line[:at]
            case 4:
                lines[place] = b" = ".join(line.split(b"=")[:1] + [_value(random)])
            case _:
                lines[place] = line[:at] + random.choice(_INSERTS) + line[at:]
    return b"\n".join(lines)


def _value(random: Random) -> bytes:
    return json.dumps(random.choice(VALUES)).encode()
