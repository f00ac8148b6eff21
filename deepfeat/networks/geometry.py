"""Where a position of a map looks: stride, offset and receptive field, read off the network itself.

The network is traced once with torch.fx and every operation is applied to an interval of pixels
instead of a tensor: position 0 of a map depends on the pixels lo ... hi, and the next position on
the same interval moved by ``jump``. A convolution or pooling of kernel k, stride s, padding p and
dilation d turns (lo, hi, jump) into (lo - p jump, hi + (d (k - 1) - p) jump, s jump); a sum or
concatenation takes the hull of its inputs; a global pooling (squeeze-and-excitation) sees the whole
image.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

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


def fields_of(module: nn.Module) -> dict[str, Field]:
    """The field of every submodule's output, by path; "" is the network's own.

    Raises whatever ``torch.fx`` raises for a module that cannot be traced.
    """
    graph = fx.Tracer().trace(module)
    vertical = _walk(graph, module, axis=0)
    horizontal = _walk(graph, module, axis=1)
    return {path: _hull([field, horizontal[path]]) for path, field in vertical.items()}


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
            output = forward(torch.empty(1, 3, side, side, device="meta"))
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
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    return sum(map(_bytes, values)) if isinstance(values, (tuple, list)) else 0


def _walk(graph: fx.Graph, module: nn.Module, axis: int) -> dict[str, Field]:
    """Field of each node in order; a submodule's is that of the last node inside it."""
    of_node: dict[fx.Node, Field | None] = {}
    of_path: dict[str, Field] = {}
    for node in graph.nodes:
        inputs = [f for n in node.all_input_nodes if (f := of_node.get(n)) is not None]
        field = Field() if node.op == "placeholder" else _step(node, module, inputs, axis)
        of_node[node] = field
        if field is not None:
            of_path.update(dict.fromkeys(_paths(node), field))
    return of_path


def _paths(node: fx.Node) -> Iterator[str]:
    """The submodules a node lies in, outermost first, and the network itself."""
    yield ""
    stack: Mapping[str, object] = node.meta.get("nn_module_stack", {})
    yield from stack
    if node.op == "call_module":
        yield str(node.target)


def _step(node: fx.Node, module: nn.Module, inputs: Sequence[Field], axis: int) -> Field | None:
    if not inputs:
        return None
    hull = _hull(inputs)
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
            return replace(hull, whole=True)
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            sizes = (layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1))
            return hull.window(*(_along(size, axis) for size in sizes))
    elif node.target in _POOLINGS:
        kernel, stride, padding = _pooling_arguments(node)
        return hull.window(_along(kernel, axis), _along(stride, axis), _along(padding, axis), 1)
    elif node.target in _GLOBAL:
        return replace(hull, whole=True)
    elif node.target in _NOT_A_MAP:
        return None
    return hull


def _pooling_arguments(node: fx.Node) -> tuple[object, object, object]:
    given = dict(zip(("kernel_size", "stride", "padding"), node.args[1:4], strict=False))
    given |= {k: v for k, v in node.kwargs.items() if v is not None}
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


_POOLINGS = {
    functional.max_pool2d,
    functional.avg_pool2d,
    torch.max_pool2d,
    nn.functional.max_pool2d,
}
_GLOBAL = {functional.adaptive_avg_pool2d, "mean", torch.mean}
_NOT_A_MAP = {"size", "dim", getattr, operator.floordiv}
