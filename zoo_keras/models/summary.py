"""Model.summary: the layers of a model as a table of text.

In: a model. Out: text for print, or for the function of the user. Nothing of the model changes.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError

Row = list[str]


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
    programs: bool = False,
) -> None:
    """Print a table of layers and the numbers of parameters; arguments are Model.summary's."""
    text = summary_text(model, line_length, positions, expand_nested, show_trainable, layer_range)
    if programs:
        text = "\n".join([text, *_programs(model)])
    (print_fn or print)(text)


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> str:
    """The table of layers and the numbers of parameters."""
    layout = _Layout(model, line_length, positions, show_trainable)
    rows = [
        row
        for layer in _in_range(_shown_layers(model), layer_range)
        for row in layout.rows(layer, expand_nested)
    ]
    return "\n".join([f'Model: "{model.name}"', *layout.table(rows), *_totals(model)])


def _programs(model: Any) -> Iterator[str]:
    """A line for each program of the model, and one for what numpy computes in it."""
    found = model._runtime.programs() if model._runtime is not None else []
    yield f" Programs of this process: {len(found)}"
    for kind, shapes, program in found:
        sizes = ", ".join(str(tuple(shape)) for shape in shapes)
        yield f"   {kind} of {sizes}: {len(program.instrs)} instructions"
        labels = program.by_numpy()
        if labels:
            yield f"     computed by numpy: {'; '.join(dict.fromkeys(labels))}"


def _shown_layers(model: Any) -> list[Any]:
    if getattr(model, "_stack", None) is not None or model._function is None:
        return list(model.layers)
    return list(model._function.operations)


def _in_range(layers: list[Any], layer_range: Any) -> list[Any]:
    if layer_range is None:
        return layers
    pair = isinstance(layer_range, (list, tuple)) and len(layer_range) == 2
    found = [
        [i for i, layer in enumerate(layers) if re.match(str(name), layer.name)]
        for name in (layer_range if pair else ())
    ]
    if not pair or not all(found):
        raise ConfigError(
            "summary: layer_range must be the names of two layers, or patterns. Received: "
            f"layer_range={layer_range!r}. The layers are {[layer.name for layer in layers]}."
        )
    first, last = sorted((min(found[0]), max(found[1])))
    return layers[first : last + 1]


class _Layout:
    """Columns of the table, and how a layer fills them."""

    def __init__(
        self, model: Any, line_length: int | None, positions: Any, show_trainable: bool
    ) -> None:
        self.model, self.show_trainable = model, show_trainable
        self.linear = _is_linear(model)
        self.heads = ["Layer (type)", "Output Shape", "Param #"]
        default = [0.45, 0.80, 1.0]
        length = 88 if self.linear else 108
        if not self.linear:
            self.heads.append("Connected to")
            default = [0.3, 0.56, 0.74, 1.0]
        stops = list(positions or default)
        if show_trainable:
            self.heads.append("Trainable")
            stops, length = [0.9 * p for p in stops] + [1.0], length + 12
        self.widths = _widths(stops, line_length or length, len(self.heads))

    def rows(self, layer: Any, expand: bool, level: int = 0) -> Iterator[Row]:
        prefix = "   " * level + "└ " if level else ""
        kind = getattr(layer, "class_name", type(layer).__name__)
        row = [f"{prefix}{layer.name} ({kind})", _output_shape(layer), _size(layer)]
        if not self.linear:
            row.append(self._connections(layer))
        if self.show_trainable:
            row.append(_trainable(layer))
        yield row
        for inner in getattr(layer, "layers", []) if expand else []:
            yield from self.rows(inner, expand, level + 1)

    def _connections(self, layer: Any) -> str:
        graph = self.model._function
        mine = {id(n) for n in graph.order}
        found = []
        for node in (n for n in layer._inbound_nodes if id(n) in mine):
            for tensor in node.inputs:
                call, index = tensor.history
                number = call.operation._inbound_nodes.index(call)
                found.append(f"{call.operation.name}[{number}][{index}]")
        return ", ".join(found) or "-"

    def table(self, rows: list[Row]) -> list[str]:
        lines = [_rule("┏━┳┓", self.widths), *self._cells(self.heads, "┃")]
        lines.append(_rule("┡━╇┩", self.widths))
        for i, row in enumerate(rows):
            lines += [_rule("├─┼┤", self.widths)] if i else []
            lines += self._cells(row, "│")
        return [*lines, _rule("└─┴┘", self.widths)]

    def _cells(self, row: Row, bar: str) -> list[str]:
        """One row, each cell wrapped to its column."""
        wrapped = [
            textwrap.wrap(t, w, drop_whitespace=False, break_on_hyphens=False) or [""]
            for t, w in zip(row, self.widths, strict=True)
        ]
        lines = []
        for i in range(max(map(len, wrapped))):
            parts = [cell[i] if i < len(cell) else "" for cell in wrapped]
            aligned = [self._aligned(j, part.rstrip()) for j, part in enumerate(parts)]
            lines.append(f"{bar} {f' {bar} '.join(aligned)} {bar}")
        return lines

    def _aligned(self, column: int, text: str) -> str:
        width = self.widths[column]
        if self.heads[column] == "Param #":
            return text.rjust(width)
        return text.center(width) if self.heads[column] == "Trainable" else text.ljust(width)


def _rule(signs: str, widths: Sequence[int]) -> str:
    left, line, cross, right = list(signs)
    return left + cross.join(line * (w + 2) for w in widths) + right


def _widths(stops: Sequence[float], length: int, columns: int) -> list[int]:
    """Characters in each column, from relative positions of their right edges."""
    if len(stops) != columns:
        raise ConfigError(
            f"summary: positions must have {columns} entries, one for each column. Received: "
            f"positions={list(stops)}. Pass fractions of the line that end with 1."
        )
    edges = [0, *[int(p * length) if p <= 1 else int(p) for p in stops]]
    widths = [b - a - 3 for a, b in itertools.pairwise(edges)]
    if min(widths) < 4:
        raise ConfigError(
            f"summary: the columns are too narrow. Received: line_length={length}. "
            "Pass a larger line_length."
        )
    return widths


def _is_linear(model: Any) -> bool:
    """Whether each layer simply follows the one before."""
    if getattr(model, "_stack", None) is not None or model._function is None:
        return True
    graph = model._function
    calls = [n for n in graph.order if n.inputs]
    shared = len({id(n.operation) for n in calls}) < len(calls)
    several = any(len(n.inputs) > 1 for n in calls) or len(graph.inputs) > 1
    feeds = [id(t) for n in calls for t in n.inputs]
    return not (shared or several or len(set(feeds)) < len(feeds))


def _output_shape(layer: Any) -> str:
    if layer._inbound_nodes:
        shapes = [tuple(t.shape) for t in layer._inbound_nodes[-1].outputs]
        return str(shapes[0] if len(shapes) == 1 else shapes)
    if getattr(layer, "_build_shapes", None) is None:
        return "?"
    try:
        return str(layer.compute_output_shape(layer._build_shapes))
    except NotImplementedError:
        return "?"


def _size(layer: Any) -> str:
    if not layer.built:
        return "0 (unbuilt)"
    return f"{_count(layer.weights):,}"


def _trainable(layer: Any) -> str:
    if not layer.weights:
        return "-"
    return "Y" if layer.trainable else "N"


def _count(variables: Sequence[Any]) -> int:
    return sum(int(np.prod(v.shape, dtype=np.int64)) for v in variables)


def _totals(model: Any) -> Iterator[str]:
    kinds = {
        "Trainable": list(model.trainable_weights),
        "Non-trainable": list(model.non_trainable_weights),
    }
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and getattr(optimizer, "built", False):
        kinds["Optimizer"] = list(optimizer.variables)
    everything = [v for variables in kinds.values() for v in variables]
    for kind, variables in {"Total": everything, **kinds}.items():
        nbytes = sum(_count([v]) * dtypes.itemsize(v.dtype) for v in variables)
        yield f" {kind} params: {_count(variables):,} ({_readable(nbytes)})"


def _readable(nbytes: float) -> str:
    """12345 -> "12.06 KB"."""
    units = ["B", "KB", "MB", "GB", "TB"]
    while nbytes >= 1024 and len(units) > 1:
        nbytes, units = nbytes / 1024, units[1:]
    return f"{nbytes:.2f} {units[0]}"
