"""A wheel installed elsewhere has everything: the package, and every recipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOK = """
import json, deepfeat
from deepfeat.evaluation.recipe import load_recipe, variants_of
from deepfeat.evaluation.recipe_files import list_recipes, recipe_folder
loaded = {name: load_recipe(name).sha256 for name in list_recipes()}
print(json.dumps({"package": deepfeat.__file__, "folder": str(recipe_folder()), "recipes": loaded}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents, built from a copy of the sources."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT]
    subprocess.run(build, check=True, cwd=wheels)
    (wheel,) = wheels.glob("deepfeat-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    return target


def look(path: Path | None, cwd: Path) -> dict[str, object]:
    """What Python says of its deepfeat, from another folder than the checkout."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=cwd, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_an_installed_wheel_lists_every_recipe(installed: Path, tmp_path: Path) -> None:
    found = look(installed, tmp_path)
    assert str(found["package"]).startswith(str(installed))
    assert found["folder"] == str(installed / "deepfeat" / "_recipes")
    names = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))
    assert sorted(found["recipes"]) == names
    assert len(names) >= 5


def test_the_checkout_has_the_same_recipes_as_its_wheel(installed: Path, tmp_path: Path) -> None:
    here = look(None, tmp_path)  # the tests run from an editable install
    assert here["folder"] == str(ROOT / "recipes")
    assert here["recipes"] == look(installed, tmp_path)["recipes"]
