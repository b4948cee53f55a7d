"""Names under which classes and functions of users are found again when a model is loaded.

In: classes and functions with a package name. Out: lookups by name. Knows only the errors.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from zoo_keras.errors import ConfigError

_objects: dict[str, Any] = {}
_names: dict[Any, str] = {}
_own: dict[str, Any] = {}  # of zoo_keras itself: clearing the public table does not lose them


class _Scope(threading.local):
    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}


_scope = _Scope()


class CustomObjectScope:
    """Make objects known by name inside a `with` block (keras.saving.CustomObjectScope).

    >>> with CustomObjectScope({"my_loss": my_loss}):
    ...     model = zoo_keras.models.load_model(path)
    """

    def __init__(self, custom_objects: dict[str, Any] | None) -> None:
        self.custom_objects = dict(custom_objects or {})
        self.backup: dict[str, Any] = {}

    def __enter__(self) -> CustomObjectScope:
        self.backup = _scope.objects
        _scope.objects = self.custom_objects
        return self

    def __exit__(self, *error: Any) -> None:
        _scope.objects = self.backup


custom_object_scope = CustomObjectScope


def scoped_objects() -> dict[str, Any]:
    """The objects of the innermost CustomObjectScope of this thread."""
    return _scope.objects


def get_custom_objects() -> dict[str, Any]:
    """The live global table of registered objects; scopes are not in it."""
    return _objects


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[Any], Any]:
    """Decorator: know a class or function as "package>name" when configs are read.

    Raises ConfigError for a class without `get_config`.

    >>> @register_keras_serializable("my_package")
    ... class MyDense(zoo_keras.layers.Dense): ...
    """

    def register(target: Any) -> Any:
        if inspect.isclass(target) and not hasattr(target, "get_config"):
            raise ConfigError(
                f"register_keras_serializable: a class must have get_config(). Received: {target}. "
                "Add get_config() returning the arguments of __init__."
            )
        registered = f"{package}>{target.__name__ if name is None else name}"
        _objects[registered] = target
        _names[target] = registered
        return target

    return register


def register_own(registered: str) -> Callable[[Any], Any]:
    """Decorator for functions of zoo_keras that Keras does not have."""

    def register(target: Any) -> Any:
        _own[registered] = target
        _names[target] = registered
        return target

    return register


def get_registered_name(obj: Any) -> str:
    """The registered name of a class or function, or its Python name."""
    try:
        return _names[obj]
    except (KeyError, TypeError):  # TypeError: not hashable, so never registered
        name: str = obj.__name__
        return name


def get_registered_object(
    name: str,
    custom_objects: dict[str, Any] | None = None,
    module_objects: dict[str, Any] | None = None,
) -> Any:
    """The object known by this name: scopes, registrations, the given tables, our own; or None."""
    for table in (_scope.objects, _objects, custom_objects, module_objects, _own):
        if table and name in table:
            return table[name]
    return None
