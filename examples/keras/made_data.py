"""The data of the scripts beside it: scikit-learn's digits, and made texts, series and pictures.

Nothing is downloaded. Each function gives numpy arrays, the same at each call.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

LIKED = "good great lovely brilliant moving funny clever warm".split()
DISLIKED = "bad awful boring weak dull stupid cold tired".split()
THINGS = "film story acting music ending plot camera cast".split()
FILLERS = "the a this that its really quite very so rather".split()


def digits(classes: range = range(10)) -> tuple[np.ndarray, ...]:
    """(x, y, test_x, test_y): pictures (n, 8, 8, 1) in [0, 1], and labels from 0."""
    found = load_digits()
    chosen = np.isin(found.target, list(classes))
    images = (found.images[chosen] / 16.0).astype("float32")[..., None]
    labels = (found.target[chosen] - classes.start).astype("int32")
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order], labels[order]
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def reviews(count: int = 1200) -> tuple[np.ndarray, ...]:
    """(x, y, test_x, test_y): sentences of 4 to 12 words, and 1 where they praise.

    "not" turns what follows it, so counting words is not enough.
    """
    rng = np.random.default_rng(1)
    texts, labels = [], []
    for _ in range(count):
        label, negated = rng.integers(0, 2, 2)
        words = LIKED if label != negated else DISLIKED
        said = [*rng.choice(FILLERS, rng.integers(1, 5)), rng.choice(THINGS), "is"]
        said += ["not"] * negated + [rng.choice(words)]
        said += list(rng.choice(FILLERS, rng.integers(0, 4)))
        texts.append(" ".join(said))
        labels.append(label)
    cut = count * 4 // 5
    x, y = np.array(texts, dtype=object).astype(str), np.array(labels, "int32")
    return x[:cut], y[:cut], x[cut:], y[cut:]


def series(length: int = 2000) -> np.ndarray:
    """(length,): two waves, a slope and noise."""
    t = np.arange(length)
    noise = np.random.default_rng(2).normal(0, 0.05, length)
    return (np.sin(t / 8) + 0.5 * np.sin(t / 21) + t / length + noise).astype("float32")


def windows(values: np.ndarray, width: int) -> np.ndarray:
    """(n, width): every stretch of that width."""
    return np.lib.stride_tricks.sliding_window_view(values, width).copy()


def shapes(count: int = 320, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """(pictures, masks), each (count, size, size, 1): a disc or a square on noise; the mask is 1
    in discs, 2 in squares, 0 elsewhere."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:size, :size]
    pictures = rng.random((count, size, size)).astype("float32") * 0.4
    masks = np.zeros((count, size, size), "int32")
    for picture, mask in zip(pictures, masks):
        r, c, radius = rng.integers(4, size - 4), rng.integers(4, size - 4), rng.integers(2, 5)
        disc = (rows - r) ** 2 + (columns - c) ** 2 <= radius**2
        square = np.maximum(abs(rows - r), abs(columns - c)) <= radius
        kind = rng.integers(1, 3)
        inside = disc if kind == 1 else square
        picture[inside] += 0.5
        mask[inside] = kind
    return pictures[..., None], masks[..., None]
