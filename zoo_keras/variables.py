"""Variables: named arrays that training changes, and their packing into flat vectors.

In: shapes, initializers, arrays. Out: Variables whose arrays may be views of one flat vector (in
private or shared memory). Knows graphs only through the running trace; no layer, no C.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import BFLOAT16, Bfloat16, in_dtype, labelled
from zoo_keras.errors import ConfigError, FileError, ShapeError
from zoo_keras.graph import Operators, current_scope, current_trace, install_operators
from zoo_keras.guard import NONE, Guard, Guards, as_one

_numbers = itertools.count()
_versions, _structures = itertools.count(1), itertools.count(1)
_version = 0
_structure = 0
_guarding = threading.Lock()


def structure() -> int:
    """Grows whenever a Variable is made or moved, or a layer gets or loses another: whoever has
    compiled programs looks whether it was his model. Numbers that it grew to are never reused."""
    return _structure


def restructure() -> int:
    """Note such a change; returns its number."""
    global _structure
    _structure = number = next(_structures)
    return number


def version() -> int:
    """Another number whenever some Variable of the process may have changed."""
    return _version


def touch() -> None:
    """Note that weights have changed."""
    global _version
    _version = next(_versions)


def guard_of(variables: Iterable[Any]) -> Guard | Guards:
    """The guard of these Variables, which get one if they have none. Who runs a program on them
    reads or writes under it. Variables of several models may have several guards."""
    with _guarding:
        found = list(variables)
        guard = as_one(v.guard for v in found if v.guard is not None)
        fresh = guard if isinstance(guard, Guard) else Guard()
        for variable in found:
            if variable.guard is None:
                variable.guard = fresh
        return as_one(v.guard for v in found)


@contextmanager
def unchanged(variables: Iterable[Any]) -> Iterator[None]:
    """No program and no assignment changes these Variables inside the block."""
    found = list(variables)
    if len(found) > 1:  # a first run may begin meanwhile, so it must find a guard
        guard = guard_of(found)
    else:
        guard = as_one(v.guard for v in found if v.guard is not None)
    if guard is NONE:
        yield
        return
    behind = any(v.before_read is not None for v in found)  # to read them changes them
    with guard.writing() if behind else guard.reading():
        yield


@contextmanager
def changing(variables: Iterable[Any]) -> Iterator[None]:
    """Nobody reads these Variables before the block is done."""
    with as_one(v.guard for v in variables if v.guard is not None).writing():
        yield


_turns = threading.RLock()  # among those who make new values of old ones


def _free_turns() -> None:
    """In a forked child: whose turn it was does not live here."""
    global _turns
    _turns = threading.RLock()


os.register_at_fork(after_in_child=_free_turns)


@contextmanager
def updating(variables: Iterable[Any]) -> Iterator[None]:
    """Outside of traces: nobody else changes these Variables between our reading and setting them,
    be it a program or another block like this."""
    if current_trace() is not None:
        yield
        return
    with _turns, changing(variables):
        yield


class _Awaited(threading.local):
    numbers: int | None = None  # that layers may still ask for


_awaited = _Awaited()


@contextmanager
def awaited_weights(numbers: int) -> Iterator[None]:
    """Inside, values of weights are about to come from a file that has so many numbers.

    Layers' weights start as zeros, which take no memory yet. More of them are a FileError.
    """
    before, _awaited.numbers = _awaited.numbers, numbers
    try:
        yield
    finally:
        _awaited.numbers = before


@contextmanager
def beside_awaited() -> Iterator[bool]:
    """Inside, weights are made that no file holds. Gives whether others are awaited from one."""
    before, _awaited.numbers = _awaited.numbers, None
    try:
        yield before is not None
    finally:
        _awaited.numbers = before


def is_awaited(path: str, shape: Sequence[int]) -> bool:
    """Whether a weight's values are about to come from a file; FileError if it has not so many."""
    if _awaited.numbers is None:
        return False
    _awaited.numbers -= math.prod(shape)
    if _awaited.numbers < 0:
        raise FileError(
            f"The configuration asks for more weights than the file holds. Received: "
            f'"{path}" of shape {tuple(shape)}. The file is damaged or hostile.'
        )
    return True


class Variable(Operators):
    """A named array with an optional regularizer and constraint, as keras.Variable.

    Args:
        initializer: an array, a number, or a callable `f(shape, dtype=...)`.
        shape: needed when the initializer is callable.
    """

    is_zk_variable = True
    guard: Guard | None = None  # since a program runs on it
    carried = False  # a state that programs change from run to run, prediction included
    __array_priority__ = 100
    # Called before the values are read or set from outside, when they may be behind the steps made.
    before_read: Callable[[], None] | None = None

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str = "none",
        synchronization: str = "auto",
        name: str | None = None,
        *,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        self.name = _valid_name(name) if name else f"variable_{next(_numbers)}"
        self.path = "/".join(filter(None, [current_scope(), self.name]))
        self.trainable = self.trainable_when_made = trainable
        self.autocast = autocast
        restructure()
        self.aggregation = aggregation
        self.regularizer, self.constraint = regularizer, constraint
        first = _first_value(initializer, shape, dtype)
        self.dtype = first.dtype.name
        self._value = np.asarray(first)  # rounded float32, if it is bfloat16

    @property
    def constraint(self) -> Any:
        """What each update of the values goes through, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, given: Any) -> None:
        self._constraint = _function_or_none("constraint", given)

    @property
    def regularizer(self) -> Any:
        """What makes a loss of the values, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, given: Any) -> None:
        self._regularizer = _function_or_none("regularizer", given)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, a tuple of ints."""
        return self._value.shape

    @property
    def ndim(self) -> int:
        """How many axes."""
        return self._value.ndim

    @property
    def value(self) -> Any:
        """The values now, which later assignments leave as they are; in a running trace the tensor
        that stands for them."""
        trace = current_trace()
        return trace.read(self) if trace else self._labelled().copy()

    def present(self) -> np.ndarray:
        """The array itself, up to date: it changes with the Variable."""
        if self.before_read is not None:
            self.before_read()
        return self._value

    def numpy(self) -> np.ndarray:
        """A copy of the present values."""
        if self.guard is None:
            return self._labelled().copy()
        with unchanged([self]):
            return self._labelled().copy()

    def _labelled(self) -> np.ndarray:
        return labelled(self.present()) if self.dtype == BFLOAT16 else self.present()

    def assign(self, value: Any) -> Any:
        """Set the values (in a running trace: note the update of the graph). Returns the value."""
        trace = current_trace()
        if trace:
            from zoo_keras.primitives.op import as_tensors, cast_to

            trace.assign(self, cast_to(as_tensors([value])[0], self.dtype))
            return value
        array = self._rounded(value)
        if array.shape != self.shape:
            raise ShapeError(
                f'Variable "{self.path}" has shape {self.shape}. Received: a value of shape '
                f"{array.shape}. Pass an array of the variable's own shape."
            )
        if self.guard is None:
            self.present()[...] = array
        else:
            with self.guard.writing():
                self.present()[...] = array
                self.guard.touched()
        touch()
        return value

    def _rounded(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        return np.asarray(in_dtype(array, BFLOAT16)) if self.dtype == BFLOAT16 else array

    def overwrite(self, value: Any) -> None:
        """Set the values from within `before_read`."""
        self._value[...] = self._rounded(value)
        if self.guard is not None:
            self.guard.touched()

    def assign_add(self, value: Any) -> Any:
        """Add to the values."""
        with updating([self]):
            return self.assign(self + value)

    def assign_sub(self, value: Any) -> Any:
        """Subtract from the values."""
        with updating([self]):
            return self.assign(self - value)

    def move_to(self, array: np.ndarray) -> None:
        """Keep the values in this array (a view of a flat vector) from now on."""
        array[...] = self.present()
        self._value, self.before_read = array, None
        restructure()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.present(), dtype=dtype, copy=copy is None or copy)

    def __len__(self) -> int:
        return len(self._value)

    def __pos__(self) -> Any:
        return self.value

    def __bool__(self) -> bool:
        raise TypeError(
            "A Keras Variable cannot be used as a boolean. Received: an `if`, `and`, `or` or `not` "
            f'on "{self.path}". Ask for `variable is not None`, or compare its value.'
        )

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def _scalar(self) -> np.ndarray:
        if self.ndim:
            raise TypeError(
                "Only scalar arrays can be converted to Python scalars. Received: a Variable of "
                f"shape {self.shape}. Pick one element first."
            )
        return self.present()

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_value": np.asarray(self.numpy())}
        for key in ("before_read", "guard"):
            state.pop(key, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        restructure()

    def __copy__(self) -> Variable:
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        text = f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}"
        return f"{text}, value={self.present()}>" if current_trace() is None else f"{text}>"


install_operators(Variable)


def _unless_a_variable(elementwise: Callable[[Any, Any], Any], same: bool) -> Any:
    """Compared with numbers element by element; with each other by identity, so that lists of
    Variables can be searched."""

    def compare(self: Variable, other: Any) -> Any:
        if other is None or isinstance(other, (Variable, str)):
            return (self is other) is same
        return elementwise(self, other)

    return compare


Variable.__eq__ = _unless_a_variable(Variable.__eq__, True)  # type: ignore[method-assign]
Variable.__ne__ = _unless_a_variable(Variable.__ne__, False)  # type: ignore[method-assign]


def _function_or_none(attribute: str, given: Any) -> Any:
    if given is not None and not callable(given):
        raise ConfigError(
            f"Variable: Invalid value for attribute `{attribute}`. Received: {given!r}. Pass a "
            "function of the values, or None."
        )
    return given


def _valid_name(name: Any) -> str:
    if not isinstance(name, str) or "/" in name:
        raise ConfigError(
            "Variable: Argument `name` must be a string and cannot contain character `/`. "
            f"Received: name={name!r}. Use a plain name."
        )
    return name


def _first_value(initializer: Any, shape: Sequence[int] | None, dtype: Any) -> np.ndarray:
    if isinstance(initializer, str):
        from zoo_keras import initializers

        initializer = initializers.get(initializer)
    if callable(initializer):
        kind = dtypes.standardize(dtype)
        if shape is None:
            raise ShapeError(
                "When creating a Variable from an initializer, the `shape` is needed. Received: "
                f"shape=None with {initializer!r}. Pass the shape, or an array."
            )
        made = in_dtype(np.asarray(initializer(tuple(shape), dtype=kind), order="C"), kind)
        # Initializers of the user's may give the same array twice; ours do not.
        return made if type(initializer).__module__.startswith("zoo_keras.") else made.copy()
    kind = dtypes.standardize(dtype) if dtype is not None else _dtype_of(initializer)
    array = in_dtype(np.array(initializer, dtype=dtypes.storage(kind), order="C"), kind)
    return array if shape is None else array.reshape(shape)


def _dtype_of(value: Any) -> str:
    return str(value.dtype) if isinstance(value, (Bfloat16, Variable)) else dtypes.of_python(value)


class FlatVector:
    """Variables of one dtype laid end to end in one array; the variables become views of it.

    >>> flat = FlatVector([kernel, bias])
    >>> flat.array[flat.offsets[0]]  # the kernel's first number
    """

    def __init__(
        self,
        variables: Iterable[Variable],
        allocate: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.variables = list(variables)
        sizes = [v._value.size for v in self.variables]
        self.offsets = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]
        self.size = self.offsets[-1]
        self.array = (allocate or _float_vector)(self.size)
        self._views = [
            self.array[lo : lo + size].reshape(variable.shape)
            for variable, lo, size in zip(self.variables, self.offsets, sizes, strict=False)
        ]
        self.reclaim()

    def reclaim(self) -> None:
        """Take over the Variables, with their present values, that are views of other arrays."""
        for variable, view in zip(self.variables, self._views, strict=True):
            if variable._value is not view:
                variable.move_to(view)


def _float_vector(size: int) -> np.ndarray:
    from zoo_keras.native import aligned

    return aligned(4 * size).view(np.float32)
