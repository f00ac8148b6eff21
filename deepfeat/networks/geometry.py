"""Where a position of a map looks: stride, offset and receptive field, read off the network itself.

The network runs once on the meta device, and every tensor carries an interval of pixels: position 0
of a map depends on the pixels lo ... hi, and the next position on the same interval moved by
``jump``. A convolution or pooling of kernel k, stride s, padding p and dilation d turns
(lo, hi, jump) into (lo - p jump, hi + (d (k - 1) - p) jump, s jump); a sum or concatenation takes
the hull of its inputs; a global pooling (squeeze-and-excitation) sees the whole image.

Everything here works on a copy or on a network that nobody else has yet. torch.fx would give the
same graph, but while it traces it replaces ``nn.Module.__call__`` for the whole process: a network
that runs in another thread would be drawn into the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PROBE = 1024  # pixels: a side at which every network of the table has a map

Forward = Callable[[Tensor], object]


@dataclass(frozen=True, slots=True)
class Layer:
    """A named output of a network; lengths in pixels of the resized image.

    ``offset`` is the centre of position 0 in pixel-edge coordinates (the first pixel spans 0 to 1);
    ``receptive_field`` is None where every position sees the whole image.
    ``channels`` is the dimension of the descriptor read there.
    """

    name: str
    channels: int
    stride: int
    offset: float
    receptive_field: int | None
    smallest_side: int


@dataclass(frozen=True, slots=True)
class Field:
    """The pixels lo ... hi that position 0 depends on; the next position is ``jump`` pixels on."""

    lo: int = 0
    hi: int = 0
    jump: int = 1
    whole: bool = False

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> Field:
        return Field(
            self.lo - padding * self.jump,
            self.hi + (dilation * (kernel - 1) - padding) * self.jump,
            self.jump * stride,
            self.whole,
        )


Fields = tuple[Field, Field]  # down the rows, along the columns


def fields_of(module: nn.Module) -> dict[str, Field]:
    """The field of every submodule's output, by path; "" is the network's own.

    Raises whatever the network raises for an image of ``PROBE`` pixels.
    """
    network = copy.deepcopy(module).to("meta").eval()
    of_path: dict[str, Field] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if fields := _through(module, inputs):
                _mark(output, fields)
            if found := _fields_in(output):
                of_path[path] = _hull(_hulls(found))

        return hook

    for path, inner in network.named_modules():
        inner.register_forward_hook(keep(path))
    with torch.inference_mode(), _Carrying():
        x = torch.empty(1, 3, PROBE, PROBE, device="meta", dtype=torch.float32)
        _mark(x, (Field(), Field()))
        network(x)
    return of_path


def smallest_side(forward: Forward, largest: int = 1024) -> int:
    """The smallest side of a square input for which ``forward`` gives a map with a position.

    ``forward`` works on the meta device: nothing is computed, only shapes. It must give a map at
    ``largest``.
    """
    if map_shape(forward, 1):  # a fully padded network, as most are
        return 1
    low, high = 1, largest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if map_shape(forward, middle) else (middle, high)
    return high


def map_shape(forward: Forward, side: int) -> tuple[int, ...] | None:
    """Shape of the output for an input (1, 3, side, side) on the meta device, or None.

    A convolution that would give an empty map raises, as torch does on real data.
    """
    try:
        with torch.inference_mode():
            output = forward(torch.empty(1, 3, side, side, device="meta", dtype=torch.float32))
    except (RuntimeError, ValueError):  # torch's words for an image that is too small
        return None
    return tuple(output.shape) if isinstance(output, Tensor) and output.numel() else None


def bytes_per_pixel(module: nn.Module, forward: Forward, side: int) -> int:
    """Bytes of activations that a pass over one image holds at once, for each pixel of the image.

    Twice the largest input and output of any single operation inside ``module``, because kernels
    reorder their inputs; read off a pass of ``forward`` on the meta device.
    """
    largest = 0

    def hook(operation: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        largest = max(largest, _bytes(inputs) + _bytes(output))

    leaves = [child for child in module.modules() if not list(child.children())]
    hooks = [leaf.register_forward_hook(hook) for leaf in leaves]
    try:
        map_shape(forward, side)
    finally:
        for handle in hooks:
            handle.remove()
    return -(-2 * largest // (side * side))


def _bytes(values: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors_in(values))


class _Carrying(TorchFunctionMode):
    """Pass fields on from the inputs of every function to its outputs, in this thread alone."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = _fields_in((*args, *kwargs.values()))
        output = function(*args, **kwargs)
        if inputs:
            fields = _hulls(inputs)
            if function in _POOLINGS:
                fields = _windows(fields, *_pooling_arguments(args, kwargs), 1)
            elif function in _GLOBAL:
                fields = _whole(fields)
            _mark(output, fields)
        return output


def _through(module: nn.Module, inputs: object) -> Fields | None:
    """The fields behind a module that states its window; None for any other module."""
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
        return _whole(_hulls(_fields_in(inputs)))
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        dilation = getattr(module, "dilation", 1)
        sizes = (module.kernel_size, module.stride, module.padding, dilation)
        return _windows(_hulls(_fields_in(inputs)), *sizes)
    return None


def _mark(output: object, fields: Fields) -> None:
    for tensor in _tensors_in(output):
        tensor.fields = fields  # type: ignore[attr-defined]


def _fields_in(values: object) -> list[Fields]:
    return [tensor.fields for tensor in _tensors_in(values) if hasattr(tensor, "fields")]


def _tensors_in(values: object) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors_in(value)


def _hulls(several: Sequence[Fields]) -> Fields:
    vertical, horizontal = zip(*several, strict=True)
    return _hull(vertical), _hull(horizontal)


def _windows(fields: Fields, *sizes: object) -> Fields:
    vertical, horizontal = fields
    return (
        vertical.window(*(_along(size, 0) for size in sizes)),
        horizontal.window(*(_along(size, 1) for size in sizes)),
    )


def _whole(fields: Fields) -> Fields:
    vertical, horizontal = fields
    return replace(vertical, whole=True), replace(horizontal, whole=True)


def _pooling_arguments(args: Any, kwargs: Mapping[str, Any]) -> tuple[object, object, object]:
    given = dict(zip(("kernel_size", "stride", "padding"), args[1:4], strict=False))
    given |= {k: v for k, v in kwargs.items() if v is not None}
    kernel = given["kernel_size"]
    return kernel, given.get("stride") or kernel, given.get("padding", 0)


def _along(size: object, axis: int) -> int:
    value = size[axis] if isinstance(size, (tuple, list)) else size
    assert isinstance(value, int), f"a size that is no number: {size!r}"
    return value


def _hull(fields: Sequence[Field]) -> Field:
    return Field(
        min(f.lo for f in fields),
        max(f.hi for f in fields),
        max(f.jump for f in fields),
        any(f.whole for f in fields),
    )


_POOLINGS = {functional.max_pool2d, functional.avg_pool2d, torch.max_pool2d}
_GLOBAL = {functional.adaptive_avg_pool2d, torch.mean, Tensor.mean}
