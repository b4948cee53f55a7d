"""Dtype policies: the dtype of a layer's variables and of its computation, as in Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, UnsupportedError


@dataclass(frozen=True)
class DTypePolicy:
    """A name such as "float32", and what it means."""

    name: str = "float32"

    @property
    def variable_dtype(self) -> str:
        return self.name

    @property
    def compute_dtype(self) -> str:
        return self.name

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """The policy of a configuration."""
        return dtype_policy(config["name"])

    def serialize(self) -> dict[str, Any]:
        """Keras' configuration of the policy."""
        return {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": self.get_config(),
            "registered_name": None,
        }


def dtype_policy(value: Any = None) -> DTypePolicy:
    """A policy from None, a name, a policy, or a policy's configuration."""
    if value is None:
        return DTypePolicy("float32")
    if isinstance(value, DTypePolicy):
        return value
    if isinstance(value, dict):
        if value.get("class_name") not in ("DTypePolicy", "FloatDTypePolicy", "Policy"):
            raise UnsupportedError(
                f"Dtype policy {value.get('class_name')!r} is not supported. Received: {value}. "
                "Use a plain dtype such as 'float32'."
            )
        return dtype_policy(value["config"]["name"])
    if isinstance(value, str) and value.startswith("mixed_"):
        raise UnsupportedError(
            f"Mixed precision is not supported. Received: dtype={value!r}. Use 'float32'."
        )
    try:
        return DTypePolicy(dtypes.standardize(value))
    except (ConfigError, TypeError):
        raise ConfigError(
            f"Unknown dtype policy. Received: {value!r}. Use one of {', '.join(dtypes.ALL)}."
        ) from None
