"""The very deep networks of Simonyan & Zisserman (2015), table 1, as one table.

Each row gives the kernel sizes of the five blocks; every convolution keeps the size and is followed
by a ReLU, each block by a 2x2 max-pooling of stride 2, and three fully-connected layers follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from deepfeat.networks.dense import PRERELU, Stage, Stages, convolution, fully_connected


@dataclass(frozen=True, slots=True)
class Configuration:
    """Kernel sizes block by block, and the widths; ``hidden`` are the channels of fc6 and fc7."""

    blocks: str
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    batch_norm: bool = False
    response_norm: bool = False


A = Configuration("3 | 3 | 3 3 | 3 3 | 3 3")
B = Configuration("3 3 | 3 3 | 3 3 | 3 3 | 3 3")
C = Configuration("3 3 | 3 3 | 3 3 1 | 3 3 1 | 3 3 1")
D = Configuration("3 3 | 3 3 | 3 3 3 | 3 3 3 | 3 3 3")
E = Configuration("3 3 | 3 3 | 3 3 3 3 | 3 3 3 3 | 3 3 3 3")

CONFIGURATIONS = {
    "vgg11": A,
    "vgg11-lrn": replace(A, response_norm=True),
    "vgg13": B,
    "vgg16c": C,
    "vgg16": D,
    "vgg19": E,
    "vgg11_bn": replace(A, batch_norm=True),
    "vgg13_bn": replace(B, batch_norm=True),
    "vgg16_bn": replace(D, batch_norm=True),
    "vgg19_bn": replace(E, batch_norm=True),
    # Not the paper's: small enough to try everything on a laptop, with weights of its own only.
    "vgg8-small": Configuration("3 | 3 | 3 | 3 | 3", widths=(16, 32, 64, 128, 128), hidden=512),
}

NOT_AT_TORCHVISION = frozenset({"vgg11-lrn", "vgg16c", "vgg8-small"})


def build(name: str, *, classes: int, ceil: bool) -> Stages:
    """The network of a row, dense; ``ceil`` rounds pooled sizes up, as Caffe does.

    Layers: conv1_1 ... conv5_4, pool1 ... pool5, fc6, fc7 (after the ReLU), fc8.
    """
    configuration = CONFIGURATIONS[name]
    hidden = configuration.hidden
    last = configuration.widths[-1]
    return Stages(
        [
            *_features(configuration, ceil),
            *fully_connected("fc6", last, hidden, 7, key="classifier.0"),
            *fully_connected("fc7", hidden, hidden, 1, key="classifier.3"),
            Stage("fc8", convolution(hidden, classes, 1), key="classifier.6"),
        ]
    )


def _features(configuration: Configuration, ceil: bool) -> Iterator[Stage]:
    """Stages of the blocks; the keys count modules as torchvision does, which has no LRN."""
    index, inputs = 0, 3
    blocks = configuration.blocks.split("|")
    for block, (kernels, width) in enumerate(zip(blocks, configuration.widths, strict=True), 1):
        for number, kernel in enumerate(kernels.split(), 1):
            name = f"conv{block}_{number}"
            weighted = convolution(inputs, width, int(kernel))
            key = f"features.{index}"
            if configuration.batch_norm:
                yield Stage(name + "-prebn", weighted, key)
                yield Stage(name + PRERELU, nn.BatchNorm2d(width), f"features.{index + 1}")
            else:
                yield Stage(name + PRERELU, weighted, key)
            index += 3 if configuration.batch_norm else 2
            if configuration.response_norm and name == "conv1_1":
                normed = nn.Sequential(nn.ReLU(), _response_norm())
                yield Stage(name, normed)
            else:
                yield Stage(name, nn.ReLU())
            inputs = width
        yield Stage(f"pool{block}", nn.MaxPool2d(2, 2, ceil_mode=ceil))
        index += 1


def _response_norm() -> nn.LocalResponseNorm:
    """That "of Krizhevsky et al.", says the paper; their section 3.3 has these numbers."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
