"""ONNX's LSTM, GRU and RNN as layers of Keras: (steps, rows, features) there, rows first here."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.saving.onnx.calls import Call, converts, is_array, operand

# Gates in ONNX's order -> those of Keras: i o f c -> i f c o; z r h are the same.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_LAYERS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softsign": "softsign",
                "Softplus": "softplus"}  # fmt: skip


@converts("LSTM", "GRU", "RNN")
def _recurrent(call: Call) -> Any:
    _check(call)
    x = call.input(0)
    rows_first = bool(call.attribute("layout", 0))
    x = x if rows_first else ops.transpose(x, (1, 0, 2))
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    chosen = ways[call.attribute("direction", "forward")]
    made = [_one_way(call, x, i, back) for i, back in enumerate(chosen)]
    sequences = ops.stack([m[0] for m in made], axis=2)  # (rows, steps, ways, units)
    ends = [ops.stack([m[k] for m in made], axis=1) for k in range(1, len(made[0]))]
    if rows_first:
        return [sequences, *ends]
    return [ops.transpose(sequences, (1, 2, 0, 3)), *(ops.transpose(e, (1, 0, 2)) for e in ends)]


def _check(call: Call) -> None:
    kind = call.node.kind
    if call.attribute("clip") is not None or call.attribute("input_forget", 0):
        raise call.refuse("cells are the usual ones", "clip or input_forget")
    lengths = call.input(4)
    steps = call.input(0).shape[1 if call.attribute("layout", 0) else 0]
    if lengths is not None and not (is_array(lengths) and steps and np.all(lengths == steps)):
        given = lengths if is_array(lengths) else "lengths that are computed"
        raise call.refuse("all sequences have the number of steps, which is known", given)
    if call.input(7) is not None and np.any(call.constant(7, "peepholes")):
        raise call.refuse("cells have no peepholes", "P")
    if kind == "GRU" and call.attribute("linear_before_reset", 0) not in (0, 1):
        raise call.refuse("linear_before_reset is 0 or 1", call.attribute("linear_before_reset"))


def _one_way(call: Call, x: Any, way: int, back: bool) -> list[Any]:
    """[sequence (rows, steps, units), last h, last c] of one direction."""
    kind = call.node.kind
    kernel, inner = (operand(call.constant(i, "weights"))[way] for i in (1, 2))
    units = inner.shape[1]
    name = f"{call.name}_{way}" if way else call.name
    layer = _LAYERS[kind](
        units, return_sequences=True, return_state=True, go_backwards=back,
        use_bias=call.input(3) is not None, name=name, **_options(call, way),
    )  # fmt: skip
    sequence, *ends = layer(x, initial_state=_states(call, way))
    layer.set_weights(_weights(call, way, kernel, inner, units))
    return [ops.flip(sequence, axis=1) if back else sequence, *ends]


def _options(call: Call, way: int) -> dict[str, Any]:
    kind = call.node.kind
    count = len(_USUAL[kind])
    given = call.attribute("activations") or _USUAL[kind] * 2
    named = [_ACTIVATIONS.get(a) for a in given[way * count : (way + 1) * count]]
    if None in named or (kind == "LSTM" and named[1] != named[2]):
        raise call.refuse(f"activations are some of {sorted(_ACTIVATIONS)}", given)
    if kind == "RNN":
        return {"activation": named[0]}
    more = {"reset_after": bool(call.attribute("linear_before_reset", 0))} if kind == "GRU" else {}
    return {"recurrent_activation": named[0], "activation": named[1], **more}


def _states(call: Call, way: int) -> Any:
    """The states to begin with; None for zeros."""
    given = [call.input(i) for i in ((5, 6) if call.node.kind == "LSTM" else (5,))]
    if all(v is None or (is_array(v) and not np.any(v)) for v in given):
        return None
    if any(v is None or is_array(v) for v in given):
        raise call.refuse("states to begin with are inputs or zeros", "constants")
    rows_first = call.attribute("layout", 0)
    return [v[:, way] if rows_first else v[way] for v in given]


def _weights(call: Call, way: int, kernel: Any, inner: Any, units: int) -> list[np.ndarray]:
    order = _GATES[call.node.kind]

    def gates(weight: np.ndarray) -> np.ndarray:  # (gates * units, ...) -> (..., gates * units)
        parts = weight.reshape(len(order), units, *weight.shape[1:])
        return np.concatenate([parts[g].T for g in order], axis=-1)

    found = [gates(kernel), gates(inner)]
    if call.input(3) is not None:
        bias = operand(call.constant(3, "the bias"))[way].reshape(2, -1)
        outer, recurrent = gates(bias[0]), gates(bias[1])
        if call.node.kind == "GRU" and call.attribute("linear_before_reset", 0):
            found.append(np.stack([outer, recurrent]))
        else:
            found.append(outer + recurrent)
    return found
