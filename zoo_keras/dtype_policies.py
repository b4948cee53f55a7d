"""`zoo_keras.dtype_policies` has the names of `keras.dtype_policies` that models here use."""

from __future__ import annotations

from typing import Any

from zoo_keras.missing import missing
from zoo_keras.policies import DTypePolicy, QuantizedDTypePolicy, dtype_policy
from zoo_keras.policy_map import DTypePolicyMap

FloatDTypePolicy = DTypePolicy

__all__ = [
    "DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "QuantizedDTypePolicy", "deserialize",
    "get", "serialize",
]  # fmt: skip


def get(identifier: Any) -> Any:
    """The policy of a name, a policy or a configuration. Source: keras.dtype_policies.get."""
    if isinstance(identifier, dict) and identifier.get("class_name") == "DTypePolicyMap":
        return DTypePolicyMap.from_config(identifier["config"])
    return identifier if isinstance(identifier, DTypePolicyMap) else dtype_policy(identifier)


def serialize(dtype_policy: Any) -> dict[str, Any]:
    """The configuration of a policy. Source: keras.dtype_policies.serialize."""
    found: dict[str, Any] = dtype_policy.serialize()
    return found


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The policy of a configuration. Source: keras.dtype_policies.deserialize."""
    del custom_objects
    return get(config)


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.dtype_policies", name)
