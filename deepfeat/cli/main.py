"""The command line: parse, call one function, print, exit.

Nothing heavy is imported to say ``--help``.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from deepfeat import __version__
from deepfeat.cli.demo import demo
from deepfeat.cli.extract import extract
from deepfeat.cli.info import info
from deepfeat.cli.networks import networks
from deepfeat.cli.options import print_json
from deepfeat.cli.recipes import recipes
from deepfeat.cli.svm_eval import svm_eval
from deepfeat.cli.verify import verify
from deepfeat.errors import DeepfeatError, UsageError

USAGE, BUG, IO_ERROR = 64, 70, 74


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with 'deepfeat demo', or 'deepfeat extract IMAGES --dry-run'.",
)
@click.version_option(__version__, prog_name="deepfeat")
def deepfeat() -> None:
    """Exact dense descriptors of images from very deep networks, kept safely.

    A pretrained network is applied densely at several scales; the map is averaged over positions
    and the mirror image; one descriptor per image and scale lies in an HDF5 store that survives
    kills, full disks and bad images.
    """


for command in (extract, svm_eval, recipes, info, verify, networks, demo):
    deepfeat.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its status."""
    # Threads that spin while they wait for each other starve the decoders and whatever else runs
    # here. Read once, when torch starts its threads; only for this process, which is our own.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_status(given))


def _status(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        result = deepfeat.main(arguments, prog_name="deepfeat", standalone_mode=False)
        if sys.stdout is not None:  # closed by the caller: then nobody waits for it
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        if as_json:
            _print_error(UsageError(error.format_message()))
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except DeepfeatError as error:
        if as_json:
            _print_error(error)
        click.echo(f"deepfeat: {error}", err=True)
        return error.exit_status
    except BrokenPipeError:  # the reader has seen enough: as for any other filter
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        click.echo(f"deepfeat: {error.strerror or error}: {error.filename or 'output'}", err=True)
        return IO_ERROR
    except Exception:
        traceback.print_exc()
        click.echo("deepfeat: this is a bug in deepfeat; please report the lines above", err=True)
        return BUG


def _print_error(error: DeepfeatError) -> None:
    print_json(
        {
            "schema": "deepfeat.error/1",
            "error": type(error).__name__,
            "message": error.message,
            "expected": error.expected,
            "found": error.found,
            "advice": error.advice,
            "exit_status": error.exit_status,
        }
    )
