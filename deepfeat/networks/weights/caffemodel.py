"""Read a .caffemodel with a small reader of the protobuf wire format.

A message is a row of fields: a number, one of four wire types, a value. Five messages of Caffe's
schema matter here: the net, its layers in the form of 2014 (field 2) or later (field 100), their
blobs, and a blob's shape; everything else is skipped by its length. Every length is checked against
what is left, so nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepfeat.errors import WeightsError
from deepfeat.networks.weights.held import Contents, Held, Shape

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10
MOST_FIELDS = 300_000  # VGG-19 has some 500; to skip a million takes about a second
MOST_DIMENSIONS = 8

# Field numbers of caffe.proto.
NET_LAYERS_V1, NET_LAYER = 2, 100
SHAPE_DIM = 1
BLOB_OLD_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
BLOB_DATA, BLOB_SHAPE, BLOB_DOUBLE_DATA = 5, 7, 8
BLOB_DATA_TAG = BLOB_DATA << 3 | FIXED32
CONVOLUTION, INNER_PRODUCT = "Convolution", "InnerProduct"
TYPES_V1 = {4: CONVOLUTION, 14: INNER_PRODUCT}


@dataclass(frozen=True, slots=True)
class _Form:
    """Where a layer message of either form keeps what is wanted."""

    name: int
    type: int
    blobs: int


FORMS = {NET_LAYERS_V1: _Form(name=4, type=5, blobs=6), NET_LAYER: _Form(name=1, type=2, blobs=7)}
V1_HOLDS_V0 = 1

# Numbers of a blob by field and wire type: bytes of each; of floats that were not packed, with tag.
ITEM_BYTES = {
    (BLOB_DATA, LENGTH): 4,
    (BLOB_DATA, FIXED32): 5,
    (BLOB_DOUBLE_DATA, LENGTH): 8,
    (BLOB_DOUBLE_DATA, FIXED64): 8,
}

_Piece = tuple[memoryview, int, int]  # bytes, field, wire type
Field = tuple[int, int, int | memoryview]


class _Malformed(ValueError):
    """What is wrong with the bytes, in words that follow "is refused: "."""


@dataclass(frozen=True, slots=True)
class _Blob:
    """A blob's shape, and its numbers as they lie in the mapped file."""

    shape: Shape
    pieces: tuple[_Piece, ...]

    def held(self, name: str) -> Held:
        return Held(self.shape, "float32", name, self.read)

    def read(self) -> Tensor:
        # Copied: the mapped file is read-only and goes away.
        numbers = np.concatenate([_floats(*piece) for piece in self.pieces])
        return torch.from_numpy(numbers).reshape(self.shape)


def read(path: Path) -> Contents:
    """Weights by Caffe's layer names: ``conv1_1.weight``, ``conv1_1.bias`` ..., float32.

    Numbers are copied when they are read: a file may claim gigabytes that nobody wants.
    Convolutions are (out, in, h, w); fc layers (out, in), flattened in the order C, H, W.

    Raises
    ------
    WeightsError
        If the bytes are no NetParameter, or a layer's blobs are not those of a convolution or an
        inner product.
    """
    tensors: Contents = {}
    try:
        if path.stat().st_size == 0:
            raise _Malformed("it is empty")
        content = np.memmap(path, np.uint8, "r").data
        fields = _Fields()
        for number, wire, value in fields.of(content):
            if number in FORMS and wire == LENGTH:
                for name, blob in _layer(fields, _bytes(value), number).items():
                    if name in tensors:
                        raise _Malformed(f"layer '{name.rpartition('.')[0]:.60}' occurs twice")
                    tensors[name] = blob.held(name)
        if not tensors:
            raise _Malformed("it holds no layer with weights")
    except _Malformed as error:
        raise WeightsError(
            f"weights file '{path}' is refused: {error}",
            expected="a Caffe NetParameter with convolution and inner-product layers",
            advice="Fetch the .caffemodel again (not the .prototxt).",
        ) from error
    return tensors


class _Fields:
    """Splits messages into fields, and counts them: many tiny fields would cost hours."""

    def __init__(self) -> None:
        self.left = MOST_FIELDS

    def of(self, message: memoryview) -> Iterator[Field]:
        """Fields of a message: number, wire type, and an integer or the bytes of the value."""
        position, end = 0, len(message)
        while position < end:
            self.left -= 1
            if self.left < 0:
                raise _Malformed(f"it has over {MOST_FIELDS:,} fields")
            start = position
            tag, position = _varint(message, position)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise _Malformed("a field has the number 0")
            if wire == VARINT:
                value, position = _varint(message, position)
                yield number, wire, value
                continue
            if wire == LENGTH:
                length, position = _varint(message, position)
            elif wire == FIXED32 and tag == BLOB_DATA_TAG:
                # Floats that were not packed, five bytes each: the whole run at once.
                position, length = start, _run(message, start)
            elif wire in (FIXED32, FIXED64):
                length = 4 if wire == FIXED32 else 8
            else:
                raise _Malformed(
                    f"field {number} has the wire type {wire}, which Caffe never writes"
                )
            if length > end - position:
                raise _Malformed(
                    f"field {number} claims {length:,} bytes; {end - position:,} are left"
                )
            yield number, wire, message[position : position + length]
            position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for count in range(MOST_VARINT_BYTES):
        if position >= len(message):
            raise _Malformed("it ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position
    raise _Malformed(f"a number is longer than {MOST_VARINT_BYTES} bytes")


def _run(message: memoryview, start: int) -> int:
    """Length in bytes of the unpacked floats from ``start`` on."""
    length, step = 0, 16
    while True:
        block = np.frombuffer(message[start + length : start + length + 5 * step], np.uint8)
        tags = block[: len(block) // 5 * 5 : 5]
        others = np.flatnonzero(tags != BLOB_DATA_TAG)
        count = int(others[0]) if len(others) else len(tags)
        length += 5 * count
        if count < step:
            if length == 0:
                raise _Malformed("it ends inside a float")
            return length
        step = min(2 * step, 1 << 20)


def _layer(fields: _Fields, message: memoryview, number: int) -> dict[str, _Blob]:
    """Weight and bias of one layer; nothing for a layer without blobs."""
    form = FORMS[number]
    name, kind = "", ""
    blobs = []
    for field, wire, value in fields.of(message):
        if number == NET_LAYERS_V1 and field == V1_HOLDS_V0 and wire == LENGTH:
            raise _Malformed(
                "it is in the oldest form (V0LayerParameter); Caffe's upgrade_net_proto_binary "
                "turns it into one that can be read"
            )
        if field == form.name and wire == LENGTH:
            name = _text(value)
        elif field == form.type:
            kind = _text(value) if wire == LENGTH else TYPES_V1.get(_number(value), f"{value}")
        elif field == form.blobs and wire == LENGTH:
            blobs.append(_blob(fields, _bytes(value)))
    if not blobs:
        return {}
    if kind not in (CONVOLUTION, INNER_PRODUCT) or len(blobs) > 2 or not name:
        raise _Malformed(f"layer '{name:.60}' of type {kind:.30} has {len(blobs)} blobs")
    weight = _weight(blobs[0], kind, name)
    tensors = {f"{name}.weight": weight}
    if len(blobs) == 2:
        outputs, biases = weight.shape[0], math.prod(blobs[1].shape)
        if biases != outputs:
            raise _Malformed(f"layer '{name:.60}' has {outputs} outputs and {biases} biases")
        tensors[f"{name}.bias"] = replace(blobs[1], shape=(biases,))
    return tensors


def _weight(blob: _Blob, kind: str, name: str) -> _Blob:
    shape = blob.shape
    if kind == INNER_PRODUCT:
        if len(shape) == 4 and shape[:2] == (1, 1):
            shape = shape[2:]  # (1, 1, out, in) -> (out, in)
        if len(shape) != 2:
            raise _Malformed(f"inner product '{name:.60}' has the shape {shape}")
    elif len(shape) != 4:
        raise _Malformed(f"convolution '{name:.60}' has the shape {shape}")
    elif name.startswith("fc"):
        # An fc layer stored as the convolution it is: (out, C, h, w) -> (out, C h w)
        shape = (shape[0], math.prod(shape[1:]))
    return replace(blob, shape=shape)


def _blob(fields: _Fields, message: memoryview) -> _Blob:
    pieces: list[_Piece] = []
    old: dict[int, int] = {}
    shape: list[int] | None = None
    count = 0
    for field, wire, value in fields.of(message):
        if field in BLOB_OLD_SHAPE and wire == VARINT:
            old[field] = _number(value)
        elif field == BLOB_SHAPE and wire == LENGTH:
            shape = _shape(fields, _bytes(value))
        elif item := ITEM_BYTES.get((field, wire)):
            content = _bytes(value)
            if len(content) % item:
                raise _Malformed(f"a blob's data of {len(content):,} bytes are not whole numbers")
            count += len(content) // item
            pieces.append((content, field, wire))
    dims = shape if shape is not None else [old.get(field, 1) for field in BLOB_OLD_SHAPE]
    if len(dims) > MOST_DIMENSIONS or not all(0 < dim < 1 << 40 for dim in dims):
        raise _Malformed(f"a blob has the shape {dims!s:.80}")
    if math.prod(dims) != count:
        raise _Malformed(f"a blob of shape {dims} holds {count:,} numbers")
    return _Blob(tuple(dims), tuple(pieces))


def _shape(fields: _Fields, message: memoryview) -> list[int]:
    dims: list[int] = []
    for field, wire, value in fields.of(message):
        if field == SHAPE_DIM and wire == VARINT:
            dims.append(_number(value))
        elif field == SHAPE_DIM and wire == LENGTH:
            packed, position = _bytes(value), 0
            while position < len(packed) and len(dims) <= MOST_DIMENSIONS:
                dim, position = _varint(packed, position)
                dims.append(dim)
    return dims


def _floats(content: memoryview, field: int, wire: int) -> NDArray[np.float32]:
    if field == BLOB_DOUBLE_DATA:
        return np.frombuffer(content, "<f8").astype(np.float32)
    if wire == LENGTH:
        return np.frombuffer(content, "<f4").astype(np.float32, copy=False)
    numbers = np.frombuffer(content, np.uint8).reshape(-1, 5)[:, 1:]  # (n, tag + 4) -> (n, 4)
    return np.ascontiguousarray(numbers).view("<f4").ravel().astype(np.float32, copy=False)


def _bytes(value: int | memoryview) -> memoryview:
    assert isinstance(value, memoryview)
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _Malformed("a number is stored as bytes")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)[:256]).decode("utf-8", "replace")
