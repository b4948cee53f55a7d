"""Graphs of TensorFlow without functions: one list of nodes, in an order in which they can be made.

In: a graph, its functions, and which tensors are wanted. Out: the nodes that these need, with
calls replaced by the function's nodes, and variables and constants as arrays. Knows no op but those
that only pass values on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import FileError, UnsupportedError
from zoo_keras.saving.tensorflow.messages import Body, Node

_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
_SAME = ("Identity", "ReadVariableOp", "StopGradient", "PreventGradient", "CheckNumerics",
         "Snapshot", "EnsureShape", "PlaceholderWithDefault")  # fmt: skip
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
_DEEPEST, _MOST_NODES, _MOST_INPUTS = 50, 100_000, 1_000_000
_LONGEST = 4096  # characters of a name, with those of the calls above
_MOST_BYTES = 2 << 30  # of constants, as much as a file of TensorFlow can hold
_LATER = {"indices": 1, "batch_mean": 1, "batch_variance": 2}  # outputs that have names


class Flat(NamedTuple):
    """Nodes; arrays by name; the node of each placeholder by the name of its tensor."""

    nodes: list[tuple[Node, list[str], str]]  # (node, names of its inputs, its own name)
    arrays: dict[str, np.ndarray]
    inputs: dict[str, Node]


class Flattener:
    """Collects nodes body by body.

    Args:
        variable: the array of a variable of this name, or None.
    """

    def __init__(self, library: dict[str, Body], variable: Callable[[str], Any]) -> None:
        self.library, self.variable = library, variable
        self.flat = Flat([], {}, {})
        self.count = self.inputs = self.bytes = 0
        self.known: dict[int, Any] = {}  # id of a node -> its constant: functions are called often

    def add(self, body: Body, wanted: list[str], given: dict[str, str], above: str = "") -> Any:
        """The names, in the whole graph, of the tensors `wanted` of this body.

        Args:
            given: the body's arguments -> their names.
            above: what the names of its nodes begin with.
        """
        if above.count("//") > _DEEPEST:
            raise FileError(
                f"functions call each other without end. Received: {above[:80]!r}. The file is "
                "damaged."
            )
        names = dict(given)
        for node in _ordered(body, wanted):
            self.count += 1
            self.inputs += len(node.inputs)
            if self.count > _MOST_NODES or self.inputs > _MOST_INPUTS:
                raise FileError(
                    f"the graph has too many nodes. Received: more than {_MOST_NODES}. It is "
                    "damaged."
                )
            if len(above) + len(node.name) > _LONGEST:
                raise FileError(
                    f"a name is too long. Received: more than {_LONGEST} characters. It is damaged."
                )
            self._add(node, [_named(names, name) for name in node.inputs], names, above)
        return [_named(names, name) for name in wanted]

    def _add(self, node: Node, inputs: list[str], names: dict[str, str], above: str) -> None:
        own = above + node.name
        if node.kind in _CALLS:
            outputs = self._called(node, inputs, own)
            names.update({f"{node.name}:{i}": name for i, name in enumerate(outputs)})
            return
        if node.kind in _SAME and inputs:
            names[f"{node.name}:0"] = inputs[0]
            return
        names[node.name] = own
        if node.kind in _VARIABLES:
            self._keep(own, self.variable(node.name))
        elif node.kind == "Const":
            self._keep(own, self._constant(node))
        elif node.kind == "Placeholder":
            self.flat.inputs[f"{own}:0"] = node
        else:
            self.flat.nodes.append((node, inputs, own))

    def _keep(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):  # others are texts, or variables that nobody reads
            self.flat.arrays[f"{name}:0"] = value

    def _constant(self, node: Node) -> Any:
        """A constant, taken once; FileError when all of them are larger than a file."""
        if id(node) not in self.known:
            value = self.known[id(node)] = node.attribute("value")
            self.bytes += getattr(value, "nbytes", 0)
            if self.bytes > _MOST_BYTES:
                raise FileError(
                    f"the constants are larger than files are. Received: {self.bytes} bytes. It is "
                    "damaged."
                )
        return self.known[id(node)]

    def _called(self, node: Node, inputs: list[str], own: str) -> list[str]:
        function = self.library.get(str(node.attribute("f")))
        if function is None or len(function.arguments) != len(inputs):
            raise FileError(
                f"a function is called that is not there. Received: {own!r}. The file is damaged."
            )
        given = dict(zip(function.arguments, inputs, strict=True))
        made: list[str] = self.add(function, function.returns, given, f"{own}//")
        return made


def _split(name: str) -> tuple[str, int]:
    """(node, number of its output) of `node`, `node:1` or, in functions, `node:output:1`."""
    parts = name.split(":")
    if len(parts) > 3 or not all(p.isdigit() for p in parts[1:][-1:]):
        raise FileError(
            f"a tensor is named node, node:1 or node:output:1. Received: {name!r}. The file is "
            "damaged."
        )
    number = int(parts[-1]) if len(parts) > 1 else 0
    return parts[0], number + (_LATER.get(parts[1], 0) if len(parts) == 3 else 0)


def _named(names: dict[str, str], name: str) -> str:
    node, number = _split(name)
    found = names.get(f"{node}:{number}")
    if found is None and node in names:
        own = names[node]
        found = own if ":" in own else f"{own}:{number}"  # an argument is a whole tensor
    if found is None:
        raise FileError(
            f"a node reads what the graph never makes. Received: {name!r}. The file is damaged."
        )
    return found


def _ordered(body: Body, wanted: list[str]) -> list[Node]:
    """The nodes that are needed, each behind those that it reads."""
    made: dict[str, Node] = {}
    open_nodes: set[str] = set()
    waiting = [(_split(name)[0], False) for name in wanted]
    while waiting:
        name, is_ready = waiting.pop()
        node = body.nodes.get(name)
        if node is None or name in made:  # an argument, or done
            continue
        if is_ready:
            made[name] = node
            continue
        if name in open_nodes:
            raise UnsupportedError(f"Graphs go forward only. Received: a loop at {name!r}.")
        open_nodes.add(name)
        waiting.append((name, True))
        waiting += [(_split(i)[0], False) for i in node.inputs]
    return list(made.values())


def restored(graph: Body, library: dict[str, Body], restore: str) -> dict[str, str]:
    """Variable of the graph -> the key of its array in the checkpoint."""
    node = graph.nodes.get(restore)
    if node is not None and node.kind in _CALLS:
        function = library.get(str(node.attribute("f")))
        if function is None or len(function.arguments) != len(node.inputs):
            raise FileError(
                f"there is no function that reads the checkpoint. Received: {restore!r}. It is "
                "damaged."
            )
        own = {a: _split(i)[0] for a, i in zip(function.arguments, node.inputs, strict=True)}
        return {own[a]: key for a, key in _assigned(function.nodes).items() if a in own}
    return _assigned(graph.nodes)


def _assigned(nodes: dict[str, Node]) -> dict[str, str]:
    """Variable -> key of the array that the body assigns to it from a checkpoint."""
    found = {}
    listed: dict[str, Any] = {}
    for node in nodes.values():
        if node.kind not in ("AssignVariableOp", "Assign") or len(node.inputs) < 2:
            continue
        source, number = _split(node.inputs[1])
        for _ in range(_DEEPEST):
            if source not in nodes or nodes[source].kind != "Identity":
                break
            source, number = _split(nodes[source].inputs[0])
        reader = nodes.get(source)
        if reader is None or reader.kind != "RestoreV2":
            continue
        if source not in listed:
            told = nodes.get(_split(reader.inputs[1])[0])
            listed[source] = told.attribute("value") if told is not None else []
        keys = listed[source]
        if isinstance(keys, list) and number < len(keys):
            found[_split(node.inputs[0])[0]] = keys[number]
    return found
