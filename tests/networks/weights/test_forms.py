"""What a file of weights is, is seen in its bytes under any name; what is foreign is named."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import itertools
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from deepfeat.errors import NetworkError, WeightsError, WeightsUnavailable
from deepfeat.networks.weights.fit import Wanted
from deepfeat.networks.weights.load import Weights, load_weights

STATE = {"conv1_1.weight": torch.arange(108.0).reshape(4, 3, 3, 3)}
WANTED = Wanted("vgg11", {"conv1_1.weight": ((4, 3, 3, 3),)}, frozenset(STATE))
NAMES = [
    "w.pth", "w.pt", "w.pth.tar", "w.ckpt", "w.bin", "w", "w.safetensors", "w.mat", "w.caffemodel",
    "w.weights", "W.PTH",
]  # fmt: skip


def load(path: Path) -> tuple[Weights, dict[str, torch.Tensor] | None]:
    return load_weights("vgg11", str(path), lambda layout: WANTED, preprocessing="caffe-vgg")


def saved(content: Any = STATE, *, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


@pytest.fixture
def contents(
    write_mat: Callable[..., Path], write_caffemodel: Callable[..., Path]
) -> dict[str, bytes]:
    """A file of each form by its usual ending."""
    return {
        ".pth": saved(),
        ".pth of the older form": saved(is_zip=False),
        ".safetensors": save(STATE),
        ".mat": write_mat().read_bytes(),
        ".mat without compression": write_mat(compressed=False).read_bytes(),
        ".caffemodel": write_caffemodel("v1").read_bytes(),
        ".caffemodel of the newer form": write_caffemodel("new").read_bytes(),
    }


def test_contents_decide_and_not_the_ending(
    contents: dict[str, bytes], small: dict[str, Any], tmp_path: Path
) -> None:
    for name, (form, content) in itertools.product(NAMES, contents.items()):
        path = tmp_path / name
        path.write_bytes(content)
        weights, found = load(path)
        assert found is not None
        expected = STATE if form.startswith((".pth", ".safe")) else small
        np.testing.assert_array_equal(
            found["conv1_1.weight"].numpy(), np.asarray(expected["conv1_1.weight"])
        )
        assert weights.pooling == ("floor" if expected is STATE else "ceil")
        assert weights.name == name


def archive(make: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    make(buffer)
    return buffer.getvalue()


def tarred(buffer: io.BytesIO) -> None:
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("w.pth")
        entry.size = len(saved())
        tar.addfile(entry, io.BytesIO(saved()))


def zipped(buffer: io.BytesIO, name: str = "w.pth", method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr(name, saved())


def keras(buffer: io.BytesIO) -> None:
    with h5py.File(buffer, "w") as file:
        file["model_weights/conv/kernel:0"] = np.zeros(3)


def script(buffer: io.BytesIO) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548051225\n"
INDEX = json.dumps({"metadata": {"total_size": 9}, "weight_map": {"a": "m-00001.safetensors"}})
ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x0f"  # ir_version, producer, its version, graph

FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "pointer": (lambda: LFS, "a pointer of Git LFS.*git lfs pull"),
    "page": (lambda: b"<html><head><title>404</title>", "a web page.*Download the file itself"),
    "page after blanks": (lambda: b"\n\n <!DOCTYPE HTML>\n<html>", "a web page"),
    "xml of a bucket": (lambda: b'<?xml version="1.0"?><Error>NoSuchKey</Error>', "a web page"),
    "page behind a byte order mark": (lambda: b"\xef\xbb\xbf\r\n<!DOCTYPE html>", "a web page"),
    "quota": (lambda: b"Google Drive - Quota exceeded", "a text, perhaps a message of the server"),
    "long text": (lambda: "Zu viele Zugriffe, später wieder.\n".encode() * 99, "a text"),
    "text cut within a letter": (lambda: ("x" * 1023 + "ü").encode(), "a text"),
    "text of UTF-16": (lambda: "version".encode("utf-16"), "a text"),
    "text of UTF-16, the other way": (lambda: b"\xfe\xff" + "no".encode("utf-16-be"), "a text"),
    "empty": (lambda: b"", "is empty"),
    "gzip": (lambda: gzip.compress(saved()), "compressed by gzip.*Unpack"),
    "bzip2": (lambda: bz2.compress(saved()), "compressed by bzip2"),
    "xz": (lambda: lzma.compress(saved()), "compressed by xz"),
    "zip": (lambda: archive(zipped), "holds 'w.pth'. Unpack it"),
    "stored zip": (
        lambda: archive(functools.partial(zipped, name="a/b.bin", method=zipfile.ZIP_STORED)),
        "holds 'a/b.bin'. Unpack it",
    ),
    "empty zip": (lambda: archive(lambda b: zipfile.ZipFile(b, "w").close()), "not one of torch"),
    "tar": (lambda: archive(tarred), "a tar archive.*Unpack"),
    "Keras": (lambda: archive(keras), "an HDF5 file.*Convert"),
    "ONNX": (lambda: ONNX, "an ONNX model.*Convert"),
    "TorchScript": (lambda: archive(script), "a TorchScript program"),
    "index": (lambda: INDEX.encode(), "the index of a file in parts.*Join"),
    "indented index": (lambda: json.dumps(json.loads(INDEX), indent=2).encode(), "the index of"),
    "configuration": (lambda: b'{"architectures": ["ResNet"], "x": 1}', "JSON, not weights"),
    "whole network": (
        lambda: saved(nn.Sequential(nn.Linear(2, 2))),
        r"a whole network \(torch.nn.modules.container.Sequential\).*state_dict\(\)",
    ),
    "whole network of the older form": (
        lambda: saved(nn.Sequential(nn.Linear(2, 2)), is_zip=False),
        "a whole network",
    ),
    "whole network in a checkpoint": (
        lambda: saved({"epoch": 3, "model": nn.Linear(2, 2)}),
        r"a whole network \(torch.nn.modules.linear.Linear\)",
    ),
    "bare pickle": (lambda: pickle.dumps({"a": np.zeros(3)}), "a pickle that torch.save did not"),
    "NumPy": (lambda: archive(lambda b: np.save(b, np.zeros(3))), "a NumPy array"),
    "NumPy's zip": (lambda: archive(lambda b: np.savez(b, a=np.zeros(3))), "holds 'a.npy'"),
    "GGUF": (lambda: b"GGUF\x03\x00\x00\x00" + bytes(90), "a GGUF"),
    "cut zip": (lambda: saved()[:-300], "cut off"),
    "cut older form": (lambda: saved(is_zip=False)[:-30], "cut off"),
    "cut pickle": (lambda: saved(is_zip=False)[:200], "cut off"),
    "cut safetensors": (lambda: save(STATE)[:-30], "its tensors claim"),
    "cut header": (lambda: save(STATE)[:40], "its header claims"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_foreign_is_named_under_any_name(kind: str, tmp_path: Path) -> None:
    make, words = FOREIGN[kind]
    content = make()
    for name in ("w.pth", "w.safetensors", "w.mat", "w.caffemodel", "w.h5", "w"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"(?s){words}") as caught:
            load(path)
        assert caught.value.exit_status == 65
        assert str(path) in str(caught.value)
        assert caught.value.advice


@pytest.mark.parametrize("content", [b"hello, world", bytes(300), b"\xff" * 300, b"x"])
def test_what_is_nothing_known_is_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("w", "w.onnx", "w.pth", "w.safetensors", "w.mat", "w.caffemodel"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="known form|is refused"):
            load(path)


@pytest.mark.parametrize("name", ["gone.ckpt", "gone.pth.tar", "gone.bin"])
def test_a_file_that_is_not_there_is_missed_as_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="is not there"):
        load(tmp_path / name)
    with pytest.raises(NetworkError, match="unknown weights"):
        load_weights("vgg11", "gone", lambda layout: WANTED, preprocessing="caffe-vgg")


def test_the_metadata_are_shown_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(save(STATE, metadata={"preprocessing": "caffe"}))
    with pytest.raises(NetworkError, match="metadata say 'caffe'"):
        load_weights("vgg11", str(path), lambda layout: WANTED)
