"""How fast is a DataFrame scored on two executors, beside ONNX Runtime in both of Spark's ways?

    python benchmarks/spark_predict.py mlp mobilenet_v2 --peer-python P

In: tables in Parquet, made here: 20,000 rows of 784 floats for 784-512-512-10, and JPEG bytes for
MobileNetV2. Each contender has a session of its own (`sessions.py`) and they take turns; results
are drained to `noop`. Out: seconds with Python workers forked anew (cold) and with ones that have
scored before (warm), peak memory of a worker. Peers decode by Pillow and run one thread a worker.
Theirs is torch's MobileNetV2 as ONNX, channels first; ours Keras', channels last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scoring
import sessions
import workloads

CASES = {"mlp": ("f", 20_000, 128), "mobilenet_v2": ("image", 512, 16)}  # column, rows, batch
SIDE, PHOTOS = 224, 64
SCALE = 1 / 127.5


def write(name: str, folder: str, rows: int) -> None:
    """Two Parquet files, one for each executor."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, column = np.random.default_rng(0), CASES[name][0]
    values = scoring.lists_of(rng.random((rows, 784), np.float32)) if name == "mlp" else None
    if values is None:
        files = [_photo(rng) for _ in range(PHOTOS)]
        values = pa.array([files[i % PHOTOS] for i in range(rows)], pa.binary())
    (Path(folder) / name).mkdir()
    for part in range(2):
        half = values.slice(part * (rows // 2), rows // 2)
        pq.write_table(pa.table({column: half}), f"{folder}/{name}/{part}.parquet")


def _photo(rng: np.random.Generator) -> bytes:
    """A JPEG of 320 x 240 that is smooth, as photographs are."""
    from PIL import Image

    coarse, data = rng.integers(0, 255, (15, 20, 3), np.uint8), BytesIO()
    Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(data, "JPEG")
    return data.getvalue()


# ---- contenders ----------------------------------------------------------------------------------


def zoo_keras(name: str, folder: str) -> dict[str, sessions.Action]:
    from zoo_keras.spark.cluster import init_session

    spark = init_session(sessions.MASTER, "zoo_keras", conf=sessions.settings())
    spark.sparkContext.setLogLevel("ERROR")
    column, _, batch = CASES[name]
    model, frame = _model(name), spark.read.parquet(f"{folder}/{name}")
    return _actions(
        lambda: model.predict(frame, feature_cols=column, batch_size=batch).select("prediction")
    )


def _model(name: str) -> Any:
    import zoo_keras as keras

    net = workloads.MODELS[name](keras)
    if name == "mlp":
        return net
    layers = keras.layers
    data = keras.Input((), dtype="string")
    x = layers.Resizing(SIDE, SIDE)(layers.DecodeImage()(data))
    return keras.Model(data, net(layers.Rescaling(SCALE, -1.0)(x)))


def arrow(name: str, folder: str) -> dict[str, sessions.Action]:
    """ONNX Runtime under mapInArrow."""
    frame = sessions.spark_session("arrow").read.parquet(f"{folder}/{name}")
    column, _, batch = CASES[name]
    run = _in_arrow(_onnx(name, folder), name, column, batch)
    return _actions(lambda: frame.mapInArrow(run, "prediction array<float>"))


def _in_arrow(path: str, name: str, column: str, batch: int) -> Callable[[Any], Iterator[Any]]:
    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        ready = scoring.session_of(Path(path).read_bytes())
        for each in batches:
            values, made = each.column(column), []
            for i in range(0, len(values), batch):
                made.append(ready.run(None, {"x": _numbers(name, values.slice(i, batch))})[0])
            yield pa.RecordBatch.from_arrays(
                [scoring.lists_of(np.concatenate(made))], ["prediction"]
            )

    return run


def _numbers(name: str, values: Any) -> np.ndarray:
    """Arrow's rows as the net's input."""
    if name == "mlp":
        flat: np.ndarray = values.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(values), -1)
    return decoded(values.to_pylist())


def decoded(files: list[bytes]) -> np.ndarray:
    """JPEG bytes as (rows, 3, side, side) of numbers from -1 to 1."""
    from PIL import Image

    bilinear, shown = Image.Resampling.BILINEAR, []
    for data in files:
        image = Image.open(BytesIO(data)).convert("RGB").resize((SIDE, SIDE), bilinear)
        shown.append(np.asarray(image, np.float32).transpose(2, 0, 1))
    return np.stack(shown) * np.float32(SCALE) - np.float32(1)


def batch_udf(name: str, folder: str) -> dict[str, sessions.Action]:
    """ONNX Runtime in Spark's predict_batch_udf."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    frame = sessions.spark_session("batch_udf").read.parquet(f"{folder}/{name}")
    column, _, batch = CASES[name]
    path = _onnx(name, folder)

    def make() -> Callable[[np.ndarray], np.ndarray]:
        ready = scoring.session_of(Path(path).read_bytes())
        if name == "mlp":
            return lambda x: ready.run(None, {"x": x})[0]
        return lambda x: ready.run(None, {"x": decoded([bytes(each) for each in x])})[0]

    shapes = [[784]] if name == "mlp" else None
    scored = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=batch,
                               input_tensor_shapes=shapes)  # fmt: skip
    return _actions(lambda: frame.select(scored(column).alias("prediction")))


def _onnx(name: str, folder: str) -> str:
    """torch's model as a file, for any number of rows."""
    import torch as t
    import torch_models

    path = f"{folder}/{name}.onnx"
    shape = (1, 784) if name == "mlp" else (1, 3, SIDE, SIDE)
    if not Path(path).exists():
        t.onnx.export(torch_models.MODELS[name]().eval(), (t.zeros(shape),), path + ".part",
                      input_names=["x"], dynamic_axes={"x": {0: "rows"}}, dynamo=False,
                      opset_version=17)  # fmt: skip
        os.rename(path + ".part", path)
    return path


def _actions(frame: Callable[[], Any]) -> dict[str, sessions.Action]:
    def score() -> dict[str, Any]:
        scoring.drain(frame())
        return {"peak_mb": max(scoring.workers(os.getpid()).values()) / 1024}

    def forget() -> dict[str, Any]:
        scoring.fresh_workers()
        return {}

    return {"score": score, "forget": forget}


CONTENDERS = {f.__name__: f for f in (zoo_keras, arrow, batch_udf)}


# ---- turns ---------------------------------------------------------------------------------------


def measure(name: str, folder: str, pythons: dict[str, str], options: Any) -> None:
    """Rounds of cold and warm runs, contenders in turn."""
    found = sessions.started(str(Path(__file__)), name, folder, pythons)
    times: dict[str, dict[str, list[float]]] = {s.name: {"cold": [], "warm": []} for s in found}
    peaks = dict.fromkeys(times, 0.0)
    try:
        for turn in range(options.rounds):
            for session in found if turn % 2 else found[::-1]:
                if turn < options.cold:
                    session.ask("forget")
                for kind in ["cold"] * (turn < options.cold) + ["warm"]:
                    answer = session.ask("score")
                    times[session.name][kind].append(answer["seconds"])
                    peaks[session.name] = max(peaks[session.name], answer["peak_mb"])
    finally:
        for session in found:
            session.close()
    _report(name, times, peaks)


def _report(
    name: str, times: dict[str, dict[str, list[float]]], peaks: dict[str, float]
) -> None:  # fmt: skip
    print(f"\n{name}, {CASES[name][1]} rows: seconds, and of how much of each peer's we take")
    ours = times.get("zoo_keras")
    for who, kinds in times.items():
        line: dict[str, Any] = {"case": name, "contender": who, "peak_mb": round(peaks[who])}
        for kind, found in kinds.items():
            line[kind] = round(statistics.median(found), 3)
            if ours:
                pairs = zip(ours[kind], found, strict=True)
                line[f"{kind} ratio"] = round(statistics.median(o / f for o, f in pairs), 3)
        print(json.dumps(line), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        _, _, who, name, folder = sys.argv
        return sessions.serve(lambda: CONTENDERS[who](name, folder))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", type=int, default=3, help="rounds that begin with fresh workers")
    parser.add_argument("--peer-python", default=os.environ.get("ZK_PEER_PYTHON", sys.executable))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            write(name, folder, CASES[name][1])
            pythons = dict.fromkeys(options.contenders, options.peer_python)
            pythons |= {"zoo_keras": sys.executable} if "zoo_keras" in pythons else {}
            measure(name, folder, pythons, options)


if __name__ == "__main__":
    from spark_predict import main as run  # by its name, so that workers import what they keep

    run()
