"""The op `scan`: a small graph, the body, that runs once for each step of sequences.

In: a Python function of one step, the first states, and sequences with the time in front. Out: the
last states and the outputs of all steps. What the function reads besides (weights, other tensors)
is found in the graph that it makes, and enters the node as a further input. The gradient is another
scan, which runs the other way and computes the body's values again from the states before each
step. So neither compiling nor the size of a program depends on the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras import interpret
from zoo_keras.dtypes import is_float, storage
from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.graph import (
    CONSTANT,
    INPUT,
    Graph,
    Leaf,
    Node,
    Spec,
    Tensor,
    Trace,
    constant,
    current_scope,
    current_trace,
    input_tensor,
    topological,
)
from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.elementwise import add
from zoo_keras.primitives.op import as_tensors, cast_to, op
from zoo_keras.primitives.products import matmul
from zoo_keras.primitives.random import step_sources

# step(states, xs) -> (states after it, outputs), all lists of tensors.
Step = Callable[[list[Tensor], list[Tensor]], tuple[Sequence[Any], Sequence[Any]]]

# A step draws random numbers for a row this many bits further on; in a loop within a loop, for a
# training step this many bits further on. Both have 16 bits there.
_STEP_SHIFT = 32
_SOURCES = ("rng", "rng1", "rng2")  # the pair (step, row) outside loops, in one, in two


# ---- making a node -------------------------------------------------------------------------------


def scan_steps(
    step: Step, states: Sequence[Any], xs: Sequence[Any], length: int, reverse: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Run step(states, xs[t]) for all t: the last states, and the outputs of all steps.

    Args:
        states: tensors before the first step; a step must keep their shapes and dtypes.
        xs: tensors (length, ...), of which a step sees one element along the first axis.
        reverse: begin with the last step. Outputs stay at the place of their step.

    Raises ShapeError when a step changes the shape of a state; UnsupportedError when it assigns
    Variables or adds losses.
    """
    first, sequences = as_tensors(states), as_tensors(xs)
    places = [input_tensor(f"state{i}", *t.spec) for i, t in enumerate(first)]
    rows = [input_tensor(f"x{i}", t.shape[1:], t.dtype) for i, t in enumerate(sequences)]
    after, outputs, rng = _traced(step, places, rows)
    if rng is not None:
        rows.append(rng)
        sequences.append(_random_rows(length))
    body, captured = _closed(places + rows, [*after, *outputs, *places])
    attrs = {"body": body, "states": len(first), "length": length, "reverse": reverse,
             "kept": (True,) * len(body.outputs)}  # fmt: skip
    made = _node([*first, *sequences, *captured], attrs)
    return list(made[: len(first)]), list(made[len(first) : len(first) + len(outputs)])


def _node(inputs: Sequence[Tensor], attrs: dict[str, Any]) -> Sequence[Tensor]:
    specs = scan.infer(*[t.spec for t in inputs], **attrs)
    return Node(scan, inputs, attrs, specs, current_scope()).outputs


def _traced(
    step: Step, states: list[Tensor], rows: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """States and outputs of one step, and the source of random numbers if it was asked for."""
    trace = current_trace() or Trace()
    outer, updates, losses = trace.rng, _assigned(trace), len(trace.losses)
    level = _level(outer)
    trace.rng = rng = input_tensor(_SOURCES[min(level + 1, 2)], (2,), "int64")
    try:
        after, outputs = step(list(states), list(rows))
    finally:
        trace.rng = outer
    if _assigned(trace) != updates or len(trace.losses) != losses:
        raise UnsupportedError(
            "A step of a loop must not assign Variables or add losses. Received: an ops.scan, or a "
            "cell of a recurrent layer, whose step does. Carry the values as states, or write the "
            "steps out with ops.scan(..., unroll=True)."
        )
    new = [cast_to(t, s.dtype) for t, s in zip(as_tensors(after), states, strict=True)]
    for tensor, place in zip(new, states, strict=True):
        if tensor.shape != place.shape:
            raise ShapeError(
                "A step of a loop must keep the shapes of its states. Received: a state of shape "
                f"{tensor.shape} after one of shape {place.shape}. Begin with a state of the shape "
                "that a step gives."
            )
    made = as_tensors(outputs)
    used = any(n is rng.node for n in topological(t.node for t in [*new, *made]))
    if used and level == 2:
        raise UnsupportedError(
            "Random numbers can be drawn in two loops within each other. Received: three. Draw "
            "them before the innermost loop and pass them as a sequence."
        )
    return new, made, rng if used else None


def _assigned(trace: Trace) -> dict[int, int]:
    """Which value each Variable was last assigned."""
    return {key: id(value) for key, (_, value) in trace.updates.items()}


def _level(source: Tensor | None) -> int:
    """How many loops are around what draws from this source, which a layer may have changed."""
    nodes = topological([source.node]) if source is not None else []
    names = {node.attrs["name"] for node in nodes if node.op is INPUT}
    return max((i for i, name in enumerate(_SOURCES) if name in names), default=0)


def _random_rows(length: int) -> Tensor:
    """(length, 2): the source of random numbers of each step."""
    source = (current_trace() or Trace()).random_source()
    column = 0 if _level(source) else 1
    rows: Tensor = step_sources(source, length=length, column=column, shift=_STEP_SHIFT)
    return rows


def _closed(places: list[Tensor], outputs: list[Tensor]) -> tuple[Graph, list[Tensor]]:
    """The graph from places to outputs as a body of its own, and what it reads besides."""
    inside = {id(t.node) for t in places}
    new = {t: t for t in places}
    captured: list[Tensor] = []
    stand_ins: list[Tensor] = []

    def now(tensor: Tensor) -> Tensor:
        if tensor not in new:
            if tensor.node.op is CONSTANT:
                return tensor
            captured.append(tensor)
            new[tensor] = input_tensor(f"captured{len(captured)}", *tensor.spec)
            stand_ins.append(new[tensor])
        return new[tensor]

    for node in topological(t.node for t in outputs):
        if not isinstance(node.op, Leaf) and any(id(t.node) in inside for t in node.inputs):
            inside.add(id(node))
            copy = Node(node.op, [now(t) for t in node.inputs], node.attrs, node.specs, node.scope)
            new.update(zip(node.outputs, copy.outputs, strict=True))
    results = [now(t) for t in outputs]
    return Graph([*places, *stand_ins], results), captured


# ---- the op --------------------------------------------------------------------------------------


def _scan_spec(
    *specs: Spec, body: Graph, states: int, length: int, reverse: bool, kept: Sequence[bool]
) -> tuple[Spec, ...]:
    _check_inputs(specs, body, states, length)
    last = [t.spec for t in body.outputs[:states]]
    stacked = [Spec((length, *t.shape), t.dtype) for t in body.outputs[states:]]
    return tuple(
        s if k else Spec((0,), s.dtype) for s, k in zip([*last, *stacked], kept, strict=True)
    )


def _check_inputs(specs: Sequence[Spec], body: Graph, states: int, length: int) -> None:
    for i, (spec, place) in enumerate(zip(specs, body.inputs, strict=True)):
        row = spec.shape != place.shape and i >= states
        shape = (length, *place.shape) if row else place.shape
        if spec != Spec(shape, place.dtype):
            raise ShapeError(f"input {i} of a scan must have the shape {shape}.")


def sequences_of(body: Graph, states: int) -> int:
    """How many inputs are sequences: those that are named as rows of the body."""
    names = [t.node.attrs["name"] for t in body.inputs]
    return sum(name.startswith(("x", "rng")) for name in names[states:])


def inlined(graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The graph's outputs when its inputs are these tensors."""
    new = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes():
        if node.op is CONSTANT:
            new[node.outputs[0]] = node.outputs[0]
        elif node.op is not INPUT:
            ins = [new[t] for t in node.inputs]
            copy = Node(node.op, ins, node.attrs, node.specs, node.scope)
            new.update(zip(node.outputs, copy.outputs, strict=True))
    return [new[t] for t in graph.outputs]


def _scan_grad(
    g: Any,
    y: Any,
    *inputs: Any,
    body: Graph,
    states: int,
    length: int,
    reverse: bool,
    kept: Sequence[bool],
    pullback: Callable[..., Any],
) -> list[Any]:
    """One scan the other way. It carries the gradients of the states and of what was captured.

    Args:
        pullback: pullback(outputs, their gradients, inputs) -> gradients of the inputs.
    """
    if not all(kept):
        y = _node(inputs, {"body": body, "states": states, "length": length, "reverse": reverse,
                           "kept": (True,) * len(y)})  # fmt: skip
    g = g if isinstance(g, tuple) else (g,)
    plan = _Backward(g, y, inputs, body, states, pullback)
    last, rows = scan_steps(plan.step(pullback), plan.first, plan.sequences, length, not reverse)
    return plan.sorted(last, rows)


class _Backward:
    """What the scan of a gradient carries and reads, and where its results belong."""

    def __init__(
        self, g: Sequence[Any], y: Any, inputs: Sequence[Tensor], body: Graph, states: int,
        pullback: Callable[..., Any],
    ) -> None:  # fmt: skip
        y = y if isinstance(y, (tuple, list)) else (y,)
        self.body, self.inputs, self.count = body, inputs, states
        rows = sequences_of(body, states)
        self.products: list[int] = []
        # nodes of their own: one captured tensor may be computed from another
        self.captured = [reshape(t, shape=t.shape) for t in inputs[states + rows :]]
        self.carried = [i for i in range(states) if is_float(inputs[i].dtype)]
        self.wanted = [states + i for i in range(rows) if is_float(inputs[states + i].dtype)]
        self.summed = [i for i in range(states + rows, len(inputs)) if is_float(inputs[i].dtype)]
        self.stacked = [i for i in range(states, len(g)) if g[i] is not None]
        before = y[len(g) - states :]
        self.sequences = [*before, *inputs[states : states + rows], *[g[i] for i in self.stacked]]
        self.rows = rows
        self.last = [g[i] for i in self.carried]
        self.products = self._products(pullback)
        self.summed = [i for i in self.summed if i not in self.products]
        self.sources: list[tuple[bool, int]] = []  # of the products' factors

    @property
    def first(self) -> list[Tensor]:
        """The gradients of the last states, and sums that begin with 0."""
        indices = [*self.carried, *self.summed]
        given = [*self.last, *[None] * len(self.summed)]
        return [_or_zeros(d, self.inputs[i]) for d, i in zip(given, indices, strict=True)]

    def _products(self, pullback: Callable[..., Any]) -> list[int]:
        """What was captured and has a product of matrices as its gradient in each step: all steps
        are multiplied at once in the end, which takes a fraction of the time."""
        carried = [input_tensor(f"state{i}", *t.spec) for i, t in enumerate(self.first)]
        xs = [input_tensor(f"x{i}", t.shape[1:], t.dtype) for i, t in enumerate(self.sequences)]
        found = self._gradients(pullback, carried, xs)[len(self.carried) :]
        return [i for i, d in zip(self.summed, found, strict=False) if _is_product(d)]

    def _gradients(
        self, pullback: Callable[..., Any], carried: list[Tensor], xs: list[Tensor]
    ) -> list[Tensor]:
        """By the carried states, sums, wanted rows and factors of products: the body once more,
        then its gradient."""
        here = [*xs[: self.count + self.rows], *self.captured]
        outputs = inlined(self.body, here)
        made = [outputs[i] for i in [*self.carried, *self.stacked]]
        given = [*carried[: len(self.carried)], *xs[self.count + self.rows :]]
        wrt = [here[i] for i in [*self.carried, *self.summed, *self.wanted, *self.products]]
        found = pullback(made, given, wrt)
        return [_or_zeros(d, t) for d, t in zip(found, wrt, strict=True)]

    def step(self, pullback: Callable[..., Any]) -> Step:
        """One step back."""

        def back(carried: list[Tensor], xs: list[Tensor]) -> tuple[list[Any], list[Any]]:
            found = self._gradients(pullback, carried, xs)
            split = len(self.carried)
            end = split + len(self.summed)
            sums = [add(a, d) for a, d in zip(carried[split:], found[split:end], strict=True)]
            outputs = found[end : end + len(self.wanted)]
            for factor in (t for d in found[end + len(self.wanted) :] for t in d.node.inputs):
                at = next((i for i, x in enumerate(xs) if x is factor), None)
                self.sources.append((at is None, len(outputs) if at is None else at))
                outputs += [factor] if at is None else []
            return [*found[:split], *sums], outputs

        return back

    def sorted(self, last: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Any]:
        """The gradients in the order of the inputs; None for integers."""
        found: list[Any] = [None] * len(self.inputs)
        for i, tensor in zip([*self.carried, *self.summed], last, strict=True):
            found[i] = tensor
        for i, tensor in zip(self.wanted, rows, strict=False):
            found[i] = tensor
        factors = iter(rows[at] if made else self.sequences[at] for made, at in self.sources)
        for i in self.products:
            left, right = (_flat(next(factors)) for _ in range(2))
            found[i] = matmul(left, right, transpose_a=True, transpose_b=False)
        return found


def _is_product(gradient: Tensor) -> bool:
    """Whether it is left^T right, of matrices with a row for each row of the batch."""
    node = gradient.node
    plain = (
        node.op is matmul and node.attrs.get("transpose_a") and not node.attrs.get("transpose_b")
    )
    return bool(plain and all(len(t.shape) == 2 for t in node.inputs))


def _flat(steps: Tensor) -> Tensor:
    """(length, rows, n) as (length * rows, n)."""
    made: Tensor = reshape(steps, shape=(steps.shape[0] * steps.shape[1], steps.shape[2]))
    return made


def _or_zeros(gradient: Any, tensor: Tensor) -> Any:
    return constant(np.zeros(tensor.shape), tensor.dtype) if gradient is None else gradient


def _order(length: int, reverse: bool) -> Iterator[int]:
    return iter(range(length)[::-1] if reverse else range(length))


@op(shape=_scan_spec, grad=_scan_grad)
def scan(
    *inputs: np.ndarray,
    body: Graph,
    states: int,
    length: int,
    reverse: bool,
    kept: Sequence[bool],
) -> tuple[np.ndarray, ...]:
    """The body for each step; returns the last states, then its other outputs, stacked.

    The inputs are the first states, sequences (length, ...) for the body's inputs called x or rng,
    and what the body captured. The body's outputs are the states after the step, then others, then
    the states before it. The engine runs the compiled body; this is the reference.
    """
    rows = sequences_of(body, states)
    carried, xs = list(inputs[:states]), inputs[states : states + rows]
    stacked = [np.zeros((length, *t.shape), storage(t.dtype)) for t in body.outputs[states:]]
    for t in _order(length, reverse):
        made = interpret.run(body, [*carried, *[x[t] for x in xs], *inputs[states + rows :]])
        carried = made[:states]
        for target, value in zip(stacked, made[states:], strict=True):
            target[t] = value
    results = [*carried, *stacked]
    return tuple(a if k else a.ravel()[:0] for a, k in zip(results, kept, strict=True))
