"""SavedModels and frozen graphs of TensorFlow open without it, predict the same, and train on."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import DATA, Golden, series
from hostile import assert_small

import zoo_keras as zk
from zoo_keras.errors import FileError, UnsupportedError, ZooKerasError
from zoo_keras.saving import protobuf as pb
from zoo_keras.saving.tensorflow import messages

GOLDEN = Golden("saved_models")
FILES = DATA / "saved_models"
METADATA = "keras_metadata.pb"
LOOP = "keras3_frames"  # a recurrent layer is a loop of the graph
OPEN = [name for name in GOLDEN.cases if name != LOOP]
OF_KERAS2 = [name for name in OPEN if name.startswith("keras2")]
GRAPHS = [name for name in OPEN if not name.startswith("keras2")]


def opened(name):
    if name.startswith("frozen"):
        return zk.saving.from_graph_def(FILES / f"{name}.pb")
    return zk.saving.load_model(FILES / name)


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def assert_predicts(model, arrays, key="predicted", tolerance=OUTPUT):
    got = model.predict_on_batch(joined(series(arrays, "x")))
    got = got if isinstance(got, list) else [got]
    assert_all_close(got, series(arrays, key), tolerance, range(len(got)))


@pytest.mark.parametrize("name", OPEN)
def test_a_model_predicts_what_keras_does(name):
    assert_predicts(opened(name), GOLDEN.arrays(name))


@pytest.mark.parametrize("name", OF_KERAS2)
def test_a_model_of_tf_keras_trains_on_with_its_optimizer(name):
    model, arrays = opened(name), GOLDEN.arrays(name)
    model.train_on_batch(joined(series(arrays, "x")), np.zeros_like(arrays["predicted0"]))
    assert_predicts(model, arrays, "continued", 5 * STEP)  # moving variances by n - 1


@pytest.mark.parametrize("name", [n for n in GRAPHS if n.endswith(("mobile", "siamese", "audio"))])
def test_a_graph_trains_on_and_is_saved(name, tmp_path):
    model, x = opened(name), joined(series(GOLDEN.arrays(name), "x"))
    y = np.zeros_like(GOLDEN.arrays(name)["predicted0"])
    model.compile(zk.optimizers.Adam(0.01), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before
    model.save(tmp_path / "model.keras")
    again = zk.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_all_unknown_ops_are_named_at_once():
    with pytest.raises(UnsupportedError, match=r"keras3_frames.*TensorListFromTensor.*While"):
        opened(LOOP)


def test_outputs_of_a_frozen_graph_may_be_chosen():
    path = FILES / "frozen_siamese.pb"
    body, _ = messages.body_and_library(pb.fields(memoryview(path.read_bytes())))
    gap = next(node.name for node in body.nodes.values() if node.kind == "Sub")
    assert zk.saving.from_graph_def(path, outputs=f"{gap}:0").output_shape == (None, 3)
    with pytest.raises(FileError, match="nothing makes 'no_such_node'"):
        zk.saving.from_graph_def(path, outputs=["no_such_node"])


def test_a_folder_that_lacks_its_variables_is_named(tmp_path):
    shutil.copytree(FILES / "keras3_siamese", tmp_path / "m")
    (tmp_path / "m" / "variables" / "variables.index").unlink()
    with pytest.raises(FileError, match=r"variables\.index"):
        zk.saving.load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["keras2_recommender", "keras3_siamese"])
@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index", METADATA])
def test_damaged_folders_are_typed_errors(name, part, tmp_path):
    shutil.copytree(FILES / name, tmp_path / "m")
    path, draw = tmp_path / "m" / part, random.Random(f"{name}{part}")
    if not path.exists():
        return
    whole = path.read_bytes()
    for _ in range(12):
        data = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256) if data else 0
        path.write_bytes(bytes(data))
        error = assert_small(lambda: zk.saving.load_model(tmp_path / "m"))
        assert error is None or isinstance(error, ZooKerasError), error
