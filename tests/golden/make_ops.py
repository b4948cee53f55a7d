"""Golden calls of every public op: results, their dtypes and gradients by real Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .cases.ops import CASES
from .cases.ops_table import Case, weights
from .store import Writer


def make() -> None:
    writer = Writer("ops")
    for name, case in CASES.items():
        try:
            info, arrays = golden(case)
        except Exception as error:  # listed, so that the test counts them
            info, arrays = {"refused": type(error).__name__}, {}
            print(f"refused: {name}: {str(error).strip().splitlines()[:1]}")
        writer.add(name, info, arrays)
    writer.write()


def golden(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors = [keras.ops.convert_to_tensor(a) for a in case.arrays]
    with tf.GradientTape() as tape:
        tape.watch(sources := [t for t in tensors if t.dtype.is_floating])
        leaves = tf.nest.flatten(plain(case.run(keras.ops, tensors)))
        floats = [x for x in leaves if isinstance(x, tf.Tensor) and x.dtype.is_floating]
        total = sum((tf.reduce_sum(x * weights(x.shape).astype(x.dtype.name)) for x in floats), 0.0)
    arrays = {f"output{i}": np.asarray(x) for i, x in enumerate(leaves) if is_array(x)}
    info = {"outputs": [keras.backend.standardize_dtype(x.dtype) if is_array(x) else {"value": x}
                        for x in leaves]}  # fmt: skip
    if case.grad and sources and floats:
        arrays |= gradients(tape, total, sources)
    return info, arrays


def plain(made: Any) -> Any:
    """Shapes of TensorFlow as tuples, dtypes by name."""
    if isinstance(made, tf.TensorShape):
        return tuple(made)
    return made.numpy() if isinstance(made, tf.Variable) else made


def is_array(x: Any) -> bool:
    return isinstance(x, (tf.Tensor, np.ndarray, np.generic))


def gradients(tape: Any, total: Any, sources: list[Any]) -> dict[str, Any]:
    """The gradients by the float tensors; none where TensorFlow has no rule."""
    try:
        found = tape.gradient(total, sources)
    except LookupError:
        return {}
    return {f"grad{i}": np.zeros(s.shape) if g is None else np.asarray(tf.convert_to_tensor(g))
            for i, (s, g) in enumerate(zip(sources, found, strict=True))}  # fmt: skip
