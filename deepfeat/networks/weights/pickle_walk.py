"""Look at a pickle's instructions without running them.

torch's restricted unpickler runs no foreign code, but it can be kept busy for ever: a tuple of
twice the same tuple, sixty times over, takes 2^60 steps to hash. So instructions are counted,
tuples may nest only a little, and what is named must belong to torch or be an OrderedDict.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator

MOST_INSTRUCTIONS = 300_000  # some thirty a tensor
DEEPEST_TUPLE = 8
KNOWN_PACKAGES = ("torch", "collections")
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = -1


def walk(content: bytes, count: int) -> None:
    """Check the ``count`` pickles that ``content`` begins with.

    Raises
    ------
    ValueError
        Saying what a pickle holds that a state of tensors does not, or where it is damaged.
    """
    stream = io.BytesIO(content)
    instructions = 0
    for _ in range(count):
        stack: list[int] = []  # how deep tuples nest in each value; MARK for a mark
        memo: dict[int, int] = {}
        for opcode, argument in _instructions(stream):
            instructions += 1
            if instructions > MOST_INSTRUCTIONS:
                raise ValueError(f"its pickle has over {MOST_INSTRUCTIONS:,} instructions")
            if opcode.name == "GLOBAL":
                _check_name(str(argument))
            try:
                _step(opcode, argument, stack, memo)
            except (IndexError, KeyError) as error:
                raise ValueError("its pickle is damaged") from error


def _instructions(stream: io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, object]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode, argument
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"its pickle is damaged ({error!s:.80})") from error


def _check_name(name: str) -> None:
    if name.split(" ")[0].split(".")[0] not in KNOWN_PACKAGES:
        raise ValueError(f"its pickle wants to use '{name.replace(' ', '.'):.80}'")


def _step(
    opcode: pickletools.OpcodeInfo, argument: object, stack: list[int], memo: dict[int, int]
) -> None:
    """Do to the stack of depths what the instruction does to the stack of values."""
    name = opcode.name
    if name == "MARK":
        stack.append(MARK)
    elif name == "DUP":
        stack.append(stack[-1])
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name.endswith("PUT"):
        memo[_index(argument)] = stack[-1]
    elif name.endswith("GET"):
        stack.append(memo[_index(argument)])
    elif name == "TUPLE" or name in TUPLES:
        items = _pop_to_mark(stack) if name == "TUPLE" else _pop(stack, TUPLES[name])
        depth = 1 + max(items, default=0)
        if depth > DEEPEST_TUPLE:
            raise ValueError(f"its pickle nests tuples over {DEEPEST_TUPLE} deep")
        stack.append(depth)
    else:
        before = opcode.stack_before
        if pickletools.markobject in before:
            _pop_to_mark(stack)
            _pop(stack, before.index(pickletools.markobject))
        else:
            _pop(stack, len(before))
        # A list, a dict or a rebuilt tensor can be no key, so its own depth does not matter.
        stack.extend(0 for _ in opcode.stack_after)


def _pop(stack: list[int], count: int) -> list[int]:
    return [stack.pop() for _ in range(count)]


def _pop_to_mark(stack: list[int]) -> list[int]:
    items = []
    while (item := stack.pop()) != MARK:
        items.append(item)
    return items


def _index(argument: object) -> int:
    return int(str(argument))
