"""``deepfeat recipes``: which protocols there are, and what of them is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from deepfeat.cli.options import exits, print_json, with_output_options
from deepfeat.cli.table import table
from deepfeat.terminal import answer

HEAD = ("recipe", "published", "measure", "crops an image", "data", "weights")


@click.command(epilog=exits(0, 64, 70))
@click.argument("pattern", default="*")
@click.option("--data", metavar="ROOT", help="Where sets lie; else DEEPFEAT_DATA and the cache.")
@with_output_options
def recipes(pattern: str, data: str | None, as_json: bool, quiet: bool) -> None:
    """List the recipes that match PATTERN, such as 'voc*'.

    For each variant: the published figure, its measure, the work of one image (as so many crops of
    224 x 224 through one network), and whether its data and weights are here. The first variant is
    the recipe without a variant's name.
    """
    from fnmatch import fnmatchcase

    from deepfeat.errors import RecipeError
    from deepfeat.evaluation.listing import describe_recipe
    from deepfeat.evaluation.recipe_files import list_recipes
    from deepfeat.tables import advice

    known = list_recipes()
    names = [name for name in known if fnmatchcase(name, pattern)]
    if not names:
        raise RecipeError(f"no recipe matches '{pattern}'", advice=advice(known, pattern))
    described = [describe_recipe(name, data) for name in names]
    if as_json:
        print_json({"schema": "deepfeat.recipes/1", "recipes": described})
        return
    rows = [row for one in described for row in _rows(one)]
    sources = [
        line
        for one in described
        for line in (f"{one['name']}: {one['title']}", f"  {one['source']}")
        if line.strip()
    ]
    answer(
        *table(HEAD, rows, right=(1, 3)),
        "",
        *sources,
        "",
        "Next: deepfeat svm-eval RECIPE --data ROOT",
    )


def _rows(one: dict[str, Any]) -> Sequence[tuple[object, ...]]:
    data = "your own" if one["own_data"] else ("here" if one["data"] else "-")
    rows = []
    for variant in one["variants"]:
        name = f"{one['name']}:{variant['variant']}" if variant["variant"] else one["name"]
        lacking = [network for network in variant["networks"] if not one["weights"][network]]
        rows.append(
            (
                name,
                _figure(variant),
                {"map": "mAP", "recall": "mean class recall"}.get(one["measure"], one["measure"]),
                variant["crops_per_image"],
                data,
                f"no {', '.join(lacking)}" if lacking else "here",
            )
        )
    return rows


def _figure(variant: dict[str, Any]) -> str:
    if variant["published"] is None:
        return "-"
    spread = "" if variant["spread"] is None else f" ± {variant['spread']:.1f}"
    return f"{variant['published']:.1f}{spread}" + ("" if variant["verified"] else " (unverified)")
