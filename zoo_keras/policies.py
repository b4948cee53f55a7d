"""Dtype policies: the dtype of a layer's variables and of its computation, as in Keras, and those
of quantised layers, such as "int8_from_float32".

In: a name, or a mode and the policy that a layer had before. Out: a DTypePolicy. How numbers are
rounded is the business of `quantizers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        """The dtype of weights."""
        return "float32" if self.mixed else self.name

    @property
    def compute_dtype(self) -> str:
        """The dtype that layers compute in."""
        return "bfloat16" if self.mixed else self.name

    @property
    def mixed(self) -> bool:
        """Whether layers round what they read and give to bfloat16."""
        return self.name == "mixed_bfloat16"

    @property
    def quantization_mode(self) -> str | None:
        """ "int8" for weights in int8 (see QuantizedDTypePolicy), else None."""
        return None

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
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


# ---- quantised layers ----------------------------------------------------------------------------

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
