"""Base of optimizers: slots, learning rate, clipping, weight decay, moving averages.

In: gradients and Variables. Out: Variables assigned anew, at once on arrays, as graph updates in a
trace. The engine traces the steps below on one flat Variable that holds all weights, so an
update_step must be elementwise (`elementwise = True`). Knows no model and no runtime.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import initializers, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ArgumentTypeError, ConfigError, ShapeError
from zoo_keras.graph import current_trace, not_tracing
from zoo_keras.naming import auto_name
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.arguments import check_arguments, older_rate
from zoo_keras.optimizers.clipping import clipped
from zoo_keras.optimizers.conditional import update_if
from zoo_keras.optimizers.restored import restore
from zoo_keras.optimizers.schedules import LearningRateSchedule
from zoo_keras.primitives.update import optimizer_update
from zoo_keras.stateless import holding, values_of
from zoo_keras.variables import Variable, updating

_BASE_CONFIG = (
    "weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip


class Fused(NamedTuple):
    """An update that the engine makes in one instruction: kind and numbers of
    `ops.update.optimizer_update`, and the names of the slots in its order."""

    kind: str
    how: tuple[float, ...]
    slots: tuple[str, ...]


class Optimizer:
    """Base of optimizers: override `build`, `update_step` and `get_config`.

    Args:
        learning_rate: a number, a LearningRateSchedule, or a function without arguments, which is
            asked before every step (on Spark: before every epoch).
        weight_decay: this share of each weight, times the learning rate, is taken off per step.
        clipnorm, clipvalue, global_clipnorm: limits of each gradient's norm, of its entries, of
            the norm of all gradients; at most one of them.
        use_ema, ema_momentum, ema_overwrite_frequency: keep a moving average of the weights, and
            put it in their place every so many steps (None: when training ends).
        gradient_accumulation_steps: update by the mean gradient of so many batches.
        loss_scale_factor: scale_loss multiplies by it, and apply divides gradients by it again.

    Source: https://keras.io/api/optimizers.
    """

    keras_module = "keras.optimizers"

    elementwise = True
    _rate_function: Callable[[], Any] | None = None
    _copied = False  # and not used yet: its state may go on with other weights of the same shapes

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        learning_rate = older_rate(type(self).__name__, learning_rate, kwargs)
        if kwargs:
            raise ConfigError(
                f"{type(self).__name__}: unknown arguments. Received: {sorted(kwargs)}. "
                "Use the arguments of Keras 3."
            )
        self.name = name or auto_name(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm, self.global_clipnorm, self.clipvalue = clipnorm, global_clipnorm, clipvalue
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        if gradient_accumulation_steps:
            self.elementwise = False  # no flat update: what a step does depends on its number
        check_arguments(self)
        self.built = False
        self._variables: list[Variable] = []
        self._trainable_variables: list[Variable] = []
        self._index: dict[int, int] = {}
        self._sums: list[Variable] = []  # of gradients since the last update
        self._slots: dict[str, list[Variable]] = {}
        self._undecayed: list[Variable] = []
        self._undecayed_names: re.Pattern[str] | None = None
        self._iterations = self.add_variable((), dtype="int32", name="iteration")
        self._learning_rate = self._rate_from(learning_rate)

    # ---- learning rate ---------------------------------------------------------------------------

    def _rate_from(self, given: Any) -> Any:
        if isinstance(given, LearningRateSchedule):
            return given
        if callable(given) and not isinstance(given, type):
            self._rate_function = given  # the rate is no Variable of the optimizer, as in Keras
            return Variable(np.float32(given()), trainable=False, name="learning_rate")
        if isinstance(given, bool) or not isinstance(given, (int, float, np.number)):
            raise ConfigError(
                f"{type(self).__name__}: learning_rate must be a number, a LearningRateSchedule or "
                f"a function. Received: {given!r}. Write a schedule class for a rate that changes."
            )
        start = initializers.Constant(float(given))
        return self.add_variable((), start, dtype="float32", name="learning_rate")

    @property
    def learning_rate(self) -> Any:
        """The Variable that holds the rate, or the schedule's value at the present step."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            return self._learning_rate(self._iterations)
        self.ask_rate()
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        fixed = isinstance(self._learning_rate, Variable)
        if isinstance(value, LearningRateSchedule):
            if self.built and fixed:
                raise ConfigError(
                    f"{self.name}: an optimizer in use keeps the kind of its learning rate. "
                    f"Received: {value}. Compile the model with a new optimizer."
                )
            self._variables = [v for v in self._variables if v is not self._learning_rate]
            self._learning_rate, self._rate_function = value, None
        elif callable(value):
            self._variables = [v for v in self._variables if v is not self._learning_rate]
            self._learning_rate = self._rate_from(value)
        elif not fixed or self._rate_function is not None:
            raise ArgumentTypeError(
                f"{self.name}: This optimizer was created with {self._rate_source()}, so that its "
                f"learning rate cannot be set. Received: {value!r}. Make it with a number."
            )
        else:
            self._learning_rate.assign(value)

    lr = learning_rate  # as Keras 2 calls it

    def rated(self) -> list[Any]:
        """The optimizers that have a learning rate: this one."""
        return [self]

    def ask_rate(self) -> None:
        """Take over the rate of now, where a function gives it."""
        if self._rate_function is not None and current_trace() is None:
            self._learning_rate.assign(np.float32(self._rate_function()))

    def rates(self) -> list[Variable]:
        """The Variables that hold learning rates, as they are now."""
        self.ask_rate()
        return [self._learning_rate] if isinstance(self._learning_rate, Variable) else []

    def _rate_source(self) -> str:
        kind = type(self._learning_rate).__name__
        return "a function" if self._rate_function else f"a `LearningRateSchedule` ({kind})"

    def current_learning_rate(self) -> Any:
        """The rate of this step as a float32 scalar (in a trace: a tensor)."""
        return as_dtype(self.learning_rate, "float32")

    def rate_array(self) -> np.ndarray:
        """The array () in which the learning rate lives; zeros when a schedule computes it."""
        self.ask_rate()
        if isinstance(self._learning_rate, Variable):
            return self._learning_rate.present()
        return np.zeros((), np.float32)

    # ---- variables -------------------------------------------------------------------------------

    @property
    def iterations(self) -> Any:
        """The updates done: `steps_done`, or with accumulated gradients a number made of it."""
        every = self.gradient_accumulation_steps
        return ops.floor_divide(self._iterations, every) if every else self._iterations

    @property
    def steps_done(self) -> Variable:
        """The Variable that counts the batches trained on, int32."""
        return self._iterations

    @property
    def variables(self) -> list[Variable]:
        """All Variables of the optimizer, in Keras' order."""
        return list(self._variables)

    def slots(self) -> dict[str, list[Variable]]:
        """Slot name -> one Variable for each weight, in the weights' order."""
        count = len(self._trainable_variables)
        return {name: made for name, made in self._slots.items() if len(made) == count}

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots for these weights. Slots are made by overriding this method."""
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._sums = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._trainable_variables = list(variables)
        self._index = {id(v): i for i, v in enumerate(variables)}
        self.built = True

    def _already_built(self, variables: Sequence[Variable]) -> bool:
        """Whether build may return at once; ConfigError when it was called for other weights."""
        known = self._trainable_variables
        if not self.built or [id(v) for v in variables] == [id(v) for v in known]:
            return self.built
        if not self._copied or [v.shape for v in variables] != [v.shape for v in known]:
            raise ConfigError(
                f"{self.name}: the optimizer was built for other weights. Received: "
                f"{[v.path for v in variables]}. Compile the model with a new optimizer."
            )
        self._take_over(variables)
        return True

    def _take_over(self, variables: Sequence[Variable]) -> None:
        """Go on with these weights in place of those that the copied optimizer had."""
        self._trainable_variables, self._copied = list(variables), False
        self._index = {id(v): i for i, v in enumerate(variables)}

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new Variable of the optimizer."""
        first = initializers.get(initializer)
        made = Variable(first, shape, dtype, trainable=False, aggregation=aggregation, name=name)
        made.path = f"{self.name}/{made.name}"
        self._variables.append(made)
        return made

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A slot: a Variable of a weight's shape and dtype, named after it."""
        slot = name or "var"
        full = f"{reference_variable.path.replace('/', '_')}_{slot}"
        kind = reference_variable.dtype
        made = self.add_variable(reference_variable.shape, initializer, kind, name=full)
        self._slots.setdefault(slot, []).append(made)
        return made

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Slots for all weights: a list for one slot name, a tuple of lists for several."""
        names = [name] if isinstance(name, str) else list(name)
        starts = initializer if isinstance(initializer, list) else [initializer] * len(names)
        made: tuple[list[Variable], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for column, slot, start in zip(made, names, starts, strict=True):
                column.append(self.add_variable_from_reference(variable, slot, start))
        return made[0] if isinstance(name, str) else made

    def _get_variable_index(self, variable: Variable) -> int:
        return self._index[id(variable)]

    # ---- one step --------------------------------------------------------------------------------

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Any:
        """apply() for (gradient, Variable) pairs; returns `iterations`."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)
        return self._iterations

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """One update of the Variables by their gradients."""
        if not len(grads):
            return
        given = trainable_variables
        variables = list(self._trainable_variables if given is None else given)
        if len(grads) != len(variables):
            raise ShapeError(
                f"{self.name}: one gradient is needed for each variable. Received: {len(grads)} "
                f"gradients and {len(variables)} variables. Call build(variables) first."
            )
        with updating([*variables, *self.variables]):
            if not self.built:
                with not_tracing():
                    self.build(variables)
            restore(self)
            self._check_known(variables)
            grads, variables = self._with_gradient(grads, variables)
            self.ask_rate()
            grads, trace = self.unscaled(grads), current_trace()
            if trace is not None and trace.exchange is not None:
                grads = trace.exchange(self, grads, variables)
            self.step(grads, variables)
            self._overwrite_and_constrain(variables)
            self.count_step()

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[Any], list[Any]]:  # fmt: skip
        """(weights, variables) after a step, from those before it; all stay as they are."""
        self._require_built("stateless_apply")
        mine = [*self._trainable_variables, *self.variables]
        with holding(self.name, mine, [*trainable_variables, *optimizer_variables]):
            self.apply(grads)
            found, count = values_of(mine), len(self._trainable_variables)
        return found[:count], found[count:]

    def _require_built(self, method: str) -> None:
        if not self.built:
            raise ConfigError(
                f"{self.name}: {method} needs the weights' slots. Received: an optimizer that is "
                "not built. Call build(model.trainable_variables) first."
            )

    def count_step(self) -> None:
        """Note that a step has been made."""
        self._iterations.assign(self._iterations.value + np.int32(1))

    def resume(self, iterations: int) -> None:
        """Note that so many steps have been made, elsewhere."""
        self.steps_done.assign(iterations)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times loss_scale_factor, for gradients that `apply` is given."""
        factor = self.loss_scale_factor
        return loss if factor is None else ops.multiply(loss, factor)

    def unscaled(self, grads: Sequence[Any]) -> list[Any]:
        """The gradients of the loss, of those of a scaled one."""
        factor = self.loss_scale_factor
        return list(grads) if factor is None else [ops.divide(g, factor) for g in grads]

    def scale_for_step(self, loss: Any) -> Any:
        """What is differentiated in place of the loss where `step` takes the gradients of that."""
        return loss

    def step(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Clipping, weight decay, updates and moving averages: `apply` without its checks,
        constraints and count."""
        if self.gradient_accumulation_steps:
            self._accumulate(grads, variables)
        else:
            self._update(grads, variables)
        if self.use_ema:
            self.update_model_variables_moving_average(self._trainable_variables)

    def _update(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        grads = self.clip_gradients(grads)
        self.apply_weight_decay(variables)
        rate = self.current_learning_rate()
        for gradient, variable in zip(grads, variables, strict=True):
            self.update_step(gradient, variable, rate)

    def _accumulate(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Add to the sums of gradients; every so many steps update by the mean and start anew."""
        every = self.gradient_accumulation_steps
        full = ops.equal(ops.mod(ops.add(self._iterations, 1), every), 0)
        sums = [self._sums[self._get_variable_index(v)] for v in variables]
        totals = [ops.add(s, g) for s, g in zip(sums, grads, strict=True)]
        apart = {id(v) for v in (*self._sums, self._iterations, self._learning_rate)}
        held = [*variables, *(v for v in self._variables if id(v) not in apart)]
        means = [ops.divide(total, every) for total in totals]
        update_if(full, held, lambda: self._update(means, variables))
        for variable, total in zip(sums, totals, strict=True):
            variable.assign(ops.where(full, ops.zeros_like(total), total))

    def _overwrite_and_constrain(self, variables: Sequence[Variable]) -> None:
        if self.use_ema:
            every = self.ema_overwrite_frequency
            if every:
                done = ops.equal(ops.mod(ops.add(self._iterations, 1), every), 0)
                for variable, average in zip(self._trainable_variables, self._averages):
                    variable.assign(ops.where(done, average, variable))
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def _check_known(self, variables: Sequence[Variable]) -> None:
        unknown = [v.path for v in variables if id(v) not in self._index]
        if unknown:
            raise ConfigError(
                f"{self.name}: the optimizer was built for other variables. Received: {unknown}. "
                "Make a new optimizer for them."
            )

    def _with_gradient(
        self, grads: Sequence[Any], variables: list[Variable]
    ) -> tuple[list[Any], list[Variable]]:
        pairs = list(zip(grads, variables, strict=True))
        without = [v.path for g, v in pairs if g is None]
        if len(without) == len(pairs):
            raise ConfigError(
                f"{self.name}: no variable has a gradient. Received: None for {without}. "
                "Check that the loss depends on the weights."
            )
        if without:
            warnings.warn(f"No gradient for {without}: they stay as they are.", stacklevel=3)
        kept = [(g, v) for g, v in pairs if g is not None]
        return [g for g, _ in kept], [v for _, v in kept]

    def fused(self) -> Fused | None:
        """How the engine knows this optimizer's update; None: by `update_step` only."""
        return None

    def flat_step(self) -> Fused | None:
        """`fused`, unless a subclass has put an `update_step` of its own in its place."""
        if self.gradient_accumulation_steps:
            return None
        known, own = (self._definer(name) for name in ("fused", "update_step"))
        return None if own is not known and issubclass(own, known) else self.fused()

    def _definer(self, method: str) -> type:
        return next(cls for cls in type(self).__mro__ if method in vars(cls))

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Assign one Variable and its slots anew; elementwise when `elementwise` is true."""
        fused = self.fused()
        if fused is None:
            raise NotImplementedError(
                f"{type(self).__name__} must define update_step(self, gradient, variable, "
                "learning_rate)."
            )
        rate, gradient = (as_dtype(v, variable.dtype) for v in (learning_rate, gradient))
        step = as_dtype(ops.add(self.iterations, 1), variable.dtype)
        at = self._get_variable_index(variable)
        slots = [self._slots[name][at] for name in fused.slots]
        one = in_dtype(1, variable.dtype)
        made = optimizer_update(
            variable, gradient, *slots, rate, step, one, kind=fused.kind, how=fused.how
        )
        made = made if isinstance(made, (tuple, list)) else [made]
        for target, value in zip([variable, *slots], made, strict=True):
            target.assign(value)

    def assign(self, variable: Variable, value: Any) -> None:
        """variable = value."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """variable += value."""
        variable.assign(ops.add(variable, value))

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """variable -= value."""
        variable.assign(ops.subtract(variable, value))

    def clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """The gradients within the limits that clipnorm, global_clipnorm or clipvalue set."""
        return clipped(grads, self.clipnorm, self.global_clipnorm, self.clipvalue)

    # ---- weight decay ----------------------------------------------------------------------------

    def exclude_from_weight_decay(
        self,
        var_list: Iterable[Variable] | None = None,
        var_names: Iterable[str] | None = None,
    ) -> None:
        """Leave Variables out of weight decay, by themselves or by parts of their names."""
        self._undecayed = list(var_list or ())
        patterns = list(var_names or ())
        self._undecayed_names = re.compile("|".join(patterns)) if patterns else None

    def decays(self, variable: Variable) -> bool:
        """Whether weight decay applies to the Variable."""
        named = self._undecayed_names is not None and self._undecayed_names.search(variable.name)
        return not named and not any(v is variable for v in self._undecayed)

    def apply_weight_decay(self, variables: Iterable[Variable]) -> None:
        """Take weight_decay * learning_rate of each Variable off it."""
        if self.weight_decay is None:
            return
        share = ops.multiply(self.current_learning_rate(), float(self.weight_decay))
        for variable in variables:
            if self.decays(variable):
                variable.assign(ops.subtract(variable, ops.multiply(variable, share)))

    # ---- moving average of the weights -----------------------------------------------------------

    def update_model_variables_moving_average(self, variables: Sequence[Variable]) -> None:
        """Move the averages towards the Variables; the first step copies them."""
        if not self.use_ema:
            return
        later = as_dtype(ops.not_equal(self.iterations, 0), "float32")
        keep = ops.multiply(later, float(self.ema_momentum))
        for variable, average in zip(variables, self._averages, strict=True):
            fresh = ops.multiply(ops.subtract(1.0, keep), variable)
            average.assign(ops.add(ops.multiply(keep, average), fresh))

    def averages(self) -> list[tuple[Variable, Variable]]:
        """(weight, its moving average) of all weights; none without use_ema and before build."""
        if not (self.use_ema and self.built):
            return []
        return list(zip(self._trainable_variables, self._averages, strict=True))

    def overwrite_with_average(self, variables: Sequence[Variable]) -> None:
        """Put the moving averages in place of the Variables."""
        for variable, average in zip(variables, self._averages, strict=True):
            variable.assign(average.value)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """The end of training: with use_ema the averages become the weights."""
        if self.use_ema:
            self.overwrite_with_average(var_list)

    # ---- saving ----------------------------------------------------------------------------------

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign all Variables of the optimizer, in the order of `variables`."""
        if not self.built or len(weights) != len(self.variables):
            raise ConfigError(
                f"{self.name}: set_weights needs a built optimizer and one array for each of its "
                f"{len(self.variables)} variables. Received: {len(weights)} arrays, built="
                f"{self.built}. Call build(model.trainable_variables) first."
            )
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Write all Variables into a store under "0", "1", ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read all Variables from a store; with another number of them, warn and read none."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(
                f"{self.name}: the saved optimizer has {len(store.keys())} variables, this one "
                f"{len(self.variables)}; it starts afresh.",
                stacklevel=2,
            )
            return
        for i, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(i)]))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        rate: Any = self._rate_function or self._learning_rate
        rate = float(rate.numpy()) if isinstance(rate, Variable) else serialize_keras_object(rate)
        base = {key: getattr(self, key) for key in _BASE_CONFIG}
        return {"name": self.name, "learning_rate": rate, **base}

    def twin(self) -> Any:
        """An optimizer with these settings and no state."""
        function, self._rate_function = self._rate_function, None  # no configuration holds it
        try:
            made = type(self).from_config(self.get_config())
        finally:
            self._rate_function = function
        if function is not None:
            made.learning_rate = function
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _copied=True)
        self._index = {id(v): i for i, v in enumerate(self._trainable_variables)}

    def __copy__(self) -> Optimizer:
        """As in Keras a copy has state of its own."""
        return copy.deepcopy(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Optimizer:
        """Makes one of what get_config gave."""
        if isinstance(rate := config.get("learning_rate"), dict):
            rate = deserialize_keras_object(rate, custom_objects=custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
