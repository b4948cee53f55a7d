"""Golden models: configuration, weights, predictions, two training steps and an evaluation.

The second step has sample weights where the model has one output.
"""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import array, generator
from .cases import models as table
from .store import Writer


def make() -> None:
    make_gradients_dense()
    writer = Writer("models")
    for name, spec in table.MODELS.items():
        writer.add(name, *golden(name, spec))
    writer.write()


def make_gradients_dense() -> None:
    """On TensorFlow an embedding's gradient is a list of rows, and Keras squares the rows of an
    id that occurs twice one by one: not Adam, nor what Keras does on its other backends."""
    original = tf.GradientTape.gradient

    def dense_gradient(*args: Any, **kwargs: Any) -> list[Any]:
        return [None if g is None else tf.convert_to_tensor(g) for g in original(*args, **kwargs)]

    tf.GradientTape.gradient = dense_gradient


def prepared(k: Any, name: str, spec: table.Model) -> tuple[Any, np.random.Generator]:
    """The compiled model of `k` with the case's initial weights."""
    rng = generator(name)
    model = spec.build(k)
    model.set_weights(initial_weights(model, rng))
    model.compile(**table.compile_arguments(k, spec))
    return model, rng


def initial_weights(model: Any, rng: np.random.Generator) -> list[np.ndarray]:
    values = []
    for weight in model.weights:
        value = rng.normal(size=weight.shape) * 0.4
        if "variance" in weight.name or "gamma" in weight.name:
            value = np.abs(value) + 0.4
        values.append(value.astype(np.float32))
    return values


def batch(kinds: dict[str, tuple], rows: int, rng: np.random.Generator) -> list[np.ndarray]:
    made = []
    for kind, shape in kinds.values():
        made.append(array(kind, (rows, *shape), rng))
    return made


def joined(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def golden(name: str, spec: table.Model) -> tuple[dict[str, Any], dict[str, Any]]:
    model, rng = prepared(keras, name, spec)
    x, y = batch(spec.inputs, spec.batch, rng), batch(spec.targets, spec.batch, rng)
    weight = rng.uniform(0.2, 2, spec.batch).astype(np.float32) if len(y) == 1 else None
    info: dict[str, Any] = {
        "config": json.loads(model.to_json()),
        "weights": [[w.name, w.path, list(w.shape), bool(w.trainable)] for w in model.weights],
        "metrics_names": list(model.metrics_names),
        "count_params": int(model.count_params()),
    }
    arrays = numbered("x", x) | numbered("y", y) | numbered("initial", model.get_weights())
    arrays |= numbered("predicted", as_list(model.predict_on_batch(joined(x))))
    info["first"] = floats(model.train_on_batch(joined(x), joined(y), return_dict=True))
    arrays |= numbered("after_first", model.get_weights())
    info["second"] = floats(
        model.train_on_batch(joined(x), joined(y), sample_weight=weight, return_dict=True)
    )
    arrays |= numbered("after_second", model.get_weights())
    model.reset_metrics()
    info["evaluated"] = floats(model.test_on_batch(joined(x), joined(y), return_dict=True))
    if weight is not None:
        arrays["sample_weight"] = weight
    return info, arrays


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def numbered(prefix: str, values: list[Any]) -> dict[str, np.ndarray]:
    return {f"{prefix}{i}": np.asarray(v) for i, v in enumerate(values)}


def floats(logs: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in logs.items()}
