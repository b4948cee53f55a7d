"""Every built-in layer, trained and predicted through all passes, as if no tensor were too small
for any of them: what a pass does with large tensors only, tests on small ones do not see."""

from __future__ import annotations

import numpy as np
import pytest
from golden.layer_case import LayerCase, cases
from graph_check import assert_close, evaluate, run

from zoo_keras import ops
from zoo_keras.dtypes import is_float
from zoo_keras.graph import Graph, input_tensor, tracing
from zoo_keras.nest import flatten
from zoo_keras.passes import narrow, recompute, store_bfloat16
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import as_tensors

SAMPLES: dict[str, LayerCase] = {}
for case in cases():
    if case.computes and case.inputs():
        SAMPLES.setdefault(case.row["class"], case)


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    for module in (recompute, store_bfloat16, narrow):
        monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(store_bfloat16, "NEAR", 0)


def graph_of(case: LayerCase, trains: bool) -> Graph:
    """The outputs of a layer, and the gradients of its weights alone: as the first layer of a
    model, whose inputs have none."""
    inputs = [input_tensor(f"in{i}", a.shape, a.dtype.name) for i, a in enumerate(case.inputs())]
    layer = case.built()
    with tracing() as trace:
        outputs = as_tensors(flatten(case.call(layer, inputs)))
        wrt = [t for _, t in trace.parameters.values() if is_float(t.dtype)]
        floats = [ops.sum(t * t) for t in outputs if is_float(t.dtype)]
        found = gradients(ops.sum(ops.stack(floats)), wrt) if trains and floats and wrt else []
    drawn = [] if trace.rng is None else [trace.rng]
    return Graph([*inputs, *drawn], [*outputs, *[g for g in found if g is not None]])


@pytest.mark.parametrize("trains", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES)
def test_passes_keep_what_a_first_layer_computes(case, trains):
    graph = graph_of(case, trains)
    feeds = {f"in{i}": array for i, array in enumerate(case.inputs())}
    if len(graph.inputs) > len(feeds):
        feeds["rng"] = np.zeros(2, np.int64)
    got = run(optimise(graph, freeze=not trains), feeds, freeze=not trains)
    assert_close(got, evaluate(graph.outputs, feeds), case)
