"""``deepfeat extract``: images in, a store out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from deepfeat.cli.extract_words import beginning, dry_run_lines, summary_lines
from deepfeat.cli.options import (
    Colour,
    List,
    Workers,
    exits,
    print_json,
    with_network_options,
    with_output_options,
)
from deepfeat.progress import shown, shown_bytes
from deepfeat.terminal import answer, say

if TYPE_CHECKING:
    from deepfeat.extraction.request import Request


@click.command(epilog=exits(0, 1, 64, 65, 66, 69, 70, 73, 74, 75, 77, 130))
@click.argument("source", metavar="SRC")
@click.argument("store", required=False)
@with_network_options
@click.option(
    "--scales",
    type=List(),
    default="256,384,512",
    show_default=True,
    metavar="Q[,...]",
    help="Shorter sides in pixels; 'native' keeps an image as it is.",
)
@click.option(
    "--across-scales",
    type=click.Choice(["none", "mean", "max"]),
    default="none",
    show_default=True,
    help="none keeps every scale; mean and max keep only the aggregate.",
)
@click.option(
    "--mirror/--no-mirror", default=True, show_default=True, help="Average with the mirror."
)
@click.option(
    "--over-positions",
    type=click.Choice(["mean", "max"]),
    default="mean",
    show_default=True,
    help="How the map becomes a descriptor.",
)
@click.option(
    "--exif/--no-exif", default=True, show_default=True, help="Apply the EXIF orientation."
)
@click.option(
    "--background",
    type=Colour(),
    default="255,255,255",
    show_default=True,
    help="Colour under transparent pixels.",
)
@click.option(
    "--filter",
    type=click.Choice(["bilinear", "bicubic", "lanczos", "nearest"]),
    default="bilinear",
    show_default=True,
    help="Of resizing, with antialiasing.",
)
@click.option(
    "--upscale/--no-upscale",
    default=True,
    show_default=True,
    help="Enlarge images that are smaller than a scale.",
)
@click.option(
    "--store-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="float16 takes half the space.",
)
@click.option(
    "--form",
    type=click.Choice(["sealed", "shards"]),
    help="One file, or a directory of shards. Default: by the name, .h5 is sealed.",
)
@click.option(
    "--extensions",
    type=List(),
    metavar="EXT[,...]",
    help="Take these files of a folder instead of the usual image extensions.",
)
@click.option("--all-files", is_flag=True, help="Take every file; contents decide.")
@click.option("--follow-links", is_flag=True, help="Enter links to folders.")
@click.option("--allow-outside", is_flag=True, help="Let a CSV name files outside its own folder.")
@click.option(
    "--key-column", default="path", show_default=True, help="Column of a CSV that names the files."
)
@click.option(
    "--max-pixels", type=click.IntRange(1), default=178_956_970, show_default=True,
    help="Larger images become holes.",
)  # fmt: skip
@click.option(
    "--max-bytes", type=click.IntRange(1), default=512 << 20, show_default=True,
    help="Larger files become holes.",
)  # fmt: skip
@click.option(
    "--decode-timeout", type=click.FloatRange(min=0, min_open=True), default=60.0,
    show_default=True, metavar="SECONDS",
    help="Processor time of an image; one that takes more is a hole.",
)  # fmt: skip
@click.option(
    "--max-failures",
    metavar="N|P%",
    help="Accept that many holes; one more ends the run with status 65.",
)
@click.option(
    "--workers",
    type=Workers(),
    envvar="DEEPFEAT_WORKERS",
    metavar="N|auto",
    help="Decoding processes. Default: auto, one a core, at most 8.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images of one size in a pass; frozen at the start.",
)
@click.option(
    "--shard-images",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Images a shard: what a kill costs at most. Frozen at the start.",
)
@click.option(
    "--dry-run", is_flag=True, help="Images, disk and time from a short trial; writes no store."
)
@click.option("--wait", is_flag=True, help="Wait while another process writes the store.")
@click.option(
    "--accept-environment",
    is_flag=True,
    help="Go on with a store begun with other versions or on another device; recorded. Risk: rows "
    "that differ in the last digits.",
)
@click.option(
    "--no-lock", is_flag=True, help="Risk: two processes in one store can destroy its shards."
)
@click.option(
    "--no-read-back", is_flag=True, help="Risk: a disk that writes wrongly is noticed only later."
)
@click.option("--no-progress", is_flag=True, help="No bar.")
@with_output_options
def extract(source: str, store: str | None, **options: Any) -> int:
    """Compute descriptors of the images of SRC into STORE.

    SRC is a folder (searched with its sub-folders), or a CSV file with a column 'path'. STORE is
    <src>.<network>.h5 in the working directory unless given; a name without .h5 is a directory of
    shards. Endings of other files, such as .hdf5, are taken with --form only.

    Running the same command again goes on where it stopped, and a finished store stays as it is. An
    image that cannot be used becomes a hole: a row of NaN with a status.

    \b
    Examples:
      deepfeat extract images/ --dry-run
      deepfeat extract images/ --scales 256,384,512
      deepfeat extract images/ --network resnet50 --scales 224,native
      deepfeat extract images/ my.h5 --weights vgg.safetensors --preprocessing torchvision
    """
    from deepfeat.extraction.limit import limit_of
    from deepfeat.extraction.run import prepare_run, run
    from deepfeat.extraction.trial import dry_run

    quiet, as_json = options["quiet"], options["as_json"]
    is_silent = quiet or options["no_progress"]
    with shown_bytes("weights", silent=is_silent) as download:
        prepared = prepare_run(source, store, _request(options), download=download)
    if options["dry_run"]:
        trial = dry_run(prepared)
        print_json(trial) if as_json else answer(*dry_run_lines(trial))
        return 0
    if not quiet:
        say(*beginning(prepared))
    limit = limit_of(options["max_failures"])
    with shown("extracting", silent=is_silent) as report:
        summary = run(prepared, limit=limit, report=report, command=["deepfeat", *sys.argv[1:]])
    print_json(summary) if as_json else answer(*summary_lines(summary))
    return int(str(summary["exit_status"]))


def _request(options: dict[str, Any]) -> Request:
    """The options in the five parts of a request."""
    from pathlib import Path

    from deepfeat.extraction.request import (
        NetworkChoice,
        Pixels,
        Request,
        Sampling,
        Selection,
        Working,
        scales_of,
    )
    from deepfeat.images.limits import Limits

    return Request(
        NetworkChoice(
            options["network"],
            options["weights"],
            options["preprocessing"],
            options["pool_rounding"],
            options["layer"],
            options["device"],
            Path(options["cache"]) if options["cache"] else None,
        ),
        Sampling(
            scales_of(options["scales"]),
            options["mirror"],
            options["over_positions"],
            options["across_scales"],
            options["store_dtype"],
        ),
        Pixels(
            options["exif"],
            options["background"],
            options["filter"],
            options["upscale"],
            Limits(options["max_pixels"], options["max_bytes"]),
            options["decode_timeout"],
        ),
        Selection(
            options["extensions"],
            options["all_files"],
            options["follow_links"],
            options["allow_outside"],
            options["key_column"],
        ),
        Working(
            options["form"],
            options["shard_images"],
            options["batch_size"],
            options["workers"],
            options["accept_environment"],
            not options["no_lock"],
            options["wait"],
            not options["no_read_back"],
        ),
    )
