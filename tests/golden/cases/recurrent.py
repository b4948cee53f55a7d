"""Recurrent layer cases: class, configuration, input shapes, and how the layer is called.

Rows as in cases/layers.py. The first input is the sequences (for a cell: the inputs of a step), any
others are initial states. Nested layers are written as {"class_name", "config"}. A mask is a key of
MASKS. The table must not import keras or zoo_keras.
"""

from __future__ import annotations

from typing import Any

from .layers import Case, init, l1l2

CASES: list[Case] = []
X = (3, 5, 4)

# (3 rows, 5 steps); "holes" begins one row and ends another with masked steps.
MASKS = {
    "holes": [[1, 1, 0, 1, 1], [0, 0, 1, 1, 0], [1, 0, 1, 0, 0]],
    "none_left": [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0]],
}
HOLES, NONE_LEFT = {"mask": "holes"}, {"mask": "none_left"}


def add(name: str, label: str, *inputs: Any, call: dict | None = None, **kwargs: Any) -> None:
    CASES.append(Case(name, label, list(inputs or [X]), kwargs, call or {}))


def nested(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": f"inner_{kind.lower()}"} | config}


ALL = {"return_sequences": True, "return_state": True}
OPTIONS = {
    "kernel_initializer": init("HeNormal", seed=3),
    "recurrent_initializer": init("Orthogonal", gain=0.5, seed=1),
    "bias_initializer": init("Constant", value=0.3),
    "kernel_regularizer": l1l2(0.01, 0.02),
    "recurrent_regularizer": l1l2(0.0, 0.1),
    "bias_regularizer": l1l2(0.1, 0.0),
    "dropout": 0.25,
    "seed": 7,
}

for layer, units in (("SimpleRNN", 5), ("LSTM", 17), ("GRU", 18)):
    states = [(3, units)] * (2 if layer == "LSTM" else 1)
    add(layer, "plain", units=units)
    add(layer, "sequences", units=units, return_sequences=True)
    add(layer, "state", units=units, return_state=True)
    add(layer, "all_backwards", units=units, go_backwards=True, **ALL)
    add(layer, "last_backwards", units=units, go_backwards=True)
    add(layer, "masked", units=units, call=HOLES)
    add(layer, "masked_all", units=units, call=NONE_LEFT, **ALL)
    add(layer, "masked_backwards", units=units, go_backwards=True, call=HOLES, **ALL)
    add(layer, "masked_zeros", units=units, call=HOLES, zero_output_for_mask=True, **ALL)
    add(layer, "initial", X, *states, units=units, **ALL)
    add(layer, "initial_masked", X, *states, units=units, call=HOLES, **ALL)
    add(layer, "initial_masked_last", X, *states, units=units, call=NONE_LEFT)
    add(layer, "initial_backwards", X, *states, units=units, go_backwards=True, call=HOLES, **ALL)
    add(layer, "no_bias", units=units, use_bias=False)
    add(layer, "options", units=units, **OPTIONS)
    add(layer, "recurrent_dropout", units=3, recurrent_dropout=0.5, dropout=0.1)
    add(layer, "unrolled", units=units, unroll=True, return_sequences=True)
    add(layer, "one_step", (2, 1, 3), units=4, **ALL)
    add(layer, "one_unit", units=1, **ALL)

add("SimpleRNN", "relu", units=6, activation="relu", return_sequences=True)
add("SimpleRNN", "linear", units=6, activation=None, call=HOLES)
add("SimpleRNN", "elu", units=6, activation="elu", call=HOLES, **ALL)
for layer in ("LSTM", "GRU"):
    add(layer, "relu", units=5, activation="relu", return_sequences=True)
    add(layer, "hard_sigmoid", units=5, recurrent_activation="hard_sigmoid", call=HOLES, **ALL)
    add(layer, "softsign_backwards", units=5, activation="softsign", go_backwards=True, **ALL)
    add(layer, "split", units=4, implementation=1)
add("LSTM", "no_forget_bias", units=5, unit_forget_bias=False)
for label, more in (("", {}), ("_relu", {"activation": "relu"})):
    add("GRU", f"reset_first{label}", units=6, reset_after=False, **more)
    add("GRU", f"reset_first_all{label}", units=18, reset_after=False, call=HOLES, **ALL, **more)
add("GRU", "reset_first_no_bias", units=6, reset_after=False, use_bias=False, go_backwards=True)

for name, kind in (("LSTM", 2), ("GRU", 1), ("SimpleRNN", 1)):
    add(f"{name}Cell", "plain", (3, 4), *[(3, 5)] * kind, units=5)
    add(f"{name}Cell", "relu", (3, 4), *[(3, 5)] * kind, units=5, activation="relu")
    add(f"{name}Cell", "no_bias", (3, 4), *[(3, 5)] * kind, units=5, use_bias=False)
add("GRUCell", "reset_first", (3, 4), (3, 5), units=5, reset_after=False)

add("RNN", "lstm", cell=nested("LSTMCell", units=5), **ALL)
add("RNN", "masked", cell=nested("GRUCell", units=5), call=HOLES, return_sequences=True)
add("RNN", "zeros", cell=nested("SimpleRNNCell", units=5), call=HOLES, zero_output_for_mask=True)
STACK = nested(
    "StackedRNNCells", cells=[nested("LSTMCell", units=4), nested("GRUCell", units=3)]
)  # fmt: skip
add("RNN", "stacked", cell=STACK)
add("RNN", "stacked_all", cell=STACK, **ALL)
add("RNN", "stacked_masked", cell=STACK, call=HOLES, return_sequences=True)
add("RNN", "stacked_backwards", cell=STACK, call=HOLES, go_backwards=True, **ALL)

for mode in ("concat", "sum", "mul", "ave"):
    add("Bidirectional", mode, layer=nested("LSTM", units=4), merge_mode=mode)
    add("Bidirectional", f"{mode}_sequences", merge_mode=mode, call=HOLES,
        layer=nested("GRU", units=4, return_sequences=True))  # fmt: skip
add("Bidirectional", "apart", layer=nested("LSTM", units=4), merge_mode=None)
add("Bidirectional", "states", layer=nested("LSTM", units=4, **ALL))
add("Bidirectional", "initial", X, *[(3, 4)] * 4, layer=nested("LSTM", units=4, **ALL))
add("Bidirectional", "own_backward", call=HOLES,
    layer=nested("SimpleRNN", units=3, return_sequences=True),
    backward_layer=nested("GRU", units=3, return_sequences=True, go_backwards=True))  # fmt: skip

add("TimeDistributed", "dense", layer=nested("Dense", units=3, activation="tanh"))
add("TimeDistributed", "conv", (2, 3, 6, 5, 2), layer=nested("Conv2D", filters=3, kernel_size=2))
add("TimeDistributed", "lstm", (2, 3, 4, 5), layer=nested("LSTM", units=3))
add("TimeDistributed", "norm_eval", layer=nested("BatchNormalization"))
