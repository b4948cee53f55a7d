"""Functions of `keras.backend` over whole models: placeholders, functions, gradients, recurrence,
and whether a model trains.

In: KerasTensors and Variables. Out: KerasTensors, or functions of arrays. `zoo_keras.backend` has
the names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.config import floatx
from zoo_keras.errors import ConfigError
from zoo_keras.graph import constant, current_trace
from zoo_keras.layers import Input
from zoo_keras.layers.base.call_context import current_training
from zoo_keras.layers.base.layer import Layer
from zoo_keras.models import Model
from zoo_keras.models.function_graph import FunctionGraph
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.passes.grad import pullback

_phase = [0]  # outside of calls: 1 for training


def learning_phase() -> int:
    """1 in calls that train, else 0; outside of calls what set_learning_phase was given."""
    training = current_training()
    return _phase[0] if training is None else int(training)


def set_learning_phase(value: Any) -> None:
    """What learning_phase says outside of calls; calls know by their `training`."""
    if value not in (0, 1):
        raise ConfigError(f"set_learning_phase: expected 0 or 1. Received: {value!r}. Pass one.")
    _phase[0] = int(value)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """x in training, else alt; functions of no argument are called."""
    chosen = x if (learning_phase() if training is None else training) else alt
    return chosen() if callable(chosen) else chosen


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """x outside of training, else alt; functions of no argument are called."""
    return in_train_phase(alt, x, training)


def placeholder(
    shape: Any = None, ndim: int | None = None, dtype: Any = None, name: str | None = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """An Input whose shape holds the batch."""
    batch_shape = tuple(shape) if shape is not None else (None,) * (ndim or 0)
    return Input(batch_shape=batch_shape, dtype=dtype or floatx(), name=name)


def function(inputs: Any, outputs: Any, updates: Any = None, **kwargs: Any) -> Callable[..., Any]:
    """A function from a list of arrays to the list of the outputs of a functional model."""
    if updates:
        raise ConfigError(
            "K.function: updates belong to a layer or a train_step. Received: updates. "
            "Assign Variables there."
        )
    single = not isinstance(outputs, (list, tuple))
    model = Model(list(inputs), [outputs] if single else list(outputs))

    def call(arrays: Sequence[Any]) -> Any:
        found = model([np.asarray(a) for a in arrays])
        found = [np.asarray(v) for v in (found if isinstance(found, (list, tuple)) else [found])]
        return found[0] if single else found

    return call


def gradients(loss: Any, variables: Any) -> Any:
    """d sum(loss) / d v for tensors of the model before the loss, and for Variables: tensors of a
    model, for K.function.

    >>> saliency = K.function([model.input], K.gradients(model.output, [model.input]))
    """
    wanted = variables if isinstance(variables, (list, tuple)) else [variables]
    if not isinstance(loss, KerasTensor):
        raise ConfigError(
            f"K.gradients: the loss is a tensor of a functional model. Received: {loss!r}. In a "
            "step of your own use GradientTape."
        )
    inputs = _inputs_of([loss, *[v for v in wanted if isinstance(v, KerasTensor)]])
    found = _Gradients(inputs, loss, list(wanted))(inputs)
    return found if isinstance(found, list) else [found]


def _inputs_of(tensors: Sequence[Any]) -> list[Any]:
    """The Inputs that tensors depend on, each once."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    stack = list(tensors)
    while stack:
        tensor = stack.pop()
        node = tensor.history[0] if tensor.history else None
        if node is None or not node.inputs:
            found[id(tensor)] = tensor
        elif id(node) not in seen:
            seen.add(id(node))
            stack.extend(node.inputs)
    return list(found.values())


class _Gradients(Layer):
    """Runs the graph before a loss and gives gradients of it."""

    def __init__(self, inputs: list[Any], loss: Any, wanted: list[Any]) -> None:
        super().__init__()
        inner = [v for v in wanted if isinstance(v, KerasTensor)]
        self._held = (FunctionGraph(inputs, [loss, *inner], self.name), tuple(wanted))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors like those by which is differentiated."""
        return [KerasTensor(v.shape, v.dtype) for v in self._held[1]]

    def call(self, inputs: Any) -> Any:
        """The gradients; zeros where the loss does not depend."""
        graph, wanted = self._held
        loss, *inner = graph.run(inputs)
        left, trace = iter(inner), current_trace()
        sources = [
            next(left) if isinstance(v, KerasTensor) else trace.read(v)  # type: ignore[union-attr]
            for v in wanted
        ]
        found = pullback([loss], [constant(np.ones(loss.shape, loss.dtype))], sources)
        return [
            constant(np.zeros(s.shape, np.float32), s.dtype) if g is None else g
            for g, s in zip(found, sources, strict=True)
        ]


def rnn(
    step_function: Callable[..., Any], inputs: Any, initial_states: Any,
    go_backwards: bool = False, mask: Any = None, constants: Any = None, unroll: bool = False,
    input_length: Any = None, time_major: bool = False, zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """(last output, all outputs (batch, time, ...), last states) of step_function(input, states)
    -> (output, states) over time.

    Where the mask (batch, time) is False, states stay, and the output is the one before (at first
    zeros), or zeros with zero_output_for_mask. constants come after the states.
    """
    del input_length
    more = list(constants or ())

    def swapped(x: Any) -> Any:
        return ops.swapaxes(x, 0, 1)

    rows = inputs if time_major else map_structure(swapped, inputs)
    first = map_structure(lambda x: x[0], rows)
    start, _ = step_function(first, [*initial_states, *more])
    kept = None if mask is None else (mask if time_major else swapped(mask))

    def step(carry: Any, row: Any) -> Any:
        before, states = carry
        x, here = row
        made, after = step_function(x, [*states, *more])
        if here is None:
            return (made, list(after)), made
        after = [_where(here, a, s) for a, s in zip(flatten(after), flatten(states), strict=True)]
        shown = _where(here, made, ops.zeros_like(made) if zero_output_for_mask else before)
        return (_where(here, made, before), pack_as(states, after)), shown

    begin = (ops.zeros_like(start), list(initial_states))
    (last, states), outputs = ops.scan(
        step, begin, (rows, kept), reverse=go_backwards, unroll=True if unroll else 1
    )
    outputs = ops.flip(outputs, axis=0) if go_backwards else outputs
    if zero_output_for_mask and mask is not None:
        last = outputs[-1]
    outputs = outputs if return_all_outputs else outputs[-1:]
    return last, outputs if time_major else swapped(outputs), states


def _where(here: Any, x: Any, other: Any) -> Any:
    shape = (*here.shape, *[1] * (len(x.shape) - len(here.shape)))
    return ops.where(ops.reshape(here, shape), x, other)
