"""Settings of the process: they are remembered, wrong ones are named, and the choice of who
multiplies matrices reaches the engine."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import config, constraints, losses, metrics, native, ops
from zoo_keras.errors import ConfigError

ONE = np.ones((2, 3), np.float32)
SETTINGS = [
    (config.floatx, config.set_floatx, "float32", "float64"),
    (config.epsilon, config.set_epsilon, 1e-7, 1e-5),
    (config.image_data_format, config.set_image_data_format, "channels_last", "channels_first"),
    (config.gemm, config.set_gemm, "auto", "native"),
]


@pytest.mark.parametrize("get,put,default,other", SETTINGS)
def test_a_setting_has_keras_default_and_can_be_changed(get, put, default, other):
    assert get() == default
    put(other)
    try:
        assert get() == other
    finally:
        put(default)


@pytest.mark.parametrize(
    "put",
    [config.set_floatx, config.set_image_data_format, config.set_gemm],
    ids=lambda f: f.__name__,
)
def test_an_unknown_value_is_named_and_changes_nothing(put):
    before = config.floatx(), config.image_data_format(), config.gemm()
    with pytest.raises(ConfigError, match=rf"{put.__name__}: .*'int7'.*Use one of"):
        put("int7")
    assert before == (config.floatx(), config.image_data_format(), config.gemm())


def test_mkl_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(config, "load_mkl", lambda: False)
    monkeypatch.setattr(config, "find_mkl", lambda: None)
    with pytest.raises(ConfigError, match="pip install mkl-service"):
        config.set_gemm("mkl")
    assert config.gemm() == "auto"


def test_a_file_that_is_no_mkl_is_not_loaded(monkeypatch, tmp_path):
    if native.lib.zk_mkl_loaded():
        pytest.skip("MKL is loaded already")
    path = tmp_path / "libmkl_rt.so"
    path.write_bytes(b"not a library")
    monkeypatch.setattr(config, "find_mkl", lambda: str(path))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        config.set_gemm("mkl")
    assert config.gemm() == "auto"


def test_show_config_says_who_multiplies_and_why(capsys):
    config.show_config()
    config.set_gemm("native")
    config.show_config()
    config.set_gemm("auto")
    shown = capsys.readouterr().out
    assert native.instruction_set() in shown and "auto: " in shown
    assert "native: own kernels, as chosen by set_gemm" in shown


@pytest.mark.parametrize(
    "compute",
    [
        lambda: losses.mean_absolute_percentage_error(0 * ONE, ONE),
        lambda: losses.poisson(ONE, 0 * ONE),
        lambda: losses.kl_divergence(ONE, 0 * ONE),
        lambda: losses.dice(ONE, ONE),
        lambda: ops.binary_crossentropy(ONE, 0 * ONE),
        lambda: constraints.UnitNorm()(ONE),
        lambda: metrics.AUC().thresholds[0],
        lambda: metrics.F1Score(threshold=0.5)(ONE, ONE),
    ],
)
def test_epsilon_is_what_computations_use(compute):
    before = np.asarray(compute())
    config.set_epsilon(0.01)
    try:
        assert abs(np.asarray(compute()) - before).max() > 1e-3 * abs(before).max()
    finally:
        config.set_epsilon(1e-7)
