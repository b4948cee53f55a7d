"""A functional model as a graph of calls: found backwards from its outputs, run forwards.

In: input and output KerasTensors. Out: the operations in Keras' order (which fixes the order of
weights in files), and outputs for given inputs. Knows no training.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from zoo_keras import dtypes, ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.layers.base.call_context import current_training
from zoo_keras.layers.base.functional import CallNode, is_tried, memory_of, remember
from zoo_keras.nest import flatten, pack_as
from zoo_keras.ops.symbolic import KerasTensor, any_symbolic


class FunctionGraph:
    """Nodes in running order, and operations ordered by depth as Keras orders them."""

    def __init__(self, inputs: Any, outputs: Any, name: str, any_sizes: bool = False) -> None:
        self.name, self._any_sizes = name, any_sizes
        self._start(inputs, outputs)
        self.order, indices = self._walk()
        if not all(_is_input(t) for t in self.inputs):
            self._start(*self._from_inputs())
            self.order, indices = self._walk()
        self.operations = self._by_depth(indices)
        self._check_names()

    def _start(self, inputs: Any, outputs: Any) -> None:
        self.inputs_structure, self.outputs_structure = inputs, outputs
        self.inputs = [_keras_tensor(t, "inputs") for t in flatten(inputs)]
        self.outputs = [_keras_tensor(t, "outputs") for t in flatten(outputs)]
        self._input_ids = {id(t) for t in self.inputs}

    def _from_inputs(self) -> tuple[Any, Any]:
        """A model that begins in the midst of another: Inputs in place of the tensors where it
        begins, and calls of its own after them."""
        starts = [t if _is_input(t) else _input_like(t) for t in self.inputs]
        values: dict[int, Any] = {id(t): s for t, s in zip(self.inputs, starts, strict=True)}
        for node in self.order:
            if not all(id(t) in values for t in node.outputs):
                made = [_like(t) for t in node.outputs]
                CallNode(node.operation, *node.fill_in(values), made)
                for tensor, own in zip(node.outputs, made, strict=True):
                    values.setdefault(id(tensor), own)
        outputs = [values[id(t)] for t in self.outputs]
        return pack_as(self.inputs_structure, starts), pack_as(self.outputs_structure, outputs)

    def __getstate__(self) -> dict[str, Any]:
        """The calls one after the other: as a chain of tensors they would be too deep to pickle."""
        operations = {id(n.operation): n.operation for n in self.order}
        nodes = [n for operation in operations.values() for n in self.nodes_of(operation)]
        number = {id(node): i for i, node in enumerate(nodes)}
        tensors = [t for node in nodes for t in (*node.inputs, *node.outputs)]
        return {
            **{k: v for k, v in list(self.__dict__.items()) if k not in ("order", "_input_ids")},
            "calls": [(n.operation, n.args, n.kwargs, n.outputs) for n in nodes],
            "sequence": [number[id(node)] for node in self.order],
            "memories": [(t, memory_of(t)) for t in tensors],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        calls, sequence, memories = (state.pop(k) for k in ("calls", "sequence", "memories"))
        for operation, *_ in calls:  # whose own state may come later
            operation.__dict__.setdefault("_inbound_nodes", [])
        nodes = [CallNode(*call) for call in calls]
        self.__dict__.update(state)
        self.order = [nodes[i] for i in sequence]
        self._input_ids = {id(t) for t in self.inputs}
        for tensor, memory in memories:
            remember(tensor, memory)

    def _walk(self) -> tuple[list[CallNode], dict[int, int]]:
        """Nodes after their parents, and each operation's number in order of first visit."""
        order: list[CallNode] = []
        indices: dict[int, int] = {}
        opened: set[int] = set()
        stack: list[tuple[CallNode, bool]] = []
        for tensor in self.outputs:
            stack.append((self._producer(tensor), False))
            while stack:
                node, finished = stack.pop()
                if finished:
                    order.append(node)
                elif id(node) not in opened:
                    opened.add(id(node))
                    indices.setdefault(id(node.operation), len(indices))
                    stack.append((node, True))
                    stack.extend((p, False) for p in reversed(self._parents(node)))
        return order, indices

    def _producer(self, tensor: KerasTensor) -> CallNode:
        if tensor.history is None:
            raise ConfigError(
                f'Model "{self.name}": a tensor was not made by an Input or a layer call. '
                f"Received: {tensor}. Start from Input(...)."
            )
        node: CallNode = tensor.history[0]
        return node

    def _parents(self, node: CallNode) -> list[CallNode]:
        if any(id(t) in self._input_ids for t in node.outputs):
            return []
        if not node.inputs and node.operation.__class__.__name__ == "InputLayer":
            raise ConfigError(
                f'Model "{self.name}": Output tensors need what is not connected to `inputs`: '
                "the Input "
                f'"{node.operation.name}", which is not among `inputs`. Received: '
                f"{[t.name for t in self.inputs]}. Add it to `inputs`."
            )
        return [self._producer(t) for t in node.inputs]

    def _by_depth(self, indices: dict[int, int]) -> list[Any]:
        depth_of_node: dict[int, int] = {}
        depth_of: dict[int, int] = {}
        operations = {id(n.operation): n.operation for n in self.order}
        for node in reversed(self.order):
            depth = max(depth_of_node.get(id(node), 0), depth_of.get(id(node.operation), 0))
            depth_of_node[id(node)] = depth_of[id(node.operation)] = depth
            for parent in self._parents(node):
                depth_of_node[id(parent)] = max(depth + 1, depth_of_node.get(id(parent), 0))
        for tensor in self.inputs:  # an input that no output uses still belongs to the model
            op = self._producer(tensor).operation
            operations.setdefault(id(op), op)
            depth_of.setdefault(id(op), 0)
            indices.setdefault(id(op), len(indices))
        keys = sorted(operations, key=lambda k: (-depth_of[k], indices[k]))
        return [operations[k] for k in keys]

    def _check_names(self) -> None:
        counts: dict[str, int] = defaultdict(int)
        for operation in self.operations:
            counts[operation.name] += 1
        twice = sorted(name for name, n in counts.items() if n > 1)
        if twice:
            raise ConfigError(
                f'Model "{self.name}": all layer names must be unique. Received: {twice} used '
                "more than once. Pass another name=."
            )

    def nodes_of(self, operation: Any) -> list[CallNode]:
        """The calls of an operation that belong to this model, in the order they were made."""
        mine = {id(n) for n in self.order}
        return [n for n in operation._inbound_nodes if id(n) in mine]

    def run(self, inputs: Any) -> Any:
        """Outputs for inputs given as a list, dict or nest like the model's own inputs."""
        given, training = self.fitted(self.arrange(inputs)), current_training()

        def call(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            if training is not None and "training" in kwargs:  # what runs the model decides
                kwargs = {**kwargs, "training": training}
            return operation(*args, **kwargs)

        return self.run_with(given, call)

    def run_with(self, given: Sequence[Any], call: Callable[..., Any]) -> Any:
        """Outputs for inputs in the order of `self.inputs`, by call(operation, args, kwargs)."""
        values = {id(t): v for t, v in zip(self.inputs, given, strict=True)}
        for node in self.order:
            if all(id(t) in values for t in node.outputs):
                continue
            made = flatten(call(node.operation, *node.fill_in(values)))
            results = [result for result in made if result is not None]
            values.update((id(t), v) for t, v in zip(node.outputs, results, strict=True))
        return pack_as(self.outputs_structure, [values[id(t)] for t in self.outputs])

    def arrange(self, inputs: Any) -> list[Any]:
        """The given inputs in the order of `self.inputs`; dicts go by name."""
        if isinstance(inputs, dict) and not isinstance(self.inputs_structure, dict):
            return self._by_name(inputs)
        self._check_structure(inputs)
        if isinstance(inputs, dict):
            inputs = {k: inputs[k] for k in self.inputs_structure if k in inputs}
        given = flatten(inputs)
        if len(given) != len(self.inputs):
            raise ShapeError(
                f'Model "{self.name}" expects {len(self.inputs)} input(s) '
                f"({[self.input_name(t) for t in self.inputs]}). Received: {len(given)}. "
                "Pass one array for each; in records of an RDD, where numbers side by side are one "
                "row, too: ((array([a]), array([b])), y)."
            )
        return given

    def _check_structure(self, inputs: Any) -> None:
        """Warn of a dict that holds more than the Inputs, and of a list in place of a dict; raise
        where their order is not that of the names."""
        wanted = self.inputs_structure
        if not isinstance(wanted, dict) or any_symbolic([inputs]):
            return
        if not isinstance(inputs, (dict, list, tuple)):  # the only one has no order
            return
        named = isinstance(inputs, dict)
        if named and not set(inputs) - set(wanted):
            return
        received = sorted(inputs) if named else f"a {type(inputs).__name__}"
        message = (
            "The structure of `inputs` doesn't match the expected structure of model "
            f'"{self.name}". Received: {received}. Pass a dict of {sorted(wanted)}.'
        )
        if not named and list(wanted) != sorted(wanted):
            raise ConfigError(message)
        warnings.warn(message, stacklevel=2)

    def _by_name(self, inputs: dict[str, Any]) -> list[Any]:
        names = [self.input_name(t) for t in self.inputs]
        missing = [n for n in names if n not in inputs]
        if missing:
            raise ConfigError(
                f'Model "{self.name}": inputs {missing} are missing. Received: {sorted(inputs)}. '
                f"Pass a dict with the keys {names}."
            )
        return [inputs[n] for n in names]

    def fitted(self, given: Sequence[Any]) -> list[Any]:
        """The inputs in the dtypes of the Inputs, with a last axis of size 1 added or cut.

        Raises ShapeError for an input that has not its Input's shape.
        """
        return [self._fitted(v, t) for v, t in zip(given, self.inputs, strict=True)]

    def _fitted(self, value: Any, tensor: KerasTensor) -> Any:
        if value is None:
            return self._absent(tensor)
        self._check_kind(value, tensor)
        if tensor.dtype not in dtypes.TEXT:
            value = ops.cast(value, tensor.dtype)
        rank = len(tensor.shape)
        if len(value.shape) == rank - 1 and tensor.shape[-1] == 1:
            value = ops.expand_dims(value, -1)
        elif len(value.shape) == rank + 1 and value.shape[-1] == 1:
            value = ops.squeeze(value, -1)
        if len(value.shape) != rank or not self._has_sizes(value.shape, tensor.shape):
            raise ShapeError(
                f'Input "{self.input_name(tensor)}" of model "{self.name}" has shape '
                f"{tensor.shape}. Received: data of shape {tuple(value.shape)}. "
                "Reshape the data, or change the Input.",
                met=[value.shape[1:], [d for d in tensor.shape[1:] if d is not None]],
            )
        return value

    def _absent(self, tensor: KerasTensor) -> None:
        """None in place of an input: it must be an optional one."""
        operation = tensor.history[0].operation if tensor.history else None
        if not getattr(operation, "optional", False):
            raise ShapeError(
                f'Input "{self.input_name(tensor)}" of model "{self.name}" is not optional. '
                "Received: None. Pass data, or make it with Input(..., optional=True)."
            )

    def _has_sizes(self, shape: Sequence[int], expected: Sequence[int | None]) -> bool:
        """Whether data have the sizes of an Input. Where there was none, layers say what fits."""
        first = len(shape) - 1 if self._any_sizes else 1
        pairs = zip(shape[first:], expected[first:], strict=True)
        return all(b is None or a == b or is_tried(a) for a, b in pairs)

    def _check_kind(self, value: Any, tensor: KerasTensor) -> None:
        """Text goes where text is wanted."""
        given, wanted = (str(t.dtype) in dtypes.TEXT for t in (value, tensor))
        if given != wanted:
            raise ShapeError(
                f'Input "{self.input_name(tensor)}" of model "{self.name}" takes dtype '
                f"{tensor.dtype}. Received: {value.dtype}. Give the Input that dtype, or convert "
                "the data."
            )

    @staticmethod
    def input_name(tensor: KerasTensor) -> str:
        """The name of the Input layer of a tensor."""
        return str(tensor.history[0].operation.name if tensor.history else tensor.name)


def _is_input(tensor: KerasTensor) -> bool:
    return tensor.history is None or not tensor.history[0].inputs


def _input_like(tensor: KerasTensor) -> KerasTensor:
    from zoo_keras.layers.input_layer import InputLayer

    made: KerasTensor = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype).output
    remember(made, memory_of(tensor))
    return made


def _like(tensor: KerasTensor) -> KerasTensor:
    made = KerasTensor(tensor.shape, tensor.dtype)
    remember(made, memory_of(tensor))
    return made


def _keras_tensor(tensor: Any, what: str) -> KerasTensor:
    if not isinstance(tensor, KerasTensor):
        raise ConfigError(
            f"Model: All `{what}` values must be KerasTensors. Received: {type(tensor).__name__}. "
            "Make them with Input(...) and layer calls."
        )
    return tensor
