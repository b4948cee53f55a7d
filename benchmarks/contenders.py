"""One contender of a benchmark, run by alternate.py: `contenders.py NAME WORKLOAD THREADS`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

Call = Callable[[], object]


def data(workload: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of a training workload; the same numbers for everyone."""
    rng = np.random.default_rng(0)
    shape = (128, 784) if workload == "mlp" else (128, 28, 28, 1)
    return rng.random(shape, np.float32), rng.integers(0, 10, 128).astype(np.int32)


# ---- models in Keras code: ours and Keras' own -------------------------------------------------


def keras_model(keras: object, workload: str) -> object:
    """mlp 784-512-512-10 with Adam; LeNet-5 with SGD and momentum."""
    layers = keras.layers
    if workload == "mlp":
        stack = [keras.Input((784,)), layers.Dense(512, activation="relu"),
                 layers.Dense(512, activation="relu"), layers.Dense(10)]  # fmt: skip
        optimizer = keras.optimizers.Adam(1e-3)
    else:
        stack = [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
            layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]  # fmt: skip
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model = keras.Sequential(stack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def latency_model(keras: object) -> object:
    """mlp 784-128-64-10 with softmax."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(128, activation="relu"),
         layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
    )  # fmt: skip


def with_keras(keras: object, workload: str) -> Call:
    if workload == "latency":
        model, x = latency_model(keras), np.random.rand(1, 784).astype(np.float32)
        return lambda: model.predict_on_batch(x)
    model = keras_model(keras, workload)
    x, y = data(workload)
    return lambda: model.train_on_batch(x, y)


def zoo_keras(workload: str, threads: int) -> Call:
    import zoo_keras as keras
    from zoo_keras import native

    native.set_threads(threads if workload != "latency" else 1)
    return with_keras(keras, workload)


def keras_tf(workload: str, threads: int) -> Call:
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras

    return with_keras(keras, workload)


# ---- torch --------------------------------------------------------------------------------------


def torch_layers(workload: str) -> object:
    from torch import nn

    if workload == "latency":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                             nn.Linear(64, 10), nn.Softmax(-1))  # fmt: skip
    if workload == "mlp":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                             nn.Linear(512, 10))  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def torch(workload: str, threads: int) -> Call:
    """Eager torch with its fused optimizers."""
    import torch as t

    t.set_num_threads(threads if workload != "latency" else 1)
    model = torch_layers(workload)
    if workload == "latency":
        return _torch_latency(t, model.eval())
    images, labels = data(workload)
    x = t.from_numpy(images if workload == "mlp" else images.transpose(0, 3, 1, 2).copy())
    y = t.from_numpy(labels.astype(np.int64))
    if workload == "mlp":
        optimizer = t.optim.Adam(model.parameters(), 1e-3, fused=True)
    else:
        optimizer = t.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    loss_of = t.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch_latency(t: object, model: object) -> Call:
    x = np.random.rand(1, 784).astype(np.float32)

    def call() -> np.ndarray:
        with t.inference_mode():
            return model(t.from_numpy(x)).numpy()

    return call


def onnxruntime(workload: str, threads: int) -> Call:
    import io

    import onnxruntime as ort
    import torch as t

    buffer = io.BytesIO()
    t.onnx.export(torch_layers("latency").eval(), (t.zeros(1, 784),), buffer, input_names=["x"],
                  dynamo=False)  # fmt: skip
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    x = np.random.rand(1, 784).astype(np.float32)
    return lambda: session.run(None, {"x": x})


def measure(call: Call, seconds: float) -> dict[str, float]:
    """Calls until the window is over."""
    start = time.perf_counter()
    calls = 0
    while (took := time.perf_counter() - start) < seconds:
        for _ in range(5):
            call()
        calls += 5
    return {"calls": calls, "seconds": took}


def main() -> None:
    name, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        call = globals()[name](workload, threads)
        measure(call, 1.0)
    except ImportError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(call, float(line.split()[1]))), flush=True)


if __name__ == "__main__":
    main()
