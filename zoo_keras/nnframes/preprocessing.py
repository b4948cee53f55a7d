"""Preprocessing: steps from a column's values to a model's input, as plain data.

In: arguments. Out: steps that know themselves as JSON, and the Keras layers that do the work, in
training and in scoring. Knows no model and no Spark; steps of images are in images.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from zoo_keras import layers
from zoo_keras.errors import ConfigError
from zoo_keras.layers import Layer

STEPS: dict[str, type[Preprocessing]] = {}  # by name: what a saved stage may hold


class Preprocessing:
    """One step. A step is data: its name and its arguments.

    `layers(training)` gives the Keras layers that do it; steps that change images at random have
    none when a model scores. Called on images or numbers, a step does what it does in training.

    >>> ImageResize(2, 2)(np.zeros((1, 4, 4, 3), "uint8")).shape
    (1, 2, 2, 3)
    """

    _given: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        STEPS[cls.__name__] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        made._given = {k: v for k, v in list(bound.arguments.items())[1:] if k != "kwargs"}
        return made

    def __reduce__(self) -> Any:
        return step_of, (self.get_config(),)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._given.items())
        return f"{type(self).__name__}({given})"

    def __call__(self, x: Any) -> Any:
        return layers.Pipeline(self.layers(True))(x, training=True)

    def get_config(self) -> dict[str, Any]:
        """The step as JSON: its name and arguments."""
        return {"name": type(self).__name__, "arguments": self._given}

    @property
    def steps(self) -> list[Preprocessing]:
        """The plain steps that this one is made of."""
        return [self]

    def layers(self, training: bool) -> list[Layer]:
        """The Keras layers that do this step; none when there is nothing to do."""
        del training
        return []


def step_of(config: Any) -> Preprocessing:
    """The step of `get_config`. ConfigError for a name that is not known."""
    name = config.get("name") if isinstance(config, dict) else None
    if name not in STEPS:
        raise ConfigError(
            f"A saved stage names an unknown step. Received: {str(config)[:80]}. It is damaged, or "
            "of another version: save the stage again."
        )
    return STEPS[name](**{k: _read(v) for k, v in config["arguments"].items()})


def _read(value: Any) -> Any:
    if isinstance(value, dict) and "name" in value:
        return step_of(value)
    return [_read(v) for v in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Preprocessing):
        return value.get_config()
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


class ChainedPreprocessing(Preprocessing):
    """Steps one after the other.

    >>> ChainedPreprocessing([RowToImageFeature(), ImageResize(224, 224), ImageMatToTensor()])
    """

    def __init__(self, transformers: Sequence[Preprocessing]) -> None:
        for each in transformers:
            if not isinstance(each, Preprocessing):
                raise ConfigError(
                    f"ChainedPreprocessing takes steps. Received: {each!r} of type "
                    f"{type(each).__name__}. Make it one, such as ImageResize(224, 224)."
                )
        self.transformers = list(transformers)

    def get_config(self) -> dict[str, Any]:
        """The steps as JSON."""
        return {"name": type(self).__name__, "arguments": {"transformers": _plain(self.steps)}}

    @property
    def steps(self) -> list[Preprocessing]:
        """The plain steps, in order."""
        return [step for each in self.transformers for step in each.steps]

    def layers(self, training: bool) -> list[Layer]:
        """The layers of all steps."""
        return [layer for step in self.steps for layer in step.layers(training)]


class SeqToTensor(Preprocessing):
    """A number, an array or an ML vector as an input of this shape; without one, as it is."""

    def __init__(self, size: Sequence[int] = ()) -> None:
        self.size = sizes(self, size)


class ArrayToTensor(SeqToTensor):
    """An array as an input of this shape."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__(size)


class MLlibVectorToTensor(SeqToTensor):
    """An ML vector, dense or sparse, as an input of this shape."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__(size)


class ScalarToTensor(SeqToTensor):
    """A number as an input of one number."""

    def __init__(self) -> None:
        super().__init__((1,))


class SeqToMultipleTensors(Preprocessing):
    """An array or ML vector cut into the inputs of a model, one for each of these shapes."""

    def __init__(self, size: Sequence[Sequence[int]]) -> None:
        self.parts = [sizes(self, part) for part in size]
        if not self.parts or () in self.parts:
            raise ConfigError(
                f"SeqToMultipleTensors needs a shape for each input. Received: {size!r}. Pass e.g. "
                "[[2], [4]]."
            )

    @property
    def lengths(self) -> list[int]:
        """How many numbers each part takes."""
        return [math.prod(part) for part in self.parts]


class FeatureLabelPreprocessing(Preprocessing):
    """A step for the features and one for the label; a list of sizes stands for SeqToTensor."""

    def __init__(self, feature_transformer: Any, label_transformer: Any = None) -> None:
        self.feature = as_step(feature_transformer)
        self.label = as_step(label_transformer)

    def get_config(self) -> dict[str, Any]:
        """Both as JSON."""
        given = {"feature_transformer": self.feature, "label_transformer": self.label}
        arguments = {name: step.get_config() for name, step in given.items()}
        return {"name": type(self).__name__, "arguments": arguments}


class TensorToSample(Preprocessing):
    """Nothing is to do here: what comes is an input already."""


class ToTuple(Preprocessing):
    """Nothing is to do here: labels have columns of their own."""


def as_step(given: Any) -> Preprocessing:
    """A step; a list of sizes means SeqToTensor, None the column as it is."""
    if given is None or isinstance(given, (list, tuple)):
        parts: Any = given or ()
        nested = bool(parts) and isinstance(parts[0], (list, tuple))
        return SeqToMultipleTensors(parts) if nested else SeqToTensor(parts)
    if isinstance(given, Preprocessing):
        return given
    raise ConfigError(
        f"Preprocessing must be a step, a chain of them, or a list of sizes. Received: {given!r}. "
        "Pass e.g. ChainedPreprocessing([...]) or SeqToTensor([1000])."
    )


def sizes(step: Any, given: Any) -> tuple[int, ...]:
    """Whole sizes of an input. ConfigError for others."""
    found = (given,) if isinstance(given, int) else tuple(given)
    if not all(isinstance(n, int) and n > 0 for n in found):
        raise ConfigError(
            f"{type(step).__name__}: sizes must be whole numbers above 0. Received: {given!r}. "
            "Pass e.g. [28, 28, 1]."
        )
    return found
