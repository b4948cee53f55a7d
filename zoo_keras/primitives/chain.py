"""A chain: many elementwise nodes as one instruction, which C computes tile by tile in L1 cache.

In: elementwise nodes of one output shape. Out: one node of the op `chain`. How to use it in a pass:

    if chainable(node): ...                    # C has tile functions for this op and these dtypes
    tensors = chain_of(nodes, outputs)         # nodes in topological order, all of one shape

The code of a chain is a tuple of rows (op name, operands, attributes). Values are numbered: first
the inputs, then one value for each row, in order; operands and `outputs` are such numbers.
Attributes are (name, value) pairs. A row ("literal", (), (("value", 0.5), ("dtype", "float32")))
is a number. All outputs have the shape `shape`, to which the inputs broadcast; C gets each input
as (repeat, period): element i of the chain reads element (i // repeat) % period of the input.
What the rows become in C is decided by `chain_code`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ProgramError
from zoo_keras.graph import CONSTANT, Node, Spec, Tensor, current_scope
from zoo_keras.primitives import chain_code
from zoo_keras.primitives.chain_code import DTYPES, Row
from zoo_keras.primitives.op import Op, as_tensors, op, registry

# Of one chain; csrc/elementwise/elementwise.c has room for more.
MAX_NODES, MAX_INPUTS, MAX_OUTPUTS = 40, 16, 8


def broadcast_pattern(operand: Sequence[int], shape: Sequence[int]) -> tuple[int, int] | None:
    """(repeat, period) of an operand that broadcasts to `shape`, None when two numbers are too few.

    >>> broadcast_pattern((5,), (4, 5)), broadcast_pattern((4, 1), (4, 5))
    ((1, 5), (5, 4))
    >>> broadcast_pattern((3, 1, 5), (3, 4, 5)) is None
    True
    """
    padded = (1,) * (len(shape) - len(operand)) + tuple(operand)
    used = [(n, d == n) for d, n in zip(padded, shape, strict=True) if n != 1]
    groups = [
        (math.prod(n for n, _ in group), own)
        for own, group in itertools.groupby(used, key=lambda pair: pair[1])
    ]
    own = [i for i, (_, mine) in enumerate(groups) if mine]
    if not own:
        return 1, 1
    if len(own) > 1:
        return None
    return math.prod(n for n, _ in groups[own[0] + 1 :]), groups[own[0]][0]


def _literal(row: Row) -> Spec | None:
    return Spec((), dict(row[2])["dtype"]) if row[0] == "literal" else None


def _specs(specs: Sequence[Spec], code: Sequence[Row]) -> list[Spec]:
    """Specs of all values: the inputs', then one for each row."""
    values = list(specs)
    for row in code:
        known = _literal(row)
        operands = [values[i] for i in row[1]]
        values.append(known or registry[row[0]].infer(*operands, **dict(row[2]))[0])
    return values


def _chain_spec(
    *specs: Spec, code: Sequence[Row], outputs: Sequence[int], shape: tuple[int, ...]
) -> tuple[Spec, ...]:
    values = _specs(specs, code)
    return tuple(Spec(shape, values[i].dtype) for i in outputs)


def _numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    patterns = [broadcast_pattern(s.shape, outs[0].shape) for s in ins]
    if None in patterns:
        raise ProgramError("chain: an input broadcasts in a way that C cannot follow.")
    values = _specs(ins, attrs["code"])
    return chain_code.encode(
        attrs["code"], [v.dtype for v in values], attrs["outputs"], [p for p in patterns if p]
    )


@op(
    kernel=True,
    elementwise=True,
    shape=_chain_spec,
    attrs_to_c=_numbers,
    dtypes=lambda *specs: all(s.dtype in DTYPES for s in specs),
)
def chain(
    *xs: Any, code: Sequence[Row], outputs: Sequence[int], shape: tuple[int, ...]
) -> tuple[Any, ...]:
    """The rows of `code` applied to the inputs; the values numbered in `outputs`."""
    values = list(xs)
    specs = _specs([Spec(x.shape, x.dtype.name) for x in xs], code)
    for (name, operands, attrs), spec in zip(code, specs[len(xs) :], strict=True):
        if name == "literal":
            values.append(np.asarray(dict(attrs)["value"], spec.dtype))
        else:
            arrays = [values[i] for i in operands]
            values += registry[name].compute(arrays, dict(attrs), [spec])
    return tuple(np.broadcast_to(values[i], shape) for i in outputs)


def chainable(node: Node) -> bool:
    """Whether C can compute the node as part of a chain."""
    op_ = node.op
    if not getattr(op_, "elementwise", False) or op_.tile is None or not node.inputs:
        return False
    return chain_code.supported(op_.name, [t.dtype for t in node.inputs], node.specs[0].dtype)


class _Builder:
    """Collects rows and inputs while a chain is made; values have provisional names."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.inputs: list[Tensor] = []
        self.rows: list[tuple[str, list[Any], tuple[tuple[str, Any], ...]]] = []
        self.names: dict[Tensor, tuple[str, int]] = {}

    def add(self, node: Node) -> None:
        operands = [self._operand(t) for t in node.inputs]
        self._row(node.outputs[0], node.op.name, operands, tuple(node.attrs.items()))

    def _row(self, made: Tensor, name: str, operands: list[Any], attrs: Any) -> None:
        self.names[made] = ("row", len(self.rows))
        self.rows.append((name, operands, attrs))

    def _operand(self, tensor: Tensor) -> tuple[str, int]:
        if tensor not in self.names:
            if tensor.node.op is CONSTANT and tensor.size == 1:
                value = tensor.node.attrs["value"].item()
                self._row(tensor, "literal", [], (("value", value), ("dtype", tensor.dtype)))
            else:
                self.names[tensor] = ("input", len(self.inputs))
                self.inputs.append(self._readable(tensor))
        return self.names[tensor]

    def _readable(self, tensor: Tensor) -> Tensor:
        if broadcast_pattern(tensor.shape, self.shape) is not None:
            return tensor
        spread: Tensor = registry["broadcast_to"](tensor, shape=self.shape)
        return spread

    def _number(self, name: tuple[str, int]) -> int:
        return name[1] if name[0] == "input" else len(self.inputs) + name[1]

    def code(self) -> tuple[Row, ...]:
        return tuple((n, tuple(map(self._number, ops)), a) for n, ops, a in self.rows)

    def number_of(self, tensor: Tensor) -> int:
        return self._number(self.names[tensor])


def chain_of(nodes: Sequence[Node], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """One chain node in place of several chainable ones.

    Args:
        nodes: in topological order, all with outputs of one shape.
        outputs: the tensors of these nodes that are read outside.

    Returns: the tensors that replace `outputs`, in order. Inputs that broadcast in an unusual way
    are spread by `broadcast_to` first; constants of one element become numbers in the code.
    """
    shape = outputs[0].shape
    builder = _Builder(shape)
    for node in nodes:
        builder.add(node)
    numbers = tuple(builder.number_of(t) for t in outputs)
    attrs = {"code": builder.code(), "outputs": numbers, "shape": shape}
    specs = [t.spec for t in outputs]
    scope = nodes[-1].scope or current_scope()
    return Node(chain, builder.inputs, attrs, specs, scope).outputs


def single(op_: Op, *inputs: Any, **attrs: Any) -> Tensor:
    """A lone elementwise op as a chain of one.

    >>> single(registry["exp"], input_tensor("x", (4, 5))).node.op is chain
    True
    """
    tensor: Tensor = op_(*as_tensors(inputs), **attrs)
    return chain_of([tensor.node], [tensor])[0]
