"""Damages files of every kind and loads them, each batch in a process of its own with limits.

    .venv/bin/python tests/fuzz_files.py --inputs 1000000 --workers 2 [--kinds h5 onnx] [--seed 0]

Every input either opens or ends in an error of ours. A crash, another exception, more memory than
the limit, or more seconds than the limit is a failure: it is printed with its number, which makes
the same input again (`--seed NUMBER --inputs 1 --kinds KIND`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "golden" / "data"
SECONDS = 30  # for one input
MEMORY = 2 << 30  # bytes beside what the process has at its start
BATCH = 500
REFUSED = ("files/with_lambda.keras", "torchvision/module.pth")  # as they are
NUMBERS = [b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x80" * 9 + b"\x01",
           b"\xff" * 9 + b"\x01", b"\x00\x00\x00\x80", b"9" * 12, b"-1", b"1e999",
           b"null"]  # fmt: skip


class Kind(NamedTuple):
    """Files to begin with, and how a path is loaded. Of a folder, one file in it is damaged."""

    files: list[str]
    load: Callable[[Any, Path], Any]


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
    model = zk.Sequential([zk.Input((9,)), zk.layers.Dense(12), zk.layers.Dense(7),
                           zk.layers.Dense(3)])  # fmt: skip
    model.load_weights(path)


KINDS: dict[str, Kind] = {
    "h5": Kind(["files/mlp.h5", "files/two_towers.h5", "keras2/nested.h5", "keras1/theano_mlp.h5",
                "zoo/keras2_siamese.h5", "zoo/keras3_recommender.h5"], _load_model),
    "weights": Kind(["files/mlp.weights.h5", "files/mlp.h5", "files/mlp.keras"], _weights),
    "keras": Kind(["files/mlp.keras", "files/two_towers.keras", "zoo/keras2_siamese.keras",
                   "zoo/keras3_seq2seq.keras", "files/with_lambda.keras"], _load_model),
    "json": Kind(["json"], _text("json")),
    "yaml": Kind(["yaml"], _text("yaml")),
    "onnx": Kind(["onnx/residual_13.onnx", "onnx/transformer_18.onnx", "onnx/words_9.onnx",
                  "onnx/pad_axes.onnx", "onnx/lstm.onnx", "onnx/resize_cubic.onnx",
                  "onnx/shape_of_rows.onnx"],
                 lambda zk, path: zk.saving.from_onnx(path)),
    "tfjs": Kind(["tfjs"], lambda zk, path: zk.saving.from_tfjs(path / "model.json")),
    "pb": Kind(["saved_models/frozen_mobile.pb", "saved_models/frozen_transformer.pb"],
               lambda zk, path: zk.saving.from_graph_def(path)),
    "saved_model": Kind(["saved_models/keras3_siamese", "saved_models/keras3_groups",
                         "saved_models/keras2_recommender"], _load_model),
    "pth": Kind(["torchvision/state.pth", "torchvision/old.pth", "torchvision/ordered.pth",
                 "torchvision/state.safetensors", "torchvision/module.pth"], _torch),
    "caffe": Kind(["caffe/resnet", "caffe/old", "caffe/inception"], _caffe),
}  # fmt: skip


# ---- one input -----------------------------------------------------------------------------------


def original(zk: Any, name: str, folder: Path) -> dict[str, bytes]:
    """The files to damage, by their names in the folder that is loaded."""
    if name == "json":
        told = json.loads((DATA / "keras1" / "tensorflow.json").read_text())
        texts = [zk.saving.load_model(DATA / "files" / "two_towers.keras").to_json()]
        return {"": random.Random(0).choice([*texts, next(iter(told.values()))[0]]).encode()}
    if name == "yaml":
        told = json.loads((DATA / "keras1" / "tensorflow.json").read_text())
        return {"": next(iter(told.values()))[1].encode()}
    if name == "tfjs":
        return _tfjs(zk)
    if name.startswith("caffe/"):
        ends = ("prototxt", "caffemodel")
        return {f"net.{end}": (DATA / f"{name}.{end}").read_bytes() for end in ends}
    path = DATA / name
    if path.is_dir():
        files = [f for f in path.rglob("*") if f.is_file()]
        return {str(f.relative_to(path)): f.read_bytes() for f in files}
    return {"": path.read_bytes()}


def _tfjs(zk: Any) -> dict[str, bytes]:
    """A layers model with its weights in one file."""
    model = zk.saving.load_model(DATA / "files" / "mlp.keras")
    weights = [(w.path, w.numpy()) for w in model.weights]
    listed = [{"name": n, "shape": list(a.shape), "dtype": "float32"} for n, a in weights]
    topology = {"keras_version": "2.4.0", "model_config": json.loads(model.to_json())}
    told = {"modelTopology": topology, "weightsManifest": [{"paths": ["w.bin"], "weights": listed}]}
    data = b"".join(a.tobytes() for _, a in weights)
    return {"model.json": json.dumps(told).encode(), "w.bin": data}


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The same bytes with one to eight kinds of damage."""
    made = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 3, 8])):
        if not made:
            break
        place, size = draw.randrange(len(made)), draw.choice([1, 2, 4, 16, 256])
        what = draw.randrange(8)
        if what == 0:
            made[place] ^= 1 << draw.randrange(8)
        elif what == 1:
            made[place] = draw.randrange(256)
        elif what == 2:
            made[place : place + size] = draw.randbytes(size)
        elif what == 3:
            del made[place : place + size]
        elif what == 4:
            made[place:place] = made[place : place + size]
        elif what == 5:
            other = draw.randrange(len(made))
            made[place : place + size] = made[other : other + size]
        elif what == 6:
            number = draw.choice(NUMBERS)
            made[place : place + len(number)] = number
        else:
            del made[place:]
    return bytes(made)


def _put(path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def write(path: Path, files: dict[str, bytes], draw: random.Random) -> None:
    """Files with damage in one of them."""
    hit = draw.choice(sorted(files))
    _put(path, {n: _hit(data, draw) if n == hit else data for n, data in files.items()})


def _hit(data: bytes, draw: random.Random) -> bytes:
    """Damage; in an archive mostly within a member, whose checksum is right then."""
    if not data.startswith(b"PK") or draw.random() < 0.3:
        return damaged(data, draw)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(made, "w") as out:
        hit = draw.choice(given.namelist())
        for name in given.namelist():
            member = given.read(name)
            out.writestr(name, damaged(member, draw) if name == hit else member)
    return made.getvalue()


# ---- a batch, in a process of its own ------------------------------------------------------------


def work(kind: str, first: int, count: int, folder: Path) -> None:
    """Load so many inputs. The number of the one in work stands in folder/now."""
    import zoo_keras as zk
    from zoo_keras.errors import ZooKerasError

    warnings.simplefilter("ignore")
    chosen = KINDS[kind]
    kept = {name: original(zk, name, folder) for name in chosen.files}
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    found: Counter[str] = Counter()
    for name, files in kept.items():  # what is damaged is a file that opens
        if name not in REFUSED:
            _put(folder / "input", files)
            chosen.load(zk, folder / "input")
            _remove(folder / "input")
    for number in range(first, first + count):
        (folder / "now").write_text(str(number))
        draw, path = random.Random(f"{kind}{number}"), folder / "input"
        write(path, kept[draw.choice(chosen.files)], draw)
        signal.alarm(SECONDS)
        try:
            chosen.load(zk, path)
            found["opened"] += 1
        except ZooKerasError:
            found["refused"] += 1
        signal.alarm(0)
        _remove(path)
    (folder / "found").write_text(json.dumps(found))


def batch(kind: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """(what became of the inputs, failures); a failure ends a process, and another one goes on."""
    found: Counter[str] = Counter()
    failures = []
    end = first + count
    while first < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            told = [kind, str(first), str(end - first), name]
            done = subprocess.run(
                [sys.executable, __file__, "--work", *told], capture_output=True, text=True,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )  # fmt: skip
            folder = Path(name)
            if done.returncode == 0:
                return found + Counter(json.loads((folder / "found").read_text())), failures
            now = folder / "now"
            at = int(now.read_text()) if now.exists() else None
        last = (done.stderr.strip().splitlines() or [""])[-1]
        failures.append(f"{kind} {at}: exit {done.returncode}: {last[:300]}")
        if at is None:  # what is not damaged does not open
            return found, failures
        found["failed"] += 1
        found["loaded before a failure"] += at - first
        first = at + 1
    return found, failures


def run(inputs: int, workers: int, kinds: list[str], seed: int = 0) -> tuple[dict, list[str]]:
    """({kind: what became of its inputs}, failures) of so many inputs, spread over the kinds."""
    each = -(-inputs // len(kinds))
    jobs = [
        (kind, seed + start, min(BATCH, each - start))
        for start in range(0, each, BATCH)
        for kind in kinds
    ]
    table: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    failures: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for job, (found, failed) in zip(jobs, pool.map(lambda j: batch(*j), jobs), strict=True):
            table[job[0]] += found
            failures += failed
            for failure in failed:
                print(failure, flush=True)
    return table, failures


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        kind, first, count, folder = sys.argv[2:]
        work(kind, int(first), int(count), Path(folder))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table, failures = run(given.inputs, given.workers, given.kinds, given.seed)
    for kind, found in table.items():
        print(f"{kind:12}", dict(found))
    print(
        f"{sum(sum(found.values()) for found in table.values())} inputs, {len(failures)} failures"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
