"""Modules that are only names: Keras' second paths, the paths of Keras 2, and `import keras`.

In: a path and the names that stand there. Out: modules for `import`. No name is looked up before it
is asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
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
    "utils.legacy": "saving", "optimizers.legacy": "optimizers", "objectives": "losses",
}  # fmt: skip
_STACK = "Input InputLayer InputSpec Layer Model Sequential get_source_inputs"
# Paths below zoo_keras of Keras 1 and 2 that its lists of names leave out -> their names.
OLDER = {
    **dict.fromkeys(("engine", "engine.topology", "engine.base_layer", "engine.input_layer",
                     "engine.network", "engine.sequential", "engine.training"), _STACK),
    "layers.cudnn_recurrent": "CuDNNGRU CuDNNLSTM",
    "layers.experimental": "EinsumDense",
    "layers.experimental.preprocessing":
        "CategoryEncoding CenterCrop Discretization HashedCrossing Hashing IntegerLookup "
        "Normalization RandomContrast RandomCrop RandomFlip RandomRotation "
        "RandomTranslation RandomZoom Rescaling Resizing StringLookup "
        "TextVectorization",
    "callbacks.experimental": "BackupAndRestore",
    "mixed_precision.experimental": "LossScaleOptimizer Policy global_policy set_policy",
    "optimizers.experimental":
        "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Nadam Optimizer RMSprop SGD",
    "experimental": "CosineDecay CosineDecayRestarts",
    "utils.layer_utils": "get_source_inputs",
}  # fmt: skip
# A name of an older Keras -> the same by its name today.
RENAMED = {
    "constraints.maxnorm": "constraints.MaxNorm", "constraints.nonneg": "constraints.NonNeg",
    "constraints.unitnorm": "constraints.UnitNorm",
    "initializers.normal": "initializers.RandomNormal", "initializers.one": "initializers.Ones",
    "initializers.uniform": "initializers.RandomUniform", "initializers.zero": "initializers.Zeros",
    "layers.CuDNNGRU": "layers.GRU", "layers.CuDNNLSTM": "layers.LSTM",
    "losses.cosine_proximity": "losses.cosine_similarity", "losses.huber_loss": "losses.huber",
    "mixed_precision.global_policy": "mixed_precision.dtype_policy",
    "mixed_precision.set_policy": "mixed_precision.set_dtype_policy",
}  # fmt: skip
_SECOND_ROOTS = re.compile(
    r"^\.(api|_tf_keras(\.keras)?)(?=\.|$)"
)  # Keras 3 has its names there, too
_HOMES = {"engine": ("layers", "models", "utils"), "experimental": ("optimizers.schedules",)}
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
    """A `__getattr__` that finds these names in the module `home`, and all that is public there:
    modules of Keras 2 import from each other, and scripts take MaxPooling2D from convolutional."""
    known = frozenset(names)

    def found(name: str) -> Any:
        there = importlib.import_module(home)
        if name not in known and name not in there.__all__:
            return alias(path, name)
        return getattr(there, name)

    return found


def alias(path: str, name: str) -> Any:
    """What an older Keras has as `name` at a path; else the error that it is missing."""
    above = path.partition(".")[2]
    below = f"{above}.{name}"
    if below in ALIASES or below in OLDER:
        return importlib.import_module(f"{path}.{name}")
    if below in RENAMED:
        home, _, today = RENAMED[below].rpartition(".")
        return getattr(importlib.import_module(f"zoo_keras.{home}"), today)
    if name in OLDER.get(above, "").split():
        return _from_homes(above, name)
    raise missing(path, name)


def _from_homes(above: str, name: str) -> Any:
    """A name of OLDER, from the first module of today that has it."""
    first = above.partition(".")[0]
    homes = [importlib.import_module(f"zoo_keras.{h}") for h in _HOMES.get(first, (first,))]
    return getattr(next((h for h in homes if hasattr(h, name)), homes[0]), name)


def names_at(path: str) -> list[str]:
    """What Keras 2 and 3 have at a path below `keras`."""
    return [name for table in keras_names().values() for name in table.get(path, ())]


class _Aliases(MetaPathFinder, Loader):
    """Makes the modules of ALIASES when they are imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        below = fullname.partition(".")[2]
        if fullname.startswith("zoo_keras.") and (below in ALIASES or below in OLDER):
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        path, below = module.__name__, module.__name__.partition(".")[2]
        module.__dict__["__doc__"] = f"The names of keras.{below}."
        if below in OLDER:
            module.__dict__["__all__"] = OLDER[below].split()
            module.__dict__["__getattr__"] = functools.partial(alias, path)
            return
        home = ALIASES[below]
        names = [n for n in names_at(below) or names_at(home) if f"{below}.{n}" not in ALIASES]
        module.__dict__["__all__"] = sorted(names)
        module.__dict__["__getattr__"] = fallback(path, names, f"zoo_keras.{home}")


class _AsKeras(MetaPathFinder, Loader):
    """`import keras.x` gives zoo_keras.x, under each of the prefixes."""

    def __init__(self) -> None:
        self.prefixes: list[str] = []

    def _ours(self, fullname: str) -> str | None:
        for prefix in self.prefixes:
            if fullname == prefix or fullname.startswith(f"{prefix}."):
                return "zoo_keras" + _SECOND_ROOTS.sub("", fullname[len(prefix) :])
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
    also = ["tensorflow.keras", "tensorflow.python.keras", "tf_keras"] if tensorflow else []
    prefixes = ["keras", *also]
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
        inner = module("tensorflow.python", {"keras": zoo_keras}, "tensorflow.keras by zoo_keras.")
        inner.__path__ = []
