"""All-reduce over executor processes: right to the bit, and quick to notice who is gone."""

from __future__ import annotations

import itertools
import os
import signal
import time

import leftovers
import numpy as np
import pytest

from zoo_keras.errors import ConfigError
from zoo_keras.spark.cluster import wait_for_slots
from zoo_keras.spark.transport import allreduce, neighbours
from zoo_keras.spark.transport.bridge import BridgeError
from zoo_keras.spark.transport.job import JobError, RankJob, run_rank_job
from zoo_keras.spark.transport.wire import WIRE_TYPES, from_wire, sum_in_order, to_wire

pytestmark = pytest.mark.spark

COUNTS = (0, 1, 17, 1000, 40_003, 2_500_001)  # the last is streamed between 2 ranks
STEPS = 3


def _vector(count, rank, step):
    rng = np.random.default_rng([count, rank, step])
    draw = rng.standard_normal if count < 100_000 else rng.random  # a quarter of the time
    return draw(count, np.float32)


def _sum(count, size, step):
    total = _vector(count, 0, step)
    for rank in range(1, size):
        total += _vector(count, rank, step)
    return total


def _check_step(rank, ring, step):
    ring.gradient[:] = _vector(ring.count, rank.rank, step)
    notes = ring.reduce_scatter([rank.rank, step])
    lo, hi = ring.bounds
    total = _sum(ring.count, rank.size, step)
    right = [np.array_equal(ring.gradient[lo:hi], total[lo:hi])]
    right.append(notes.tolist() == [[r, step] for r in range(rank.size)])
    ring.weights[lo:hi] = ring.gradient[lo:hi]
    notes = ring.all_gather([-rank.rank])
    right.append(np.array_equal(ring.weights, total))
    right.append(notes.tolist() == [[-r] for r in range(rank.size)])
    sums = ring.all_sum(np.array([[0.1 * (rank.rank + 1), step]]))
    expected = sum((np.array([[0.1 * (r + 1), step]]) for r in range(rank.size)), np.zeros((1, 2)))
    right.append(np.array_equal(sums, expected))
    return right


def _check_sums(rank, counts=COUNTS):
    rank.gather()
    rings = [rank.all_reduce(count) for count in counts]
    wrong = [
        (ring.count, step, right)
        for step in range(STEPS)
        for ring in rings
        if not all(right := _check_step(rank, ring, step))
    ]
    bounds = [ring.bounds for ring in rings]
    for ring in rings:
        ring.close()
    return wrong, bounds


@pytest.mark.parametrize(("size", "same_host"), [(1, True), (2, False), (4, False), (4, True)])
def test_sums_are_numpys_in_rank_order_to_the_bit(cluster4, size, same_host):
    rows = cluster4.parallelize(range(size), size)
    found = run_rank_job(rows, _check_sums, same_host=same_host)
    assert [wrong for wrong, _ in found] == [[]] * size
    for i, count in enumerate(COUNTS):
        ends = [bounds[i] for _, bounds in found]
        assert ends[0][0] == 0
        assert ends[-1][1] == count
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))


def _check_sums_in_small_blocks(rank):
    before, allreduce._LARGEST_BLOCK = allreduce._LARGEST_BLOCK, 4096
    try:
        return _check_sums(rank, (17, 2048, 2049, 40_003))
    finally:
        allreduce._LARGEST_BLOCK = before


def test_slices_larger_than_a_block_may_be_go_as_several(cluster2):
    """As vectors of some GB do; the limit is 4096 bytes here."""
    found = run_rank_job(cluster2.parallelize(range(2), 2), _check_sums_in_small_blocks,
                         same_host=False)  # fmt: skip
    assert [wrong for wrong, _ in found] == [[]] * 2


def _check_sums_on_two_machines(rank):
    real = neighbours.machine
    neighbours.machine = lambda: f"{real()} {rank.rank % 2}"
    try:
        return _check_sums(rank), list(rank.group.near)
    finally:
        neighbours.machine = real


def test_neighbours_and_others_mix(cluster4):
    found = run_rank_job(cluster4.parallelize(range(4), 4), _check_sums_on_two_machines)
    assert [wrong for (wrong, _), _ in found] == [[]] * 4
    assert [near for _, near in found] == [[2], [3], [0], [1]]


def _train_narrow(wire):
    def body(rank):
        rank.gather()
        count, start = 5000, _vector(5000, 9, 9)
        ring = rank.all_reduce(count, wire=wire)
        ring.weights[:] = start
        lo, hi = ring.bounds
        exact = start.astype(np.float64)
        for step in range(20):
            ring.gradient[:] = _vector(count, rank.rank, step)
            ring.reduce_scatter()
            ring.weights[lo:hi] -= np.float32(0.01) * ring.gradient[lo:hi]
            ring.all_gather()
            exact -= 0.01 * _sum(count, rank.size, step).astype(np.float64)
        own = ring.weights[lo:hi].copy()
        ring.close()
        return ring.weights.copy(), own, exact

    return body


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_narrow_wires_do_not_drift(cluster4, wire):
    rows, body = cluster4.parallelize(range(2), 2), _train_narrow(wire)
    (first, own, exact), (second, _, _) = run_rank_job(rows, body, same_host=True)
    (again, _, _), _ = run_rank_job(rows, body, same_host=False)
    assert np.array_equal(first, again)
    step = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[wire]
    assert np.abs(first - exact).max() < 20 * 0.1 * step
    assert np.abs(first - second).max() < 0.1 * step
    assert np.array_equal(first[: len(own)], own)


def _bad_calls(rank):
    rank.gather()
    ring = rank.all_reduce(10)
    calls = [
        lambda: rank.all_reduce(10, wire="int8"),
        lambda: rank.all_reduce(-1),
        lambda: ring.reduce_scatter(np.zeros(65)),
        lambda: ring.all_sum(np.zeros(513)),
        rank.gather,
    ]
    messages = []
    for call in calls:
        try:
            call()
        except Exception as error:
            messages.append(str(error))
    ring.close()
    return messages


def test_wrong_calls_say_what_is_allowed(cluster4):
    (messages,) = run_rank_job(cluster4.parallelize(range(1), 1), _bad_calls)
    assert [message.split("Received")[0] for message in messages] == [
        "AllReduce: wire must be one of ['bfloat16', 'float16', 'float32']. ",
        "AllReduce: count must not be negative. ",
        "AllReduce: note holds at most 64 values. ",
        "AllReduce: all_sum holds at most 512 values. ",
        "RankContext.gather tells facts once in a job. ",
    ]


def _follow_control(rank):
    rank.gather()
    ring = rank.all_reduce(32)
    rank.progress.share("weights", [ring.part("weights", *ring.bounds)])
    program = None
    step, stop = 0, False
    while not stop:
        said = rank.control.read() if rank.rank == 0 else None
        note = [said.values[0], said.facts["stop"]] if said else [0.0, 0.0]
        rate, stop = ring.reduce_scatter(note)[0]
        ring.weights[slice(*ring.bounds)] = rate
        ring.all_gather()
        step += 1
        rank.progress.write([step, rate], {"pid": os.getpid()})
        if program is None and "program" in rank.control.blobs():
            program = rank.control.fetch("program").tobytes()
    ring.close()
    return step, rate, program


def test_driver_and_ranks_talk_while_the_job_runs(cluster4):
    rates = []
    with RankJob(cluster4.parallelize(range(2), 2), _follow_control) as job:
        job.control.publish("program", b"x" * 100_000)
        for rate in (0.5, 0.25):
            job.control.write([rate], {"stop": False})
            while not rates or rates[-1] != rate:
                assert not job.wait(0.02)
                record = job.progress(1)
                rates += [record.values[1]] if record else []
        weights = job.fetch(1, "weights").view(np.float32)
        job.control.write([0.125], {"stop": True})
        (steps0, rate0, program), (steps1, rate1, _) = job.result()
        assert job.progress(0) is None
    assert weights.tolist() == [0.25] * 16
    assert (steps0, rate0) == (steps1, rate1)
    assert rate0 == 0.125
    assert program == b"x" * 100_000
    assert 0.5 in rates


def _write_fast(rank):
    rank.gather()
    version = 0
    while not rank.control.read(max_age=0.05).values[0]:
        for _ in range(100):
            version += 1
            rank.progress.write(np.full(1000, float(version)))


def test_records_are_never_torn(cluster4):
    with RankJob(cluster4.parallelize(range(1), 1), _write_fast) as job:
        job.control.write([0])
        seen = set()
        while len(seen) < 100:
            assert not job.wait(0)
            record = job.progress(0)
            if record:
                assert set(record.values) == {float(record.version)}
                seen.add(record.version)
        job.control.write([1])
        job.result()


def _train_until_told(notes):
    def body(rank):
        rank.gather()
        ring = rank.all_reduce(100_000)
        lo, hi = ring.bounds
        while True:
            ring.gradient[:] = 1
            try:
                ring.reduce_scatter()
                ring.weights[lo:hi] += ring.gradient[lo:hi]
                ring.all_gather()
            except BridgeError as error:
                (notes / f"rank{rank.rank}").write_text(f"{time.time()} {error}")
                raise
            rank.progress.write([ring.weights[0]], {"jvm": rank.bridge.here().pid})

    return body


def _kill_one(sc, notes):
    """Runs a job and kills the executor of rank 1; returns the time of that and the error."""
    with RankJob(sc.parallelize(range(2), 2), _train_until_told(notes)) as job:
        while not (job.progress(0) and (record := job.progress(1))):
            assert not job.wait(0.05)
        executor = job.executor(1)
        os.kill(record.facts["jvm"], signal.SIGKILL)
        killed = time.time()
        with pytest.raises(JobError) as caught:
            job.result()
        return killed, executor, caught.value


def test_a_killed_executor_is_named_and_replaced(secure2, tmp_path):
    killed, executor, error = _kill_one(secure2, tmp_path)
    assert time.time() - killed < 10
    assert [lost.id for lost in error.lost] == [executor]
    assert error.restartable
    assert f"executor {executor} on " in str(error)
    when, _, told = (tmp_path / "rank0").read_text().partition(" ")
    assert float(when) - killed < 10
    assert f"rank 1 (host {error.lost[0].host}, executor {executor})" in told
    wait_for_slots(secure2, 2, timeout=60)
    found = run_rank_job(secure2.parallelize(range(2), 2), _check_sums)
    assert [wrong for wrong, _ in found] == [[], []]
    leftovers.wait_until(leftovers.driver, leftovers.NOTHING)
    leftovers.wait_until(lambda: leftovers.executors(secure2), {(0, 0, 0)})


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_narrow_values_are_the_nearest(wire):
    values = np.array([0, -0.0, 1, 1.00390625, 1.01171875, -3e-3, 65504, 3e38, np.inf], np.float32)
    out, back = np.zeros(len(values), WIRE_TYPES[wire]), np.zeros_like(values)
    to_wire(values, out)
    from_wire(out, back)
    if wire == "bfloat16":
        assert back[2:5].tolist() == [1.0, 1.0, 1.015625]  # ties go to even
        assert np.isinf(back[-1])
    else:
        with np.errstate(over="ignore"):
            assert np.array_equal(back, values.astype(np.float16).astype(np.float32))
    to_wire(np.full(1, np.nan, np.float32), out[:1])
    from_wire(out[:1], back[:1])
    assert np.isnan(back[0])


@pytest.mark.parametrize("place", range(4))
def test_sums_are_in_order_wherever_ones_own_part_is(place):
    parts = [_vector(100, rank, 0) for rank in range(4)]
    expected = ((parts[0] + parts[1]) + parts[2]) + parts[3]
    spare = np.zeros(100, np.float32)
    sum_in_order(parts[:place], parts[place], parts[place + 1 :], spare)
    assert np.array_equal(parts[place], expected)


def test_ranks_of_one_process_exchange_too(local2):
    found = run_rank_job(local2.parallelize(range(2), 2), _check_sums, same_host=False)
    assert [wrong for wrong, _ in found] == [[], []]


def test_a_body_must_pickle(local2):
    import threading

    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"could not be sent.*_thread.lock.*Leave"):
        run_rank_job(local2.parallelize(range(2), 2), lambda rank: lock)
