"""The committed list of images is what its rule gives."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import list_images  # noqa: E402

ROOT = Path(os.environ.get("DEEPFEAT_TEST_DATA", "")) / "caltech101" / "101_ObjectCategories"
LISTED = (BENCHMARKS / "caltech101-500.txt").read_text().splitlines()


@pytest.mark.real
@pytest.mark.skipif(
    "DEEPFEAT_TEST_DATA" not in os.environ or not ROOT.is_dir(),
    reason="DEEPFEAT_TEST_DATA does not name the folder of real images and weights",
)
def test_the_list_follows_from_the_images():
    names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.jpg")]
    assert list_images.evenly(names, list_images.COUNT) == LISTED


def test_the_list_names_500_images_of_every_class_once():
    assert len(set(LISTED)) == len(LISTED) == 500
    assert len({name.split("/")[0] for name in LISTED}) == 102


def test_evenly_takes_the_first_of_equal_parts():
    names = [f"{letter}.jpg" for letter in "zyxwvutsrq"]
    assert list_images.evenly(names, 5) == ["q.jpg", "s.jpg", "u.jpg", "w.jpg", "y.jpg"]
