"""Names of `keras.src.trainers` that zoo_keras keeps elsewhere, and Trainer as a class to mix in.

Keras' tests make a model of a layer by `class Example(Trainer, Dense)`. Here that is a Model whose
`call`, `build` and the like are those of the layer.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.layers.base.layer import Layer
from zoo_keras.models import Model
from zoo_keras.utils import PyDataset

__all__ = ["PyDataset", "Trainer"]

_OF_THE_LAYER = ("call", "build", "get_config", "compute_output_shape", "compute_output_spec")


class Trainer(Model):
    """A Model that is mixed in with a layer; the layer's own __init__ has run before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._function = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        after = cls.__mro__[cls.__mro__.index(Model) + 1 :]
        others = [c for c in after if issubclass(c, Layer) and c is not Layer]
        for name in _OF_THE_LAYER:
            own = any(name in c.__dict__ for c in cls.__mro__[: cls.__mro__.index(Trainer)])
            found = next((c.__dict__[name] for c in others if name in c.__dict__), None)
            if found is not None and not own:
                setattr(cls, name, found)
