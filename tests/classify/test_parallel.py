"""Which threads compute."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from deepfeat.classify.parallel import in_parallel, torch_threads
from deepfeat.classify.side_by_side import _batches, alike
from deepfeat.classify.working_set import LARGEST_SET


def test_torch_keeps_to_a_number_inside_and_finds_its_own_again() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError), torch_threads(before + 2) as outside:
        assert (outside, torch.get_num_threads()) == (before, before + 2)
        raise ValueError
    assert torch.get_num_threads() == before


def test_results_are_in_order_and_each_thread_computes_alone() -> None:
    seen: list[tuple[int, int]] = []

    def work(item: int) -> int:
        time.sleep(0.01 * (3 - item))
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return item * item

    with torch_threads(2):
        assert in_parallel(work, [0, 1, 2], 2) == [0, 1, 4]
    assert {count for _, count in seen} == {1}
    assert threading.get_ident() not in {thread for thread, _ in seen}


def test_an_error_in_a_thread_is_the_callers() -> None:
    def fail(item: int) -> int:
        raise ZeroDivisionError(item)

    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        in_parallel(fail, [1, 2], 2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("sizes", "threads", "expected"),
    [
        ([0, 10, 10, 10, 10], 2, [[1, 2], [3, 4, 0]]),
        ([5, 10, 9, 7], 2, [[1], [2], [3, 0]]),  # the largest first
        ([LARGEST_SET, LARGEST_SET, 5], 1, [[0], [1], [2]]),
        ([0], 1, [[0]]),
        ([7, 7, 7], 1, [[0, 1, 2]]),
    ],
)
def test_batches_hold_every_problem_and_no_more_than_memory_allows(
    sizes: list[int], threads: int, expected: list[list[int]]
) -> None:
    found = _batches(torch.tensor(sizes), threads)
    assert [batch.tolist() for batch in found] == expected


def test_problems_of_about_the_same_size_share_a_tensor_unless_they_are_large() -> None:
    sizes = [900, 890, 300, 290, 250, 210, 209, 100, 0, 0]
    runs = [sizes[one] for one in alike(torch.tensor(sizes))]
    assert runs == [[900], [890], [300, 290, 250, 210], [209], [100], [0, 0]]
