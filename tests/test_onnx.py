"""ONNX models: as onnxruntime computes them, trained on, saved; and files that are refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
from golden.compare import OUTPUT, assert_all_close
from golden.store import DATA, Golden, series
from hostile import assert_small

import zoo_keras as zk
from zoo_keras.errors import FileError, UnsupportedError, ZooKerasError

GOLDEN = Golden("onnx")
FILES = DATA / "onnx"
NETS = [name for name in GOLDEN.cases if name.endswith("_18") and not name.startswith("split")]


def joined(items):
    return items[0] if len(items) == 1 else items


def as_list(value):
    return value if isinstance(value, list) else [value]


def opened(name):
    model = zk.saving.from_onnx(FILES / f"{name}.onnx")
    return model, joined(series(GOLDEN.arrays(name), "x"))


@pytest.mark.parametrize("name", GOLDEN.cases)
def test_a_model_predicts_what_onnxruntime_does(name):
    model, x = opened(name)
    got, want = as_list(model.predict_on_batch(x)), series(GOLDEN.arrays(name), "predicted")
    assert_all_close(got, want, OUTPUT, range(len(want)))


@pytest.mark.parametrize("name", NETS)
def test_any_number_of_rows_fits(name):
    model, x = opened(name)
    want = series(GOLDEN.arrays(name), "predicted")[0]
    rows = np.concatenate([x, x[:1], x])
    got = model.predict(rows, batch_size=2, verbose=0)
    assert_all_close([got], [np.concatenate([want, want[:1], want])], OUTPUT, ["rows"])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NETS)
def test_a_model_trains_on_and_is_saved(name, suffix, tmp_path):
    model, x = opened(name)
    y = np.zeros_like(series(GOLDEN.arrays(name), "predicted")[0])
    model.compile(zk.optimizers.Adam(0.01), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before
    model.save(tmp_path / f"model{suffix}")
    again = zk.saving.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


@pytest.mark.parametrize("name", NETS)
def test_all_kernels_are_weights_that_train(name):
    model, _ = opened(name)
    assert len(model.trainable_weights) >= 4
    assert model.name == name and model.input_shape[0] is None


# ---- what is refused -------------------------------------------------------------------------


def field(number, data):
    """A field of a protocol buffer: text, bytes or a small number."""
    if isinstance(data, int):
        return bytes([number << 3, data])
    data = data.encode() if isinstance(data, str) else data
    size = len(data)
    length = bytes([size & 127 | 128, size >> 7]) if size > 127 else bytes([size])
    return bytes([number << 3 | 2]) + length + data


def file_of(path, *kinds, opset=13, tensor=b"", more=b""):
    """A file of nodes, each of which reads the one before; `more` belongs to all."""
    nodes = b"".join(
        field(1, field(1, f"t{i}") + field(2, f"t{i + 1}") + field(4, kind) + more)
        for i, kind in enumerate(kinds)
    )
    sizes = field(2, field(1, field(2, "n")) + field(1, field(1, 4)))
    ports = [
        field(1, n) + field(2, field(1, field(1, 1) + sizes)) for n in ("t0", f"t{len(kinds)}")
    ]
    graph = nodes + tensor + field(11, ports[0]) + field(12, ports[1])
    path.write_bytes(field(1, 8) + field(8, field(2, opset)) + field(7, graph))
    return path


def test_a_file_made_here_opens(tmp_path):
    model = zk.saving.from_onnx(file_of(tmp_path / "m.onnx", "Relu", "Neg"), name="mine")
    np.testing.assert_array_equal(
        model.predict_on_batch(np.array([[-1.0, 2, 0, 1]])), [[0, -2, 0, -1]]
    )
    assert model.name == "mine"


def test_all_unknown_ops_are_named_at_once(tmp_path):
    path = file_of(tmp_path / "m.onnx", "Relu", "NonZero", "QLinearConv", "NonZero")
    with pytest.raises(UnsupportedError, match=r"m\.onnx.*NonZero, QLinearConv"):
        zk.saving.from_onnx(path)


@pytest.mark.parametrize("opset", [6, 23])
def test_other_opsets_are_named(opset, tmp_path):
    with pytest.raises(UnsupportedError, match=f"opset {opset}"):
        zk.saving.from_onnx(file_of(tmp_path / "m.onnx", "Relu", opset=opset))


def test_a_message_of_very_many_small_fields_is_refused_before_they_are_made(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(field(2, b"") * 600_000)
    error = assert_small(lambda: zk.saving.from_onnx(path))
    assert isinstance(error, FileError) and "more fields than" in str(error)


def test_borders_of_a_file_are_limited(tmp_path):
    kind = field(
        5, field(1, "pads") + b"\xa0\x01\x07" + field(8, b"\0\0\0" + b"\xff" * 4 + b"\x0f")
    )
    mode = field(5, field(1, "mode") + b"\xa0\x01\x03" + field(4, "edge"))
    path = file_of(tmp_path / "m.onnx", "Pad", opset=10, more=kind + mode)
    error = assert_small(lambda: zk.saving.from_onnx(path))
    assert isinstance(error, FileError) and "at most. Received: [(0, 0), (0, 4294967295)]" in str(
        error
    )


def test_a_constant_larger_than_its_bytes_is_refused_before_memory_is_taken(tmp_path):
    huge = b"\x08" + b"\xff" * 8 + b"\x7f"  # dims: 2**63 - 1
    tensor = field(5, huge + field(2, 1) + field(8, "c") + field(9, b"1234"))
    path = file_of(tmp_path / "m.onnx", "Relu", tensor=tensor)
    assert isinstance(assert_small(lambda: zk.saving.from_onnx(path)), FileError)


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "absent", ""])
def test_constants_in_files_elsewhere_are_refused(place, tmp_path):
    (tmp_path / "secret").write_bytes(b"12345678")
    (tmp_path / "in").mkdir()
    told = field(13, field(1, "location") + field(2, place))
    tensor = field(5, field(1, 2) + field(2, 1) + field(8, "c") + told + field(14, 1))
    with pytest.raises(FileError, match="folder"):
        zk.saving.from_onnx(file_of(tmp_path / "in" / "m.onnx", "Relu", tensor=tensor))


def test_constants_in_a_file_beside_the_model_are_read(tmp_path):
    (tmp_path / "data").write_bytes(np.array([0, 1, 2], "f4").tobytes())
    told = b"".join(field(13, field(1, k) + field(2, v)) for k, v in
                    (("location", "data"), ("offset", "4"), ("length", "8")))  # fmt: skip
    tensor = field(5, field(1, 2) + field(2, 1) + field(8, "c") + told + field(14, 1))
    zk.saving.from_onnx(file_of(tmp_path / "m.onnx", "Relu", tensor=tensor))


@pytest.mark.parametrize("data", [b"", b"PK", b"\x3a\xff\xff\xff\xff\x7f", b"\x08" * 7])
def test_what_is_no_onnx_is_a_file_error(data, tmp_path):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(FileError, match=r"m\.onnx"):
        zk.saving.from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["residual_18", "words_11", "transformer_17", "resize_cubic"])
def test_damaged_files_are_typed_errors(name, tmp_path):
    """Bytes changed, cut and doubled; whatever still opens is a model."""
    data, dice = (FILES / f"{name}.onnx").read_bytes(), random.Random(name)
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(damaged))
            change = dice.choice("scd")
            if change == "s":
                damaged[at] = dice.randrange(256)
            elif change == "c":
                del damaged[at : at + dice.randint(1, 9)]
            else:
                damaged[at:at] = damaged[at : at + dice.randint(1, 9)]
        (tmp_path / "m.onnx").write_bytes(damaged)
        error = assert_small(lambda: zk.saving.from_onnx(tmp_path / "m.onnx"))
        assert error is None or isinstance(error, ZooKerasError), repr(error)
