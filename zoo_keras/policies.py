"""Dtype policies: the dtype of a layer's variables and of its computation, as in Keras, and those
of quantised layers, such as "int8_from_float32".

In: a name, or a mode and the policy that a layer had before. Out: a DTypePolicy. How numbers are
rounded is the business of `quantizers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo_keras import dtypes
from zoo_keras.errors import ArgumentTypeError, ConfigError, UnsupportedError


@dataclass(frozen=True, repr=False)
class DTypePolicy:
    """A name such as "float32", and what it means; without a name that of the default policy.

    With "mixed_bfloat16" weights are float32; a layer reads them and its inputs rounded to
    bfloat16, computes and sums in float32, and rounds its outputs. What backward needs is kept in
    two bytes a number. With "bfloat16" all of it is rounded, weights too. "mixed_float16" has a
    name and dtypes like all others; a layer refuses it (`usable`).

    Raises ArgumentTypeError for what is no string, ConfigError for an unknown name.
    """

    keras_module = "keras"

    name: str = None  # type: ignore[assignment]  # a string once made

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _valid_name(self.name))

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights."""
        return "float32" if self.name.startswith("mixed_") else self.name

    @property
    def compute_dtype(self) -> str:
        """The dtype that layers compute in."""
        return self.name.removeprefix("mixed_")

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
        return cls(**config)

    def serialize(self) -> dict[str, Any]:
        """Keras' configuration of the policy."""
        return {
            "module": self.keras_module,
            "class_name": type(self).__name__,
            "config": self.get_config(),
            "registered_name": None,
        }

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self.name}">'


_MIXED = ("mixed_float16", "mixed_bfloat16")


def _valid_name(name: Any) -> str:
    if name is None:
        return _default.name
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"DTypePolicy: 'name' must be a string. Received: {name!r}. Pass 'float32' for "
            "instance."
        )
    if name not in (*dtypes.ALL, *dtypes.TEXT, *_MIXED):
        raise ConfigError(
            f"Cannot convert a name to a dtype policy. Received: {name!r}. Use one of "
            f"{', '.join([*_MIXED, *dtypes.ALL])}."
        )
    return name


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
        return DTypePolicy(value["config"]["name"])
    try:
        return DTypePolicy(value if isinstance(value, str) else dtypes.standardize(value))
    except TypeError:
        raise ConfigError(
            f"Cannot interpret `dtype` argument. Received: {value!r}. Pass the name of a dtype, a "
            "dtype, or a policy."
        ) from None


def usable(policy: DTypePolicy) -> DTypePolicy:
    """The policy, if layers can compute in it; UnsupportedError for half precision."""
    name = getattr(policy, "source_name", None) or policy.name
    if name == "mixed_float16":
        raise UnsupportedError(
            f"Mixed precision needs the range of float32, weights its precision. Received: "
            f"dtype={policy.name!r}. Use 'mixed_bfloat16' or 'float32'."
        )
    return policy


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


@dataclass(frozen=True, repr=False)
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
        source = DTypePolicy(_default.name if self.source_name is None else self.source_name)
        if source.compute_dtype == "float16":
            raise ConfigError(
                f"Weights in {self.mode} are not computed in float16: the range doesn't work well. "
                f"Received: source_name={self.source_name!r}. Use 'float32' or 'mixed_bfloat16'."
            )
        object.__setattr__(self, "source_name", source.name)
        object.__setattr__(self, "name", f"{self.mode}_from_{source.name}")

    @property
    def quantization_mode(self) -> str | None:
        return self.mode

    @property
    def _source(self) -> DTypePolicy:
        return DTypePolicy(self.source_name)  # type: ignore[arg-type]

    @property
    def variable_dtype(self) -> str:
        return self._source.variable_dtype

    @property
    def compute_dtype(self) -> str:
        return self._source.compute_dtype

    @property
    def mixed(self) -> bool:
        return self._source.mixed

    def get_config(self) -> dict[str, Any]:
        return {"mode": self.mode, "source_name": self.source_name}


def quantized_policy(value: Any) -> QuantizedDTypePolicy | None:
    """The policy of a name such as "int8_from_float32" or of a configuration; None for others."""
    if isinstance(value, dict) and value.get("class_name") == "QuantizedDTypePolicy":
        return QuantizedDTypePolicy(**value["config"])
    if not isinstance(value, str) or not value.startswith(KERAS_MODES):
        return None
    mode, between, source = value.partition("_from_")
    if mode in dtypes.ALL and not between:
        return None
    if not between:
        raise ConfigError(
            f"Cannot convert `policy` into a valid pair of a mode and a source. Received: {value!r}"
            ". Write it as 'int8_from_float32'."
        )
    return QuantizedDTypePolicy(mode, source)
