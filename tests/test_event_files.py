"""TensorBoard and RemoteMonitor: what they write and send."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import urllib.parse
from collections import defaultdict

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import callbacks, optimizers
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.layers import Conv2D, Dense, Flatten

X = np.random.default_rng(0).random((16, 4), np.float32)
Y = X.sum(1, keepdims=True)


def regression():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), Dense(3, name="hidden"), Dense(1)])
    model.compile(optimizers.SGD(0.125), "mse", metrics=["mae"])
    return model


def fit(model, *given, **more):
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "validation_data": (X, Y), **more}
    return model.fit(X, Y, callbacks=list(given), **options).history


def written(folder):
    """(folder, tag) -> [(step, plugin, array)] of all event files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = defaultdict(list)
    for path in sorted(folder.glob("*/events*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                array = tensor_util.make_ndarray(value.tensor)
                plugin = value.metadata.plugin_data.plugin_name
                found[path.parent.name, value.tag].append((event.step, plugin, array))
    return found


def values(rows):
    return [float(array) for _, _, array in rows]


def test_epochs_are_written_as_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    logs = fit(regression(), callbacks.TensorBoard(tmp_path))
    found = written(tmp_path)
    scalars = {key for key, rows in found.items() if rows[0][1] == "scalars"}
    train = {("train", f"epoch_{name}") for name in ("loss", "mae", "learning_rate")}
    tests = {("validation", f"epoch_{name}") for name in ("loss", "mae")}
    tests |= {("validation", f"evaluation_{name}_vs_iterations") for name in ("loss", "mae")}
    assert scalars == train | tests
    for name in ("loss", "mae"):
        rows = found["train", f"epoch_{name}"]
        assert [step for step, _, _ in rows] == [0, 1]
        np.testing.assert_allclose(values(rows), logs[name], rtol=1e-6)
        np.testing.assert_allclose(
            values(found["validation", f"epoch_{name}"]), logs[f"val_{name}"], rtol=1e-6
        )
    assert values(found["train", "epoch_learning_rate"]) == [0.125, 0.125]
    vs_iterations = found["validation", "evaluation_loss_vs_iterations"]
    assert [step for step, _, _ in vs_iterations] == [2, 4]


@pytest.mark.parametrize(("every", "steps"), [("batch", [1, 2, 3, 4]), (3, [3])])
def test_batches_are_written_as_often_as_asked(tmp_path, every, steps):
    pytest.importorskip("tensorboard")
    board = callbacks.TensorBoard(tmp_path, update_freq=every, write_steps_per_second=True)
    fit(regression(), board)
    found = written(tmp_path)
    for name in ("batch_loss", "batch_mae", "batch_steps_per_second"):
        assert [step for step, _, _ in found["train", name]] == steps
    assert min(values(found["train", "epoch_steps_per_second"])) > 0


def test_weights_are_written_as_histograms_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), Conv2D(5, 3, name="conv"), Flatten(), Dense(1, name="last")]
    )
    model.compile("sgd", "mse")
    board = callbacks.TensorBoard(tmp_path, histogram_freq=2, write_images=True)
    x = np.ones((4, 4, 4, 1), np.float32)
    model.fit(x, np.ones((4, 1)), epochs=3, verbose=0, callbacks=[board])
    found = written(tmp_path)
    rows = next(rows for (_, tag), rows in found.items() if tag.endswith("conv/kernel/histogram"))
    assert [(step, plugin) for step, plugin, _ in rows] == [(0, "histograms"), (2, "histograms")]
    buckets, kernel = rows[-1][2], model.layers[0].kernel.numpy()
    assert buckets.shape == (30, 3)
    assert buckets[:, 2].sum() == kernel.size
    np.testing.assert_allclose([buckets[0, 0], buckets[-1, 1]], [kernel.min(), kernel.max()])
    pictures = next(rows for (_, tag), rows in found.items() if tag.endswith("conv/kernel/image"))
    width, height, *png = pictures[0][2]
    assert (width, height, len(png)) == (b"3", b"3", 3)
    assert all(picture.startswith(b"\x89PNG") for picture in png)


def test_a_weight_of_equal_numbers_has_a_histogram(tmp_path):
    pytest.importorskip("tensorboard")
    model = regression()
    model.optimizer.learning_rate = 0.0
    fit(model, callbacks.TensorBoard(tmp_path, histogram_freq=1), epochs=1)
    rows = next(r for (_, tag), r in written(tmp_path).items() if "hidden/bias" in tag)
    np.testing.assert_array_equal(rows[0][2][:, 2], [0] * 29 + [3])


def test_the_graph_of_layers_is_one_that_tensorboard_draws(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

    x = keras.Input((4,), name="pixels")
    model = keras.Model(x, Dense(1, name="out")(Dense(3, name="hidden")(x)))
    model.compile("sgd", "mse")
    fit(model, callbacks.TensorBoard(tmp_path))
    ((step, plugin, text),) = written(tmp_path)["train", "keras"]
    assert (step, plugin) == (0, "graph_keras_model")
    drawn = keras_model_to_graph_def(json.loads(text.item()))
    links = {
        node.name.split("/")[-1]: [i.split("/")[-1] for i in node.input] for node in drawn.node
    }
    assert links == {"pixels": [], "hidden": ["pixels"], "out": ["hidden"]}


class NoConfig(keras.layers.Layer):
    def __init__(self, thing):
        super().__init__()

    def call(self, x):
        return x


def test_a_model_that_cannot_be_serialised_is_trained_without_its_graph(tmp_path):
    pytest.importorskip("tensorboard")
    model = keras.Sequential([keras.Input((4,)), NoConfig(object()), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="the graph is left out.*write_graph=False"):
        fit(model, callbacks.TensorBoard(tmp_path))
    found = written(tmp_path)
    assert ("train", "keras") not in found
    assert len(found["train", "epoch_loss"]) == 2


def test_only_validation_is_written_by_evaluate(tmp_path):
    pytest.importorskip("tensorboard")
    model = regression()
    model.evaluate(X, Y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path)])
    assert {folder for folder, _ in written(tmp_path)} == {"validation"}


def test_files_are_closed_whatever_was_run(tmp_path):
    pytest.importorskip("tensorboard")
    model, board = regression(), callbacks.TensorBoard(tmp_path)

    class Fails(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("stop")

    class Writes(callbacks.TensorBoard):
        def on_predict_batch_end(self, batch, logs=None):
            self._file("train").scalars({"rows": len(logs["outputs"])}, batch)

    with pytest.raises(KeyError, match="stop"):
        fit(model, board, Fails())
    model.evaluate(X, Y, verbose=0, callbacks=[board])
    assert not board._files
    writes = Writes(tmp_path)
    model.predict(X, verbose=0, callbacks=[board, writes])
    assert not board._files and not writes._files
    assert values(written(tmp_path)["train", "rows"]) == [16.0]


def test_tensorboard_refuses_what_it_lacks_by_name(tmp_path):
    for name, value in (("profile_batch", 5), ("embeddings_freq", 1)):
        with pytest.raises(UnsupportedError, match=name):
            callbacks.TensorBoard(tmp_path, **{name: value})
    with pytest.raises(ConfigError, match="update_freq"):
        callbacks.TensorBoard(tmp_path, update_freq="step")


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(UnsupportedError, match=r"zoo_keras\[tensorboard\]"):
        fit(regression(), callbacks.TensorBoard(tmp_path))


# ---- RemoteMonitor -------------------------------------------------------------------------------


@pytest.fixture
def server():
    """(address, what was posted: path, headers, body)."""
    posted = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, dict(self.headers), body.decode()))
            if "babble" in self.path:
                self.wfile.write(b"no HTTP\r\n\r\n")
                return
            self.send_response(500 if "fail" in self.path else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    served = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", posted
    served.shutdown()
    thread.join()
    served.server_close()


def test_logs_are_posted_as_a_form(server):
    root, posted = server
    logs = fit(regression(), callbacks.RemoteMonitor(root, field="logs"))
    assert [path for path, _, _ in posted] == ["/publish/epoch/end/"] * 2
    sent = json.loads(urllib.parse.parse_qs(posted[1][2])["logs"][0])
    assert sent == {"epoch": 1, **{name: pytest.approx(v[1]) for name, v in logs.items()}}


def test_logs_are_posted_as_json_with_headers(server):
    root, posted = server
    monitor = callbacks.RemoteMonitor(
        root, "/fail", headers={"X-Token": "seven"}, send_as_json=True
    )
    monitor.on_epoch_end(3, {"loss": np.float32(0.5), "rows": np.array([1, 2])})
    ((path, headers, body),) = posted
    assert (path, headers["X-Token"], headers["Content-Type"]) == (
        "/fail", "seven", "application/json",
    )  # fmt: skip
    assert json.loads(body) == {"epoch": 3, "loss": 0.5, "rows": [1, 2]}


def test_a_server_that_is_not_there_or_speaks_no_http_is_a_warning(server):
    for root, path in (("http://127.0.0.1:1", "/"), (server[0], "/babble")):
        with pytest.warns(UserWarning, match="Could not reach RemoteMonitor"):
            callbacks.RemoteMonitor(root, path).on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ConfigError, match="root"):
        callbacks.RemoteMonitor("file:///etc")
