"""What a golden call of a public op is: a Case, and the arrays that calls are made on.

In: an op's name with its arguments, in which every numpy array is a tensor of the call. Out: Cases,
which run with the `ops` of whoever asks. It must import neither keras nor zoo_keras. Arrays are
made by a formula, so that they need not be stored and are the same with any version of numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np


class Case:
    """One call: `op` is the public name it tests, `call(ops, *args, **kwargs)` makes it."""

    def __init__(self, op: str, call: Any, args: Any, kwargs: dict[str, Any], grad: bool) -> None:
        self.op, self.call, self.args, self.kwargs, self.grad = op, call, args, kwargs, grad

    @property
    def arrays(self) -> list[np.ndarray]:
        """The tensors of the call, in order."""
        found: list[np.ndarray] = []
        self._with(lambda a: found.append(a))
        return found

    def run(self, ops: Any, tensors: Any) -> Any:
        """The call with these tensors in place of the arrays."""
        left = iter(tensors)
        args, kwargs = self._with(lambda _: next(left))
        function = self.call or reduce(getattr, self.op.split("."), ops)
        return function(ops, *args, **kwargs) if self.call else function(*args, **kwargs)

    def _with(self, change: Callable[[np.ndarray], Any]) -> Any:
        return _changed(self.args, change), _changed(self.kwargs, change)


def _changed(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, dict):
        return {k: _changed(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_changed(v, change) for v in value)
    return value


class Table(dict[str, Case]):
    """Cases by a name that tells the call: "sum(float32[3,4], axis=-1)"."""

    def add(
        self, op: str, *args: Any, call: Callable[..., Any] | None = None, grad: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """One call. grad=False: Keras' gradient is not asked for (a kink, or a matter of taste)."""
        shown = [_shown(a) for a in args] + [f"{k}={_shown(v)}" for k, v in kwargs.items()]
        name = f"{op}({', '.join(shown)})"
        number = sum(k == name or k.startswith(name + " ") for k in self)
        self[f"{name} {number + 1}" if number else name] = Case(op, call, args, kwargs, grad)

    def each(self, names: str, *args: Any, **kwargs: Any) -> None:
        """The same call of several ops."""
        for name in names.split():
            self.add(name, *args, **kwargs)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(v) for v in value)}]"
    return repr(value)


def spread(shape: Any, low: float = -1, high: float = 1, seed: int = 0) -> np.ndarray:
    """Distinct float32 values all over the range, in no order."""
    count = np.arange(1, int(np.prod(shape, dtype=np.int64)) + 1, dtype=np.float64) + 17 * seed
    part = (count * count * 0.6180339887498949 + count * 0.7548776662466927) % 1.0
    return (low + (high - low) * part).reshape(shape).astype("float32")


def whole(shape: Any, low: int, high: int, dtype: str = "int32", seed: int = 0) -> np.ndarray:
    """Whole numbers from low to high - 1."""
    return np.floor(spread(shape, low, high, seed).astype("float64")).astype(dtype)


def bools(shape: Any, seed: int = 0) -> np.ndarray:
    return spread(shape, seed=seed) > 0


def weights(shape: Any) -> np.ndarray:
    """By which a result is multiplied before it is summed up for a gradient."""
    return spread(shape, 0.5, 1.5, seed=99)
