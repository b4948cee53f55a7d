"""What fuzz_files.py damages: files of every kind, most of them tiny, and how each is loaded.

In: the name of a kind. Out: for each of its files the bytes, by their names in the folder that is
loaded ("" for a single file).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "golden" / "data"
REFUSED = ("files/with_lambda.keras", "torchvision/module.pth")  # as they are
Files = dict[str, bytes]


class Kind(NamedTuple):
    """Files to begin with, how a path is loaded, and how many of the inputs it gets.

    Names with a slash are golden files; others are made here.
    """

    files: list[str]
    load: Callable[[Any, Path], Any]
    share: int = 10


def _load_model(zk: Any, path: Path) -> Any:
    return zk.saving.load_model(path)


def _text(name: str) -> Callable[[Any, Path], Any]:
    def load(zk: Any, path: Path) -> Any:
        text = path.read_text("utf-8", "replace")
        return getattr(zk.saving, f"model_from_{name}")(text)

    return load


def _caffe(zk: Any, path: Path) -> Any:
    return zk.saving.from_caffe(path / "net.prototxt", path / "net.caffemodel")


def _torch(zk: Any, path: Path) -> Any:
    from zoo_keras.saving.torch import state_dict

    return state_dict.read(str(path))


def _weights(zk: Any, path: Path) -> Any:
    return _tower(zk).load_weights(path)


@functools.cache
def _tower(zk: Any) -> Any:
    return zk.Sequential([zk.Input((9,)), zk.layers.Dense(12), zk.layers.Dense(7),
                          zk.layers.Dense(3)])  # fmt: skip


ONNX = sorted(f"onnx/{path.name}" for path in (DATA / "onnx").glob("*.onnx"))
KINDS: dict[str, Kind] = {
    "h5": Kind(["tiny.h5", "files/mlp.h5", "files/two_towers.h5", "keras2/nested.h5",
                "keras1/theano_mlp.h5", "zoo/keras2_siamese.h5", "zoo/keras3_recommender.h5"],
               _load_model),
    "weights": Kind(["tower.weights.h5", "files/mlp.weights.h5", "files/mlp.h5",
                     "files/mlp.keras"], _weights),
    "keras": Kind(["tiny.keras", "files/mlp.keras", "files/two_towers.keras",
                   "zoo/keras2_siamese.keras", "zoo/keras3_seq2seq.keras",
                   "files/with_lambda.keras"], _load_model),
    "json": Kind(["tiny.json", "keras3.json", "keras1.json"], _text("json")),
    "yaml": Kind(["tiny.yaml", "keras1.yaml"], _text("yaml")),
    "onnx": Kind(ONNX, lambda zk, path: zk.saving.from_onnx(path)),
    "tfjs": Kind(["tfjs"], lambda zk, path: zk.saving.from_tfjs(path / "model.json")),
    "pb": Kind(["tiny.pb", "saved_models/frozen_siamese.pb", "saved_models/frozen_mobile.pb",
                "saved_models/frozen_transformer.pb"],
               lambda zk, path: zk.saving.from_graph_def(path)),
    "saved_model": Kind(["saved_models/keras3_attention", "saved_models/keras3_siamese",
                         "saved_models/keras3_groups", "saved_models/keras2_recommender"],
                        _load_model),
    "pth": Kind(["torchvision/state.pth", "torchvision/old.pth", "torchvision/ordered.pth",
                 "torchvision/state.safetensors", "torchvision/module.pth"], _torch),
    "caffe": Kind(["caffe/resnet", "caffe/old", "caffe/inception"], _caffe),
}  # fmt: skip


def seeds(zk: Any, kind: str, folder: Path) -> dict[str, Files]:
    """The files of a kind, by name."""
    return {name: _golden(name) if "/" in name else MADE[name](zk, folder)
            for name in KINDS[kind].files}  # fmt: skip


def put(path: Path, files: Files) -> None:
    """Files at a path, or below it."""
    for name, data in files.items():
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _golden(name: str) -> Files:
    if name.startswith("caffe/"):
        ends = ("prototxt", "caffemodel")
        return {f"net.{end}": (DATA / f"{name}.{end}").read_bytes() for end in ends}
    path = DATA / name
    if path.is_dir():
        files = [f for f in path.rglob("*") if f.is_file()]
        return {str(f.relative_to(path)): f.read_bytes() for f in files}
    return {"": path.read_bytes()}


# ---- made here -----------------------------------------------------------------------------------


def _tiny(zk: Any) -> Any:
    model = zk.Sequential([zk.Input((2,)), zk.layers.Dense(3, "relu", name="first"),
                           zk.layers.BatchNormalization(), zk.layers.Dense(1)])  # fmt: skip
    model.compile("adam", "mse", metrics=["mae"])
    return model


def _saved(make: Callable[[Any], Any], name: str) -> Callable[[Any, Path], Files]:
    def files(zk: Any, folder: Path) -> Files:
        path, model = folder / name, make(zk)
        (model.save_weights if name.endswith(".weights.h5") else model.save)(path)
        data = path.read_bytes()
        path.unlink()
        return {"": data}

    return files


def _of_keras1(which: int) -> Callable[[Any, Path], Files]:
    def files(zk: Any, folder: Path) -> Files:
        told = json.loads((DATA / "keras1" / "tensorflow.json").read_text())
        return {"": next(iter(told.values()))[which].encode()}

    return files


def _tfjs(zk: Any, folder: Path) -> Files:
    """A layers model with its weights in one file."""
    model = _tiny(zk)
    weights = [(w.path, w.numpy()) for w in model.weights]
    listed = [{"name": n, "shape": list(a.shape), "dtype": "float32"} for n, a in weights]
    topology = {"keras_version": "2.4.0", "model_config": json.loads(model.to_json())}
    told = {"modelTopology": topology, "weightsManifest": [{"paths": ["w.bin"], "weights": listed}]}
    data = b"".join(a.tobytes() for _, a in weights)
    return {"model.json": json.dumps(told).encode(), "w.bin": data}


YAML = b"""backend: tensorflow
class_name: Sequential
config:
- class_name: Dense
  config: {activation: relu, batch_input_shape: !!python/tuple [null, 4], name: d, output_dim: 3,
    input_dim: 4, init: uniform, trainable: true, bias: true}
keras_version: 1.2.2
"""


def _field(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer; numbers below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def _graph_def(zk: Any, folder: Path) -> Files:
    """A product of an input and a constant, and its activation."""
    shape = _field(2, _field(1, 2)) + _field(2, _field(1, 2))
    tensor = _field(1, 1) + _field(2, shape) + _field(4, b"\0\0\x80?" * 4)
    types = {"T": _field(6, 1), "dtype": _field(6, 1), "value": _field(8, tensor),
             "shape": _field(7, shape), "transpose_a": _field(5, 0)}  # fmt: skip

    def node(kind: str, name: str, *inputs: str, given: str = "T") -> bytes:
        read = b"".join(_field(3, i.encode()) for i in inputs)
        told = b"".join(_field(5, _field(1, k.encode()) + _field(2, types[k]))
                        for k in given.split())  # fmt: skip
        return _field(1, _field(1, name.encode()) + _field(2, kind.encode()) + read + told)

    return {"": node("Placeholder", "x", given="dtype shape")
            + node("Const", "w", given="dtype value")
            + node("MatMul", "y", "x", "w", given="T transpose_a")
            + node("Relu", "z", "y")}  # fmt: skip


MADE: dict[str, Callable[[Any, Path], Files]] = {
    "tiny.h5": _saved(_tiny, "tiny.h5"), "tiny.keras": _saved(_tiny, "tiny.keras"),
    "tower.weights.h5": _saved(_tower, "tower.weights.h5"),
    "tiny.json": lambda zk, folder: {"": _tiny(zk).to_json().encode()},
    "keras3.json": lambda zk, folder: {
        "": zk.saving.load_model(DATA / "files" / "two_towers.keras").to_json().encode()},
    "keras1.json": _of_keras1(0), "keras1.yaml": _of_keras1(1),
    "tiny.yaml": lambda zk, folder: {"": YAML}, "tfjs": _tfjs, "tiny.pb": _graph_def,
}  # fmt: skip
