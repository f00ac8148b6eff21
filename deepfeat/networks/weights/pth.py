"""Read a state saved by ``torch.save``, zip or legacy, without ever running what it holds.

A pickle is a program. It is walked first (``pickle_walk``), then loaded with ``weights_only=True``;
there is no looser way, and what comes out must be tensors by name and no more of them than the file
has bytes.
"""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from deepfeat.errors import WeightsError
from deepfeat.networks.weights.pickle_walk import walk

ZIP_MAGIC = b"PK\x03\x04"
MOST_ENTRIES = 100_000
MOST_PICKLE_BYTES = 16 << 20
LEGACY_PICKLES = 4  # magic number, protocol, system information, the object


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, as saved.

    Raises
    ------
    WeightsError
        If the file holds anything but tensors, contradicts itself, or cannot be read.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) == ZIP_MAGIC
    try:
        if is_zip:
            _check_zip(path)
        else:
            _check_legacy(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError) as error:
        raise _refused(
            path, f"it is damaged, or holds more than tensors ({_first(error)})"
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _refused(path, f"it cannot be read ({_first(error)})") from error
    return _checked(loaded, path)


def _check_zip(path: Path) -> None:
    """List a zip before torch opens it: stored entries only, inside the file, once each."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise _refused(path, f"it lists {len(entries):,} entries, over {MOST_ENTRIES:,}")
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names):
            raise _refused(path, "it lists an entry twice")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise _refused(
                    path, f"entry '{entry.filename:.60}' is compressed, as torch never does"
                )
        if sum(entry.file_size for entry in entries) > size:
            raise _refused(path, "its entries claim more bytes than the file has")
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _refused(path, "it is a zip, but not one of torch.save")
        if pickles[0].file_size > MOST_PICKLE_BYTES:
            raise _refused(path, "its pickle is over 16 MiB")
        with archive.open(pickles[0]) as file:
            _walk(file.read(), 1, path)


def _check_legacy(path: Path) -> None:
    with path.open("rb") as file:
        try:
            tarfile.open(fileobj=file, mode="r:").close()
        except tarfile.TarError:
            pass
        else:
            raise _refused(path, "it is a tar archive, the form of torch before 0.1.10")
        file.seek(0)
        _walk(file.read(MOST_PICKLE_BYTES), LEGACY_PICKLES, path)


def _walk(program: bytes, count: int, path: Path) -> None:
    try:
        walk(program, count)
    except ValueError as error:
        raise _refused(path, str(error)) from error


def _checked(loaded: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        raise _refused(path, f"it holds a {type(loaded).__name__}, not tensors by name")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _refused(path, f"'{name!s:.60}' is a {type(value).__name__}, not a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise _refused(path, f"'{name:.60}' is not a plain tensor of numbers")
    total = sum(value.numel() * value.element_size() for value in loaded.values())
    if total > path.stat().st_size:
        raise _refused(path, "its tensors claim more bytes than the file has")
    return dict(loaded)


def _first(error: Exception) -> str:
    """The first sentence of what is wrong: torch's advice to load unsafely is not passed on."""
    words = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    lines = words.splitlines()
    return lines[0].split(". ")[0][:160] if lines else type(error).__name__


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights file '{path}' is refused: {why}",
        expected="tensors by name, saved by torch.save(network.state_dict(), ...)",
        advice="Save the state alone, or convert it to .safetensors where you trust the file.",
    )
