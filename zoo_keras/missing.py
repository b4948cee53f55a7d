"""What a public module says when a name of Keras is asked for that zoo_keras does not have.

In: the module's and the missing name. Out: the error for the module's `__getattr__` to raise.
"""

from __future__ import annotations

from zoo_keras.errors import UnsupportedError


class MissingNameError(UnsupportedError, AttributeError):
    """An attribute that a public module does not have; hasattr() is False for it."""


def missing(module: str, name: str) -> AttributeError:
    """The error for `module.name`; a plain AttributeError for Python's own dunder names."""
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    return MissingNameError(
        f"{module} has no {name!r}: zoo_keras does not support it, or Keras has no such name "
        f"either. Received: {module}.{name}. Use one of the names in {module}.__all__."
    )
