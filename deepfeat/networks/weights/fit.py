"""Which tensors of a file are the network's: the one table and prefix under which all are found.

Training saves more than a network: wrappers put ``module.`` before each name, checkpoints put the
state into a table among others, self-supervision keeps two networks and other heads. What the
wanted layers need decides: a reading fits if all of it is there in the right shapes. Exactly one
must fit; then it is taken, and said if it is not the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deepfeat.errors import WeightsError, some
from deepfeat.networks.weights.deeper import surplus
from deepfeat.networks.weights.forms import guarded
from deepfeat.networks.weights.held import Contents, Held, Opening, Shape

MOST_FITTING = 20  # ways to read a file that are looked at closely
LONGEST_LINE = 2000
FLOATS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a network takes from a file.

    ``shapes`` are those that each needed tensor may have, by its name in the file, with None for a
    size that is free; ``known`` are the names of all of the network's tensors.
    """

    network: str
    shapes: Mapping[str, tuple[tuple[int | None, ...], ...]]
    known: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One way to read a file: the tensors by the network's names, and where they stand.

    ``spelled`` are the network's names as this way has them -> as they are today.
    """

    keys: tuple[str | int, ...]
    prefix: str
    tensors: Mapping[str, Held]
    left_out: int
    spelled: Mapping[str, str]

    @property
    def table(self) -> str:
        return "".join(f"[{key!r:.60}]" for key in self.keys)

    @property
    def words(self) -> str:
        """How it differs from the plain way; empty if it does not."""
        table = f" in {self.table}" if self.keys else ""
        prefix = f" under {self.prefix!r:.60}" if self.prefix else ""
        others = f", leaving out {self.left_out} others" if self.left_out else ""
        return f"tensors{table}{prefix}{others}" if table or prefix or others else ""


def fit(
    wanted: Wanted, contents: Contents, path: Path, opening: Callable[[Path], Opening] | None
) -> tuple[dict[str, Tensor], str]:
    """The needed tensors by today's names, float32 on the CPU, and in words where they stood.

    Raises
    ------
    WeightsError
        If no reading of the file fits, or two do, or a needed tensor is not of finite floats.
    """
    readings = list(_readings(wanted, contents))
    # The count is looked at first: of many readings few can hold all that is needed.
    enough = (one for one in readings if len(one.tensors) >= len(wanted.shapes))
    fitting = [one for one in enough if not _misfits(wanted, one)]
    different: dict[tuple[object, ...], Reading] = {}
    for one in fitting:
        different.setdefault(tuple(one.tensors[key].place for key in wanted.shapes), one)
    if not different:
        raise _does_not_fit(wanted, readings, contents, path)
    if len(different) > MOST_FITTING:
        raise _fits_twice(wanted, list(different.values()), path, opening)
    deeper = {one: _surplus(wanted, one, contents) for one in different.values()}
    exact = [one for one, names in deeper.items() if not names]
    if not exact:
        raise _is_deeper(wanted, *next(iter(deeper.items())), path)
    if len(exact) > 1:
        raise _fits_twice(wanted, exact, path, opening)
    reading = exact[0]
    state = {key: _floats(reading, key, path) for key in wanted.shapes}
    bad = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsError(
            f"weights file '{path}' holds NaN or Inf in {_names(bad)}",
            expected="finite numbers in all that the layer needs",
            advice="Fetch or export the file again, or choose an earlier layer.",
        )
    return state, reading.words


def _readings(wanted: Wanted, contents: Contents) -> Iterator[Reading]:
    """Every table and prefix under which all that is needed may stand, and the nearest others.

    Under today's or older names, in one pass over each table, so that their number needs no bound.
    """
    most = 0
    for spelled in _spellings(wanted):
        deepest = max(name.count(".") for name in spelled)
        cuts: dict[str, list[tuple[str, str]]] = {}  # tables of one file share their names
        for keys, table in _tables(contents):
            found: dict[str, dict[str, Held]] = {}
            for name, tensor in table.items():
                if name not in cuts:
                    cuts[name] = [cut for cut in _cuts(name, deepest) if cut[1] in spelled]
                for prefix, rest in cuts[name]:
                    found.setdefault(prefix, {})[spelled[rest]] = tensor
            for prefix, tensors in found.items():
                if len(tensors) >= len(wanted.shapes) or len(tensors) > most:
                    most = max(most, len(tensors))
                    yield Reading(keys, prefix, tensors, len(table) - len(tensors), spelled)


def _cuts(name: str, deepest: int) -> Iterator[tuple[str, str]]:
    """Every cut of a name into a prefix and a rest of at most ``deepest`` dots."""
    cut = len(name)
    for _ in range(deepest + 1):
        cut = name.rfind(".", 0, cut)
        yield name[: cut + 1], name[cut + 1 :]
        if cut < 0:
            return


def _tables(
    contents: Contents, keys: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Held]]]:
    tensors = {str(key): value for key, value in contents.items() if isinstance(value, Held)}
    if tensors:
        yield keys, tensors
    for key, value in contents.items():
        if not isinstance(value, Held):
            yield from _tables(value, (*keys, key))


def _spellings(wanted: Wanted) -> list[dict[str, str]]:
    """The network's names as files have them -> as they are today, for each age of torchvision."""
    today = {name: name for name in wanted.known}
    spellings = [today]
    for network, pattern, older in OLDER_NAMES:
        if wanted.network.startswith(network):
            old = {re.sub(pattern, older, name): name for name in today}
            if any(old.get(name) != name for name in wanted.shapes):
                spellings.append(old)
    return spellings


def _johnson(name: re.Match[str]) -> str:
    return f"classifier.{({'0': '1', '3': '4'}).get(name[1], name[1])}"


# Network -> what torchvision has renamed since: VGG's layers in 2017, DenseNet's as it loads them.
OLDER_NAMES = (
    ("vgg", r"^classifier\.(\d+)", _johnson),
    ("densenet", r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2."),
)


def _misfits(wanted: Wanted, reading: Reading) -> list[tuple[str, str]]:
    """Needed tensors that are missing or of another shape: name, and what is wrong."""
    found = []
    for key, shapes in wanted.shapes.items():
        tensor = reading.tensors.get(key)
        if tensor is None:
            found.append((key, "missing"))
        elif tensor.kind.startswith("a "):
            found.append((key, f"is {tensor.kind}"))
        elif not any(_matches(tensor.shape, shape) for shape in shapes):
            found.append((key, f"{tensor.shape} instead of {shapes[0]}"))
    return found


def _surplus(wanted: Wanted, reading: Reading, contents: Contents) -> list[str]:
    """Names that stand among the needed ones and that the network does not have."""
    table = next(table for keys, table in _tables(contents) if keys == reading.keys)
    others = (
        rest
        for name in table
        if name.startswith(reading.prefix)
        and (rest := name.removeprefix(reading.prefix)) not in reading.spelled
    )
    needed = {name for name, today in reading.spelled.items() if today in wanted.shapes}
    heads = [name for name in needed if wanted.shapes[reading.spelled[name]][0][:1] == (None,)]
    return surplus(others, reading.spelled, needed, heads)


def _matches(shape: Shape, expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size is None or size == one for one, size in zip(shape, expected, strict=True)
    )


def _floats(reading: Reading, key: str, path: Path) -> Tensor:
    tensor = reading.tensors[key]
    if tensor.kind not in FLOATS:
        raise WeightsError(
            f"weights file '{path}' holds '{key}' as {tensor.kind}",
            expected="floating-point numbers (float16, bfloat16, float32, float64)",
            advice="Give the weights as they were before they were quantised or converted.",
        )
    # Contiguous, so that of a view only its own numbers are kept.
    return guarded(path, lambda: tensor.read().to(torch.float32).contiguous())


def _does_not_fit(
    wanted: Wanted, readings: list[Reading], contents: Contents, path: Path
) -> WeightsError:
    nearest = max(readings, key=lambda one: len(one.tensors), default=None)
    misfits = _misfits(wanted, nearest) if nearest else [(key, "missing") for key in wanted.shapes]
    missing = [key for key, what in misfits if what == "missing"]
    others = [f"{key} {what}" for key, what in misfits if what != "missing"]
    found = [f"missing: {_names(missing)}"] if missing else []
    found += [f"of another shape: {_names(others)}"] if others else []
    if nearest and nearest.words:
        found.append(f"looked at: {nearest.words}")
    if not nearest:
        names = [name for _, table in _tables(contents) for name in table]
        found.append(f"it holds {_names(names)}")
    if re.search(r"\d-of-\d", path.name):
        advice = "By its name it is one part of several: join them into one file."
    elif nearest and len(misfits) < len(wanted.shapes) / 2:
        advice = "Give a file with all of them, the network it was made for, or an earlier layer."
    else:
        advice = "Give the network that these weights were trained for."
    return WeightsError(
        f"weights '{path}' do not fit network '{wanted.network}'",
        expected=f"{len(wanted.shapes)} tensors, which the layer needs",
        found="; ".join(found),
        advice=advice,
    )


def _is_deeper(wanted: Wanted, reading: Reading, names: list[str], path: Path) -> WeightsError:
    where = f", in {reading.words}" if reading.keys or reading.prefix else ""
    return WeightsError(
        f"weights '{path}' do not fit network '{wanted.network}': they are of a deeper one",
        expected="no tensors among those of the wanted layers that the network does not have",
        found=f"{_names(names)} besides{where}",
        advice="Give the network that these weights were trained for.",
    )


def _fits_twice(
    wanted: Wanted, readings: list[Reading], path: Path, opening: Callable[[Path], Opening] | None
) -> WeightsError:
    def holds_another(one: Reading) -> bool:
        """Whether another reading would be saved with it."""
        return any(
            other.keys[: len(one.keys)] == one.keys
            and (len(other.keys) > len(one.keys) or other.prefix.startswith(one.prefix))
            for other in readings[:MOST_FITTING]
            if other is not one
        )

    first, second = sorted(readings[:MOST_FITTING], key=holds_another, reverse=True)[:2]
    words = [one.words or "tensors by their plain names" for one in (first, second)]
    line = _saving(opening(path), second) if opening else ""
    advice = (
        f"Save the one that is meant, such as the second: {line}"
        if 0 < len(line) < LONGEST_LINE
        else "Save the one that is meant alone, by its plain names, and give that file."
    )
    return WeightsError(
        f"weights '{path}' fit network '{wanted.network}' in {len(readings)} ways",
        found=" and ".join(words),
        advice=advice,
    )


def _saving(opening: Opening, reading: Reading) -> str:
    """A line of Python that saves one reading alone."""
    keys = "".join(f"[{key!r}]" for key in reading.keys)
    prefix = reading.prefix
    return (
        f"{opening.line}{keys}; torch.save({{str(k)[{len(prefix)}:]: v for k, v in state.items() "
        f"if str(k).startswith({prefix!r})}}, 'one.pth')"
        + (f"  # {opening.warning}" if opening.warning else "")
    )


def _names(names: list[str]) -> str:
    return some([f"{name:.80}" for name in names], 3)
