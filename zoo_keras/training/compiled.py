"""What compile was given, resolved for the model's outputs: one loss and some metrics for each.

In: strings, objects, functions, lists and dicts as Keras takes them. Out: CompiledLosses and
CompiledMetrics, which work on traced tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import losses as losses_module
from zoo_keras import metrics as metrics_module
from zoo_keras.configs.by_value import carries_lambdas
from zoo_keras.errors import ConfigError
from zoo_keras.naming import to_snake_case
from zoo_keras.nest import flatten


def per_output(given: Any, names: Sequence[str], what: str, broadcast: bool = True) -> list[Any]:
    """The setting of each output from one setting, a list, or a dict by output name."""
    if isinstance(given, dict):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ConfigError(
                f"compile: {what} names outputs that the model does not have. Received: {unknown}. "
                f"The outputs are {list(names)}."
            )
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ConfigError(
                f"compile: {what} must have one entry for each of the {len(names)} outputs. "
                f"Received: {len(given)}. Use a dict with the output names {list(names)}."
            )
        return list(given)
    return [given] * len(names) if broadcast else [given, *[None] * (len(names) - 1)]


@carries_lambdas
class CompiledLosses:
    """The losses of all outputs and their weights."""

    def __init__(self, loss: Any, loss_weights: Any, names: Sequence[str]) -> None:
        self.names = list(names)
        found = per_output(loss, names, "loss")
        self.losses = [_as_loss(item) for item in found]
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
            total, count = loss.parts(next(targets), pred, weights[i], masks[i])
            found.append((self.names[i], self.weights[i], total, count))
        return found


def _as_loss(item: Any) -> Any:
    """Names and functions become Loss objects with the default reduction."""
    if names_crossentropy(item):
        return losses_module.LossFunctionWrapper(_crossentropy, name=item.lower())
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
    if name.lower() in ("accuracy", "acc"):
        return getattr(metrics_module, _ACCURACY[_kind(y, y_pred)])(name=name)
    if name.lower() in ("crossentropy", "ce"):
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


def names_crossentropy(item: Any) -> bool:
    """Whether a name means the cross-entropy that fits the shapes."""
    return isinstance(item, str) and item.lower() in ("crossentropy", "ce")


def _crossentropy(y_true: Any, y_pred: Any) -> Any:
    name = _CROSSENTROPY[_kind(y_true, y_pred)]
    return losses_module.get(to_snake_case(name))(y_true, y_pred)


def _kind(y: Any, y_pred: Any) -> str:
    """Binary, sparse or dense labels, by shapes, as Keras decides."""
    if not y_pred.shape or y_pred.shape[-1] == 1:
        return "binary"
    last = y.shape[-1] if y.shape else 1
    return "sparse" if len(y.shape) < len(y_pred.shape) or last == 1 else "dense"
