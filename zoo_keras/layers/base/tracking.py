"""What hangs on a layer: Variables, sublayers and metrics, found as attributes are set."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.configs.by_value import packed, unpacked
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.layers.base.containers import tracked
from zoo_keras.ops.symbolic import any_symbolic
from zoo_keras.random import SeedGenerator
from zoo_keras.variables import Variable, changing, restructure, unchanged

# What the base classes keep for themselves; it neither is nor holds a user's sublayer.
_INTERNAL = frozenset(
    "_own_variables _sublayers _own_metrics _own_seeds _inbound_nodes _own_losses _build_shapes "
    "_stack _function _init_arguments _input_shape_argument _constants _carried".split()
)
# What no copy has: programs, locks, and the calls of all models that use a layer.
_STAYS = frozenset("_runtime _turn _eager _feeds _column_layers _inbound_nodes".split())


_edits = itertools.count(1)
_last_edit = 0


def _note_edit() -> int:
    global _last_edit
    _last_edit = number = next(_edits)
    return number


def last_edit() -> int:
    """Another number whenever an attribute of some layer was set."""
    return _last_edit


class Tracked:
    """An object whose attributes may be Variables, layers, metrics, or lists and dicts of them."""

    _trainable = True
    _changed = _edited = 0
    _own_variables: list[Variable]
    _sublayers: list[Any]
    _own_metrics: list[Any]
    _own_seeds: list[SeedGenerator]
    _carried: list[Variable]

    def __init__(self) -> None:
        self.__dict__.setdefault("_own_variables", [])
        self.__dict__.setdefault("_sublayers", [])
        self.__dict__.setdefault("_own_metrics", [])
        self.__dict__.setdefault("_own_seeds", [])
        self.__dict__.setdefault("_carried", [])

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or another process, is given: neither programs nor locks, and no calls
        (a functional model brings those that it is made of)."""
        state = {k: packed(v) for k, v in list(self.__dict__.items()) if k not in _STAYS}
        if any_symbolic(state.get("_init_arguments", ())):
            state["_init_arguments"] = ((), {})
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        Tracked.__init__(self)
        self.__dict__.update((k, unpacked(v)) for k, v in state.items())
        self.__dict__.setdefault("_inbound_nodes", [])
        self._note_change()

    def __copy__(self) -> Any:
        """As in Keras a copy has weights of its own."""
        return copy.deepcopy(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_own_variables" not in self.__dict__:
            Tracked.__init__(self)
        if name not in _INTERNAL:
            _refuse_sets(name, value)
            value = tracked(value, self)
        self._track_all(value)
        object.__setattr__(self, name, value)
        self.__dict__["_edited"] = _note_edit()

    def _track_all(self, value: Any) -> None:
        for leaf in _leaves(value):
            self._track(leaf)

    def _track(self, leaf: Any) -> None:
        if isinstance(leaf, Variable):
            self._track_variable(leaf)
        elif isinstance(leaf, Tracked):
            _add(self._sublayers, leaf)
            self._note_change()
        elif hasattr(leaf, "update_state") and hasattr(leaf, "reset_state"):
            _add(self._own_metrics, leaf)
            restructure()
        elif isinstance(leaf, SeedGenerator):
            _add(self._own_seeds, leaf)

    def _untrack_all(self, value: Any) -> None:
        """Forget what was taken out of a list or dict of this object."""
        gone = {id(leaf) for leaf in _leaves(value)}
        lists: tuple[list[Any], ...] = (
            self._own_variables, self._sublayers, self._own_metrics, self._own_seeds,
        )  # fmt: skip
        for items in lists:
            items[:] = [item for item in items if id(item) not in gone]
        self._note_change()

    def _note_change(self) -> None:
        """A sublayer came or went: programs of the models above may be out of date."""
        self.__dict__["_changed"] = restructure()

    def last_change(self) -> int:
        """Grows when any object here or below gets or loses a sublayer."""
        return max(layer._changed for layer in self._flatten_layers())

    def edits(self) -> tuple[int, ...]:
        """Others whenever an attribute is set, or a sublayer comes or goes, here or below."""
        return tuple([max(layer._edited, layer._changed) for layer in self._flatten_layers()])

    def _track_variable(self, variable: Variable) -> None:
        _add(self._own_variables, variable)
        restructure()

    def _carry(self, variables: Sequence[Variable]) -> None:
        """Keep Variables from batch to batch that are no weights: no file holds them."""
        for variable in variables:
            variable.carried = True
            _add(self._carried, variable)

    def _flatten_layers(self) -> Iterator[Any]:
        """This object and every layer below it, each once."""
        seen: set[int] = set()
        stack: list[Any] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(layer._sublayers))

    # ---- weights -------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Variable]:
        """All Variables, those of metrics and of seed generators included."""
        found = [*self.weights, *self._measured()]
        found += [seed.state for layer in self._flatten_layers() for seed in layer._own_seeds]
        return _distinct(found)

    @property
    def metrics_variables(self) -> list[Variable]:
        """The Variables of metrics that are attributes here or below."""
        return self._measured()

    def _measured(self) -> list[Variable]:
        metrics = [metric for layer in self._flatten_layers() for metric in layer._own_metrics]
        return _distinct([v for metric in metrics for v in metric.variables])

    @property
    def weights(self) -> list[Variable]:
        """Variables of this layer, trainable ones first, then those of its sublayers in order."""
        own = self._own_variables
        found = [v for v in own if v.trainable or _made_trainable(v)]
        found += own
        for layer in self._sublayers:
            found += layer.weights
        return _distinct(found)

    @property
    def carried(self) -> list[Variable]:
        """States of stateful layers: they change from batch to batch, and are no weights."""
        return [v for layer in self._flatten_layers() for v in layer.__dict__.get("_carried", ())]

    @property
    def trainable_weights(self) -> list[Variable]:
        """Weights that training changes."""
        return [v for v in self.weights if v.trainable] if self._trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """Weights that training leaves alone, such as moving averages and frozen layers."""
        trained = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The weights that training changes."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """All other Variables: weights that training leaves, states of seeds and metrics."""
        others = {id(v) for v in [*self.trainable_weights, *self._measured()]}
        return [v for v in self.variables if id(v) not in others]

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights. Setting it sets all sublayers too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._own_variables:
            if _made_trainable(variable):
                variable.trainable = bool(value)
        for layer in self._sublayers:
            layer.trainable = bool(value)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, in the order of `weights`."""
        with unchanged(found := self.weights):
            return [v.numpy() for v in found]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights from arrays in the order of `weights`. All are checked before any is set.

        Raises ShapeError when the number of arrays or a shape does not fit.
        """
        variables = self.weights
        if len(weights) != len(variables):
            raise ShapeError(
                f'set_weights on "{getattr(self, "name", type(self).__name__)}": expected '
                f"{len(variables)} arrays. Received: {len(weights)}. Pass what get_weights gives."
            )
        arrays = [np.asarray(w) for w in weights]
        for variable, array in zip(variables, arrays, strict=True):
            if array.shape != variable.shape:
                raise ShapeError(
                    f'set_weights: weight "{variable.path}" has shape {variable.shape}. Received: '
                    f"an array of shape {array.shape}. Check the order of the arrays."
                )
        with changing(variables):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)

    def count_params(self) -> int:
        """The number of scalars in all weights. ConfigError when they are not made yet."""
        if not getattr(self, "built", True):
            raise ConfigError(
                f'count_params: "{getattr(self, "name", "")}" is not built. Received: no shape. '
                "Call it on data, or build(input_shape) first."
            )
        return sum(int(np.prod(v.shape)) for v in self.weights)


def _leaves(value: Any, within: tuple[int, ...] = ()) -> list[Any]:
    """What a nest of lists and dicts holds; one that holds itself is entered once."""
    if isinstance(value, (Variable, Tracked)) or not isinstance(value, (list, tuple, dict)):
        return [value]
    if id(value) in within:
        return []
    items = value.values() if isinstance(value, dict) else value
    return [leaf for item in items for leaf in _leaves(item, (*within, id(value)))]


def _refuse_sets(name: str, value: Any) -> None:
    held = value if isinstance(value, (set, frozenset)) else ()
    if any(isinstance(item, (Variable, Tracked)) for item in held):
        raise ConfigError(
            f"Layers and Variables in a set have no order in which to be saved. Received: {value} "
            f"as attribute {name!r}. Use a list."
        )


def _made_trainable(variable: Variable) -> bool:
    return variable.trainable_when_made


def _distinct(items: Sequence[Any]) -> list[Any]:
    """Every object once, where it comes first."""
    return list({id(item): item for item in items}.values())


def _add(items: list[Any], item: Any) -> None:
    if not any(known is item for known in items):
        items.append(item)
