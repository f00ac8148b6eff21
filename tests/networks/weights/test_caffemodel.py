"""Files written by protobuf with Caffe's schema, read by our own reader of the wire format."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepfeat.errors import WeightsError
from deepfeat.networks.weights import caffemodel
from deepfeat.networks.weights.held import Held

WITHOUT_RESET = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file, each with the shape and kind that were told before it was read."""
    found = {}
    for key, value in caffemodel.read(path).items():
        assert isinstance(key, str)
        assert isinstance(value, Held)
        found[key] = value.read()
        assert (tuple(found[key].shape), "float32") == (value.shape, value.kind)
    return found


@pytest.mark.parametrize("form", ["v1", "new"])
def test_both_forms_give_the_numbers_written(
    form: str, write_caffemodel: Callable[..., Path], expected: dict[str, Any]
) -> None:
    tensors = read(write_caffemodel(form))
    assert list(tensors) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, err_msg=key, strict=True)


@pytest.mark.parametrize("form", ["v1", "new"])
def test_unpacked_floats_are_read_too(
    form: str,
    write_caffemodel: Callable[..., Path],
    caffe_unpacked: SimpleNamespace,
    expected: dict[str, Any],
) -> None:
    packed = write_caffemodel(form).stat().st_size
    path = write_caffemodel(form, caffe_unpacked)
    assert path.stat().st_size > packed  # the fixture does what it says
    tensors = read(path)
    for key, array in expected.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, err_msg=key, strict=True)


def test_double_data_are_read_as_float32(caffe: SimpleNamespace, tmp_path: Path) -> None:
    net = caffe.NetParameter()
    layer = net.layer.add(name="fc6", type="InnerProduct")
    layer.blobs.add(double_data=[0.1, 0.2, 0.3, 0.4], shape={"dim": [2, 2]})
    path = tmp_path / "double.caffemodel"
    path.write_bytes(net.SerializeToString())
    expected = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    np.testing.assert_array_equal(read(path)["fc6.weight"].numpy(), expected, strict=True)


def test_fc_layer_stored_as_convolution_is_flattened(
    caffe: SimpleNamespace, tmp_path: Path
) -> None:
    net = caffe.NetParameter()
    layer = net.layer.add(name="fc6", type="Convolution")
    layer.blobs.add(data=np.arange(24), shape={"dim": [2, 3, 2, 2]})
    path = tmp_path / "convolutional.caffemodel"
    path.write_bytes(net.SerializeToString())
    np.testing.assert_array_equal(
        read(path)["fc6.weight"].numpy(), np.arange(24).reshape(2, 12).astype(np.float32)
    )


def test_oldest_form_is_refused_by_name(caffe: SimpleNamespace, tmp_path: Path) -> None:
    net = caffe.NetParameter()
    oldest = net.layers.add().layer
    oldest.name, oldest.type = "conv1", "conv"
    oldest.blobs.add(data=[1.0], num=1, channels=1, height=1, width=1)
    path = tmp_path / "v0.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match="V0LayerParameter"):
        read(path)


def test_layers_of_other_types_with_blobs_are_refused(
    caffe: SimpleNamespace, tmp_path: Path
) -> None:
    net = caffe.NetParameter()
    net.layer.add(name="bn1", type="BatchNorm").blobs.add(data=[1.0], shape={"dim": [1]})
    path = tmp_path / "bn.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match="'bn1' of type BatchNorm"):
        read(path)


def test_a_net_definition_without_weights_is_refused(
    caffe: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "empty.caffemodel"
    path.write_bytes(caffe.NetParameter(name="x").SerializeToString())
    with pytest.raises(WeightsError, match="no layer with weights"):
        read(path)


@WITHOUT_RESET
@given(
    dims=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    with_bias=st.booleans(),
    form=st.sampled_from(["caffe", "caffe_unpacked"]),
)
def test_any_convolution_is_read_as_written(
    dims: list[int],
    with_bias: bool,
    form: str,
    caffe: SimpleNamespace,
    caffe_unpacked: SimpleNamespace,
    tmp_path: Path,
) -> None:
    schema = {"caffe": caffe, "caffe_unpacked": caffe_unpacked}[form]
    weight = np.random.default_rng(sum(dims)).normal(size=dims).astype(np.float32)
    net = schema.NetParameter()
    layer = net.layer.add(name="c", type="Convolution")
    layer.blobs.add(data=weight.ravel(), shape={"dim": dims})
    if with_bias:
        layer.blobs.add(data=weight[:, 0, 0, 0], shape={"dim": dims[:1]})
    path = tmp_path / "any.caffemodel"
    path.write_bytes(net.SerializeToString())
    tensors = read(path)
    assert set(tensors) == ({"c.weight", "c.bias"} if with_bias else {"c.weight"})
    np.testing.assert_array_equal(tensors["c.weight"].numpy(), weight, strict=True)


@WITHOUT_RESET
@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused_with_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "random.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is refused: "):
        read(path)


@WITHOUT_RESET
@given(data=st.data())
def test_every_truncation_is_refused(
    data: st.DataObject, write_caffemodel: Callable[..., Path], small: dict[str, Any]
) -> None:
    path = write_caffemodel("v1")
    content = path.read_bytes()
    # A cut inside a layer: only a cut between layers leaves a file that is whole in itself.
    cut = data.draw(st.integers(1, 4 * small["conv1_1.weight"].size))
    path.write_bytes(content[:cut])
    with pytest.raises(WeightsError):
        read(path)


@pytest.mark.parametrize("form", ["caffe", "caffe_unpacked"])
def test_numbers_that_nobody_wants_are_not_copied(
    form: str, caffe: SimpleNamespace, caffe_unpacked: SimpleNamespace, tmp_path: Path
) -> None:
    schema = {"caffe": caffe, "caffe_unpacked": caffe_unpacked}[form]
    net = schema.NetParameter()
    count = 1 << 21
    for name in ("a", "b"):
        layer = net.layer.add(name=name, type="InnerProduct")
        layer.blobs.add(data=np.ones(count), shape={"dim": [1, count]})
    path = tmp_path / "wide.caffemodel"
    path.write_bytes(net.SerializeToString())
    tracemalloc.start()  # NumPy tells it of its arrays
    try:
        held = caffemodel.read(path)["a.weight"]
        assert tracemalloc.get_traced_memory()[1] < count
        assert isinstance(held, Held)
        assert torch.equal(held.read(), torch.ones(1, count))
        assert tracemalloc.get_traced_memory()[1] >= 4 * count
    finally:
        tracemalloc.stop()
