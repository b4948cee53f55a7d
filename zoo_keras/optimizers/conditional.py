"""Updates that count only under a condition which the step itself computes.

In: a condition, the Variables that an update may change, the update. Out: they are assigned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.variables import Variable


def update_if(condition: Any, held: Sequence[Variable], update: Callable[[], None]) -> None:
    """Make an update of Variables that counts only where the condition, a bool (), is true."""
    before = [ops.where(True, v, v) for v in held]  # copies, where they are arrays
    update()
    for variable, old in zip(held, before, strict=True):
        variable.assign(ops.where(condition, variable, old))
