"""Batches side by side: in order, evenly dealt, with torch's threads shared out and given back."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.model.workers import MOST_WORKERS, count_workers, even_batches, side_by_side


@given(n=st.integers(0, 300), size=st.integers(1, 40), workers=st.integers(1, 9))
def test_batches_cover_all_once_evenly_and_as_many_for_each_worker(n: int, size: int, workers: int) -> None:
    batches = even_batches(n, size, workers)
    assert [i for batch in batches for i in range(n)[batch]] == list(range(n))
    lengths = [batch.stop - batch.start for batch in batches]
    assert all(0 < length <= size for length in lengths)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1
    assert len(batches) % workers == 0 or len(batches) == n


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    assert list(side_by_side(lambda x: x * x, range(50), workers)) == [x * x for x in range(50)]


def test_workers_run_at_the_same_time_and_share_the_threads() -> None:
    threads, meeting = torch.get_num_threads(), threading.Barrier(2, timeout=20)

    def meet(_: int) -> int:
        meeting.wait()
        return torch.get_num_threads()

    assert set(side_by_side(meet, range(4), 2)) == {max(1, threads // 2)}
    assert torch.get_num_threads() == threads


def test_an_error_comes_out_and_what_was_not_begun_is_left_undone() -> None:
    threads, begun = torch.get_num_threads(), []

    def fail(x: int) -> int:
        begun.append(x)
        raise ValueError(f"number {x}")

    with pytest.raises(ValueError, match="number 0"):
        list(side_by_side(fail, range(1000), 2))
    assert len(begun) < 20
    assert torch.get_num_threads() == threads


def test_who_stops_reading_stops_the_work() -> None:
    begun: list[int] = []
    results = side_by_side(lambda x: begun.append(x), range(1000), 2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) < 20


def test_a_gpu_has_one_worker() -> None:
    assert count_workers(torch.device("cuda")) == 1
    assert 1 <= count_workers(torch.device("cpu")) <= MOST_WORKERS
