"""Layer cases beyond those of cases/layers.py, in the same form: recurrent convolutions, wrappers,
and layers that change images, whose random factors are narrowed to one value here."""

from __future__ import annotations

from typing import Any

from .layers import Case, Ints, init, keras_object, l1l2

CASES: list[Case] = []


def add(layer: str, label: str, *inputs: Any, call: dict | None = None, **kwargs: Any) -> None:
    CASES.append(Case(layer, label, list(inputs), kwargs, call or {}))


def wrapped(kind: str, **config: Any) -> dict[str, Any]:
    return keras_object("layers", kind, name=f"inner_{kind.lower()}", **config)


# ConvLSTM
MAPS = {"ConvLSTM1D": (2, 3, 7, 2), "ConvLSTM2D": (2, 3, 5, 6, 2), "ConvLSTM3D": (2, 2, 4, 3, 4, 2)}
FIRST = {"ConvLSTM1D": (2, 3, 2, 7), "ConvLSTM2D": (2, 3, 2, 5, 6)}
for name, shape in MAPS.items():
    base = {"filters": 3, "kernel_size": 2}
    add(name, "plain", shape, **base)
    add(name, "sequences", shape, padding="same", return_sequences=True, **base)
    add(name, "backwards", shape, go_backwards=True, return_sequences=True, **base)
    add(name, "strided", shape, strides=2, **base)
    add(name, "dilated_bias", shape, dilation_rate=2, unit_forget_bias=False, **base)
    add(
        name,
        "options",
        shape,
        use_bias=False,
        activation="relu",
        dropout=0.25,
        seed=7,
        recurrent_activation="hard_sigmoid",
        kernel_initializer=init("HeNormal", seed=3),
        kernel_regularizer=l1l2(0.01, 0.02),
        recurrent_regularizer=l1l2(0.0, 0.1),
        **base,
    )
for name, shape in FIRST.items():
    add(
        name,
        "channels_first",
        shape,
        filters=3,
        kernel_size=2,
        data_format="channels_first",
        return_sequences=True,
    )

# ReversibleEmbedding
for tied in (True, False):
    base = {"input_dim": 9, "output_dim": 4, "tie_weights": tied}
    add("ReversibleEmbedding", f"ids_{tied}", Ints((2, 5), 9), **base)
