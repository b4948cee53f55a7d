"""Lion: steps of one size in the direction of the sign.

In: a gradient and a Variable. Out: the Variable and its momentum assigned anew. Source:
https://keras.io/api/optimizers/lion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable


class Lion(Optimizer):
    """w - learning_rate * sign(beta_1 * m + (1 - beta_1) * g). Chen et al. 2023,
    arXiv:2302.06675."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
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
        if not 0 < beta_1 <= 1:
            raise ConfigError(
                f"Lion: beta_1 must be above 0 and at most 1. Received: beta_1={beta_1}. "
                "A usual value is 0.9."
            )
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self.add_optimizer_variables(variables, "momentum")

    def fused(self) -> Fused | None:
        return Fused("lion", (float(self.beta_1), float(self.beta_2)), ("momentum",))

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
