"""Keras models as Spark ML stages: what they compute, and what goes in and out of them."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql.types import StructType

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import ClusterError, ConfigError, DataError
from zoo_keras.spark.ml import (
    KerasClassificationModel,
    KerasClassifier,
    KerasEstimator,
    KerasModel,
    KerasRegressionModel,
    KerasRegressor,
)

pytestmark = pytest.mark.spark
ROWS = 60
RNG = np.random.default_rng(7)
X = RNG.normal(size=(ROWS, 2)).astype(np.float32)
LABEL = (X.sum(axis=1) > 0).astype(np.float64)
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.fixture
def spark(cluster2, sessions):
    return sessions.get("local-cluster[2,1,1024]")


@pytest.fixture
def frame(spark):
    return frame_of(spark)


@pytest.fixture
def local_frame(local2, sessions):
    """Where a task fails once, not four times."""
    return frame_of(sessions.get("local[2]"))


def frame_of(session):
    """a, b, label, held (every fourth row) and weight, in two partitions."""
    rows = [
        (float(a), float(b), float(label), i % 4 == 0, 1.0 + i % 3)
        for i, ((a, b), label) in enumerate(zip(X, LABEL, strict=True))
    ]
    schema = "a double, b double, label double, held boolean, weight double"
    return session.createDataFrame(rows, schema).coalesce(2)


def net(units=1, activation=None, loss="mse", **compiled):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(units, activation=activation)])
    model.compile(keras.optimizers.SGD(0.1), loss, **compiled)
    return model


def column(frame, name):
    values = [row[name] for row in frame.select(name).collect()]
    return np.array([v.toArray() if hasattr(v, "toArray") else v for v in values])


# ---- columns that Spark's evaluators take --------------------------------------------------------


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def two(p):
    return np.concatenate([1 - p, p], axis=1)


# units, activation, loss, what `probability` and `rawPrediction` are of the outputs
CLASSIFIERS = [
    (3, "softmax", "sparse_categorical_crossentropy", lambda z: z, lambda z: z),
    (3, None, SPARSE, softmax, lambda z: z),
    (1, "sigmoid", "binary_crossentropy", two, two),
    (1, None, BINARY, lambda z: two(1 / (1 + np.exp(-z))), lambda z: np.hstack([-z, z])),
]


@pytest.mark.parametrize(("units", "activation", "loss", "probability", "raw"), CLASSIFIERS)
def test_a_classifier_adds_what_its_outputs_mean(frame, units, activation, loss, probability, raw):
    model = net(units, activation, loss)
    stage = KerasClassificationModel(model=model, featuresCols=["a", "b"])
    scored = stage.transform(frame).cache()
    assert scored.columns == [*frame.columns, "rawPrediction", "probability", "prediction"]
    outputs = model.predict(X, verbose=0).astype(np.float64)
    found = column(scored, "probability")
    np.testing.assert_allclose(found, probability(outputs), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(column(scored, "rawPrediction"), raw(outputs), rtol=1e-6)
    np.testing.assert_array_equal(column(scored, "prediction"), found.argmax(axis=1))
    assert stage.numClasses == max(2, units)
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)
    assert accuracy == pytest.approx((found.argmax(axis=1) == LABEL).mean())
    log_loss = MulticlassClassificationEvaluator(metricName="logLoss").evaluate(scored)
    assert log_loss == pytest.approx(-np.log(found[range(ROWS), LABEL.astype(int)]).mean())
    if units == 1:
        area = BinaryClassificationEvaluator().evaluate(scored)
        ranks = found[:, 1].argsort().argsort()[LABEL == 1] + 1
        positive, negative = len(ranks), ROWS - len(ranks)
        want = (ranks.sum() - positive * (positive + 1) / 2) / (positive * negative)
        assert area == pytest.approx(want)


def test_thresholds_choose_the_class_as_in_spark(frame):
    model = net(3, "softmax", "sparse_categorical_crossentropy")
    thresholds = [0.7, 0.0, 0.1]
    stage = KerasClassificationModel(
        model=model, featuresCols=["a", "b"], thresholds=thresholds, rawPredictionCol=""
    )
    scored = stage.transform(frame)
    assert "rawPrediction" not in scored.columns
    assert set(column(scored, "prediction")) == {1.0}  # the largest p / t, where t is 0
    stage.setThresholds([0.9, 0.5, 0.1])
    want = (model.predict(X, verbose=0) / [0.9, 0.5, 0.1]).argmax(axis=1)
    np.testing.assert_array_equal(column(stage.transform(frame), "prediction"), want)


def test_outputs_become_doubles_vectors_or_nested_arrays(frame):
    x = keras.Input((2,))
    model = keras.Model(x, [layers.Dense(1)(x), layers.Dense(3)(x), layers.Reshape((1, 2))(x)])
    stage = KerasModel(
        model=model, featuresCols=["a", "b"], predictionCols=["one", "three", "deep"]
    )
    scored = stage.transform(frame)
    types = {f.name: f.dataType.simpleString() for f in scored.schema.fields[-3:]}
    assert types == {"one": "double", "three": "vector", "deep": "array<array<float>>"}
    for name, want in zip(types, model.predict(X, verbose=0), strict=True):
        want = want[:, 0] if name == "one" else want
        np.testing.assert_array_equal(column(scored, name), want.astype(np.float64))
    plain = stage.copy({stage.vectors: False}).transform(frame)
    assert plain.schema["three"].dataType.simpleString() == "array<float>"
    deviation = KerasRegressionModel(model=net(), featuresCols=["a", "b"]).transform(frame)
    evaluator = RegressionEvaluator(metricName="mae")
    want = np.abs(column(deviation, "prediction") - LABEL).mean()
    assert evaluator.evaluate(deviation) == pytest.approx(want)


def test_inputs_are_columns_of_any_kind(spark):
    words = layers.StringLookup(vocabulary=["red", "green"])
    inputs = {
        "word": keras.Input((), dtype="string", name="word"),
        "pixels": keras.Input((1, 2, 3), name="pixels"),
        "numbers": keras.Input((3,), name="numbers"),
        "pair": keras.Input((2,), name="pair"),
    }
    word = layers.Reshape((1,))(keras.ops.cast(words(inputs["word"]), "float32"))
    flat = layers.Flatten()(inputs["pixels"])
    model = keras.Model(
        inputs, layers.Concatenate()([word, flat, inputs["numbers"], inputs["pair"]])
    )
    pixels = ("", 1, 2, 3, 16, bytearray(range(6)))
    rows = [
        ("green", pixels, Vectors.sparse(3, [2], [5.0]), 1.0, 2),
        ("blue", pixels, Vectors.dense(1.0, 2.0, 3.0), 3.0, 4),
    ]
    image = StructType().add("origin", "string").add("height", "integer").add("width", "integer")
    image = image.add("nChannels", "integer").add("mode", "integer").add("data", "binary")
    schema = StructType().add("word", "string").add("image", image).add("vector", VectorUDT())
    frame = spark.createDataFrame(rows, schema.add("c", "double").add("d", "integer"))
    cols = {"word": "word", "pixels": "image", "numbers": "vector", "pair": ["c", "d"]}
    found = column(KerasModel(model=model, featuresCols=cols).transform(frame), "prediction")
    want = [[2, *range(6), 0, 0, 5, 1, 2], [0, *range(6), 1, 2, 3, 3, 4]]
    np.testing.assert_array_equal(found, want)


def test_a_stream_is_scored_by_a_stage(spark):
    stream = spark.readStream.format("rate").load().selectExpr("CAST(value AS FLOAT) AS a")
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2, activation="softmax")])
    scored = KerasClassificationModel(model=model, featuresCol="a").transform(stream)
    assert scored.isStreaming and scored.columns == [
        "a",
        "rawPrediction",
        "probability",
        "prediction",
    ]


# ---- fits ----------------------------------------------------------------------------------------


def test_a_fit_is_that_of_the_model_and_trains_a_copy(frame):
    model = net(1, "sigmoid", "binary_crossentropy", metrics=["accuracy"])
    before = model.get_weights()
    want = keras.models.clone_model(model)
    want.set_weights(before)
    want.optimizer.learning_rate = 0.5
    history = want.fit(
        frame, feature_cols=["a", "b"], label_cols="label", weight_col="weight", batch_size=16,
        epochs=2, seed=3, class_weight={0: 2.0, 1: 1.0}, verbose=0,
    )  # fmt: skip
    estimator = KerasClassifier(
        model=model, featuresCols=["a", "b"], weightCol="weight", batchSize=16, maxIter=2, seed=3,
        learningRate=0.5, fitOptions={"class_weight": {"0": 2.0, "1": 1.0}},
    )  # fmt: skip
    made = estimator.fit(frame)
    assert made.history == history.history
    for mine, theirs in zip(made.model.get_weights(), want.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert made.uid == estimator.uid and made.getFeaturesCols() == ["a", "b"]
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.1)


class Notes(keras.callbacks.Callback):
    """Notes epochs in a list, and counts them."""

    def __init__(self):
        super().__init__()
        self.epochs, self.count = [], 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.count += 1


def test_rows_that_validate_stop_training_early(frame, tmp_path):
    path, notes = tmp_path / "best.keras", Notes()
    estimator = KerasRegressor(
        model=net(), featuresCols=["a", "b"], validationIndicatorCol="held", weightCol="weight",
        maxIter=9, learningRate=9.0, patience=2, checkpointPath=str(path), callbacks=[notes],
    )  # fmt: skip
    made = estimator.fit(frame)  # with such a rate it gets worse and worse
    assert len(made.history["val_loss"]) == 3 and np.argmin(made.history["val_loss"]) == 0
    assert notes.epochs == [0, 1, 2] and notes.count == 0  # each fit has a copy
    held = np.arange(ROWS) % 4 == 0
    weights = 1.0 + np.arange(ROWS)[held] % 3
    loss = made.model.evaluate(X[held], LABEL[held], sample_weight=weights, verbose=0)
    assert made.history["val_loss"][0] == pytest.approx(loss, rel=1e-5)  # the best is back
    saved = keras.saving.load_model(path)
    np.testing.assert_array_equal(saved.get_weights()[0], made.model.get_weights()[0])


def test_several_inputs_and_outputs_train(frame):
    a, b = keras.Input((1,), name="a"), keras.Input((1,), name="b")
    both = layers.Concatenate()([a, b])
    model = keras.Model([a, b], [layers.Dense(1, name="u")(both), layers.Dense(1, name="v")(both)])
    model.compile("sgd", "mse")
    estimator = KerasEstimator(
        model=model, featuresCols=["a", "b"], labelCols={"u": "label", "v": "weight"},
        predictionCols=["u", "v"], validationSplit=0.25,
    )  # fmt: skip
    scored = estimator.fit(frame).transform(frame)
    assert [f.dataType.simpleString() for f in scored.schema.fields[-2:]] == ["double", "double"]
    assert {"u_loss", "v_loss", "val_u_loss"} <= set(estimator.fit(frame).history)


# ---- Params --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KerasEstimator, KerasClassifier, KerasRegressor])
def test_params_are_spark_s(kind):
    stage = kind(maxIter=3, labelCol="y")
    assert stage.getMaxIter() == 3 and stage.getLabelCol() == "y" and stage.getBatchSize() == 32
    assert stage.setBatchSize(8).setParams(seed=5) is stage
    assert (stage.getBatchSize(), stage.getSeed()) == (8, 5)
    assert "maxIter: max number of iterations (>= 0). (default: 1, current: 3)" in (
        stage.explainParams()
    )
    other = stage.copy({stage.maxIter: 4})
    assert (other.getMaxIter(), stage.getMaxIter(), other.uid) == (4, 3, stage.uid)
    for param in stage.params:
        name = param.name[0].upper() + param.name[1:]
        assert hasattr(stage, f"get{name}") and hasattr(stage, f"set{name}"), name


WRONG = [
    (lambda: KerasEstimator(epochs=3), r"unknown Params. Received: \['epochs'\]. Known .*maxIter"),
    (lambda: KerasEstimator(model="net"), "\"model\" must be a Keras model. Received: 'net'"),
    (lambda: KerasEstimator(featuresCols="a"), "must be a list of names.*Received: 'a'"),
    (lambda: KerasEstimator(callbacks=[3]), '"callbacks" must hold Keras callbacks. Received: 3'),
    (lambda: KerasEstimator(fitOptions={"epochs": 3}), r"Received: \['epochs'\].*class_weight"),
    (lambda: KerasEstimator(fitOptions={"wire": np.float32(1)}), "plain numbers.*Received"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_a_wrong_param_is_named_at_once(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# ---- stages that cannot work ---------------------------------------------------------------------


REFUSED = [
    ({}, ConfigError, "no Keras model. Received: none"),
    ({"model": keras.Sequential([keras.Input((2,)), layers.Dense(1)])}, ValueError, "compile"),
    ({"model": net(2)}, ConfigError, r"one number a row.*Received: output shape \(None, 2\)"),
    ({"model": net(), "featuresCol": "a", "featuresCols": ["a"]}, ConfigError, "exclude each"),
    ({"model": net(), "featuresCols": ["a", "z"]}, ConfigError, r"no column \['z'\]"),
    (
        {"model": net(), "validationIndicatorCol": "a"},
        ConfigError,
        "boolean.*Received: 'a', double",
    ),
    ({"model": net(), "numTrainWorkers": 5}, ClusterError, "5 task slots"),
]


@pytest.mark.parametrize(("params", "kind", "message"), REFUSED)
def test_a_fit_that_cannot_work_names_its_stage(frame, params, kind, message):
    stage = KerasRegressor(**{"featuresCols": ["a", "b"], **params}
                           if "featuresCol" not in params else params)  # fmt: skip
    with pytest.raises(kind, match=f"Stage {stage.uid}: .*{message}"):
        Pipeline(stages=[stage]).fit(frame)


def test_a_bare_model_in_a_pipeline_says_which_stage_to_use(frame):
    with pytest.raises(ConfigError, match=r"feature_cols and label_cols.*KerasEstimator\(model="):
        Pipeline(stages=[net()]).fit(frame)


def test_a_null_among_marks_of_validation_is_refused(local_frame):
    marked = local_frame.selectExpr("*", "CASE WHEN a > -9 THEN NULL ELSE held END AS mark")
    stage = KerasRegressor(model=net(), featuresCols=["a", "b"], validationIndicatorCol="mark")
    with pytest.raises(Exception, match=r"Column mark: expected true or false.*Received: null"):
        stage.fit(marked)


def test_a_bad_row_names_the_stage_that_met_it(local_frame):
    stage = KerasModel(model=net(), featuresCols=["a", "b"], predictionCol="p")
    bad = local_frame.selectExpr("CASE WHEN label = 1 THEN a END AS a", "b", "label").coalesce(1)
    first = int(np.argmax(LABEL == 0))
    where = f"Stage {stage.uid}: Partition 0: Row {first}: column a: expected numbers. Received: nu"
    with pytest.raises(PythonException, match=where):
        stage.transform(bad).collect()
    assert len(stage.setFillValue(0.0).transform(bad).collect()) == ROWS
    trained = KerasRegressor(model=net(), featuresCols=["a", "b"])
    with pytest.raises(DataError, match=f"Stage {trained.uid}: .*column a.*Received: null"):
        trained.fit(bad)


BAD_ROWS = [
    (lambda: KerasModel(model=net(2)), "array<float>"),
    (lambda: KerasModel(model=net(2), vectors=False), "vector"),
    (lambda: KerasRegressionModel(model=net(1)), "double"),
    (lambda: KerasClassificationModel(model=net(3), fromLogits=True), "three classes"),
    (lambda: KerasClassificationModel(model=net(1, "sigmoid"), thresholds=[0.4, 0.6]), "one unit"),
]


@pytest.mark.parametrize("make", [make for make, _ in BAD_ROWS], ids=[name for _, name in BAD_ROWS])
def test_what_is_wrong_with_a_row_goes_to_a_column_if_there_is_one(local_frame, make):
    stage = make().setFeaturesCols(["a", "b"]).setErrorCol("wrong")
    some = local_frame.selectExpr("CASE WHEN label = 1 THEN a END AS a", "b", "label").coalesce(1)
    made = stage.transform(some)
    added = [name for name in made.columns if name not in ("a", "b", "label", "wrong")]
    bad = {row.label: row for row in made.orderBy("label").collect()}
    assert [bad[0.0][name] for name in added] == [None] * len(added) and bad[1.0].wrong is None
    assert "column a: expected numbers. Received: null" in bad[0.0].wrong
    good = made.where("label = 1").drop("wrong").collect()
    stage.clear(stage.errorCol)
    assert good == stage.transform(some.where("label = 1")).collect() and len(good) > 9


def test_columns_that_are_there_are_not_overwritten(frame):
    assembled = VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(frame)
    stage = KerasClassificationModel(model=net(1), probabilityCol="held")
    with pytest.raises(ConfigError, match=rf"Stage {stage.uid}: .*columns \['held'\] twice"):
        stage.transform(assembled)
    wrong = KerasClassificationModel(model=net(3), thresholds=[0.5])
    with pytest.raises(ConfigError, match=r"thresholds must be 3 numbers.*Received: \[0.5\]"):
        wrong.transform(assembled)
    twice = KerasModel(model=net(), predictionCol="p", errorCol="p")
    with pytest.raises(ConfigError, match=r"columns \['p', 'p'\] twice"):
        twice.transform(assembled)
    several = KerasModel(model=net(), predictionCols=["u", "v"])
    with pytest.raises(ConfigError, match=r"1 outputs.*Received: columns \['u', 'v'\]"):
        several.transform(assembled)
