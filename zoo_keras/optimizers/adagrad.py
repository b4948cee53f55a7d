"""Adagrad and Adadelta: steps scaled by what the gradients were so far; in plain ops.

In: a gradient and a Variable. Out: the Variable and its slots assigned anew. Sources:
https://keras.io/api/optimizers/adagrad, https://keras.io/api/optimizers/adadelta.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import initializers, ops
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.weights import Variable


class Adagrad(Optimizer):
    """Steps along the gradient over the root of the sum of its squares. Duchi et al. 2011."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
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
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators = self.add_optimizer_variables(variables, "accumulator", start)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rate = as_dtype(learning_rate, variable.dtype)
        gradient = as_dtype(gradient, variable.dtype)
        total = self._accumulators[self._get_variable_index(variable)]
        self.assign_add(total, ops.square(gradient))
        root = ops.sqrt(ops.add(total, self.epsilon))
        self.assign_sub(variable, ops.divide(ops.multiply(gradient, rate), root))

    def get_config(self) -> dict[str, Any]:
        own = ("initial_accumulator_value", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


class Adadelta(Optimizer):
    """Steps of the size of recent steps over that of recent gradients. Zeiler 2012,
    arXiv:1212.5701."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
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
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        names = ["accumulated_grad", "accumulated_delta_var"]
        self._grads, self._deltas = self.add_optimizer_variables(variables, names)

    def _mix(self, mean: Any, value: Any) -> Any:
        fresh = ops.multiply(ops.square(value), 1 - self.rho)
        return ops.add(ops.multiply(mean, self.rho), fresh)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rate = as_dtype(learning_rate, variable.dtype)
        gradient = as_dtype(gradient, variable.dtype)
        at = self._get_variable_index(variable)
        squares, deltas = self._grads[at], self._deltas[at]
        squares.assign(self._mix(squares, gradient))
        above, below = (ops.sqrt(ops.add(v, self.epsilon)) for v in (deltas, squares))
        delta = ops.negative(ops.divide(ops.multiply(above, gradient), below))
        deltas.assign(self._mix(deltas, delta))
        self.assign_add(variable, ops.multiply(delta, rate))

    def get_config(self) -> dict[str, Any]:
        own = ("rho", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
