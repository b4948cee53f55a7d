"""ScheduleFreeAdamW: AdamW that needs no schedule, since it averages its iterates (Defazio 2024).

In: gradients at a point between the iterate and the average. Out: that point, moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.graph import not_tracing
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.variables import Variable


class ScheduleFreeAdamW(Optimizer):
    """The iterate z takes steps of Adam; the average x of all z is where training ends up; weights
    are (1 - beta_1) z + beta_1 x. The rate grows evenly over warmup_steps.

    https://keras.io/api/optimizers/schedule_free_adamw
    """

    elementwise = False  # the slot begins as the weights: see build

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
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
        self.warmup_steps = warmup_steps

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )
        with not_tracing():
            for momentum, variable in zip(self._momentums, variables, strict=True):
                momentum.assign(variable.numpy())

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        kind, at = variable.dtype, self._get_variable_index(variable)
        step = as_dtype(ops.add(self.iterations, 1), kind)
        rate = as_dtype(learning_rate, kind)
        if self.warmup_steps > 0:
            rate = ops.multiply(rate, ops.minimum(ops.divide(step, self.warmup_steps), 1.0))
        z, velocity = self._momentums[at], self._velocities[at]
        seen = velocity + (ops.square(gradient) - velocity) * (1 - self.beta_2)
        corrected = seen / (1 - ops.power(self.beta_2, step))
        after = z - rate * gradient / (ops.sqrt(corrected) + self.epsilon)
        average = (variable - (1 - self.beta_1) * z) / self.beta_1
        share = 1.0 / step
        average = (1 - share) * average + share * after
        velocity.assign(seen)
        z.assign(after)
        variable.assign((1 - self.beta_1) * after + self.beta_1 * average)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "warmup_steps": self.warmup_steps,
        }
