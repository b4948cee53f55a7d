"""Follow the regularised leader, for sparse linear models.

In: a gradient and a Variable. Out: the Variable and its slots assigned anew. Source:
https://keras.io/api/optimizers/ftrl.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import initializers, ops
from zoo_keras.errors import ConfigError
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable

_NOT_NEGATIVE = (
    "initial_accumulator_value", "l1_regularization_strength", "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)  # fmt: skip


class Ftrl(Optimizer):
    """FTRL-proximal. McMahan et al. 2013, "Ad click prediction"."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
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
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
            ema_momentum, ema_overwrite_frequency, loss_scale_factor,
            gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        wrong = {k: getattr(self, k) for k in _NOT_NEGATIVE if getattr(self, k) < 0}
        if learning_rate_power > 0 or wrong:
            raise ConfigError(
                "Ftrl: learning_rate_power must be at most 0, the strengths at least 0. Received: "
                f"learning_rate_power={learning_rate_power}, {wrong}. Change the sign."
            )

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        starts = [initializers.Constant(self.initial_accumulator_value), "zeros"]
        names = ["accumulator", "linear"]
        made = self.add_optimizer_variables(variables, names, starts)
        self._accumulators, self._linears = made

    def fused(self) -> Fused | None:
        if self.learning_rate_power != -0.5:
            return None
        names = ("l1_regularization_strength", "l2_regularization_strength", "beta",
                 "l2_shrinkage_regularization_strength")  # fmt: skip
        how = tuple(float(getattr(self, name)) for name in names)
        return Fused("ftrl", how, ("accumulator", "linear"))

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        if self.fused() is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        rate = as_dtype(learning_rate, variable.dtype)
        gradient = as_dtype(gradient, variable.dtype)
        at = self._get_variable_index(variable)
        total, linear = self._accumulators[at], self._linears[at]
        shrinkage = 2 * self.l2_shrinkage_regularization_strength
        shrunk = ops.add(gradient, ops.multiply(variable, shrinkage))
        new_total = ops.add(total, ops.square(gradient))
        root = ops.power(new_total, -self.learning_rate_power)
        growth = ops.subtract(root, ops.power(total, -self.learning_rate_power))
        pull = ops.multiply(ops.divide(growth, rate), variable)
        self.assign_add(linear, ops.subtract(shrunk, pull))
        l2 = ops.add(ops.divide(self.beta / 2.0, rate), self.l2_regularization_strength)
        quadratic = ops.add(ops.divide(root, rate), ops.multiply(l2, 2.0))
        limit = self.l1_regularization_strength
        clipped = ops.clip(linear, -limit, limit)
        variable.assign(ops.divide(ops.subtract(clipped, linear), quadratic))
        total.assign(new_total)

    def get_config(self) -> dict[str, Any]:
        own = (
            "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
        )  # fmt: skip
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
