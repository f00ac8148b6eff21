"""A Caltech figure again, from the same descriptors, by code that shares nothing with deepfeat.

    python benchmarks/oracle_svm.py RESULT.json STORE.h5 [STORE.h5] --command '...' --name NAME

Reads the stores with h5py, draws the splits from the keys by their published rule, takes only the
chosen C from the result, fits scikit-learn's ``LinearSVC`` one class against the rest, and counts.
Writes benchmarks/results/agreement-NAME.json: both figures, the predictions that differ, and the
largest margin between the two best classes among those.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
from machine import provenance
from sklearn.svm import LinearSVC

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--command", required=True, help="the command as a reader would type it")
    parser.add_argument("--name", required=True)
    given = parser.parse_args()
    result = json.loads(given.result.read_text())
    scores = np.load(given.result.with_name(result["predictions"]))
    keys, X = matrix(given.stores, result["recipe"]["resolved"]["extract"])
    classes = sorted({key.split(b"/")[0] for key in keys})
    owner = np.array([classes.index(key.split(b"/")[0]) for key in keys])
    rows = [
        one_split(split, result["recipe"]["resolved"], keys, owner, X, len(classes), scores)
        for split in result["splits"]
    ]
    ours, theirs = (float(np.mean([row[name] for row in rows])) for name in ("ours", "theirs"))
    found = provenance(given.command) | {
        "recipe": f"{result['recipe']['name']}:{result['recipe']['variant']}",
        "networks": [one["network"] for one in result["features"]],
        "solver": result["solver"]["name"],
        "images": len(keys),
        "ours": ours,
        "theirs": theirs,
        "splits": rows,
    }
    target = RESULTS / f"agreement-{given.name}.json"
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{target}: {ours:.3f} against {theirs:.3f}")


def matrix(stores: list[Path], blocks: list[dict]) -> tuple[list[bytes], np.ndarray]:
    """Keys and rows: scales aggregated, each network of length 1, several stacked, length 1."""
    parts = []
    for path, block in zip(stores, blocks, strict=True):
        with h5py.File(path) as file:
            keys = file["items/key"][:].tolist()
            (layer,) = file["descriptors"].keys()
            scales = [file[f"descriptors/{layer}/{q}"][:] for q in block["scales"]]
        rows = {
            "stack": lambda a: np.concatenate(a, axis=1),
            "mean": lambda a: np.mean(a, axis=0),
            "max": lambda a: np.max(a, axis=0),
        }[block["across_scales"]](scales)
        parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    X = np.concatenate(parts, axis=1)
    return keys, X / np.linalg.norm(X, axis=1, keepdims=True)


def one_split(
    split: dict,
    keys_of: dict,
    keys: list[bytes],
    owner: np.ndarray,
    X: np.ndarray,
    classes: int,
    scores: np.lib.npyio.NpzFile,
) -> dict:
    """Figures of one split, in per cent, and where the predictions differ."""
    state = np.random.RandomState(keys_of["split.seed"] + split["split"])
    train, test = [], []
    size, most = keys_of["split.train"], keys_of["split.test"]
    for c in range(classes):
        members = np.flatnonzero(owner == c)
        drawn = members[state.permutation(len(members))]
        train += drawn[:size].tolist()
        test += drawn[size : None if most == "rest" else size + most].tolist()
    train, test = np.sort(train), np.sort(test)
    decision = np.empty((len(test), classes))
    converged = True
    for c in range(classes):
        machine = LinearSVC(C=split["C"], dual=True, tol=1e-5, max_iter=100_000, random_state=1)
        machine.fit(X[train], np.where(owner[train] == c, 1, -1))
        decision[:, c] = machine.decision_function(X[test])
        converged = converged and bool(machine.n_iter_ < machine.max_iter)
    theirs = decision.argmax(axis=1)
    assert scores[f"keys_{split['split']}"].tolist() == [keys[row] for row in test]
    ours = scores[f"scores_{split['split']}"].argmax(axis=1)
    two = np.sort(decision, axis=1)[:, -2:]
    margins = (two[:, 1] - two[:, 0])[ours != theirs]
    return {
        "split": split["split"],
        "C": split["C"],
        "ours": 100 * mean_recall(owner[test], ours, classes),
        "reported": split["value"],
        "theirs": 100 * mean_recall(owner[test], theirs, classes),
        "test": len(test),
        "differing": int((ours != theirs).sum()),
        "largest_margin": float(margins.max(initial=0.0)),
        "largest_difference": float(np.abs(decision - scores[f"scores_{split['split']}"]).max()),
        "converged": converged,
    }


def mean_recall(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    present = [c for c in range(classes) if (truth == c).any()]
    return float(np.mean([(predicted[truth == c] == c).mean() for c in present]))


if __name__ == "__main__":
    main()
