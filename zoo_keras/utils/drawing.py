"""Pictures of models: layers as boxes, and arrows where their outputs go.

In: a built model. Out: a graph of the package `pydot`, or a file that Graphviz draws of it. Both
are needed only here.
"""

from __future__ import annotations

import html
import importlib
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from zoo_keras.errors import ConfigError, UnsupportedError


class _Shown(NamedTuple):
    """What the boxes tell."""

    shapes: bool
    dtype: bool
    names: bool
    activations: bool
    trainable: bool


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """The model as a `pydot.Dot`, or a `pydot.Cluster` with `subgraph`.

    Args:
        rankdir: "TB" from top to bottom, "LR" from left to right.
        expand_nested: show the layers of models inside, too.
        dpi: dots per inch of pictures.

    Raises ConfigError for a model that is not built, UnsupportedError without the extra `plots`.
    Source: https://keras.io/api/utils/model_plotting_utils.
    """
    pydot = _pydot()
    if not model.built:
        raise ConfigError(
            f'model_to_dot: model "{model.name}" must have its weights. Received: a model that is '
            "not built. Give it an Input, or call it on a batch first."
        )
    shown = _Shown(
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable
    )
    made: Any
    if subgraph:
        made = pydot.Cluster(f"cluster_{id(model)}", label=_quoted(model.name), style="dashed")
    else:
        made = pydot.Dot("model", graph_type="digraph", concentrate="true", dpi=dpi)
        made.set_rankdir(rankdir)
        made.set_node_defaults(shape="plaintext", fontname="Helvetica")
    _Drawing(pydot, made, shown, expand_nested).add(model)
    return made


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Any:
    """Draw a model into a file; its ending says how: .png, .svg, .pdf, or .dot without Graphviz.

    In a notebook the picture is returned. Arguments are those of `model_to_dot`, and the errors;
    UnsupportedError too when the program `dot` of Graphviz is not there.
    Source: https://keras.io/api/utils/model_plotting_utils.

    Example:
        >>> plot_model(model, "model.svg", show_shapes=True)
    """
    if unknown := sorted(kwargs.keys() - {"layer_range"}):
        raise ConfigError(f"plot_model: unknown arguments. Received: {unknown}.")
    dot = model_to_dot(
        model, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi,
        show_layer_activations=show_layer_activations, show_trainable=show_trainable,
    )  # fmt: skip
    path = Path(to_file)
    kind = path.suffix.removeprefix(".") or "png"
    if kind == "dot":
        path.write_text(dot.to_string())
        return None
    if shutil.which("dot") is None:
        raise UnsupportedError(
            "plot_model: pictures are drawn by the program dot of Graphviz. Received: no such "
            "program on this machine. Install graphviz, or pass a file that ends in .dot."
        )
    dot.write(str(path), format=kind)
    if kind != "pdf" and "IPython" in sys.modules:
        return importlib.import_module("IPython.display").Image(filename=str(path))
    return None


def _pydot() -> Any:
    try:
        return importlib.import_module("pydot")
    except ImportError as error:
        raise UnsupportedError(
            f"plot_model: graphs are made with the package pydot. Received: {error}. Install "
            "zoo_keras[plots], and Graphviz."
        ) from None


class _Drawing:
    """A graph that gets boxes and arrows."""

    def __init__(self, pydot: Any, graph: Any, shown: _Shown, expands: bool) -> None:
        self.pydot, self.graph, self.shown, self.expands = pydot, graph, shown, expands

    def add(self, model: Any) -> tuple[list[Any], list[Any]]:
        """The layers of a model; returns its first and its last ones."""
        function = getattr(model, "_function", None)
        if function is None:
            self._box(model)
            return [model], [model]
        ends = {id(op): self._operation(op) for op in function.operations}
        seen = set()
        for node in function.order:
            for parent in _parents(function, node):
                for a in ends[id(parent)][1]:
                    for b in ends[id(node.operation)][0]:
                        if (id(a), id(b)) not in seen:
                            seen.add((id(a), id(b)))
                            self.graph.add_edge(self.pydot.Edge(_key(a), _key(b)))
        first = [end for t in function.inputs for end in ends[id(t.history[0].operation)][0]]
        last = [end for t in function.outputs for end in ends[id(t.history[0].operation)][1]]
        return first, last

    def _operation(self, operation: Any) -> tuple[list[Any], list[Any]]:
        if not self.expands or getattr(operation, "_function", None) is None:
            self._box(operation)
            return [operation], [operation]
        name = f"cluster_{id(operation)}"
        inner = self.pydot.Cluster(name, label=_quoted(operation.name), style="dashed")
        ends = _Drawing(self.pydot, inner, self.shown, True).add(operation)
        self.graph.add_subgraph(inner)
        return ends

    def _box(self, layer: Any) -> None:
        self.graph.add_node(self.pydot.Node(_key(layer), label=_label(layer, self.shown)))


def _parents(function: Any, node: Any) -> list[Any]:
    inputs = {id(t) for t in function.inputs}
    if any(id(t) in inputs for t in node.outputs):
        return []
    return [parent.operation for parent in node.parents]


def _key(layer: Any) -> str:
    return f"n{id(layer)}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def _label(layer: Any, shown: _Shown) -> str:
    """A table: the name and class, and below what is asked for."""
    kind = getattr(layer, "class_name", type(layer).__name__)
    title = f"{layer.name} ({kind})" if shown.names else kind
    rows = [f"<b>{html.escape(title)}</b>", *map(html.escape, _facts(layer, shown))]
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in rows)
    return f'<<table border="0" cellborder="1" cellspacing="0" cellpadding="6">{cells}</table>>'


def _facts(layer: Any, shown: _Shown) -> list[str]:
    found = []
    if shown.activations and (activation := getattr(layer, "activation", None)) is not None:
        found.append(f"Activation: {getattr(activation, '__name__', activation)}")
    node = next(iter(getattr(layer, "_inbound_nodes", [])), None)
    if shown.shapes and node is not None:
        if node.inputs:
            found.append(f"Input shape: {_shapes(node.inputs)}")
        found.append(f"Output shape: {_shapes(node.outputs)}")
    if shown.dtype:
        kinds = node.outputs if node is not None else [layer]
        found.append(f"Output dtype: {', '.join(str(k.dtype) for k in kinds)}")
    if shown.trainable and hasattr(layer, "trainable"):
        found.append(f"Trainable: {layer.trainable}")
    return found


def _shapes(tensors: list[Any]) -> str:
    return ", ".join(str(tuple(t.shape)) for t in tensors)
