"""torchvision's convolutional classifiers, cut where their last map is, in one table.

A network is cut at the last spatial tensor before the classifier's last weighted layer, after its
activation. Where more than an average lies between that map and the last layer (ConvNeXt's
LayerNorm, MobileNet v3's hidden layer), those modules are the layer's head and are applied to the
average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepfeat.networks.geometry import PROBE


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a family is cut.

    ``path`` is the module whose output is the map; ``relu`` says that torchvision's forward applies
    a functional ReLU to it; ``head`` are modules between the average and the last layer; ``last``
    is the classifier's last weighted layer.
    """

    path: str
    last: str
    relu: bool = False
    head: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        """The default layer's name: the module after which the descriptor is read."""
        return self.head[-1] if self.head else self.path


FAMILIES: dict[Cut, str] = {
    Cut("layer4", "fc"): "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d "
    "resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2",
    Cut("features", "classifier.1"): "squeezenet1_0 squeezenet1_1 mobilenet_v2 efficientnet_b0 "
    "efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 "
    "efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l",
    Cut("features", "classifier", relu=True): "densenet121 densenet161 densenet169 densenet201",
    Cut("features", "classifier.2", head=("classifier.0",)): "convnext_tiny convnext_small "
    "convnext_base convnext_large",
    Cut("features", "classifier.3", head=("classifier.0", "classifier.1")): "mobilenet_v3_small "
    "mobilenet_v3_large",
    Cut("layers", "classifier.1"): "mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3",
    Cut(
        "conv5", "fc"
    ): "shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0",
    Cut("trunk_output", "fc"): "regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf "
    "regnet_x_8gf regnet_x_16gf regnet_x_32gf regnet_y_400mf regnet_y_800mf regnet_y_1_6gf "
    "regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf",
    Cut("inception5b", "fc"): "googlenet",
    Cut("Mixed_7c", "fc"): "inception_v3",
}
CUTS = {name: cut for cut, names in FAMILIES.items() for name in names.split()}

# Networks that see an image as a fixed grid of tokens or windows: a map of another size is no
# answer of theirs.
NOT_DENSE = frozenset(
    [
        "vit_b_16",
        "vit_b_32",
        "vit_l_16",
        "vit_l_32",
        "vit_h_14",
        "swin_t",
        "swin_s",
        "swin_b",
        "swin_v2_t",
        "swin_v2_s",
        "swin_v2_b",
        "maxvit_t",
    ]
)

INCEPTIONS = ("googlenet", "inception_v3")


class _Enough(Exception):
    """Stops a forward pass once every layer that was asked for is there."""


@dataclass(slots=True)
class _Call:
    """One pass: the modules whose outputs it wants, and those that it has."""

    wanted: set[nn.Module]
    outputs: dict[nn.Module, Tensor] = field(default_factory=dict)


# A call's own: the modules are shared by all threads, so nothing of a pass may be kept on them.
_CALL: ContextVar[_Call | None] = ContextVar("_CALL", default=None)


def _keep(module: nn.Module, inputs: object, output: Tensor) -> None:
    """Hook of every module of a model: hand its output to the pass that runs in this thread."""
    call = _CALL.get()
    if call is None or module not in call.wanted:
        return
    # A copy where a later operation might work in place on it.
    call.outputs[module] = output if len(call.wanted) == 1 else output.clone()
    if len(call.outputs) == len(call.wanted):
        raise _Enough


class Cutting(nn.Module):
    """A torchvision model that hands out the outputs of the modules that are asked for.

    Its hooks are registered once and for all, and several threads may run it at the same time.
    """

    def __init__(self, model: nn.Module, cut: Cut):
        super().__init__()
        self.model = model.float()  # whatever torch's default dtype is
        self.cut = cut
        for module in model.modules():
            module.register_forward_hook(_keep)

    @property
    def names(self) -> list[str]:
        """Every module path that may be asked for; probing shows whether it gives a map."""
        return [path for path, _ in self.model.named_modules() if path]

    def source(self, name: str) -> str:
        """The module a layer's map is read from: its own, or the cut for a layer with a head."""
        return self.cut.path if name == self.cut.layer else name

    def forward(self, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Maps (B, C, a, b) of the layers ``names``, for preprocessed images ``x`` (B, 3, H, W)."""
        sources = {name: self.model.get_submodule(self.source(name)) for name in names}
        call = _Call(set(sources.values()))
        before = _CALL.set(call)
        try:
            self.model(x)
        except _Enough:
            pass
        finally:
            _CALL.reset(before)
        return {name: self._finished(name, call.outputs[sources[name]]) for name in names}

    def runs(self, path: str, side: int) -> int:
        """How often a module runs in one pass, counted on the meta device.

        For a network that nobody else has yet: it registers a hook of its own.
        """
        count = 0

        def hook(module: nn.Module, inputs: object, output: object) -> None:
            nonlocal count
            count += 1

        handle = self.model.get_submodule(path).register_forward_hook(hook)
        try:
            with torch.inference_mode():
                x = torch.empty(1, 3, side, side, device="meta", dtype=torch.float32)
                self.model(x)
        finally:
            handle.remove()
        return count

    def needed(self, names: Sequence[str]) -> list[str]:
        """Keys of the state that the layers ``names`` are computed from: of modules that run.

        Seen on the meta device, on which the model has to be.
        """
        begun = set()
        heads = self.cut.head if self.cut.layer in names else ()
        hooks = []
        for path, module in self.model.named_modules():
            if any(path == head or path.startswith(f"{head}.") for head in heads):
                begun.add(path)
            hooks.append(
                module.register_forward_pre_hook(lambda *_, path=path: begun.add(path))  # type: ignore[misc]
            )
        try:
            with torch.inference_mode():
                x = torch.empty(1, 3, PROBE, PROBE, device="meta", dtype=torch.float32)
                self(x, names)
        finally:
            for hook in hooks:
                hook.remove()
        return [f"model.{key}" for key in self.model.state_dict() if _owner(key) in begun]

    def file_key(self, key: str, layout: str) -> str:
        """What a file calls a key of this state; ``convert`` goes the other way."""
        return key.removeprefix("model.")

    def _finished(self, name: str, output: Tensor) -> Tensor:
        return torch.relu(output) if self.cut.relu and name == self.cut.layer else output

    def head(self, name: str, vectors: Tensor) -> Tensor:
        """Apply a layer's head to averages: (B, C) -> (B, D). Without a head the same vectors."""
        if name != self.cut.layer or not self.cut.head:
            return vectors
        for path in self.cut.head:
            module = self.model.get_submodule(path)
            # ConvNeXt's is a LayerNorm over channels of a (B, C, 1, 1) map.
            is_linear = isinstance(module, nn.Linear)
            x = vectors if is_linear else vectors[:, :, None, None]
            vectors = module(x).flatten(1)
        return vectors

    def convert(self, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
        """A state with torchvision's keys, for ``load_state_dict``."""
        return {f"model.{key}": value for key, value in state.items()}

    def keep_up_to(self, names: Sequence[str]) -> None:
        """Nothing to drop: a forward pass stops at the last layer anyway."""


def _owner(key: str) -> str:
    """The path of the module that a key of a state belongs to."""
    return key.rpartition(".")[0]


def build(name: str, *, classes: int, auxiliary: bool, transform_input: bool) -> Cutting:
    """The model of ``name``, cut by its family's row, on the meta device (loading fills it).

    ``auxiliary`` keeps the training heads of GoogLeNet and Inception, which a state may hold.
    ``transform_input`` is for these two with torchvision's own weights, which were trained on
    inputs in -1 ... 1: torchvision's forward then converts once, so nothing else may.
    """
    from torchvision import models

    options: dict[str, Any] = {"num_classes": classes}
    if name in INCEPTIONS:
        options |= {"transform_input": transform_input, "aux_logits": auxiliary}
        options |= {"init_weights": False}
    # RegNet's builder computes its widths with tensors, which needs a device with numbers.
    place = "cpu" if name.startswith("regnet") else "meta"
    with torch.device(place), _WithoutInitialValues():
        model = models.get_model(name, weights=None, **options)
    return Cutting(model.to("meta"), CUTS[name])


class _WithoutInitialValues(TorchFunctionMode):
    """Leave new weights as the allocator gave them: drawing 645 million takes ten seconds.

    And count in float32, from which RegNet's builder rounds its widths: in bfloat16, where that is
    torch's default, they would be others.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if getattr(function, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        output = function(*args, **(kwargs or {}))
        return output.float() if function is torch.arange else output
