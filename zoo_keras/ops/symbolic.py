"""KerasTensor, the placeholder a model is built from, and the door between it and the ops.

In: calls of public op functions. Out: the same call, or, when an argument is a KerasTensor, a
step of the functional model (made by the hook that `zoo_keras.layers` installs). Knows no layer.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from zoo_keras import dtypes
from zoo_keras.errors import ArgumentTypeError, UnsupportedError
from zoo_keras.graph import install_operators, ufunc_operator
from zoo_keras.values import answering

_numbers = itertools.count()
_hook: Callable[..., Any] | None = None


class KerasTensor:
    """A tensor of a model under construction: shape (None where unknown), dtype and history.

    `history` is (node, tensor index) of the call that made it, or None for a free placeholder.
    """

    __array_priority__ = 100

    def __init__(
        self, shape: Iterable[int | None], dtype: str = "float32", name: str | None = None,
        sparse: bool = False, ragged: bool = False,
    ) -> None:  # fmt: skip
        if sparse or ragged:
            raise UnsupportedError(
                f"KerasTensor: sparse and ragged tensors are not supported. Received: "
                f"sparse={sparse}, ragged={ragged}. Use dense ones."
            )
        self.shape = tuple(shape)
        self.dtype = dtypes.standardize(dtype)
        self.name = name or f"keras_tensor_{next(_numbers)}"
        self.history: tuple[Any, int] | None = None
        self.sparse = self.ragged = False

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    rank = ndim

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("shape", "dtype", "sparse", "ragged") and name in self.__dict__:
            raise AttributeError(
                f"The `{name}` attribute of KerasTensor is immutable. Received: {value!r}. Make "
                "another KerasTensor."
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Without history: a chain of calls as deep as the model; the model brings the calls."""
        return {**self.__dict__, "history": None}

    def __bool__(self) -> bool:
        raise TypeError(
            "A symbolic KerasTensor cannot be used as a boolean. Received: an `if`, `and`, `or` or "
            "`not` "
            "on it. Use zoo_keras.ops functions, or put the condition into a Layer's `call`."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return ufunc_operator(ufunc, method, inputs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentTypeError(
            "A symbolic KerasTensor doesn't have any actual numerical value, so numpy cannot take "
            "it. Use the functions of zoo_keras.ops, or put the computation into a Layer's `call`."
        )

    def __iter__(self) -> Any:
        raise UnsupportedError(
            "Iterating over a symbolic KerasTensor is not supported. Use ops.unstack."
        )

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


install_operators(KerasTensor)
KerasTensor.__eq__ = object.__eq__  # type: ignore[method-assign]  # as in Keras: identity


def set_hook(hook: Callable[..., Any]) -> None:
    """Called as hook(function, args, kwargs) when a public op meets a KerasTensor."""
    global _hook
    _hook = hook


def any_symbolic(values: Iterable[Any]) -> bool:
    """Whether a KerasTensor is among the values, also inside lists, tuples and dicts."""
    for v in values:
        if isinstance(v, KerasTensor):
            return True
        if isinstance(v, (list, tuple)) and any_symbolic(v):
            return True
        if isinstance(v, dict) and any_symbolic(v.values()):
            return True
    return False


def public(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an op function accept KerasTensors beside tensors and arrays. Calls on arrays that a
    `straight` function remembers come first."""
    ready = getattr(function, "ready", None)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if ready is not None and (found := ready(args, kwargs)) is not None:
            return answering(found)
        if _hook is not None and (any_symbolic(args) or any_symbolic(kwargs.values())):
            return _hook(call, args, kwargs)
        return answering(function(*args, **kwargs))

    return call
