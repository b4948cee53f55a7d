"""The dtype policy of quantised layers, such as "int8_from_float32".

In: a mode and the policy that the layer had before. Out: a DTypePolicy that says both. Knows no
layer; how numbers are rounded is the business of `quantizers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.policies import DTypePolicy, dtype_policy

MODES = ("int8",)
KERAS_MODES = ("int8", "float8", "int4", "gptq", "awq")


def check_mode(mode: Any) -> str:
    """The mode if it can be had; UnsupportedError for others of Keras, ConfigError for the rest."""
    if mode in MODES:
        return str(mode)
    if isinstance(mode, str) and mode.split("/")[0] in KERAS_MODES:
        raise UnsupportedError(
            f"This quantization mode is not supported. Received: mode={mode!r}. Use 'int8'."
        )
    raise ConfigError(
        f"Invalid quantization mode. Expected one of {KERAS_MODES}. Received: mode={mode!r}. "
        "Use 'int8'."
    )


@dataclass(frozen=True)
class QuantizedDTypePolicy(DTypePolicy):
    """Weights in the mode's own format; everything else as `source_name` says.

    Source: keras.dtype_policies.QuantizedDTypePolicy.

    >>> QuantizedDTypePolicy("int8", "float32").name
    'int8_from_float32'
    """

    keras_module = "keras.dtype_policies"

    name: str = field(init=False)
    mode: str = "int8"
    source_name: str | None = None

    def __post_init__(self) -> None:
        check_mode(self.mode)
        source = dtype_policy(self.source_name)
        object.__setattr__(self, "source_name", source.name)
        object.__setattr__(self, "name", f"{self.mode}_from_{source.name}")

    @property
    def quantization_mode(self) -> str | None:
        return self.mode

    @property
    def variable_dtype(self) -> str:
        return dtype_policy(self.source_name).variable_dtype

    @property
    def compute_dtype(self) -> str:
        return dtype_policy(self.source_name).compute_dtype

    @property
    def mixed(self) -> bool:
        return dtype_policy(self.source_name).mixed

    def get_config(self) -> dict[str, Any]:
        return {"mode": self.mode, "source_name": self.source_name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> QuantizedDTypePolicy:
        """The policy of a configuration."""
        return cls(**config)

    def serialize(self) -> dict[str, Any]:
        """Keras' configuration of the policy."""
        return {
            "module": "keras.dtype_policies",
            "class_name": "QuantizedDTypePolicy",
            "config": self.get_config(),
            "registered_name": None,
        }


def quantized_policy(value: Any) -> QuantizedDTypePolicy | None:
    """The policy of a name such as "int8_from_float32" or of a configuration; None for others."""
    if isinstance(value, dict) and value.get("class_name") == "QuantizedDTypePolicy":
        return QuantizedDTypePolicy.from_config(value["config"])
    if isinstance(value, str) and "_from_" in value:
        mode, source = value.split("_from_", 1)
        return QuantizedDTypePolicy(mode, source)
    return None
