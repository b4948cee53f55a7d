"""`zoo_keras.dtype_policies` has the names of `keras.dtype_policies` that models here use."""

from __future__ import annotations

from typing import Any

from zoo_keras.missing import missing
from zoo_keras.policies import DTypePolicy, QuantizedDTypePolicy, dtype_policy

FloatDTypePolicy = DTypePolicy

__all__ = [
    "DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy", "deserialize", "get", "serialize",
]  # fmt: skip


def get(identifier: Any) -> DTypePolicy:
    """The policy of a name, a policy or a configuration. Source: keras.dtype_policies.get."""
    return dtype_policy(identifier)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """The configuration of a policy. Source: keras.dtype_policies.serialize."""
    return dtype_policy.serialize()


def deserialize(config: Any, custom_objects: Any = None) -> DTypePolicy:
    """The policy of a configuration. Source: keras.dtype_policies.deserialize."""
    del custom_objects
    return dtype_policy(config)


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.dtype_policies", name)
