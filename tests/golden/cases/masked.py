"""Losses and metrics of masked sequences with sample weights, as compile and evaluate use them.

In: a Keras module, real or ours, and the arrays of `arrays()`. Out: the logs of evaluate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS, STEPS, CLASSES = 6, 5, 4
LOSSES = {
    "values": "MeanSquaredError MeanAbsoluteError MeanSquaredLogarithmicError CosineSimilarity "
    "LogCosh Huber Hinge CategoricalHinge Poisson KLDivergence Tversky",
    "bits": "BinaryCrossentropy BinaryFocalCrossentropy",
    "one_hot": "CategoricalCrossentropy CategoricalFocalCrossentropy",
    "classes": "SparseCategoricalCrossentropy SparseCategoricalCrossentropy-ignore_class",
}
METRICS = {
    "values": "MeanSquaredError MeanAbsoluteError CosineSimilarity LogCoshError Hinge Poisson",
    "bits": "BinaryCrossentropy BinaryAccuracy",
    "one_hot": "CategoricalCrossentropy CategoricalAccuracy",
    "classes": "SparseCategoricalCrossentropy SparseCategoricalAccuracy "
    "SparseCategoricalCrossentropy-ignore_class",
}
CASES = [(kind, loss, w) for kind, names in LOSSES.items() for loss in names.split()
         for w in ("none", "steps")]  # fmt: skip


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    x = rng.random((ROWS, STEPS, CLASSES)).astype("f4") + np.float32(0.1)
    x[0, 3:] = x[1, 2:] = x[4, 4:] = 0  # what Masking leaves out
    classes = rng.integers(0, CLASSES, (ROWS, STEPS)).astype("i4")
    values = rng.random((ROWS, STEPS, CLASSES)).astype("f4")
    steps = rng.uniform(0, 2, (ROWS, STEPS)).astype("f4")
    steps[2] = 0
    return {
        "x": x, "kernel": rng.normal(size=(CLASSES, CLASSES)).astype("f4"), "values": values,
        "bits": (values > 0.5).astype("f4"), "classes": classes,
        "one_hot": np.eye(CLASSES, dtype="f4")[classes], "steps": steps,
    }  # fmt: skip


def _made(module: Any, case: str, **kwargs: Any) -> Any:
    name, _, ignored = case.partition("-")
    more = {"ignore_class": 1} if ignored else {}
    return getattr(module, name)(**more, **kwargs)


def logs(keras: Any, case: tuple[str, str, str], given: dict[str, np.ndarray]) -> dict[str, float]:
    """What evaluate says; metrics are called m0, m1, ... and w0, w1, ... with weights."""
    kind, loss, weights = case
    # Keras on TensorFlow takes the logits of either for those of the other.
    activation = "softmax" if kind in ("one_hot", "classes") else "sigmoid"
    dense = keras.layers.Dense(CLASSES, activation=activation)
    net = keras.Sequential([keras.Input((STEPS, CLASSES)), keras.layers.Masking(), dense])
    dense.set_weights([given["kernel"], np.zeros(CLASSES, "f4")])
    first = loss == LOSSES[kind].split()[0]
    names = METRICS[kind].split() if first else []
    plain, weighted = (
        [_made(keras.metrics, name, name=f"{letter}{i}") for i, name in enumerate(names)]
        for letter in "mw"
    )
    net.compile("sgd", _made(keras.losses, loss), metrics=plain, weighted_metrics=weighted)
    found = net.evaluate(
        given["x"], given[kind], sample_weight=given.get(weights), batch_size=4, verbose=0,
        return_dict=True,
    )  # fmt: skip
    return {name: float(np.asarray(value)) for name, value in found.items()}
