"""The benchmark of the SVM: its arithmetic, and that it runs from end to end."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def problem_of(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels, and weights: positives 2, negatives 1, every fifth row 0."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(60, 8)).astype(np.float32)
    y = np.where(X[:, 0] + random.normal(size=60) > 0.5, 1, -1).astype(np.int8)
    weights = np.where(y > 0, 2.0, 1.0)
    weights[::5] = 0
    return X, y, weights


def two_tasks(cases: ModuleType) -> list[Any]:
    X, y, weights = problem_of()
    both = np.tile(y[:, None], (1, 6)), np.tile(weights[:, None], (1, 6))
    return [cases.Task(X, *both, [0.5, 1.0, 2.0]), cases.Task(X, *both, [1.0])]


def test_a_sample_has_as_many_problems_at_each_C(module: Any) -> None:
    cases = module("svm_cases")
    tasks = two_tasks(cases)
    assert cases.problems_at(tasks) == {0.5: 6, 1.0: 12, 2.0: 6}
    sample = cases.draw(tasks, 14, seed=0)
    assert Counter(one.C for one in sample) == {0.5: 4, 1.0: 4, 2.0: 4}
    assert len(set(sample)) == len(sample)
    assert [one.C for one in sample] == sorted((one.C for one in sample), reverse=True)
    assert all(one.C in tasks[one.task].Cs and one.column < 6 for one in sample)
    assert cases.draw(tasks, 14, seed=0) == sample != cases.draw(tasks, 14, seed=1)
    assert Counter(one.C for one in cases.draw(tasks, 1, 0)) == {0.5: 1, 1.0: 1, 2.0: 1}
    assert len(cases.draw(tasks, 1000, 0)) == 24


def test_a_peers_time_is_scaled_at_each_C(module: Any) -> None:
    cases = module("svm_cases")
    sample = [cases.Problem(0, 0, 2.0), cases.Problem(0, 1, 2.0), cases.Problem(0, 0, 1.0)]
    found = cases.scaled([3.0, 5.0, 1.0], sample, {1.0: 10, 2.0: 100}, jobs=2)
    assert found == (4 * 100 + 1 * 10) / 2


def test_what_is_handed_over_comes_back(module: Any, tmp_path: Path) -> None:
    cases = module("svm_cases")
    tasks = two_tasks(cases)
    sample = cases.draw(tasks, 6, 0)
    cases.save(tasks, sample, tmp_path)
    for mapped in (False, True):
        found, chosen = cases.load(tmp_path, mapped=mapped)
        assert chosen == sample
        assert found[0].X is found[1].X
        assert isinstance(found[0].X, np.memmap) == mapped
        for one, other in zip(found, tasks, strict=True):
            assert one.Cs == other.Cs
            for name in ("X", "y", "weights"):
                assert np.array_equal(getattr(one, name), getattr(other, name))


def test_rows_repeated_for_cyanure_are_the_weighted_objective(module: Any) -> None:
    """Ours over 2 C rows is cyanure's, for any w and b; and so is the minimiser."""
    peers = module("svm_peers")
    X, y, weights = problem_of()
    use = weights > 0
    C, random = 3.0, np.random.default_rng(1)
    full, labels, _ = peers.repeated(X[use], y[use], weights[use])
    assert len(full) == weights.sum()
    scale = peers.scale_of_penalty(C, len(full))
    for _ in range(5):
        v = random.normal(size=9)
        f = X.astype(np.float64) @ v[:-1] + v[-1]
        ours = v @ v / 2 + C * weights @ np.maximum(0, 1 - y * f) ** 2
        slack = np.maximum(0, 1 - labels * (full @ v))
        theirs = np.mean(slack**2) / 2 + scale * (v @ v) / 2
        assert theirs == pytest.approx(ours / (2 * C * len(full)), rel=1e-12)
    with pytest.raises(ValueError, match="whole numbers"):
        peers.repeated(X[use], y[use], weights[use] / 3)


@pytest.mark.parametrize("name", ["scikit-learn", "cyanure"])
def test_a_peer_minimises_our_objective(module: Any, name: str) -> None:
    if name == "cyanure":
        pytest.importorskip("cyanure", reason="cyanure is optional")
    from deepfeat.classify.choose import SOLVERS
    from deepfeat.classify.problems import Settings

    cases, peers = module("svm_cases"), module("svm_peers")
    X, y, weights = problem_of()
    task = cases.Task(X, y[:, None], weights[:, None], [0.1, 1.0])
    solver = SOLVERS["gram"](X, Settings(gap=1e-9, device="cpu"))
    exact = [one.primal[0] for one in solver.path(task.y, task.weights, task.Cs)]
    sample = [cases.Problem(0, 0, C) for C in task.Cs]
    found = peers.solve_sample([task], sample, peers.PEERS[name], jobs=1)
    assert [one["converged"] for one in found] == [True, True]
    assert [one["objective"] for one in found] == pytest.approx(exact, rel=1e-3)


def test_functions_fall_into_groups_and_unknown_ones_into_the_rest(module: Any) -> None:
    run = module("svm_run")
    assert run.group_of("<built-in method torch._C._linalg.linalg_cholesky_ex>") == "Cholesky"
    assert run.group_of("<method 'index_select' of 'torch._C.TensorBase' objects>") == "gathering"
    assert run.group_of("nobody_knows") == "the rest"
    shares = run.profile(two_tasks(module("svm_cases")), 1e-4)["shares"]
    assert list(shares) == [*run.GROUPS, "the rest"]
    assert sum(shares.values()) == pytest.approx(1)


def test_the_command_that_is_recorded_has_no_folder(module: Any) -> None:
    svm = module("svm")
    given = svm.parsed(["caltech101-real", "--store", "/a/b/x.h5", "--data", "/c/d"])
    command = svm.command_of(given)
    assert command.startswith("python benchmarks/svm.py caltech101-real --store x.h5 --data d ")
    assert svm.parsed(command.split()[2:]).repeats == given.repeats
    both = svm.parsed(
        ["caltech101-fused", "--store", "/a/x.h5", "--store", "/b/y.h5", "--data", "d"]
    )
    assert " --store x.h5 --store y.h5 --data d " in svm.command_of(both)
    for words in (["caltech101-real"], ["caltech101-fused", "--store", "x.h5", "--data", "d"]):
        with pytest.raises(SystemExit):
            svm.parsed(words)


def rows_of(svm: ModuleType, cases: ModuleType) -> dict[str, Any]:
    """Three runs of ours on two problems, and a peer that converged on the second alone."""
    sample = [cases.Problem(0, 0, 2.0), cases.Problem(0, 0, 1.0)]
    exact = [(100.0, 0.5), (10.0, 0.75)]
    run = {
        **{
            "seconds_for_K": 1.0,
            "seconds_for_refits": 0.0,
            "seconds_by_C": {"1": 1.0, "2": 2.0},
            "newton_steps": 7,
        },
        **{"missed": 0, "peak_bytes": 2**20, "bound_bytes": 2**21},
    }
    runs = [
        run
        | {"seconds": s, "worst_gap": s * 1e-6, "sample": [(100.01, 0.5), (10.0, 0.7)]}
        | {"precisions": [0.5, 0.7, math.nan]}
        for s in (5.0, 3.0, 4.0)
    ]
    solved = [
        {"seconds": 2.0, "objective": 101.0, "average_precision": 0.1, "converged": False},
        {"seconds": 1.0, "objective": 10.0, "average_precision": 0.74, "converged": True},
    ]
    ours = svm.own(runs, {"sample": exact, "precisions": [0.5004, 0.75, math.nan]})
    ours["peers"] = {"x": svm.compared([solved], sample, {1.0: 4, 2.0: 8}, 2, ours, exact)}
    return ours


def test_peers_are_compared_at_equal_threads_and_where_they_converged(module: Any) -> None:
    ours = rows_of(module("svm"), module("svm_cases"))
    assert ours["seconds"] == {"median": 4, "least": 3, "most": 5}
    assert ours["worst_gap"] == pytest.approx(5e-6)
    assert ours["objective_over_reference"]["most"] == pytest.approx(1e-4)
    assert ours["ap_from_reference"] == pytest.approx(0.05)
    assert ours["every_ap"] == {"problems": 2, "above": 1, "most": pytest.approx(0.05)}
    peer = ours["peers"]["x"]
    assert peer["seconds_scaled"]["median"] == (2 * 8 + 1 * 4) / 2
    assert peer["ratio"] == 10 / 4
    assert peer["converged"] == 1
    assert peer["objective_over_reference"]["most"] == pytest.approx(1e-2)
    assert peer["ap_from_reference_where_converged"] == pytest.approx(0.01)
    assert peer["ap_from_ours_where_converged"] == pytest.approx(0.04)


def test_a_peer_stands_under_ours(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = rows_of(module("svm"), module("svm_cases"))
    run = {
        **{"command": "c", "commit": "0" * 40, "date": "d", "machine": "m", "rows": [[50, 8]]},
        **{"problems": 12, "repeats": 3, "peer_repeats": 1, "sampled": 2},
        **{
            "reference_worst_gap": 1e-10,
            "peers": {"x": {"version": "1.2"}},
            "threads": {"2": ours},
        },
    }
    (tmp_path / "svm-voc07.json").write_text(json.dumps(run))
    monkeypatch.setattr(module("pages"), "RESULTS", tmp_path)
    page = module("svm_figures").benchmark()
    assert "| **deepfeat** | 2 | 4.00 (3.00 to 5.00) |  |  | 0.0e+00 to 1.0e-04 | 5.0e-02 |" in page
    assert "| x | 2 | 10 | **2.5** | 1 of 2 | 0.0e+00 to 1.0e-02 | 1.0e-02 | 4.0e-02 |" in page
    assert "| 2 | 5.0e-06 | 0 | 7 | 1 MiB | 2 MiB |" in page
    assert "of 2 average precisions 1 differ by more than 5e-4, the most by 5.0e-02" in page


def test_a_small_run_is_shown(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that import torch, some seconds each."""
    svm, figures = module("svm"), module("svm_figures")
    words = "caltech101 --small --no-peers --threads 1 --repeats 1 --sample 15 --every"
    svm.main([*words.split(), "--results", str(tmp_path)])
    text = (tmp_path / "svm-caltech101-small.json").read_text()
    assert str(tmp_path) not in text
    found = json.loads(text)
    ours = found["threads"]["1"]
    assert found["sampled"] == 15
    assert ours["missed"] == 0
    assert 0 <= ours["worst_gap"] <= 1e-4
    assert 0 < ours["seconds_for_K"] < ours["seconds"]["median"]
    assert abs(ours["objective_over_reference"]["most"]) < 1e-4
    assert ours["peak_bytes"] > 0
    found["profile"] = {"threads": 1, "shares": {"Cholesky": 0.25, "the rest": 0.75}}
    (tmp_path / "svm-caltech101-small.json").write_text(json.dumps(found))
    (tmp_path / "svm-caltech101-small.json").rename(tmp_path / "svm-caltech101.json")
    monkeypatch.setattr(module("pages"), "RESULTS", tmp_path)
    page = figures.benchmark()
    assert "| **deepfeat** | 1 | " in page
    assert "differ in the fourth decimal" in page
    assert page.count("Not measured yet.") == len(figures.SVM_CASES) - 1
    assert "| the rest | 75 % |" in figures.profile()
    assert figures.growth() == "Not measured yet."


def test_growth_is_measured_and_shown(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, BENCHMARKS / "svm_growth.py", "--small", "--threads", "1"]
    subprocess.run([*command, "--results", tmp_path], check=True)
    (tmp_path / "svm-growth-small.json").rename(tmp_path / "svm-growth.json")
    monkeypatch.setattr(module("pages"), "RESULTS", tmp_path)
    page = module("svm_figures").growth()
    assert "| rows | 300 | " in page
    assert "| 1.00 | 1.00 |" in page


def test_the_picture_has_the_same_bytes_each_time(module: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is optional")
    growth = module("svm_growth")
    points = [{"value": v, "median": v / 7, "least": v / 8, "most": v / 6} for v in (1, 2, 4)]
    result = {"base": {"rows": 2, "folds": 4}, "varied": {"rows": points, "folds": points}}
    for name in ("a.svg", "b.svg"):
        growth.draw(result, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()
