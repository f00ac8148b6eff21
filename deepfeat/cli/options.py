"""What the commands share: options that mean the same everywhere, and the exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from deepfeat.numbers import whole_number
from deepfeat.terminal import answer

Function = TypeVar("Function", bound=Callable[..., Any])

EXIT_STATUSES = {
    0: "everything is done; also nothing to do, and holes within --max-failures",
    1: "finished, but some images are holes (failures.csv says which), or a figure is partial",
    64: "a bad option, value or combination; an unknown network, layer, recipe or key",
    65: "damaged, foreign or mismatching data: a store, weights, a CSV; too many failures",
    66: "the source, data set or store does not exist, or has no images",
    69: "weights, an archive, a device or an optional package cannot be had",
    70: "a bug in deepfeat; the traceback is shown",
    73: "the target cannot be created, or the disk is too small",
    74: "reading or writing the store failed during the run, or memory ran out",
    75: "another process is writing the store",
    77: "no permission to read the source or the store",
    130: "interrupted (143: terminated); the same command again goes on",
}


class List(click.ParamType[tuple[str, ...]]):
    """Values separated by commas: ``256,384,512``."""

    name = "list"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts = tuple(part.strip() for part in str(value).split(","))
        if not all(parts):
            self.fail(f"'{value}' has an empty part", param, ctx)
        return parts


class Workers(click.IntRange):
    """``4``, or ``auto`` for as many as the machine has cores, at most 8."""

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)


class Colour(click.ParamType[tuple[int, int, int]]):
    """``255,255,255``."""

    name = "colour"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        levels = [whole_number(part.strip()) for part in str(value).split(",")]
        if len(levels) == 3 and all(level is not None and level < 256 for level in levels):
            red, green, blue = (level or 0 for level in levels)
            return red, green, blue
        self.fail(f"'{value}' is no colour: three numbers from 0 to 255", param, ctx)


def exits(*codes: int) -> str:
    """The end of a command's help: its exit statuses, one a line."""
    lines = [f"  {code:>3}  {EXIT_STATUSES[code]}" for code in codes]
    return "\b\nExit statuses:\n" + "\n".join(lines)


def with_output_options(command: Function) -> Function:
    """``--json`` and ``--quiet``, for every command."""
    command = click.option(
        "-q", "--quiet", is_flag=True, help="Say nothing on standard error but errors."
    )(command)
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one line of JSON on standard output."
    )(command)


def with_network_options(command: Function) -> Function:
    """Which network, weights and preprocessing."""
    for option in reversed(_NETWORK_OPTIONS):
        command = option(command)
    return command


_NETWORK_OPTIONS = (
    click.option(
        "--network",
        default="vgg16",
        show_default=True,
        metavar="NAME",
        help="One of 'deepfeat networks'.",
    ),
    click.option(
        "--weights",
        metavar="NAME|FILE",
        help="A known name, a file (.safetensors, .pth, .mat, .caffemodel), or random:SEED to try "
        "the pipeline. Default: the network's documented weights ('oxford' for vgg16 and vgg19).",
    ),
    click.option(
        "--preprocessing",
        metavar="NAME|TOML",
        help="Comes with known weights; needed for a file: torchvision, torchvision-features, "
        "caffe-vgg, caffe, matconvnet-vgg, tf, or a TOML file.",
    ),
    click.option(
        "--pool-rounding",
        type=click.Choice(["floor", "ceil"]),
        help="How pooled sizes are rounded (VGG, AlexNet). Default: as the weights were trained.",
    ),
    click.option(
        "--layer",
        type=List(),
        metavar="NAME[,...]",
        help="One or several layers in one pass. Default: the penultimate ('fc7').",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        envvar="DEEPFEAT_DEVICE",
        metavar="NAME",
        help="cpu, cuda:0, or auto.",
    ),
    click.option("--cache", metavar="FOLDER", help="Where downloaded weights lie."),
)


def print_json(value: Mapping[str, object]) -> None:
    """One line on standard output; numbers that JSON does not have are null."""
    line = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False)
    answer(line.replace("\x7f", "\\u007f"))  # the one control character that JSON lets through


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not (-1e308 < value < 1e308):
        return None
    return value
