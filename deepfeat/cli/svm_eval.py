"""``deepfeat svm-eval``: a recipe in, a figure beside the published one out."""

from __future__ import annotations

import sys
from typing import Any

import click

from deepfeat.cli.options import List, Workers, exits, print_json, with_output_options
from deepfeat.cli.svm_eval_words import result_lines
from deepfeat.numbers import whole_number
from deepfeat.progress import shown, shown_bytes, shown_count
from deepfeat.terminal import answer, say


@click.command(epilog=exits(0, 1, 64, 65, 66, 69, 70, 73, 74, 75, 77, 130))
@click.argument("recipe")
@click.option(
    "--data",
    metavar="ROOT",
    help="Where the set lies: its folder or one above it; the CSV file of a recipe for CSV files. "
    "Default: the folders of DEEPFEAT_DATA, then the cache.",
)
@click.option("--download", is_flag=True, help="Fetch the set's archives where it is not found.")
@click.option(
    "--accept-hash",
    is_flag=True,
    help="Take an archive whose checksum nobody has published. Risk: it is another file.",
)
@click.option(
    "--features",
    multiple=True,
    metavar="STORE",
    help="Use this finished store instead of extracting; once for each network, in order.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, such as svm.C=[0.1,1] or extract.network=resnet50.",
)
@click.option("--solver", type=click.Choice(["gram", "liblinear"]), help="Instead of the recipe's.")
@click.option(
    "--study",
    is_flag=True,
    help="Also score mean, max and stack over every subset of the scales, from the same stores.",
)
@click.option(
    "--split", "splits", type=List(), metavar="N[,...]", help="Only these splits, from 0."
)
@click.option("--seed", type=click.IntRange(0), help="Another seed of the splits.")
@click.option(
    "-o",
    "--output",
    metavar="RESULT.json",
    help="Default: <recipe>.<network>.json; stores and scores lie beside it.",
)
@click.option("--overwrite", is_flag=True, help="Replace a result of other settings.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    envvar="DEEPFEAT_DEVICE",
    metavar="NAME",
    help="cpu, cuda:0, or auto.",
)
@click.option("--cache", metavar="FOLDER", help="Where downloaded weights lie.")
@click.option(
    "--workers",
    type=Workers(),
    envvar="DEEPFEAT_WORKERS",
    metavar="N|auto",
    help="Decoding processes. Default: auto, one a core, at most 8.",
)
@click.option(
    "--accept-environment",
    is_flag=True,
    help="Go on with a store begun with other versions or on another device.",
)
@click.option("--no-progress", is_flag=True, help="No bar.")
@with_output_options
def svm_eval(recipe: str, **options: Any) -> int:
    """Evaluate linear SVMs on descriptors, as RECIPE says.

    RECIPE is a name of 'deepfeat recipes', NAME:VARIANT (several: NAME:15+both), or a TOML file.
    What is missing is extracted first, into <recipe>.<network>.h5 beside the result. Running the
    same command again goes on where it stopped, and ends with the same result.

    \b
    Examples:
      deepfeat svm-eval voc2007 --data VOCdevkit
      deepfeat svm-eval caltech101:both --study -o results/caltech101.json
      deepfeat svm-eval caltech101 --set extract.network=resnet50
      deepfeat svm-eval folder --data photographs
      deepfeat svm-eval csv --data labels.csv --features labels.vgg16.h5
    """
    from pathlib import Path

    from deepfeat.evaluation.recipe import load_recipe, with_solver
    from deepfeat.evaluation.run import default_output, run_recipe
    from deepfeat.evaluation.working import Working

    changes = list(options["changes"])
    if options["seed"] is not None:
        changes.append(f"split.seed={options['seed']}")
    loaded = load_recipe(recipe, set=changes)
    if options["solver"]:
        loaded = with_solver(loaded, options["solver"])
    given = options["output"]
    output = default_output(loaded, options["features"]) if given is None else Path(given)
    quiet, as_json = options["quiet"], options["as_json"]
    silent = quiet or options["no_progress"]
    with (
        shown("extracting", silent=silent) as images,
        shown_count("solving", silent=silent) as problems,
        shown_bytes("downloading", silent=silent) as fetched,
    ):
        working = Working(
            folder=output.parent,
            device=options["device"],
            cache=Path(options["cache"]) if options["cache"] else None,
            workers=options["workers"],
            accept_environment=options["accept_environment"],
            download=options["download"],
            accept_hash=options["accept_hash"],
            overwrite=options["overwrite"],
            tell=None if quiet else say,
            images=images,
            problems=problems,
            fetched=fetched,
            command=["deepfeat", *sys.argv[1:]],
        )
        result = run_recipe(
            loaded,
            options["data"],
            working,
            features=options["features"],
            splits=_numbers(options["splits"]),
            study=options["study"],
            output=output,
        )
    print_json(result.as_value()) if as_json else answer(*result_lines(result, str(output)))
    return result.exit_status


def _numbers(splits: tuple[str, ...] | None) -> list[int] | None:
    if splits is None:
        return None
    numbers = [whole_number(part) for part in splits]
    if None in numbers:
        raise click.BadParameter("splits are numbers from 0", param_hint="--split")
    return [number for number in numbers if number is not None]
