"""Which 500 images of Caltech-101 the comparisons take: a rule, and the list it gives.

Of all N .jpg files below a folder, in the byte order of their relative paths, line i of the list is
number ``i * N // 500``. The committed list was made with a subset of 3,715 images (the 34 smallest
files of every class, then the smallest remaining of all, at most 50 a class), so all of them are in
the full set.

    python benchmarks/list_images.py 101_ObjectCategories > benchmarks/caltech101-500.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

COUNT = 500


def evenly(names: list[str], count: int) -> list[str]:
    """``count`` of the names, evenly spread over their byte order."""
    ordered = sorted(names, key=lambda name: name.encode())
    return [ordered[i * len(ordered) // count] for i in range(count)]


if __name__ == "__main__":
    root = Path(sys.argv[1])
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.jpg")]
    print("\n".join(evenly(names, COUNT)))
