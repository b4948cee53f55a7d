"""Connectionist temporal classification beside real Keras, and a net that learns by it."""

from __future__ import annotations

import numpy as np
import pytest
from golden.store import Golden

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, ShapeError

GOLDEN = Golden("ctc")
ARRAYS = GOLDEN.arrays("ctc")
DECODINGS = GOLDEN.cases["ctc"]["decodings"]


def test_loss_and_gradient_are_keras_s():
    logits = ARRAYS["logits"]
    with keras.GradientTape() as tape:
        tape.watch(logits)
        loss = ops.ctc_loss(ARRAYS["target"], logits, ARRAYS["labels"], ARRAYS["steps"])
        weighted = ops.sum(loss * np.float32([1, 2, 3, 4]))
    np.testing.assert_allclose(loss.numpy(), ARRAYS["loss"], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(weighted, logits), ARRAYS["gradient"], atol=1e-5)
    mean = keras.losses.CTC()(ARRAYS["target"], logits)
    assert float(mean) == pytest.approx(float(ARRAYS["mean"]), rel=1e-6)


@pytest.mark.parametrize("name", DECODINGS)
def test_decoded_labels_are_keras_s(name):
    labels, scores = ops.ctc_decode(ARRAYS["logits"], ARRAYS["steps"], **DECODINGS[name])
    np.testing.assert_array_equal(labels, ARRAYS[f"{name}/labels"])
    np.testing.assert_allclose(scores, ARRAYS[f"{name}/scores"], rtol=1e-5)


def test_a_net_learns_to_write():
    rng = np.random.default_rng(0)
    x = rng.integers(1, 5, (64, 3))
    seen = np.repeat(np.eye(5, dtype="float32")[x], 3, axis=1)  # each label for three steps
    inputs = keras.Input((9, 5))
    hidden = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(inputs)
    model = keras.Model(inputs, layers.Dense(5)(hidden))
    model.compile(keras.optimizers.Adam(0.02), "ctc")
    losses = model.fit(seen, x, epochs=30, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert not any(program.host for _, _, program in model._local().programs())
    labels, _ = ops.ctc_decode(model.predict(seen, verbose=0), np.full(64, 9))
    assert labels.shape == (1, 64, 9)


def test_wrong_arguments_are_told():
    with pytest.raises(ShapeError, match=r"labels \(batch, length\)"):
        ops.ctc_loss(np.ones(3), np.ones((2, 3, 4)), [1, 1], [3, 3])
    with pytest.raises(ConfigError, match="beam_search"):
        ops.ctc_decode(ARRAYS["logits"], ARRAYS["steps"], strategy="best")
