"""Golden identifiers: what `get` makes of every word that Keras knows, as `serialize` writes it.

A word whose class wants arguments has None; "" stands for None, which `get` also takes. The bare
base classes stand by themselves, in a row without a module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import keras

from .make_layers import plain
from .store import Writer

MODULES = (
    "activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers",
)  # fmt: skip
BASES = ("Initializer", "Loss", "Metric")


def make() -> None:
    writer = Writer("identifiers")
    for module in MODULES:
        public = getattr(keras, module)
        known = import_module(f"keras.src.{module}").ALL_OBJECTS_DICT
        words = {w: _written(public, w) for w, kind in known.items() if kind.__name__ not in BASES}
        writer.add(module, {"words": words | {"": _written(public, None)}}, {})
    made = (keras.Initializer(), keras.Loss("a"), keras.Metric(name="b"))
    bases = [plain(keras.saving.serialize_keras_object(value)) for value in made]
    writer.add("", {"bases": bases, "words": {}}, {})
    writer.write()


def _written(module: Any, word: str | None) -> Any:
    keras.utils.clear_session()  # the first of its class has its name without a number
    try:
        return plain(module.serialize(module.get(word)))
    except (KeyError, NotImplementedError, TypeError, ValueError):
        return None
