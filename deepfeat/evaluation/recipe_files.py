"""Where recipes lie: shipped with the package, beside it in a checkout, or anywhere by path."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from deepfeat.errors import NoPermission, RecipeError
from deepfeat.tables import advice

LISTING = "deepfeat recipes"
SUFFIX = ".toml"
MOST_BYTES = 1 << 20


def recipe_folder() -> Path:
    """The folder of shipped recipes: ``deepfeat/_recipes`` of a wheel, ``recipes`` of a checkout.

    Raises
    ------
    RecipeError
        If the installation has neither.
    """
    package = Path(str(resources.files("deepfeat")))
    for folder in (package / "_recipes", package.parent / "recipes"):
        if folder.is_dir():
            return folder
    raise RecipeError(
        "this installation has no recipes", advice="Install deepfeat again, or give a path."
    )


def list_recipes() -> list[str]:
    """Names of the shipped recipes, in alphabetical order."""
    return sorted(path.stem for path in recipe_folder().glob(f"*{SUFFIX}"))


def split_name(text: str) -> tuple[str, tuple[str, ...]]:
    """``caltech101:15+both`` as the name and its variants; a path may have variants too."""
    if "\0" not in text and os.path.exists(text):  # noqa: PTH110  (a file whose name holds a colon)
        return text, ()
    name, _, variants = text.partition(":")
    return name, tuple(part for part in variants.split("+") if part)


def read_file(name: str) -> tuple[str, bytes]:
    """What to call a recipe in messages, and its first bytes, up to one over ``MOST_BYTES``.

    Raises
    ------
    RecipeError, NoPermission
        No such recipe, one that cannot be read, or no regular file.
    """
    is_path = os.sep in name or name.endswith(SUFFIX)
    path = Path(name) if is_path else recipe_folder() / f"{name}{SUFFIX}"
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device be endless
            raise RecipeError(f"the recipe '{path}' is not a regular file")
        with path.open("rb") as file:
            return name, file.read(MOST_BYTES + 1)
    except PermissionError as error:
        raise NoPermission(f"the recipe '{path}' cannot be read") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if is_path:
            raise RecipeError(f"there is no recipe '{path}'", found=str(error)) from error
        known = list_recipes()
        raise RecipeError(
            f"unknown recipe '{name}'",
            advice=advice(known, name, LISTING) + " A path ends with .toml.",
        ) from error
