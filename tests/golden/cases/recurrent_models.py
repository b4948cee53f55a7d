"""Models with recurrent layers for files, as in cases/models.py."""

from __future__ import annotations

from typing import Any

from .models import Model

WORDS = {"words": ("ids:20", (7,))}


def text_lstm(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(7,), dtype="int32", name="words"),
            layers.Embedding(20, 6, mask_zero=True, name="embed"),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True, name="inner"), name="both"),
            layers.GRU(4, name="gru"),
            layers.Dense(1, activation="sigmoid", name="score"),
        ],
        name="text_lstm",
    )


def encoder(k: Any) -> Any:
    layers = k.layers
    x = layers.Input(shape=(6, 3), name="steps")
    masked = layers.Masking(name="masking")(x)
    sequence, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="encode")(masked)
    again = layers.LSTM(4, return_sequences=True, name="decode")(sequence, initial_state=[h, c])
    shown = layers.TimeDistributed(layers.Dense(2, name="each"), name="distributed")(again)
    back = layers.GRU(3, reset_after=False, go_backwards=True, name="back")(sequence)
    end = layers.SimpleRNN(3, activation="relu", name="simple")(again)
    last = layers.Concatenate(name="joined")([back, end])
    return k.Model(x, [shown, layers.Dense(2, name="last")(last)], name="encoder")


def stacked(k: Any) -> Any:
    layers = k.layers
    cells = [layers.LSTMCell(4, name="lower"), layers.GRUCell(3, name="upper")]
    return k.Sequential(
        [
            layers.Input(shape=(5, 3), name="steps"),
            layers.RNN(layers.StackedRNNCells(cells, name="cells"), name="rnn"),
            layers.Dense(2, name="out"),
        ],
        name="stacked",
    )


MODELS = {
    "text_lstm": Model(
        text_lstm,
        WORDS,
        {"score": ("binary", (1,))},
        {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.02}},
         "loss": "binary_crossentropy"},
    ),
    "encoder": Model(
        encoder,
        {"steps": ("real_zero_row", (6, 3))},
        {"distributed": ("real", (6, 2)), "last": ("real", (2,))},
        {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
         "loss": ["mse", "mse"]},
    ),
    "stacked": Model(
        stacked,
        {"steps": ("real", (5, 3))},
        {"out": ("real", (2,))},
        {"optimizer": {"class_name": "RMSprop", "config": {"learning_rate": 0.01}},
         "loss": "mse"},
    ),
}  # fmt: skip


def keras2_text(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(7,), dtype="int32", name="words"),
            layers.Embedding(20, 6, mask_zero=True, name="embed"),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True, name="inner"), name="both"),
            layers.GRU(4, return_sequences=True, name="gru"),
            layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid", name="old"),
            layers.Dense(1, activation="sigmoid", name="score"),
        ],
        name="keras2_text",
    )


def keras2_steps(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input(shape=(5, 3), name="steps"),
            layers.SimpleRNN(4, return_sequences=True, name="simple"),
            layers.TimeDistributed(layers.Dense(3, name="each"), name="distributed"),
            layers.RNN([layers.LSTMCell(3, name="a"), layers.LSTMCell(2, name="b")], name="rnn"),
            layers.Dense(2, name="out"),
        ],
        name="keras2_steps",
    )


KERAS2_MODELS = {
    "recurrent_text": Model(keras2_text, WORDS, {"score": ("binary", (1,))},
                            {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.3}},
                             "loss": "binary_crossentropy"}),
    "recurrent_steps": Model(keras2_steps, {"steps": ("real", (5, 3))}, {"out": ("real", (2,))},
                             MODELS["stacked"].compile),
}  # fmt: skip
