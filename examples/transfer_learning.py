"""Transfer learning in a Spark pipeline: a pretrained network as a stage, a new two-class head on
top, trained and scored on the cluster.

    python examples/transfer_learning.py --images photos --weights imagenet
    python examples/transfer_learning.py --images photos --weights mobilenetv2_notop.h5 --fine-tune
    python examples/transfer_learning.py

A picture's kind is the first word of its file's name: cats/cat.7.jpg is a cat. Without arguments
the pictures are handwritten eights and nines (scikit-learn's), and the network learns from the
other digits first, so that nothing is downloaded.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import Window
from pyspark.sql.functions import col, expr, row_number

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.images import read_images
from zoo_keras.spark.ml import KerasClassifier, KerasModel

FOLDS = 3
FEW = {"spark.sql.shuffle.partitions": "4"}  # Spark makes 200 tasks of a few rows otherwise


# ---- pictures ------------------------------------------------------------------------------------


def read_pictures(spark, folder):
    """A row for each picture: image, kind (a word), fold (0, 1 or 2, each kind spread evenly)."""
    frame = read_images(folder, on_error="skip", session=spark)
    frame = frame.withColumn("kind", expr("regexp_extract(image.origin, '([^/.]+)[^/]*$', 1)"))
    place = row_number().over(Window.partitionBy("kind").orderBy("image.origin"))
    return frame.withColumn("fold", place % FOLDS)


def write_digits(folder):
    """Eights and nines as PNG files, 24 of each."""
    from PIL import Image

    digits, pixels = load_digits()
    for digit, kind in ((8, "eight"), (9, "nine")):
        (folder / kind).mkdir(parents=True)
        for i, image in enumerate(pixels[digits == digit][:24]):
            Image.fromarray(image).save(folder / kind / f"{kind}.{i}.png")


def load_digits():
    """Digits, and their pictures (32, 32, 3) of bytes."""
    from sklearn import datasets

    found = datasets.load_digits()
    grey = (found.images * 255 / 16).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    return found.target, grey[..., None].repeat(3, axis=3)


# ---- networks ------------------------------------------------------------------------------------


def pretrained(weights):
    """(size of images, a network from pixels to features, the first layer of its last block)."""
    if weights is None:
        return 32, of_digits(), "last_block"
    net = keras.applications.MobileNetV2((224, 224, 3), include_top=False, pooling="avg",
                                         weights=weights)  # fmt: skip
    return 224, net, "block_16_expand"


def of_digits():
    """A small network that has learnt to tell the digits from 0 to 7 apart."""
    digits, pixels = load_digits()
    seen = digits < 8
    net = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="last_block"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ]
    )
    whole = keras.Sequential([net, layers.Dense(8, activation="softmax")])
    whole.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    whole.fit(pixels[seen] / 127.5 - 1, digits[seen], batch_size=64, epochs=4, verbose=2)
    return net


def behind_pictures(size, *more):
    """A network that takes pictures of any sizes, and the middle of each; `more` are its layers."""
    side = size * 8 // 7
    return keras.Sequential(
        [
            keras.Input((), dtype="string"),
            layers.DecodeImage(),
            layers.Resizing(side, side, crop_to_aspect_ratio=True, antialias=True),
            layers.CenterCrop(size, size),
            *more,
        ]
    )


def new_head(net):
    """Two classes from the features of a network. A few pictures don't outweigh random weights, so
    it starts from zeros."""
    zeros = layers.Dense(2, "softmax", kernel_initializer="zeros")
    head = keras.Sequential([keras.Input(net.output_shape[1:]), zeros])
    head.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    return head


def with_new_head(size, net):
    """The pipeline: words to labels, pictures to features (not trained), features to a class."""
    body = behind_pictures(size, layers.Rescaling(1 / 127.5, -1), net)
    return Pipeline(
        stages=[
            StringIndexer(inputCol="kind", outputCol="label", stringOrderType="alphabetAsc"),
            KerasModel(model=body, featuresCol="image", predictionCol="embedding"),
            KerasClassifier(model=new_head(net), featuresCol="embedding", batchSize=8, maxIter=30),
        ]
    )


def fine_tuned(size, net, first):
    """The same in one network, whose last block is trained too, on pictures that vary."""
    frozen = True
    for layer in net.layers:
        frozen = frozen and layer.name != first
        layer.trainable = not frozen and not isinstance(layer, layers.BatchNormalization)
    vary = [layers.RandomTranslation(0.05, 0.05), layers.RandomBrightness(0.1)]
    tail = [layers.Rescaling(1 / 127.5, -1), net, layers.Dense(2, "softmax")]
    model = behind_pictures(size, *vary, *tail)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    return Pipeline(
        stages=[
            StringIndexer(inputCol="kind", outputCol="label", stringOrderType="alphabetAsc"),
            KerasClassifier(model=model, featuresCol="image", batchSize=8, maxIter=12),
        ]
    )


# ---- results -------------------------------------------------------------------------------------


def draw(rows, kinds, path):
    """A PNG of pictures, each with the kind that was predicted as its title."""
    from matplotlib.figure import Figure

    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.6 * lines), layout="tight")
    axes = np.ravel(figure.subplots(lines, columns))
    for axis in axes:
        axis.axis("off")
    for axis, row in zip(axes, rows):
        image = row.image
        stored = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        axis.imshow(stored[..., ::-1])  # Spark keeps blue, green, red
        guess, share = kinds[int(row.prediction)], max(row.probability.toArray())
        axis.set_title(f"{guess} ({share:.0%})", color="black" if guess == row.kind else "red")
    figure.savefig(path, format="png")


def write_table(rows, kinds, path):
    """A line for each picture: its file, kind, and what was predicted."""
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "kind", "predicted", "probability"])
        for row in rows:
            p = row.probability.toArray()
            table.writerow([row.image.origin, row.kind, kinds[int(row.prediction)], float(max(p))])


def in_plain_keras(folder, size, net):
    """The same on this machine, without Spark."""
    files = sorted(path for path in Path(folder).rglob("*.*") if path.suffix in (".jpg", ".png"))
    kinds = sorted({path.name.split(".")[0] for path in files})
    y = np.array([kinds.index(path.name.split(".")[0]) for path in files])
    body = behind_pictures(size, layers.Rescaling(1 / 127.5, -1), net)
    features = body.predict([path.read_bytes() for path in files], verbose=0)
    right = []
    for fold in range(FOLDS):
        test = np.arange(len(y)) % FOLDS == fold
        head = new_head(net)
        head.fit(features[~test], y[~test], batch_size=8, epochs=30, verbose=0)
        right += list(head.predict(features[test], verbose=0).argmax(axis=1) == y[test])
    return float(np.mean(right))


def run(spark, images, weights, output, fine_tune=False):
    """Train, score, draw and cross-validate; the share of pictures that are right in the folds."""
    keras.utils.set_random_seed(1)
    size, net, first = pretrained(weights)
    frame = read_pictures(spark, images).cache()
    print(
        f"{frame.count()} pictures: {[tuple(r) for r in frame.groupBy('kind').count().collect()]}"
    )
    pipeline = fine_tuned(size, net, first) if fine_tune else with_new_head(size, net)
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")

    fitted = pipeline.fit(frame.where(col("fold") > 0))
    scored = fitted.transform(frame.where(col("fold") == 0)).cache()
    print(f"Accuracy on pictures that were held out: {evaluator.evaluate(scored):.3f}")
    rows, kinds = scored.orderBy("image.origin").collect(), fitted.stages[0].labels
    draw(rows, kinds, output / "predictions.png")
    write_table(rows, kinds, output / "predictions.csv")
    fitted.write().overwrite().save(str(output / "pipeline"))

    tuner = CrossValidator(estimator=pipeline, estimatorParamMaps=ParamGridBuilder().build(),
                           evaluator=evaluator, numFolds=FOLDS, foldCol="fold")  # fmt: skip
    share = tuner.fit(frame).avgMetrics[0]
    print(f"Accuracy in {FOLDS}-fold cross-validation: {share:.3f}")
    if not fine_tune:
        print(f"The same in plain Keras: {in_plain_keras(images, size, net):.3f}")
    print(
        f"Pictures with titles: {output / 'predictions.png'}; the pipeline: {output / 'pipeline'}"
    )
    return share


def main():
    parser = argparse.ArgumentParser(description="Transfer learning in a Spark pipeline.")
    parser.add_argument("--images", help="a folder of pictures of two kinds")
    parser.add_argument("--weights", help='of MobileNetV2 without top: a file, or "imagenet"')
    parser.add_argument("--output", help="a folder for what is made")
    parser.add_argument("--master", default="local-cluster[2,1,4096]")
    parser.add_argument("--fine-tune", action="store_true", help="train the last block, too")
    given = parser.parse_args()
    if given.images and not given.weights:
        parser.error("pictures of your own need --weights: a file, or imagenet")
    output = Path(given.output or tempfile.mkdtemp(prefix="transfer_learning_"))
    output.mkdir(parents=True, exist_ok=True)
    images = given.images or str(output / "pictures")
    if not given.images:
        write_digits(Path(images))
    spark = init_session(given.master, "transfer learning", conf=FEW)
    share = run(spark, images, given.weights, output, given.fine_tune)
    spark.stop()
    if share < 11 / 12:
        raise SystemExit("The accuracy is below 11 of 12.")


if __name__ == "__main__":
    main()
