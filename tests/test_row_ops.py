"""Steps on the touched rows of a table: kernels against steps made one by one in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, check_samples, instruction_set, run_kernel
from test_update_ops import run_in_place

from zoo_keras.errors import DataError
from zoo_keras.primitives import table_rows as rows
from zoo_keras.primitives.update import HOW, KINDS

by_kind = pytest.mark.parametrize("kind", HOW)


def test_sorted_ids_are_exact():
    check_samples([rows.sort_ids])
    ids = np.array([2**31 - 1, 5, 2**22 + 3, 5, 2**11, 2**31 - 1, 0], np.int64)
    check_kernel(rows.sort_ids, [ids])
    check_kernel(rows.sort_ids, [np.random.default_rng(0).integers(0, 90, (50, 61))])


def test_notes_and_coefficients():
    check_samples([rows.note_update], 1e-9, 1e-12)
    check_samples([rows.replay_coefficients], 2e-6, 1e-7)


def long_training(kind: str, how: tuple, rate, first: int) -> list[np.ndarray]:
    """w, slots, last, coefficients, notes, n of a table whose rows lag up to 400 steps."""
    rng, n, d = np.random.default_rng(3), 400, 19
    slots = [rng.uniform(1e-9, 1e-2, (20, d)) for _ in range(KINDS[kind].slots)]
    if not kind.startswith("rms"):
        slots[0] *= rng.choice([-1, 1], (20, d))
    w = rng.uniform(-0.1, 0.1, (20, d))
    notes = np.zeros((n, rows.NOTE))
    for i in range(n):
        lr, step = np.float32(rate(i)), np.float32(first + i)
        notes = rows.note_update(notes, np.int32(i), lr, step, kind=kind, how=how, decay=0.01)
    vectors = [v.astype(np.float32) for v in (w, *slots)]
    last = rng.integers(0, n + 1, 20).astype(np.int32)
    made = rows.replay_coefficients(notes, np.int32(n), kind=kind, how=how)
    return [*vectors, last, made, notes, np.int32(n)]


RATES = {
    "constant": lambda i: 0.003,
    "decay": lambda i: 0.05 * 0.99**i,
    "jumps": lambda i: 0.1 if i % 50 == 0 else 0.001,
    "zero": lambda i: 0.0 if i > 200 else 0.01,
}
LONG = [
    ("momentum", (0.9, 0)), ("momentum", (0.99, 1)), ("adam", (0.9, 0.999, 1e-7)),
    ("adam", (0.9, 0.999, 1e-3)), ("adam", (0.5, 0.9, 1e-7)), ("adam", (0.9, 0.9, 1e-7)),
    ("adam", (0.0, 0.999, 1e-7)), ("adamax", (0.9, 0.999, 1e-7)), ("nadam", (0.9, 0.999, 1e-7)),
    ("nadam", (0.95, 0.99, 1e-5)), ("lion", (0.9, 0.99)), ("rmsprop_momentum", (0.9, 1e-7, 0.8)),
]  # fmt: skip


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("first", [1, 3000])
@pytest.mark.parametrize(("kind", "how"), LONG, ids=str)
def test_long_lags_equal_steps_made_one_by_one(kind, how, first, rate):
    given = long_training(kind, how, RATES[rate], first)
    wide = [a.astype("f8") if a.dtype == np.float32 and a.ndim else a for a in given]
    want = rows.settle_rows(*wide, kind=kind, how=how)
    for name in SETS:
        with instruction_set(name):
            got = run_kernel(rows.settle_rows, given, {"kind": kind, "how": how})
        off = np.abs(got[0] - want[0]) / (np.abs(want[0] - wide[0]) + np.abs(want[0]) + 0.01)
        assert off.max() < 1e-5
        for a, b in zip(got[1:-1], want[1:-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-12)


@by_kind
def test_tables_are_updated_in_their_own_memory(kind):
    sample = next(s for s in rows.rows_update.samples if s.attrs["kind"] == kind)
    arrays = sample.inputs(np.random.default_rng(1))
    for name in SETS:
        with instruction_set(name):
            apart = run_kernel(rows.rows_update, arrays, sample.attrs)
            together = run_in_place(
                type("Op", (), {**vars(rows.rows_update), "infer": rows.rows_update.infer}),
                arrays, sample.attrs,
            )  # fmt: skip
        for a, b in zip(apart, together, strict=True):
            assert a.tobytes() == b.tobytes()


def test_an_id_outside_the_table_stops_the_run():
    *arrays, ids = rows.gather_replayed.samples[0].inputs(np.random.default_rng(0))
    ids = ids.copy()
    ids[0, 1] = 9
    attrs = rows.gather_replayed.samples[0].attrs
    with pytest.raises(DataError, match=r"position 1.* below 9"):
        run_kernel(rows.gather_replayed, [*arrays, ids], attrs)


def test_a_step_for_which_there_is_no_room_stops_the_run():
    notes, full = np.zeros((4, rows.NOTE)), np.int32(4)
    attrs = {"kind": "sgd", "how": (), "decay": 0.0}
    with pytest.raises(DataError, match="no room"):
        run_kernel(rows.note_update, [notes, np.asarray(full), np.float32(1), np.float32(1)], attrs)
