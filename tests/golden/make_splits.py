"""Make splits.json, which later versions must still draw: python tests/golden/make_splits.py

Written from the words of protocols.md 8.15 and of ``deepfeat/datasets/splits.py``, one image after
the other; imports nothing of deepfeat.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# Owners of 30 images: the class of each, images of a class not side by side.
OWNERS = [2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 2, 2, 0, 0, 1, 2, 0, 1, 2, 0, 1, 0, 2, 1, 0, 2, 1, 0, 2, 0]
CLASSES = 3
# Rows given to the hold-out, in an order of their own; image 7 has two classes in the second case.
GIVEN = [29, 3, 4, 5, 0, 1, 2, 8, 9, 10, 20, 19, 18, 17, 16, 12, 13, 7]


def random_split(
    seed: int, trains: list[int], test: int | None, validations: list[int]
) -> dict[str, list[int]]:
    state = np.random.RandomState(seed)
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for own, train, validation in zip(range(CLASSES), trains, validations, strict=True):
        members = [image for image, owner in enumerate(OWNERS) if owner == own]
        drawn = [members[k] for k in state.permutation(len(members))]
        parts["train"] += drawn[:train]
        parts["validation"] += drawn[:train][train - validation :]
        parts["test"] += drawn[train:] if test is None else drawn[train : train + test]
    return parts


def holdout(groups: list[list[int]], sizes: list[int], seed: int) -> dict[str, list[int]]:
    state = np.random.RandomState(seed)
    validation = set()
    for group, size in zip(groups, sizes, strict=True):
        drawn = [group[k] for k in state.permutation(len(group))]
        validation |= set(drawn[len(drawn) - size :])
    return {
        "fit": [row for row in GIVEN if row not in validation],
        "validation": [row for row in GIVEN if row in validation],
    }


def main() -> None:
    by_class = [[row for row in GIVEN if OWNERS[row] == own] for own in range(CLASSES)]
    golden = {
        "owners": OWNERS,
        "given": GIVEN,
        # 0.2 of 7 is 1.4: 1
        "random_capped": [random_split(5 + s, [7] * 3, 1, [1] * 3) for s in range(2)],
        # 0.3 of 5 is 1.5: 2
        "random_rest": [random_split(s, [5] * 3, None, [2] * 3) for s in range(3)],
        # 0.45 of 12, 8 and 10 is 5.4, 3.6 and 4.5; 0.3 of 5, 4 and 5 is 1.5, 1.2 and 1.5
        "random_part": [random_split(1 + s, [5, 4, 5], None, [2, 1, 2]) for s in range(2)],
        # 0.25 of 9, 5 and 4 rows: 2.25, 1.25, 1
        "holdout_by_class": holdout(by_class, [2, 1, 1], seed=3),
        # 0.25 of 18 is 4.5: 5
        "holdout_at_once": holdout([GIVEN], [5], seed=3),
    }
    assert [len(group) for group in by_class] == [9, 5, 4]
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items()]
    (Path(__file__).parent / "splits.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
