"""Calls with the state handed in and out, and StatelessScope.

In: Variables, and values for them. Out: what they were assigned inside; they themselves stay as
they were. On arrays nobody else sees the values meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import EagerTrace, Trace, current_trace, tracing
from zoo_keras.values import answering
from zoo_keras.variables import Variable, guard_of, updating


@contextmanager
def holding(owner: str, variables: Sequence[Variable], values: Sequence[Any]) -> Iterator[None]:
    """Inside, the Variables have these values; afterwards their own again."""
    if len(values) != len(variables):
        raise ShapeError(
            f"{owner}: one value is needed for each of the {len(variables)} variables. Received: "
            f"{len(values)}. Pass a list like `variables`."
        )
    trace = current_trace()
    if trace is None:
        guard_of(variables)  # else a run of another thread that begins meanwhile makes its own
    with updating(variables):
        updates = dict(trace.updates) if trace else {}
        before = [] if trace else [v.numpy() for v in variables]
        try:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            yield
        finally:
            if trace:
                trace.updates = updates
            else:
                for variable, value in zip(variables, before, strict=True):
                    variable.assign(value)


def values_of(variables: Iterable[Variable]) -> list[Any]:
    """The values of now: tensors in a trace, else copies."""
    traced = current_trace() is not None
    return [v.value if traced else answering(v.numpy()) for v in variables]


class StatelessScope:
    """Inside, Variables have the values of a mapping, and what is assigned stays in the scope.

    Args:
        state_mapping: pairs (Variable, value).
        collect_losses: keep what add_loss and regularizers add, as `losses`.
        initialize_variables: for scripts that pass it; Variables have values when they are made.

    Tensors that are computed inside know their values. Source: keras.StatelessScope.

    >>> with StatelessScope([(v, np.ones(3, "float32"))]) as scope:
    ...     v.assign(v + 1)
    >>> scope.get_current_value(v)
    array([2., 2., 2.], dtype=float32)
    """

    def __init__(
        self, state_mapping: Any = None, collect_losses: bool = False,
        initialize_variables: bool = True,
    ) -> None:  # fmt: skip
        del initialize_variables
        self.collect_losses = collect_losses
        self.losses: list[Any] = []
        self.state_mapping: dict[int, Any] = {}
        self._given: list[tuple[Variable, Any]] = []
        for variable, value in state_mapping or ():
            self._add(variable, value)
        self._open = ExitStack()
        self._trace: Trace | None = None

    def _add(self, variable: Any, value: Any) -> None:
        if not isinstance(variable, Variable):
            raise ConfigError(
                "StatelessScope: the keys of state_mapping must be Variables. Received: "
                f"{variable!r}. Pass pairs (Variable, value)."
            )
        if value is not None and tuple(np.shape(value)) != tuple(variable.shape):
            raise ShapeError(
                f'StatelessScope: Variable "{variable.path}" has shape {variable.shape}. Received: '
                f"a value of shape {np.shape(value)}. Pass a value of the variable's own shape."
            )
        if value is not None:
            self._given.append((variable, value))

    def __enter__(self) -> StatelessScope:
        outer = current_trace()
        self._trace = outer or self._open.enter_context(tracing(EagerTrace()))
        self._before, self._lost = dict(self._trace.updates), len(self._trace.losses)
        for variable, value in self._given:
            variable.assign(value)
        return self

    def __exit__(self, *error: Any) -> None:
        trace = self._trace
        if trace is None:
            return
        self.state_mapping = {key: tensor for key, (_, tensor) in trace.updates.items()}
        if self.collect_losses:
            self.losses = [_plain(loss) for loss in trace.losses[self._lost :]]
            del trace.losses[self._lost :]
        trace.updates = self._before
        self._open.close()

    def add_loss(self, loss: Any) -> None:
        """Add to `losses`."""
        if self._trace is not None:
            self._trace.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Note the value of a Variable."""
        variable, value = update
        variable.assign(value)

    def get_current_value(self, variable: Variable) -> Any:
        """The value that a Variable has in the scope; None where the scope does not know it."""
        known = self._trace.updates if self._trace is not None else {}
        found = self.state_mapping.get(id(variable))
        if found is None and id(variable) in known:
            found = known[id(variable)][1]
        return None if found is None else _plain(found)


def _plain(tensor: Any) -> Any:
    """The array of a tensor that knows its own; other tensors as they are."""
    known = getattr(tensor, "known", lambda: tensor)()
    return tensor if known is None else answering(np.asarray(known))
