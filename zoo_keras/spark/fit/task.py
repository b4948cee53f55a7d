"""The body of a fit's job: what the task of a rank does from its first row to its last epoch.

In: a RankContext and a FitPlan. Out: what a rank trains; see rank.py, phased.py and by_rows.py.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import native
from zoo_keras.spark.engine import check_engine, check_ranks
from zoo_keras.spark.fit.by_rows import RowsWorker
from zoo_keras.spark.fit.phased import PhasedWorker
from zoo_keras.spark.fit.plan import FitPlan
from zoo_keras.spark.fit.rank import RankWorker, WholeWorker
from zoo_keras.spark.fit.rank_data import RankData
from zoo_keras.spark.transport.job import RankContext
from zoo_keras.training.clock import Clock


def train_rank(
    rank: RankContext, plan: FitPlan, decode: Any = None, decode_tests: Any = None
) -> int:
    """The body of the job; returns the number of rows that this rank held.

    Args:
        decode, decode_tests: turn items (to train on, to validate on) into columns; None for
            records.
    """
    check_engine(plan.engine)
    native.set_threads(rank.cores)
    clock = Clock()
    data = RankData(rank, plan, decode, decode_tests)
    clock.lap("read")
    isa = native.instruction_set()
    facts = rank.gather({"rows": data.rows, "tests": data.test_rows, "isa": isa})
    check_ranks([f["isa"] for f in facts], plan.isa)
    worker = _kind(plan)(rank, plan, data, facts, clock)
    clock.lap("wait")
    for epoch in range(*plan.epochs):
        if not worker.gate(epoch):
            break
        worker.epoch(epoch)
    worker.gate(plan.epochs[1])
    worker.close()
    return data.rows


def _kind(plan: FitPlan) -> type[RankWorker]:
    if plan.exchanges:
        return PhasedWorker
    if plan.tables:
        return RowsWorker
    return WholeWorker if plan.whole else RankWorker
