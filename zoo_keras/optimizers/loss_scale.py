"""Loss scaling around another optimizer: steps with infinite or NaN gradients are left out.

In: gradients of a scaled loss. Out: the inner optimizer's step on unscaled ones. All weights of a
step are seen together, so on Spark every rank makes the whole step. Source:
https://keras.io/api/optimizers/loss_scale_optimizer.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import initializers, ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.graph import Trace, current_trace
from zoo_keras.optimizers.conditional import update_if
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.variables import Variable

# Whether the gradients of the last step were finite, in traces that run.
_finite: weakref.WeakKeyDictionary[Trace, dict[int, Any]] = weakref.WeakKeyDictionary()


class LossScaleOptimizer(Optimizer):
    """The loss is multiplied by a scale that doubles after so many good steps and halves after a
    step whose gradients are not finite; such a step changes nothing else."""

    elementwise = False

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.pop("dynamic", True):
            raise ConfigError(
                "LossScaleOptimizer: the scale is always dynamic. Received: dynamic=False. For a "
                "fixed one set `loss_scale_factor` of the inner optimizer."
            )
        super().__init__(learning_rate=0.0, name=name, **kwargs)
        changed = sorted(k for k, v in kwargs.items() if v is not None and v != _UNSET.get(k))
        if changed:
            raise ConfigError(
                "LossScaleOptimizer: these arguments are to be set on the `inner_optimizer`. "
                f"Received: {changed}. Set them there."
            )
        self.inner_optimizer = inner_optimizer
        self.inner_optimizer.loss_scale_factor = None  # there is one scale, as in Keras
        self.initial_scale, self.dynamic_growth_steps = initial_scale, dynamic_growth_steps
        self._scale_before = float(initial_scale)

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        self.step_counter = self.add_variable((), dtype="int32", name="step_counter")
        start = initializers.Constant(self.initial_scale)
        self.dynamic_scale = self.add_variable((), start, dtype="float32", name="dynamic_scale")
        self.inner_optimizer.build(variables)
        super().build(variables)

    def _take_over(self, variables: Sequence[Variable]) -> None:
        super()._take_over(variables)
        self.inner_optimizer.build(variables)

    @property
    def variables(self) -> list[Variable]:
        """Its own Variables, then those of the inner optimizer."""
        return [*self._variables, *self.inner_optimizer.variables]

    def slots(self) -> dict[str, list[Variable]]:
        found: dict[str, list[Variable]] = self.inner_optimizer.slots()
        return found

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the present scale."""
        return ops.multiply(loss, self.dynamic_scale if self.built else self.initial_scale)

    def scale_for_step(self, loss: Any) -> Any:
        """The same: `step` takes gradients of the scaled loss."""
        return self.scale_loss(loss)

    def step(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """The inner optimizer's step on unscaled gradients, or none when they are not finite."""
        finite = ops.all(ops.stack([ops.all(ops.isfinite(g)) for g in grads]))
        trace = current_trace()
        if trace is not None:
            _finite.setdefault(trace, {})[id(self)] = finite
        held = [*variables, *self.inner_optimizer.variables]
        unscaled = [ops.divide(g, self.dynamic_scale) for g in grads]
        update_if(finite, held, lambda: self.inner_optimizer.step(unscaled, variables))
        full = ops.equal(self.step_counter, self.dynamic_growth_steps - 1)
        counted = ops.logical_and(finite, ops.logical_not(full))
        self.step_counter.assign(ops.where(counted, ops.add(self.step_counter, 1), 0))
        grown = ops.where(finite, ops.where(full, 2.0, 1.0), 0.5)
        self.dynamic_scale.assign(ops.multiply(self.dynamic_scale, grown))

    def count_step(self) -> None:
        trace = current_trace()
        if trace is not None:
            done = self.steps_done
            done.assign(ops.add(done, ops.cast(_finite[trace][id(self)], "int32")))
            return
        now, before = float(self.dynamic_scale), self._scale_before
        self._scale_before = now
        if int(self.step_counter) or now >= before:  # the user may have set a smaller scale
            self.inner_optimizer.count_step()

    def resume(self, iterations: int) -> None:
        super().resume(iterations)
        self._scale_before = float(self.dynamic_scale)

    def _overwrite_and_constrain(self, variables: Sequence[Variable]) -> None:
        self.inner_optimizer._overwrite_and_constrain(variables)

    def rated(self) -> list[Any]:
        """Those in the inner optimizer."""
        found: list[Any] = self.inner_optimizer.rated()
        return found

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    def rates(self) -> list[Variable]:
        """The inner optimizer's."""
        found: list[Variable] = self.inner_optimizer.rates()
        return found

    @property
    def iterations(self) -> Any:
        """The updates that the inner optimizer has made."""
        return self.inner_optimizer.iterations

    @property
    def steps_done(self) -> Variable:
        """The inner optimizer's."""
        return self.inner_optimizer.steps_done

    def rate_array(self) -> np.ndarray:
        found: np.ndarray = self.inner_optimizer.rate_array()
        return found

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize_keras_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> LossScaleOptimizer:
        rest = dict(config)
        inner = deserialize_keras_object(rest.pop("inner_optimizer"), custom_objects=custom_objects)
        return cls(inner, **rest)


# Settings that old files hold although they have no effect.
_UNSET = {"use_ema": False, "ema_momentum": 0.99}
