"""What numpy computes in the programs of built-in layers, losses, metrics and optimizers: what
ALLOWED says. The golden tables say which there are and how they are called."""

from __future__ import annotations

import warnings
from collections import defaultdict
from copy import deepcopy

import numpy as np
import pytest
from golden.layer_case import cases
from golden.optimizer_arguments import arguments
from golden.store import Golden
from test_golden_metrics import made as metric_of

import zoo_keras as zk
from zoo_keras import ops
from zoo_keras.dtypes import is_float
from zoo_keras.engine import program as engine_program
from zoo_keras.engine.program import Place, compile_graph
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.nest import flatten
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import as_tensors

# class: ops. Eight equations for each image.
ALLOWED_IN_LAYERS = {
    "RandomPerspective": {"solve"},
}
ALLOWED: dict[str, set[str]] = {}


def numpy_ops(function, arrays):
    """Ops that numpy computes in the program of a function and of its gradients."""
    inputs = [input_tensor(f"in{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    with tracing() as trace:
        outputs = as_tensors(flatten(function(*inputs)))
        floats = [t for t in outputs if is_float(t.dtype)]
        wrt = [t for t in [*inputs, *[t for _, t in trace.parameters.values()]]
               if is_float(t.dtype)]  # fmt: skip
        found = gradients(ops.sum(ops.stack([ops.sum(t) for t in floats])), wrt) if floats else []
        updates = [new for _, new in trace.updates.values()]
    results = [*outputs, *updates, *[g for g in found if g is not None]]
    if trace.rng is not None:
        inputs.append(trace.rng)
    graph = optimise(Graph(inputs, results))
    places = {t: Place(f"space{i}") for i, t in enumerate(graph.inputs)}
    outs = [Place(f"out{i}") for i in range(len(results))]
    program = compile_graph(graph, places, outs, lambda v: Place(f"variable{id(v)}"))
    return {label.rsplit(", ", 1)[-1] for label in program.by_numpy()}


def test_layers():
    found = defaultdict(set)
    for case in cases():
        if case.computes and case.inputs():
            layer = case.built()
            found[case.row["class"]] |= numpy_ops(
                lambda *tensors, c=case, f=layer: c.call(f, list(tensors)), case.inputs()
            )
    assert {name: names for name, names in found.items() if names} == ALLOWED_IN_LAYERS
    assert len(found) > 100


ACTIVATIONS = ("relu", "elu", "selu", "softplus", "softsign", "hard_sigmoid", "silu", "gelu",
               "exponential", "leaky_relu", "mish", "hard_silu", "softmax", "log_softmax",
               "sparsemax", "celu")  # fmt: skip


def recurrent():
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        make = getattr(zk.layers, kind)
        yield f"{kind} with recurrent_dropout", make(4, recurrent_dropout=0.5, dropout=0.2)
        for name in ACTIVATIONS:
            yield f"{kind} with {name}", make(4, activation=name)
        if kind != "SimpleRNN":
            yield f"{kind} with hard_sigmoid gates", make(4, recurrent_activation="hard_sigmoid")
    cells = [zk.layers.LSTMCell(4), zk.layers.GRUCell(3, activation="relu")]
    yield "StackedRNNCells", zk.layers.RNN(zk.layers.StackedRNNCells(cells))


RECURRENT = list(recurrent())


@pytest.mark.parametrize(("name", "layer"), RECURRENT, ids=[name for name, _ in RECURRENT])
def test_recurrent_layers_of_any_activation_train_without_numpy(name, layer):
    x, mask = np.ones((2, 3, 5), "f4"), np.array([[True, False, True]] * 2)
    assert numpy_ops(lambda t: layer(t, training=True), [x]) == set()
    assert numpy_ops(lambda t, m: layer(t, mask=m, training=True), [x, mask]) == set()


def test_losses():
    golden, found = Golden("losses"), defaultdict(set)
    for name, case in golden.cases.items():
        loss, arrays = getattr(zk.losses, case["class"])(**case["kwargs"]), golden.arrays(name)
        found[case["class"]] |= numpy_ops(loss, [arrays["true"], arrays["pred"]])
    assert {name: names for name, names in found.items() if names} == ALLOWED
    assert len(found) >= 20


def test_metrics():
    golden, found = Golden("metrics"), defaultdict(set)
    for name, case in golden.cases.items():
        metric, arrays = metric_of(name), golden.arrays(name)
        given = [arrays[k] for k in ("true0", "pred0", "weight0") if k in arrays]

        def updated(*tensors, metric=metric, weighted="weight0" in arrays):
            tensors, weight = (tensors[:-1], tensors[-1]) if weighted else (tensors, None)
            metric.update_state(*tensors, sample_weight=weight)
            return ops.sum(tensors[0]) * 0

        found[case["class"]] |= numpy_ops(updated, given)
    assert {name: names for name, names in found.items() if names} == ALLOWED
    assert len(found) > 30


def test_optimizers():
    found = defaultdict(set)
    for golden in (Golden("optimizers"), Golden("more_optimizers")):
        for case in golden.cases.values():
            kwargs = arguments(zk, deepcopy(case["kwargs"]))
            model = zk.Sequential([zk.Input((3,)), zk.layers.Dense(4)])
            model.compile(getattr(zk.optimizers, case["class"])(**kwargs), "mse")
            model.train_on_batch(np.ones((2, 3), "f4"), np.ones((2, 4), "f4"))
            for _, _, program in model._local().programs():
                labels = program.by_numpy()
                found[case["class"]] |= {label.rsplit(", ", 1)[-1] for label in labels}
    assert {name: names for name, names in found.items() if names} == ALLOWED
    assert len(found) > 10


def test_whole_number_inputs_of_64_bits():
    model = zk.Sequential([zk.Input((3,), dtype="int64"), zk.layers.Embedding(5, 2)])
    ids = np.array([[1, 2, 3]])
    assert numpy_ops(model, [ids]) == set()
    assert numpy_ops(lambda t: ops.cast(t, "int32") + 1, [ids]) == set()


def test_a_masked_layer_with_states_of_its_own():
    layer = zk.layers.LSTM(4, return_sequences=True, go_backwards=True)
    x, state, mask = np.ones((2, 3, 5), "f4"), np.ones((2, 4), "f4"), np.ones((2, 3), bool)
    used = numpy_ops(lambda x, h, c, m: layer(x, initial_state=[h, c], mask=m),
                     [x, state, state, mask])  # fmt: skip
    assert used == set()


def bessel(x):
    """A function that numpy computes, in what can be trained."""
    return x * ops.stop_gradient(ops.i0(x))


def test_what_numpy_computes_is_told_from_inside_loops_too():
    x = np.ones((2, 3, 5), "f4")
    assert numpy_ops(bessel, [x]) == {"bessel_i0"}
    layer = zk.layers.SimpleRNN(4, activation=bessel)
    assert numpy_ops(layer, [x]) == {"bessel_i0", "scan"}


def test_summary_shows_programs_and_what_numpy_computes(capsys):
    x = zk.Input((3,))
    model = zk.Model(x, bessel(zk.layers.Dense(2)(x)) + bessel(x[:, :1]), name="net")
    model.summary(programs=True)
    assert "Programs of this process: 0" in capsys.readouterr().out
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((5, 3), "f4"), np.ones((5, 2), "f4"))
    model.predict(np.ones((4, 3), "f4"), verbose=0)
    model.summary(programs=True)
    shown = capsys.readouterr().out
    assert "predict of (4, 3): " in shown and "train of (5, 3): " in shown
    assert (
        shown.count("computed by numpy: ") == 2
        and 'by numpy: layer "net/' in shown
        and ", bessel_i0" in shown
    )
    model.summary()
    assert "Programs" not in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_slow_dtypes_are_named_once(dtype, monkeypatch):
    monkeypatch.setattr(engine_program, "_warned", set())
    x = np.ones((2, 3), dtype)
    with pytest.warns(UserWarning, match=f"matmul: {dtype} is computed by numpy"):
        numpy_ops(lambda t: ops.matmul(t, ops.transpose(t)), [x])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numpy_ops(lambda t: ops.matmul(t, ops.transpose(t)), [x])
