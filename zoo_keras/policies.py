"""Dtype policies: the dtype of a layer's variables and of its computation, as in Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, UnsupportedError


@dataclass(frozen=True)
class DTypePolicy:
    """A name such as "float32", and what it means.

    With "mixed_bfloat16" weights are float32; a layer reads them and its inputs rounded to
    bfloat16, computes and sums in float32, and rounds its outputs. What backward needs is kept in
    two bytes a number.
    """

    keras_module = "keras"

    name: str = "float32"

    @property
    def variable_dtype(self) -> str:
        return "float32" if self.mixed else self.name

    @property
    def compute_dtype(self) -> str:
        return "bfloat16" if self.mixed else self.name

    @property
    def mixed(self) -> bool:
        """Whether layers round what they read and give to bfloat16."""
        return self.name == "mixed_bfloat16"

    @property
    def quantization_mode(self) -> str | None:
        """ "int8" for weights in int8 (see `quantization`), else None."""
        return None

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


_default = DTypePolicy("float32")


def set_default(policy: DTypePolicy) -> None:
    """Make a policy that of the layers made from now on without a dtype."""
    global _default
    _default = policy


def dtype_policy(value: Any = None) -> DTypePolicy:
    """A policy from a name, a policy, or a policy's configuration; None gives the default one."""
    if value is None:
        return _default
    if isinstance(value, DTypePolicy):
        return value
    from zoo_keras.quantization import quantized_policy

    if (quantized := quantized_policy(value)) is not None:
        return quantized
    if isinstance(value, dict):
        if value.get("class_name") not in ("DTypePolicy", "FloatDTypePolicy", "Policy"):
            raise UnsupportedError(
                f"Dtype policy {value.get('class_name')!r} is not supported. Received: {value}. "
                "Use a plain dtype such as 'float32'."
            )
        return dtype_policy(value["config"]["name"])
    if value == "mixed_bfloat16":
        return DTypePolicy(value)
    if isinstance(value, str) and value.startswith("mixed_"):
        raise UnsupportedError(
            f"Mixed precision needs the range of float32. Received: dtype={value!r}. Use "
            "'mixed_bfloat16' or 'float32'."
        )
    try:
        return DTypePolicy(dtypes.standardize(value))
    except (ConfigError, TypeError):
        raise ConfigError(
            f"Unknown dtype policy. Received: {value!r}. Use one of {', '.join(dtypes.ALL)}."
        ) from None
