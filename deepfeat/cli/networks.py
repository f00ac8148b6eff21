"""``deepfeat networks``: what can be applied, and what its layers give."""

from __future__ import annotations

import click

from deepfeat.cli.options import exits, print_json, with_output_options
from deepfeat.cli.table import table
from deepfeat.progress import shown_count
from deepfeat.terminal import answer

HEAD = ("network", "layer", "dimension", "stride", "offset", "receptive field", "smallest side")
WEIGHTS = "known weights"


@click.command(epilog=exits(0, 64, 70))
@click.argument("pattern", default="*")
@with_output_options
def networks(pattern: str, as_json: bool, quiet: bool) -> None:
    """List the networks that match PATTERN, such as 'vgg*'.

    For each: the default layer, the dimension of its descriptor, and in pixels of the resized image
    the stride of its map, the offset (centre of position 0), the receptive field and the smallest
    shorter side; and the weights that are known by name, the default first. A name alone lists
    every layer; deeper modules of torchvision's networks can be named by their path.
    """
    from deepfeat.errors import NetworkError
    from deepfeat.networks.listing import describe_network
    from deepfeat.networks.table import LISTING, list_networks, row_of
    from deepfeat.tables import advice

    names = list_networks(pattern)
    if not names:
        row_of(pattern)  # says why a network such as vit_b_16 is not there
        raise NetworkError(f"no network matches '{pattern}'", advice=advice([], pattern, LISTING))
    with_all = names == [pattern]
    described = []
    with shown_count("networks", silent=quiet) as report:
        for number, name in enumerate(names, start=1):
            described.append(describe_network(name, with_all_layers=with_all))
            if report:
                report(number, len(names))
    if as_json:
        print_json({"schema": "deepfeat.networks/1", "networks": described})
        return
    rows = [(one["name"], *_cells(layer)) for one in described for layer in one["layers"]]
    if with_all:
        answer(
            *table(HEAD, rows, right=range(2, 7)),
            "",
            f"weights: {', '.join(described[0]['weights']) or 'none published'}",
            f"default layer: {described[0]['default_layer']}",
        )
    else:
        weights = [" ".join(one["weights"]) or "none published" for one in described]
        wide = [(*row, names) for row, names in zip(rows, weights, strict=True)]
        answer(
            *table((*HEAD, WEIGHTS), wide, right=range(2, 7)),
            "",
            f"{len(names)} networks; 'deepfeat networks NAME' lists every layer and weights.",
        )


def _cells(layer: dict[str, object]) -> tuple[object, ...]:
    field = layer["receptive_field"]
    return (
        layer["name"],
        layer["channels"],
        layer["stride"],
        layer["offset"],
        "whole image" if field is None else field,
        layer["smallest_side"],
    )
