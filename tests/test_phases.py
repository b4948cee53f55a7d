"""Steps with several optimizers, run in phases by ranks that add up gradients between them."""

from __future__ import annotations

import numpy as np
import pytest
from steps_in_phases import MODELS, built, moved, rows

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.engine import spaces
from zoo_keras.engine.runner import Runner
from zoo_keras.errors import UnsupportedError
from zoo_keras.training import steps
from zoo_keras.training.data import batch_of

X = rows(12)


class Rank:
    """What one rank keeps: a copy of everything that the model's State holds."""

    def __init__(self, model, state, share, first):
        self.model, self.state = model, state
        self.arrays = {name: array.copy() for name, array in state.arrays().items()}
        self.arrays[spaces.LOGS] = np.zeros(1, np.float32)
        self.arrays[spaces.SHARE] = np.float32(share) * np.ones((), "f4")
        self.arrays[spaces.RNG] = np.array([0, first], np.int64)

    def begin(self, step, x):
        batch = batch_of((x,) if len(x) else (X[:2],))
        shapes = steps.shapes_of(batch).with_rows(len(x))
        made = steps.phase_programs(self.model, self.state, shapes, batch.structure)
        self.rows = len(x)
        self.arrays[spaces.RNG][0] = step
        self.arrays[spaces.X(0)] = x
        self.arrays[spaces.METRICS][:] = 0  # as train_on_batch does
        for program in filter(None, made):
            for space in filter(spaces.CARRY.__contains__, program.spaces):
                self.arrays[space] = np.zeros(program.bytes_of(space), np.uint8)
        self.programs = iter(made)

    def phase(self, size, sums):
        """The gradient that this rank adds to the sums of the phase."""
        self.arrays[spaces.GRADS] = np.zeros(size, np.float32)
        self.arrays[spaces.SUMS] = sums
        program = next(self.programs)
        if program is not None:
            runner = Runner(program)
            for space, array in self.arrays.items():
                runner.set(space, array)
            runner.run()
        return self.arrays[spaces.GRADS]


def held(rank, variable):
    """What a rank has in the place of a Variable of the State."""
    place = rank.state.place(variable)
    array = rank.arrays[place.space].reshape(-1).view(variable.dtype)
    first, size = place.offset // array.itemsize, int(np.prod(variable.shape))
    return array[first : first + size].reshape(variable.shape)


def train_in_phases(model, parts, count):
    """`count` steps by ranks of so many rows; returns the ranks."""
    batch = batch_of((X,))
    state = model._local().prepare(batch, training=True)
    sharing = steps.sharing_of(model, steps.shapes_of(batch), batch.structure)
    sizes = [e.size for e in sharing.exchanges]
    ends = np.cumsum([0, *parts])
    ranks = [Rank(model, state, n / sum(parts), first) for n, first in zip(parts, ends)]
    for step in range(count):
        for rank, lo, hi in zip(ranks, ends, ends[1:]):
            rank.begin(step, X[lo:hi])
        sums = np.zeros(0, np.float32)
        for size in [*sizes, 0]:
            sums = np.sum([rank.phase(size, sums) for rank in ranks], axis=0)
    return ranks


@pytest.mark.parametrize("parts", [(12,), (7, 0, 5)])
@pytest.mark.parametrize("name", MODELS)
def test_phases_of_ranks_make_the_steps_of_one(name, parts):
    alone, together = built(name, X), built(name, X)
    ranks = train_in_phases(together, parts, 3)
    for _ in range(3):
        logs = alone.train_on_batch(X, return_dict=True)
    if "last" in logs:
        np.testing.assert_allclose(sum(r.arrays[spaces.LOGS] for r in ranks), logs["last"], 1e-4)
    for rank in ranks:
        for ours, expected in zip(moved(together), moved(alone), strict=True):
            np.testing.assert_allclose(held(rank, ours), expected, rtol=3e-4, atol=3e-6)
    for ours, expected in zip(together.metrics, alone.metrics, strict=True):
        for mine, theirs in zip(ours.variables, expected.variables, strict=True):
            total = sum(held(rank, mine) for rank in ranks)
            np.testing.assert_allclose(total, theirs, rtol=3e-4)


def stepping(step):
    """A model with this train_step."""
    cls = type("Stepping", (keras.Model,), {"train_step": step})
    inputs = keras.Input((3,))
    model = cls(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


def from_the_batch(self, x):
    with keras.GradientTape() as tape:
        loss = ops.mean(self(x))
    self.optimizer.apply(tape.gradient(loss, self.weights), self.weights)
    self.weights[1].assign(self.weights[1] + ops.mean(x))
    return {}


REFUSED = [
    (lambda self, x: {}, "no call of an optimizer's apply"),
    (from_the_batch, r"Received: \['.*bias'\], assigned from the batch itself"),
]


@pytest.mark.parametrize(("step", "words"), REFUSED)
def test_what_ranks_cannot_share_is_refused(step, words):
    with pytest.raises(UnsupportedError, match=words):
        stepping(step)._local().prepare(batch_of((X,)), training=True)


def test_a_phase_computes_nothing_twice():
    """What is drawn once and used in every phase is carried, and so are no weights."""
    model = built("wasserstein", X)
    batch = batch_of((X,))
    state = model._local().prepare(batch, training=True)
    made = steps.phase_programs(model, state, steps.shapes_of(batch), batch.structure)
    assert len(made) == 5
    carried = {
        space: p.bytes_of(space) for p in made for space in p.spaces if space in spaces.CARRY
    }
    assert 0 < max(carried.values()) <= 4 * X.size
    assert sum(spaces.RNG in p.spaces for p in made) == 2
