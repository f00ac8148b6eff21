"""A CUDA device gives the CPU's descriptors, to the tolerance of float32 sums in another order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfeat import load_network
from deepfeat.extraction.describe import describe
from deepfeat.extraction.device import reference_mode

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("name", ["vgg8-small", "resnet18", "mobilenet_v3_small"])
def test_a_cuda_device_gives_the_cpus_descriptors(name, picture):
    pixels = [picture(256, 341, seed=seed) for seed in range(3)]
    rows = []
    for device in ("cpu", "cuda:0"):
        network = load_network(name, weights="random:0", device=device)
        with reference_mode():
            (found,) = describe(network, pixels).values()
        rows.append(found.astype(np.float64))
    assert np.linalg.norm(rows[0] - rows[1]) / np.linalg.norm(rows[0]) <= 1e-5
