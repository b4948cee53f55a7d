"""Gradient descent, plain and with momentum.

In: a gradient and a Variable. Out: the Variable and its momentum assigned anew. Source:
https://keras.io/api/optimizers/sgd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable


class SGD(Optimizer):
    """w - learning_rate * g; with momentum m = momentum * m - learning_rate * g, then w + m."""

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        if not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ConfigError(
                f"SGD: momentum must lie in 0..1. Received: momentum={momentum!r}. "
                "A usual value is 0.9."
            )
        self.momentum, self.nesterov = momentum, nesterov

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        if self.momentum:
            self.add_optimizer_variables(variables, "momentum")

    def fused(self) -> Fused | None:
        if not self.momentum:
            return Fused("sgd", (), ())
        return Fused("momentum", (float(self.momentum), float(self.nesterov)), ("momentum",))

    def get_config(self) -> dict[str, Any]:
        own = ("momentum", "nesterov")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
