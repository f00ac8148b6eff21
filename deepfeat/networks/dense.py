"""A network as a row of named stages, its fully-connected layers turned into convolutions.

A Linear layer on the flattened C x k x k input is a convolution with a k x k kernel whose weights
are the same numbers reshaped; applied to a larger map it gives one answer per k x k window
[Simonyan & Zisserman 2015, section 3.2]. No adaptive pooling takes part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

PRERELU = "-prerelu"


@dataclass(frozen=True, slots=True)
class Stage:
    """One operation, the layer name its output bears, and the key of its weights at torchvision."""

    name: str
    module: nn.Module
    key: str = ""


class Stages(nn.Module):
    """Run stages in order and hand out the outputs that are asked for, stopping after the last.

    A layer named as a convolution is its output *after* the ReLU; ``<name>-prerelu`` is before.
    """

    def __init__(self, stages: Sequence[Stage]):
        super().__init__()
        self.stage_of_key = {stage.key: stage.name for stage in stages if stage.key}
        for stage in stages:
            self.add_module(stage.name, stage.module)
        self.float()  # whatever torch's default dtype is

    @property
    def names(self) -> list[str]:
        """Every layer that can be asked for, in order."""
        return [name for name, _ in self.named_children()]

    def forward(self, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Maps (B, C, a, b) of the layers ``names``, for preprocessed images ``x`` (B, 3, H, W)."""
        wanted = set(names)
        maps = {}
        for name, module in self.named_children():
            x = module(x)
            if name in wanted:
                maps[name] = x
                if len(maps) == len(wanted):
                    break
        return maps

    def head(self, name: str, vectors: Tensor) -> Tensor:
        """Nothing lies between the average and the next layer: the same vectors."""
        return vectors

    def keep_up_to(self, names: Sequence[str]) -> None:
        """Drop what comes after the last of ``names``: weights that nobody asks for."""
        last = max(self.names.index(name) for name in names)
        for name in self.names[last + 1 :]:
            delattr(self, name)

    def needed(self, names: Sequence[str]) -> list[str]:
        """Keys of the state that the layers ``names`` are computed from."""
        last = max(self.names.index(name) for name in names)
        stages = self.names[: last + 1]
        return [key for key in self.state_dict() if key.rpartition(".")[0] in stages]

    def file_key(self, key: str, layout: str) -> str:
        """What a file in ``layout`` calls a key of this state; ``convert`` goes the other way."""
        stage, _, kind = key.rpartition(".")
        keys = {name: key for key, name in self.stage_of_key.items()}
        prefix = stage.removesuffix(PRERELU) if layout == "caffe-names" else keys.get(stage, stage)
        return f"{prefix}.{kind}"

    def convert(self, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
        """Rename and reshape a state for ``load_state_dict``.

        ``layout`` is "torchvision" (keys ``features.0.weight`` ...) or "caffe-names"
        (``conv1_1.weight`` ...). A Linear weight (out, in) becomes (out, C, k, k). Keys that no
        stage knows keep their name, so that loading can name them.
        """
        stage_of = self.stage_of_key
        if layout == "caffe-names":
            stage_of = {name.removesuffix(PRERELU): name for name in stage_of.values()}
        shapes = {key: value.shape for key, value in self.state_dict().items()}
        converted = {}
        for key, value in state.items():
            prefix, _, kind = key.rpartition(".")
            name = f"{stage_of.get(prefix, prefix)}.{kind}"
            expected = shapes.get(name)
            if (
                kind == "weight"
                and value.ndim == 2
                and expected
                and value.numel() == expected.numel()
            ):
                value = value.reshape(expected)
            converted[name] = value
        return converted


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int | None = None
) -> nn.Conv2d:
    """A convolution with a bias that keeps the size unless ``padding`` says otherwise."""
    pad = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=pad)


def fully_connected(name: str, inputs: int, outputs: int, kernel: int, key: str) -> list[Stage]:
    """A fully-connected layer with ReLU as the stages of a convolution without padding."""
    dense = convolution(inputs, outputs, kernel, padding=0)
    return [Stage(name + PRERELU, dense, key), Stage(name, nn.ReLU())]
