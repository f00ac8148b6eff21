"""What a result on disk must look like: every field that is read again is checked first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deepfeat.errors import DataError, StoreDamaged
from deepfeat.store.identity import SHA256, load_json
from deepfeat.store.shape import Shape, choice, flag, record, sequence, text, whole
from deepfeat.store.small import read_small

SCHEMA = "deepfeat.result/1"
MOST_BYTES = 32 << 20
DEEPEST = 12
_MOST = 1 << 20  # rows of a list


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a result's JSON and check it.

    Raises
    ------
    DataError
        It is no regular file, larger than ``MOST_BYTES``, no JSON, or a field is wrong.
    DataMissing, NoPermission, StoreError
        It is not there, may not be read, or could not be.
    """
    try:
        found: dict[str, Any] = load_json(
            read_small(Path(path), MOST_BYTES, follow=True), "the result"
        )
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise StoreDamaged("another file", expected=f'"schema": "{SCHEMA}"')
        _RESULT(found, "result")
    except StoreDamaged as error:
        raise DataError(
            f"'{path}' is no result of svm-eval: {error.message}",
            expected=error.expected,
            found=error.found,
        ) from error
    return found


def _free(value: object, where: str, depth: int = DEEPEST) -> None:
    """Any JSON value that is not nested too deeply."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inner and not depth:
        raise StoreDamaged(f"field '{where}' is nested too deeply")
    for one in inner:
        _free(one, where, depth - 1)


def _words(value: object, where: str) -> None:
    """Any text."""
    if not isinstance(value, str):
        raise StoreDamaged(f"field '{where}' is wrong", expected="a text")


def _null_or(shape: Shape) -> Shape:
    def check(value: object, where: str) -> None:
        if value is not None:
            shape(value, where)

    return check


def _object(required: dict[str, Shape] | None = None) -> Shape:
    return record(required or {}, others=_free)


def _rows(required: dict[str, Shape] | None = None, least: int = 0) -> Shape:
    return sequence(_object(required), least, _MOST)


_WORD = text(is_name=True)
_RESULT = record(
    {
        "schema": choice(SCHEMA),
        "recipe": _object({"name": _WORD, "sha256": SHA256, "set": sequence(_words, 0, _MOST)}),
        "data": _object({"root_sha256": SHA256, "images": whole(0)}),
        "features": _rows({"identity": SHA256, "layer": _WORD}, 1),
        "choice": _object(),
        "solver": _object(),
        "figure": _object({"partial": flag}),
        "published": _null_or(_object()),
        "measures": _object(),
        "per_class": _rows({"class": _words}),
        "splits": _rows({"split": whole(0)}, 1),
        "study": _rows(),
        "predictions": _null_or(_words),
        "warnings": _rows({"kind": _words, "message": _words}),
        "provenance": _object(),
        "timings": _object(),
    },
    {"exit_status": choice(0, 1)},
)
