"""What a model is compiled for: its optimizer, and one loss and some metrics for each output.

In: strings, objects, functions, lists and dicts as Keras takes them; later the names of the outputs
and their tensors. Out: a Compiled, which works on traced tensors. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import losses as losses_module
from zoo_keras import metrics as metrics_module
from zoo_keras import optimizers as optimizers_module
from zoo_keras.configs.by_value import carries_lambdas
from zoo_keras.errors import ConfigError, DataError, NotCompiledError, UnsupportedError
from zoo_keras.graph import not_tracing
from zoo_keras.naming import to_snake_case
from zoo_keras.nest import flatten
from zoo_keras.variables import restructure


@carries_lambdas
class Compiled:
    """All that `compile` has chosen.

    Attributes:
        arguments: of compile, as it was given them, for a configuration.
        loss_tracker: the mean of the whole loss. output_trackers: of each output's, if several.
    """

    def __init__(
        self,
        optimizer: Any,
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        steps_per_execution: int = 1,
    ) -> None:
        _check_names(loss, metrics, weighted_metrics)
        self.arguments = {
            "optimizer": optimizers_module.get(optimizer), "loss": loss,
            "loss_weights": loss_weights, "metrics": metrics,
            "weighted_metrics": weighted_metrics, "run_eagerly": False,
            "steps_per_execution": steps_per_execution, "jit_compile": False,
        }  # fmt: skip
        self.loss_tracker = metrics_module.Mean(name="loss")
        self.output_trackers: tuple[metrics_module.Mean, ...] = ()
        self._losses: CompiledLosses | None = None
        self._metrics: CompiledMetrics | None = None

    @property
    def optimizer(self) -> Any:
        return self.arguments["optimizer"]

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        self.arguments["optimizer"] = optimizer

    @property
    def losses(self) -> CompiledLosses:
        """One for each output."""
        if self._losses is None:
            raise NotCompiledError(
                "The losses are made for the model's outputs. Received: a model whose outputs are "
                "not known yet. Call it on data, or build it, first."
            )
        return self._losses

    @property
    def outputs(self) -> int:
        """How many outputs have losses of their own; one where a step computes its loss itself."""
        return len(self._losses.names) if self._losses is not None else 1

    def name_outputs(self, names: Sequence[str]) -> None:
        """Make the losses and metrics of outputs with these names, unless they are made."""
        if self._losses is not None:
            return
        given = self.arguments
        losses = CompiledLosses(given["loss"], given["loss_weights"], names)
        with_loss = [n for n, item in zip(names, losses.losses, strict=True) if item is not None]
        tracked = [f"{name}_loss" for name in with_loss] if len(with_loss) > 1 else []
        self._metrics = CompiledMetrics(
            given["metrics"], given["weighted_metrics"], names, ["loss", *tracked]
        )
        self.output_trackers = tuple(metrics_module.Mean(name=name) for name in tracked)
        self._losses = losses

    @property
    def resolved(self) -> bool:
        """Whether nothing more is to be learnt from the outputs' shapes."""
        return self._metrics is not None and self._metrics.built

    def resolve(self, names: Sequence[str], y: Sequence[Any], y_pred: Sequence[Any]) -> None:
        """Fit losses and metrics to tensors like the targets (none: later) and the outputs."""
        self.name_outputs(names or [f"output_{i + 1}" for i in range(len(y_pred))])
        losses = self.losses.losses
        if self._metrics is not None and (y or losses.count(None) == len(y_pred)):
            with not_tracing():
                self._metrics.build(self.losses.targets(y), y_pred, losses)
            restructure()  # metrics whose Variables were there before belong to the State now

    def update_metrics(
        self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any]
    ) -> None:
        """Trace the update of every metric."""
        if self._metrics is not None:
            self._metrics.update(y, y_pred, weights)

    def all_metrics(self) -> list[Any]:
        """The trackers of losses, and all metrics."""
        return [self.loss_tracker, *self.output_trackers, *(m for _, m in self._named())]

    def _named(self) -> list[tuple[str, Any]]:
        return self._metrics.all if self._metrics is not None else []

    def results(self) -> dict[str, Any]:
        """Name -> result of all that was measured since the last reset."""
        found = {t.name: t.result() for t in (self.loss_tracker, *self.output_trackers)}
        for name, metric in self._named():
            found.update(result_of(name, metric))
        return found


def result_of(name: str, metric: Any) -> dict[str, Any]:
    """What a metric adds to logs; a result that is a dict brings its own names."""
    result = metric.result()
    return result if isinstance(result, dict) else {name: result}


def plain(value: Any) -> Any:
    """A number for an array of one, else the array."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _check_names(loss: Any, metrics: Any, weighted: Any) -> None:
    """Unknown names raise now, although objects are made when outputs are known."""
    for item in flatten(loss):
        if isinstance(item, str) and not _means(item, "crossentropy", "ce"):
            losses_module.get(item)
    for item in [*flatten(metrics), *flatten(weighted)]:
        if isinstance(item, str) and not _means(item, "accuracy", "acc", "crossentropy", "ce"):
            metrics_module.get(item)


def per_output(given: Any, names: Sequence[str], what: str, broadcast: bool = True) -> list[Any]:
    """The setting of each output from one setting, a list, or a dict by output name."""
    if isinstance(given, dict):
        found = _by_name(given, names, what)
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise ConfigError(
                f"compile: {what} names outputs that the model does not have. Received: {unknown}. "
                f"The outputs are {list(names)}."
            )
        return [found.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ConfigError(
                f"compile: {what} must have one entry for each of the {len(names)} outputs. "
                f"Received: {len(given)}. Use a dict with the output names {list(names)}."
            )
        return list(given)
    return [given] * len(names) if broadcast else [given, *[None] * (len(names) - 1)]


def _by_name(given: dict[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    """The settings by the names of single outputs; several below a key have a list or dict there,
    or share what stands there."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        below = [n for n in names if n.startswith(f"{key}/")]
        if key in names or not below:
            found[key] = value
        elif isinstance(value, dict):
            inner = {n.removeprefix(f"{key}/"): n for n in below}
            made = _by_name(value, list(inner), what)
            found |= {inner.get(n, f"{key}/{n}"): setting for n, setting in made.items()}
        else:
            found |= dict(zip(below, per_output(value, below, what), strict=True))
    return found


@carries_lambdas
class CompiledLosses:
    """The losses of all outputs and their weights."""

    def __init__(self, loss: Any, loss_weights: Any, names: Sequence[str]) -> None:
        self.names = list(names)
        found = per_output(loss, names, "loss")
        self.losses = [_as_loss(_single(item)) for item in found]
        weights = per_output(loss_weights, names, "loss_weights")
        self.weights = [1.0 if w is None else float(w) for w in weights]

    def parts(
        self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any], masks: Sequence[Any]
    ) -> list[tuple[str, float, Any, Any] | None]:
        """(name, loss weight, sum, denominator) of each output that has a loss."""
        targets = iter(y)
        found: list[tuple[str, float, Any, Any] | None] = []
        for i, (loss, pred) in enumerate(zip(self.losses, y_pred, strict=True)):
            if loss is None:
                found.append(None)
                continue
            total, count = loss.compiled_parts(next(targets), pred, weights[i], masks[i])
            found.append((self.names[i], self.weights[i], total, count))
        return found

    def targets(self, y: Sequence[Any]) -> list[Any]:
        """A target for every output; outputs without loss may have none."""
        count = len(self.names)
        with_loss = [i for i, loss in enumerate(self.losses) if loss is not None]
        if len(y) == count:
            return list(y)
        if len(y) == len(with_loss):
            found: list[Any] = [None] * count
            for i, tensor in zip(with_loss, y, strict=True):
                found[i] = tensor
            return found
        raise DataError(
            f"The model has {count} outputs ({self.names}), {len(with_loss)} of them with a loss. "
            f"Received: {len(y)} arrays of targets. Pass one for each."
        )

    def sample_weights(self, given: Sequence[Any]) -> list[Any]:
        """A sample weight for every output; one given weight serves all."""
        count = len(self.names)
        if len(given) == 1:
            return list(given) * count
        if not given:
            return [None] * count
        if len(given) != count:
            raise DataError(
                f"sample_weight must be one array or one for each of the {count} outputs. "
                f"Received: {len(given)}."
            )
        return list(given)


def _single(item: Any) -> Any:
    """The loss of one output, which may stand in a list by itself."""
    return item[0] if isinstance(item, (list, tuple)) and len(item) == 1 else item


def _as_loss(item: Any) -> Any:
    """Names and functions become Loss objects with the default reduction."""
    if _means(item, "crossentropy", "ce"):
        return losses_module.LossFunctionWrapper(_crossentropy, name=item.lower())
    if isinstance(item, (list, tuple)) or (isinstance(item, dict) and "class_name" not in item):
        raise UnsupportedError(
            "compile: a loss of several outputs together, beside others of each, is not "
            f"supported. Received: {item!r}. Override compute_loss in a subclass of Model."
        )
    item = losses_module.get(item)
    if item is None or isinstance(item, losses_module.Loss):
        return item
    if isinstance(item, type):
        raise ConfigError(
            f"compile: a loss must be an instance. Received: the class {item.__name__}. "
            f"Write {item.__name__}()."
        )
    if not callable(item):
        raise ConfigError(f"compile: a loss must be a name, function or Loss. Received: {item!r}.")
    return losses_module.LossFunctionWrapper(item, name=getattr(item, "__name__", "loss"))


@carries_lambdas
class CompiledMetrics:
    """Metrics of each output, built when the shapes of targets and predictions are known."""

    def __init__(
        self, metrics: Any, weighted: Any, names: Sequence[str], taken: Sequence[str] = ()
    ) -> None:
        """taken: names in logs that belong to others."""
        self.names, self._taken = list(names), tuple(taken)
        given = {"metrics": metrics, "weighted_metrics": weighted}
        self._given = [_lists(items, names, what) for what, items in given.items()]
        self.built = False
        self.metrics: list[list[Any]] = []
        self.weighted: list[list[Any]] = []
        self.all: list[tuple[str, Any]] = []  # (name in logs, metric)

    def build(self, y: Sequence[Any], y_pred: Sequence[Any], losses: Sequence[Any]) -> None:
        """Resolve names such as "accuracy" by the shapes of targets and predictions."""
        if self.built:
            return
        made = [
            [[_metric(m, t, p) for m in items] for items, t, p in zip(g, y, y_pred, strict=True)]
            for g in self._given
        ]
        self.metrics, self.weighted = made
        for group in made:
            for items, target, pred in zip(group, y, y_pred, strict=True):
                for metric in items:
                    _build(metric, target, pred)
        self.all = self._named()
        self.built = True

    def _named(self) -> list[tuple[str, Any]]:
        """All metrics under Keras' names for logs: one whose name is taken gets `weighted_` before
        it or a number behind, so that none is lost. Several outputs go by the alphabet."""
        used = set(self._taken)
        several = len(self.names) > 1
        prefixes = [f"{name}_" if several else "" for name in self.names]
        found = [
            (free_name(prefix + metric.name, used), metric)
            for prefix, items in zip(prefixes, self.metrics, strict=True)
            for metric in items
        ]
        for prefix, items in zip(prefixes, self.weighted, strict=True):
            for metric in items:
                taken = prefix + metric.name in used
                name = f"{prefix}weighted_{metric.name}" if taken else prefix + metric.name
                found.append((free_name(name, used), metric))
        return sorted(found, key=lambda item: item[0]) if several else found

    def update(self, y: Sequence[Any], y_pred: Sequence[Any], weights: Sequence[Any]) -> None:
        """Trace the update of every metric."""
        for i, (target, pred) in enumerate(zip(y, y_pred, strict=True)):
            for metric in self.metrics[i]:
                metric.update_state(target, pred)
            for metric in self.weighted[i]:
                metric.update_state(target, pred, sample_weight=weights[i])


def free_name(name: str, used: set[str]) -> str:
    """The name, or the first of name_1, name_2, ... that is not used; it is used from then on."""
    label, number = name, 0
    while label in used:
        number += 1
        label = f"{name}_{number}"
    used.add(label)
    return label


def _build(metric: Any, y: Any, y_pred: Any) -> None:
    """Some metrics have one state a class: they need the shapes before their Variables exist."""
    if y is not None and hasattr(metric, "build") and not getattr(metric, "built", False):
        metric.build(tuple(y.shape), tuple(y_pred.shape))


def _lists(given: Any, names: Sequence[str], what: str) -> list[list[Any]]:
    if given is None:
        return [[] for _ in names]
    if len(names) == 1:
        return [_flat(given)]
    return [_flat(item) for item in per_output(given, names, what)]


def _flat(items: Any) -> list[Any]:
    return [] if items is None else [m for m in flatten(items) if m is not None]


_ACCURACY = {
    "binary": "BinaryAccuracy",
    "sparse": "SparseCategoricalAccuracy",
    "dense": "CategoricalAccuracy",
}
_CROSSENTROPY = {
    "binary": "BinaryCrossentropy",
    "sparse": "SparseCategoricalCrossentropy",
    "dense": "CategoricalCrossentropy",
}


def _metric(given: Any, y: Any, y_pred: Any) -> Any:
    name = given if isinstance(given, str) else ""
    if _means(given, "accuracy", "acc"):
        return getattr(metrics_module, _ACCURACY[_kind(y, y_pred)])(name=name)
    if _means(given, "crossentropy", "ce"):
        return getattr(metrics_module, _CROSSENTROPY[_kind(y, y_pred)])(name=name)
    found = metrics_module.get(given)
    if isinstance(found, metrics_module.Metric):
        found.name = name or found.name  # logs use the name that the user wrote
        return found
    if isinstance(found, losses_module.Loss):
        return metrics_module.MeanMetricWrapper(found.call, name=given if name else found.name)
    if not callable(found):
        raise ConfigError(f"compile: unknown metric. Received: {given!r}.")
    label = getattr(found, "name", None) or to_snake_case(
        getattr(found, "__name__", type(found).__name__)
    )
    return metrics_module.MeanMetricWrapper(found, name=name or label)


def _means(item: Any, *names: str) -> bool:
    """Whether an item is one of the names that mean what fits the shapes."""
    return isinstance(item, str) and item.lower() in names


def _crossentropy(y_true: Any, y_pred: Any) -> Any:
    name = _CROSSENTROPY[_kind(y_true, y_pred)]
    return losses_module.get(to_snake_case(name))(y_true, y_pred)


def _kind(y: Any, y_pred: Any) -> str:
    """Binary, sparse or dense labels, by shapes, as Keras decides."""
    if not y_pred.shape or y_pred.shape[-1] == 1:
        return "binary"
    last = y.shape[-1] if y.shape else 1
    return "sparse" if len(y.shape) < len(y_pred.shape) or last == 1 else "dense"
