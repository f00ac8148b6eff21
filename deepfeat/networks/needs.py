"""What the wanted layers of a network need of a file of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deepfeat.networks import from_torchvision
from deepfeat.networks.from_torchvision import INCEPTIONS, Cutting
from deepfeat.networks.network import Body
from deepfeat.networks.table import Row
from deepfeat.networks.weights.fit import Wanted
from deepfeat.networks.weights.forms import Layout

COUNTER = "num_batches_tracked"  # of training steps, which evaluation never reads


def wanted(name: str, row: Row, body: Body, layers: Sequence[str], layout: Layout) -> Wanted:
    """The tensors that ``layers`` are computed from, and all that the network may have.

    ``body`` lies on the meta device. A classifier may have any number of classes; a fully-connected
    layer is a matrix in files and a convolution here.
    """
    shapes: dict[str, tuple[tuple[int | None, ...], ...]] = {}
    sizes = {key: tuple(value.shape) for key, value in body.state_dict().items()}
    for key in body.needed(layers):
        if key.endswith(COUNTER):
            continue
        shape: tuple[int | None, ...] = sizes[key]
        if body.file_key(key, "torchvision").rpartition(".")[0] == row.classifier:
            shape = (None, *shape[1:])
        may_be_matrix = not isinstance(body, Cutting) and len(shape) == 4
        matrix = (shape[0], math.prod(sizes[key][1:]))
        shapes[body.file_key(key, layout)] = (shape, matrix) if may_be_matrix else (shape,)
    if name in INCEPTIONS:
        # Their files hold the heads of training, too.
        body = from_torchvision.build(name, classes=1000, auxiliary=True, transform_input=False)
    known = frozenset(body.file_key(key, layout) for key in body.state_dict())
    return Wanted(name, shapes, known)
