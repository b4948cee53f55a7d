"""From a graph to numbers: lowering, Programs, and the door to the C library."""

from typing import Any

from zoo_keras.paths import OLDER, alias


def __getattr__(name: str) -> Any:
    if name in OLDER["engine"].split():  # scripts for Keras 2 import Layer from keras.engine
        return alias("zoo_keras.engine", name)
    raise AttributeError(f"module 'zoo_keras.engine' has no attribute {name!r}")
