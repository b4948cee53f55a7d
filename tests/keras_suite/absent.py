"""Modules of frameworks that zoo_keras does without: what calls them is skipped, saying which.

In: an import of `tensorflow`, `jax` or the like in a test file. Out: an object that takes part in
imports, decorators and isinstance, and ends the test when it is called or read as a number.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import pytest

FRAMEWORKS = ("tensorflow", "jax", "torch", "tf_keras", "flax", "grain", "onnx", "onnxruntime",
              "openvino", "litert_torch", "torchvision", "tensorflow_io", "ml_dtypes", "optree",
              "dmtree", "tensorboard", "orbax")  # fmt: skip


def needs(name: str) -> NoReturn:
    """End the running test, or the loading of its file."""
    pytest.skip(f"needs {name}", allow_module_level=True)


class Absent:
    """A name of an absent framework."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def framework(self) -> str:
        return self.path.partition(".")[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        needs(self.framework)

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return ()

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        needs(self.framework)

    def __iter__(self) -> Iterator[Any]:
        needs(self.framework)

    def __enter__(self) -> Any:
        needs(self.framework)

    def __exit__(self, *args: Any) -> None:
        needs(self.framework)

    def __repr__(self) -> str:
        return f"<absent {self.path}>"


class AbsentFrameworks(MetaPathFinder, Loader):
    """Finds FRAMEWORKS while a test file is being loaded or run."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in FRAMEWORKS or not _asked_by_a_test():
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made = _AbsentModule(spec.name)
        made.__path__ = []
        return made

    def exec_module(self, module: ModuleType) -> None:
        pass


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.__name__}.{name}")


def _asked_by_a_test() -> bool:
    frame: Any = sys._getframe(2)
    while frame and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return bool(frame) and frame.f_code.co_filename.endswith("_test.py")
