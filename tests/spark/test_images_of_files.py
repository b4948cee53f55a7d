"""read_images: folders of image files as rows of Spark's image schema."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pyspark.errors import PythonException

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ConfigError
from zoo_keras.spark import udf
from zoo_keras.spark.images import read_images
from zoo_keras.spark.ml import KerasModel

pytestmark = pytest.mark.spark
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)


@pytest.fixture
def spark(local2, sessions):
    return sessions.get("local[2]")


@pytest.fixture
def folder(tmp_path):
    """a/one.png, b/two.png, b/smooth.jpg and b/bad.jpg."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "a" / "one.png")
    Image.fromarray(PIXELS[::-1]).save(tmp_path / "b" / "two.png")
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None, None], (128, 64, 3))
    Image.fromarray(ramp).save(tmp_path / "b" / "smooth.jpg", quality=95)
    (tmp_path / "b" / "bad.jpg").write_bytes(b"\xff\xd8 cut off")
    return tmp_path


def pixels_of(row):
    image = row.image
    shape = (image.height, image.width, image.nChannels)
    return np.frombuffer(image.data, np.uint8).reshape(shape)


def test_files_become_rows_as_spark_s_own_source_gives_them(spark, folder):
    frame = read_images(str(folder), glob="*.png")
    rows = sorted(frame.collect(), key=lambda row: row.image.origin)
    assert [row.image.origin for row in rows] == [
        f"file:{folder}/a/one.png", f"file:{folder}/b/two.png"
    ]  # fmt: skip
    np.testing.assert_array_equal(pixels_of(rows[0]), PIXELS[..., ::-1])  # blue, green, red
    own = spark.read.format("image").load(str(folder / "a")).first().image.asDict()
    assert {**own, "origin": f"file:{folder}/a/one.png"} == rows[0].image.asDict()
    model = keras.Sequential([keras.Input((6, 9, 3)), layers.GlobalAveragePooling2D()])
    stage = KerasModel(model=model, featuresCol="image")
    found = stage.transform(frame.where("image.origin LIKE '%/a/%'")).first().prediction
    np.testing.assert_allclose(found.toArray(), PIXELS[..., ::-1].mean(axis=(0, 1)), rtol=1e-6)


def test_sizes_and_channels_are_made_in_the_workers(spark, folder):
    (row,) = read_images(str(folder / "b" / "smooth.jpg"), size=(16, 8)).collect()
    assert pixels_of(row).shape == (16, 8, 3)
    want = np.arange(128).reshape(16, 8).mean(axis=1)
    assert abs(pixels_of(row).astype(float) - want[:, None, None]).max() < 4
    grey = read_images(str(folder / "a"), channels=1, size=(3, 3), partitions=3)
    assert grey.rdd.getNumPartitions() == 3
    (row,) = grey.collect()
    assert pixels_of(row).shape == (3, 3, 1) and row.image.mode == 0
    (row,) = read_images([str(folder / "a")], channels=4).collect()
    assert (pixels_of(row)[..., 3] == 255).all() and row.image.mode == 24


def test_channels_stay_as_a_file_has_them(spark, tmp_path):
    for mode, name in (("L", "grey"), ("RGB", "plain"), ("RGBA", "clear")):
        Image.fromarray(PIXELS).convert(mode).save(tmp_path / f"{name}.png")
    rows = read_images(str(tmp_path), channels=None).collect()
    found = {row.image.origin.rpartition("/")[2]: row.image.nChannels for row in rows}
    assert found == {"grey.png": 1, "plain.png": 3, "clear.png": 4}


def test_many_small_files_are_few_tasks(spark, tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "0.png")
    for i in range(1, 400):
        (tmp_path / f"{i}.png").hardlink_to(tmp_path / "0.png")
    frame = read_images(str(tmp_path))
    assert frame.rdd.getNumPartitions() <= 20 and frame.count() == 400


def test_files_that_are_no_images_raise_or_are_left_out(spark, folder):
    everything = str(folder)
    with pytest.raises(PythonException, match=r"DataError: file:.*/b/bad\.jpg: not a readable"):
        read_images(everything).collect()
    dropped = spark.sparkContext.accumulator(0)
    assert len(read_images(everything, on_error="skip", skipped=dropped).collect()) == 3
    assert dropped.value == 1
    kept = read_images(everything, on_error="column").where("image IS NULL").collect()
    assert len(kept) == 1 and "not a readable" in kept[0].error


def means(height=4, width=4):
    """A model of files: the mean of each channel (red, green, blue)."""
    model = keras.Sequential([
        keras.Input((), dtype="string"), layers.DecodeImage(), layers.Resizing(height, width),
        layers.GlobalAveragePooling2D(),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    return model


def test_a_model_of_files_takes_images_of_any_size_and_raw_files(spark, folder):
    model = means()
    images = read_images([str(folder / "a"), str(folder / "b" / "smooth.jpg")])
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    files = files.option("pathGlobFilter", "[os]*[eh].*").load(str(folder)).orderBy("path")
    found = [
        [row.prediction for row in model.predict(frame, feature_cols=column).collect()]
        for frame, column in ((images.orderBy("image.origin"), "image"), (files, "content"))
    ]
    assert len(found[0]) == 2
    np.testing.assert_array_equal(found[0], found[1])
    want = model.predict([(folder / "a" / "one.png").read_bytes()], verbose=0)
    np.testing.assert_array_equal(found[0][0], want[0])
    images.createOrReplaceTempView("images")
    udf(model, "means", session=spark)
    rows = spark.sql("SELECT means(image) AS m FROM images ORDER BY image.origin").collect()
    np.testing.assert_array_equal([row.m for row in rows], found[0])


def test_a_fit_reads_images_of_several_sizes(spark, folder):
    frame = read_images([str(folder / "a"), str(folder / "b" / "smooth.jpg")])
    frame = frame.selectExpr("image", "array(1f, 2f, 3f) AS y")
    history = means().fit(frame, feature_cols="image", label_cols="y", verbose=0).history
    x = [(folder / name).read_bytes() for name in ("a/one.png", "b/smooth.jpg")]
    want = means().evaluate(x, np.array([[1.0, 2, 3]] * 2), verbose=0)
    assert history["loss"][0] == pytest.approx(want, rel=1e-5)


def test_an_image_whose_bytes_are_not_its_size_is_named(spark, folder):
    schema = read_images(str(folder)).schema
    rows = [
        (("x.png", 2, 2, 3, 16, bytearray(range(12))),),
        (("y.png", 2, 2, 3, 16, bytearray(5)),),
    ]
    frame = spark.createDataFrame(rows, schema).coalesce(1)
    with pytest.raises(PythonException, match=r"Row 1: column image: .* 2 x 2 x 3 bytes.*5 bytes"):
        means().predict(frame, feature_cols="image").collect()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"skipped": 0}, 'skipped counts what on_error="skip" drops. Received: on_error=.raise'),
        ({"size": 224}, r"size must be \(height, width\). Received: 224"),
        ({"channels": 2}, r"channels must be one of \(1, 3, 4, None\). Received: 2"),
        ({"on_error": "null"}, "on_error must be one of.*Received: 'null'"),
    ],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(ConfigError, match=message):
        read_images("/nowhere", **given)
