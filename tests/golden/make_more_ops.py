"""Golden calls of public ops: what real Keras gives for cases/more_ops.py."""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
import numpy as np
from keras._tf_keras import keras as tf_keras

from .arrays import generator
from .cases.more_ops import CASES
from .make_layers import plain
from .store import Writer

ARRAYS = ("transform", "start_points", "end_points", "scale", "translation")
LENGTHS = ("target_length", "output_length", "sequence_lengths", "input_length",
           "label_length")  # fmt: skip


def arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments, those that Keras wants as arrays made so."""
    made = {k: np.array(v, "float32") if k in ARRAYS else v for k, v in kwargs.items()}
    made |= {k: np.array(v, "int32") for k, v in kwargs.items() if k in LENGTHS}
    return {k: tuple(v) if isinstance(v, list) and k != "window" else v for k, v in made.items()}


def joined(op: str, tensors: list[Any]) -> list[Any]:
    """The positional arguments: complex numbers are pairs."""
    return [tuple(tensors)] if op == "istft" else tensors


def make() -> None:
    writer = Writer("more_ops")
    for number, case in enumerate(CASES):
        name = f"{case.op}-{number}"
        rng, arrays = generator(name), {}
        for i, (shape, low, high, dtype) in enumerate(case.inputs):
            arrays[f"input{i}"] = rng.uniform(low, high, shape).astype(dtype)
        home = tf_keras if case.op.startswith("K.") else keras.ops
        function: Any = reduce(getattr, case.op.replace("K.", "backend.").split("."), home)
        arguments_ = [keras.ops.convert_to_tensor(a) for a in arrays.values()]
        made = function(*joined(case.op, arguments_), **arguments(case.kwargs))
        outputs = list(made) if isinstance(made, (tuple, list)) else [made]
        arrays |= {f"output{i}": np.asarray(output) for i, output in enumerate(outputs)}
        writer.add(name, {"op": case.op, "kwargs": plain(case.kwargs)}, arrays)
    writer.write()
