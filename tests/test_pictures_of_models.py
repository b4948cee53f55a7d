"""model_to_dot, plot_model and History.plot: what they draw."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.layers import Add, Dense
from zoo_keras.utils import model_to_dot, plot_model


def branched():
    x = keras.Input((4,), name="pixels")
    stack = [keras.Input((4,)), Dense(3, name="one"), Dense(4, name="two")]
    inner = keras.Sequential(stack, name="in")
    left = inner(x)
    return keras.Model(x, Add(name="sum")([left, Dense(4, "relu", name="right")(x)]), name="net")


def drawn(dot):
    """(text of each box, arrows between them) of a graph and of those in it."""
    graphs = [dot]
    for graph in graphs:
        graphs.extend(graph.get_subgraphs())
    boxes = {n.get_name(): n.get_label() for graph in graphs for n in graph.get_nodes()}
    edges = [edge for graph in graphs for edge in graph.get_edges()]
    titles = {key: label.split("<b>")[1].split("</b>")[0] for key, label in boxes.items()
              if "<b>" in str(label)}  # fmt: skip
    arrows = {(titles[e.get_source()], titles[e.get_destination()]) for e in edges}
    return {titles[key]: label for key, label in boxes.items() if key in titles}, arrows


def test_boxes_are_layers_and_arrows_go_where_outputs_go():
    pytest.importorskip("pydot")
    boxes, arrows = drawn(model_to_dot(branched()))
    assert set(boxes) == {"pixels (InputLayer)", "in (Sequential)", "right (Dense)", "sum (Add)"}
    assert arrows == {
        ("pixels (InputLayer)", "in (Sequential)"), ("pixels (InputLayer)", "right (Dense)"),
        ("in (Sequential)", "sum (Add)"), ("right (Dense)", "sum (Add)"),
    }  # fmt: skip


def test_models_inside_open_up_when_asked():
    pytest.importorskip("pydot")
    _, arrows = drawn(model_to_dot(branched(), expand_nested=True))
    assert ("one (Dense)", "two (Dense)") in arrows
    assert ("two (Dense)", "sum (Add)") in arrows
    assert not any("Sequential" in end for arrow in arrows for end in arrow)


def test_boxes_tell_what_is_asked_for():
    pytest.importorskip("pydot")
    dot = model_to_dot(branched(), show_shapes=True, show_dtype=True, show_layer_activations=True,
                       show_trainable=True, show_layer_names=False, rankdir="LR")  # fmt: skip
    boxes, _ = drawn(dot)
    assert set(boxes) == {"InputLayer", "Sequential", "Dense", "Add"}
    for part in ("Activation: relu", "Input shape: (None, 4)", "Output shape: (None, 4)",
                 "Output dtype: float32", "Trainable: True"):  # fmt: skip
        assert part in boxes["Dense"]
    assert "Input shape: (None, 4), (None, 4)" in boxes["Add"]
    assert dot.get_rankdir() == "LR"


def test_a_model_is_drawn_into_a_file(tmp_path):
    pytest.importorskip("pydot")
    assert plot_model(branched(), tmp_path / "net.dot") is None
    assert "digraph" in (tmp_path / "net.dot").read_text()
    if shutil.which("dot"):
        plot_model(branched(), tmp_path / "net.png")
        assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    else:
        with pytest.raises(UnsupportedError, match="Graphviz"):
            plot_model(branched(), tmp_path / "net.png")


def test_what_cannot_be_drawn_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pydot")
    with pytest.raises(ConfigError, match="not built"):
        model_to_dot(keras.Sequential([Dense(1)]))
    with pytest.raises(ConfigError, match="colour"):
        plot_model(branched(), tmp_path / "net.dot", colour="red")
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(UnsupportedError, match=r"zoo_keras\[plots\]"):
        model_to_dot(branched())


@pytest.fixture
def trained():
    model = keras.Sequential([keras.Input((4,)), Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.ones((8, 4), np.float32)
    return model.fit(x, x[:, :1], epochs=3, verbose=0, validation_data=(x, x[:, :1]),
                     validation_freq=[2, 3])  # fmt: skip


def test_history_draws_its_curves(trained, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    axes = trained.plot()
    assert [axis.get_title() for axis in axes] == ["loss", "mae"]
    training, validation = axes[0].get_lines()
    np.testing.assert_array_equal(training.get_xydata()[:, 0], [1, 2, 3])
    np.testing.assert_allclose(training.get_xydata()[:, 1], trained.history["loss"])
    np.testing.assert_array_equal(validation.get_xydata()[:, 0], [2, 3])
    again = trained.model.fit(  # a History goes on
        np.ones((8, 4)), np.ones((8, 1)), initial_epoch=3, epochs=5, verbose=0, callbacks=[trained]
    )
    training, validation = again.plot("loss")[0].get_lines()
    np.testing.assert_array_equal(training.get_xydata()[:, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(validation.get_xydata()[:, 0], [2, 3])
    (only,) = trained.plot("mae")
    assert only.get_title() == "mae"
    with pytest.raises(ConfigError, match="speed"):
        trained.plot("speed")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(UnsupportedError, match=r"zoo_keras\[plots\]"):
        trained.plot()
