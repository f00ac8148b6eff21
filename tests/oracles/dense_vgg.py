"""Dense VGG by torchvision's own modules and unfold: shares no code with deepfeat."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision import models

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def random_vgg(name: str, seed: int = 0) -> nn.Module:
    """torchvision's VGG with He-normal weights and biases that are not zero."""
    with torch.device("meta"):
        model = models.get_model(name, weights=None)
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        else:
            parameter.uniform_(-0.1, 0.1, generator=generator)
    return model


def with_ceil_pooling(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
    return model


def preprocessed(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32, as torchvision's weights want it."""
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    return (x - MEAN) / STD


@torch.inference_mode()
def fc_maps(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """fc6 and fc7 maps (1, 4096, a, b): the Linear layers on every 7x7 window of pool5."""
    pool5 = model.features(x)
    rows, columns = pool5.shape[2] - 6, pool5.shape[3] - 6
    windows = functional.unfold(pool5, 7)[0].T  # (a b, 25088), flattened as C, H, W
    fc6 = torch.relu(model.classifier[0](windows))
    fc7 = torch.relu(model.classifier[3](fc6))
    return {
        name: values.T.reshape(1, -1, rows, columns)
        for name, values in (("fc6", fc6), ("fc7", fc7))
    }


def descriptors(model: nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over positions, then over the picture and its mirror; float64 sums."""
    views = [preprocessed(pixels), preprocessed(pixels[:, ::-1])]
    maps = [fc_maps(model, view) for view in views]
    return {
        layer: np.mean([m[layer].double().mean(dim=(0, 2, 3)).numpy() for m in maps], axis=0)
        for layer in ("fc6", "fc7")
    }


def relative_l2(a: np.ndarray, b: np.ndarray) -> float:
    """Distance in units of the length of ``b``."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
