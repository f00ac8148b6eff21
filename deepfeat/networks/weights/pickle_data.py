"""Read a pickle as data: what it would look up or call is only written down.

A pickle is a program for a small stack machine. Here its instructions build numbers, texts, lists
and tables; a name becomes a ``Name``, a call a ``Made`` that nobody calls, and a reference to bytes
outside a ``Reference``. So nothing is ever run, and time and memory are bounded by the number of
instructions, where a table made of a list of pairs counts as one for each pair. Of tables only the
entries with a text as key are kept: tensors have names, and other keys could be chosen to collide.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_INSTRUCTIONS = 500_000  # some thirty a tensor
BYTES_FOR_ONE_MORE = 8  # a list of numbers may be as long as its bytes are
LONGEST_NUMBER = 256  # bytes of an integer
LONGEST_LINE = 4096

NUMBERS = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d"}
# Python 2 wrote its texts by the first two.
TEXTS = {b"U": "<B", b"T": "<i", b"\x8c": "<B", b"X": "<I", b"\x8d": "<Q"}
BYTES = {b"C": "<B", b"B": "<I", b"\x8e": "<Q", b"\x96": "<Q"}
LONGS = {b"\x8a": "<B", b"\x8b": "<i"}
CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
FRESH: dict[bytes, type] = {b"]": list, b"}": dict, b"\x8f": list}  # a set is read as a list
TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
SET_MEMO = {b"q": "<B", b"r": "<I"}
GET_MEMO = {b"h": "<B", b"j": "<I"}
SKIPPED = {b"\x80": 1, b"\x95": 8}  # protocol and frame: the bytes of their argument
STOP = b"."


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle calls ``module.name``."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """What a call would have made: the callee and its arguments, and what was put into it."""

    callee: object
    arguments: object
    state: object = None
    items: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A persistent identifier: for torch, the place of a storage."""

    identifier: object


@dataclass(frozen=True, slots=True)
class Pickled:
    """A pickle's value, where its bytes end, and the names and references that occur in it."""

    value: object
    end: int
    names: list[Name]
    references: list[Reference]


class CutOff(ValueError):
    """The bytes end before the pickle does."""


def read_pickle(content: bytes, start: int = 0) -> Pickled:
    """The pickle that begins at ``start``.

    Raises
    ------
    ValueError
        In words that follow "is refused: ", if it is damaged or has too many instructions.
    """
    machine = _Machine(content, start)
    try:
        value = machine.run()
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its pickle is damaged") from error
    return Pickled(value, machine.position, machine.names, machine.references)


class _Machine:
    """Position in the bytes, stack (those below each mark set aside), and memo."""

    def __init__(self, content: bytes, position: int) -> None:
        self.content = content
        self.position = position
        self.most = MOST_INSTRUCTIONS + len(content) // BYTES_FOR_ONE_MORE
        self.left = self.most
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, object] = {}
        self.names: list[Name] = []
        self.references: list[Reference] = []

    def run(self) -> object:
        while (code := self.take(1)) != STOP:
            self.spend(1)
            self.step(code)
        return self.stack.pop()

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError(f"its pickle has over {self.most:,} instructions")

    def step(self, code: bytes) -> None:
        if code in NUMBERS:
            self.push(self.number(NUMBERS[code]))
        elif code in TEXTS:
            self.push(self.text(self.number(TEXTS[code])))
        elif code in BYTES:
            self.push(self.take(self.number(BYTES[code])))
        elif code in LONGS:
            length = self.number(LONGS[code])
            if length > LONGEST_NUMBER:
                raise ValueError(f"its pickle holds a number of {length:,} bytes")
            self.push(int.from_bytes(self.take(length), "little", signed=True))
        elif code in CONSTANTS:
            self.push(CONSTANTS[code])
        elif code in FRESH:
            self.push(FRESH[code]())
        elif code in TUPLES:
            self.push(tuple(self.pop(TUPLES[code])))
        elif code in SET_MEMO:
            self.memo[self.number(SET_MEMO[code])] = self.stack[-1]
        elif code in GET_MEMO:
            self.push(self.memo[self.number(GET_MEMO[code])])
        elif code in SKIPPED:
            self.take(SKIPPED[code])
        elif code in STEPS:
            STEPS[code](self)
        else:
            raise ValueError(f"its pickle is damaged, or has the unknown instruction {code!r}")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def take(self, count: int) -> bytes:
        piece = self.content[self.position : self.position + count] if count >= 0 else b""
        if len(piece) != count:
            raise CutOff("its pickle is damaged: it ends before its end, or is cut off")
        self.position += count
        return piece

    def text(self, count: int) -> str:
        return self.take(count).decode("utf-8", "replace")

    def line(self) -> str:
        end = self.content.find(b"\n", self.position, self.position + LONGEST_LINE)
        text = self.text(end - self.position)
        self.position += 1
        return text

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def pop(self, count: int) -> list[Any]:
        """The uppermost values, the deepest first."""
        if len(self.stack) < count:
            raise IndexError
        popped = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return popped

    def pop_to_mark(self) -> list[Any]:
        popped, self.stack = self.stack, self.below.pop()
        return popped


def _mark(machine: _Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _name(machine: _Machine, module: object, name: object) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError
    machine.names.append(Name(module, name))
    machine.push(machine.names[-1])


def _call(machine: _Machine) -> None:
    callee, arguments = machine.pop(2)
    if callee == Name("collections", "OrderedDict"):
        # Python 2 gives its pairs as an argument, Python 3 puts them in later.
        made: dict[str, object] = {}
        pairs = arguments[0] if arguments else ()
        machine.spend(len(pairs))
        for pair in pairs:
            _put(made, *pair)
        machine.push(made)
    else:
        machine.push(Made(callee, arguments))


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    if isinstance(machine.stack[-1], Made):
        machine.stack[-1].state = state
    # What is set on a table, a state's _metadata, is of no use.


def _put(target: object, key: object, value: object) -> None:
    table = target.items if isinstance(target, Made) else target
    if not isinstance(table, dict):
        raise TypeError
    if isinstance(key, str):
        table[key] = value


def _put_pairs(target: object, flat: list[Any]) -> None:
    if len(flat) % 2:
        raise IndexError
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        _put(target, key, value)


def _extend(target: object, values: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Made):
        raise TypeError


def _refer(machine: _Machine) -> None:
    machine.references.append(Reference(machine.stack.pop()))
    machine.push(machine.references[-1])


def _table_to_mark(machine: _Machine) -> None:
    table: dict[str, object] = {}
    _put_pairs(table, machine.pop_to_mark())
    machine.push(table)


STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    b"(": _mark,
    b"0": lambda machine: machine.pop(1),
    b"1": lambda machine: machine.pop_to_mark(),
    b"2": lambda machine: machine.push(machine.stack[-1]),
    b"\x94": lambda machine: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    b"t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
    b"\x91": lambda machine: machine.push(machine.pop_to_mark()),
    b"l": lambda machine: machine.push(machine.pop_to_mark()),
    b"d": _table_to_mark,
    b"a": lambda machine: _extend(machine.stack[-2], machine.pop(1)),
    b"e": lambda machine: _extend(_under_mark(machine), machine.pop_to_mark()),
    b"\x90": lambda machine: _extend(_under_mark(machine), machine.pop_to_mark()),
    b"s": lambda machine: _put_pairs(machine.stack[-3], machine.pop(2)),
    b"u": lambda machine: _put_pairs(_under_mark(machine), machine.pop_to_mark()),
    b"c": lambda machine: _name(machine, machine.line(), machine.line()),
    b"\x93": lambda machine: _name(machine, *machine.pop(2)),
    b"R": _call,
    b"\x81": _call,
    b"\x92": lambda machine: machine.push(Made(*machine.pop(3)[:2])),
    b"b": _build,
    b"Q": _refer,
    b"V": lambda machine: machine.push(machine.line()),
}


def _under_mark(machine: _Machine) -> object:
    return machine.below[-1][-1]
