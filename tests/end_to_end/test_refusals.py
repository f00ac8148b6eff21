"""What the command line refuses: the exit status, the words that help, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepfeat import files
from deepfeat.errors import printable

SMALL = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224", "--device", "cpu")


@pytest.fixture
def place(tmp_path, save_picture, monkeypatch):
    """A working directory with two images and a file that is no store."""
    save_picture(tmp_path / "images" / "a.png", 60, 80)
    save_picture(tmp_path / "images" / "b.png", 60, 80, seed=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.h5").write_text("the only copy of something else")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("another only copy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    """Every path below a folder with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# arguments, exit status, kind of error, words of the message
REFUSALS = {
    "a source that is not there": (("nowhere", "s.h5", *SMALL), 66, "DataMissing", "nowhere"),
    "a folder without images": (("empty", "s.h5", *SMALL), 66, "DataMissing", "empty"),
    "an unknown network": (
        ("images", "s.h5", *SMALL, "--network", "vgg61"), 64, "NetworkError", "'vgg16'",
    ),
    "an unknown layer": (
        ("images", "s.h5", *SMALL, "--layer", "fc77"), 64, "NetworkError", "'fc7'",
    ),
    "a network that is not dense": (
        ("images", "s.h5", *SMALL, "--network", "vit_b_16"), 64, "NetworkError", "dense",
    ),
    "a scale below the smallest side": (
        ("images", "s.h5", *SMALL, "--scales", "100"), 64, "UsageError", "224",
    ),
    "a scale that is none": (
        ("images", "s.h5", *SMALL, "--scales", "big"), 64, "UsageError", "big",
    ),
    "a repeated scale": (
        ("images", "s.h5", *SMALL, "--scales", "224,224"), 64, "UsageError", "224,224",
    ),
    "weights that are not there": (
        ("images", "s.h5", *SMALL, "--weights", "no.safetensors"), 69, "WeightsUnavailable",
        "no.safetensors",
    ),
    "an unknown option": (("images", "s.h5", "--scalse", "224"), 64, "UsageError", "--scales"),
    "a file that is no store": (
        ("images", "foreign.h5", *SMALL), 73, "CannotCreate", "foreign.h5",
    ),
    "a folder that is no store": (("images", "foreign", *SMALL), 73, "CannotCreate", "thesis.txt"),
    "a store in no folder": (("images", "no/s.h5", *SMALL), 73, "CannotCreate", "no"),
    "a CUDA device where there is none": (
        ("images", "s.h5", *SMALL, "--device", "cuda:0"), 69, "Unavailable", "cpu",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_before_anything_is_written(place, command_line, monkeypatch, case):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments, status, error, words = REFUSALS[case]
    before = tree(place)
    ended = command_line("extract", *arguments, "--json")
    answer = json.loads(ended.out)
    assert answer["exit_status"] == ended.status
    assert (ended.status, answer["error"]) == (status, error)
    said = " ".join(answer[part] for part in ("message", "expected", "found", "advice"))
    assert words in said
    assert tree(place) == before


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_store_that_is_not_there_is_66(place, command_line, command):
    assert command_line(command, "s.h5").status == 66


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_file_that_is_no_store_is_65(place, command_line, command):
    assert command_line(command, "foreign.h5").status == 65


def test_a_refusal_shows_no_traceback_and_no_output(place, command_line):
    ended = command_line("extract", "nowhere", *SMALL)
    assert ended.out == ""
    assert ended.err.startswith("deepfeat: ")
    assert "Traceback" not in ended.err


def test_a_dry_run_writes_nothing(place, command_line):
    before = tree(place)
    ended = command_line("extract", "images", "s.h5", *SMALL, "--dry-run")
    assert ended.status == 0
    assert "disk needed" in ended.out
    assert tree(place) == before


def test_a_store_that_may_not_be_read_is_no_damage(command_line, tmp_path, monkeypatch):
    place = tmp_path / "a.h5"
    place.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert command_line("verify", place).status == 77


def test_a_full_output_ends_with_74():
    command = Path(sys.executable).with_name("deepfeat")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [command, "networks", "squeezenet1_1"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 74
    assert "No space left" in done.stderr


@pytest.mark.parametrize(("workers", "status"), [("auto", 0), ("2", 0), ("0", 64), ("many", 64)])
def test_workers_are_a_number_or_auto(place, command_line, monkeypatch, workers, status):
    monkeypatch.setenv("DEEPFEAT_WORKERS", workers)
    assert command_line("extract", "images", "s.h5", *SMALL, "--dry-run").status == status


def test_a_file_system_that_states_no_size_is_not_called_full(place, command_line, monkeypatch):
    """As /proc does: what is wrong with it shows in writing."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(total=0, free=0))
    assert files.free_bytes(place) > 1 << 60
    if Path("/proc").is_dir():
        ended = command_line("extract", "images", "/proc/s.h5", *SMALL)
        assert ended.status == 73
        assert "fewer scales" not in ended.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "Make room"),
        (OSError(errno.EIO, "Input/output error", b"caf\xe9"), "Input/output error: caf\\udce9"),
        (OSError("what a library says"), "what a library says"),
        (MemoryError(), "there is not enough memory"),
        (MemoryError("Unable to allocate 37.3 GiB"), "Unable to allocate 37.3 GiB"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_error_of_the_system_is_told_with_its_file_and_what_to_do(
    command_line, monkeypatch, error, words, more
):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("deepfeat.store.read.open_store", fail)
    ended = command_line("info", "s.h5", *more)
    assert ended.status == 74
    assert words in ended.err
    assert bool(ended.out) == bool(more)


@pytest.mark.parametrize(
    "more",
    [
        ("--scales", "9" * 5000),
        ("--scales", "256," + "9" * 5000),
        ("--scales", "\u00b2"),
        ("--background", "9" * 5000 + ",0,0"),
        ("--background", "\u00b2,0,0"),
        ("--background", "0,0"),
        ("--max-pixels", "9" * 5000),
        ("--batch-size", "9" * 5000),
        ("--workers", "9" * 5000),
        ("--max-failures", "9" * 5000),
        ("--max-failures", "9" * 5000 + "%"),
        ("--shard-images", "9" * 4000),
        ("--weights", "w" * 300),
        ("--weights", "random:" + "9" * 5000),
    ],
    ids=lambda more: more[0] + more[1][-3:],
)
def test_numbers_of_thousands_of_digits_are_refused(place, command_line, more):
    ended = command_line("extract", "images", "s.h5", *SMALL, *more)
    assert ended.status == 64, ended.err
    assert not (place / "s.h5").exists()
    assert "Traceback" not in ended.err


def test_names_of_keys_cannot_move_the_cursor():
    assert printable("a\nb\x1b[31m\u202ec\udcff") == "a\\nb\\x1b[31m\\u202ec\\udcff"
    assert printable("grün/日本.png") == "grün/日本.png"
