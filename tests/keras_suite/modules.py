"""`keras.src` and all below it, made of zoo_keras: the modules that Keras' test files import.

In: an import. Out: a test file of Keras (when tests import each other), a stand-in of stand_ins/,
or a module that finds names in the public module of zoo_keras that has them. A name that is nowhere
is a Missing, which fails the test that uses it rather than the whole file.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any, NoReturn

from absent import Absent, AbsentFrameworks
from fetch import FOLDER, MODULES

# The first names of a path below keras.src -> where its names are, in this order.
HOMES = {
    "backend.numpy": ["zoo_keras.ops.numpy"],
    "backend": ["stand_ins.backend", "zoo_keras.backend", "zoo_keras.config", "stand_ins.settings"],
    "testing": ["stand_ins.testing"],
    "backend.tensorflow.trainer": ["stand_ins.tensorflow"],
    "tree": ["zoo_keras.tree", "stand_ins.tree"],
    "trainers": ["stand_ins.trainers", "zoo_keras.utils"],
    "callbacks": ["zoo_keras.callbacks", "stand_ins.callbacks"],
    "utils.io_utils": ["zoo_keras.utils", "stand_ins.settings"],
    "layers.rnn": ["zoo_keras.layers", "zoo_keras.layers.conv_lstm", "zoo_keras"],
    "layers.preprocessing.image_preprocessing.bounding_boxes": ["zoo_keras.utils.bounding_boxes"],
    "layers.preprocessing.feature_space": ["zoo_keras.utils"],
    "layers": ["zoo_keras.layers", "stand_ins.layers", "zoo_keras"],
    "ops.image": ["zoo_keras.ops.image"],
    "ops.linalg": ["zoo_keras.ops.linalg"],
    "ops.numpy": ["zoo_keras.ops.numpy", "zoo_keras.ops"],
    "ops": ["zoo_keras.ops", "stand_ins.ops", "zoo_keras.ops.nn", "zoo_keras"],
    "saving": ["zoo_keras.saving", "stand_ins.saving"],
    "legacy": ["zoo_keras.saving", "stand_ins.saving"],
    "models": ["zoo_keras.models", "stand_ins.models"],
    "utils.file_utils": ["stand_ins.files"],
    "utils.tracking": ["stand_ins.tracking"],
    "utils": ["zoo_keras.utils", "stand_ins.utils", "zoo_keras.config"],
    "losses": ["zoo_keras.losses", "stand_ins.losses"],
    "metrics.metrics_utils": ["stand_ins.metrics_utils"],
    "datasets": ["zoo_keras.datasets", "stand_ins.datasets"],
    "dtype_policies": ["zoo_keras.dtype_policies", "zoo_keras.config"],
    "random": ["zoo_keras.random", "stand_ins.random"],
    "initializers": ["zoo_keras.initializers", "stand_ins.initializers"],
    "optimizers.schedules": ["zoo_keras.optimizers.schedules"],
    "": ["zoo_keras"],
}


class Missing:
    """A name that zoo_keras does not have."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _fail(self) -> NoReturn:
        raise AttributeError(f"missing name: {self.path}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._fail()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.path}.{name}")

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (_Fails,)

    def __enter__(self) -> NoReturn:
        self._fail()

    def __exit__(self, *args: Any) -> None: ...

    def __iter__(self) -> Any:
        self._fail()

    def __instancecheck__(self, instance: Any) -> bool:
        self._fail()


class _Fails:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise AttributeError("missing name: a base class of this class")


def homes(below: str) -> list[str]:
    """The modules that hold the names of `keras.src.<below>`."""
    path = below
    while path and path not in HOMES:
        path = path.rpartition(".")[0]
    if path or not below:
        return HOMES[path]
    return [f"zoo_keras.{below}", f"zoo_keras.{below.partition('.')[0]}"]


def find(below: str, name: str) -> Any:
    """A name of `keras.src.<below>`: a module of Keras, what zoo_keras has, or a Missing."""
    path = f"{below}.{name}" if below else name
    if path in PATHS:
        return importlib.import_module(f"keras.src.{path}")
    if below == "utils.module_utils":
        return Absent(name)
    if below.startswith("ops") and name[0].isupper() and name != "Function":
        made = _operation(below, name)
        if not isinstance(made, Missing):
            return made
    for home in homes(below):
        module = _imported(home)
        if module is not None and hasattr(module, name):
            return getattr(module, name)
    if below.startswith("ops"):
        return _operation(below, name)
    return Missing(f"keras.src.{path}")


def _operation(below: str, name: str) -> Any:
    from stand_ins.operations import operation

    name_of = {"LayerNorm": "LayerNormalization", "RMSNorm": "RmsNormalization"}.get(name, name)
    snake = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name_of).lower()
    for home in [*homes(below), "zoo_keras.ops.linalg", "zoo_keras.ops.image", "zoo_keras.ops.nn"]:
        for each in (snake, snake.replace("_", ""), re.sub(r"_(?=\d)", "", snake)):
            function = getattr(_imported(home), each, None)
            if name[0].isupper() and callable(function):
                return operation(name, function)
    return Missing(f"keras.src.{below}.{name}")


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return None
        raise


def _paths() -> set[str]:
    found = set()
    for line in MODULES.read_text().split():
        parts = line.removesuffix(".py").split("/")[2:]
        found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


PATHS = _paths()


class KerasSource(MetaPathFinder, Loader):
    """Finds `keras.src` and the modules that Keras has below it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname == "conftest":
            return importlib.util.find_spec("stand_ins.conftest")
        if fullname != "keras.src" and not fullname.startswith("keras.src."):
            return None
        below = fullname.removeprefix("keras.src").removeprefix(".")
        if below not in PATHS:
            return None
        if below.endswith("_test"):
            file = FOLDER / "keras" / "src" / (below.replace(".", "/") + ".py")
            return importlib.util.spec_from_file_location(
                fullname, file, loader=SourceFileLoader(fullname, str(file))
            )
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        below = module.__name__.removeprefix("keras.src").removeprefix(".")

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return find(below, name)

        module.__dict__["__getattr__"] = attribute


def install() -> None:
    """Let `import keras` find zoo_keras, and `import keras.src...` what stands here."""
    import zoo_keras

    zoo_keras.install_as_keras()
    importlib.import_module("stand_ins.internals")
    sys.meta_path[:0] = [KerasSource(), AbsentFrameworks()]
