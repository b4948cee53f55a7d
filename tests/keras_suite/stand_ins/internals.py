"""Inner names of Keras' classes that its tests read, put onto the classes of zoo_keras."""

from __future__ import annotations

import operator
from typing import Any

from zoo_keras.callbacks import BackupAndRestore
from zoo_keras.layers import MultiHeadAttention
from zoo_keras.models import Model, Sequential
from zoo_keras.models.model import Functional
from zoo_keras.optimizers import MultiOptimizer, Muon, Optimizer


def _also(cls: type, name: str, meant: str) -> None:
    setattr(cls, name, property(operator.attrgetter(meant)))


_also(Optimizer, "_clip_gradients", "clip_gradients")
_also(Optimizer, "_apply_weight_decay", "apply_weight_decay")
_also(Optimizer, "_accumulated_gradients", "_sums")
_also(Optimizer, "_model_variables_moving_average", "_averages")
_also(Model, "_operations", "_function.operations")
_also(MultiHeadAttention, "_sliding_window", "sliding_window")
_also(Muon, "_should_use_adamw", "_by_adam")
_also(BackupAndRestore, "_current_epoch", "_epoch")
_also(BackupAndRestore, "_weights_path", "_weights")
_also(BackupAndRestore, "_training_metadata_path", "_metadata")
BackupAndRestore._prev_weights_path = property(lambda self: f"{self._weights}.bkp")  # type: ignore[attr-defined]
BackupAndRestore._prev_training_metadata_path = property(  # type: ignore[attr-defined]
    lambda self: f"{self._metadata}.bkp"
)


def _orthogonal(self: Muon, x: Any, steps: int) -> Any:
    self.ns_steps = steps
    return self._orthogonal(x)


Muon.zeropower_via_newtonschulz5 = _orthogonal  # type: ignore[attr-defined]


def _numbers(self: MultiOptimizer) -> dict[Any, int]:
    variables = self._trainable_variables
    return {id(v): number for v, number in zip(variables, self._chosen)}


MultiOptimizer._var_to_optimizer_idx = property(_numbers)  # type: ignore[attr-defined]
MultiOptimizer._var_key = staticmethod(id)  # type: ignore[attr-defined]


def _functional(self: Sequential) -> Any:
    return Functional.__new__(Functional) if self.built else None


Sequential._functional = property(_functional)  # type: ignore[attr-defined]
