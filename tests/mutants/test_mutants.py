"""Each oracle test has been seen to fail: a copy of the package with one fault, and the test on it.

A mutant that survives is a missing test. Each needs a process of its own, some seconds each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import deepfeat

PACKAGE = Path(deepfeat.__file__).parent
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One line of the package changed, and the test that has to notice."""

    file: str
    old: str
    new: str
    test: str


DESCRIBE = "extraction/test_describe.py"
STORE = "store/test_store_faults.py"
MUTANTS = {
    "mirror left out": Mutant(
        "extraction/describe.py",
        "each = (image + mirrored) / 2",
        "each = image",
        f"{DESCRIBE}::test_descriptor_is_the_mean_over_positions_of_picture_and_mirror",
    ),
    "maximum for mean": Mutant(
        "extraction/describe.py",
        '"mean": lambda maps: maps.mean(dim=(2, 3))',
        '"mean": lambda maps: maps.amax(dim=(2, 3))',
        f"{DESCRIBE}::test_descriptor_is_the_mean_over_positions_of_picture_and_mirror",
    ),
    "BGR for RGB": Mutant(
        "networks/preprocessing.py",
        'if preprocessing.order == "BGR":',
        'if preprocessing.order == "RGB":',
        f"{DESCRIBE}::test_channels_come_in_the_order_of_the_weights",
    ),
    "floor for ceil": Mutant(
        "networks/vgg.py",
        "ceil_mode=ceil",
        "ceil_mode=False",
        f"{DESCRIBE}::test_pooled_sizes_are_rounded_up_when_asked",
    ),
    "two rows swapped": Mutant(
        "extraction/pipeline.py",
        "chain(waiting.take(size), [(row, pixels)])",
        "chain(waiting.take(size), [(row ^ 1, pixels)])",
        "extraction/test_run.py::test_every_row_belongs_to_its_key",
    ),
    "fsync of files removed": Mutant(
        "files.py",
        "write_all(descriptor, head())\n            os.fsync(descriptor)",
        "write_all(descriptor, head())",
        f"{STORE}::test_a_power_loss_costs_nothing_that_was_reported",
    ),
    "fsync of folders removed": Mutant(
        "files.py",
        "    os.rename(aside, path)  # noqa: PTH104\n    fsync_folder(path.parent)",
        "    os.rename(aside, path)",
        f"{STORE}::test_a_power_loss_costs_nothing_that_was_reported",
    ),
    "half of the gap forgotten": Mutant(
        "classify/certificate.py",
        "distance = (shortfall + beyond).sum(1)",
        "distance = shortfall.sum(1)",
        "classify/test_certificate.py",
    ),
    "a hundredth of the gap told": Mutant(
        "classify/solver.py",
        "gap[at] = part.gap.cpu().numpy()",
        "gap[at] = 0.01 * part.gap.cpu().numpy()",
        "classify/test_claims.py::test_a_gap_that_is_large_enough_to_see_is_the_true_one",
    ),
    "half of the gap on w forgotten": Mutant(
        "classify/certificate.py",
        "+ (1 - t).square() * loss",
        "+ 0 * loss",
        "classify/test_claims.py::test_a_gap_that_is_large_enough_to_see_is_the_true_one",
    ),
    "K in float32": Mutant(
        "classify/gram.py",
        "low[below, right] = exact.sub_(high[below, right])",
        "low[below, right] = 0",
        "classify/test_primal.py::test_both_solvers_agree",
    ),
    "no intercept in K": Mutant(
        "classify/gram.py",
        "exact.add_(constant).div_(square)",
        "exact.div_(square)",
        "classify/test_solver.py::test_every_problem_of_the_whole_range_is_certified",
    ),
    "scored on the rows fitted on": Mutant(
        "classify/choose.py",
        "score(decision[:, block], fold.score)",
        "score(decision[:, block], fold.fit)",
        "classify/test_svm.py::test_curve_is_that_of_scikit_learn_fold_by_fold",
    ),
    "a label that is not claimed counts": Mutant(
        "classify/labels.py",
        "weights = labels.is_known * each[:, None]",
        "weights = np.ones_like(labels.is_known) * each[:, None]",
        "classify/test_svm.py"
        "::test_indicator_columns_are_problems_of_their_own_and_nan_claims_nothing",
    ),
    "the largest C among equals": Mutant(
        "classify/choose.py",
        "order[np.nanargmax(overall[order])]",
        "order[len(order) - 1 - np.nanargmax(overall[order][::-1])]",
        "classify/test_svm.py::test_ties_go_to_the_smallest_C",
    ),
    "stopping at the gap asked for": Mutant(
        "classify/walk.py",
        "return min(AT_LEAST * gap, max(AIM * gap, LEAST_AIM))",
        "return gap",
        "classify/test_gram_and_liblinear.py::test_average_precision_is_that_of_liblinear",
    ),
}


def run_tests(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run some tests of the suite against the package in ``folder``."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        + [str(TESTS / test) for test in tests],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=300,
    )


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "deepfeat", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, copied):
    mutant = MUTANTS[name]
    file = copied / "deepfeat" / mutant.file
    text = file.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: mend the mutant"
    file.write_text(text.replace(mutant.old, mutant.new))
    done = run_tests(copied, mutant.test)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "\nFAILED" in done.stdout, done.stdout
    assert "\nERROR" not in done.stdout, done.stdout


def test_without_a_fault_the_same_tests_pass(copied):
    """So that a mutant is not killed by the copying."""
    done = run_tests(copied, *sorted({mutant.test for mutant in MUTANTS.values()}))
    assert done.returncode == 0, done.stdout + done.stderr
