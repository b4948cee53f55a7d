"""Files of Keras 3 in half precision and with low-rank adapters, with what they must predict."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .arrays import generator
from .store import DATA, Writer

FILES = DATA / "precision"
# name -> (dtype policy, suffixes of its files)
CASES = {
    "mixed_float16": ("mixed_float16", (".keras", ".h5")),
    "float16": ("float16", (".keras",)),
    "bfloat16": ("bfloat16", (".keras", ".h5")),
    "adapters": ("float32", (".keras", ".h5")),
}


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("precision")
    for name, (policy, suffixes) in CASES.items():
        rng = generator("precision" + name)
        model = build(policy)
        model.compile("adam", "mse")
        x = rng.integers(0, 9, (4, 6)).astype("int32")
        model.fit(x, rng.random((4, 3)), verbose=0)
        if name == "adapters":
            adapt(model, rng)
        for suffix in suffixes:
            model.save(FILES / f"{name}{suffix}")
        predicted = np.asarray(model.predict(x, verbose=0), "float32")
        writer.add(name, {"files": [name + s for s in suffixes]}, {"x": x, "predicted": predicted})
    writer.write()


def build(policy: str) -> Any:
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, use_bias=False, dtype=policy, name="in")], name="nested"
    )
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 4, dtype=policy, name="words"),
            layers.Conv1D(4, 2, dtype=policy, name="conv"),
            layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d", dtype=policy, name="mix"),
            layers.GlobalAveragePooling1D(dtype=policy, name="pool"),
            layers.BatchNormalization(dtype=policy, name="norm"),
            inner,
            layers.Dense(3, activation="tanh", dtype=policy, name="out"),
        ],
        name="model",
    )


def adapt(model: Any, rng: np.random.Generator) -> None:
    """Adapters on all layers that can have one, in place of what training has left there."""
    inner = model.get_layer("nested").layers
    for layer in [*model.layers, *inner]:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2, lora_alpha=6)
            for variable in layer.variables:
                if "lora" in variable.name:
                    variable.assign(rng.normal(0, 0.3, variable.shape))
    model.compile("adam", "mse")
