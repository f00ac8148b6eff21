"""Read what ``torch.save`` wrote, zip or older form, without torch's reader and without running it.

The pickle is read as data (``pickle_data``). Of what it would call, the few functions that make a
tensor of a storage are understood; the rest of a checkpoint (epochs, optimizers, classes of other
programs) is passed over. Numbers are read when they are wanted, from bytes that were found to lie
in the file before.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from deepfeat.errors import WeightsError, printable
from deepfeat.networks.weights.held import Contents, Held, Opening
from deepfeat.networks.weights.pickle_data import Made, Name, Pickled, Reference
from deepfeat.networks.weights.torch_file import STORAGES, Saved, is_class, read_saved, storage_of

MOST_DIMENSIONS = 16
DEEPEST = 32
# A view may leave out numbers between its own, as every other column. All views of a file together
# leave out at most so many times the file's bytes: each is read from its first to its last number.
MOST_SPREAD = 4

# Calls whose first argument is itself a tensor, and those that make one of a storage.
WRAPPERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
REBUILDERS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
REBUILD_ANY = "torch._utils._rebuild_"
UNDERSTOOD = ("torch", "torch._utils", "torch._tensor", "collections")
FROM_TYPE = "torch._tensor._rebuild_from_type_v2"  # a tensor with attributes


def read(path: Path) -> Contents:
    """Tensors by name, in the tables they were saved in; what is no tensor is left out.

    Raises
    ------
    WeightsError
        If the file holds no tensors by name, contradicts itself, or cannot be read.
    """
    try:
        saved = read_saved(path)
        contents = _contents(saved)
    except ValueError as error:
        raise _refused(path, str(error)[:200]) from error
    if not contents:
        raise _refused(path, _why_nothing(saved.pickled))
    return contents


def opening(path: Path) -> Opening:
    """How a person opens the file. torch refuses classes of other programs as weights alone."""
    foreign = [one for one in read_saved(path).pickled.names if one.module not in UNDERSTOOD]
    how = f"{str(path.absolute())!r}, map_location='cpu', weights_only={not foreign}"
    warning = f"only if you trust it: {foreign[0]!s:.60} is in it" if foreign else ""
    return Opening(f"import torch; state = torch.load({how})", warning)


def _contents(saved: Saved) -> Contents:
    """Every table that holds tensors by name, with the tables around it."""
    seen: set[int] = set()
    known: dict[int, Held | None] = {}  # one call of the pickle may stand under many names
    left_out = 0
    deepest = 0

    def tensor(value: object) -> Held | None:
        nonlocal left_out
        if id(value) not in known:
            known[id(value)] = found = _held(value, saved)
            left_out += _left_out(found) if found else 0
        return known[id(value)]

    def table(value: object, depth: int) -> Contents:
        nonlocal deepest
        items = value.items if isinstance(value, Made) else value
        if isinstance(items, (list, tuple)):
            items = dict(enumerate(items))
        if not isinstance(items, dict) or not items or id(value) in seen:
            return {}
        deepest = max(deepest, depth)
        if depth > DEEPEST:
            return {}
        seen.add(id(value))
        found: Contents = {}
        for key, item in items.items():
            if (one := tensor(item)) is not None:
                if isinstance(key, str):
                    found[key] = one
            elif inner := table(item, depth + 1):
                found[key] = inner
        return found

    contents = table(saved.pickled.value, 0)
    if contents and deepest > DEEPEST:
        raise ValueError(f"its tables nest over {DEEPEST} deep")
    if left_out > MOST_SPREAD * saved.path.stat().st_size:
        raise ValueError("its tensors are spread over far more bytes than they have")
    return contents


def _left_out(held: Held) -> int:
    """Bytes between a tensor's own that are read with it."""
    match held.place:
        case (_, torch.dtype() as dtype, tuple(sizes), tuple(steps)):
            return max(0, _span(sizes, steps) - math.prod(sizes)) * dtype.itemsize
    return 0


def _span(sizes: tuple[int, ...], steps: tuple[int, ...]) -> int:
    """Numbers from a tensor's first to its last."""
    if 0 in sizes:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))


def _held(value: object, saved: Saved) -> Held | None:
    """The tensor a call would have made; None for anything else."""
    for _ in range(DEEPEST):
        if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
            return None
        arguments: tuple[object, ...] = value.arguments
        called = str(value.callee) if isinstance(value.callee, Name) else ""
        if called in WRAPPERS and arguments:
            value = arguments[0]
        elif called == FROM_TYPE and len(arguments) == 4:
            value = Made(arguments[0], arguments[2])
        elif called in REBUILDERS:
            return _plain(arguments, saved)
        elif called.startswith(REBUILD_ANY):
            kinds = [f"tensor of {one}" for one in arguments if isinstance(one, Name)]
            kind = called.removeprefix(REBUILD_ANY).replace("_", " ")
            return _odd(kinds[0] if kinds else kind, saved.path)
        else:
            return None
    return None


def _plain(arguments: tuple[object, ...], saved: Saved) -> Held:
    match arguments:
        case (Reference(("storage", Name(_, name), *_)), *_) if name not in STORAGES:
            return _odd(f"tensor of {name}", saved.path)
        case (Reference() as reference, int(offset), tuple(shape), tuple(strides), *rest):
            key, dtype, count, begin, length = storage_of(reference)
        case _:
            raise ValueError("its pickle is damaged: a tensor without shape or storage")
    if len(rest) > 2 and rest[2]:  # metadata: numbers to be conjugated or negated
        return _odd("tensor with a pending operation", saved.path)
    sizes, steps = _sizes(shape), _sizes(strides)
    if len(sizes) != len(steps) or not offset >= 0:
        raise ValueError(f"its pickle is damaged: a tensor of shape {shape!s:.60}")
    numel = math.prod(sizes)
    span = _span(sizes, steps)
    place = saved.places.get(key)
    if place is None or place.size != count * dtype.itemsize or (numel and offset + span > length):
        raise ValueError("a tensor leaves its storage, or the storage is not there")
    if numel * dtype.itemsize > saved.path.stat().st_size:
        raise ValueError("its tensors claim more bytes than the file has")
    start = place.start + (begin + offset) * dtype.itemsize if numel else place.start
    whole = place.crc if span * dtype.itemsize == place.size else 0

    def numbers() -> Tensor:
        content = _exactly(saved.path, start, span * dtype.itemsize)
        if whole and zlib.crc32(content) != whole:
            raise _refused(saved.path, f"the bytes of its storage '{key:.20}' are damaged")
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return flat.as_strided(sizes, steps)

    kind = str(dtype).removeprefix("torch.")
    return Held(sizes, kind, (start, dtype, sizes, steps), numbers)


def _exactly(path: Path, start: int, count: int) -> bytearray:
    content = bytearray(count)
    with path.open("rb") as file:
        file.seek(start)
        if file.readinto(content) != count:
            raise _refused(path, "it became shorter while it was read")
    return content


def _sizes(values: tuple[object, ...]) -> tuple[int, ...]:
    sizes = tuple(n for n in values if type(n) is int and 0 <= n < 1 << 48)
    if len(sizes) != len(values) or len(sizes) > MOST_DIMENSIONS:
        raise ValueError("its pickle is damaged: impossible sizes of a tensor")
    return sizes


def _odd(kind: str, path: Path) -> Held:
    """A tensor of a kind that no network here is made of."""

    def numbers() -> Tensor:
        raise _refused(path, f"it holds a {kind:.60}")

    return Held((), f"a {kind:.60}", kind, numbers)


def _why_nothing(pickled: Pickled) -> str:
    """Why there is no table of tensors."""
    value = pickled.value
    for one in [value, *value.values()] if isinstance(value, dict) else [value]:
        if isinstance(one, Made) and isinstance(one.state, dict) and "_modules" in one.state:
            return (
                f"it is a whole network ({_class_of(one):.80}), which only its own program can "
                "open; there: torch.save(network.state_dict(), ...)"
            )
    for name in pickled.names:
        if name.module not in UNDERSTOOD:
            return f"its pickle wants to use '{name!s:.80}', and nothing a file names is run"
    if isinstance(value, dict) and value:
        key, one = next(iter(value.items()))
        return f"'{key:.60}' is a {type(one).__name__}, not a tensor"
    kind = "tensor" if isinstance(value, Made) else type(value).__name__
    return f"it holds a {kind}, not tensors by name"


def _class_of(made: Made) -> str:
    callee, arguments = made.callee, made.arguments
    if isinstance(callee, Reference) and is_class(callee):
        callee = callee.identifier
    named = [one for one in (callee, arguments) for one in _flat(one) if isinstance(one, Name)]
    return str(named[-1]) if named else "of a class without a name"


def _flat(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights file '{path}' is refused: {printable(why)}",
        expected="tensors by name, saved by torch.save(network.state_dict(), ...)",
        advice="Save the state alone, or convert it to .safetensors where you trust the file.",
    )
