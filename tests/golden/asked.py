"""Keras as a program sees it, and which of its public names the program asked for.

In: the module. Out: an object with its attributes; `names` has "layers.Dense" and the like.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Asked:
    def __init__(self, module: Any, path: str = "", names: set[str] | None = None) -> None:
        self._module, self._path = module, path
        self.names: set[str] = set() if names is None else names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, ModuleType):
            return Asked(value, f"{self._path}{name}.", self.names)
        self.names.add(self._path + name)
        return value
