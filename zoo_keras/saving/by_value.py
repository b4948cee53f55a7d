"""Python functions as text and back: bytecode, defaults and closure, as Keras stores lambdas.

Reading runs foreign code, so only callers that were told safe_mode=False come here. Bytecode fits
one Python version only. Knows no config and no layer.
"""

from __future__ import annotations

import base64
import binascii
import marshal
import types
from typing import Any

from zoo_keras.errors import ConfigError


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


def _globals() -> dict[str, Any]:
    import numpy as np

    import zoo_keras
    from zoo_keras import ops

    known = {"np": np, "numpy": np, "ops": ops, "keras": zoo_keras, "zoo_keras": zoo_keras}
    return {"__builtins__": __builtins__, **known}
