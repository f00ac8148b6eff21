"""The recipe that docs/recipes.md shows is one, and does what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

from deepfeat.evaluation.recipe import load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_recipe_that_is_shown_loads_with_its_variants(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "flowers.toml"
    path.write_text(shown)
    plain, forty = load_recipe(path), load_recipe(f"{path}:forty")
    assert (plain["split.train"], forty["split.train"]) == (20, 40)
    assert plain.published is not None and plain.published.figure == 92.0
    assert forty.published is None
