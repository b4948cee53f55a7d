"""Golden numbers of ctc_loss, its gradient, the loss CTC, and ctc_decode."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from .store import Writer

ROWS, STEPS, CLASSES = 4, 9, 5


def make() -> None:
    rng = np.random.default_rng(0)
    logits = (2 * rng.normal(size=(ROWS, STEPS, CLASSES))).astype("float32")
    target = np.array([[1, 2, 2], [3, 0, 0], [4, 4, 4], [1, 2, 3]], "int32")
    labels, steps = np.array([3, 1, 3, 2], "int32"), np.array([9, 4, 9, 6], "int32")
    arrays = {"logits": logits, "target": target, "labels": labels, "steps": steps}
    with tf.GradientTape() as tape:
        watched = tf.constant(logits)
        tape.watch(watched)
        loss = keras.ops.ctc_loss(target, watched, labels, steps)
        weighted = tf.reduce_sum(loss * [1.0, 2.0, 3.0, 4.0])
    arrays |= {"loss": loss, "gradient": tape.gradient(weighted, watched)}
    arrays["mean"] = keras.losses.CTC()(target, logits)
    for name, how in DECODINGS.items():
        arrays[f"{name}/labels"], arrays[f"{name}/scores"] = keras.ops.ctc_decode(
            logits, steps, **how
        )
    writer = Writer("ctc")
    writer.add("ctc", {"decodings": DECODINGS}, arrays)
    writer.write()


DECODINGS = {
    "greedy": {},
    "apart": {"merge_repeated": False, "mask_index": 2},
    "beam": {"strategy": "beam_search", "beam_width": 50, "top_paths": 2},
    "beam blank 4": {"strategy": "beam_search", "beam_width": 50, "top_paths": 1, "mask_index": 4},
}
