"""Which rows a rank takes in which step."""

from __future__ import annotations

import itertools

import pytest

from zoo_keras.spark.fit.schedule import make_schedule, place_of_epoch

SIZES = [(1,), (10,), (5, 0, 3), (0, 0, 7), (100, 1), (33, 32, 31, 34), (1, 1, 1, 1), (1000, 3)]


@pytest.mark.parametrize(("rows", "batch"), list(itertools.product(SIZES, (1, 3, 32, 5000))))
def test_every_row_is_taken_once_and_no_batch_is_too_large(rows, batch):
    schedule = make_schedule(rows, batch)
    assert schedule.steps == -(-sum(rows) // batch)
    for rank, count in enumerate(rows):
        ends = [schedule.slice_of(rank, step) for step in range(schedule.steps)]
        assert [i for lo, hi in ends for i in range(lo, hi)] == list(range(count))
        met = {hi - lo for lo, hi in ends} - {0}
        assert met <= set(schedule.sizes(rank))
        assert len(schedule.sizes(rank)) <= 2
    batches = [schedule.batch(step) for step in range(schedule.steps)]
    assert sum(batches) == sum(rows)
    assert max(batches) < batch + len(rows)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [1, 5, 8])
def test_ranks_with_equal_rows_make_the_batches_of_one_rank(ranks, batch):
    together, alone = make_schedule([9] * ranks, batch), make_schedule([9 * ranks], batch)
    sizes = [[plan.batch(s) for s in range(plan.steps)] for plan in (together, alone)]
    assert sizes[0] == sizes[1]
    assert max(sizes[0]) <= batch


def test_first_row_counts_the_rows_of_lower_ranks():
    schedule = make_schedule((5, 0, 3), 4)
    for step in range(schedule.steps):
        firsts = [schedule.first_row(rank, step) for rank in range(3)]
        assert firsts == [0, schedule.rows_of(0, step), schedule.rows_of(0, step)]


def test_no_rows_make_one_empty_step():
    schedule = make_schedule((0, 0), 8)
    assert schedule.steps == 1
    assert schedule.batch(0) == 0
    assert schedule.sizes(0) == []


def test_epochs_of_wanted_steps_stop_where_the_records_do():
    places = [place_of_epoch(epoch, 2, 3) for epoch in range(4)]
    assert places == [(0, 0, 2), (0, 2, 1), (1, 0, 2), (1, 2, 1)]
    assert place_of_epoch(5, None, 3) == (5, 0, 3)
    assert place_of_epoch(1, 9, 3) == (1, 0, 3)
