"""What files ask for that is computed in another way here: half precision.

In: a configuration from a file. Out: the same for float32; one warning for each file says so. Knows
no file format.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

# Policies and dtypes that have no kernels. What float32 computes is closer to the exact result.
_IN_FLOAT32 = ("mixed_float16", "float16")


def in_own_precision(config: Any, label: str) -> Any:
    """The configuration with float32 for other floats.

    Warns, once, of what was changed in the file that is called `label`.
    """
    floats = sorted({_dtype_name(part["dtype"]) for part in _parts(config) if _is_half(part)})
    if not floats:
        return config
    warnings.warn(
        f"{label}: what is {' or '.join(floats)} in it is computed in float32.", stacklevel=4
    )
    return _changed(config)


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a configuration."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)):
                yield from _parts(item)


def _is_half(part: dict[str, Any]) -> bool:
    """Whether a layer, loss or metric has a float that is not computed in; tensors follow them."""
    return "keras_history" not in part and _dtype_name(part.get("dtype")) in _IN_FLOAT32


def _dtype_name(policy: Any) -> Any:
    """The float in a policy's name or configuration, be it the source of int8."""
    inner = policy.get("config") if isinstance(policy, dict) else None
    if isinstance(inner, dict):
        return inner.get("source_name") or inner.get("name")
    return policy.split("_from_")[-1] if isinstance(policy, str) else None


def _changed(value: Any) -> Any:
    if isinstance(value, list):
        return [_changed(v) for v in value]
    if not isinstance(value, dict):
        return value
    kept = {k: _changed(v) for k, v in value.items()}
    if _is_half(value):
        kept["dtype"] = _float32(value["dtype"])
    return kept


def _float32(policy: Any) -> Any:
    if isinstance(policy, str):
        return "_from_".join([*policy.split("_from_")[:-1], "float32"])
    if "source_name" not in policy["config"]:
        return "float32"
    return {**policy, "config": {**policy["config"], "source_name": "float32"}}
