"""``deepfeat demo``: the first minute, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from deepfeat.cli.options import exits, print_json, with_output_options
from deepfeat.cli.svm_eval_words import number
from deepfeat.cli.table import table
from deepfeat.progress import shown
from deepfeat.terminal import answer, say

if TYPE_CHECKING:
    from deepfeat.demo.tour import Tour


@click.command(epilog=exits(0, 64, 65, 70, 73, 74, 75, 130))
@click.argument("folder", metavar="[DIR]", default="deepfeat-demo")
@with_output_options
def demo(folder: str, as_json: bool, quiet: bool) -> None:
    """Make images, describe them, look at neighbours, and judge them with linear SVMs.

    Everything lies in DIR (deepfeat-demo unless given). The network is a small VGG with random
    weights, so nothing is downloaded; it takes well under a minute.
    """
    from dataclasses import asdict
    from pathlib import Path

    from deepfeat.demo.tour import NETWORK, RECIPE, SCALES, WEIGHTS, take_tour

    if not quiet:
        say(
            f"Six classes of shapes and textures, '{NETWORK}' with UNTRAINED weights "
            f"({WEIGHTS}), scales {', '.join(map(str, SCALES))}, each with its mirror."
        )
    with shown("extracting", silent=quiet) as report:
        tour = take_tour(Path(folder), report=report)
    if as_json:
        found = asdict(tour) | {
            "result": tour.result.as_value(),
            "images": str(tour.images),
            "store": str(tour.store),
            "shapes": {f"{layer}/{scale}": shape for (layer, scale), shape in tour.shapes.items()},
        }
        print_json({"schema": "deepfeat.demo/1", **found})
        return
    answer(*_lines(tour, RECIPE))


def _lines(tour: Tour, recipe: Sequence[str]) -> list[str]:
    neighbours = [(f"  {one.key}", f"{one.similarity:.3f}") for one in tour.neighbours]
    figure, splits = tour.result.figure, tour.result.splits
    classes = [
        (f"  {one['class']}", number(one["value"]), one["training"], one["positives"])
        for one in tour.result.per_class
    ]
    classes.append((f"  {figure['what']}", number(figure["value"]), "", ""))
    again = " ".join(f"--set '{one}'" for one in recipe)
    return [
        "",
        f"{tour.count} images in {tour.images}, one row each in {tour.store}:",
        *(
            f"  descriptors/{layer}/{scale}  {shape[0]} rows x {shape[1]} float32"
            for (layer, scale), shape in tour.shapes.items()
        ),
        "",
        f"Nearest neighbours of {tour.query} (cosine, both scales stacked):",
        *table(("  image", "similarity"), neighbours, right=(1,)),
        "",
        f"The nearest neighbour is of its own class for {100 * tour.agreement:.0f} % of images "
        f"(chance: {100 * tour.chance:.0f} %),",
        "though this network was never trained.",
        "",
        f"Linear SVMs, trained on {splits[0]['train']} images, tested on the other "
        f"{splits[0]['test']}, {len(splits)} random halves:",
        *table(("  class", "recall %", "training", "test"), classes, right=(1, 2, 3)),
        "",
        "What to try next:",
        f"  deepfeat info {tour.store}",
        f"  deepfeat verify --deep {tour.store}",
        f"  deepfeat svm-eval folder --data {tour.images} --features {tour.store} \\",
        f"    {again}",
        "  deepfeat recipes",
        "  deepfeat networks 'vgg*'",
        "  deepfeat extract YOUR_IMAGES --dry-run                      "
        "# vgg16 with the paper's weights",
        "  deepfeat extract YOUR_IMAGES --network resnet50 --scales 224",
    ]
