"""Which entries of a tensor count: a mask that travels with it, as Keras' `_keras_mask`.

In: a tensor of the running trace, or an array. Out: its mask, or None. What passes masks on from
layer to layer is not known here.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from zoo_keras.graph import Tensor, current_trace

_of_arrays: dict[int, tuple[weakref.ref[np.ndarray], Any]] = {}


def mask_of(x: Any) -> Any:
    """The mask that travels with a tensor of the running trace or an array, or None."""
    if isinstance(x, Tensor):
        trace = current_trace()
        return None if trace is None else trace.masks.get(x)
    reference, mask = _of_arrays.get(id(x), (None, None))
    return mask if reference is not None and reference() is x else None


def any_arrays() -> bool:
    """Whether any array has a mask now."""
    return bool(_of_arrays)


def set_mask(x: Any, mask: Any) -> None:
    """Let a mask (True: use, False: skip) travel with a tensor of the running trace or an array."""
    trace = current_trace()
    if mask is None:
        return
    if isinstance(x, Tensor):
        if trace is not None:
            trace.masks[x] = mask
    elif isinstance(x, np.ndarray):
        key = id(x)
        _of_arrays[key] = weakref.ref(x, lambda _: _of_arrays.pop(key, None)), mask
