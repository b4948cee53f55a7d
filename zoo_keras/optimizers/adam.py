"""Adam, AdamW and Adamax.

In: a gradient and a Variable. Out: the Variable and its moments assigned anew. Source:
https://keras.io/api/optimizers/adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras.errors import ConfigError
from zoo_keras.optimizers.optimizer import Fused, Optimizer
from zoo_keras.variables import Variable


class Adam(Optimizer):
    """Steps along the mean gradient over the root of the mean square. Kingma and Ba 2014,
    arXiv:1412.6980; amsgrad: Reddi et al. 2018."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self.add_optimizer_variables(variables, "velocity_hat")

    def fused(self) -> Fused | None:
        names = ("momentum", "velocity", "velocity_hat")
        how = (float(self.beta_1), float(self.beta_2), float(self.epsilon))
        return Fused("amsgrad", how, names) if self.amsgrad else Fused("adam", how, names[:2])

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon", "amsgrad")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


class AdamW(Adam):
    """Adam with weight decay. Loshchilov and Hutter 2017, arXiv:1711.05101."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm, clipvalue,
            global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor,
            gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        if weight_decay is None:
            raise ConfigError(
                "AdamW: weight_decay must be a number. Received: weight_decay=None. Use Adam."
            )


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root mean square. arXiv:1412.6980."""

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
        self.add_optimizer_variables(variables, ["momentum", "norm"])

    def fused(self) -> Fused | None:
        how = (float(self.beta_1), float(self.beta_2), float(self.epsilon))
        return Fused("adamax", how, ("momentum", "norm"))

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
