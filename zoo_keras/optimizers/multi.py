"""Several optimizers as one: each updates the weights that a map gives it.

In: gradients of all weights. Out: each optimizer's step on its own. All weights of a step are seen
together, so on Spark every rank makes the whole step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np

from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError
from zoo_keras.optimizers.loss_scale import LossScaleOptimizer
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.variables import Variable


class OptimizerMap(MutableMapping):
    """Regular expressions for paths of weights -> optimizers, and one for all others.

    Raises ConfigError for what is no optimizer, for a key that is there, and when two expressions
    match one path. Source: keras.optimizers.OptimizerMap.

    >>> found = OptimizerMap(SGD())
    >>> found["encoder/.*"] = Adam()
    """

    keras_module = "keras.optimizers"

    def __init__(self, default_optimizer: Any, optimizer_map: dict[str, Any] | None = None) -> None:
        _check_optimizer(default_optimizer)
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise ConfigError(
                f"OptimizerMap: optimizer_map must be a dictionary. Received: {optimizer_map!r}. "
                "Pass paths and optimizers."
            )
        self._default = default_optimizer
        self._map: dict[str, Any] = dict(optimizer_map or {})

    @property
    def default_optimizer(self) -> Any:
        """That of all other weights."""
        return self._default

    def __getitem__(self, key: str) -> Any:
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ConfigError(
                f"OptimizerMap: multiple optimizers are assigned to variable {key!r}. Received: "
                f"{found}. Make the expressions exclude each other."
            )
        return self._map[found[0]] if found else self._default

    def __setitem__(self, key: str, optimizer: Any) -> None:
        if not isinstance(key, str) or key in self._map:
            raise ConfigError(
                f"OptimizerMap: a key is a path that is not there yet. Received: {key!r}. The keys "
                f"are {list(self._map)}."
            )
        _check_optimizer(optimizer)
        self._map[key] = optimizer

    def __delitem__(self, key: str) -> None:
        del self._map[key]

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def __call__(self, variable: Variable) -> Any:
        """The optimizer of a weight."""
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "default_optimizer": serialize_keras_object(self._default),
            "optimizer_map": {k: serialize_keras_object(v) for k, v in self._map.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> OptimizerMap:
        """The map of a configuration."""
        made = deserialize_keras_object(config["default_optimizer"], custom_objects=custom_objects)
        held = {
            key: deserialize_keras_object(value, custom_objects=custom_objects)
            for key, value in (config.get("optimizer_map") or {}).items()
        }
        return cls(made, held)


def _check_optimizer(given: Any) -> None:
    if not isinstance(given, Optimizer) or isinstance(given, (LossScaleOptimizer, MultiOptimizer)):
        raise ConfigError(
            f"A map of optimizers holds plain ones: an optimizer cannot be {type(given).__name__}. "
            f"Received: {given!r}. Pass Adam() or another."
        )


class MultiOptimizer(Optimizer):
    """Gives each weight to the optimizer that an OptimizerMap, or a function of the weight, names.

    It has no learning_rate: its `optimizers` have. Source: keras.optimizers.MultiOptimizer.

    >>> model.compile(MultiOptimizer(OptimizerMap(SGD(), {"encoder/.*": Adam()})), "mse")
    """

    elementwise = False

    def __init__(
        self, optimizer_map: Callable[[Variable], Any], loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate=0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._optimizer_map = optimizer_map
        self._inner: list[Any] = []
        self._chosen: list[int] = []  # for each weight the number of its optimizer
        named = list(optimizer_map.values()) if isinstance(optimizer_map, OptimizerMap) else []
        if isinstance(optimizer_map, OptimizerMap):
            named.append(optimizer_map.default_optimizer)
        for optimizer in named:
            self._note(optimizer)

    def _note(self, optimizer: Any) -> None:
        _check_optimizer(optimizer)
        if not any(optimizer is known for known in self._inner):
            optimizer.loss_scale_factor = self._loss_scale
            self._inner.append(optimizer)

    @property
    def loss_scale_factor(self) -> float | None:
        """That of all optimizers, whatever they were made with."""
        return self._loss_scale

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale = value
        for optimizer in self.__dict__.get("_inner", ()):
            optimizer.loss_scale_factor = value

    def rated(self) -> list[Any]:
        """The optimizers in it."""
        return list(self._inner)

    def averages(self) -> list[tuple[Variable, Variable]]:
        return [pair for optimizer in self._inner for pair in optimizer.averages()]

    @property
    def optimizers(self) -> list[Any]:
        """The optimizers."""
        return self._inner

    def build(self, variables: Sequence[Variable]) -> None:
        if self._already_built(variables):
            return
        chosen = [self._optimizer_map(variable) for variable in variables]
        for optimizer in chosen:
            self._note(optimizer)
        for optimizer in self._inner:
            own = [v for v, o in zip(variables, chosen, strict=True) if o is optimizer]
            if own:
                optimizer.build(own)
        numbers = {id(optimizer): i for i, optimizer in enumerate(self._inner)}
        self._chosen = [numbers[id(optimizer)] for optimizer in chosen]
        super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        """Its own Variables, then those of the optimizers."""
        return [*self._variables, *[v for o in self._inner for v in o.variables]]

    def slots(self) -> dict[str, list[Variable]]:
        return {}

    def step(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Each optimizer's step on the weights that are its own."""
        for optimizer in self._inner:
            own = [
                (g, v)
                for g, v in zip(grads, variables, strict=True)
                if self._optimizer_of(v) is optimizer
            ]
            if own:
                weights = [v for _, v in own]
                optimizer.step([g for g, _ in own], weights)
                optimizer._overwrite_and_constrain(weights)
                optimizer.count_step()

    def _get_own(self, variables: Sequence[Variable], optimizer: Any) -> list[Variable]:
        return [v for v in variables if self._optimizer_of(v) is optimizer]

    def _optimizer_of(self, variable: Variable) -> Any:
        return self._inner[self._chosen[self._index[id(variable)]]]

    def _take_over(self, variables: Sequence[Variable]) -> None:
        super()._take_over(variables)
        for number, optimizer in enumerate(self._inner):
            own = [v for v, n in zip(variables, self._chosen, strict=True) if n == number]
            if own:
                optimizer._take_over(own)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        for optimizer in self._inner:
            if own := self._get_own(var_list, optimizer):
                optimizer.finalize_variable_values(own)

    @property
    def learning_rate(self) -> Any:
        """None of its own: AttributeError."""
        raise AttributeError(
            "Learning rate cannot be accessed on a MultiOptimizer. Received: learning_rate. Access "
            "it on the individual optimizers, in `optimizers`."
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(
            f"Learning rate cannot be set on a MultiOptimizer. Received: {value!r}. Set it on the "
            "individual optimizers, in `optimizers`."
        )

    def ask_rate(self) -> None:
        for optimizer in self._inner:
            optimizer.ask_rate()

    def rates(self) -> list[Variable]:
        """Those of the optimizers."""
        return [v for optimizer in self._inner for v in optimizer.rates()]

    def rate_array(self) -> np.ndarray:
        return np.zeros((), np.float32)

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer_map": serialize_keras_object(self._optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> MultiOptimizer:
        rest = dict(config)
        made = deserialize_keras_object(rest.pop("optimizer_map"), custom_objects=custom_objects)
        return cls(made, **rest)
