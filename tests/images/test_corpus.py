"""Every file of the corpus becomes what its table says: alone, in a worker, and without a word."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from deepfeat.extraction.decoding import Decoders, Settings, Task
from deepfeat.images.decode import decode_bytes, decode_file
from deepfeat.status import Note, Status

PLACE = Path(__file__).parents[1] / "corpus" / "make_corpus.py"
SPEC = importlib.util.spec_from_file_location("make_corpus", PLACE)
assert SPEC and SPEC.loader
make_corpus = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = make_corpus
SPEC.loader.exec_module(make_corpus)
CASES = make_corpus.cases()


def notes(case) -> Note:
    total = Note.NONE
    for name in case.notes:
        total |= Note[name]
    return total


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_status_and_notes_are_those_of_the_table(case) -> None:
    image = decode_bytes(case.data, name=case.name)
    assert (image.status.name, image.notes) == (case.status, notes(case)), image.detail


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.pixels is not None], ids=lambda case: case.name
)
def test_pixels_are_those_of_the_formula(case) -> None:
    pixels = decode_bytes(case.data, name=case.name).pixels
    assert pixels.shape == case.pixels.shape
    assert np.abs(pixels.astype(float) - case.pixels).mean() <= case.tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_image_is_whole_or_absent(case) -> None:
    image = decode_bytes(case.data, name=case.name)
    if image.status is Status.OK:
        assert image.pixels.dtype == np.uint8
        assert image.pixels.flags.c_contiguous
        assert image.pixels.shape[2] == 3
    else:
        assert image.pixels is None


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.status not in ("OK", "EMPTY")], ids=lambda case: case.name
)
def test_every_hole_says_why(case) -> None:
    assert decode_bytes(case.data, name=case.name).detail


def test_workers_agree_with_the_table(tmp_path: Path) -> None:
    make_corpus.write(tmp_path)
    settings = Settings(scales=("native",))
    with Decoders(settings, workers=2, ahead=5) as decoders:
        found = list(decoders.map(Task(tmp_path / case.name) for case in CASES))
    assert [(d.status.name, d.notes) for d in found] == [(c.status, notes(c)) for c in CASES]


def test_workers_give_the_pixels_that_decoding_here_gives(tmp_path: Path) -> None:
    make_corpus.write(tmp_path)
    good = [case for case in CASES if case.status == "OK"]
    with Decoders(Settings(scales=("native",)), workers=2, ahead=5) as decoders:
        found = list(decoders.map(Task(tmp_path / case.name) for case in good))
    here = [decode_file(tmp_path / case.name).pixels for case in good]
    assert all(np.array_equal(d.views["native"], p) for d, p in zip(found, here, strict=True))


def test_workers_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_corpus.write(tmp_path)
    with Decoders(Settings(scales=("native",)), workers=1, ahead=2) as decoders:
        found = list(decoders.map(Task(tmp_path / case.name) for case in CASES))
    assert len(found) == len(CASES)
    assert capfd.readouterr() == ("", "")


def test_decoding_here_prints_nothing_and_warns_of_nothing(
    recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    """All but one damaged TIFF, whose C library writes to standard error by itself."""
    for case in CASES:
        if case.name != "packed, damaged.tif":
            decode_bytes(case.data, name=case.name)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_corpus_has_at_least_fifty_files() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 50
