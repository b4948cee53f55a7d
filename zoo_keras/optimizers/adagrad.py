"""Adagrad and Adadelta: steps scaled by what the gradients were so far.

In: a gradient and a Variable. Out: the Variable and its slots assigned anew. Sources:
https://keras.io/api/optimizers/adagrad, https://keras.io/api/optimizers/adadelta.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import initializers
from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable


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
        self.add_optimizer_variables(variables, "accumulator", start)

    def fused(self) -> Fused | None:
        return Fused("adagrad", (float(self.epsilon),), ("accumulator",))

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
        self.add_optimizer_variables(variables, ["accumulated_grad", "accumulated_delta_var"])

    def fused(self) -> Fused | None:
        names = ("accumulated_grad", "accumulated_delta_var")
        return Fused("adadelta", (float(self.rho), float(self.epsilon)), names)

    def get_config(self) -> dict[str, Any]:
        own = ("rho", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
