"""The local runtime: this process is the only rank. Batches in, changed weights and metrics out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import config, native
from zoo_keras import weights as weights_module
from zoo_keras.execute import Predictor, Runner
from zoo_keras.feed.feed import Feed
from zoo_keras.graph import Tensor, input_tensor, not_tracing
from zoo_keras.nest import flatten, pack_as
from zoo_keras.program import Program, join
from zoo_keras.training import steps
from zoo_keras.training.constraints import constraint_program
from zoo_keras.training.data import Batch
from zoo_keras.training.sparse import TablesChanged
from zoo_keras.training.state import State, signature
from zoo_keras.training.update import (
    Slice,
    clips_by_norm,
    norm_program,
    update_program,
    whole_update_program,
)


class LocalRuntime:
    """Compiles and runs a model's programs here, one set for each batch shape."""

    def __init__(self, model: Any) -> None:
        config.load_mkl()
        self.model = model
        self.state: State | None = None
        self._signature: Any = None
        self._made_for: Any = None  # optimizer, and the state of all models, when it was checked
        self._seen = self._changed = 0
        self._runners: dict[Any, Any] = {}
        self._outputs: dict[steps.Shapes, list[Tensor]] = {}
        self.rng = np.zeros(2, np.int64)
        self._arena: np.ndarray | None = None
        self._quick: dict[Any, Any] = {}
        self._settler: Runner | None = None

    # ---- preparing -----------------------------------------------------------------------------

    def prepare(self, batch: Batch | None, training: bool) -> State:
        """The State, made for the model as it is now, with all weights up to date."""
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
        if training or model.compiled:
            model._resolve_outputs(batch)
        optimizer = model.optimizer if training else None
        if self.state is not None and self._made_for == (optimizer, weights_module.structure()):
            return self.state
        now = signature(model, model._all_metrics(), optimizer)
        if self.state is None or now != self._signature:
            if optimizer is not None:
                optimizer.build(model.trainable_variables)
            self.state = State(model, model._all_metrics(), optimizer)
            self._signature = now
            self._runners.clear()
            self._quick.clear()
            self._settler = None
        self._made_for = (optimizer, weights_module.structure())
        return self.state

    def outputs(self, batch: Batch) -> list[Tensor]:
        """Tensors like the model's outputs, without history; makes the weights.

        A call is traced once for all batches that differ in their rows only, and the outputs have
        the rows of the first.
        """
        self._look()
        shapes = steps.shapes_of(batch)
        key = shapes.with_rows(1)
        if key not in self._outputs:
            made = self._traced(lambda: steps.ensure_built(self.model, shapes, batch.structure))
            self._outputs[key] = [input_tensor("output", *t.spec) for t in made]
        return self._outputs[key]

    def _runner(self, mode: str, batch: Batch, make: Callable[[steps.Shapes], Any]) -> Any:
        shapes = steps.shapes_of(batch)
        key = (mode, shapes)
        if key not in self._runners:
            self._runners[key] = self._traced(lambda: make(shapes))
        return self._runners[key]

    def _bound(self, program: Any) -> Runner:
        """A Runner on the model's state; all programs share one arena."""
        need = program.bytes_of("arena")
        if self._arena is None or self._arena.nbytes < need:
            self._arena = native.aligned(need)
        runner = Runner(program, self._arena)
        for name, array in self.state.arrays().items() if self.state else ():
            runner.set(name, array)
        runner.set("rng", self.rng)
        return runner

    @staticmethod
    def _feed(runner: Runner, batch: Batch) -> None:
        for letter, arrays in (("x", batch.x), ("y", batch.y), ("w", batch.weights)):
            for i, array in enumerate(arrays):
                runner.set(f"{letter}{i}", np.ascontiguousarray(array))

    # ---- steps ---------------------------------------------------------------------------------

    def train(self, batch: Batch) -> None:
        """One step: gradient, update, constraints."""
        state = self._prepared(batch, training=True)
        runner = self._runner("train", batch, lambda s: self._train_runner(s, batch, state))
        optimizer = self.model.optimizer
        if state.tables and state.tables.full:
            self.settle()
        self.rng[0] = int(optimizer.iterations)
        self._feed(runner, batch)
        runner.run()
        if state.tables:
            state.tables.note()
        optimizer.count_step()
        self._after_update(getattr(optimizer, "inner_optimizer", optimizer))

    def _train_runner(self, shapes: steps.Shapes, batch: Batch, state: State) -> Runner:
        optimizer = self.model.optimizer
        program = self._gradient_program(shapes, batch, state)
        state.allocate_gradients(program.bytes_of("grads") // 4)
        if state.weights.size:
            program = self._with_update(program, state)
            if constraints := constraint_program(state):
                program = join(program, constraints)
        runner = self._bound(program)
        runner.set("norms", np.zeros(len(state.weights.offsets), np.float32))
        runner.set("lr", optimizer.rate_array())
        runner.set("iterations", np.asarray(optimizer.iterations.value))
        for space in program.spaces:  # gradients of tables, as large as the batch has ids
            if space.startswith(("rows", "sorted")):
                runner.set(space, native.aligned(program.bytes_of(space)))
        return runner

    def _gradient_program(self, shapes: steps.Shapes, batch: Batch, state: State) -> Program:
        try:
            program = steps.gradient_program(self.model, state, shapes, batch.structure)
        except TablesChanged:
            self.settle()
            state.tables = self._settler = None
            self._runners = {k: v for k, v in self._runners.items() if k[0] != "train"}
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
            gradient = join(gradient, norm_program(part, tables), {"out0": "norms"})
        return join(gradient, update)

    def trained(self) -> list[Any]:
        """The weights that training changes."""
        return self.state.trained if self.state else self.model.trainable_variables

    def settle(self) -> None:
        """Bring rows up to date that lag behind the steps made; see `training.sparse`."""
        tables = self.state.tables if self.state else None
        if tables is None or not tables.noted:
            return
        if self._settler is None:
            with not_tracing():
                self._settler = self._bound(tables.settle_program())
        self._settler.run()
        tables.noted[...] = 0

    def _after_update(self, optimizer: Any) -> None:
        """EMA overwriting, and a note that weights have changed."""
        every = optimizer.ema_overwrite_frequency if optimizer.use_ema else None
        if every and int(optimizer.iterations) % every == 0:
            optimizer.overwrite_with_average(self.trained())
        weights_module.touch()

    def test(self, batch: Batch) -> None:
        """Add one batch to the metrics."""
        state = self.prepare(batch, training=self.model._has_trained())
        runner = self._runner(
            "test", batch,
            lambda s: self._bound(steps.evaluate_program(self.model, state, s, batch.structure)),
        )  # fmt: skip
        self._feed(runner, batch)
        runner.run()

    def predict(self, batch: Batch) -> Any:
        """Outputs of one batch, nested as the model nests them."""
        state = self.prepare(batch, training=self.model._has_trained())
        made = self._runner("predict", batch, lambda s: self._predictor(s, batch, state))
        runner, structure, specs = made
        outs = [np.empty(spec.shape, spec.dtype) for spec in specs]
        for i, array in enumerate(batch.x):
            runner.set(f"x{i}", np.ascontiguousarray(array))
        for i, out in enumerate(outs):
            runner.set(f"out{i}", out)
        runner.run(version=weights_module.version())
        self._remember(batch, runner, structure, specs)
        return pack_as(structure, outs)

    def predict_quickly(self, x: Any) -> Any:
        """Outputs of a batch whose shape was seen before, or None: then `predict` it.

        Small models spend most of their time in checks; this path has only what may have changed.
        """
        if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.flags.writeable:
            return None
        entry = self._quick.get((x.shape, x.dtype))
        if entry is None or entry[0] != (weights_module.structure(), id(self.model._function)):
            return None
        self.settle()
        outs = entry[1](x, weights_module.version())
        return outs[0] if entry[2] is None else pack_as(entry[2], outs)

    def _remember(self, batch: Batch, runner: Runner, structure: Any, specs: list[Any]) -> None:
        if len(batch.x) == 1 and not isinstance(batch.structure[0], Feed):
            stamp = (weights_module.structure(), id(self.model._function))
            nested = structure if isinstance(structure, (list, tuple, dict)) else None
            key = (batch.x[0].shape, batch.x[0].dtype)
            self._quick[key] = (stamp, Predictor(runner, specs), nested)

    def _predictor(self, shapes: steps.Shapes, batch: Batch, state: State) -> Any:
        program, outputs = steps.predict_program(self.model, state, shapes, batch.structure)
        return self._bound(program), outputs, [t.spec for t in flatten(outputs)]
