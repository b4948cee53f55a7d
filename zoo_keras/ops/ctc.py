"""Connectionist temporal classification: the loss of a labelling without alignment, and decoding.

In: labels and logits of each step. Out: a loss for each row, traced as a loop over steps; or the
labels that a net has written, on arrays only. Graves et al. 2006, doi:10.1145/1143844.1143891.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.control import scan
from zoo_keras.ops.convert import as_dtype, as_float, value
from zoo_keras.ops.elementwise import less, logaddexp, not_equal
from zoo_keras.ops.indexing import one_hot, where
from zoo_keras.ops.neural import log_softmax
from zoo_keras.ops.products import matmul
from zoo_keras.ops.reduction import sum
from zoo_keras.ops.shaping import concatenate, expand_dims, swapaxes, transpose
from zoo_keras.ops.symbolic import public

NEVER = -1e5  # the logarithm of no probability; Keras' other backends end there, too


@public
def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Any:
    """-log of the probability that the logits write the labels, for each row.

    Args:
        target: labels (batch, labels), int.
        output: logits (batch, steps, classes).
        target_length, output_length: how many labels and steps of each row count, (batch,).
        mask_index: the class that writes nothing (the blank).

    Source: keras.ops.ctc_loss.
    """
    target, output = as_dtype(target, "int32"), as_float(output)
    _check_shapes(target.shape, output.shape)
    batch, labels = target.shape
    steps = output.shape[1]
    chances = log_softmax(output, axis=-1)
    which = one_hot(target, output.shape[2])  # the gradient of a product has a kernel
    blank_class = mask_index % output.shape[2]
    blank = chances[:, :, blank_class : blank_class + 1]
    counts = less(np.arange(steps, dtype="int32")[:, None], as_dtype(output_length, "int32"))
    label = matmul(chances, swapaxes(which, 1, 2))
    rows = [transpose(blank, (1, 0, 2)), transpose(label, (1, 0, 2)), expand_dims(counts, 2)]
    never = np.full((batch, 1), NEVER, "float32")
    other = not_equal(target[:, 1:], target[:, :-1])  # of equal neighbours a blank must lie between

    def step(state: Any, row: Any) -> tuple[Any, None]:
        blanks, written = state  # ends in the blank before label n; in label n
        blank, label, count = row
        before = concatenate([never, written], axis=1)  # in label n - 1
        skipped = concatenate([never, where(other, written[:, :-1], NEVER)], axis=1)
        now = logaddexp(logaddexp(written, blanks[:, :-1]), skipped[:, :labels]) + label
        between = logaddexp(blanks, before) + blank
        return (where(count, between, blanks), where(count, now, written)), None

    first = np.full((batch, labels + 1), NEVER, "float32")
    first[:, 0] = 0.0
    start = (first, np.full((batch, labels), NEVER, "float32"))
    blanks, written = scan(step, start, rows)[0]
    end = one_hot(as_dtype(target_length, "int32"), labels + 1)
    last = sum(concatenate([never, written], axis=1) * end, axis=1)
    return -logaddexp(sum(blanks * end, axis=1), last)


def _check_shapes(target: tuple[int, ...], output: tuple[int, ...]) -> None:
    if len(target) != 2 or len(output) != 3:
        raise ShapeError(
            "ctc_loss: labels must have the shape (batch, labels) and logits (batch, steps, "
            f"classes). Received: {tuple(target)} and {tuple(output)}. Reshape them."
        )


@public
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The labels that logits (batch, steps, classes) write, on arrays.

    Args:
        sequence_lengths: how many steps of each row count, (batch,).
        strategy: "greedy" takes the best class of each step, "beam_search" the best labels.
        top_paths: how many labellings of each row, with beam_search.
        merge_repeated: with greedy, equal classes side by side are one label.

    Returns:
        Labels (paths, batch, steps), -1 where there are none; and with greedy the negated sum of
        the best logits (batch, 1), with beam_search the log probabilities (batch, paths).

    Source: keras.ops.ctc_decode.
    """
    if strategy not in ("greedy", "beam_search"):
        raise ConfigError(
            f"ctc_decode: the strategy must be 'greedy' or 'beam_search'. Received: {strategy!r}."
        )
    logits, lengths = value(inputs), value(sequence_lengths)
    if isinstance(logits, Tensor) or isinstance(lengths, Tensor):
        raise UnsupportedError(
            "ctc_decode works on arrays. Received: a tensor of a model that is traced. Call it on "
            "what predict gives."
        )
    logits, lengths = np.asarray(logits, np.float32), np.asarray(lengths).reshape(-1)
    blank = mask_index % logits.shape[-1]
    if strategy == "greedy":
        return _greedy(logits, lengths, merge_repeated, blank)
    found = [_beam(row[:n], beam_width, top_paths, blank) for row, n in zip(logits, lengths)]
    paths = [_padded([row[k][0] for row in found], logits.shape[1]) for k in range(top_paths)]
    return np.stack(paths), np.array([[score for _, score in row] for row in found], np.float32)


def _greedy(
    logits: np.ndarray, lengths: np.ndarray, merge: bool, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    best = logits.argmax(-1)
    counts = np.arange(logits.shape[1]) < lengths[:, None]
    kept = counts & (best != blank)
    if merge:
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    written = [row[keep] for row, keep in zip(best, kept, strict=True)]
    scores = -np.where(counts, logits.max(-1), 0).sum(1, keepdims=True)
    return _padded(written, logits.shape[1])[None], scores.astype(np.float32)


def _padded(rows: list[Any], length: int) -> np.ndarray:
    found = np.full((len(rows), length), -1, np.int32)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row
    return found


def _beam(logits: np.ndarray, width: int, paths: int, blank: int) -> list[tuple[Any, float]]:
    """The likeliest labellings of one row, (labels, log probability), likeliest first."""
    chances = np.asarray(log_softmax(logits, axis=-1)) if len(logits) else logits
    # labels -> log probability to end in the blank, and in a label
    beams: dict[Any, tuple[float, float]] = {(): (0.0, -np.inf)}
    for step in chances:
        grown: dict[Any, list[float]] = defaultdict(lambda: [-np.inf, -np.inf])
        for labels, (in_blank, in_label) in beams.items():
            both, kept = np.logaddexp(in_blank, in_label), grown[labels]
            kept[0] = np.logaddexp(kept[0], both + step[blank])
            if labels:
                kept[1] = np.logaddexp(kept[1], in_label + step[labels[-1]])
            for label in range(len(step)):
                if label != blank:
                    longer = grown[(*labels, label)]
                    before = in_blank if labels and labels[-1] == label else both
                    longer[1] = np.logaddexp(longer[1], before + step[label])
        ranked = sorted(grown, key=lambda labels: _whole(grown[labels]), reverse=True)
        beams = {labels: (grown[labels][0], grown[labels][1]) for labels in ranked[:width]}
    best = sorted(((labels, _whole(ends)) for labels, ends in beams.items()),
                  key=lambda item: item[1], reverse=True)  # fmt: skip
    none: list[tuple[Any, float]] = [((), -np.inf)]
    return [*best, *none * paths][:paths]


def _whole(ends: Sequence[float]) -> float:
    return float(np.logaddexp(ends[0], ends[1]))


__all__ = ["ctc_decode", "ctc_loss"]
