"""Weight files written by other software: protobuf with Caffe's schema, SciPy, torch, safetensors.

One small network, two convolutions and two fc layers, is the same numbers in each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
OPTIONAL, REPEATED = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED
INT32, INT64, FLOAT, DOUBLE = (
    FIELD.TYPE_INT32,
    FIELD.TYPE_INT64,
    FIELD.TYPE_FLOAT,
    FIELD.TYPE_DOUBLE,
)
STRING, ENUM, MESSAGE = FIELD.TYPE_STRING, FIELD.TYPE_ENUM, FIELD.TYPE_MESSAGE

# The part of caffe.proto that matters: message -> (name, number, label, type, type name, packed).
MESSAGES: dict[str, list[tuple[str, int, int, int, str, bool]]] = {
    "BlobShape": [("dim", 1, REPEATED, INT64, "", True)],
    "BlobProto": [
        ("num", 1, OPTIONAL, INT32, "", False),
        ("channels", 2, OPTIONAL, INT32, "", False),
        ("height", 3, OPTIONAL, INT32, "", False),
        ("width", 4, OPTIONAL, INT32, "", False),
        ("data", 5, REPEATED, FLOAT, "", True),
        ("diff", 6, REPEATED, FLOAT, "", True),
        ("shape", 7, OPTIONAL, MESSAGE, "BlobShape", False),
        ("double_data", 8, REPEATED, DOUBLE, "", True),
    ],
    "V0LayerParameter": [
        ("name", 1, OPTIONAL, STRING, "", False),
        ("type", 2, OPTIONAL, STRING, "", False),
        ("blobs", 50, REPEATED, MESSAGE, "BlobProto", False),
    ],
    "V1LayerParameter": [
        ("layer", 1, OPTIONAL, MESSAGE, "V0LayerParameter", False),
        ("bottom", 2, REPEATED, STRING, "", False),
        ("top", 3, REPEATED, STRING, "", False),
        ("name", 4, OPTIONAL, STRING, "", False),
        ("type", 5, OPTIONAL, ENUM, "V1LayerType", False),
        ("blobs", 6, REPEATED, MESSAGE, "BlobProto", False),
        ("blobs_lr", 7, REPEATED, FLOAT, "", False),
    ],
    "LayerParameter": [
        ("name", 1, OPTIONAL, STRING, "", False),
        ("type", 2, OPTIONAL, STRING, "", False),
        ("bottom", 3, REPEATED, STRING, "", False),
        ("top", 4, REPEATED, STRING, "", False),
        ("blobs", 7, REPEATED, MESSAGE, "BlobProto", False),
        ("phase", 10, OPTIONAL, INT32, "", False),
    ],
    "NetParameter": [
        ("name", 1, OPTIONAL, STRING, "", False),
        ("layers", 2, REPEATED, MESSAGE, "V1LayerParameter", False),
        ("input", 3, REPEATED, STRING, "", False),
        ("input_dim", 4, REPEATED, INT32, "", False),
        ("layer", 100, REPEATED, MESSAGE, "LayerParameter", False),
    ],
}
V1_TYPES = {
    "NONE": 0,
    "CONVOLUTION": 4,
    "DROPOUT": 6,
    "INNER_PRODUCT": 14,
    "POOLING": 17,
    "RELU": 18,
}


def _schema(packed_data: bool) -> SimpleNamespace:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    types = file.enum_type.add(name="V1LayerType")
    for name, number in V1_TYPES.items():
        types.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, label, kind, type_name, packed in fields:
            field = described.field.add(name=name, number=number, label=label, type=kind)
            if type_name:
                field.type_name = f".caffe.{type_name}"
            if packed:
                field.options.packed = packed_data or name not in ("data", "double_data", "dim")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return SimpleNamespace(
        **{
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
            for name in MESSAGES
        }
    )


@pytest.fixture(scope="session")
def caffe() -> SimpleNamespace:
    """Caffe's messages as protobuf classes."""
    return _schema(packed_data=True)


@pytest.fixture(scope="session")
def caffe_unpacked() -> SimpleNamespace:
    """The same with every float and dimension as a field of its own."""
    return _schema(packed_data=False)


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """conv1_1 3 -> 4, conv2_1 4 -> 5, fc6 on 2 x 2 maps -> 6, fc7 -> 7; (out, in, h, w), RGB."""
    random = np.random.default_rng(7)
    shapes = {
        "conv1_1": (4, 3, 3, 3),
        "conv2_1": (5, 4, 3, 3),
        "fc6": (6, 5, 2, 2),
        "fc7": (7, 6, 1, 1),
    }
    arrays = {}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = random.normal(size=shape).astype(np.float32)
        arrays[f"{name}.bias"] = random.normal(size=shape[0]).astype(np.float32)
    return arrays


@pytest.fixture(scope="session")
def expected(small: dict[str, Any]) -> dict[str, Any]:
    """What every reader of Caffe's names gives: fc weights as (out, C h w)."""
    return {
        key: array.reshape(len(array), -1) if key.startswith("fc") and array.ndim == 4 else array
        for key, array in small.items()
    }


@pytest.fixture
def write_caffemodel(
    caffe: SimpleNamespace, small: dict[str, Any], tmp_path: Path
) -> Callable[..., Path]:
    """Write ``small`` as a .caffemodel, in the form of 2014 ("v1") or later ("new")."""

    def write(form: str = "v1", schema: SimpleNamespace = caffe) -> Path:
        net = schema.NetParameter(name="small", input=["data"], input_dim=[1, 3, 8, 8])
        for name in ("conv1_1", "conv2_1", "fc6", "fc7"):
            weight, bias = small[f"{name}.weight"], small[f"{name}.bias"]
            is_fc = name.startswith("fc")
            if form == "v1":
                kind = V1_TYPES["INNER_PRODUCT" if is_fc else "CONVOLUTION"]
                layer = net.layers.add(name=name, type=kind, bottom=["x"], top=[name])
                layer.blobs_lr.extend([1, 2])
                dims = (1, 1, len(weight), weight[0].size) if is_fc else weight.shape
                sizes = dict(zip(("num", "channels", "height", "width"), dims, strict=True))
                layer.blobs.add(data=weight.ravel(), diff=[0.0] * weight.size, **sizes)
                layer.blobs.add(data=bias, num=1, channels=1, height=1, width=len(bias))
                net.layers.add(name=f"relu_{name}", type=V1_TYPES["RELU"])
            else:
                kind = "InnerProduct" if is_fc else "Convolution"
                layer = net.layer.add(name=name, type=kind, bottom=["x"], top=[name], phase=1)
                dims = (len(weight), weight[0].size) if is_fc else weight.shape
                layer.blobs.add(data=weight.ravel(), shape={"dim": dims})
                layer.blobs.add(data=bias, shape={"dim": bias.shape})
                net.layer.add(name=f"relu_{name}", type="ReLU")
        path = tmp_path / f"small-{form}.caffemodel"
        path.write_bytes(net.SerializeToString())
        return path

    return write


def matconvnet_layers(arrays: dict[str, Any], *, old: bool) -> Any:
    """A 1 x n cell of layers as MatConvNet has it, filters (h, w, in, out)."""
    layers = []
    for number, name in enumerate(("conv1_1", "conv2_1", "fc6", "fc7")):
        filters = np.asfortranarray(arrays[f"{name}.weight"].transpose(2, 3, 1, 0))
        # Row vectors and column vectors are both met.
        biases = arrays[f"{name}.bias"].reshape((1, -1) if number % 2 else (-1, 1))
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = filters, biases
        weighted = {"filters": filters, "biases": biases} if old else {"weights": pair}
        layers.append({"name": name, "type": "conv", "pad": [0, 1, 0, 1]} | weighted)
        layers.append({"name": f"relu_{name}", "type": "relu"})
    cell = np.empty((1, len(layers)), object)
    cell[0, :] = layers
    return cell


@pytest.fixture
def write_mat(small: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Write ``small`` as MatConvNet's .mat in the new or the old layout."""
    from scipy.io import savemat

    def write(*, old: bool = False, compressed: bool = True, image: Any = None) -> Path:
        if image is None:
            image = np.array([123.68, 116.779, 103.939], np.float32).reshape(1, 1, 3)
        normalization = {"averageImage": image, "interpolation": "bilinear"}
        content = {"layers": matconvnet_layers(small, old=old)}
        content |= (
            {"normalization": normalization}
            if old
            else {"meta": {"normalization": normalization, "classes": {"name": "n01440764"}}}
        )
        path = tmp_path / ("old.mat" if old else "new.mat")
        savemat(path, content, do_compression=compressed)
        return path

    return write
