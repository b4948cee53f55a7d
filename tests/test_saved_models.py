"""SavedModels and frozen graphs of TensorFlow open without it, predict the same, and train on."""

from __future__ import annotations

import os
import random
import shutil
import struct

import numpy as np
import pytest
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import DATA, Golden, series
from hostile import assert_small

import zoo_keras as zk
from zoo_keras.errors import FileError, UnsupportedError, ZooKerasError
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.tensorflow import messages
from zoo_keras.saving.tensorflow.flat import Flat, Flattener, restored
from zoo_keras.saving.tensorflow.messages import Body, Node
from zoo_keras.saving.tensorflow.table import Checkpoint
from zoo_keras.saving.tensorflow.words import Translator

GOLDEN = Golden("saved_models")
FILES = DATA / "saved_models"
METADATA = "keras_metadata.pb"
LOOP = "keras3_frames"  # a recurrent layer is a loop of the graph
OPEN = [name for name in GOLDEN.cases if name != LOOP]
OF_KERAS2 = [name for name in OPEN if name.startswith("keras2")]
GRAPHS = [name for name in OPEN if not name.startswith("keras2")]


def opened(name):
    if name.startswith("frozen"):
        return zk.saving.from_graph_def(FILES / f"{name}.pb")
    return zk.saving.load_model(FILES / name)


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def assert_predicts(model, arrays, key="predicted", tolerance=OUTPUT):
    got = model.predict_on_batch(joined(series(arrays, "x")))
    got = got if isinstance(got, list) else [got]
    assert_all_close(got, series(arrays, key), tolerance, range(len(got)))


@pytest.mark.parametrize("name", OPEN)
def test_a_model_predicts_what_keras_does(name):
    assert_predicts(opened(name), GOLDEN.arrays(name))


@pytest.mark.parametrize("name", OF_KERAS2)
def test_a_model_of_tf_keras_trains_on_with_its_optimizer(name):
    model, arrays = opened(name), GOLDEN.arrays(name)
    model.train_on_batch(joined(series(arrays, "x")), np.zeros_like(arrays["predicted0"]))
    assert_predicts(model, arrays, "continued", 5 * STEP)  # moving variances by n - 1


@pytest.mark.parametrize("name", [n for n in GRAPHS if n.endswith(("mobile", "siamese", "audio"))])
def test_a_graph_trains_on_and_is_saved(name, tmp_path):
    model, x = opened(name), joined(series(GOLDEN.arrays(name), "x"))
    y = np.zeros_like(GOLDEN.arrays(name)["predicted0"])
    model.compile(zk.optimizers.Adam(0.01), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before
    model.save(tmp_path / "model.keras")
    again = zk.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_all_unknown_ops_are_named_at_once():
    with pytest.raises(UnsupportedError, match=r"keras3_frames.*TensorListFromTensor.*While"):
        opened(LOOP)


@pytest.mark.parametrize(("kind", "rows"), [("Select", True), ("SelectV2", False)])
def test_a_vector_of_conditions_chooses_rows_for_the_first_select(kind, rows, tmp_path):
    """The second one broadcasts it along the last axis."""

    def made(kind, name, *inputs, **given):
        told = [field(5, field(1, k.encode()) + field(2, v)) for k, v in given.items()]
        read = [field(3, each.encode()) for each in inputs]
        return field(1, b"".join([field(1, name.encode()), field(2, kind.encode()), *read, *told]))

    size = field(2, field(1, 2))
    whole = field(1, 3) + field(2, field(2, field(1, 1))) + field(4, struct.pack("<i", 0))
    zero = field(1, 1) + field(4, struct.pack("<f", 0))
    path = tmp_path / "select.pb"
    path.write_bytes(
        made("Placeholder", "x", dtype=field(6, 1), shape=field(7, size + size))
        + made("Const", "axis", dtype=field(6, 3), value=field(8, whole))
        + made("Const", "zero", dtype=field(6, 1), value=field(8, zero))
        + made("Sum", "total", "x", "axis", T=field(6, 1))
        + made("Greater", "more", "total", "zero", T=field(6, 1))
        + made("Neg", "minus", "x", T=field(6, 1))
        + made(kind, "y", "more", "x", "minus", T=field(6, 1))
    )
    x = np.array([[1, -3], [2, -4]], "f4")
    more = x.sum(0) > 0
    want = np.where(more[:, None] if rows else more, x, -x)
    np.testing.assert_array_equal(zk.saving.from_graph_def(path).predict_on_batch(x), want)


def test_outputs_of_a_frozen_graph_may_be_chosen():
    path = FILES / "frozen_siamese.pb"
    body, _ = messages.body_and_library(pb.fields(memoryview(path.read_bytes())))
    gap = next(node.name for node in body.nodes.values() if node.kind == "Sub")
    assert zk.saving.from_graph_def(path, outputs=f"{gap}:0").output_shape == (None, 3)
    with pytest.raises(FileError, match="Received: 'no_such_node'"):
        zk.saving.from_graph_def(path, outputs=["no_such_node"])


def test_a_folder_that_lacks_its_variables_is_named(tmp_path):
    shutil.copytree(FILES / "keras3_siamese", tmp_path / "m")
    (tmp_path / "m" / "variables" / "variables.index").unlink()
    with pytest.raises(FileError, match=r"variables\.index"):
        zk.saving.load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["keras2_recommender", "keras3_siamese"])
@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index", METADATA])
def test_damaged_folders_are_typed_errors(name, part, tmp_path):
    shutil.copytree(FILES / name, tmp_path / "m")
    path, draw = tmp_path / "m" / part, random.Random(f"{name}{part}")
    if not path.exists():
        return
    whole = path.read_bytes()
    for _ in range(12):
        data = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256) if data else 0
        path.write_bytes(bytes(data))
        error = assert_small(lambda: zk.saving.load_model(tmp_path / "m"))
        assert error is None or isinstance(error, ZooKerasError), error


# ---- what a hostile folder claims ----------------------------------------------------------------


def field(number, value):
    """A field of a message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    more = [value >> 7 * i & 127 for i in range(max(-(-value.bit_length() // 7), 1))]
    return bytes(b | 128 for b in more[:-1]) + bytes(more[-1:])


def block(rows):
    """A block of a table: (length shared with the key before, the rest of the key, value)."""
    found = b"".join(varint(n) + varint(len(k)) + varint(len(v)) + k + v for n, k, v in rows)
    return found + struct.pack("<II", 0, 1)


def checkpoint(folder, rows, data):
    """A checkpoint of these rows, and of one file of bytes."""
    inner = block([(0, b"", field(1, 1)), *rows])
    outer = block([(0, b"~", varint(0) + varint(len(inner)))])
    place = len(inner) + 5
    footer = (varint(0) * 2 + varint(place) + varint(len(outer))).ljust(40, b"\0")
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "v.index").write_bytes(inner + b"\0" * 5 + outer + b"\0" * 5 + footer + magic)
    (folder / "v.data-00000-of-00001").write_bytes(data)
    return Checkpoint(str(folder / "v"))


def entry(size, offset=0, dtype=14, axes=1):
    shape = b"".join(field(2, field(1, size // 2 if i == 0 else 1)) for i in range(axes))
    return field(1, dtype) + field(2, shape) + field(4, offset) + field(5, size)


def test_arrays_of_a_checkpoint_are_read_once_from_one_open_file(tmp_path):
    rows = [(0, b"%05d" % i, entry(2, 2 * i)) for i in range(3000)]
    found = checkpoint(tmp_path, rows, np.arange(3000, dtype="<u2").tobytes())
    before = len(os.listdir("/proc/self/fd"))
    arrays = [found.array(f"{i:05d}") for i in range(3000)]
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert arrays[5] is found.array("00005")


def test_arrays_of_a_checkpoint_do_not_share_bytes(tmp_path):
    found = checkpoint(tmp_path, [(0, b"a", entry(8)), (0, b"b", entry(8))], bytes(8))
    found.array("a")
    with pytest.raises(FileError, match="above each other"):
        found.array("b")


def test_a_checkpoint_has_no_more_numbers_than_its_files_have_bytes(tmp_path):
    assert checkpoint(tmp_path, [(0, b"a", entry(1 << 50))], bytes(8)).numbers() == 8
    assert checkpoint(tmp_path, [(0, b"a", entry(8))], bytes(8)).numbers() == 4


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([(n, b"k", b"") for n in range(1, 5000)], "keys that are longer"),
        ([(0, b"a", entry(8, axes=5000))], "5000 axes"),
    ],
    ids=["keys", "axes"],
)
def test_a_hostile_index_is_refused(rows, error, tmp_path):
    rows = [(0, b"kk", b""), *rows] if error.startswith("keys") else rows
    with pytest.raises(FileError, match=error):
        checkpoint(tmp_path, rows, bytes(8))


def node(name, kind, *inputs, **attributes):
    return Node(kind, name, list(inputs), {k: memoryview(v) for k, v in attributes.items()})


def body(*nodes, arguments=(), returns=()):
    return Body(list(arguments), {n.name: n for n in nodes}, list(returns))


def test_identities_in_a_circle_restore_nothing():
    circle = body(node("a", "Identity", "b"), node("b", "Identity", "a"),
                  node("set", "AssignVariableOp", "v", "a"))  # fmt: skip
    assert restored(circle, {}, "") == {}


def constant(count, values=b""):
    """A constant of so many elements that are all alike."""
    shape = field(2, field(1, count))
    return field(8, field(1, 1) + field(2, shape) + field(5, values))


def test_a_constant_in_a_function_that_is_called_often_is_taken_once():
    inner = body(node("c", "Const", value=constant(1 << 22)), returns=["c:output:0"])
    calls = [node(f"n{i}", "PartitionedCall", f=field(10, field(1, b"g"))) for i in range(50)]
    outer = body(*calls)
    flattener = Flattener({"g": inner}, lambda name: None)
    flattener.add(outer, [n.name for n in calls], {})
    assert len({id(a) for a in flattener.flat.arrays.values()}) == 1


ONE = node("c", "Const", value=constant(1))
LARGE = [node(f"c{i}", "Const", value=constant(1 << 24)) for i in range(60)]


@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        (LARGE, "constants are larger"),
        ([ONE._replace(name="c" * 5000)], "more than 4096"),
        ([ONE, node("n", "AddN", *["c"] * 1_000_001)], "more than"),
    ],
    ids=["constants", "name", "inputs"],
)
def test_a_hostile_graph_is_refused(nodes, error, monkeypatch):
    monkeypatch.setattr("zoo_keras.saving.tensorflow.flat._MOST_BYTES", 1 << 27)
    with pytest.raises(FileError, match=error):
        Flattener({}, lambda name: None).add(body(*nodes), [n.name for n in nodes], {})


def test_a_graph_of_more_tensors_than_nodes_of_a_net_is_refused(monkeypatch):
    monkeypatch.setattr("zoo_keras.saving.tensorflow.words._MOST_OUTPUTS", 5000)
    nodes = [(node(f"u{i}", "Unpack", num=field(3, 4000)), ["x:0"], f"u{i}") for i in range(2)]
    with pytest.raises(FileError, match="too many tensors"):
        Translator(Flat(nodes, {}, {}))
