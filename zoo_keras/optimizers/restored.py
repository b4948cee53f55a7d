"""State for optimizers that are not built yet: only the step in which they are first used says for
which weights.

In: what a file holds of an optimizer. Out: it goes on with that once it is built. Knows no files.
"""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from zoo_keras.graph import not_tracing

_waiting: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def restore_later(optimizer: Any, store: dict[str, Any]) -> None:
    """Let it take over arrays, named as in save_own_variables, when it is built; its count now."""
    _waiting[optimizer] = store
    if counts_first(optimizer) and "0" in store:
        optimizer.steps_done.assign(store["0"])


def counts_first(optimizer: Any) -> bool:
    """Whether the first of its Variables counts its steps, also before it is built."""
    return bool(optimizer.variables) and optimizer.variables[0] is optimizer.steps_done


def restore(optimizer: Any) -> None:
    """It has been built, by its first step or by whoever called `build`."""
    store = _waiting.pop(optimizer, None)
    if store is None:
        return
    arrays = [np.asarray(store.get(str(i))) for i in range(len(store))]
    fits = [a.shape for a in arrays] == [v.shape for v in optimizer.variables]
    if not fits or any(a.dtype == object for a in arrays):  # another optimizer's, or named its way
        warnings.warn(
            f"{optimizer.name}: the stored state ({len(store)} arrays) does not fit this optimizer "
            f"({len(optimizer.variables)} variables), which starts afresh.",
            stacklevel=3,
        )
        return
    with not_tracing():
        for variable, array in zip(optimizer.variables, arrays, strict=True):
            variable.assign(array)
