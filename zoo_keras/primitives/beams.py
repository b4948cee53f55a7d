"""Beam search over sequences of classes with blanks between them; it runs on the host.

In: logits (batch, steps, classes) and lengths. Out: the likeliest label sequences and their scores.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Sample, op

Prefix = tuple[int, ...]


def _spec(x: Spec, lengths: Spec, *, beams: int, paths: int, blank: int) -> tuple[Spec, Spec]:
    batch, steps, _ = x.shape
    return Spec((paths, batch, steps), "int32"), Spec((batch, paths), x.dtype)


def _logits(rng: Any) -> list[np.ndarray]:
    return [rng.normal(size=(2, 5, 4)).astype("f4"), np.array([5, 3], np.int32)]


@op(shape=_spec, samples=[Sample((), {"beams": 9, "paths": 2, "blank": 3}, make=_logits)])
def label_beams(
    x: np.ndarray, lengths: np.ndarray, *, beams: int, paths: int, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    """(paths, batch, steps) label sequences, filled up with -1, and (batch, paths) their log
    probabilities. Graves et al. 2006, with probabilities summed over alignments."""
    top = x.max(axis=-1, keepdims=True)
    logs = x - top - np.log(np.exp(x - top).sum(axis=-1, keepdims=True))
    found = np.full((paths, *x.shape[:2]), -1, np.int32)
    scores = np.full((len(x), paths), -np.inf, x.dtype)
    for row, (each, length) in enumerate(zip(logs, lengths, strict=True)):
        for rank, (prefix, score) in enumerate(_searched(each[:length], beams, blank)[:paths]):
            found[rank, row, : len(prefix)] = prefix
            scores[row, rank] = score
    return found, scores


def _searched(logs: Any, beams: int, blank: int) -> list[tuple[Prefix, float]]:
    # prefix -> log probability of ending in a blank, and of ending in its last label
    kept: dict[Prefix, list[float]] = {(): [0.0, -np.inf]}
    for step in logs:
        new: dict[Prefix, list[float]] = {}
        for prefix, (on_blank, on_label) in kept.items():
            whole = np.logaddexp(on_blank, on_label)
            _add(new, prefix, 0, whole + step[blank])
            if prefix:
                _add(new, prefix, 1, on_label + step[prefix[-1]])
            for label, log in enumerate(step):
                if label != blank:
                    before = on_blank if prefix and prefix[-1] == label else whole
                    _add(new, (*prefix, label), 1, before + log)
        best = heapq.nlargest(beams, new.items(), key=lambda item: _either(item[1]))
        kept = dict(best)
    scored = [(prefix, _either(each)) for prefix, each in kept.items()]
    return sorted(scored, key=lambda item: -item[1])


def _either(logs: list[float]) -> float:
    return float(np.logaddexp(logs[0], logs[1]))


def _add(found: dict[Prefix, list[float]], prefix: Prefix, place: int, log: float) -> None:
    there = found.setdefault(prefix, [-np.inf, -np.inf])
    there[place] = float(np.logaddexp(there[place], log))
