"""Keras' classes of operations, such as `ops.numpy.Sum(axis=1)(x)`, over the public functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

# Names of arguments that are tensors, which a call takes; all others are given to the class.
_TENSORS = frozenset(
    (
        "x x1 x2 y xs a b inputs inputs1 inputs2 images target output condition operands "
        "start stop fill_value kernel depthwise_kernel pointwise_kernel logits mean variance "
        "weights bins v indices updates data segment_ids value query key arrays coordinates "
        "transform start_points end_points real imag shape N M rhs sequences image "
        "sorted_sequence values variable p c lu real_imag L tensor elements "
    ).split()
)


@functools.cache
def operation(name: str, function: Callable[..., Any]) -> type:
    """The class `name` whose instances call `function` with the arguments kept."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    kept_names = [n for n in names if n not in _TENSORS]
    if name in ("BroadcastTo", "Scatter", "Slice"):
        kept_names = ["shape"]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        self.kept = {**dict(zip(kept_names, args)), **kwargs}

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        first = names[0] if names else ""
        if first in self.kept:  # such as the condition of a loop, before the tensors
            rest = [n for n in names if n not in self.kept]
            if len(args) > len(rest) or name == "Einsum":
                return function(self.kept[first], *args, **kwargs)
            return function(**self.kept, **dict(zip(rest, args)), **kwargs)
        return function(*args, **self.kept, **kwargs)

    calls = dict.fromkeys(("__call__", "call", "symbolic_call", "compute_output_spec"), __call__)
    made = {"__init__": __init__, **calls}
    return type(name, (), made)
