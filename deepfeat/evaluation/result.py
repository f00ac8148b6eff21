"""A Result: the figure and all that a reader needs to believe it and to repeat it; JSON on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfeat import files
from deepfeat.errors import CannotCreate, StoreError
from deepfeat.evaluation.result_shape import SCHEMA, read_result

if TYPE_CHECKING:
    import pandas as pd

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """One evaluation. Every field is of plain JSON values; figures are in per cent.

    Attributes
    ----------
    recipe : name, variant, sha256 and all keys as they were resolved
    data : set, numbers of images, classes, what is missing, holes, duplicates, whether partial
    features : a row a network: store, identity, layer, scales, aggregation, dimension
    choice : C, how it was chosen, the whole curve
    solver : name, number of problems, worst gap, problems that missed their tolerance
    figure : what, value, low, high, spread, n, definition, partial
    published : the figure of the literature, or None
    measures : the figure by every other measure
    per_class, splits : a row each
    study : a row for every way to use the scales; empty unless asked for
    predictions : the file of scores, or None
    warnings : kind and message
    provenance, timings : versions, machine, command, date; seconds
    """

    recipe: Json
    data: Json
    features: tuple[Json, ...]
    choice: Json
    solver: Json
    figure: Json
    published: Json | None
    measures: Json
    per_class: tuple[Json, ...]
    splits: tuple[Json, ...]
    study: tuple[Json, ...]
    predictions: str | None
    warnings: tuple[Json, ...]
    provenance: Json
    timings: Json

    @property
    def exit_status(self) -> int:
        """1 for a figure that is not the protocol's own because images are missing, else 0."""
        return 1 if self.figure["partial"] else 0

    def as_value(self) -> dict[str, Any]:
        """``deepfeat.result/1``: plain JSON values, NaN as null."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        plain: dict[str, Any] = _plain({"schema": SCHEMA, **named, "exit_status": self.exit_status})
        return plain

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.as_value(), ensure_ascii=True, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a class: class, value, low, high, positives, published, C, gap."""
        import pandas as pd

        table: pd.DataFrame = pd.DataFrame([dict(row) for row in self.per_class])
        return table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON, whole or not at all. Raises ``StoreError`` if the disk fails."""
        with written(Path(path)):
            text = json.dumps(self.as_value(), indent=1, ensure_ascii=True, allow_nan=False)
            files.replace(Path(path), [text.encode() + b"\n"])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read what ``save`` wrote.

        Raises
        ------
        DataMissing, DataError
            No such file, or no result: it names the field that is wrong.
        NoPermission, StoreError
            It may not be read, or could not be.
        """
        found = read_result(path)
        names = [field.name for field in fields(cls)]
        lists = ("features", "per_class", "splits", "study", "warnings")
        values: dict[str, Any] = {n: tuple(found[n]) if n in lists else found[n] for n in names}
        return cls(**values)


class written:
    """Turn an ``OSError`` while a result is written into one that names the file."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        if not self._path.parent.is_dir():
            raise CannotCreate(
                f"the folder '{self._path.parent}' does not exist", advice="Make it first."
            )

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"'{self._path}' cannot be written: {error.strerror}",
                advice="What was extracted is safe; run the same command again.",
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
