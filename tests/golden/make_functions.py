"""Golden functions: values, and gradients of their sum times a projection."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from .arrays import array, generator, targets
from .cases import functions as table
from .store import Writer


def make() -> None:
    writer = Writer("functions")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays = inputs_of(case)
    function = getattr(getattr(keras, case.module), case.function)
    tensors = [tf.constant(x) for x in arrays.values()]
    given = [tensors] if case.module == "layers" else tensors
    with tf.GradientTape() as tape:
        tape.watch([t for t in tensors if t.dtype == tf.float32])
        value = function(*given, **case.kwargs)
        projection = array("real", tuple(value.shape), generator("projection"))
        total = tf.reduce_sum(tf.cast(value, "float32") * projection)
    found = tape.gradient(total, tensors)
    arrays |= {"output": value.numpy(), "projection": projection}
    first = 0 if case.module == "layers" else 1  # targets have no gradient
    grads = {f"grad{i}": g for i, g in enumerate(found) if i >= first and g is not None}
    arrays |= {key: g.numpy() for key, g in grads.items()}
    return {"module": case.module, "name": case.function, "kwargs": case.kwargs}, arrays


def inputs_of(case: table.Case) -> dict[str, Any]:
    rng = generator(case.name)
    if case.module == "layers":
        made = [array(k, s, rng) for k, s in zip(case.kinds, case.shapes, strict=True)]
    else:
        made = [targets(case.kinds[0], case.shapes[0], rng)]
        made.append(array(case.kinds[1], case.shapes[0], rng))
    return {f"input{i}": x for i, x in enumerate(made)}
