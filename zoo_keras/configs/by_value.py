"""Python functions as text and back: bytecode, defaults and closure, as Keras stores lambdas.

Reading runs foreign code, so only callers that were told safe_mode=False come here. Bytecode fits
one Python version only. Knows no config and no layer.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import marshal
import types
from typing import Any, NamedTuple, TypeVar

from zoo_keras.errors import ConfigError

T = TypeVar("T")


def dump_function(function: types.FunctionType) -> tuple[str, Any, Any]:
    """(base64 of the bytecode, default values, closure values) of a function."""
    code = base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")
    cells = function.__closure__
    closure = tuple(c.cell_contents for c in cells) if cells else None
    return code, function.__defaults__, closure


def load_function(value: Any) -> types.FunctionType:
    """The function that dump_function, or Keras, wrote.

    Inside it `np`, `ops`, `keras` and `zoo_keras` are known; other modules it must import itself.
    Raises ConfigError when the bytecode cannot be read by this Python.
    """
    whole = isinstance(value, (list, tuple))
    code_text, defaults, closure = value if whole else (value, None, None)
    try:
        code = marshal.loads(base64.decodebytes(code_text.encode("ascii")))
    except (ValueError, EOFError, TypeError, UnicodeEncodeError, binascii.Error) as error:
        raise ConfigError(
            f"A function stored by value cannot be read: {error}. Received: {str(code_text)[:40]!r}"
            "... Load it with the Python version that saved it, or save a named function."
        ) from error
    if not isinstance(code, types.CodeType):
        raise ConfigError(
            f"A function stored by value is no bytecode. Received: {type(code)}. "
            "Save the model again with a named function."
        )
    defaults = tuple(defaults) if defaults is not None else None
    cells = tuple(map(types.CellType, closure)) if closure else None
    return types.FunctionType(code, _globals(), code.co_name, defaults, cells)


class Carried:
    """A lambda on its way into a pickle, which knows functions by their names only. It takes along
    its defaults, its closure and the globals that it names."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __deepcopy__(self, memo: Any) -> Carried:
        return self

    def __reduce__(self) -> Any:
        known = self.function.__globals__
        named = {n: _global(known[n]) for n in _names(self.function.__code__) if n in known}
        return _arrived, (*dump_function(self.function), named)


class _Module(NamedTuple):
    """Stands for a module, which cannot be pickled."""

    name: str


def _global(value: Any) -> Any:
    if isinstance(value, types.ModuleType):
        return _Module(value.__name__)
    return Carried(value) if _is_lambda(value) else value


def _names(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _arrived(code: str, defaults: Any, closure: Any, named: dict[str, Any]) -> Carried:
    function = load_function((code, defaults, closure))
    for name, value in named.items():
        found = importlib.import_module(value.name) if isinstance(value, _Module) else value
        function.__globals__[name] = unpacked(found)
    return Carried(function)


def _is_lambda(value: Any) -> bool:
    return isinstance(value, types.FunctionType) and value.__name__ == "<lambda>"


def packed(value: Any) -> Any:
    """A value with Carried in place of lambdas, also inside of plain lists, tuples and dicts."""
    if _is_lambda(value):
        return Carried(value)
    return _inside(packed, value)


def unpacked(value: Any) -> Any:
    """What `packed` was given."""
    return value.function if isinstance(value, Carried) else _inside(unpacked, value)


def _inside(change: Any, value: Any) -> Any:
    """The container with changed items, or itself when none changes."""
    if type(value) is dict:
        made: Any = {k: change(v) for k, v in value.items()}
        return value if all(made[k] is v for k, v in value.items()) else made
    if type(value) in (list, tuple):
        made = type(value)(change(v) for v in value)
        return value if all(a is b for a, b in zip(made, value, strict=True)) else made
    return value


def carries_lambdas(cls: type[T]) -> type[T]:
    """Let pickle take objects of a class whose attributes may be lambdas."""

    def getstate(self: Any) -> dict[str, Any]:
        return {k: packed(v) for k, v in self.__dict__.items()}

    def setstate(self: Any, state: dict[str, Any]) -> None:
        self.__dict__.update((k, unpacked(v)) for k, v in state.items())

    cls.__getstate__ = getstate  # type: ignore[method-assign]
    cls.__setstate__ = setstate  # type: ignore[attr-defined]
    return cls


def _globals() -> dict[str, Any]:
    import numpy as np

    import zoo_keras
    from zoo_keras import ops

    known = {"np": np, "numpy": np, "ops": ops, "keras": zoo_keras, "zoo_keras": zoo_keras}
    return {"__builtins__": __builtins__, **known}
