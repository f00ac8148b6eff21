"""What a file of weights holds: tables of tensors, their shapes and kinds known, numbers unread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Union

from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor in a file.

    ``kind`` is its dtype in words ("float32"), or what it is instead ("a sparse tensor");
    ``place`` is equal for two that are the same numbers; ``read`` gives it as saved.
    """

    shape: Shape
    kind: str
    place: object
    read: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Opening:
    """Python by which a person opens a file as ``state``, and what to know before."""

    line: str
    warning: str = ""


# A table of tensors by name, of further tables by key, or of both.
Contents = dict[str | int, Union[Held, "Contents"]]


def held(tensors: Mapping[str, Tensor]) -> Contents:
    """The table of tensors that were read already."""
    return {name: _as_held(name, tensor) for name, tensor in tensors.items()}


def _as_held(name: str, tensor: Tensor) -> Held:
    kind = str(tensor.dtype).removeprefix("torch.")
    return Held(tuple(tensor.shape), kind, name, lambda: tensor)
