"""Whether a file is of a deeper network than the one it is read for.

A ResNet-34 holds all that a ResNet-18 needs, and more of the same between: read as the smaller one
it would be neither. Heads and layers behind the wanted ones are another matter, and so is what
tools leave with a module (counts of operations, masks).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

Children = dict[str, dict[str, bool]]  # container -> its modules, and whether they are needed


def surplus(
    names: Iterable[str], known: Iterable[str], needed: Collection[str], heads: Collection[str]
) -> list[str]:
    """Those of a file's ``names`` that lie among the needed layers, where the network has nothing.

    ``known`` are all names of the network, ``needed`` those of the wanted layers; in the containers
    of ``heads``, as of a classifier, more may follow.
    """
    children: Children = {}
    for name in known:
        for container, child in _steps(name):
            siblings = children.setdefault(container, {})
            siblings[child] = siblings.get(child, False) or name in needed
    kinds = {name.rpartition(".")[2] for name in needed}
    open_ended = {name.rpartition(".")[0].rpartition(".")[0] for name in heads}
    return [
        name
        for name in names
        if name.rpartition(".")[2] in kinds and _is_within(name, children, open_ended)
    ]


def _steps(name: str) -> Iterator[tuple[str, str]]:
    """Containers on the way to a tensor, and the module that comes next in each."""
    modules = name.split(".")[:-1]
    for depth, module in enumerate(modules):
        yield ".".join(modules[:depth]), module


def _is_within(name: str, children: Children, open_ended: Collection[str]) -> bool:
    for container, child in _steps(name):
        siblings = children.get(container)
        if siblings is None:
            return False  # within what is a layer here
        if child in siblings:
            continue
        if not container:  # here heads stand, too: only more of a row, as conv3_4 after conv3_3
            row = _row_of(child)
            siblings = {
                one: is_needed for one, is_needed in siblings.items() if _row_of(one) == row
            }
            return bool(row and siblings) and all(siblings.values())
        return (container not in open_ended and all(siblings.values())) or (
            child.isdigit() and _is_before(int(child), siblings)
        )
    return False


def _row_of(module: str) -> str:
    found = re.fullmatch(r"(\w+_)\d+", module)
    return found[1] if found else ""


def _is_before(number: int, siblings: dict[str, bool]) -> bool:
    """Whether a module stands before one that is needed, or before the next that is known."""
    numbers = sorted(int(one) for one in siblings if one.isdigit())
    needed = [int(one) for one, is_needed in siblings.items() if is_needed and one.isdigit()]
    behind = [one for one in numbers if needed and one > max(needed)]
    return bool(needed) and number < (behind[0] if behind else max(needed))
