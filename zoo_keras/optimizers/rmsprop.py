"""RMSprop: plain, with momentum, centered, and both.

In: a gradient and a Variable. Out: the Variable and its slots assigned anew. Source:
https://keras.io/api/optimizers/rmsprop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable


class RMSprop(Optimizer):
    """Steps along the gradient over the root of its mean square (centered: of its variance).
    Hinton 2012, lecture 6."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self.add_optimizer_variables(variables, "velocity")
        if self.momentum > 0:
            self.add_optimizer_variables(variables, "momentum")
        if self.centered:
            self.add_optimizer_variables(variables, "average_gradient")

    def fused(self) -> Fused | None:
        how, names, kind = [float(self.rho), float(self.epsilon)], ["velocity"], "rmsprop"
        if self.centered:
            names.append("average_gradient")
            kind += "_centered"
        if self.momentum > 0:
            how.append(float(self.momentum))
            names.append("momentum")
            kind += "_momentum"
        return Fused(kind, tuple(how), tuple(names))

    def get_config(self) -> dict[str, Any]:
        own = ("rho", "momentum", "epsilon", "centered")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
