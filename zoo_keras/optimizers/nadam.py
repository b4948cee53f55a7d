"""Nadam: Adam that looks one step of momentum ahead.

In: a gradient and a Variable. Out: the Variable and its moments assigned anew. Source:
https://keras.io/api/optimizers/Nadam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.primitives.update import nadam_beta
from zoo_keras.variables import Variable


class Nadam(Optimizer):
    """Adam with Nesterov's momentum. Dozat 2015, "Incorporating Nesterov momentum into Adam"."""

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
        self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._u_product = self.add_variable((), "ones", dtype="float32")
        self._u_product.before_read = self._refresh_product

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.built:
            self._u_product.before_read = self._refresh_product

    def _refresh_product(self) -> None:
        """The product of the momenta so far follows from the number of steps."""
        steps = np.arange(1, int(self.iterations) + 1)
        self._u_product.overwrite(np.prod(nadam_beta(self.beta_1, steps)))

    def fused(self) -> Fused | None:
        how = (float(self.beta_1), float(self.beta_2), float(self.epsilon))
        return Fused("nadam", how, ("momentum", "velocity"))

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
