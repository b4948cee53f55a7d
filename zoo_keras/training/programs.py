"""A model's State and programs in this process, which is the only rank.

In: a Model, and batches as its Programs take them. Out: changed weights and metrics, predictions;
for a fit on Spark and for scoring, the State. Knows no loop over data.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from zoo_keras import native
from zoo_keras import variables as weights_module
from zoo_keras.dtypes import storage
from zoo_keras.engine import spaces
from zoo_keras.engine.program import Program, join
from zoo_keras.engine.runner import Call, Crew, Loaded, Packed, Runner
from zoo_keras.graph import Spec, Tensor, input_tensor, not_tracing
from zoo_keras.layers.base.eager import is_known
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.primitives.straight import settings
from zoo_keras.primitives.tile_choice import inference_dtype
from zoo_keras.recent import Recent
from zoo_keras.training import own_steps, steps
from zoo_keras.training.compiled import plain
from zoo_keras.training.constraints import constraint_program
from zoo_keras.training.data import Batch
from zoo_keras.training.interface import TrainedModel
from zoo_keras.training.own_steps import beside_float32, defined, is_shared_whole
from zoo_keras.training.row_updates import TablesChanged
from zoo_keras.training.state import State, signature
from zoo_keras.training.update import (
    Slice,
    clips_by_norm,
    norm_program,
    update_program,
    whole_update_program,
)

PROGRAMS = 1024  # of a model, for as many shapes of batches
PROGRAM_BYTES = 512 << 20


class _Ready:
    """A program bound to the model's state.

    structure and specs: of the outputs of a prediction. structured: when it was seen to fit the
    Variables and the function of the model.
    """

    def __init__(
        self, state: State, first: Runner, structure: Any = None, specs: Sequence[Spec] = ()
    ) -> None:
        self.state, self.guard, self.crew = state, state.guard, Crew(first)
        self.structure, self.specs = structure, list(specs)
        self.nested = structure if isinstance(structure, (list, tuple, dict)) else None
        self.call = Call(self.crew, [spaces.X(0)], self.specs)
        self.random = spaces.RNG in first.program.spaces
        self.alone = self.random or first.loaded.changes()  # one thread at a time
        self.structured, self.function = 0, None
        self.shapes: list[tuple[int, ...]] = []  # of the inputs

    def shared(self) -> dict[int, int]:
        packed = self.crew.first.loaded.packed
        return {id(packed): packed.array.nbytes}

    def run(
        self, batch: Batch, outs: Sequence[np.ndarray] = (), version: Any = None,
        draw: int | None = None,
    ) -> None:  # fmt: skip
        """Run on a batch; the caller has entered the guard. draw: the step that random ops see."""
        runner = self.crew.take()
        try:
            fed = {n: np.ascontiguousarray(a) for n, a in spaces.of_batch(batch[:3]).items()}
            fed.update(spaces.OUT.named(outs))
            if draw is not None:
                fed[spaces.RNG] = np.array([draw, 0], np.int64)
            for space, array in fed.items():
                runner.lend(space, array)
            runner.run(version)
        finally:
            self.crew.give_back(runner)


class ModelPrograms:
    """Compiles and runs a model's programs here, one set for each batch shape.

    Any thread may call it. `lock` is held by who prepares, traces or compiles; runs take the guard
    of the State: predictions read side by side, what changes something waits its turn.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.lock = threading.RLock()
        self.state: State | None = None
        self._signature: Any = None
        self._made_for: Any = None  # optimizer, and the state of all models, when it was checked
        self._seen = self._changed = 0
        self._whole = -1, False  # the state of all models, and whether steps are traced whole
        self._programs = Recent(PROGRAMS, PROGRAM_BYTES, _Ready.shared)
        self._packs: WeakValueDictionary[bytes, Packed] = WeakValueDictionary()
        self._outputs = Recent(PROGRAMS, PROGRAM_BYTES)
        self.rng = np.zeros(2, np.int64)
        self._settler: Runner | None = None
        self._known: Any = None  # State, edits of the layers, and the digest of both
        self.behind: Callable[[], None] | None = None  # brings newer weights here from elsewhere

    # ---- preparing -----------------------------------------------------------------------------

    def prepare(self, batch: Batch | None, training: bool, ranks: bool = False) -> State:
        """The State, made for the model as it is now, with all weights up to date: for ranks and
        tasks, whose update is of the model's optimizer also where the step is a user's.

        Args:
            ranks: it is for ranks that train.
        """
        with self.lock:
            whole = is_shared_whole(self.model) if ranks else defined(self.model, "train")
            if batch is not None and training and whole:
                self._make_variables("train", batch)
                shapes = steps.shapes_of(batch)
                sharing = steps.sharing_of(self.model, shapes, batch.structure)
                phased = sharing is not None and not sharing.is_plain()
                shared = sharing.optimizers() if sharing and phased else ()
                state = self._state(training, ranks=True, shared=shared)
            else:
                state = self._prepared(batch, training)
            self.settle()
            return state

    def _look(self) -> None:
        """Notice what was done to the model: layers that came or went, and Variables in the hands
        of another model that shares them. Costs next to nothing when no model was changed."""
        if self._seen == weights_module.structure():
            return
        changed = self.model.last_change()
        if changed != self._changed:
            self._changed, self._signature = changed, None
            self._outputs.clear()
        if self.state is not None:
            self.state.reclaim()
            self._settle_before_reads()
        self._seen = weights_module.structure()

    def _traced(self, make: Callable[[], Any]) -> Any:
        """What `make` gives by tracing the model; layers that this builds are no change."""
        made = make()
        self._changed = self.model.last_change()
        return made

    def _prepared(self, batch: Batch | None, training: bool) -> State:
        """Make the weights and the flat vectors; forget programs when the model has changed."""
        model = self.model
        self._look()
        if batch is not None and (not model.built or model._function is None):
            self.outputs(batch)
        if batch is not None and (training or model.compiled):
            self.resolve(batch)
        return self._state(training)

    def _state(self, training: bool, ranks: bool = False, shared: Sequence[Any] = ()) -> State:
        """The State of the Variables that there are now. Optimizers of the model's own steps are
        none of it but for ranks: a step's program adopts what it uses."""
        model = self.model
        own = self._is_whole() and not ranks
        optimizer = model.optimizer if training and not own and not shared else None
        users = (optimizer, *shared)
        if self.state is not None and self._made_for == (users, weights_module.structure()):
            return self.state
        now = (signature(model, model._all_metrics(), optimizer), tuple(map(id, shared)))
        if self.state is None or now != self._signature:
            if optimizer is not None:
                optimizer.build(model.trainable_variables)
            self.state = State(model, model._all_metrics(), optimizer, shared)
            self._signature = now
            self._programs.clear()
            self._packs.clear()
            self._settler = None
        self._made_for = (users, weights_module.structure())
        return self.state

    def _make_variables(self, kind: str, batch: Batch) -> None:
        """What a step of the model's own needs, made by tracing it once."""
        self._look()
        shapes = steps.shapes_of(batch)
        key = (kind, shapes.with_rows(1))
        if self._outputs.get(key) is not None:
            return
        given = self.model._require_compiled(f"{kind}_step").arguments
        if any(given[what] for what in ("loss", "metrics", "weighted_metrics")):
            self.resolve(batch)
        structure = batch.structure
        self._traced(lambda: own_steps.make_variables(self.model, kind, shapes, structure))
        self._outputs.put(key, (), 0)

    def outputs(self, batch: Batch) -> list[Tensor]:
        """Tensors like the model's outputs, without history; makes the weights.

        A call is traced once for all batches that differ in their rows only, and the outputs have
        the rows of the first.
        """
        with self.lock:
            self._look()
            shapes = steps.shapes_of(batch)
            key = shapes.with_rows(1)
            found: list[Tensor] | None = self._outputs.get(key)
            if found is None:
                made = self._traced(lambda: steps.ensure_built(self.model, shapes, batch.structure))
                found = [input_tensor("output", *t.spec) for t in made]
                self._outputs.put(key, found, 0)
            return found

    def resolve(self, batch: Batch) -> None:
        """Make losses and metrics for the outputs of such a batch."""
        compiled = self.model._require_compiled("training")
        if not compiled.resolved:
            preds = self.outputs(batch)
            targets = steps.target_tensors(steps.shapes_of(batch))
            compiled.resolve(self.model.output_names, targets, preds)

    def _ready(self, key: Any, batch: Batch, make: Callable[[steps.Shapes], _Ready]) -> _Ready:
        found: _Ready | None = self._programs.get(key)
        if found is None:
            found = self._traced(lambda: make(steps.shapes_of(batch)))
            found.shapes = [a.shape for a in batch.x]
            runner = found.crew.first
            own = sum(a.nbytes for n, a in runner.arrays.items() if _of_a_batch(n))
            self._programs.put(key, found, runner.loaded.nbytes + own)
        return found

    def programs(self) -> list[tuple[str, list[tuple[int, ...]], Program]]:
        """What is compiled now: ("train", "test" or "predict", shapes of the inputs, Program)."""
        return [
            (key[0] if key[0] in ("train", "test") else "predict", r.shapes, r.crew.first.program)
            for key, r in self._programs.items()
        ]

    def _bound(self, program: Any) -> Runner:
        """A Runner on the model's state."""
        runner = Runner(Loaded(program, self._packs))
        for name, array in self.state.arrays().items() if self.state else ():
            runner.set(name, array)
        runner.set(spaces.RNG, self.rng)
        return runner

    # ---- steps ---------------------------------------------------------------------------------

    def run_own(self, kind: str, batch: Batch) -> dict[str, Any]:
        """A "train" or "test" step that the model's class defines; returns its logs."""
        with self.lock:
            self._make_variables(kind, batch)
            state = self._state(training=False)
            key = (kind, steps.shapes_of(batch))
            ready = self._ready(key, batch, lambda s: self._own_step(kind, s, batch, state))
            with state.guard.writing():
                self._look()
                outs = [np.empty(spec.shape, storage(spec.dtype)) for spec in ready.specs]
                ready.run(batch, outs, draw=self._own_draw(kind, ready))
                state.guard.touched()
                weights_module.touch()
        return {name: plain(out) for name, out in zip(ready.structure, outs, strict=True)}

    def run_eagerly(self, kind: str, batch: Batch) -> Any:
        """A step op by op; returns logs, or the outputs of a prediction."""
        with self.lock, weights_module.changing(self.model.weights):
            found = own_steps.eager_step(self.model, kind, batch)
        if kind == "predict":
            return found
        return {name: plain(value) for name, value in (found or {}).items()}

    def _own_draw(self, kind: str, ready: _Ready) -> int | None:
        """The step that random ops see: as in other training the optimizer's, if it is used."""
        optimizer = self.model.optimizer
        if kind == "train" and id(optimizer.steps_done) in ready.state.places:
            return int(optimizer.steps_done) if ready.random else None
        return self._next_draw(ready)

    def _own_step(self, kind: str, shapes: steps.Shapes, batch: Batch, state: State) -> _Ready:
        made = own_steps.step_program(self.model, state, kind, shapes, batch.structure)
        return _Ready(state, self._bound(made.program), made.names, made.specs)

    def _is_whole(self) -> bool:
        """Whether a step is traced as one function: the class defines it, or weights are no
        float32, so that they lie in no flat vector."""
        now = weights_module.structure()
        if self._whole[0] != now:
            found = bool(defined(self.model, "train") or beside_float32(self.model))
            self._whole = now, found
        return self._whole[1]

    def train(self, batch: Batch) -> dict[str, Any] | None:
        """One step: gradient, update, constraints. Returns logs where the step is traced whole."""
        with self.lock:
            state = self._prepared(batch, training=True)
            if self._is_whole():
                return self.run_own("train", batch)
            key = ("train", steps.shapes_of(batch))
            ready = self._ready(
                key, batch, lambda s: _Ready(state, self._train_runner(s, batch, state))
            )
            with state.guard.writing():
                self._look()
                self._step(ready, batch, state)
        return None

    def _step(self, ready: _Ready, batch: Batch, state: State) -> None:
        optimizer = self.model.optimizer
        if state.tables and state.tables.full:
            self.settle()
        self.rng[0] = int(optimizer.steps_done)
        optimizer.ask_rate()
        ready.run(batch)
        if state.tables:
            state.tables.note()
        optimizer.count_step()
        self._after_update(getattr(optimizer, "inner_optimizer", optimizer))

    def _train_runner(self, shapes: steps.Shapes, batch: Batch, state: State) -> Runner:
        optimizer = self.model.optimizer
        program = self._gradient_program(shapes, batch, state)
        state.allocate_gradients(program.bytes_of(spaces.GRADS) // 4)
        if state.weights.size:
            program = self._with_update(program, state)
            if constraints := constraint_program(state):
                program = join(program, constraints)
        runner = self._bound(program)
        runner.set(spaces.NORMS, np.zeros(len(state.weights.offsets), np.float32))
        runner.set(spaces.RATE, optimizer.rate_array())
        runner.set(spaces.ITERATIONS, optimizer.steps_done.present())
        for space in program.spaces:  # gradients of tables, as large as the batch has ids
            if _of_a_batch(space):
                runner.set(space, native.aligned(program.bytes_of(space)))
        return runner

    def _gradient_program(self, shapes: steps.Shapes, batch: Batch, state: State) -> Program:
        try:
            program = steps.gradient_program(self.model, state, shapes, batch.structure)
        except TablesChanged:
            with state.guard.writing():
                self.settle()
                state.tables = self._settler = None
            self._programs.discard(lambda key: key[0] == "train")
            program = steps.gradient_program(self.model, state, shapes, batch.structure)
        self._settle_before_reads()
        return program

    def _settle_before_reads(self) -> None:
        tables = self.state.tables if self.state else None
        for variable in tables.variables() if tables else ():
            variable.before_read = self.settle

    def _with_update(self, gradient: Program, state: State) -> Program:
        """The gradient program followed by the update."""
        optimizer, tables = self.model.optimizer, state.tables
        if optimizer.flat_step() is None:
            return join(gradient, whole_update_program(optimizer, state))
        part = Slice(0, state.weights.size, tuple(state.weights.offsets))
        decayed = [optimizer.decays(v) for v in state.weights.variables]
        counts = tables.counts(gradient) if tables else ()
        update = update_program(optimizer, part, decayed, tables, counts)
        if clips_by_norm(optimizer):
            gradient = join(gradient, norm_program(part, tables), {spaces.OUT(0): spaces.NORMS})
        return join(gradient, update)

    def trained(self) -> list[Any]:
        """The weights that training changes."""
        return self.state.trained if self.state else self.model.trainable_variables

    def settle(self) -> None:
        """Bring rows up to date that lag behind the steps made; see `training.row_updates`."""
        if self.behind is not None:
            self.behind()
        state = self.state
        tables = state.tables if state else None
        if state is None or tables is None or not tables.noted:
            return
        with state.guard.writing():
            if not tables.noted:  # another thread was quicker
                return
            if self._settler is None:
                with not_tracing():
                    self._settler = self._bound(tables.settle_program())
            self._settler.run()
            tables.noted[...] = 0
            state.guard.touched()

    def _after_update(self, optimizer: Any) -> None:
        """EMA overwriting, and a note that weights have changed."""
        every = optimizer.ema_overwrite_frequency if optimizer.use_ema else None
        if every and int(optimizer.steps_done) % every == 0:
            optimizer.overwrite_with_average(self.trained())
        if self.state is not None:
            self.state.guard.touched()
        weights_module.touch()

    def test(self, batch: Batch) -> None:
        """Add one batch to the metrics."""
        with self.lock:
            state = self._prepared(batch, training=self.model._has_trained())
            key = ("test", steps.shapes_of(batch))
            ready = self._ready(key, batch, lambda s: self._evaluator(s, batch, state))
            with state.guard.writing():
                self._look()
                self.settle()
                ready.run(batch, draw=self._next_draw(ready))

    def _evaluator(self, shapes: steps.Shapes, batch: Batch, state: State) -> _Ready:
        program = steps.evaluate_program(self.model, state, shapes, batch.structure)
        return _Ready(state, self._bound(program))

    def predict(self, batch: Batch) -> Any:
        """Outputs of one batch, nested as the model nests them."""
        while True:
            with self.lock:
                state = self._prepared(batch, training=self.model._has_trained())
                self.settle()
                key = _prediction_key(batch)
                ready = self._ready(
                    key, batch, functools.partial(self._predictor, batch=batch, state=state)
                )
            found = self._predicted(ready, batch)
            if found is not None:
                return pack_as(ready.structure, found)

    def _predicted(self, ready: _Ready, batch: Batch) -> list[np.ndarray] | None:
        """Outputs, or None: another thread has changed something since the program was found."""
        guard = ready.guard
        with guard.writing() if ready.alone else guard.reading():
            if self._seen != weights_module.structure() or self._behind(ready):
                return None
            outs = [np.empty(spec.shape, storage(spec.dtype)) for spec in ready.specs]
            ready.run(batch, outs, guard.version, self._next_draw(ready))
            ready.structured, ready.function = self._seen, self.model._function
        return outs

    def _next_draw(self, ready: _Ready) -> int | None:
        """Random ops of evaluation and prediction draw other numbers in every batch."""
        return self.model.next_draw() if ready.random else None

    def _behind(self, ready: _Ready) -> bool:
        """Whether the program is of another State, or rows lag behind."""
        tables = ready.state.tables
        return ready.state is not self.state or bool(tables is not None and tables.noted)

    def predict_quickly(self, x: Any) -> Any:
        """Outputs of a batch whose shape was seen before, or None: then `predict` it.

        Small models spend most of their time in checks; this path has only what may have changed.
        """
        if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.flags.writeable:
            return None
        ready = self._programs.get((x.shape, x.dtype, inference_dtype()))
        if ready is None or ready.alone or self.behind is not None:
            return None
        guard = ready.guard
        guard.enter()
        try:
            if ready.structured != weights_module.structure() or self._behind(ready):
                return None
            if ready.function is not self.model._function:
                return None
            if ready.nested is None:
                return ready.call.one(x, guard.version)
            return pack_as(ready.nested, ready.call([x], guard.version))
        finally:
            guard.leave()

    def _predictor(self, shapes: steps.Shapes, batch: Batch, state: State) -> _Ready:
        """A program of this model, or of an equal one that this process had before: a worker gets
        the model of a closure anew for every task."""
        key = (shapes, repr(batch.structure[0]), settings(), self._architecture(state))
        found = _of_equals.get(key) if key[-1] else None
        if found is None:
            program, outputs = steps.predict_program(self.model, state, shapes, batch.structure)
            structure = map_structure(lambda tensor: None, outputs)  # tensors hold their graph
            found = program, structure, [t.spec for t in flatten(outputs)]
            if key[-1] and spaces.RNG not in program.spaces:
                _of_equals.put(key, found, program.nbytes)
        program, structure, specs = found
        return _Ready(state, self._bound(program), structure, specs)

    def _architecture(self, state: State) -> bytes:
        """Equal for models that compute the same from their Variables; empty when that cannot be
        told, because code of the user's takes part, or when a sample is looked at meanwhile."""
        edits = self.model.edits()
        if self._known is None or self._known[0] is not state or self._known[1] != edits:
            self._known = state, edits, _digest(self.model, state)
        return self._known[2]


# Programs that any equal model may run: (program, structure of the outputs, their Specs).
_of_equals = Recent(128, 64 << 20)


def _digest(model: TrainedModel, state: State) -> bytes:
    watched = any(getattr(layer, "seen", None) is not None for layer in model._flatten_layers())
    if watched or not all(map(is_known, model._flatten_layers())):
        return b""
    places = [(v.shape, v.dtype, *state.place(v)) for v in [*model.weights, *model.carried]]
    config = json.dumps(model.get_config(), sort_keys=True, default=repr)
    flags = [(layer.trainable, getattr(layer, "supports_masking", None))
             for layer in model._flatten_layers()]  # fmt: skip
    text = repr((type(model).__name__, config, places, flags))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _of_a_batch(space: str) -> bool:
    """Whether a space is as large as a batch has ids."""
    return space in spaces.ROWS or space in spaces.SORTED


def _prediction_key(batch: Batch) -> Any:
    """By which a program is looked up; for one plain array it takes no time to make."""
    if batch.structure[0] == 0:
        return batch.x[0].shape, batch.x[0].dtype, inference_dtype()
    return "predict", steps.shapes_of(batch), inference_dtype()
