"""One rank of a fit whose step gives gradients to several optimizers, or more than once, or has
layers that share statistics.

In: a RankContext and a FitPlan with exchanges; Programs of phases (see training/phases.py). Out:
what any rank gives. Ranks add up gradients between phases, and each makes every update.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.engine import spaces
from zoo_keras.engine.runner import Runner
from zoo_keras.spark.fit.rank import WholeWorker
from zoo_keras.spark.transport.allreduce import AllReduce


class PhasedWorker(WholeWorker):
    """The ring of a RankWorker carries the state of layers alone; each set of weights that an
    optimizer is given has a ring for the sums of its gradients, and statistics that layers share
    have one for each size."""

    def _allocate(self) -> None:
        plan = self.plan
        self.rings = [
            self.rank.all_reduce(ring.size, wire="float32" if ring.exact else plan.wire)
            for ring in plan.rings
        ]
        self.tail = plan.tail._replace(begin=0)
        self.ring = self.rank.all_reduce(self.tail.end, wire=plan.wire)
        self.current = native.aligned(4 * plan.tail.end).view(np.float32)
        self.constrained = None
        self.phases: dict[int, list[Runner | None]] = {}
        self._allocate_rest(0, plan.weights)

    def _train_programs(self) -> list[str]:
        sizes = self.schedule.sizes(self.rank.rank)
        idle = self.data.rows < self.schedule.steps  # in some steps this rank has no rows
        return [f"phases:{n}" for n in [*sizes, *([0] if idle else [])]]

    def _phases_of(self, rows: int) -> list[Runner | None]:
        """The phases of a step with so many rows, on this rank's memory."""
        if rows not in self.phases:
            programs = pickle.loads(self._blob(f"phases:{rows}").tobytes())
            carried: dict[str, np.ndarray] = {}
            for program in filter(None, programs):
                for space in filter(spaces.CARRY.__contains__, program.spaces):
                    carried.setdefault(space, native.aligned(program.bytes_of(space)))
            known = {**self._spaces(), **carried}
            self.phases[rows] = [
                self._bound(program, {**known, **self._of_phase(number)})
                for number, program in enumerate(programs)
            ]
        return self.phases[rows]

    def _of_phase(self, number: int) -> dict[str, np.ndarray]:
        """Where a phase finds what was summed before it, and leaves what is summed after it."""
        found, rings = {}, [self.rings[i] for i in self.plan.exchanges]
        if number:
            found[spaces.SUMS] = rings[number - 1].weights
        if number < len(rings):
            found[spaces.GRADS] = rings[number].gradient
        return found

    @staticmethod
    def _bound(program: Any, known: dict[str, np.ndarray]) -> Runner | None:
        if program is None:
            return None
        runner = Runner(program)
        for space, array in known.items():
            runner.set(space, array)
        return runner

    def _gradient(self, rows: Any, count: int) -> None:
        runners = self._phases_of(count)
        fed = self._batch(self.plan.layout, self.data.columns, rows) if count else {}
        rings = [self.rings[i] for i in self.plan.exchanges]
        for runner, ring in zip(runners, [*rings, None], strict=True):
            if runner is not None:
                for space, array in fed.items():
                    runner.set(space, array)
                runner.run()
            if ring is not None:
                if not count:
                    ring.gradient[:] = 0
                self._sum_up(ring)
        before = self.current[self.plan.weights :]
        self.tail.put_moves(self.state, before, self.share, self.ring.gradient)

    def _sum_up(self, ring: AllReduce) -> None:
        """The sums of the gradients of all ranks, to every rank."""
        alone = self.clock.apart()
        self.clock.lap("compute")
        notes = ring.reduce_scatter([alone])
        self.clock.met(alone, notes[:, 0].tolist())
        self._spread(ring)

    def _move(self, exact: bool) -> None:
        self._spread(self.ring)
        self.current[self.plan.weights :] += self.ring.weights
        self.iterations[...] += 1
        self._after_gather()

    def close(self) -> None:
        for ring in self.rings:
            ring.close()
        super().close()
