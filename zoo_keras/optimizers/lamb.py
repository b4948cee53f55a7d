"""Lamb: Adam whose step is scaled to the norm of each weight, for large batches.

In: a gradient and a Variable. Out: the Variable and its moments assigned anew. Each weight is seen
as a whole, so on Spark every rank makes the whole step. Source:
https://keras.io/api/optimizers/lamb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.variables import Variable


class Lamb(Optimizer):
    """Adam's direction times |w| / |direction|. You et al. 2019, arXiv:1904.00962."""

    elementwise = False

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        names = ["momentum", "velocity"]
        self._momentums, self._velocities = self.add_optimizer_variables(variables, names)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rate, gradient = (as_dtype(v, variable.dtype) for v in (learning_rate, gradient))
        at = self._get_variable_index(variable)
        m, v = self._momentums[at], self._velocities[at]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        mean = m / self._correction(self.beta_1)
        direction = mean / (ops.sqrt(v / self._correction(self.beta_2)) + self.epsilon)
        size, length = (ops.sqrt(ops.sum(ops.square(x))) for x in (variable, direction))
        known = ops.logical_and(ops.greater(size, 0), ops.greater(length, 0))
        ratio = ops.where(known, size / ops.where(known, length, 1.0), 1.0)
        self.assign_sub(variable, direction * (ratio * rate))

    def _correction(self, beta: float) -> Any:
        """1 - beta ** step: moving means start at zero."""
        step = as_dtype(ops.add(self.iterations, 1), "float32")
        return ops.subtract(1.0, ops.power(float(beta), step))

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
