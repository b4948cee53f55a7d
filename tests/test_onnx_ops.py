"""Single ONNX ops on constants and on tensors: refused sizes, and the values of onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hostile import assert_small

import zoo_keras as zk
from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving.onnx import graph
from zoo_keras.saving.onnx.calls import CONVERTERS, FOLDS, Call, is_array
from zoo_keras.saving.onnx.model_file import Contents, Node, Port


def made(kind, *inputs, opset=18, outputs=1, **attributes):
    """What is made of one node."""
    names = [f"x{i}" for i in range(len(inputs))]
    node = Node(kind, "n", names, [f"y{i}" for i in range(outputs)], attributes)
    folds = kind in FOLDS and all(v is None or is_array(v) for v in inputs)
    call = Call(node, list(inputs), opset, None, [1] * len(inputs))
    return (FOLDS if folds else CONVERTERS)[kind](call)


def on_tensor(kind, x, *inputs, **rest):
    """The value of one node that reads an input and constants."""
    port = zk.Input(x.shape[1:], dtype=str(x.dtype))
    y = made(kind, port, *inputs, **rest)
    return zk.Model(port, y).predict_on_batch(x)


def numbers(*shape, dtype=np.float32):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


# ---- sizes ---------------------------------------------------------------------------------------

N = 1 << 15
ROW, COLUMN = np.zeros((1, N), np.int8), np.zeros((N, 1), np.int8)
LONG = np.broadcast_to(np.int8(0), (1 << 27,))  # takes no memory
HUGE = np.array([1 << 20, 1 << 20])


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("Concat", [LONG, LONG, LONG], {"axis": 0}), ("Gather", [ROW, np.zeros((N, 9))], {}),
        ("Expand", [ROW[:, :1], HUGE], {}), ("Expand", [COLUMN, np.array([1, N])], {}),
        ("Einsum", [ROW[0], ROW[0]], {"equation": "i, j -> ij"}), ("MatMul", [COLUMN, ROW], {}),
        ("Gemm", [COLUMN, COLUMN], {"transB": 1}),
        *((kind, [ROW, COLUMN], {}) for kind in ("Add", "Div", "Mod", "Mean", "And", "Pow")),
        ("Where", [ROW == 0, COLUMN, ROW], {}), ("Clip", [ROW, COLUMN], {}),
        ("Tile", [ROW, HUGE], {}), ("ConstantOfShape", [HUGE], {}),
        ("Range", [np.array(0), np.array(1 << 40), np.array(1)], {}),
        ("Pad", [ROW, np.array([0, 1 << 40, 0, 0])], {}),
        ("Expand", [zk.Input((1, 1)), np.array([1, 1 << 20, 1 << 20])], {}),
        ("Resize", [zk.Input((1 << 14,)), None, np.array([1.0, 2.0])], {}),
        ("AveragePool", [zk.Input((1, 8))], {"kernel_shape": [2], "pads": [10**10] * 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_constant_that_is_too_large_is_refused_before_memory_is_taken(kind, inputs, attributes):
    error = assert_small(lambda: made(kind, *inputs, **attributes))
    assert isinstance(error, FileError) and "at most" in str(error), repr(error)


def test_many_constants_of_a_small_file_are_refused(monkeypatch):
    monkeypatch.setattr(graph, "_SPARE", 1 << 20)
    ports = [Port(name, "float32", [None, 2]) for name in ("x", "y")]
    nodes = [Node("Concat", f"n{i}", ["c", "c"], [f"c{i}"], {"axis": 0}) for i in range(200)]
    nodes.append(Node("Relu", "last", ["x"], ["y"], {}))

    def model(size):
        contents = Contents(18, nodes, {"c": np.zeros(size, np.float32)}, *([p] for p in ports))
        return graph.Importer(contents).model("m")

    assert model(600).name == "m"
    with pytest.raises(FileError, match="too large"):
        model(1000)


def test_a_window_over_very_many_channels_is_refused():
    with pytest.raises(UnsupportedError, match="size=1000000000"):
        made("LRN", zk.Input((3, 4, 4)), size=10**9)


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auto", "more", "first"),
    [("SAME_UPPER", 0, [0, 0, 1, 1]), ("SAME_LOWER", 0, [0, 1, 1, 3]), ("SAME_UPPER", 1, [0, 1])],
)
def test_a_transposed_convolution_of_same_size_has_stride_times_the_input(auto, more, first):
    x, kernel = numbers(1, 1, 5, 5), np.ones((1, 1, 3, 3), np.float32)
    options = {"auto_pad": auto, "strides": [2, 2], "output_padding": [more, more]}
    y = on_tensor("ConvTranspose", x, kernel, **options)
    assert y.shape == (1, 1, 10, 10)
    np.testing.assert_array_equal(y[0, 0, 0, : len(first)], first)


def test_a_transposed_convolution_with_windows_under_its_strides_is_refused():
    with pytest.raises(UnsupportedError, match="as wide as strides"):
        made("ConvTranspose", zk.Input((1, 5, 5)), np.ones((1, 1, 1, 1), np.float32),
             auto_pad="SAME_UPPER", strides=[2, 2])  # fmt: skip


def test_means_over_borders_count_what_is_there():
    x = numbers(1, 1, 5)
    y = on_tensor("AveragePool", x, kernel_shape=[3], pads=[1, 1], strides=[2])
    np.testing.assert_allclose(y[0, 0], [0.5, 2, 3.5])
    y = on_tensor("AveragePool", x, kernel_shape=[3], pads=[2, 0], count_include_pad=1)
    np.testing.assert_allclose(y[0, 0], [0, 1 / 3, 1, 2, 3], rtol=1e-6)


def test_whole_numbers_are_divided_towards_zero():
    x, y = np.array([[-7, 7, -7, 7, -8, 0]]), np.array([[2, -2, -2, 2, 2, -3]])
    want = [[-3, -3, 3, 3, -4, 0]]
    assert made("Div", x, y).tolist() == want
    assert on_tensor("Div", x.astype(np.int32), y).tolist() == want
    assert made("Div", np.array(-7), np.array(2)) == -3
    assert made("Div", np.array([-7.0]), np.array([2.0])).tolist() == [-3.5]


def test_the_last_part_of_a_split_is_the_smallest():
    x = numbers(1, 7)
    want = [[0, 1, 2], [3, 4, 5], [6]]
    assert [v[0].tolist() for v in made("Split", x, axis=1, outputs=3, num_outputs=3)] == want
    parts = on_tensor("Split", x, axis=1, outputs=3, num_outputs=3)
    assert [v[0].tolist() for v in parts] == want
    with pytest.raises(UnsupportedError, match="4 parts of 5"):
        made("Split", numbers(5), outputs=4, num_outputs=4)


def test_sequences_shorter_than_the_steps_are_refused():
    weights = [numbers(1, 2, 3), numbers(1, 2, 2), None]

    def recurrent(*lengths):
        return made("RNN", zk.Input((4, 3)), *weights, np.array(lengths), hidden_size=2, layout=1)

    assert len(recurrent(4, 4)) == 2
    with pytest.raises(UnsupportedError, match="number of steps"):
        recurrent(4, 3)


def test_a_broken_factor_is_no_repetition():
    x = numbers(1, 1, 2, 2)
    scales = np.array([1, 1, 2.4, 2.4], np.float32)
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = on_tensor("Resize", x, None, scales, **options)
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0, 1]] * 3 + [[2, 2, 2, 3]])
