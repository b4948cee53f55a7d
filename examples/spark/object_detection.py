"""Where are which shapes? A head as of SSD on a small backbone: for each of 8 x 8 cells and two
sizes of box a class and four offsets; result: mean average precision of boxes that overlap by half.

    python examples/spark/object_detection.py
"""

from __future__ import annotations

import numpy as np

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.spark.cluster import init_session

SIZE, CELLS, CLASSES = 32, 8, 3  # class 0 is background; then discs, squares, crosses
CENTERS = (np.stack(np.mgrid[:CELLS, :CELLS], -1).reshape(-1, 2) + 0.5) * SIZE / CELLS
ANCHORS = np.concatenate([np.hstack([CENTERS, np.full_like(CENTERS, n)]) for n in (7, 13)])


def scene(rng):
    """A picture (32, 32, 1) with one to three shapes, and their rows (class, r, c, h, w)."""
    picture = rng.random((SIZE, SIZE)).astype("float32") * 0.3
    (rows, columns), shapes = np.mgrid[:SIZE, :SIZE], []
    for r, c in rng.permutation([(8, 8), (8, 24), (24, 8), (24, 24)])[: rng.integers(1, 4)]:
        r, c, radius = r + rng.integers(-3, 4), c + rng.integers(-3, 4), rng.integers(3, 7)
        dr, dc, kind = abs(rows - r), abs(columns - c), int(rng.integers(1, CLASSES + 1))
        box = np.maximum(dr, dc) <= radius
        inside = (dr**2 + dc**2 <= radius**2, box, box & (np.minimum(dr, dc) <= 1))[kind - 1]
        picture[inside] += 0.7
        shapes.append((kind, r, c, 2 * radius + 1, 2 * radius + 1))
    return picture[..., None], np.array(shapes, "float32")


def overlap(a, b):
    """Areas in common over areas in all (n, m), of boxes (row, column, height, width)."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], b[:, :2] - b[:, 2:] / 2)
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], b[:, :2] + b[:, 2:] / 2)
    common = np.prod(np.maximum(high - low, 0), -1)
    return common / (np.prod(a[:, 2:], 1)[:, None] + np.prod(b[:, 2:], 1) - common)


def targets(shapes):
    """(128, 5): each anchor's class, and how the shape differs from it."""
    shared = overlap(ANCHORS, shapes[:, 1:])
    best = shared.argmax(1)
    taken = shared.max(1) > 0.4
    for i, anchor in enumerate(shared.argmax(0)):  # no shape without an anchor
        best[anchor], taken[anchor] = i, True
    box = shapes[best, 1:]
    kinds = np.where(taken, shapes[best, 0], 0)[:, None]
    away = (box[:, :2] - ANCHORS[:, :2]) / ANCHORS[:, 2:]
    return np.concatenate([kinds, away, np.log(box[:, 2:] / ANCHORS[:, 2:])], 1).astype("f4")


def build():
    images = x = keras.Input((SIZE, SIZE, 1))
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(layers.BatchNormalization()(x))
    for _ in range(2):
        x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    heads = [layers.Conv2D(CLASSES + 5, 3, padding="same")(x) for _ in range(2)]
    heads = [layers.Reshape((CELLS * CELLS, CLASSES + 5))(head) for head in heads]
    return keras.Model(images, layers.Concatenate(axis=1)(heads))


def loss(truth, found):
    """Cross-entropy of all anchors, and of those that hold a shape the offsets' Huber loss."""
    kinds, classes = ops.cast(truth[..., 0], "int32"), found[..., : CLASSES + 1]
    wrong = keras.losses.sparse_categorical_crossentropy(kinds, classes, from_logits=True)
    holds = ops.cast(kinds > 0, "float32")
    smooth = 4 * keras.losses.huber(truth[..., 1:], found[..., CLASSES + 1 :])
    return ops.sum(wrong * (1 + 4 * holds) + 2 * holds * smooth, axis=-1)


def decoded(found):
    """Rows (class, score, r, c, h, w), the best of those that overlap."""
    chances = np.asarray(ops.softmax(found[:, : CLASSES + 1]))
    kinds, offsets, kept = chances[:, 1:].argmax(1) + 1, found[:, CLASSES + 1 :], []
    sides = ANCHORS[:, 2:] * np.exp(np.clip(offsets[:, 2:], -3, 3))
    boxes = np.concatenate([ANCHORS[:, :2] + offsets[:, :2] * ANCHORS[:, 2:], sides], 1)
    scores = chances[np.arange(len(found)), kinds]
    for i in np.argsort(-scores):
        others = boxes[[k for k in kept if kinds[k] == kinds[i]]].reshape(-1, 4)
        if scores[i] > 0.05 and not (overlap(boxes[i : i + 1], others) > 0.3).any():
            kept.append(i)
    return [(kinds[i], scores[i], *boxes[i]) for i in kept]


def average_precision(found, truth, kind):
    """The area under precision over recall for one class; found and truth by picture."""
    every = [(d[1], i, d[2:]) for i, boxes in enumerate(found) for d in boxes if d[0] == kind]
    left = [shapes[shapes[:, 0] == kind, 1:] for shapes in truth]
    total, hits = sum(map(len, left)), []
    for _, i, box in sorted(every, key=lambda each: -each[0]):
        shared = overlap(np.array([box]), left[i])[0] if len(left[i]) else np.zeros(1)
        hits.append(shared.max() >= 0.5)
        if hits[-1]:
            left[i] = np.delete(left[i], shared.argmax(), axis=0)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(best[np.array(hits, bool)]) / total)


def main(spark, rows=600, epochs=30):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    records = [(picture, targets(shapes)) for picture, shapes in (scene(rng) for _ in range(rows))]
    model = build()
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(spark.sparkContext.parallelize(records, 2), batch_size=32, epochs=epochs, verbose=0)
    pictures, truth = zip(*(scene(rng) for _ in range(200)))
    found = model.predict(spark.sparkContext.parallelize(pictures, 2)).collect()
    found = [decoded(each) for each in found]
    every = [average_precision(found, truth, kind) for kind in range(1, CLASSES + 1)]
    return {"map": float(np.mean(every))}


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "object detection")))
