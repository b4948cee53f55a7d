"""Pipelines written for Analytics Zoo's NNFrames: what they compute, and how they fail."""

# ruff: noqa: F403, F405 - their own way to import
from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import Vectors
from pyspark.sql.functions import array, col, expr, udf
from pyspark.sql.types import DoubleType, StringType

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError
from zoo_keras.nnframes import *

pytestmark = pytest.mark.spark
RNG = np.random.default_rng(2)
COLOURS = {"cats": (200, 90, 60), "dogs": (70, 110, 190), "wolves": (60, 100, 200)}


@pytest.fixture
def spark(cluster2, sessions):
    return sessions.get("local-cluster[2,1,1024]")


@pytest.fixture
def local(local2, sessions):
    """Where a task fails once, not four times."""
    return sessions.get("local[2]")


@pytest.fixture
def photos(tmp_path):
    """Three folders of four images each, of several sizes; a file is called after its folder."""
    for kind, colour in COLOURS.items():
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(4):
            size = (40 + 8 * i, 52 - 4 * i, 3)
            pixels = np.clip(RNG.normal(colour, 25, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{kind}.{i}.jpg", quality=90)
    return tmp_path / "photos"


@pytest.fixture
def net_path(tmp_path):
    """A net as it might come from ImageNet: 224 x 224 images in, 1000 numbers out."""
    keras.utils.set_random_seed(3)
    net = keras.Sequential([
        keras.Input((224, 224, 3)), layers.AveragePooling2D(32), layers.Rescaling(1 / 128),
        layers.Flatten(), layers.Dense(1000, name="prob"),
    ])  # fmt: skip
    net.save(tmp_path / "net.keras")
    return str(tmp_path / "net.keras")


@pytest.mark.filterwarnings("ignore:Arrow optimization failed")  # functions of rows, no pandas
def test_a_published_transfer_learning_program_runs_as_it_is(
    spark, photos, net_path, tmp_path, capsys
):
    image_path = ",".join(f"file://{photos}/{kind}" for kind in COLOURS)
    model_path = net_path

    sc = init_nncontext("transfer learning")
    images = NNImageReader.readImages(image_path, sc, resizeH=300, resizeW=300, image_codec=1)
    get_name = udf(lambda row: row[0].split("/")[-1], StringType())
    get_label = udf(lambda name: 1.0 if name.startswith("cats") else 2.0, DoubleType())
    labelled = images.withColumn("name", get_name(col("image")))
    labelled = labelled.withColumn("label", get_label(col("name")))

    transformer = ChainedPreprocessing(
        [RowToImageFeature(), ImageResize(256, 256), ImageCenterCrop(224, 224),
         ImageChannelNormalize(123.0, 117.0, 104.0), ImageMatToTensor(), ImageFeatureToTensor()]
    )  # fmt: skip
    pretrained = NNModel(Model.loadModel(model_path), transformer) \
        .setFeaturesCol("image") \
        .setPredictionCol("embedding")  # fmt: skip
    for layer in pretrained.model.layers:
        print(layer.name)

    head = Sequential().add(Linear(1000, 2)).add(LogSoftMax())
    classifier = NNClassifier(head, ClassNLLCriterion(), SeqToTensor([1000])) \
        .setOptimMethod(Adam(learningrate=0.002)) \
        .setBatchSize(4) \
        .setMaxEpoch(25) \
        .setFeaturesCol("embedding") \
        .setCachingSample(False)  # fmt: skip
    pipeline = Pipeline(stages=[pretrained, classifier])
    fitted = pipeline.fit(labelled)
    predictions = fitted.transform(labelled).cache()
    evaluator = MulticlassClassificationEvaluator(
        labelCol="label", predictionCol="prediction", metricName="accuracy"
    )
    assert evaluator.evaluate(predictions) == 1.0

    assert "prob" in capsys.readouterr().out
    assert dict(predictions.dtypes)["embedding"] == "array<float>"
    rows = predictions.select("image", "name", "embedding", "prediction").collect()
    assert {row.prediction for row in rows} == {1.0, 2.0} and len(rows) == 12
    check_embedding(rows[0], net_path)
    fitted.write().overwrite().save(str(tmp_path / "fitted"))
    again = PipelineModel.load(str(tmp_path / "fitted")).transform(labelled)
    want = {row.name: row.prediction for row in rows}
    assert {r.name: r.prediction for r in again.select("name", "prediction").collect()} == want
    stage = keras.saving.load_model(next((tmp_path / "fitted" / "stages").glob("0_*/model.keras")))
    assert stage.layers[-1].name == "prob"  # an ordinary file of the net
    predictions.unpersist()


def check_embedding(row, net_path):
    """The chain by hand: blue, green, red, less their means, from the middle of 256 x 256."""
    image = row.image
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    middle = np.asarray(layers.Resizing(256, 256)(pixels[None]))[0, 16:240, 16:240]
    x = middle.astype(np.float32) - np.float32([104, 117, 123])
    want = keras.saving.load_model(net_path).predict(x[None], verbose=0)[0]
    np.testing.assert_allclose(row.embedding, want, atol=0.05)


# ---- labels --------------------------------------------------------------------------------------

POINTS = RNG.normal(size=(40, 2))
CLASSES = 1.0 + (POINTS[:, 0] > 0) + (POINTS[:, 1] > 0)


def points(session, first=1.0):
    rows = [([float(v) for v in x], float(c - 1 + first)) for x, c in zip(POINTS, CLASSES)]
    return session.createDataFrame(rows, "features array<double>, label double").coalesce(2)


def three():
    keras.utils.set_random_seed(1)
    return Sequential().add(Linear(2, 16)).add(ReLU()).add(Linear(16, 3)).add(LogSoftMax())


def test_labels_count_from_one_or_from_zero(spark):
    for first in (1.0, 0.0):
        frame = points(spark, first)
        classifier = NNClassifier(three(), ClassNLLCriterion(), [2], zero_based_label=not first)
        classifier.setBatchSize(8).setMaxEpoch(20).setOptimMethod(Adam(learningrate=0.05))
        made = classifier.fit(frame)
        found = [(row.prediction, row.label) for row in made.transform(frame).collect()]
        assert np.mean([p == label for p, label in found]) > 0.9
        assert {p for p, _ in found} == {first, first + 1, first + 2}
        assert made.getZeroBasedLabel() is (not first)
    probability = made.setProbabilityCol("p").transform(frame).first().p.toArray()
    assert probability.sum() == pytest.approx(1)


SHAPES = ["label", "array(label)", "array_to_vector(array(label))", "array(array(label))"]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_estimator_counts_classes_as_a_classifier_does(spark, shape):
    """What it learns is the same, however labels count."""
    found = []
    net = keras.Sequential(three().layers[:-1])  # logits
    for criterion in (ClassNLLCriterion(), CrossEntropyCriterion()):
        for first in (1.0, 0.0):
            frame = points(spark, first)
            label = array_to_vector(array("label")) if "vector" in shape else expr(shape)
            frame = frame.withColumn("label", label)
            behind = [LogSoftMax()] if isinstance(criterion, ClassNLLCriterion) else []
            behind += [layers.Reshape((1, 3))] if "array(array" in shape else []
            model = keras.Sequential([*net.layers, *behind])
            estimator = NNEstimator(model, criterion, [2], zero_based_label=not first)
            estimator.setBatchSize(20).setMaxEpoch(2).setOptimMethod(Adam(learningrate=0.05))
            found.append(estimator.fit(frame).history["loss"])
    assert found[0] == found[1] and found[2] == found[3]
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)


def test_an_estimator_names_a_label_that_is_no_class(local):
    stage = NNEstimator(three(), ClassNLLCriterion(), [2]).setMaxEpoch(1).setBatchSize(8)
    with pytest.raises(Exception, match=r"Column label: expected classes from 1 to 3. Received: 0"):
        stage.fit(points(local, 0.0))
    with pytest.raises(DataError, match="a label is negative, or not below the number of classes"):
        stage.fit(points(local, 0.0).selectExpr("features", "array(label) AS label"))


def test_one_output_has_the_classes_0_and_1(spark):
    frame = points(spark).selectExpr("features", "CAST(label = 3 AS DOUBLE) AS label")
    net = Sequential().add(Linear(2, 1)).add(Sigmoid())
    made = NNClassifier(net, BCECriterion(), [2]).setBatchSize(20).setMaxEpoch(1).fit(frame)
    p = made.model.predict(POINTS, verbose=0)[:, 0]
    for threshold in (0.5, float(np.median(p))):
        found = [row.prediction for row in made.setThreshold(threshold).transform(frame).collect()]
        np.testing.assert_array_equal(found, p > threshold)


@pytest.mark.parametrize(
    ("label", "zero", "message"),
    [
        (
            "label - 1",
            False,
            r"Column label: expected classes from 1 to 3. Received: 0.0.*ZeroBased",
        ),
        ("label", True, r"Column label: expected classes from 0 to 2. Received: 3.0. Mend"),
        ("label + 0.5", False, r"from 1 to 3. Received: \d.5"),
        ("CASE WHEN label < 3 THEN label END", False, r"from 1 to 3. Received: null"),
    ],
)
def test_a_label_that_is_no_class_is_named(local, label, zero, message):
    frame = points(local).selectExpr("features", f"{label} AS label")
    stage = NNClassifier(three(), ClassNLLCriterion(), [2], zero_based_label=zero).setMaxEpoch(1)
    with pytest.raises(Exception, match=message):
        stage.setBatchSize(8).fit(frame)


# ---- setters -------------------------------------------------------------------------------------


def test_setters_become_arguments_of_fit(spark, tmp_path):
    frame = points(spark).selectExpr("features", "features[0] + features[1] AS label")
    net = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    estimator = (
        NNEstimator(net, MSECriterion(), [2], [1])
        .setBatchSize(16)
        .setEndWhen(TriggerOr(MaxIteration(5), MinLoss(-1.0)))
        .setLearningRate(0.5)
        .setLearningRateDecay(0.1)
        .setGradientClippingByL2Norm(0.01)
        .setValidation(EveryEpoch(), frame, [MAE(), Loss()], 8)
        .setCheckpoint(str(tmp_path), SeveralIteration(2), isOverWrite=False)
    )
    made = estimator.fit(frame)
    assert set(made.history) == {"loss", "val_loss", "MAE", "val_MAE"}
    assert len(made.history["loss"]) == 2  # three steps an epoch, and five in all
    names = sorted(path.name for path in tmp_path.glob("*.keras"))
    assert names == ["model.2.keras", "model.4.keras"]
    moved = np.concatenate([
        w.ravel() - v.ravel() for w, v in zip(made.model.get_weights(), net.get_weights())
    ])  # fmt: skip
    rates = [0.5 / (1 + 0.1 * t) for t in range(5)]
    assert 0.8 < np.linalg.norm(moved) / (0.01 * sum(rates)) <= 1.0001  # gradients differ a little
    assert dict(made.transform(frame).dtypes)["prediction"] == "double"
    assert made.getBatchSize() == 128 and estimator.getMaxEpoch() == 50
    with pytest.raises(ConfigError, match=f"Stage {estimator.uid} .*setValidation was given"):
        estimator.save(str(tmp_path / "estimator"))


SETTERS = [
    ("setEndWhen", "getEndWhen", MaxIteration(3), None),
    ("setCachingSample", "isCachingSample", False, True),
    ("setDataCacheLevel", "getDataCacheLevel", "DISK_AND_DRAM", "DRAM"),
    ("setLearningRateDecay", "getLearningRateDecay", 0.1, 0.0),
    ("setTrainSummary", "getTrainSummary", TrainSummary("logs", "app"), None),
    ("setValidationSummary", "getValidationSummary", ValidationSummary("logs", "app"), None),
    ("setMaxEpoch", "getMaxEpoch", 7, 50),
    ("setBatchSize", "getBatchSize", 16, 1),
    ("setLearningRate", "getLearningRate", 0.5, None),
    ("setOptimMethod", "getOptimMethod", keras.optimizers.Adam(), None),
]


@pytest.mark.parametrize(("put", "get", "value", "before"), SETTERS)
def test_what_a_setter_was_given_is_known(put, get, value, before):
    estimator = NNEstimator(three(), MSECriterion())
    if put != "setLearningRate":  # the optimizer's
        assert getattr(estimator, get)() == before
    assert getattr(getattr(estimator, put)(value), get)() is value


def test_a_checkpoint_is_a_path_a_trigger_and_whether_it_is_overwritten():
    estimator, trigger = NNEstimator(three(), MSECriterion()), EveryEpoch()
    assert estimator.getCheckpoint() is None
    estimator.setCheckpoint("hdfs:///runs", trigger, False)
    assert estimator.getCheckpoint() == ("hdfs:///runs", trigger, False)


def test_summaries_are_written_by_the_callback_for_tensorboard(monkeypatch):
    make = lambda folder, write_graph: folder  # noqa: E731
    monkeypatch.setattr(keras.callbacks, "TensorBoard", make, raising=False)
    estimator = NNEstimator(three(), MSECriterion())
    estimator.setTrainSummary(TrainSummary("logs", "app"))
    estimator.setValidationSummary(ValidationSummary("logs", "app"))
    assert estimator._callbacks() == ["logs/app"]


def test_vectors_feed_several_inputs(spark):
    a, b = keras.Input((1,)), keras.Input((2,))
    net = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([b, a])))
    rows = [(Vectors.dense(x), float(x[0])) for x in RNG.normal(size=(8, 3))]
    frame = spark.createDataFrame(rows, ["features", "label"])
    made = NNEstimator(net, MSECriterion(), [[1], [2]], [1]).setMaxEpoch(1).fit(frame)
    found = [row.prediction for row in made.transform(frame).collect()]
    x = np.array([row[0].toArray() for row in rows])
    want = made.model.predict([x[:, :1], x[:, 1:]], verbose=0)[:, 0]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_a_step_that_draws_trains_on_images_of_one_size(spark, photos):
    images = NNImageReader.readImages(f"file://{photos}", None, 2, 20, 24, 1)
    frame = images.selectExpr("image", "IF(image.origin LIKE '%cats%', 1.0D, 2.0D) AS label")
    assert frame.rdd.getNumPartitions() >= 2
    chain = ChainedPreprocessing(
        [RowToImageFeature(), ImageRandomCrop(16, 12), ImageColorJitter(),
         ImageRandomPreprocessing(ImageHFlip(), 0.5), ImageChannelNormalize(0, 0, 0, 255, 255, 255),
         ImageMatToTensor(to_RGB=True)]
    )  # fmt: skip
    net = keras.Sequential([
        keras.Input((12, 16, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2)
    ])  # fmt: skip
    classifier = NNClassifier(net, CrossEntropyCriterion(), chain).setFeaturesCol("image")
    classifier.setBatchSize(6).setMaxEpoch(40).setOptimMethod(SGD(2.0, momentum=0.5))
    scored = classifier.fit(frame).transform(frame).collect()
    assert np.mean([row.prediction == row.label for row in scored]) > 0.9
    mixed = NNImageReader.readImages(f"file://{photos}").selectExpr("image", "1.0D AS label")
    with pytest.raises(Exception, match=r"images of .* bytes, as the first. Received"):
        classifier.setMaxEpoch(1).fit(mixed)


def test_an_estimator_is_saved_with_all_that_it_knows(spark, tmp_path):
    estimator = NNClassifier(three(), ClassNLLCriterion(size_average=False), [2], True)
    estimator.setOptimMethod(SGD(0.1, momentum=0.9)).setMaxEpoch(2).setBatchSize(8)
    estimator.setConstantGradientClipping(-1.0, 1.0).setDataCacheLevel("DISK_AND_DRAM")
    estimator.save(str(tmp_path / "estimator"))
    there = NNClassifier.load(str(tmp_path / "estimator"))
    assert there.getDataCacheLevel() == "DISK_AND_DRAM" and there.isCachingSample()
    frame = points(spark, 0.0)
    histories = [stage.fit(frame).history for stage in (estimator, there)]
    with pytest.raises(ConfigError, match="be saved with what setTrainSummary or"):
        there.setTrainSummary(TrainSummary("logs", "app")).save(str(tmp_path / "no"))
    assert histories[0] == histories[1] and there.getMaxEpoch() == 2
    (path,) = (tmp_path / "estimator" / "metadata").glob("part-*")
    assert (
        json.loads(path.read_text().splitlines()[0])["class"] == "zoo_keras.nnframes.NNClassifier"
    )


REFUSED = [
    (lambda: NNClassifier(three(), None, [2]), ConfigError, "has no criterion"),
    (lambda: NNClassifier(three(), ClassNLLCriterion(), [3]), ShapeError, "does not fit Model"),
    (lambda: NNClassifier(None, ClassNLLCriterion(), [2]), ConfigError, "no Keras model"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_a_stage_that_cannot_work_says_so_before_it_trains(local, make, kind, message):
    stage = make()
    with pytest.raises(kind, match=f"Stage {stage.uid}.*{message}"):
        stage.fit(points(local))


WRONG = [
    (lambda s: s.setValidation(SeveralIteration(3), None, []), UnsupportedError, "EveryEpoch"),
    (lambda s: s.setConstantGradientClipping(-1, 2), UnsupportedError, "-max and max"),
    (lambda s: s.setDataCacheLevel("PMEM"), UnsupportedError, "Received: \"?'?PMEM"),
    (lambda s: s.setEndWhen(7), ConfigError, "trigger is needed"),
    (lambda s: s.setTrainSummary("logs"), ConfigError, "takes a TrainSummary. Received: 'logs'"),
    (lambda s: NNModel(three()).setModel("net"), ConfigError, "must be a Keras model"),
    (lambda s: NNClassifierModel(three()).setThreshold(1), ConfigError, "between 0 and 1"),
    (lambda s: NNImageReader.readImages("/x", None, resizeH=3), ConfigError, "Pass both"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_what_setters_cannot_do_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(NNEstimator(three(), MSECriterion()))
