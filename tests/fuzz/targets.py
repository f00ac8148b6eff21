"""What is fuzzed, as one table: kinds of files from strangers, and what deepfeat does with each."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import blake3
import h5py
import numpy as np
import torch
from fuzz import Target
from mutate import (
    Mutate,
    Random,
    change_bytes,
    change_json,
    change_json_lines,
    change_text,
    or_grow,
)
from PIL import Image
from safetensors.torch import save
from scipy.io import savemat

from deepfeat import csv_dataset
from deepfeat.cli.main import main
from deepfeat.errors import DeepfeatError
from deepfeat.evaluation.recipe_files import recipe_folder
from deepfeat.images.decode import decode_bytes
from deepfeat.store.layout import HEADER_BYTES, Header, parse_header

NETWORK = ["--network", "vgg8-small", "--weights", "random:0"]
NETWORK += ["--layer", "pool5", "--scales", "64,80"]
SEALED, SHARDS = "few.h5", "few"
LOOKS = (("info",), ("info", "--keys", "--failures"), ("verify",), ("verify", "--deep"))
FORMATS = {
    "JPEG": {"quality": 80},
    "progressive JPEG": {"format": "JPEG", "progressive": True},
    "PNG": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "deflate TIFF": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True},
    "PPM": {},
    "JPEG2000": {},
    "AVIF": {},
}


def statuses(*commands: Sequence[object]) -> list[int]:
    """Exit statuses of several command lines."""
    found = []
    for command in commands:
        try:
            main([str(argument) for argument in command])
        except SystemExit as ended:
            found.append(ended.code if isinstance(ended.code, int) else 70)
    return found


def of_call(function: Callable[[], object]) -> list[int]:
    """Exit status of a call from Python: a refusal is one, anything else a find."""
    try:
        function()
    except DeepfeatError as error:
        return [error.exit_status]
    return [0]


def all_targets(place: Path) -> list[Target]:
    """Every target, its seeds made in ``place``."""
    images = place / "seeds" / "images"
    make_images(images)
    found = [
        *store_targets(place / "seeds", images),
        *weights_targets(images),
        *text_targets(images),
        *evaluation_targets(place / "evaluation"),
        argument_target(images),
        *image_targets(),
    ]
    return [replace(one, mutate=or_grow(one.mutate)) for one in found]


def make_images(folder: Path) -> None:
    """Four images, and one that is none: stores with a hole."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(0, 256, (70 + number, 90, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_text("<html>404</html>")


# --- stores


def store_targets(seeds: Path, images: Path) -> list[Target]:
    """A sealed file and a directory of shards; the latter is also resumed."""
    sealed, shards = seeds / SEALED, seeds / SHARDS
    made = statuses(
        ["extract", images, sealed, *NETWORK, "--quiet"],
        ["extract", images, shards, *NETWORK, "--form", "shards", "--shard-images", 2, "--quiet"],
    )
    assert made == [1, 1], made

    def look_at(store: str) -> Callable[[], list[int]]:
        again = ["extract", "images", store, *NETWORK, "--shard-images", 2]
        form = ["--form", "shards"] if store == SHARDS else []
        looks: list[Sequence[object]] = [[*look, store] for look in LOOKS]
        return lambda: statuses(*looks, [*again, *form])

    def target(name: str, file: Path, mutate: Mutate, store: str) -> Target:
        within = str(file.relative_to(seeds))
        return Target(name, within, file.read_bytes(), mutate, look_at(store), seeds)

    found = [
        target("sealed store", sealed, change_bytes, SEALED),
        target("sealed store with its checksum", sealed, change_stamped, SEALED),
        target("provenance of a sealed store", sealed, change_provenance, SEALED),
        target("plan", shards / "plan.h5", change_stamped, SHARDS),
        target("provenance of a plan", shards / "plan.h5", change_provenance, SHARDS),
        target("shard", shards / "000001.h5", change_stamped, SHARDS),
        target("provenance of a shard", shards / "000001.h5", change_provenance, SHARDS),
    ]
    for name in ("manifest.jsonl", "identity.json", "runs.jsonl", "failures.csv"):
        ways: dict[str, Mutate] = {"bytes": change_bytes}
        if name.endswith("jsonl"):
            ways["lines"] = change_json_lines
        if name == "manifest.jsonl":
            ways["lines with their checksum"] = change_manifest
        if name == "identity.json":
            ways["values"] = change_json
        found += [
            target(f"{name} {way}", shards / name, mutate, SHARDS) for way, mutate in ways.items()
        ]
    return found


def stamped(form: str, body: bytes) -> bytes:
    """A file of a store with the header that belongs to its body."""
    return Header(form, len(body), blake3.blake3(body).hexdigest()).to_bytes() + body


def change_stamped(random: Random, data: bytes) -> bytes:
    """Behind a checksum that fits: what a stranger can do."""
    form = parse_header(data[:HEADER_BYTES], "seed").form
    return stamped(form, change_bytes(random, data[HEADER_BYTES:]))


def change_provenance(random: Random, data: bytes) -> bytes:
    """The provenance changed as JSON, in a file that is right otherwise; half the time with the
    identity's sha256 made to fit."""
    form = parse_header(data[:HEADER_BYTES], "seed").form
    arrays: dict[str, Any] = {}
    with h5py.File(io.BytesIO(data), "r") as file:
        attributes = dict(file.attrs)
        file.visititems(
            lambda name, item: arrays.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
    text = change_json(random, bytes(arrays["provenance"]))
    if not text:
        return data
    arrays["provenance"] = np.array(text)
    if random.random() < 0.5:
        with contextlib.suppress(ValueError, KeyError, RecursionError, UnicodeEncodeError):
            attributes["identity"] = np.bytes_(_identity_of(json.loads(text)["identity"]))
    return with_datasets(form, attributes, arrays)


def _identity_of(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest().encode()


def with_datasets(form: str, attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """A file of a store, written by h5py itself."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=HEADER_BYTES, libver=("v108", "v108")) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return stamped(form, buffer.getvalue()[HEADER_BYTES:])


def change_manifest(random: Random, data: bytes) -> bytes:
    """Lines changed, under a last line with their checksum."""
    lines = change_json_lines(random, b"\n".join(data.splitlines()[:-1]))
    check = json.dumps({"blake3": blake3.blake3(lines).hexdigest()}, separators=(",", ":"))
    return lines + check.encode() + b"\n"


# --- weights

WIDTHS = (3, 16, 32, 64, 128, 128)  # vgg8-small: input, then its five convolutions
Arrays = Mapping[str, Any]


def weights_targets(images: Path) -> list[Target]:
    """The convolutions of a small network in every form that is read."""
    random = np.random.default_rng(0)
    convolutions = [
        (random.normal(size=(wide, narrow, 3, 3)).astype("f4"), np.zeros(wide, "f4"))
        for narrow, wide in zip(WIDTHS, WIDTHS[1:], strict=False)
    ]
    state = {
        f"features.{3 * number}.{kind}": torch.from_numpy(array)
        for number, pair in enumerate(convolutions)
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": state[name] for name in state}}
    as_zip = _saved(state)
    seeds: list[tuple[str, bytes, Mutate]] = [
        ("zip.pth", as_zip, change_bytes),
        ("pickle.pth", as_zip, change_pickle),
        ("legacy.pth", _saved(state, _use_new_zipfile_serialization=False), change_bytes),
        ("wrapped.ckpt", _saved(wrapped), change_pickle),
        ("small.safetensors", save(state), change_bytes),
        ("header.safetensors", save(state), change_safetensors_header),
        ("small.caffemodel", caffemodel_of(convolutions), change_bytes),
        ("small.mat", mat_of(convolutions), change_bytes),
    ]
    return [_weights_target(images, *seed) for seed in seeds]


def _weights_target(images: Path, file: str, seed: bytes, mutate: Mutate) -> Target:
    def use() -> list[int]:
        return statuses(
            ["extract", images, "x.h5", "--dry-run", "--network", "vgg8-small", "--layer"]
            + ["pool5", "--scales", "64", "--weights", file, "--preprocessing", "caffe"]
        )

    return Target(f"weights {file}", file, seed, mutate, use)


def _saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def change_pickle(random: Random, data: bytes) -> bytes:
    """The pickle within a .pth changed, the zip around it right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            is_pickle = entry.filename.endswith("data.pkl")
            new.writestr(entry, change_bytes(random, content) if is_pickle else content)
    return buffer.getvalue()


def change_safetensors_header(random: Random, data: bytes) -> bytes:
    """The header changed as JSON, with its right length."""
    length = int.from_bytes(data[:8], "little")
    header = change_json(random, data[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def caffemodel_of(convolutions: Sequence[tuple[Any, Any]]) -> bytes:
    """NetParameter with a LayerParameter (field 100) for each: name 1, type 2, blobs 7."""
    layers = b""
    for number, pair in enumerate(convolutions, 1):
        layer = _field(1, b"conv%d_1" % number) + _field(2, b"Convolution")
        for array in pair:
            shape = _field(1, b"".join(map(_varint, array.shape)))
            layer += _field(7, _field(5, array.tobytes()) + _field(7, shape))
        layers += _field(100, layer)
    return _field(1, b"small") + layers


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def mat_of(convolutions: Sequence[tuple[Any, Any]]) -> bytes:
    """MatConvNet's row of layers, filters (h, w, in, out)."""
    cell = np.empty((1, len(convolutions)), object)
    for number, (weight, bias) in enumerate(convolutions):
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = np.asfortranarray(weight.transpose(2, 3, 1, 0)), bias
        cell[0, number] = {"name": f"conv{number + 1}_1", "type": "conv", "weights": pair}
    buffer = io.BytesIO()
    savemat(buffer, {"layers": cell}, do_compression=True)
    return buffer.getvalue()


# --- texts

PREPROCESSING = b"""order = "RGB"
range = 1
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""
TABLE = b"""path,label,split
images/0.png,cat;furry,train
images/1.png,dog,train
images/2.png,cat,test
images/3.png,dog,test
"""


def text_targets(images: Path) -> list[Target]:
    """Tables, recipes and preprocessing; recipes stop where the weights would be fetched."""
    labels = images.parent / "labels.csv"
    labels.write_bytes(TABLE)
    classes = images.parent / "classes"
    for name in "ab":
        make_images(classes / name)
    data = {"csv": labels, "folder": classes}
    prepare = ["extract", images, "x.h5", "--dry-run", *NETWORK, "--preprocessing", "x.toml"]
    list_table = ["extract", "x.csv", "x.h5", "--dry-run", *NETWORK]

    def use_table() -> list[int]:
        return [*statuses(list_table), *of_call(lambda: csv_dataset("x.csv"))]

    def recipe(path: Path) -> Target:
        evaluate = ["svm-eval", "x.toml", "--data", data.get(path.stem, images)]
        text = path.read_bytes()
        return Target(
            f"recipe {path.stem}", "x.toml", text, change_text, lambda: statuses(evaluate)
        )

    recipes = [recipe(path) for path in sorted(recipe_folder().glob("*.toml"))]
    return [
        *recipes,
        Target("preprocessing", "x.toml", PREPROCESSING, change_text, lambda: statuses(prepare)),
        Target("table, lines", "x.csv", TABLE, change_text, use_table, images.parent),
        Target("table, bytes", "x.csv", TABLE, change_bytes, use_table, images.parent),
    ]


# --- evaluations that run through

RUNS = """name = "runs"
[data]
set = "folder"
[split]
count = 1
seed = 0
train = 0.5
test = "rest"
[[extract]]
network = "vgg8-small"
weights = "random:0"
layer = "pool5"
scales = [64, 80]
across_scales = "mean"
mirror = false
[svm]
C = [0.1, 1, 10]
[svm.select]
on = "holdout"
fraction = 0.25
"""


def evaluation_targets(folder: Path) -> list[Target]:
    """A recipe whose store is there, and the result of one: what comes after the parser."""
    for name in "ab":
        make_images(folder / "classes" / name)
        (folder / "classes" / name / "broken.jpg").unlink()
    (folder / "runs.toml").write_text(RUNS)
    more = ["--quiet", "--workers", 1]

    def evaluate(place: Path, output: str) -> list[int]:
        data = place / "classes"
        given = ["--data", data, "-o", place / output, *more]
        return statuses(["svm-eval", place / "runs.toml", *given])

    assert evaluate(folder, "r.json") == [0]
    result = (folder / "r.json").read_bytes()

    def use(output: str) -> Callable[[], list[int]]:
        return lambda: evaluate(Path(), output)

    recipe = RUNS.encode()
    return [
        Target("result, values", "r.json", result, change_json, use("r.json"), folder),
        Target("result, bytes", "r.json", result, change_bytes, use("r.json"), folder),
        Target("running recipe", "runs.toml", recipe, change_text, use("new.json"), folder),
    ]


# --- command lines

ARGUMENTS = b"""--scales=64,80
--background=255,255,255
--max-pixels=1000000
--max-bytes=1000000
--decode-timeout=60
--max-failures=5
--batch-size=2
--shard-images=2
--extensions=png,jpg
--weights=random:0
--layer=pool5
--device=cpu
"""
MOST_ARGUMENTS = 1000
CHANGES = b"""--set=split.count=1
--set=split.train=2
--set=svm.C=[0.1, 1]
--set=svm.select.fraction=0.25
--set=extract.scales=[64]
--set=extract.weights=random:0
--split=0
--seed=1
"""


def argument_target(images: Path) -> Target:
    """Lines of a file as arguments: numbers, lists and names from a script that went wrong."""

    def use() -> list[int]:
        lines = Path("x").read_bytes().split(b"\n\n")
        extract, evaluate = ([*map(os.fsdecode, part.split(b"\n"))] for part in (*lines, b"")[:2])
        given = [
            [one for one in part[:MOST_ARGUMENTS] if one and "\0" not in one]
            for part in (extract, evaluate)
        ]
        return statuses(
            ["extract", images, "x.h5", "--dry-run", "--network=vgg8-small", *given[0]],
            ["svm-eval", "folder", "--data", images, "-o", "x.json", *given[1]],
        )

    return Target("arguments", "x", ARGUMENTS + b"\n" + CHANGES, change_text, use)


# --- images


def image_targets() -> list[Target]:
    """Every format that is decoded; a status is an answer, an exception is not."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    found = []
    for name, options in FORMATS.items():
        buffer = io.BytesIO()
        given = {"format": name} | options
        Image.fromarray(pixels).save(buffer, **given)
        found.append(_image_target(name, buffer.getvalue()))
    return found


def _image_target(name: str, seed: bytes) -> Target:
    def use() -> list[int]:
        decode_bytes(Path("x").read_bytes(), name="x")
        return [0]

    return Target(f"image {name}", "x", seed, change_bytes, use)
