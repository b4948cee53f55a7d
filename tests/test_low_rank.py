"""Layers with factors of low rank: what trains, what files keep, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError, UnsupportedError

RNG = np.random.default_rng(7)
KINDS = {
    "dense": (lambda **kw: layers.Dense(3, **kw), (4,), "kernel"),
    "einsum": (lambda **kw: layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="e", **kw),
               (3, 4), "kernel"),
    "conv1d": (lambda **kw: layers.Conv1D(3, 2, padding="causal", **kw), (6, 2), "kernel"),
    "conv2d": (lambda **kw: layers.Conv2D(3, 3, padding="same", **kw), (6, 6, 2), "kernel"),
    "conv3d": (lambda **kw: layers.Conv3D(2, 2, **kw), (4, 4, 4, 1), "kernel"),
    "embedding": (lambda **kw: layers.Embedding(10, 3, **kw), (5,), "embeddings"),
}  # fmt: skip


def inputs(kind):
    shape = KINDS[kind][1]
    if kind == "embedding":
        return RNG.integers(0, 10, (8, *shape)).astype("int32")
    return RNG.normal(size=(8, *shape)).astype("float32")


def model_of(kind, **options):
    make, shape, _ = KINDS[kind]
    dtype = "int32" if kind == "embedding" else "float32"
    return zk.Sequential([zk.Input(shape, dtype=dtype), make(**options)])


def trained(kind):
    model, x = model_of(kind), inputs(kind)
    model.layers[0].enable_lora(2, lora_alpha=3.0)
    model.compile(zk.optimizers.SGD(0.05), "mse")
    target = np.zeros(model.predict_on_batch(x).shape, "float32")
    model.fit(x, target, epochs=2, batch_size=4, verbose=0)
    return model, x


@pytest.mark.parametrize("kind", KINDS)
def test_the_factors_train_and_the_weight_stays(kind):
    model, x = model_of(kind), inputs(kind)
    layer, name = model.layers[0], KINDS[kind][2]
    before, first = getattr(layer, name).numpy(), model.predict_on_batch(x)
    layer.enable_lora(2, lora_alpha=3.0)
    np.testing.assert_allclose(model.predict_on_batch(x), first, atol=1e-6)
    model.compile(zk.optimizers.SGD(0.05), "mse")
    model.fit(x, np.zeros_like(first), epochs=2, batch_size=4, verbose=0)
    a, b = layer.factors()
    assert np.abs(b.numpy()).max() > 0
    whole = (a.numpy().reshape(-1, 2) @ b.numpy()).reshape(before.shape)
    np.testing.assert_allclose(getattr(layer, name), before + 1.5 * whole, atol=1e-6)
    assert layer.own_weight(name) in layer.non_trainable_weights if kind != "conv3d" else True


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_the_sum_and_training_can_go_on(kind, tmp_path):
    model, x = trained(kind)
    expected = model.predict_on_batch(x)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    plain = model_of(kind)
    plain.load_weights(tmp_path / "m.weights.h5")
    again = zk.saving.load_model(tmp_path / "m.keras")
    old = zk.saving.load_model(tmp_path / "m.h5")
    for other in (plain, again, old):
        np.testing.assert_allclose(other.predict_on_batch(x), expected, atol=1e-5)
    layer = again.layers[0]
    assert (layer.lora_enabled, layer.lora_rank, layer.lora_alpha) == (True, 2, 3.0)
    again.fit(x, expected * 0, epochs=1, verbose=0)
    assert np.abs(layer.factors()[1].numpy()).max() > 0


def test_the_constructor_takes_rank_and_alpha():
    layer = layers.Dense(3, lora_rank=2, lora_alpha=4, kernel_regularizer="l2")
    layer.build((None, 4))
    assert [w.path for w in layer.trainable_weights] == [
        f"{layer.name}/{n}" for n in ("bias", "lora_kernel_a", "lora_kernel_b")
    ]
    assert layer.get_config()["lora_rank"] == 2 and layer.get_config()["lora_alpha"] == 4
    assert len(layer.losses) == 2  # the factors have the kernel's regularizer


def test_a_quantised_layer_has_the_correction_in_its_kernel():
    model, x = trained("dense")
    expected = model.predict_on_batch(x)
    model.quantize("int8")
    assert not model.layers[0].lora_enabled
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=0.05)


def test_what_cannot_have_factors_is_refused():
    with pytest.raises(ConfigError, match="isn't yet built"):
        layers.Dense(3).enable_lora(2)
    bound = layers.Dense(3, kernel_constraint="max_norm")
    bound.build((None, 4))
    with pytest.raises(ConfigError, match="incompatible with kernel constraints"):
        bound.enable_lora(2)
    layer = layers.Dense(3)
    layer.build((None, 4))
    layer.enable_lora(2)
    with pytest.raises(ConfigError, match="already enabled"):
        layer.enable_lora(2)
    whole = layers.Dense(3)
    whole.build((None, 4))
    whole.quantize("int8")
    with pytest.raises(UnsupportedError, match="int8"):
        whole.enable_lora(2)
    with pytest.raises(ConfigError, match="rank"):
        layers.Dense(3, lora_rank=0)


def test_a_file_cannot_ask_for_factors_without_end(tmp_path):
    model, _ = trained("dense")
    model.save(tmp_path / "m.keras")
    text = model.to_json().replace('"lora_rank": 2', '"lora_rank": 100000000000')
    made = tmp_path / "bad.keras"
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.keras") as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "config.json" else old.read(name))
    with pytest.raises(FileError, match="larger than itself"):
        zk.saving.load_model(made)


def test_factors_of_the_constructor_are_checked_as_those_of_enable_lora_are():
    with pytest.raises(ConfigError, match="incompatible with kernel constraints"):
        layers.Dense(3, lora_rank=2, kernel_constraint="non_neg").build((None, 4))
