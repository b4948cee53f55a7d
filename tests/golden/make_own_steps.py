"""Golden numbers of models with steps of their own: logs of each epoch, and the trained weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from .cases.own_steps import CASES
from .store import Writer


def make() -> None:
    writer = Writer("own_steps")
    for name, case in CASES.items():
        logs, weights = case(keras, tf.GradientTape)
        arrays = {f"log/{key}": np.asarray(values) for key, values in logs.items()}
        writer.add(name, {}, arrays | {f"weight{i}": w for i, w in enumerate(weights)})
    writer.write()
