"""The small parts against plain Python: plan, header, sparse file, aggregation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfeat.errors import StoreDamaged
from deepfeat.store.layout import FORMS, HEADER_BYTES, Header, key_fault, parse_header
from deepfeat.store.matrix import combine, unit
from deepfeat.store.plan import Changes, Listed, freeze
from deepfeat.store.shard import joined
from deepfeat.store.sparse import PAGE, Sparse

KEYS = st.sets(st.binary(min_size=1, max_size=8).filter(lambda key: not key_fault(key)), min_size=1)


@given(KEYS, st.integers(1, 5))
def test_a_plan_is_the_sorted_keys_cut_into_shards(keys: set[bytes], shard_images: int) -> None:
    plan = freeze([Listed(k, 1, 1) for k in keys], batch_size=1, shard_images=shard_images)
    shards = [[one.key for one in plan.shard(number)] for number in range(plan.shards)]
    assert [key for shard in shards for key in shard] == sorted(keys)
    assert {len(shard) for shard in shards[:-1]} <= {shard_images}
    assert 1 <= len(shards[-1]) <= shard_images


@given(KEYS, KEYS)
def test_changes_are_the_differences_of_sets(before: set[bytes], now: set[bytes]) -> None:
    plan = freeze([Listed(k, 1, 1) for k in before], batch_size=1, shard_images=9)
    found = plan.changes([Listed(k, 1, 2) for k in now])
    assert found == Changes(
        new=len(now - before), gone=len(before - now), touched=len(now & before)
    )


def test_a_change_is_another_size_and_another_time_is_told_apart() -> None:
    plan = freeze([Listed(b"%d" % i, 5, 7) for i in range(4)], batch_size=1, shard_images=9)
    now = [Listed(b"0", 5, 7), Listed(b"1", 6, 7), Listed(b"2", 5, -8), Listed(b"3", 4, 0)]
    assert plan.changes(now) == Changes(changed=2, touched=1)


def test_an_unknown_size_is_no_change() -> None:
    plan = freeze([Listed(b"a", 5, 1)], batch_size=1, shard_images=9)
    assert plan.changes([Listed(b"a", -1, 1)]) == Changes()


@pytest.mark.parametrize("form", FORMS)
def test_a_header_is_512_ascii_bytes_that_are_read_back(form: str) -> None:
    header = Header(form, 123, "ab" * 32)
    block = header.to_bytes()
    assert len(block) == HEADER_BYTES
    assert block.startswith(f"deepfeat store 1\nform {form}\nlength 123\n".encode())
    assert parse_header(block, "x") == header


@given(st.integers(0, HEADER_BYTES - 1), st.integers(0, 7))
def test_every_bit_of_a_header_counts(place: int, bit: int) -> None:
    block = bytearray(Header("shard", 123, "ab" * 32).to_bytes())
    block[place] ^= 1 << bit
    with pytest.raises(StoreDamaged):
        parse_header(bytes(block), "x")


WRITES = st.lists(st.tuples(st.integers(0, 3 * PAGE), st.binary(min_size=1, max_size=PAGE + 9)))


@given(WRITES, st.integers(0, 4 * PAGE), st.integers(0, 2 * PAGE))
def test_a_sparse_file_reads_as_a_whole_one(
    writes: list[tuple[int, bytes]], start: int, length: int
) -> None:
    whole, sparse = bytearray(7 * PAGE), Sparse()
    for place, data in writes:
        whole[place : place + len(data)] = data
        sparse.seek(place)
        sparse.write(data)
    assert sparse.between(start, start + length) == whole[start : start + length]
    assert sparse.size == max([place + len(data) for place, data in writes], default=0)


@given(st.lists(st.integers(0, 100_000), max_size=8))
def test_joined_pieces_are_the_same_bytes(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert b"".join(joined(pieces)) == b"".join(pieces)


def test_unit_rows_have_length_one_zeros_stay_and_nan_stays() -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [1e-30, 0], [3e38, 0]], "f4")
    expected = np.array([[0.6, 0.8], [0, 0], [np.nan, np.nan], [1e-18, 0], [1, 0]], "f4")
    np.testing.assert_allclose(unit(rows), expected, rtol=1e-6)


def test_the_mean_is_a_float32_sum_in_the_given_order() -> None:
    blocks = [np.array([[x]], "f4") for x in (1e8, 1, 1, -1e8)]
    assert combine(blocks, "mean", "none")[0, 0] == 0  # each 1 is lost beside 1e8


def test_combining_leaves_its_arguments_alone() -> None:
    blocks = [np.ones((2, 3), "f4"), np.ones((2, 3), "f4")]
    for across in ("mean", "max", "stack"):
        combine(blocks, across, "each+end")
    assert all((block == 1).all() for block in blocks)
