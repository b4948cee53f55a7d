"""Muon: momentum made orthogonal for matrices, AdamW for everything else.

In: a gradient and a Variable. Out: the Variable and its slots assigned anew. Each weight is seen
as a whole, so on Spark every rank makes the whole step. Source:
https://keras.io/api/optimizers/muon.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.primitives.update import optimizer_update
from zoo_keras.variables import Variable


class Muon(Optimizer):
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982."""

    elementwise = False

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
            ema_momentum, ema_overwrite_frequency, loss_scale_factor,
            gradient_accumulation_steps, name, **kwargs,
        )  # fmt: skip
        self.adam_beta_1, self.adam_beta_2 = adam_beta_1, adam_beta_2
        self.adam_weight_decay, self.epsilon = adam_weight_decay, epsilon
        self.exclude_layers, self.exclude_embeddings = exclude_layers or [], exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio, self.momentum = adam_lr_ratio, momentum
        self.ns_steps, self.nesterov, self.rms_rate = ns_steps, nesterov, rms_rate

    def _by_adam(self, variable: Variable) -> bool:
        if len(variable.shape) != 2:
            return True
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self._momentums: list[Variable] = []
        self._velocities: list[Variable | None] = []
        for v in variables:
            self._momentums.append(self.add_variable_from_reference(v, "momentum"))
            second = self.add_variable_from_reference(v, "velocity") if self._by_adam(v) else None
            self._velocities.append(second)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rate, gradient = (as_dtype(v, variable.dtype) for v in (learning_rate, gradient))
        at = self._get_variable_index(variable)
        m, v = self._momentums[at], self._velocities[at]
        if v is not None:
            self._adam_step(gradient, variable, ops.multiply(rate, float(self.adam_lr_ratio)), m, v)
            return
        self.assign_add(m, gradient + m * (self.momentum - 1))
        ahead = gradient + m * self.momentum if self.nesterov else m.value
        self.assign_sub(variable, self.lr_adjust(self._orthogonal(ahead) * rate))

    def lr_adjust(self, x: Any) -> Any:
        """An update of a matrix, in the size that rms_rate asks for."""
        if self.rms_rate is None:
            return x
        return x * (math.sqrt(max(x.shape)) * self.rms_rate)

    def _adam_step(self, g: Any, variable: Variable, rate: Any, m: Variable, v: Variable) -> None:
        step = as_dtype(ops.add(self.iterations, 1), variable.dtype)
        how = (float(self.adam_beta_1), float(self.adam_beta_2), float(self.epsilon))
        one = ops.ones_like(rate)
        made = optimizer_update(variable, g, m, v, rate, step, one, kind="adam", how=how)
        for target, value in zip((variable, m, v), made, strict=True):
            target.assign(value)

    def _orthogonal(self, x: Any) -> Any:
        """About U V' of x = U S V', by Newton-Schulz steps."""
        tall = x.shape[0] > x.shape[1]
        x = ops.transpose(x) if tall else x
        x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
        for _ in range(self.ns_steps):
            a = ops.matmul(x, ops.transpose(x))
            b = a * self.muon_b + ops.matmul(a * self.muon_c, a)
            x = x * self.muon_a + ops.matmul(b, x)
        return ops.transpose(x) if tall else x

    def apply_weight_decay(self, variables: Iterable[Variable]) -> None:
        """Each kind of weight has its own weight decay."""
        for v in variables:
            share = self.adam_weight_decay if self._by_adam(v) else self.weight_decay
            if share is not None and self.decays(v):
                by = ops.multiply(self.current_learning_rate(), float(share))
                v.assign(ops.subtract(v, ops.multiply(v, by)))

    def get_config(self) -> dict[str, Any]:
        own = (
            "adam_beta_1", "adam_beta_2", "epsilon", "exclude_layers", "muon_a", "muon_b",
            "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "exclude_embeddings",
            "adam_weight_decay", "rms_rate",
        )  # fmt: skip
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
