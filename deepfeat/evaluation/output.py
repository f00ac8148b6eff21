"""Where a result may be written: a new file, or over the answer to the very same question."""

from __future__ import annotations

from pathlib import Path

from deepfeat.errors import CannotCreate, DataError, UsageError
from deepfeat.evaluation.recipe import Recipe
from deepfeat.evaluation.result import Result
from deepfeat.evaluation.working import Working


def check_output(output: Path, recipe: Recipe, working: Working) -> None:
    """Refuse a place where no result can or may be written, before the work is done."""
    if output.suffix != ".json":
        raise UsageError(
            f"'{output}' is no name for a result", expected="a name that ends with .json"
        )
    if not output.parent.is_dir():
        raise CannotCreate(f"the folder '{output.parent}' does not exist", advice="Make it first.")
    if output.is_dir():
        raise CannotCreate(
            f"'{output}' exists and is no result of svm-eval: it is a folder",
            advice="Name another file with -o.",
        )
    if output.exists() and not working.overwrite:
        before = _result_at(output)
        if (before.recipe["name"], before.recipe["sha256"]) != (recipe.name, recipe.sha256):
            raise _refusal(output, before)


def check_question(output: Path, result: Result, working: Working) -> None:
    """A result may only replace one of the same recipe, images, stores, splits and study."""
    if output.exists() and not working.overwrite:
        before = _result_at(output)
        if _question(before) != _question(result):
            raise _refusal(output, before)


def _result_at(output: Path) -> Result:
    try:
        return Result.load(output)
    except DataError as error:
        raise CannotCreate(
            f"'{output}' exists and is no result of svm-eval: it is left as it is",
            found=error.message,
            advice="Name another file with -o, or give --overwrite.",
        ) from error


def _question(result: Result) -> object:
    return (
        result.recipe["name"],
        result.recipe["sha256"],
        result.data["root_sha256"],
        [(one["identity"], one["layer"]) for one in result.features],
        [one["split"] for one in result.splits],
        bool(result.study),
    )


def _refusal(output: Path, before: Result) -> CannotCreate:
    splits = [one["split"] for one in before.splits]
    return CannotCreate(
        f"'{output}' is the result of other settings or other images",
        found=f"recipe '{before.recipe['name']}', set {before.recipe['set']!s:.500}, "
        f"{before.data['images']} images, splits {splits!s:.500}"
        + (", with a study" if before.study else ""),
        advice="Name another file with -o, or give --overwrite.",
    )
