"""Base of metrics: state in Variables, updated batch by batch, read as a result.

In: batches as arrays, or as tensors in a trace (then updates of the graph are noted). Out: the
result so far. Every Variable is a sum over samples unless its aggregation says otherwise, so the
states of several ranks are added up.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras import config, dtypes, initializers
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.by_value import carries_lambdas
from zoo_keras.errors import ConfigError
from zoo_keras.naming import auto_name
from zoo_keras.stateless import holding, values_of
from zoo_keras.values import answering
from zoo_keras.variables import Variable, updating


def _one_by_one(update_state: Any) -> Any:
    @functools.wraps(update_state)
    def update(self: Metric, *args: Any, **kwargs: Any) -> Any:
        with updating(self.variables):
            return update_state(self, *args, **kwargs)

    return update


def _with_values(result: Any) -> Any:
    @functools.wraps(result)
    def call(self: Metric) -> Any:
        return answering(result(self))

    return call


def _leaves(value: Any) -> Iterator[Any]:
    """What an attribute is, or holds in lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


@carries_lambdas
class Metric:
    """Base of metrics: override `update_state` and `result`, make state with `add_weight`.

    A metric whose state depends on shapes makes it in `build`, which is called before the first
    batch. Source: https://keras.io/api/metrics/base_metric.

    >>> class Count(Metric):
    ...     def __init__(self, name="count"):
    ...         super().__init__(name=name)
    ...         self.total = self.add_weight(name="total")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.total.assign_add(ops.cast(ops.shape(y_true)[0], "float32"))
    ...     def result(self):
    ...         return self.total.value
    """

    keras_module = "keras.metrics"

    _variables: list[Variable]
    _metrics: list[Metric]

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.__dict__["_variables"] = []
        self.__dict__["_metrics"] = []
        self.name = name or auto_name(type(self).__name__)
        self._dtype = dtypes.standardize(getattr(dtype, "compute_dtype", dtype) or config.floatx())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """On arrays, batches of several threads are added one after the other."""
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _one_by_one(cls.__dict__["update_state"])  # type: ignore[method-assign]
        if "result" in cls.__dict__:
            cls.result = _with_values(cls.__dict__["result"])  # type: ignore[method-assign]

    @property
    def dtype(self) -> str:
        """The dtype of the metric's state and result."""
        return self._dtype

    def __setattr__(self, name: str, value: Any) -> None:
        if "_variables" not in self.__dict__:
            raise ConfigError(
                f"{type(self).__name__}.__init__ must call super().__init__() first. Received: "
                f"an attribute {name!r} before that. Move the call to the top."
            )
        for leaf in _leaves(value):
            if isinstance(leaf, Variable) and not any(v is leaf for v in self._variables):
                self._variables.append(leaf)
            if isinstance(leaf, Metric) and not any(m is leaf for m in self._metrics):
                self._metrics.append(leaf)
        super().__setattr__(name, value)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """New state; ranks add theirs up unless `aggregation` is another than "sum"."""
        first = initializers.get("zeros" if initializer is None else initializer)
        made = Variable(
            first, tuple(shape), dtype or "float32", trainable=False, aggregation=aggregation,
            name=name,
        )  # fmt: skip
        made.path = f"{self.name}/{made.name}"
        self._variables.append(made)
        return made

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """New state: a sum over all samples."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The state, that of metrics held as attributes included."""
        return [*self._variables, *(v for m in self._metrics for v in m.variables)]

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        """Make state whose shape depends on the data's; called once, before the first update."""

    def reset_state(self) -> None:
        """Forget all batches."""
        for variable in self.variables:
            variable.assign(in_dtype(np.zeros(variable.shape), variable.dtype))

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state.")

    def result(self) -> Any:
        """The value for all batches so far."""
        raise NotImplementedError(f"{type(self).__name__} must define result(self).")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch; the value so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    # ---- with the state handed in and out --------------------------------------------------------

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kw: Any) -> Any:
        """The state after a batch, from the state before it; the metric itself stays as it is."""
        with holding(self.name, self.variables, metric_variables):
            self.update_state(*args, **kw)
            return values_of(self.variables)

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The result for a state."""
        with holding(self.name, self.variables, metric_variables):
            return self.result()

    def stateless_reset_state(self) -> list[Any]:
        """The state before any batch."""
        return [in_dtype(np.zeros(v.shape), v.dtype) for v in self.variables]

    def __copy__(self) -> Metric:
        """As in Keras a copy has state of its own."""
        return copy.deepcopy(self)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Makes one of what get_config gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
