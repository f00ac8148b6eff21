"""No text of a foreign file moves the cursor, or passes for a line of deepfeat's own.

A table of the places that foreign text comes from, each with every sequence that a terminal acts
upon, through the command line; and the same text in JSON, where it arrives unchanged.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import sys
from dataclasses import replace

import blake3
import h5py
import numpy as np
import pytest
from PIL import Image
from store.make_store import identity, make

from deepfeat.cli.main import main
from deepfeat.errors import DeepfeatError
from deepfeat.progress import shown, shown_count
from deepfeat.store.layout import Header
from deepfeat.terminal import guarded, say

SEQUENCES = {
    "clear the screen": "\x1b[2J\x1b[1;1H",
    "set the title": "\x1b]0;owned\x07",
    "write the clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "overwrite the line": "\rdeepfeat: all is well",
    "backspace": "good\x08\x08\x08\x08evil",
    "a line of its own": "\ndeepfeat: all is well",
    "a line deeper in": "\n    deepfeat: all is well",
    "tab and page": "\t\x0b\x0c",
    "C1 control": "\x9b31m\x85",
    "delete": "\x7f",
    "right to left": "\u202egnp-exe\u202c\u2066\u2069",
    "line separator": "\u2028deepfeat: all is well\u2029",
    "markup": "[red][link=file:///etc/passwd]x[/link][/red]",
}
NAME = "".join(SEQUENCES.values()).replace("/", "|")  # also a file may be named so
TEXT = NAME + "\0\udcff"
OURS = "deepfeat: all is well"
SMALL = ("--network", "vgg8-small", "--weights", "random:0", "--scales", "224", "--device", "cpu")
RECIPE = """name = "plain"
title = {title}
[data]
set = "folder"
[split]
train = 3
test = "rest"
[[extract]]
network = "vgg8-small"
weights = "random:0"
scales = [224]
"""


def store(place, **facts):
    """A store whose facts are hostile."""
    numbers = {"order": "RGB", "range": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}
    who = identity()
    who = replace(who, network=replace(who.network, preprocessing=numbers))
    facts = {"deepfeat": "0.1", "untrained": False, **facts}
    return make(place / "s.h5", "sealed", who, facts=facts)


def foreign_store(place):
    """A store whose network has a hostile name: ours would refuse it, a stranger's does not."""
    path = store(place)
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        names = []
        file.visit(names.append)
        arrays = {name: file[name][()] for name in names if hasattr(file[name], "dtype")}
    provenance = json.loads(bytes(arrays["provenance"]))
    provenance["identity"]["network"]["name"] = TEXT[:-1]
    text = json.dumps(
        provenance["identity"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    attributes["identity"] = np.bytes_(hashlib.sha256(text.encode()).hexdigest())
    arrays["provenance"] = np.array(json.dumps(provenance).encode())
    path.unlink()
    with h5py.File(path, "w", userblock_size=512, libver=("v108", "v108")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return stamped(path)


def stamped(path):
    """The file with the header that belongs to it: a stranger can compute checksums too."""
    body = path.read_bytes()[512:]
    header = Header("sealed", len(body), blake3.blake3(body).hexdigest())
    path.chmod(0o644)
    path.write_bytes(header.to_bytes() + body)
    return path


def network_name(place):
    return "info", foreign_store(place)


def weights_name(place):
    return "info", store(place, weights={"name": TEXT[:-1], "source": TEXT[:-1]})


def preprocessing_name(place):
    return "info", store(place, preprocessing=TEXT[:-1])


def mismatch(place):
    path = foreign_store(place)
    (place / "images").mkdir()
    (place / "images" / "a.png").touch()
    return "extract", "images", path, *SMALL


def foreign_link(place):
    path = store(place)
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file.create_group(NAME)
    return "info", stamped(path)


def csv_with(text):
    def write(place):
        (place / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        return "extract", "a.csv", "s.h5", *SMALL

    return write


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def named_file(place):
    (place / "images").mkdir()
    (place / "images" / NAME).touch()
    return "extract", "images", "s.h5", *SMALL


def extension(place):
    named_file(place)
    (place / "images" / f"x.{NAME}").touch()
    (place / "images" / "a.png").touch()
    return "extract", "images", "s.h5", *SMALL


def folder_without_images(place):
    (place / "images").mkdir()
    (place / "images" / f"x.{NAME}").touch()
    return "extract", "images", "s.h5", *SMALL


def source_named(place):
    return "extract", NAME, "s.h5", *SMALL


def store_named(place):
    return "info", NAME


def foreign_folder(place):
    named_file(place)
    (place / "images" / "a.png").touch()
    (place / "s").mkdir()
    (place / "s" / NAME).touch()
    return "extract", "images", "s", *SMALL


def tensor_name(place):
    header = json.dumps({NAME: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = place / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    named_file(place)
    (place / "images" / "a.png").touch()
    return ("extract", "images", "s.h5", *SMALL, "--weights", path, "--preprocessing", "caffe")


def weights_named(place):
    named_file(place)
    (place / "images" / "a.png").touch()
    return "extract", "images", "s.h5", *SMALL, "--weights", f"{NAME}.pth"


def preprocessing_key(place):
    (place / "p.toml").write_text(f"{json.dumps(NAME)} = 1\n")
    named_file(place)
    (place / "images" / "a.png").touch()
    return "extract", "images", "s.h5", *SMALL, "--preprocessing", "p.toml"


def recipe_key(place):
    (place / "r.toml").write_text(f"{RECIPE.format(title=repr('x'))}\n{json.dumps(NAME)} = 1\n")
    return "svm-eval", "r.toml", "--data", "."


def recipe_title(place):
    (place / "r.toml").write_text(RECIPE.format(title=json.dumps(TEXT[:-1])))
    return "svm-eval", "r.toml", "--data", "."


def key_of_store(place):
    """A run of a good image and a hole with a hostile name; then its list of holes."""
    Image.new("RGB", (240, 240)).save(place / "a.png")
    (place / "a.csv").write_text(f"path\na.png\n{quoted(NAME)}\n", encoding="utf-8", newline="")
    with pytest.raises(SystemExit):
        main(["extract", "a.csv", "s.h5", *SMALL])
    return "info", "--failures", "s.h5"


def classes(place):
    for number in range(12):
        folder = place / "tree" / (NAME if number % 2 else "plain")
        folder.mkdir(parents=True, exist_ok=True)
        shade = 20 * number
        Image.new("RGB", (60, 60), (shade, 255 - shade, 9)).save(folder / f"{number}.png")
    keys = ("network=vgg8-small", "weights=random:0", "layer=pool5", "scales=[48]")
    changes = [word for key in keys for word in ("--set", f"extract.{key}")]
    return "svm-eval", "folder", "--data", "tree", "--device", "cpu", *changes


def given(*arguments):
    return lambda place: arguments


def in_environment(name, *arguments):
    def run(place):
        os.environ[name] = NAME
        return in_images(*arguments)(place)

    return run


def in_images(*arguments):
    def run(place):
        (place / "images").mkdir()
        (place / "images" / "a.png").touch()
        return arguments

    return run


SOURCES = {
    "network of a store": network_name,
    "weights of a store": weights_name,
    "preprocessing of a store": preprocessing_name,
    "identity that differs": mismatch,
    "object in a store": foreign_link,
    "keys of a store": key_of_store,
    "classes of a data set": classes,
    "header of a CSV": csv_with(quoted(NAME) + "\na.png\n"),
    "columns of a CSV": csv_with(f"path,{quoted(NAME)},{quoted(NAME)}\na.png,b,c\n"),
    "path twice in a CSV": csv_with("path\n" + 2 * f"{quoted(NAME)}\n"),
    "path outside in a CSV": csv_with(f"path\n{quoted('../' + NAME)}\n"),
    "path with NUL in a CSV": csv_with(f"path\n{quoted(NAME + chr(0))}\n"),
    "box in a CSV": csv_with(f"path,x0,y0,x1,y1\na.png,{quoted(NAME)},1,2,3\n"),
    "extension of a file": extension,
    "folder without images": folder_without_images,
    "file in the way of a store": foreign_folder,
    "name of a source": source_named,
    "name of a store": store_named,
    "name of a tensor": tensor_name,
    "name of weights": weights_named,
    "key of a preprocessing": preprocessing_key,
    "key of a recipe": recipe_key,
    "title of a recipe": recipe_title,
    "recipe": given("svm-eval", NAME),
    "--set": given("svm-eval", "folder", "--set", NAME),
    "--set of a key": given("svm-eval", "folder", "--set", f"{NAME}=1"),
    "--set of a value": given("svm-eval", "folder", "--set", f"svm.solver={NAME}"),
    "pattern": given("networks", NAME),
    "pattern of recipes": given("recipes", NAME),
    "command": given(NAME),
    "option": given("extract", "--" + NAME),
    "choice": given("extract", "a", "--filter", NAME),
    "network": in_images("extract", "images", "--network", NAME),
    "layer": in_images("extract", "images", *SMALL, "--layer", NAME),
    "scale": in_images("extract", "images", *SMALL, "--scales", NAME),
    "limit": in_images("extract", "images", *SMALL, "--max-failures", NAME),
    "device": in_environment("DEEPFEAT_DEVICE", "extract", "images", *SMALL[:-2]),
    "workers": in_environment("DEEPFEAT_WORKERS", "extract", "a", *SMALL),
    "data": in_environment("DEEPFEAT_DATA", "svm-eval", "voc2007"),
    "cache": in_environment("DEEPFEAT_CACHE", "svm-eval", "voc2007"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPFEAT_DEVICE", "DEEPFEAT_WORKERS", "DEEPFEAT_DATA", "DEEPFEAT_CACHE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # and again after the test
    monkeypatch.setenv("DEEPFEAT_OFFLINE", "1")
    return tmp_path


def assert_harmless(text):
    assert {c for c in text if c != "\n" and not c.isprintable()} == set()
    assert [line for line in text.splitlines() if line.strip().startswith(OURS)] == []


@pytest.mark.parametrize("source", SOURCES)
def test_foreign_text_stays_text(place, command_line, source):
    ended = command_line(*SOURCES[source](place))
    assert ended.status != 70, ended.err
    said = ended.out + ended.err
    assert_harmless(said)
    assert "\\x1b[2j" in said.lower()  # it was shown, so the test sees something


def strings(value):
    """All texts of a JSON value, one after the other."""
    if isinstance(value, dict):
        return "".join(map(strings, value.values()))
    return "".join(map(strings, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("source", ["weights of a store", "name of a source", "key of a recipe"])
def test_json_gives_the_text_as_it_is(place, command_line, source):
    ended = command_line(*SOURCES[source](place), "--json")
    assert_harmless(ended.out)
    assert SEQUENCES["clear the screen"] in strings(json.loads(ended.out))


def test_an_error_in_python_is_harmless_too():
    error = DeepfeatError(TEXT, expected=TEXT, found=TEXT, advice=TEXT)
    assert_harmless(str(error))
    assert str(error).count("\n") == 3  # its own
    assert error.message == TEXT
    assert_harmless(str(DeepfeatError("x", found=[TEXT, TEXT])))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("bar", [shown, shown_count])
def test_what_is_said_beside_a_bar_is_escaped_and_no_markup(monkeypatch, bar):
    """On a terminal the bar itself draws with escape sequences; what is said meanwhile does not."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with guarded(), bar("extracting"):
        say(TEXT)
        print(TEXT, file=sys.stderr)  # as a warning would
    drawn = terminal.getvalue()
    for name in ("set the title", "write the clipboard", "C1 control", "right to left"):
        assert SEQUENCES[name] not in drawn
    assert "\x1b[2J" not in drawn
    unfolded = drawn.replace("\n", "")
    assert unfolded.count("[red][link=") == 2
