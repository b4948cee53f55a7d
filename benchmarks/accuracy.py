"""What does low precision cost in accuracy? Models trained here on real data, and real weights.

In: scikit-learn's digits; docstrings of installed packages, to be told apart; a file of MobileNetV2
weights and a folder of photographs when they are given. Out: lines with the accuracy on held-out
rows of float32, of predictions in bfloat16 and int8 (one scale for each input of a layer, from 256
training rows), and of the same model trained under mixed_bfloat16. Measures no time.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import zoo_keras as zk

layers = zk.layers
WORDS, LENGTH = 8192, 64
PACKAGES = ("numpy", "scipy", "sklearn", "pyspark", "py4j", "pytest", "asyncio", "unittest")
EACH = 1500  # texts of a package, at most
SAMPLE = 256
KINDS = ("float32", "bfloat16", "int8")


class Split(NamedTuple):
    """Rows to train on, and rows to judge by."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def split(x: np.ndarray, y: np.ndarray, share: float = 0.7) -> Split:
    """The rows in an order drawn once, cut in two."""
    order = np.random.default_rng(0).permutation(len(x))
    first, last = np.split(order, [int(share * len(x))])
    return Split(x[first], y[first], x[last], y[last])


# ---- data ----------------------------------------------------------------------------------------


def digits() -> Split:
    """1,797 handwritten digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return split((x / 16).astype(np.float32).reshape(-1, 8, 8, 1), y.astype(np.int32), 0.55)


def docstrings() -> Split:
    """Pieces of 64 words from docstrings; the label is the package. Its name is left out."""
    texts, labels = [], []
    found = [p for p in PACKAGES if importlib.util.find_spec(p)]
    for label, package in enumerate(found):
        pieces = list(dict.fromkeys(_pieces(package)))
        some = np.random.default_rng(1).permutation(len(pieces))[:EACH]
        texts += [pieces[i] for i in some]
        labels += [label] * len(some)
    x = np.array([[zlib.crc32(w.encode()) % WORDS for w in text] for text in texts], np.int32)
    return split(x, np.array(labels, np.int32))


def _pieces(package: str) -> Iterator[tuple[str, ...]]:
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        for found in re.findall(r'"""(.*?)"""', text, re.DOTALL):
            words = [w for w in re.findall(r"[a-z]+", inspect.cleandoc(found).lower())
                     if w not in PACKAGES and w != "np"]  # fmt: skip
            for i in range(0, len(words) - LENGTH + 1, LENGTH):
                yield tuple(words[i : i + LENGTH])


# ---- models --------------------------------------------------------------------------------------


def cnn(classes: int) -> Any:
    """Blocks as in ResNet and MobileNetV2: normalization, a shortcut, depthwise, strides."""

    def normed(x: Any, layer: Any, activation: Any) -> Any:
        return activation(layers.BatchNormalization(momentum=0.8)(layer(x)))

    x = inputs = layers.Input((8, 8, 1))
    x = normed(x, layers.Conv2D(32, 3, padding="same"), layers.ReLU())
    y = normed(x, layers.Conv2D(32, 3, padding="same"), layers.ReLU())
    y = layers.BatchNormalization(momentum=0.8)(layers.Conv2D(32, 1)(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = normed(x, layers.Conv2D(64, 1), layers.ReLU(6.0))
    x = normed(x, layers.DepthwiseConv2D(3, 2, padding="same"), layers.ReLU(6.0))
    x = layers.Conv2D(64, 3, activation="relu")(x)
    return zk.Model(inputs, layers.Dense(classes, dtype="float32")(layers.Flatten()(x)))


def lstm(classes: int) -> Any:
    """Embedding and an LSTM of 128 units."""
    return zk.Sequential(
        [layers.Input((LENGTH,), dtype="int32"), layers.Embedding(WORDS, 64), layers.LSTM(128),
         layers.Dropout(0.3), layers.Dense(classes, dtype="float32")]
    )  # fmt: skip


def transformer(classes: int) -> Any:
    """Two blocks of attention of 4 heads and a feed-forward network, 128 wide."""
    tokens = layers.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, 128)(tokens)
    x = layers.LayerNormalization()(x + layers.Embedding(LENGTH, 128)(zk.ops.arange(LENGTH)))
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
        y = layers.Dense(128)(layers.Dense(256, activation="gelu")(x))
        x = layers.LayerNormalization()(x + y)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling1D()(x))
    return zk.Model(tokens, layers.Dense(classes, dtype="float32")(x))


class Case(NamedTuple):
    """A model, its data, and how long it trains."""

    model: Callable[[int], Any]
    data: Callable[[], Split]
    epochs: int


CASES = {
    "CNN, digits": Case(cnn, digits, 12),
    "LSTM, docstrings": Case(lstm, docstrings, 5),
    "transformer, docstrings": Case(transformer, docstrings, 4),
}


def trained(case: Case, rows: Split, policy: str) -> Any:
    """The case's model, trained under a policy from the same weights."""
    zk.config.set_dtype_policy(policy)
    try:
        zk.utils.set_random_seed(0)
        model = case.model(int(rows.y.max()) + 1)
    finally:
        zk.config.set_dtype_policy("float32")
    loss = zk.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(zk.optimizers.Adam(2e-3), loss)
    model.fit(rows.x, rows.y, batch_size=64, epochs=case.epochs, verbose=0)
    return model


def predictions(model: Any, x: np.ndarray, sample: np.ndarray) -> dict[str, np.ndarray]:
    """What the model gives in float32, bfloat16 and int8, by kind. It is quantised at the end."""
    found = {"float32": model.predict(x, verbose=0)}
    zk.config.set_inference_dtype("bfloat16")
    try:
        found["bfloat16"] = model.predict(x, verbose=0)
    finally:
        zk.config.set_inference_dtype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layers that stay float32
        model.quantize("int8", sample=sample)
    found["int8"] = model.predict(x, verbose=0)
    return found


def row(name: str, case: Case) -> str:
    """One line: accuracy by kind, and of the model trained in mixed precision."""
    rows = case.data()
    mixed = trained(case, rows, "mixed_bfloat16").predict(rows.x_test, verbose=0)
    found = predictions(trained(case, rows, "float32"), rows.x_test, rows.x[:SAMPLE])
    classes = {kind: y.argmax(-1) for kind, y in {**found, "trained in bfloat16": mixed}.items()}
    cells = [f"{k} {100 * np.mean(c == rows.y_test):.2f} %" for k, c in classes.items()]
    same = [f"{k} {100 * np.mean(classes[k] == classes['float32']):.2f} %" for k in KINDS[1:]]
    return (f"{name} ({len(rows.x)} rows, judged by {len(rows.x_test)}): {', '.join(cells)}; "
            f"decides as float32: {', '.join(same)}")  # fmt: skip


# ---- real weights --------------------------------------------------------------------------------


def views(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels in [-1, 1], photo, label) of ten views of each photograph: corners and centre of 7/8
    of its sides, and their mirror images. The label is the first word of the file's name."""
    from PIL import Image

    files = sorted(folder.glob("*.jpg"))
    words = sorted({f.name.split(".")[0] for f in files})
    pixels, photo, label = [], [], []
    for number, file in enumerate(files):
        image = np.asarray(Image.open(file).convert("RGB").resize((256, 256)), np.float32)
        for i, j in ((0, 0), (0, 32), (32, 0), (32, 32), (16, 16)):
            view = image[i : i + 224, j : j + 224] / 127.5 - 1
            pixels += [view, view[:, ::-1]]
        photo += [number] * 10
        label += [words.index(file.name.split(".")[0])] * 10
    return np.stack(pixels), np.array(photo), np.array(label)


def decisions(features: np.ndarray, given: np.ndarray, photo: np.ndarray, label: np.ndarray) -> Any:
    """Of each view, by a linear head (ridge regression) trained on float32 features of all other
    photographs."""
    found = np.zeros(len(label), int)
    for one in range(photo.max() + 1):
        rest, here = photo != one, photo == one
        centre = features[rest].mean(0)
        x, y = features[rest] - centre, 2.0 * label[rest] - 1
        dual = np.linalg.solve(x @ x.T + 10 * np.eye(len(x)), y - y.mean())
        found[here] = (given[here] - centre) @ (x.T @ dual) + y.mean() > 0
    return found


def photographs(weights: Path, folder: Path) -> list[str]:
    """Lines about MobileNetV2's features, and what a head makes of them."""
    x, photo, label = views(folder)
    model = zk.applications.MobileNetV2(
        include_top=False, pooling="avg", weights=None, input_shape=(224, 224, 3)
    )
    model.load_weights(weights)
    found = predictions(model, x, x[::5])
    base = found["float32"]
    heads = {kind: decisions(base, y, photo, label) for kind, y in found.items()}
    lines = []
    for kind, y in found.items():
        cosine = (y * base).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(base, axis=-1)
        lines.append(
            f"MobileNetV2, {len(x)} views of {photo.max() + 1} photographs, {kind}: cosine with "
            f"float32 {cosine.mean():.4f} (least {cosine.min():.4f}); a head that never saw the "
            f"photograph is right for {100 * np.mean(heads[kind] == label):.1f} %, decides as with "
            f"float32 for {100 * np.mean(heads[kind] == heads['float32']):.1f} %"
        )
    return lines


def lines(weights: Path | None = None, photos: Path | None = None) -> Iterator[str]:
    """All lines; those of real weights when both places are given."""
    for name, case in CASES.items():
        yield row(name, case)
    if weights and photos:
        yield from photographs(weights, photos)
