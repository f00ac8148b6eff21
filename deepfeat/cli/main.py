"""The command line: parse, call one function, print, exit.

Nothing heavy is imported to say ``--help``.
"""

from __future__ import annotations

import errno
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
from deepfeat.errors import StoreError, Told, UsageError
from deepfeat.terminal import guarded, occupy_standard_descriptors, say

USAGE, BUG, IO_ERROR = 64, 70, 74
IO_ADVICE: dict[int | None, str] = {
    errno.EMFILE: "This process may open too few files at once: 'ulimit -n 1024' allows more.",
    errno.ENFILE: "The system has too many files open: end other programs.",
    errno.ENOSPC: "Make room on the disk.",
    errno.EROFS: "The disk is mounted to be read only.",
}


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
    if f"_{deepfeat.name}_complete".upper() in os.environ:  # the shell asks what may follow
        deepfeat.main(prog_name="deepfeat")
    occupy_standard_descriptors()
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_status(given))


def _status(arguments: list[str]) -> int:
    """Run a command; what becomes of its output changes neither its work nor how it ended."""
    with guarded() as (out, _):
        status = _run(arguments)
        out.flush()
        lost = out.error
        if lost is None or isinstance(lost, BrokenPipeError):  # the reader has seen enough
            return status
        reason = getattr(lost, "strerror", None) or lost
        say(f"deepfeat: the answer could not be written to standard output: {reason}")
        return status or IO_ERROR


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        with deepfeat.make_context("deepfeat", arguments) as context:
            result = deepfeat.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(*error.format_message().splitlines())
        return USAGE
    except click.ClickException as error:
        return _usage_error(error, as_json)
    except Told as error:
        return _end(error, as_json)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return 130
    except OSError as error:
        return _end(_io_error(error), as_json)
    except MemoryError as error:
        return _end(_memory_error(error), as_json)
    except Exception:
        traceback.print_exc()
        say("deepfeat: this is a bug in deepfeat; please report the lines above")
        return BUG


def _usage_error(error: click.ClickException, as_json: bool) -> int:
    """A mistake on the command line, with the usage of its command above it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return _end(UsageError(error.format_message()), as_json)
    say(*context.get_usage().splitlines())
    advice = f"Try '{context.command_path} --help'."
    return _end(UsageError(error.format_message(), advice=advice), as_json)


def _io_error(error: OSError) -> StoreError:
    """What the system says, and of which file, where it knows."""
    known = isinstance(error.filename, (str, bytes))
    name = f": {os.fsdecode(error.filename)}" if known else ""
    return StoreError(f"{error.strerror or error}{name}", advice=IO_ADVICE.get(error.errno, ""))


def _memory_error(error: MemoryError) -> StoreError:
    return StoreError(
        "there is not enough memory",
        found=str(error)[:500],
        advice="End other programs, or give less at once. What was extracted is safe.",
    )


def _end(error: Told, as_json: bool) -> int:
    """Say an error, the same to people and to programs; return its exit status."""
    if as_json:
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
    say(*f"deepfeat: {error}".split("\n"))
    return error.exit_status
