"""``evaluate``: a recipe, its data and stores in, a Result out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deepfeat.datasets.csv_file import csv_dataset
from deepfeat.datasets.dataset import DataSet
from deepfeat.datasets.folder import folder_dataset
from deepfeat.datasets.loading import load_dataset
from deepfeat.errors import DataError, DataMissing, UsageError, some
from deepfeat.evaluation.features import Feature, given_features, made_features
from deepfeat.evaluation.fitting import fit_part
from deepfeat.evaluation.matrix import Joined, join, matrix_of, twins
from deepfeat.evaluation.output import check_output, check_question
from deepfeat.evaluation.parts import Part, parts_of
from deepfeat.evaluation.recipe import Recipe, load_recipe, with_solver
from deepfeat.evaluation.result import Result
from deepfeat.evaluation.study import check_study, study_of
from deepfeat.evaluation.summary import result_of, scores_path, write_scores
from deepfeat.evaluation.working import Working
from deepfeat.progress import Report


@dataclass(slots=True)
class Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.seconds[name] = round(spent, 3)


def evaluate(
    recipe: Recipe | str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | DataSet | None = None,
    features: Sequence[str | os.PathLike[str]] = (),
    solver: str | None = None,
    splits: Sequence[int] | None = None,
    study: bool = False,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    download: bool = False,
    device: str = "auto",
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
) -> Result:
    """Extract what is missing, train linear SVMs, and measure them as a recipe says.

    Parameters
    ----------
    recipe : Recipe, or a name or path for ``load_recipe``
    data : path or DataSet, optional
        Where the set lies: a folder, or the CSV file of a recipe whose set is "csv"; by default
        looked for in $DEEPFEAT_DATA and the cache. Or the data set itself.
    features : sequence of paths
        Finished stores to use instead of the recipe's own, one a network.
    solver : str, optional
        Instead of the recipe's: ``--set svm.solver=...``.
    splits : sequence of int, optional
        Some of the splits; all by default.
    study : bool
        Also score mean, max and stack over every subset of scales.
    output : path, optional
        Where the result is written as JSON, the scores beside it. The recipe's own stores lie in
        the same folder; without it in the working directory, and nothing else is written.
    overwrite : bool
        Replace a result of other settings.
    download : bool
        Fetch the set's archives where it is not found.
    device, workers, cache
        As for ``extract``.
    progress : callable, optional
        Called with a ``Progress`` during extraction.

    Raises
    ------
    DeepfeatError
        One of its tree in ``deepfeat.errors``.
    """
    place = None if output is None else Path(output)
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    if solver is not None:
        recipe = with_solver(recipe, solver)
    working = Working(
        folder=Path() if place is None else place.parent,
        device=device,
        cache=None if cache is None else Path(cache),
        workers=workers,
        download=download,
        overwrite=overwrite,
        images=progress,
    )
    return run_recipe(
        recipe, data, working, features=features, splits=splits, study=study, output=place
    )


def run_recipe(
    recipe: Recipe,
    data: str | os.PathLike[str] | DataSet | None,
    working: Working,
    *,
    features: Sequence[str | os.PathLike[str]] = (),
    splits: Sequence[int] | None = None,
    study: bool = False,
    output: Path | None = None,
) -> Result:
    """``evaluate`` with all ways of working."""
    clock = Clock()
    dataset = dataset_of(recipe, data, working)
    parts = _chosen(parts_of(recipe, dataset), splits)
    wanted = np.unique(np.concatenate([np.r_[part.train, part.test] for part in parts]))
    _check_there(dataset)
    if output is not None:
        check_output(output, recipe, working)
    with clock.stage("extract"):
        found = _features(recipe, dataset, working, features)
    with clock.stage("read"):
        joined = join(found, dataset, wanted)
        _check_complete(recipe, joined)
        X = matrix_of(joined, recipe.get("fuse.weights", ()))
        if study:
            check_study(joined)
        same = {part.number: twins(joined, X, dataset, part.train, part.test) for part in parts}
    if recipe["data.duplicates"] == "drop-train":
        parts = [_without(part, {train for _, train in same[part.number]}) for part in parts]
    with clock.stage("solve"):
        fitted = []
        for part in parts:
            if working.tell is not None:
                count = int((joined.position[part.train] >= 0).sum())
                working.tell(f"split {part.number}: {count} training images")
            fitted.append(
                fit_part(
                    recipe, dataset, part, X, joined.position,
                    device=working.device, report=working.problems,
                )
            )  # fmt: skip
    rows = []
    if study:
        with clock.stage("study"):
            rows = study_of(recipe, dataset, parts, joined, working.device, working.tell)
    with clock.stage("score"):
        result = result_of(
            recipe,
            dataset,
            joined,
            fitted,
            same=same,
            study=rows,
            predictions=None if output is None else scores_path(output).name,
            command=working.command,
        )
    solver = {**result.solver, "seconds": clock.seconds["solve"]}
    result = replace(result, solver=solver, timings=dict(clock.seconds))
    if output is not None:
        check_question(output, result, working)
        write_scores(scores_path(output), dataset, fitted)
        result.save(output)
    return result


def default_output(recipe: Recipe, features: Sequence[str | os.PathLike[str]]) -> Path:
    """``<recipe>.<network>.json`` in the working directory; ``+`` between several networks.

    Of given stores the first one's folder, and their names.
    """
    names = [Path(path).stem for path in features] or [block.network for block in recipe.blocks]
    folder = Path(features[0]).parent if features else Path()
    variant = f".{recipe.file_variant}" if recipe.file_variant else ""
    return folder / f"{recipe.name}{variant}.{'+'.join(names)}.json"


def dataset_of(
    recipe: Recipe, data: str | os.PathLike[str] | DataSet | None, working: Working
) -> DataSet:
    """The data set of a recipe.

    Raises
    ------
    UsageError
        Where a folder or CSV file is needed and none was given.
    DataMissing, DataError
        Where it is not found, or contradicts itself.
    """
    if isinstance(data, DataSet):
        return data
    name = recipe["data.set"]
    if name in OWN:
        if data is None:
            raise UsageError(f"recipe '{recipe.label}' is for your own images", expected=OWN[name])
        if name == "csv":
            return csv_dataset(data)
        drawn = "split.train" in recipe.values
        return folder_dataset(data, split=None if drawn else "folders")
    options: dict[str, bool] = {}
    if not recipe.get("data.background", True):
        options["background"] = False
    return load_dataset(
        name,
        data,
        download=working.download,
        accept_hash=working.accept_hash,
        progress=working.fetched,
        cache=working.cache,
        **options,
    )


OWN = {"folder": "--data FOLDER, with a folder for each class", "csv": "--data LABELS.csv"}


def _chosen(parts: list[Part], numbers: Sequence[int] | None) -> list[Part]:
    if numbers is None:
        return parts
    unknown = [number for number in numbers if not 0 <= number < len(parts)]
    if unknown or not numbers:
        raise UsageError(
            f"there is no split {unknown[0] if unknown else ''}".rstrip(),
            expected=f"splits from 0 to {len(parts) - 1}",
        )
    return [parts[number] for number in sorted(set(numbers))]


def _check_there(dataset: DataSet) -> None:
    if not any(os.path.lexists(entry.place) for entry in dataset.entries):
        raise DataMissing(
            f"none of the {len(dataset.entries)} images of '{dataset.name}' is there",
            expected=str(dataset.entries[0].place),
            advice="Give --data ROOT, or fetch the set with --download.",
        )


def _features(
    recipe: Recipe,
    dataset: DataSet,
    working: Working,
    given: Sequence[str | os.PathLike[str]],
) -> list[Feature]:
    if given:
        return given_features(recipe, given)
    return made_features(recipe, dataset, working)


def _check_complete(recipe: Recipe, joined: Joined) -> None:
    lacking = [*joined.missing, *(key for key, _ in joined.holes)]
    if recipe["data.missing"] == "error" and lacking:
        raise DataError(
            f"{len(lacking)} images have no descriptors, and data.missing is 'error'",
            found=some(lacking),
            advice="Put them there, or set data.missing to 'partial' or 'last'.",
        )


def _without(part: Part, entries: set[int]) -> Part:
    dropped = np.array(sorted(entries), np.int64)
    return replace(
        part,
        train=np.setdiff1d(part.train, dropped),
        validation=np.setdiff1d(part.validation, dropped),
    )
