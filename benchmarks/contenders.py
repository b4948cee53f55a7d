"""One contender of a benchmark, run by alternate.py: `contenders.py NAME WORKLOAD THREADS`.

In: "run SECONDS" lines on stdin. Out: JSON lines: calls made, seconds taken, peak memory. A call is
one training step, or one prediction from a numpy array to a numpy array.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import workloads
from workloads import Workload

Call = Callable[[], object]
imported_kb = 0  # resident memory once the contender's library was imported


def imported() -> None:
    """Memory of the library itself does not count."""
    global imported_kb
    with open("/proc/self/statm") as file:
        imported_kb = int(file.read().split()[1]) * resource.getpagesize() // 1024


# ---- Keras code: ours and Keras' own -------------------------------------------------------------


def with_keras(keras: Any, work: Workload, **options: Any) -> Call:
    xs, y = workloads.data(work)
    x = xs if len(xs) > 1 else xs[0]
    if not work.train:
        model = workloads.MODELS[work.model](keras)
        return lambda: model.predict_on_batch(x)
    model = workloads.compiled(keras, work.model, **options)
    return lambda: model.train_on_batch(x, y)


def zoo_keras(work: Workload, threads: int) -> Call:
    import zoo_keras as keras
    from zoo_keras import native

    native.set_threads(threads)
    imported()
    return with_keras(keras, work)


def zoo_keras_bfloat16(work: Workload, threads: int) -> Call:
    """Training under mixed_bfloat16, or prediction of a float32 model in bfloat16."""
    from zoo_keras import config

    if work.train:
        config.set_dtype_policy("mixed_bfloat16")
    else:
        config.set_inference_dtype("bfloat16")
    return zoo_keras(work, threads)


def zoo_keras_int8(work: Workload, threads: int) -> Call:
    """Quantised, calibrated by the inputs."""
    import warnings

    import zoo_keras as keras
    from zoo_keras import native

    native.set_threads(threads)
    xs, model = workloads.data(work)[0], workloads.MODELS[work.model](keras)
    x = xs if len(xs) > 1 else xs[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layers that stay float32
        model.quantize("int8", sample=x)
    return lambda: model.predict_on_batch(x)


def keras_tf(work: Workload, threads: int, **options: Any) -> Call:
    """Keras on TensorFlow, without XLA."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras

    imported()
    return with_keras(keras, work, **(options or {"jit_compile": False}))


def keras_tf_jit(work: Workload, threads: int) -> Call:
    """Keras on TensorFlow, compiled by XLA."""
    return keras_tf(work, threads, jit_compile=True)


# ---- torch ---------------------------------------------------------------------------------------


class Torch:
    """A torch model, its data and one call of it."""

    def __init__(self, work: Workload, threads: int, *, layout: str = "", **options: Any) -> None:
        import torch as t

        t.set_num_threads(threads)
        import torch_models

        imported()
        self.t, self.work = t, work
        self.model = torch_models.MODELS[work.model](**options)
        xs, y = workloads.data(work)
        self.xs = [t.from_numpy(x).long() if x.dtype.kind == "i" else t.from_numpy(x) for x in xs]
        self.y = t.from_numpy(y if y.dtype.kind == "f" else y.astype(np.int64))
        if work.model in workloads.IMAGES:
            form = t.channels_last if layout == "last" else t.contiguous_format
            self.xs = [x.permute(0, 3, 1, 2).contiguous(memory_format=form) for x in self.xs]
            self.model = self.model.to(memory_format=form)

    def optimizers(self, sparse: bool) -> list[Any]:
        optim, parameters = self.t.optim, list(self.model.parameters())
        if self.work.model in workloads.IMAGES:
            return [optim.SGD(parameters, 0.01, momentum=0.9, fused=True)]
        if not sparse:
            return [optim.Adam(parameters, 1e-3, fused=True)]
        tables = [table.weight for table in self.model.tables]
        kept = {id(p) for p in tables}
        rest = [p for p in parameters if id(p) not in kept]
        return [optim.SparseAdam(tables, 1e-3), optim.Adam(rest, 1e-3, fused=True)]

    def call(self, sparse: bool = False) -> Call:
        return self.step(sparse) if self.work.train else self.predict()

    def predict(self) -> Call:
        model = self.model.eval()

        def predict() -> np.ndarray:
            with self.t.inference_mode():
                return model(*self.xs).numpy()

        return predict

    def step(self, sparse: bool) -> Call:
        losses = self.t.nn
        loss_of = losses.BCEWithLogitsLoss() if self.y.ndim == 2 else losses.CrossEntropyLoss()
        optimizers = self.optimizers(sparse)

        def step() -> float:
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = loss_of(self.model(*self.xs), self.y)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            return loss.item()

        return step


def torch(work: Workload, threads: int) -> Call:
    """Eager torch with its fused optimizers."""
    return Torch(work, threads).call()


def torch_bfloat16(work: Workload, threads: int) -> Call:
    """Under autocast; images channels last."""
    made = Torch(work, threads, layout="last" if work.model in workloads.IMAGES else "")
    model, t = made.model, made.t
    call = made.call()  # optimizers and modes are those of the model itself

    def narrow(*xs: Any) -> Any:
        with t.autocast("cpu", dtype=t.bfloat16):
            return model(*xs).float()

    made.model = narrow
    if work.train:
        return call

    def predict() -> np.ndarray:
        with t.inference_mode():
            return narrow(*made.xs).numpy()

    return predict


def torch_channels_last(work: Workload, threads: int) -> Call:
    return Torch(work, threads, layout="last").call()


def torch_sparse(work: Workload, threads: int) -> Call:
    """Sparse gradients of embeddings with SparseAdam: moments of untouched rows do not decay."""
    return Torch(work, threads, sparse=True).call(sparse=True)


def torch_compile(work: Workload, threads: int) -> Call:
    made = Torch(work, threads, layout="last")
    made.model = made.t.compile(made.model)
    return made.call()


# ---- inference engines ---------------------------------------------------------------------------


def onnx_file(work: Workload) -> tuple[bytes, dict[str, np.ndarray]]:
    """The torch model as ONNX, and its inputs."""
    import io

    if work.train:
        raise ValueError("it does not train")

    made = Torch(work, 1)
    buffer, names = io.BytesIO(), [f"x{i}" for i in range(len(made.xs))]
    made.t.onnx.export(made.model.eval(), tuple(made.xs), buffer, input_names=names, dynamo=False,
                       opset_version=17)  # fmt: skip
    return buffer.getvalue(), {n: x.numpy() for n, x in zip(names, made.xs, strict=True)}


def onnxruntime(work: Workload, threads: int, file: Any = onnx_file) -> Call:
    import onnxruntime as ort

    content, feeds = file(work)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def openvino(work: Workload, threads: int, precision: str = "f32", file: Any = onnx_file) -> Call:
    import openvino as ov

    content, feeds = file(work)
    hint = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision}  # fmt: skip
    core = ov.Core()
    request = core.compile_model(core.read_model(content), "CPU", hint).create_infer_request()
    return lambda: request.infer(feeds)[0]


def int8_file(work: Workload) -> tuple[bytes, dict[str, np.ndarray]]:
    """The ONNX model with static QDQ nodes, calibrated by the inputs, and these."""
    import tempfile

    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    content, feeds = onnx_file(work)

    class Inputs(q.CalibrationDataReader):  # type: ignore[misc]
        left = [feeds]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    kinds = (
        ["Conv", "MatMul", "Gemm", "Add"] if work.model in workloads.IMAGES else ["MatMul", "Gemm"]
    )
    with tempfile.TemporaryDirectory() as folder:
        given, plain, made = (os.path.join(folder, n) for n in ("given", "plain", "made"))
        with open(given, "wb") as file:
            file.write(content)
        quant_pre_process(given, plain, skip_symbolic_shape=True)
        q.quantize_static(plain, made, Inputs(), quant_format=q.QuantFormat.QDQ, per_channel=True,
                          activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
                          op_types_to_quantize=kinds)  # fmt: skip
        with open(made, "rb") as file:
            return file.read(), feeds


def openvino_int8(work: Workload, threads: int) -> Call:
    """What is not int8 may be bfloat16."""
    return openvino(work, threads, "bf16", int8_file)


def onnxruntime_int8(work: Workload, threads: int) -> Call:
    return onnxruntime(work, threads, int8_file)


def openvino_bfloat16(work: Workload, threads: int) -> Call:
    return openvino(work, threads, "bf16")


# ---- the worker ----------------------------------------------------------------------------------


def measure(call: Call, seconds: float) -> dict[str, float]:
    """Calls until the window is over; at least one."""
    start = time.perf_counter()
    calls, together = 0, 1
    while (took := time.perf_counter() - start) < seconds or not calls:
        for _ in range(together):
            call()
        calls += together
        together = 10 if time.perf_counter() - start < 0.01 * calls else 1
    return {"calls": calls, "seconds": took, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Peak resident memory beyond the imported library, in MB."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imported_kb) / 1024


def main() -> None:
    name, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        call = globals()[name](workloads.WORKLOADS[workload], threads)
        measure(call, 1.0)
    except Exception as error:  # a peer that cannot run is named with its reason, not measured
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(call, float(line.split()[1]))), flush=True)


if __name__ == "__main__":
    main()
