"""Modules that are only names: Keras' second paths, the paths of Keras 2, and `import keras`.

In: a path and the names that stand there. Out: modules for `import`. No name is looked up before it
is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from zoo_keras.missing import keras_names, missing

# A path below zoo_keras -> the module below zoo_keras that holds its names.
ALIASES = {
    "layers.advanced_activations": "layers", "layers.convolutional": "layers",
    "layers.convolutional_recurrent": "layers", "layers.embeddings": "layers",
    "layers.merge": "layers", "layers.noise": "layers", "utils.np_utils": "utils",
    "utils.generic_utils": "utils", "utils.vis_utils": "utils", "utils.data_utils": "utils",
    "legacy": "saving", "legacy.saving": "saving",
    "utils.legacy": "saving", "optimizers.legacy": "optimizers",
}  # fmt: skip
# Files of ours that have a path of Keras 2: what they don't define is found in `layers`.
SHARED = ("layers.core", "layers.normalization", "layers.pooling", "layers.recurrent",
          "layers.wrappers")  # fmt: skip


def module(path: str, names: Mapping[str, Any], doc: str) -> ModuleType:
    """A module at a path with these names; others are refused by name."""
    made = ModuleType(path, doc)
    made.__dict__.update(names)
    made.__dict__["__all__"] = sorted(names)
    made.__dict__["__getattr__"] = lambda wanted: _refuse(path, wanted)
    sys.modules.setdefault(path, made)
    return made


def _refuse(path: str, name: str) -> Any:
    raise missing(path, name)


def fallback(path: str, names: Iterable[str], home: str) -> Callable[[str], Any]:
    """A `__getattr__` that finds these names in the module `home`."""
    known = frozenset(names)

    def found(name: str) -> Any:
        if name not in known:
            return alias(path, name)
        return getattr(importlib.import_module(home), name)

    return found


def alias(path: str, name: str) -> Any:
    """The alias `name` below the module at `path`; else the error that the name is missing."""
    if f"{path}.{name}".partition(".")[2] in ALIASES:
        return importlib.import_module(f"{path}.{name}")
    raise missing(path, name)


def names_at(path: str) -> list[str]:
    """What Keras 2 and 3 have at a path below `keras`."""
    return [name for table in keras_names().values() for name in table.get(path, ())]


class _Aliases(MetaPathFinder, Loader):
    """Makes the modules of ALIASES when they are imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        below = fullname.partition(".")[2]
        if fullname.startswith("zoo_keras.") and below in ALIASES:
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        below = module.__name__.partition(".")[2]
        names = [n for n in names_at(below) if f"{below}.{n}" not in ALIASES]
        module.__dict__["__doc__"] = f"The names of keras.{below}."
        module.__dict__["__all__"] = sorted(names)
        home = f"zoo_keras.{ALIASES[below]}"
        module.__dict__["__getattr__"] = fallback(module.__name__, names, home)


class _AsKeras(MetaPathFinder, Loader):
    """`import keras.x` gives zoo_keras.x, under each of the prefixes."""

    def __init__(self) -> None:
        self.prefixes: list[str] = []

    def _ours(self, fullname: str) -> str | None:
        for prefix in self.prefixes:
            if fullname == prefix or fullname.startswith(f"{prefix}."):
                return "zoo_keras" + fullname[len(prefix) :]
        return None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        ours = self._ours(fullname)
        if ours is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        ours = self._ours(module.__name__)
        sys.modules[module.__name__] = importlib.import_module(str(ours))


_as_keras = _AsKeras()


def install_aliases() -> None:
    """Let `import` find ALIASES, and what SHARED files lack."""
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        sys.meta_path.append(_Aliases())


def install_as_keras(tensorflow: bool = False) -> None:
    """Let `import keras`, and all that imports it after this, find zoo_keras.

    Args:
        tensorflow: `tensorflow.keras` and `tf_keras` too, without TensorFlow: `import tensorflow`
            gives a module with `keras` and `GradientTape` only.

    Raises ImportError when Keras was imported before.

    >>> install_as_keras()
    >>> import keras
    >>> keras.__name__
    'zoo_keras'
    """
    prefixes = ["keras", *(["tensorflow.keras", "tf_keras"] if tensorflow else [])]
    for prefix in prefixes:
        there = sys.modules.get(prefix)
        if there is not None and not there.__name__.startswith("zoo_keras"):
            raise ImportError(
                f"install_as_keras: {prefix} was imported before. Received: {there.__name__}. Call "
                "it first in the program."
            )
        if prefix not in _as_keras.prefixes:
            _as_keras.prefixes.append(prefix)
    if _as_keras not in sys.meta_path:
        sys.meta_path.insert(0, _as_keras)
    if tensorflow and "tensorflow" not in sys.modules:
        import zoo_keras

        names = {"keras": zoo_keras, "GradientTape": zoo_keras.GradientTape}
        made = module("tensorflow", names, "tensorflow.keras by zoo_keras.")
        made.__path__ = []
