"""Adafactor: second moments kept as row and column means, for large weights.

In: a gradient and a Variable. Out: the Variable and its moments assigned anew. Each weight is seen
as a whole, so on Spark every rank makes the whole step. Source:
https://keras.io/api/optimizers/adafactor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.ops.convert import as_dtype
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.variables import Variable


class Adafactor(Optimizer):
    """Steps relative to the weight's own size. Shazeer and Stern 2018, arXiv:1804.04235."""

    elementwise = False

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
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
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        super().build(variables)
        self._means: list[tuple[Variable, Variable]] = []
        for v in variables:
            self._means.append(self._row_and_column(v))
            self.add_variable_from_reference(v, "velocity")

    def _row_and_column(self, variable: Variable) -> tuple[Variable, Variable]:
        """Means over rows and columns; unused scalars for a vector, as Keras' files have them."""
        shape, how = variable.shape, {"dtype": variable.dtype, "name": variable.name}
        whole = len(shape) > 1
        rows = self.add_variable(shape[:-1] if whole else (), **how)
        return rows, self.add_variable((*shape[:-2], shape[-1]) if whole else (), **how)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        rate, gradient = (as_dtype(v, variable.dtype) for v in (learning_rate, gradient))
        step = as_dtype(ops.add(self.iterations, 1), variable.dtype)
        slowest = ops.divide(1.0, ops.sqrt(step))
        size = ops.maximum(_root_mean_square(variable), self.epsilon_2)
        keep = ops.subtract(1.0, ops.power(step, self.beta_2_decay))
        square = ops.add(ops.square(gradient), self.epsilon_1)
        v = self._slots["velocity"][self._get_variable_index(variable)]
        means = self._means[self._get_variable_index(variable)]
        vector = len(variable.shape) < 2
        v.assign(_mixed(keep, v, square) if vector else _product(keep, *means, square))
        by = gradient / ops.sqrt(v)
        by = by / ops.maximum(_root_mean_square(by) / self.clip_threshold, 1.0)
        self.assign_sub(variable, by * (size * ops.minimum(rate, slowest)))

    def get_config(self) -> dict[str, Any]:
        own = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


def _root_mean_square(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(x)))


def _mixed(keep: Any, mean: Any, value: Any) -> Any:
    return keep * mean + ops.subtract(1.0, keep) * value


def _product(keep: Any, rows: Variable, columns: Variable, square: Any) -> Any:
    """The second moment from its means over rows and columns, which are moved on."""
    rows.assign(_mixed(keep, rows, ops.mean(square, axis=-1)))
    columns.assign(_mixed(keep, columns, ops.mean(square, axis=-2)))
    share = rows / ops.mean(rows, axis=-1, keepdims=True)
    return ops.expand_dims(share, -1) * ops.expand_dims(columns, -2)
