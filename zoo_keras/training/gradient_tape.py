"""GradientTape: gradients in a step of a user's, which is traced, or in a loop over arrays.

In: tensors of the running trace, and the tensors or Variables to differentiate by. Out: tensors.
The graph holds all that was computed, so that a tape in a step keeps nothing. In ordinary code it
opens a trace of arrays: what is computed inside are tensors that know their values, gradients are
arrays.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.graph import EagerTrace, Tensor, Trace, constant, current_trace, tracing
from zoo_keras.nest import flatten, map_structure
from zoo_keras.passes.grad import pullback
from zoo_keras.primitives.op import as_tensors
from zoo_keras.values import answering


class GradientTape:
    """Gradients in `train_step`, as tf.GradientTape gives them to scripts that use Keras.

    >>> def train_step(self, data):
    ...     x, y = data
    ...     with GradientTape() as tape:
    ...         loss = self.compute_loss(x, y, self(x, training=True))
    ...     gradients = tape.gradient(loss, self.trainable_variables)
    ...     self.optimizer.apply(gradients, self.trainable_variables)

    In ordinary code it works on arrays, op by op, which takes longer than a compiled step:

    >>> with GradientTape() as tape:
    ...     loss = ops.mean(ops.square(model(x) - y))
    >>> optimizer.apply(tape.gradient(loss, model.weights), model.weights)
    >>> float(loss)

    Gradients of gradients (a penalty on a gradient's norm) need a tape inside another, as there.

    Args:
        persistent: `gradient` may be called more than once.
        watch_accessed_variables: for scripts that pass it; everything is recorded anyhow.
    """

    _trace: Trace
    _opened: AbstractContextManager[Trace] | None = None

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        del watch_accessed_variables
        self.persistent, self._used = persistent, False

    def __enter__(self) -> GradientTape:
        trace = current_trace()
        if trace is None:
            self._opened = tracing(EagerTrace())
            trace = self._opened.__enter__()
        self._trace = trace
        return self

    def __exit__(self, *error: Any) -> None:
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
            if isinstance(self._trace, EagerTrace) and error[0] is None:
                self._trace.write()

    def watch(self, tensor: Any) -> None:
        """Record what is made of an array; tensors and Variables are recorded anyhow."""
        for leaf in flatten(tensor):
            if isinstance(leaf, np.ndarray):
                self._trace.watch(leaf)

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str = "none",
    ) -> Any:
        """d sum(target) / d source for each source, nested like the sources.

        Args:
            target: a tensor, or a nest of them whose sums are added.
            sources: tensors, Variables, or a nest of them.
            output_gradients: weights of the target's entries, nested like it; ones by default.
            unconnected_gradients: what stands for a source that no target depends on: "none", or
                "zero".
        """
        trace = self._use(unconnected_gradients)
        targets = as_tensors(flatten(target))
        given = [None] * len(targets) if output_gradients is None else flatten(output_gradients)
        weights = [_weights(t, g) for t, g in zip(targets, given, strict=True)]
        wanted = flatten(sources)
        tensors = [_tensor(trace, source) for source in wanted]
        known = [t for t in tensors if t is not None]
        found = dict(zip(known, pullback(targets, weights, known), strict=True))
        zero = unconnected_gradients == "zero"
        made = [_or_zero(source, found.get(t) if t is not None else None, zero)
                for source, t in zip(wanted, tensors, strict=True)]  # fmt: skip
        if current_trace() is None:
            made = [None if g is None else answering(g.numpy()) for g in made]
        leaves = iter(made)
        return map_structure(lambda leaf: next(leaves), sources)

    def _use(self, unconnected: str) -> Trace:
        """The trace; ConfigError where the tape may not be asked."""
        if unconnected not in ("none", "zero"):
            raise ConfigError(
                "GradientTape: unconnected_gradients must be 'none' or 'zero'. Received: "
                f"{unconnected!r}. 'none' gives None for a source that the target does not use."
            )
        if self._used and not self.persistent:
            raise ConfigError(
                "GradientTape: gradients can be asked for once. Received: a second call of "
                "`gradient`. Make the tape with persistent=True."
            )
        self._used = True
        return self._trace


def _tensor(trace: Trace, source: Any) -> Tensor | None:
    """The tensor that stands for a source; None for a Variable that nothing has read."""
    if isinstance(source, Tensor):
        return source
    if isinstance(source, np.ndarray) and id(source) in trace.watched:
        return trace.watched[id(source)][1]
    for known in (trace.updates, trace.parameters):
        if id(source) in known:
            return known[id(source)][1]
    if getattr(source, "is_zk_variable", False):
        return None
    raise ConfigError(
        f"GradientTape: sources must be tensors of this step or Variables. Received: {source!r}. "
        "Call tape.watch(array) before an array is used."
    )


def _weights(target: Tensor, given: Any) -> Tensor:
    if given is None:
        return constant(np.ones(target.shape, target.dtype))
    return as_tensors([given])[0]


def _or_zero(source: Any, gradient: Tensor | None, zero: bool) -> Any:
    if gradient is None and zero:
        return constant(np.zeros(tuple(source.shape), source.dtype))
    return gradient
