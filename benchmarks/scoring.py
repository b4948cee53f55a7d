"""predict and fit on DataFrames beside what a user would write by hand, on two executors.

In: tables in Parquet, made here. Contenders take turns in one session: ONNX Runtime and plain numpy
under mapInArrow (no pandas), and a scalar Arrow function that keeps all columns. Out: a table and
JSON lines; `cold` is the first run of fresh Python workers.

python benchmarks/scoring.py --cases wide narrow --rounds 7   (needs onnx and onnxruntime for `wide`
and `images`; the interpreter that runs this runs the workers too)
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FLOATS, INTS = 13, 26


def onnx_of(model: Any, shape: tuple[int, ...], rescale: bool = False) -> bytes:
    """A Sequential of Dense layers as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, name = [], [], "x"
    if rescale:
        stored.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
        nodes += [helper.make_node("Mul", [name, "scale"], ["scaled"]),
                  helper.make_node("Flatten", ["scaled"], ["flat"])]  # fmt: skip
        name = "flat"
    dense = [layer for layer in model.layers if layer.get_weights()]
    for i, layer in enumerate(dense):
        kernel, bias = layer.get_weights()
        stored += [numpy_helper.from_array(kernel, f"k{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"k{i}", f"b{i}"], [f"h{i}"]))
        name = f"h{i}"
        if i + 1 < len(dense):
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
    graph = helper.make_graph(
        nodes, "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])],
        stored,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return bytes(made.SerializeToString())


# ---- what users write by hand; each runs in a Python worker ------------------------------------


_SESSIONS: dict[int, Any] = {}


def session_of(file: bytes) -> Any:
    """ONNX Runtime with one thread, kept in the worker."""
    import onnxruntime

    if hash(file) not in _SESSIONS:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        _SESSIONS[hash(file)] = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
    return _SESSIONS[hash(file)]


def lists_of(values: np.ndarray) -> Any:
    """(rows, n) as an Arrow array of lists."""
    import pyarrow as pa

    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values.reshape(-1)))


def by_onnx(file: bytes, column: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Rows of an array column through ONNX Runtime, 128 at a time; all columns are kept."""

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        ready = session_of(file)
        for batch in batches:
            values = batch.column(column)
            x = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
            made = [ready.run(None, {"x": x[i : i + 128]})[0] for i in range(0, len(x), 128)]
            outputs = [*batch.columns, lists_of(np.concatenate(made))]
            yield pa.RecordBatch.from_arrays(outputs, [*batch.schema.names, "prediction"])

    return run


def by_onnx_alone(file: bytes, column: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The same, giving the predictions alone."""
    whole = by_onnx(file, column)

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in whole(batches):
            yield batch.select(["prediction"])

    return run


def images_by_onnx(file: bytes, side: int) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """JPEG bytes through Pillow and ONNX Runtime."""

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from PIL import Image

        ready = session_of(file)
        for batch in batches:
            shown = [
                np.asarray(
                    Image.open(BytesIO(data)).convert("RGB").resize((side, side), Image.BILINEAR),
                    np.float32,
                )
                for data in batch.column("image").to_pylist()
            ]
            made = [
                ready.run(None, {"x": np.stack(shown[i : i + 128])})[0]
                for i in range(0, len(shown), 128)
            ]
            yield pa.RecordBatch.from_arrays([lists_of(np.concatenate(made))], ["prediction"])

    return run


def to_numpy(batches: Iterator[Any]) -> Iterator[Any]:
    """The floor of reading: all columns as one float32 matrix, its sums returned."""
    import pyarrow as pa

    for batch in batches:
        x = np.stack([c.to_numpy().astype(np.float32) for c in batch.columns], axis=1)
        yield pa.RecordBatch.from_arrays([pa.array(x.sum(axis=1))], ["prediction"])


def scalar_sum(batches: Iterator[Any]) -> Iterator[Any]:
    """The floor of scoring: the same in a scalar Arrow function."""
    import pyarrow as pa

    for columns in batches:
        x = np.stack([c.to_numpy().astype(np.float32) for c in columns], axis=1)
        yield pa.array(x.sum(axis=1))


# ---- measuring ---------------------------------------------------------------------------------


def drain(frame: Any) -> None:
    """Compute every row and column, and drop them."""
    frame.write.format("noop").mode("overwrite").save()


def workers(root: int) -> dict[int, int]:
    """Peak resident kilobytes of the Python workers below this process: children of Spark's
    daemons, which are children of the executors."""
    parents = {}
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if each.name.isdigit():
                fields = (each / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(each.name)] = int(fields[1])
    daemons = {pid for pid in parents if root in above(pid, parents) and is_daemon(pid)}
    found = {}
    for pid, parent in parents.items():
        with contextlib.suppress(OSError, IndexError):
            if parent in daemons:
                status = Path(f"/proc/{pid}/status").read_text()
                found[pid] = int(status.split("VmHWM:")[1].split()[0])
    return found


def above(pid: int, parents: dict[int, int]) -> list[int]:
    """All ancestors of a process."""
    line = []
    while (pid := parents.get(pid, 0)) in parents:
        line.append(pid)
    return line


def is_daemon(pid: int) -> bool:
    """Whether it is one of Spark's Python daemons, or a worker forked from one."""
    with contextlib.suppress(OSError):
        return b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def fresh_workers() -> None:
    """End idle Python workers, so that the next run is cold. Their daemons stay: a task of a fit
    is not tried again when one is gone."""
    for pid in workers(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    time.sleep(1.0)


def compare(case: str, rows: int, todo: dict[str, Callable[[], None]],
            rounds: int, cold: int) -> None:  # fmt: skip
    """Times of all contenders, taken in turn; each `cold` run starts new Python workers."""
    times: dict[str, dict[str, list[float]]] = {n: {"cold": [], "warm": []} for n in todo}
    peaks: dict[str, int] = {}
    for turn in range(cold):
        for name in sorted(todo, reverse=bool(turn % 2)):
            fresh_workers()
            times[name]["cold"].append(timed(todo[name]))
            times[name]["warm"].append(timed(todo[name]))
            peaks[name] = max([*workers(os.getpid()).values(), peaks.get(name, 0)])
    for turn in range(rounds):
        for name in sorted(todo, reverse=bool(turn % 2)):
            times[name]["warm"].append(timed(todo[name]))
    for name, found in times.items():
        medians = {kind: round(statistics.median(t), 3) for kind, t in found.items() if t}
        line = {"case": case, "contender": name, "rows": rows, **medians}
        print(json.dumps({**line, "peak_mb": peaks.get(name, 0) // 1024}), flush=True)


def timed(action: Callable[[], None]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


# ---- cases -------------------------------------------------------------------------------------


def mlp(inputs: int) -> Any:
    """784-512-512-10, or the same behind other inputs."""
    import zoo_keras as keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((inputs,)), layers.Dense(512, activation="relu"),
         layers.Dense(512, activation="relu"), layers.Dense(10)]
    )  # fmt: skip


def small(inputs: int) -> Any:
    """A net so small that reading decides."""
    import zoo_keras as keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(1e-9), "mse")  # columns up to 1,000, fit after fit
    return model


def stored(spark: Any, table: Any, path: str, parts: int = 2) -> Any:
    """An Arrow table as a DataFrame over Parquet files."""
    import pyarrow.parquet as pq

    Path(path).mkdir()
    size = -(-table.num_rows // parts)
    for i in range(parts):
        pq.write_table(table.slice(i * size, size), f"{path}/{i}.parquet")
    return spark.read.parquet(path)


def wide(spark: Any, folder: str, options: Any) -> None:
    """20,000 rows of one column of 784 floats, and two columns more."""
    import pyarrow as pa

    rows = options.rows or 20_000
    x = np.random.default_rng(0).random((rows, 784), np.float32)
    table = pa.table({"id": np.arange(rows), "name": [f"row {i}" for i in range(rows)],
                      "f": lists_of(x)})  # fmt: skip
    frame = stored(spark, table, f"{folder}/wide")
    model = mlp(784)
    file = onnx_of(model, (784,))
    schema = "id long, name string, f array<float>, prediction array<float>"

    def ours() -> Any:
        return model.predict(frame, feature_cols="f")

    alone = frame.select("f")
    compare("784 floats, prediction alone", rows, {
        "zoo_keras": lambda: drain(ours().select("prediction")),
        "ONNX Runtime, mapInArrow": lambda: drain(
            in_arrow(alone, by_onnx_alone(file, "f"), "prediction array<float>")),
    }, options.rounds, options.cold)  # fmt: skip
    compare("784 floats, all columns kept", rows, {
        "zoo_keras": lambda: drain(ours()),
        "ONNX Runtime, mapInArrow": lambda: drain(in_arrow(frame, by_onnx(file, "f"), schema)),
    }, options.rounds, options.cold)  # fmt: skip


def in_arrow(frame: Any, function: Any, schema: str) -> Any:
    """mapInArrow without pandas."""
    from pyspark.sql.types import _parse_datatype_string

    from zoo_keras.spark.scoring.columns import map_in_arrow

    return map_in_arrow(frame, function, _parse_datatype_string(schema))


def narrow(spark: Any, folder: str, options: Any) -> None:
    """1,000,000 rows of 13 float and 26 int columns."""
    import pyarrow as pa
    from pyspark.sql.types import FloatType
    from pyspark.sql.udf import _create_udf
    from pyspark.util import PythonEvalType

    rows = options.rows or 1_000_000
    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.random(rows, np.float32) for i in range(FLOATS)}
    columns |= {f"i{i}": rng.integers(0, 1000, rows).astype(np.int32) for i in range(INTS)}
    names = list(columns)
    frame = stored(spark, pa.table({**columns, "y": rng.random(rows, np.float32)}),
                   f"{folder}/narrow")  # fmt: skip
    scalar = _create_udf(scalar_sum, FloatType(), PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF)
    model = small(len(names))
    features = np.stack([columns[n].astype(np.float32) for n in names], axis=1)
    net = timed(lambda: model.predict(features, verbose=0, batch_size=128))
    print(json.dumps({"net alone, one process": round(net, 3)}), flush=True)
    todo = {
        "floor: numpy, mapInArrow": lambda: drain(
            in_arrow(frame.select(*names), to_numpy, "prediction float")
        ),
        "floor: scalar Arrow, all kept": lambda: drain(
            frame.select("*", scalar(*names).alias("prediction"))
        ),
        "zoo_keras predict, all kept": lambda: drain(model.predict(frame, feature_cols=names)),
        "zoo_keras fit, one step": lambda: model.fit(
            frame, feature_cols=names, label_cols="y", batch_size=rows, verbose=0
        ),
    }
    compare("39 columns", rows, todo, options.rounds, options.cold)


def images(spark: Any, folder: str, options: Any) -> None:
    """JPEG bytes: decoded, resized and scored."""
    import pyarrow as pa
    from PIL import Image

    import zoo_keras as keras

    rows, side = options.rows or 4_000, 32
    rng = np.random.default_rng(0)
    files = []
    for _ in range(64):
        data = BytesIO()
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(data, "JPEG")
        files.append(data.getvalue())
    frame = stored(spark, pa.table({"image": [files[i % 64] for i in range(rows)]}),
                   f"{folder}/images")  # fmt: skip
    layers = keras.layers
    data = keras.Input((), dtype="string")
    x = layers.Rescaling(1 / 255)(layers.Resizing(side, side)(layers.DecodeImage()(data)))
    x = layers.Flatten()(x)
    model = keras.Model(data, layers.Dense(10)(layers.Dense(64, activation="relu")(x)))
    file = onnx_of(model, (side, side, 3), rescale=True)
    compare("JPEG 96 x 128", rows, {
        "zoo_keras": lambda: drain(model.predict(frame, feature_cols="image")),
        "Pillow + ONNX Runtime, mapInArrow": lambda: drain(
            in_arrow(frame, images_by_onnx(file, side), "prediction array<float>")),
    }, options.rounds, options.cold)  # fmt: skip


def words(spark: Any, folder: str, options: Any) -> None:
    """Two columns of strings, looked up and embedded."""
    import pyarrow as pa

    import zoo_keras as keras

    rows = options.rows or 200_000
    known = [f"word{i}" for i in range(1000)]
    rng = np.random.default_rng(0)
    column = pa.array(known).take(pa.array(rng.integers(0, 1000, rows)))
    frame = stored(spark, pa.table({"word": column}), f"{folder}/words")
    layers = keras.layers
    word = keras.Input((), dtype="string")
    ids = layers.StringLookup(vocabulary=known)(word)
    model = keras.Model(word, layers.Dense(1)(layers.Embedding(1001, 8)(ids)))
    table = model.layers[-2].get_weights()[0] @ model.layers[-1].get_weights()[0]

    def by_hand(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow.compute as pc

        for batch in batches:
            ids = pc.index_in(batch.column("word"), value_set=pa.array(known))
            made = table[ids.to_numpy(zero_copy_only=False) + 1, 0]
            yield pa.RecordBatch.from_arrays([pa.array(made)], ["prediction"])

    compare("strings", rows, {
        "zoo_keras": lambda: drain(model.predict(frame, feature_cols="word").select("prediction")),
        "pyarrow + numpy, mapInArrow": lambda: drain(
            in_arrow(frame, by_hand, "prediction float")),
    }, options.rounds, options.cold)  # fmt: skip


CASES = {"wide": wide, "narrow": narrow, "words": words, "images": images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", type=int, default=3, help="runs with fresh Python workers")
    parser.add_argument("--rows", type=int, help="fewer or more than the case's own")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from zoo_keras.spark.cluster import init_session

    here = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    os.environ.update(PYSPARK_PYTHON=sys.executable, PYTHONPATH=here)
    compileall.compile_dir(ROOT / "zoo_keras", quiet=1)  # as pip does when it installs
    conf = {"spark.executorEnv.PYTHONPATH": here, "spark.ui.enabled": "false"}
    spark = init_session("local-cluster[2,1,2048]", "scoring", conf=conf)
    spark.sparkContext.setLogLevel("OFF")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for case in options.cases:
                CASES[case](spark, folder, options)
    finally:
        spark.stop()


if __name__ == "__main__":
    from scoring import main as run  # by its name, so that workers import what they keep

    run()
