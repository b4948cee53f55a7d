"""Pictures that look alike: a network that learnt some digits gives every picture a vector, and
Spark's hashing finds the nearest; result: the share of found neighbours that show the same digit,
of digits that the network never saw.

    python examples/spark/image_similarity.py
"""

from __future__ import annotations

from pyspark.ml.feature import BucketedRandomProjectionLSH, Normalizer
from pyspark.sql import Window
from pyspark.sql.functions import col, row_number
from sklearn.datasets import load_digits

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session
from zoo_keras.spark.ml import KerasModel

KNOWN = 7  # the network learns 0 to 6
NEAREST = 5


def table(spark, which):
    """Rows (id, pixels, label) of the digits for which which(label) holds."""
    found = load_digits()
    rows = [
        (i, (found.data[i] / 16).tolist(), int(label))
        for i, label in enumerate(found.target)
        if which(label)
    ]
    return spark.createDataFrame(rows, "id int, pixels array<float>, label int").coalesce(2).cache()


def build():
    pixels = keras.Input((64,), name="pixels")
    x = layers.Reshape((8, 8, 1))(pixels)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(32, 3, padding="same", activation="relu")(x))
    vector = layers.Dense(32, name="vector")(layers.Flatten()(x))
    out = layers.Dense(KNOWN, activation="softmax")(layers.Activation("relu")(vector))
    model = keras.Model(pixels, out)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model, keras.Model(pixels, vector)


def main(spark, epochs=8, asked=60):
    keras.utils.set_random_seed(0)
    model, backbone = build()
    model.fit(
        table(spark, lambda label: label < KNOWN), feature_cols="pixels", label_cols="label",
        batch_size=32, epochs=epochs, verbose=0,
    )  # fmt: skip
    stage = KerasModel(model=backbone, featuresCol="pixels", predictionCol="raw")
    unit = Normalizer(inputCol="raw", outputCol="vector")
    vectors = unit.transform(stage.transform(table(spark, lambda label: label >= KNOWN)))
    vectors = vectors.select("id", "label", "vector").cache()
    hashing = BucketedRandomProjectionLSH(
        inputCol="vector", outputCol="hashes", bucketLength=1.0, numHashTables=3, seed=1
    ).fit(vectors)
    some = vectors.orderBy("id").limit(asked)
    pairs = hashing.approxSimilarityJoin(some, vectors, 1.5, "distance")
    pairs = pairs.where("datasetA.id <> datasetB.id")
    nearness = row_number().over(Window.partitionBy("datasetA.id").orderBy("distance"))
    near = pairs.withColumn("place", nearness).where(col("place") <= NEAREST).cache()
    return {"same_digit": near.where("datasetA.label = datasetB.label").count() / near.count()}


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "image similarity")))
