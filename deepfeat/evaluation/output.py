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
    if output.exists() and not working.overwrite:
        before = _result_at(output)
        if (before.recipe.get("name"), before.recipe.get("sha256")) != (recipe.name, recipe.sha256):
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
            f"'{output}' exists and is no result of svm-eval",
            advice="Name another file with -o, or give --overwrite.",
        ) from error


def _question(result: Result) -> object:
    value = result.as_value()
    return (
        value["recipe"]["name"],
        value["recipe"]["sha256"],
        value["data"].get("root_sha256"),
        [(one.get("identity"), one.get("layer")) for one in value["features"]],
        [one["split"] for one in value["splits"]],
        bool(value["study"]),
    )


def _refusal(output: Path, before: Result) -> CannotCreate:
    splits = [one["split"] for one in before.splits]
    return CannotCreate(
        f"'{output}' is the result of other settings or other images",
        found=f"recipe '{before.recipe.get('name')}', set {before.recipe.get('set')}, "
        f"{before.data.get('images')} images, splits {splits}"
        + (", with a study" if before.study else ""),
        advice="Name another file with -o, or give --overwrite.",
    )
