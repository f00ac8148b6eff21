"""Names that mean something else than they say: addresses, stores, and paths of a list."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from deepfeat.extraction.prepared import check_name

SMALL = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "48", "--layer", "pool5")
CAFE = "caf\u00e9.png"


@pytest.fixture
def place(tmp_path, monkeypatch, save_picture):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPFEAT_WORKERS", "1")
    save_picture(tmp_path / "images" / "a.png", 50, 60)
    return tmp_path


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://bucket/images", "Download"),
        ("https://example.org/images.zip", "Download"),
        ("gs://bucket", "Download"),
        ("file:///data/images", "Give the path alone"),
        ("FILE://images", "Give the path alone"),
        ("hdfs://host/x.csv", "Download"),
    ],
)
def test_an_address_is_told_to_be_none_of_the_sources(place, command_line, address, words):
    ended = command_line("extract", address, "s.h5", *SMALL)
    assert ended.status == 64
    assert "addresses are not read" in ended.err
    assert words in ended.err


@pytest.mark.parametrize(
    "name", ["s.hdf5", "s.H5", "s.h5py", "s.parquet", "s.npy", "s.csv", "s.zarr", "a.b.HDF5"]
)
def test_a_name_of_another_kind_of_file_is_refused(place, command_line, name):
    ended = command_line("extract", "images", name, *SMALL)
    assert ended.status == 64
    assert "ends in .h5" in ended.err
    assert "--form shards" in ended.err
    assert not (place / name).exists()


@pytest.mark.parametrize(("name", "form"), [("s.hdf5", "sealed"), ("s.zarr", "shards")])
def test_it_is_taken_where_the_form_is_chosen_and_goes_on(place, command_line, name, form):
    assert command_line("extract", "images", name, *SMALL, "--form", form).status == 0
    assert (place / name).is_dir() == (form == "shards")
    if form == "shards":
        assert command_line("extract", "images", name, *SMALL).status == 0


@pytest.mark.parametrize("name", ["run.2024", "v1.5", "store", "a.b.h5"])
def test_other_names_are_nobodys_business(name):
    check_name(Path(name), None)


# what the CSV says, what is on the disk, words of the hint
MISSPELT = {
    "backslash": ("images\\b.png", "images/b.png", "separated by '/'"),
    "composed accents": (CAFE, unicodedata.normalize("NFD", CAFE), "accents"),
    "capitals": ("images/B.PNG", "images/b.png", "Capital letters"),
}


@pytest.mark.parametrize("kind", MISSPELT)
def test_a_name_that_is_nearly_there_is_told(place, command_line, save_picture, kind):
    written, there, words = MISSPELT[kind]
    save_picture(place / there, 50, 60, seed=1)
    text = f'path\nimages/a.png\n"{written}"\n'
    (place / "l.csv").write_text(text, encoding="utf-8")
    ended = command_line("extract", "l.csv", "s.h5", *SMALL)
    assert ended.status == 1, ended.err
    hint = next(line for line in ended.out.splitlines() if line.startswith("names"))
    assert words in hint


def test_a_name_like_no_other_has_no_hint(place, command_line):
    (place / "l.csv").write_text("path\nimages/a.png\nimages/gone.png\n")
    ended = command_line("extract", "l.csv", "s.h5", *SMALL)
    assert ended.status == 1
    assert not any(line.startswith("names") for line in ended.out.splitlines())
