"""AlexNet with one tower as torchvision has it (Krizhevsky 2014), applied densely."""

from __future__ import annotations

from torch import nn

from deepfeat.networks.dense import PRERELU, Stage, Stages, convolution, fully_connected

# name, inputs, outputs, kernel, stride, padding, torchvision's index in ``features``, pooled after
CONVOLUTIONS = (
    ("conv1", 3, 64, 11, 4, 2, 0, True),
    ("conv2", 64, 192, 5, 1, 2, 3, True),
    ("conv3", 192, 384, 3, 1, 1, 6, False),
    ("conv4", 384, 256, 3, 1, 1, 8, False),
    ("conv5", 256, 256, 3, 1, 1, 10, True),
)


def build(name: str, *, classes: int, ceil: bool) -> Stages:
    """The dense network; fc6 is a 6x6 convolution. ``ceil`` rounds pooled sizes up."""
    stages: list[Stage] = []
    for conv, inputs, outputs, kernel, stride, padding, index, pooled in CONVOLUTIONS:
        module = convolution(inputs, outputs, kernel, stride=stride, padding=padding)
        stages += [Stage(conv + PRERELU, module, f"features.{index}"), Stage(conv, nn.ReLU())]
        if pooled:
            stages.append(Stage(f"pool{conv[-1]}", nn.MaxPool2d(3, 2, ceil_mode=ceil)))
    stages += fully_connected("fc6", 256, 4096, 6, key="classifier.1")
    stages += fully_connected("fc7", 4096, 4096, 1, key="classifier.4")
    return Stages([*stages, Stage("fc8", convolution(4096, classes, 1), key="classifier.6")])
