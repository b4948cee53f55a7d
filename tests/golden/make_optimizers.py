"""Golden optimizers: weights after each of five steps on given gradients, and the slots."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .arrays import generator
from .cases import optimizers as table
from .make_layers import plain
from .optimizer_arguments import arguments
from .store import Writer

STEPS = 5


def make() -> None:
    writer = Writer("optimizers")
    for case in table.CASES:
        writer.add(case.name, *golden(case))
    writer.write()


def golden(case: table.Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = generator(case.name)
    arrays = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
    kernel = keras.Variable(arrays["kernel"], name="kernel")
    bias = keras.Variable(arrays["bias"], name="bias")
    named = {"name": case.optimizer.lower()} | case.kwargs
    optimizer = getattr(keras.optimizers, case.optimizer)(**arguments(keras, named))
    for step in range(STEPS):
        grads = gradients(case, rng, step)
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], [kernel, bias])
        arrays |= {f"kernel_grad{step}": grads[0], f"bias_grad{step}": grads[1]}
        arrays |= {f"kernel{step}": kernel.numpy(), f"bias{step}": bias.numpy()}
    arrays |= {f"slot{i}": v.numpy() for i, v in enumerate(optimizer.variables)}
    slots = [[v.name, v.path, list(v.shape)] for v in optimizer.variables]
    optimizer.finalize_variable_values([kernel, bias])
    arrays |= {"kernel_final": kernel.numpy(), "bias_final": bias.numpy()}
    config = plain(keras.optimizers.serialize(optimizer))
    info = {"class": case.optimizer, "kwargs": named, "slots": slots, "steps": STEPS}
    return info | {"config": config}, arrays


def gradients(case: table.Case, rng: np.random.Generator, step: int) -> list[np.ndarray]:
    kernel = rng.normal(size=(3, 4)) * case.scale
    bias = rng.normal(size=4) * case.scale
    if case.zero_rows:
        kernel[step % 3] = 0
        kernel[2] *= step == 3
    return [kernel.astype(np.float32), bias.astype(np.float32)]
