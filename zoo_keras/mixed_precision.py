"""`zoo_keras.mixed_precision`: dtype policies under their older names."""

from __future__ import annotations

from typing import Any

from zoo_keras.config import dtype_policy, set_dtype_policy
from zoo_keras.optimizers import LossScaleOptimizer
from zoo_keras.paths import alias
from zoo_keras.policies import DTypePolicy

__path__: list[str] = []  # scripts import zoo_keras.mixed_precision.experimental

Policy = DTypePolicy
global_policy, set_global_policy = dtype_policy, set_dtype_policy

__all__ = [
    "DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy",
    "set_dtype_policy", "set_global_policy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.mixed_precision", name)
